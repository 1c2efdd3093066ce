"""Notebooks: two forms with one content, no outputs, typed parameters, and the chapters run from end to end."""

import json
import subprocess
import sys
from types import SimpleNamespace

import jupytext
import nbformat
import numpy as np
import pandas as pd
import papermill
import pytest

from ecglib.data.synthetic import simulate_record
from ecglib.errors import SignalError
from ecglib.parameters import PARAMETERS
from ecglib.paths import project_root
from ecglib.results import read_runs
from ecglib.signals import LEADS

ROOT = project_root()
STEMS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


def content(notebook):
    return [(c.cell_type, c.source.rstrip(), tuple(c.metadata.get("tags", []))) for c in notebook.cells]


@pytest.mark.parametrize("stem", STEMS)
def test_script_and_notebook_hold_the_same(stem):
    script = jupytext.read(ROOT / "notebooks" / f"{stem}.py")
    notebook = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
    assert content(script) == content(notebook), "run: make sync"


@pytest.mark.parametrize("stem", STEMS)
def test_notebook_is_clean_and_short(stem):
    notebook = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", as_version=4)
    assert len(notebook.cells) <= 25
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in code)
    assert set(notebook.metadata) <= {"kernelspec", "jupytext"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.kernelspec.language == "python"
    assert sum("parameters" in cell.metadata.get("tags", []) for cell in code) == 1
    assert max(cell.source.count("\n") for cell in code) < 40


@pytest.mark.parametrize("stem", STEMS)
def test_parameters_have_type_default_and_help(stem):
    for name, parameter in papermill.inspect_notebook(ROOT / "notebooks" / f"{stem}.ipynb").items():
        assert parameter["inferred_type_name"] in ("str", "int", "float", "bool"), name
        assert parameter["help"], f"{stem}: {name} has no comment"
        if name in PARAMETERS and name != "profile":
            assert eval(parameter["default"]) == PARAMETERS[name].default


def run(stem, *parameters):
    command = [sys.executable, "-m", "papermill", f"notebooks/{stem}.ipynb", "--no-progress-bar", "--engine", "ecg"]
    return subprocess.run(
        [*command, *parameters], cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=900
    )


def test_the_data_chapter_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    done = run("data", "-p", "results_dir", str(tmp_path / "results"), "-p", "n_records", "600")
    assert done.returncode == 0, done.stderr[-3000:]
    present = read_runs(tmp_path / "results", status="ok")
    assert dict(zip(present["dataset"], present["value"], strict=True))["ptbxl-super"] == 5
    assert len((tmp_path / "results/data/data.ipynb").read_text()) < 1_500_000


def test_chapters_run_from_end_to_end(tmp_path, monkeypatch):
    """Small: 300 records, one epoch. The numbers mean nothing; that they are made and recorded is the point."""
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    results = str(tmp_path / "results")
    done = run("deri_pretrain", "-p", "results_dir", results, "-p", "n_records", "300", "-p", "epochs", "1")
    assert done.returncode == 0, done.stderr[-3000:]
    (checkpoint,) = (tmp_path / "results/checkpoints/deri").iterdir()
    assert json.loads((checkpoint / "config.json").read_text())["paper"] == "deri"
    parameters = ["-p", "results_dir", results, "-p", "n_bootstrap", "20", "-p", "leads", "I,II,V5"]
    done = run("deri_zero_shot", *parameters, "-p", "checkpoint", str(checkpoint))
    assert done.returncode == 0, done.stderr[-3000:]
    runs = read_runs(tmp_path / "results", status="ok")
    scored = runs[runs["notebook"] == "deri_zero_shot"]
    (shortened,) = set(scored["method"]) - {"random-encoder", "chance"}
    assert shortened.startswith("deri-")  # 300 records and one epoch are not the profile's DERI, nor called so
    assert set(scored["dataset"]) == {"ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm", "cpsc2018", "csn"}
    assert set(scored["leads"]) == {"I,II,V5"}
    chance = scored[scored["method"] == "chance"]
    assert chance["value"].between(47, 53).all()
    executed = (tmp_path / "results/deri_zero_shot/deri_zero_shot.ipynb").read_text()
    assert len(executed) < 1_000_000


def _as_wfdb(folder, name, ecg_mv):
    import wfdb

    wfdb.wrsamp(name, 250, ["mV"] * 12, list(LEADS), p_signal=ecg_mv.T.astype(float), fmt=["16"] * 12,
                adc_gain=[1000.0] * 12, baseline=[0] * 12, comments=["Age: 61", "Sex: Female"],
                write_dir=str(folder))  # fmt: skip
    return folder / f"{name}.dat"


def _as_challenge(folder, name, ecg_mv):
    """A .mat with ``val`` and its header, as the Challenges give them out."""
    from scipy.io import savemat

    steps = np.round(1000 * ecg_mv).astype(np.int16)
    savemat(folder / f"{name}.mat", {"val": steps}, format="4")
    lines = [f"{name} 12 250 {steps.shape[1]}"]
    for lead, of in zip(LEADS, steps, strict=True):
        checksum = (int(of.sum(dtype=np.int64)) + 32768) % 65536 - 32768
        lines.append(f"{name}.mat 16+24 1000/mV 16 0 {of[0]} {checksum} 0 {lead}")
    (folder / f"{name}.hea").write_text("\n".join([*lines, "# Age: 61", "# Sex: Female", ""]))
    return folder / f"{name}.mat"


def _statements(page):
    """Statement -> probability in per cent, as written beside an executed page."""
    table = pd.read_csv(page.with_name("statements.csv"))
    return dict(zip(table["statement"], table["probability, %"], strict=True))


def test_a_reader_is_trained_and_reads(tmp_path, monkeypatch):
    """Small again; a record of one's own leaves nothing outside the folder that git ignores."""
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    results = tmp_path / "results"
    small = ["-p", "n_records", "96", "-p", "epochs", "1", "-p", "n_calibration", "300", "-p", "n_bootstrap", "20"]
    done = run("train_a_reader", "-p", "results_dir", str(results), *small)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (results / "reader").exists()  # a shortened recipe is not the reader
    (folder,) = results.glob("checkpoints/reader/*/reader")
    runs = read_runs(results, status="ok")
    assert set(runs["method"]) == {"reader", "random-encoder", "chance"}
    assert set(runs["metric"]) == {"macro_auc", "ece"}
    assert set(runs["data_kind"]) == {"simulated"}
    done = run("read_an_ecg", "-p", "results_dir", str(results), "-p", "reader", str(folder))
    assert done.returncode == 0, done.stderr[-3000:]
    beside = f"read_an_ecg/reader-{folder.parent.name}/read_an_ecg.ipynb"  # not the shipped reader's page
    assert "so the truth is known" in (results / beside).read_text()
    before = sorted(path for path in results.rglob("*") if "local" not in path.parts)
    mine = tmp_path / "my record.csv"
    ecg = simulate_record("ptb-xl", 5, 5, 250, 12.0).ecg_mv
    pd.DataFrame(ecg.T, columns=LEADS).to_csv(mine, index=False)
    given = ["-p", "path", str(mine), "-p", "sampling_rate_hz", "250", "-p", "reader", str(folder)]
    done = run("read_an_ecg", "-p", "results_dir", str(results), *given)
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path for path in results.rglob("*") if "local" not in path.parts) == before
    text = (results / "local" / beside).read_text()
    assert "no medical device" in text
    assert "my record.csv" in text
    assert len(list((results / "local/runs/read_an_ecg").glob("*.json"))) == 1
    page = results / "local" / beside
    read = _statements(page)
    for path in (_as_wfdb(tmp_path, "mine", ecg), _as_challenge(tmp_path, "A0001", ecg)):
        given = ["-p", "path", str(path), "-p", "reader", str(folder)]
        done = run("read_an_ecg", "-p", "results_dir", str(results), *given)
        assert done.returncode == 0, done.stderr[-3000:]
        text = page.read_text()
        assert all(said in text for said in (f"{path.stem}.hea", "WFDB", "61", "250 Hz", "12.0 s"))
        again = _statements(page)  # the same record, whatever file it came in, but for a rounding to 1 uV
        assert len(again.keys() & read.keys()) >= 13
        assert max(abs(again[code] - read[code]) for code in again.keys() & read.keys()) <= 0.2
    assert sorted(path for path in results.rglob("*") if "local" not in path.parts) == before
    for parameters, message in (
        (["-p", "path", str(mine), "-p", "reader", str(folder)], "give sampling_rate_hz"),
        (["-p", "unit", "uV", "-p", "reader", str(folder)], "path is empty, so there is no file for unit = 'uV'"),
        (["-p", "reader", "no/such"], "make reader"),
    ):
        done = run("read_an_ecg", "-p", "results_dir", str(results), *parameters)
        assert done.returncode != 0
        assert message in done.stderr


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (("-p", "epoch", "1"), "unknown parameter 'epoch'"),
        (("-p", "profile", "huge"), "profile"),
        (("-p", "dataset", "ptb-xl", "-p", "data_root", "no/such/folder"), "no/such/folder"),
        (("-p", "terms", "align,mixed,mixed"), "terms are some of"),
        (("-p", "rme", "atention"), "rme = 'atention'"),
        (("-p", "epochs", "-1"), "epochs = -1"),
    ],
)
def test_bad_parameters_stop_the_run(tmp_path, parameters, message):
    done = run("deri_pretrain", "-p", "results_dir", str(tmp_path), *parameters)
    assert done.returncode != 0
    assert "ParameterError" in done.stderr
    assert message in done.stderr


def test_the_simulator_chapter_runs_without_real_data(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    sizes = ["-p", "n_simulated", "60", "-p", "n_bootstrap", "10"]
    done = run("simulator_realism", "-p", "results_dir", str(tmp_path), *sizes, "-r", "reader", "")
    assert done.returncode == 0, done.stderr[-3000:]
    runs = read_runs(tmp_path, status="ok")
    assert set(runs["metric"]) == {"two_sample_auc"}
    assert set(runs["data_kind"]) == {"simulated"}
    assert len(runs) == 26  # thirteen groups of measurements, two populations
    wrong = run("simulator_realism", "-p", "results_dir", str(tmp_path), *sizes, "-p", "reader", "nowhere")
    assert wrong.returncode != 0
    assert "no such folder" in wrong.stderr


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda ecg: ecg[:, :500], r"short\.csv: 1\.00 s long, and a reader needs 2\.5 s"),
        (lambda ecg: np.where(np.arange(12)[:, None] < 9, np.nan, ecg), r"short\.csv: 75% of its samples are missing"),
    ],
)
def test_a_record_that_no_reader_takes_is_refused_by_name(tmp_path, spoil, message):
    from ecglib.chapters import reading

    ecg = spoil(simulate_record("ptb-xl", 1, 1, 500).ecg_mv)
    path = tmp_path / "short.csv"
    np.savetxt(path, ecg.T, delimiter=",", header=",".join(LEADS), comments="", fmt="%.4f")
    run = SimpleNamespace(params={"path": str(path), "sampling_rate_hz": 500.0, "unit": "mV", "seed": 0})
    with pytest.raises(SignalError, match=message):
        reading.record(run)
