# make demo   trains and scores DERI on simulated ECGs, then prints the score table
# make test   passes the tests            make book   builds the book from results/
# make lint   ruff                        make bench  speed and memory, as ratios
# make reader trains a reader of ECGs on simulated ones (RECIPE=demo or longer) and lets it read one
# Needs Python 3.11 or newer and nothing else; .venv is made on first use.

PYTHON ?= $(shell for p in python3 python3.11 python3.12 python3.13 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
# A CPU machine whose pip sees no CPU wheel of torch: make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq

export PYTHONUNBUFFERED := 1
export TOKENIZERS_PARALLELISM := false

RECIPE ?= demo
# Where the reader of another recipe than the demo's goes, and the pages of both chapters with it
OTHER := $(filter-out demo,$(RECIPE))
TRAINED := results/train_a_reader/$(OTHER:%=recipe-%/)train_a_reader.ipynb
READ := results/read_an_ecg/$(OTHER:%=reader-%/)read_an_ecg.ipynb

.PHONY: demo reader test book lint bench sync clean

demo: $(READY)
	$(BIN)/papermill notebooks/deri_pretrain.ipynb
	$(BIN)/papermill notebooks/deri_zero_shot.ipynb
	@$(BIN)/python -m ecglib.run --scrub results/deri_pretrain/deri_pretrain.ipynb results/deri_zero_shot/deri_zero_shot.ipynb
	@$(BIN)/python -m ecglib.scores deri_zero_shot deri_pretrain

reader: $(READY)
	$(BIN)/papermill notebooks/train_a_reader.ipynb -p recipe $(RECIPE)
	$(BIN)/papermill notebooks/read_an_ecg.ipynb $(OTHER:%=-p reader results/reader/%)
	@$(BIN)/python -m ecglib.run --scrub $(TRAINED) $(READ)

test: $(READY)
	$(BIN)/ruff check .
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow" $(ARGS)

book: $(READY)
	@$(BIN)/python -m ecglib.bookbuild

lint: $(READY)
	$(BIN)/ruff check .

bench: $(READY)
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

# Bring notebooks/*.py (the reviewed source) and notebooks/*.ipynb (what papermill runs) to the same content.
sync: $(READY)
	$(BIN)/jupytext --sync notebooks/*.py

clean:
	rm -rf _build .cache

$(READY): pyproject.toml requirements/lock.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name it: make demo PYTHON=/path/to/python3.11"; exit 1; }
	@echo "Installing into .venv (about two minutes, once) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@if [ -n "$(TORCH_INDEX)" ]; then $(PIP) install -c requirements/lock.txt --index-url $(TORCH_INDEX) torch; fi
	@$(PIP) install -c requirements/lock.txt -e ".[book,dev]"
	@touch $(READY)
