# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Reading an ECG
#
# One 12-lead record, from a file of yours or freshly simulated, read by the reader that the
# {doc}`chapter on training one </results/train_a_reader/train_a_reader>` has made: the tracing on clinical paper,
# statements with their probabilities, superclasses, and what a cardiograph would measure.
#
# > **This is no medical device and gives no diagnosis.** The reader was trained on simulated ECGs and simulated reports
# > alone, and its probabilities are calibrated on simulated patients only: on a real one they may be far off, in either
# > direction. Use it to study the method. Whoever needs an ECG read asks a physician.
#
# `path` names a WFDB record (`.hea` with `.dat` or `.mat`), a `.mat` file of the Challenges or of CPSC2018, or a table
# of text with one column per lead, named in its first row in any order, and if possible a column of times:
#
# ```bash
# papermill notebooks/read_an_ecg.ipynb -p path my_record.csv -p sampling_rate_hz 500
# ```
#
# The page of a record of yours goes to `results/local/`, which git ignores, and nothing leaves this machine.

# %% tags=["parameters"]
path: str = ""  # file of a 12-lead record; empty: a fresh simulated one
sampling_rate_hz: float = 0.0  # of a file that does not say it; 0: the file says it
unit: str = ""  # of a file that does not say it: nV, uV, mV or V; empty: the file says it, or it is mV
reader: str = "results/reader"  # folder of the reader, as train_a_reader leaves it
seed: int = 0  # of the simulated record
results_dir: str = "results"  # where figures and the run record go; of a record of yours in its folder local

# %%
from ecglib.chapters import reading
from ecglib.run import start

run = start("read_an_ecg", globals())
ecg = reading.record(run)
reading.described(ecg)

# %% [markdown]
# ## The tracing
#
# 25 mm/s along, 10 mm/mV up, the first ten seconds. Look at it before you look at any number below.

# %%
reading.show(ecg)

# %% [markdown]
# ## Who reads it

# %%
scorer = reading.reader(run)
reading.provenance(scorer)

# %% [markdown]
# ## Statements
#
# The fifteen statements with the highest probability, out of all that the reader knows. Each has its own probability;
# they do not add up to one, since an ECG can show several or none. The column beside it says how common the statement
# is in the simulated population on which the reader is calibrated: a probability near that number says that the
# tracing told the reader nothing.
#
# A record of more than ten seconds is read in windows of ten that cover it, whose cosines are averaged, so that a
# single premature beat in a long record weighs less. Below 2.5 seconds a record is refused.

# %%
ranked = reading.statements(scorer, ecg)
run.save_table(ranked, "statements")
reading.statement_table(ranked)

# %% [markdown]
# ## Superclasses
#
# The five superclasses of PTB-XL, each called by any of its statements, $1 - \prod (1 - p)$. That takes the statements
# for independent; the chapter on training shows what it costs. The normal ECG is a statement of its own, not what the
# other four leave over.

# %%
over = reading.superclasses(run, scorer, ecg)

# %% [markdown]
# ## Measurements
#
# Taken from the tracing by rule, without the reader: beats are found, averaged and measured as a cardiograph does it. A
# wave that cannot be told from noise has no value. The limits are those of healthy adults; outside them is a reason to
# look again, not a finding.

# %%
reading.measurements(ecg)

# %% [markdown]
# ## What is true

# %%
reading.truth(ecg)

# %%
reading.warning()

# %% [markdown]
# ## Try it
#
# * `seed = 1` simulates another record. How often does the true statement lead the table?
# * `path` with one of your records. Does the reader agree with the report? With the measurements?
# * In a new cell, `scorer.probabilities(ecg.ecg_mv[None, :, :1250], ecg.hz)` reads the first 2.5 seconds alone.

# %%
reading.finish(run, scorer, ecg)
