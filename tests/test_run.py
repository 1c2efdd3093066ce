"""The frame of a run: what it refuses, what it keeps, what it records; with real kernels where they matter."""

import dataclasses
import json
import random
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

from ecglib import parameters, run
from ecglib.errors import ParameterError, ResultError
from ecglib.results import read_record, read_runs

CELL = """profile: str = "demo"  # how much
seed: int = 0  # of everything random
dataset: str = "simulated"  # the ECGs
data_root: str = ""  # their folder
csn_root: str = ""  # folder of CSN
checkpoint: str = ""  # of a model
n_simulated: int = 600  # records
results_dir: str = "results"  # for what comes out
leads: str = "all"  # used
epochs: int = 3  # passes
lr: float = 1e-3  # learning rate
mixed: bool = True  # with the mixed loss
sizes: list[int] = [1, 2]  # some sizes"""


def begin(*injected: str, cell: str = CELL, **kwargs):
    """start() in a namespace as IPython leaves it after the parameters cell and papermill's cell."""
    cells = [cell] + (["# Parameters\n" + "\n".join(injected) + "\n"] if injected else [])
    namespace = {"In": ["", *cells, "run = start(...)"]}
    for source in cells:
        exec(source, namespace)
    return run.start("deri_pretrain", namespace, **kwargs)


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)


def test_defaults_pass_and_nothing_private_is_printed(tmp_path, capsys):
    one = begin()
    shown = capsys.readouterr().out
    assert one.params["lr"] == 1e-3
    assert (one.profile, one.seed) == ("demo", 0)
    assert one.folder == tmp_path / "results" / "deri_pretrain"
    assert one.folder.is_dir()
    assert list(one.folder.iterdir()) == []
    assert "deri_pretrain: profile demo, seed 0" in shown
    assert str(tmp_path) not in shown
    assert "python 3." in shown


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sede = 1", "unknown parameter 'sede': did you mean 'seed'?"),
        ("zzzz = 1", "this notebook takes profile, seed"),
        ('seed = "1"', "seed = '1': must be int, not str"),
        ("seed = -1", "0 to 4294967295"),
        ("seed = 1.0", "write 1"),
        ("seed = True", "must be int, not bool"),
        ('epochs = "abc"', "epochs = 'abc': must be int, not str"),
        ('mixed = "true"', "-p mixed True"),
        ("mixed = 1", "-p mixed True"),
        ('lr = "1e-4"', "1.0e-4"),
        ('sizes = "[1]"', "-y '{sizes: [...]}'"),
        ("sizes = [1, 'a']", "sizes[1] = 'a'"),
        ('profile = "fast"', "must be one of demo, gpu, paper"),
        ('dataset = "ptbxl"', "did you mean 'ptb-xl'"),
        ('dataset = "ptb-xl"', "needs data_root"),
        ('data_root = "somewhere"', "dataset is simulated"),
        ('dataset = "ptb-xl"\ndata_root = "nowhere"', "data_root = 'nowhere': no such folder"),
        ('csn_root = "nowhere"', "csn_root = 'nowhere': no such folder"),
        ("n_simulated = 3", "n_simulated = 3: must be a whole number, 20 or more"),
        ('checkpoint = "nowhere"', "checkpoint = 'nowhere': no such folder"),
        ('leads = ""', "leads = ''"),
        ('leads = "I,V7"', "unknown lead 'V7'"),
        ('results_dir = " "', "results_dir is empty"),
        ("leads = 5", "-r leads 5"),
    ],
)
def test_impossible_parameters_are_refused(tmp_path, line, message):
    with pytest.raises(ParameterError) as caught:
        begin(*line.split("\n"))
    assert message in str(caught.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    "line", ["lr = 1", "leads = 'I, v5'", "sizes = []", "profile = 'paper'", "PAPERMILL_INPUT_PATH = 'x'"]
)
def test_possible_parameters_pass(line):
    begin(line)


def test_a_notebook_can_narrow_the_choices():
    with pytest.raises(ParameterError, match="must be one of simulated, ptb-xl"):
        begin('dataset = "csn"', choices={"dataset": ("simulated", "ptb-xl")})


def test_a_common_name_keeps_its_type_and_a_cell_is_needed():
    with pytest.raises(ParameterError, match="'seed' must be declared as int"):
        begin(cell="seed: str = 'a'")
    with pytest.raises(ParameterError, match="no parameters found"):
        begin(cell="seed = 1")


def test_cells_of_an_interactive_session():
    """Cells run again in JupyterLab, magic commands and unfinished ones do not confuse the search."""
    declared, injected = parameters.find(["", "%matplotlib inline", CELL, "# Parameters\nseed = 1\n", "x = (", CELL])
    assert list(declared)[:2] == ["profile", "seed"]
    assert injected == []


def test_unwritable_results_folder_is_found_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ParameterError, match="results_dir = 'file/x' cannot be written"):
        begin('results_dir = "file/x"')
    if Path("/proc").is_dir():
        with pytest.raises(ParameterError, match="cannot be written"):
            begin('results_dir = "/proc/x"')


def test_everything_is_seeded():
    begin("seed = 5")
    first = (random.random(), np.random.random())  # noqa: NPY002
    begin("seed = 5")
    assert first == (random.random(), np.random.random())  # noqa: NPY002
    begin("seed = 6")
    assert first != (random.random(), np.random.random())  # noqa: NPY002


def test_figures_and_tables_are_kept(tmp_path):
    import matplotlib.pyplot as plt

    one = begin()
    fig, ax = plt.subplots()
    ax.plot([1, 2])
    path = one.save_figure(fig, "loss")
    assert path == tmp_path / "results/deri_pretrain/loss.svg"
    before = path.read_bytes()
    assert one.save_figure(fig, "loss").read_bytes() == before
    ax.scatter(*np.random.default_rng(0).normal(size=(2, 9000)))
    assert one.save_figure(fig, "loss").suffix == ".png"
    assert [p.name for p in one.folder.iterdir()] == ["loss.png"]
    plt.close(fig)
    table = one.save_table(pd.DataFrame({"a": [1 / 3], "b": ["x"]}), "t")
    assert table.read_text() == "a,b\n0.333333,x\n"
    with pytest.raises(ResultError, match="no name"):
        one.save_table(pd.DataFrame(), "../t")


METRIC = {"method": "deri", "dataset": "csn", "data_kind": "simulated", "setting": "zero-shot", "metric": "macro_auc",
          "value": np.float64(81.5), "ci_low": float("nan"), "ci_high": np.float32(83), "n": np.int64(10),
          "evaluator_version": "1"}  # fmt: skip


@dataclasses.dataclass
class Config:
    lr: float = 1e-3
    folder: Path = Path("a/b")


def test_a_record(tmp_path):
    (tmp_path / "data").mkdir()
    one = begin('dataset = "csn"', f'data_root = "{tmp_path}/data"')
    (one.folder / "scores.npz").write_bytes(b"")
    path = one.record(
        [METRIC],
        data={"csn": {"kind": "simulated", "fingerprint": "ab", "counts": {"records": np.int64(10)}, "role": "test"}},
        model=Config(),
        training={"effective_batch": 128, "steps": 90, "precision": "bf16"},
        checkpoint_choice="last step",
        predictions=one.folder / "scores.npz",
        notes=f"read {tmp_path}/data and /srv/elsewhere/x.npy",
    )
    record = read_record(path)
    assert path == tmp_path / "results/runs/deri_pretrain" / f"{one.run_id}.json"
    assert record["metrics"][0] == METRIC | {"value": 81.5, "ci_low": None, "ci_high": None, "n": 10}
    assert record["config"]["model"] == {"lr": 1e-3, "folder": "a/b"}
    assert (record["effective_batch"], record["steps"], record["machine"]["precision"]) == (128, 90, "bf16")
    assert record["parameters"]["data_root"] == "data"
    assert record["predictions"] == "deri_pretrain/csn/scores.npz"  # a real set has its own folder
    assert record["notes"] == "read data and …/x.npy"
    assert record["status"] == "ok"
    with pytest.raises(ResultError, match="never changed"):
        one.record([METRIC])


def test_a_bad_record_is_refused_and_nothing_is_written(tmp_path):
    one = begin()
    with pytest.raises(ResultError, match=r"metrics\[0\].dataset"):
        one.record([METRIC | {"dataset": "csm"}])
    with pytest.raises(ResultError, match="cannot hold a Run"):
        one.record([METRIC], model=one)
    assert not list(tmp_path.rglob("*.json"))


def test_a_failure_is_recorded_once_and_superseded_by_success(tmp_path):
    one = begin()
    path = one.record_failure(OSError(f"no space left: '{tmp_path}/x' /mnt/disk/y"))
    record = read_record(path)
    assert record["error"] == {"type": "OSError", "message": "no space left: 'x' …/y"}
    assert one.record_failure(ValueError("later")) is None
    assert one.record([METRIC]) == path
    assert read_record(path)["status"] == "ok"


def notebook(folder: Path, *cells: str, name: str = "tiny_run") -> Path:
    book = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell('seed: int = 0  # s\nresults_dir: str = "results"  # r',
                                      metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(f"from ecglib.run import start\nrun = start('{name}', globals())"),
            *(nbformat.v4.new_code_cell(c) for c in cells),
        ],
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
    )  # fmt: skip
    (folder / "notebooks").mkdir(exist_ok=True)
    path = folder / "notebooks" / f"{name}.ipynb"
    nbformat.write(book, path)
    return path


def command(*args: str, cwd: Path, module: str = "ecglib.run") -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", module, *args], cwd=cwd, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True)  # fmt: skip


def test_command_line_runs_records_and_scrubs(tmp_path):
    notebook(tmp_path, "import os; print(os.getcwd()); run.record([])")
    done = command("notebooks/tiny_run.ipynb", "-p", "seed", "3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    runs = read_runs(tmp_path / "results")
    assert runs[["status", "seed"]].values.tolist() == [["ok", 3]]
    executed = (tmp_path / "results/tiny_run/seed-3/tiny_run.ipynb").read_text()
    assert str(tmp_path) not in executed
    assert "start_time" not in executed
    assert "seed = 3" in executed
    nbformat.validate(nbformat.reads(executed, as_version=4))


def test_a_misspelt_parameter_stops_papermill(tmp_path):
    notebook(tmp_path, "run.record([])")
    done = command("notebooks/tiny_run.ipynb", "-p", "sede", "3", cwd=tmp_path, module="papermill")
    assert done.returncode == 1
    assert "unknown parameter 'sede': did you mean 'seed'?" in done.stderr
    assert not (tmp_path / "results/runs").exists()
    outputs = json.loads((tmp_path / "results/tiny_run/tiny_run.ipynb").read_text())["cells"]
    shown = [o["traceback"] for c in outputs for o in c.get("outputs", []) if o["output_type"] == "error"]
    assert [len(t) for t in shown] == [1]  # one line, no stack of the package's insides


def test_an_exception_in_a_cell_is_a_failed_record(tmp_path):
    notebook(tmp_path, f"open('{tmp_path}/none')", "run.record([])")
    done = command("notebooks/tiny_run.ipynb", cwd=tmp_path)
    assert done.returncode == 1
    (path,) = (tmp_path / "results/runs/tiny_run").glob("*.json")
    record = read_record(path)
    assert record["status"] == "failed"
    assert record["error"]["type"] == "FileNotFoundError"
    assert "'none'" in record["error"]["message"]


def test_ending_without_a_record_is_an_error(tmp_path):
    notebook(tmp_path, "import sys; sys.exit(0)", "run.record([])")
    done = command("notebooks/tiny_run.ipynb", cwd=tmp_path)
    assert done.returncode == 1
    assert "wrote no run record" in done.stderr
    assert read_runs(tmp_path / "results")["status"].tolist() == ["failed"]


def test_run_as_a_script(tmp_path):
    script = tmp_path / "tiny_script.py"
    head = 'seed: int = 0  # s\nfrom ecglib.run import start\nrun = start("tiny_script", globals())\n'
    script.write_text(head + "run.record([])\n")
    assert subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True).returncode == 0
    script.write_text(head + "1 / 0\n")
    assert subprocess.run([sys.executable, str(script)], cwd=tmp_path, capture_output=True).returncode == 1
    assert sorted(read_runs(tmp_path / "results")["status"]) == ["failed", "ok"]


def test_scrub_on_the_command_line(tmp_path):
    path = notebook(tmp_path)
    assert command("--scrub", str(path), cwd=tmp_path).returncode == 0
    path.write_text("{")
    done = command("--scrub", str(path), cwd=tmp_path)
    assert done.returncode == 1
    assert "error: tiny_run.ipynb: not a notebook" in done.stderr
