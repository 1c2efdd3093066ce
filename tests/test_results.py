"""Run records and their comparison with the printed numbers, on records written to a folder of the test's own."""

import copy
import json
import shutil
import socket

import pandas as pd
import pytest

from ecglib import results
from ecglib.errors import ResultError
from ecglib.scrub import leaks, scrub_notebook, scrub_text


def metric(**changes) -> dict:
    base = {"method": "deri", "dataset": "ptbxl-super", "data_kind": "paper", "setting": "linear-probe 1%",
            "metric": "macro_auc", "value": 85.4, "ci_low": 84.0, "ci_high": 86.5, "n": 2158,
            "evaluator_version": "1"}  # fmt: skip
    return base | changes


def record(*metrics, minute=0, **changes) -> dict:
    base = {
        "schema_version": 1, "run_id": f"20260102T03{minute:02d}00Z-00beef", "notebook": "deri_linear_probe",
        "status": "ok", "error": None, "parameters": {"leads": "all", "dataset": "ptb-xl"}, "config": {},
        "profile": "paper", "data": {"ptb-xl": {"kind": "paper", "fingerprint": "abc", "counts": {"records": 3}}},
        "seed": 0, "effective_batch": 16, "steps": 10, "commit": "0123456789ab", "dirty": False,
        "versions": {"python": "3.11.7"}, "checkpoint_choice": "last step",
        "machine": {"cpu": "some cpu", "cores": 2, "memory_gb": 24.0, "device": "cpu", "precision": "float32"},
        "wall_s": 1.5, "peak_memory_mb": 100.0, "metrics": list(metrics) or [metric()], "predictions": None,
        "notes": "", "created": f"2026-01-02T03:{minute:02d}:00Z",
    }  # fmt: skip
    return copy.deepcopy(base | changes)


def verdict(tmp_path, *records, method="DERI", dataset="ptbxl-super", setting="linear-probe 1%"):
    for one in records:
        results.write_record(one, tmp_path)
    printed = results.reported("deri")
    printed = printed[(printed.method == method) & (printed.dataset == dataset) & (printed.setting == setting)]
    return results.compare(printed, results.read_runs(tmp_path)).iloc[0]


def test_written_and_read_back(tmp_path):
    path = results.write_record(record(), tmp_path)
    assert path == tmp_path / "runs" / "deri_linear_probe" / "20260102T030000Z-00beef.json"
    assert results.read_record(path) == record()
    runs = results.read_runs(tmp_path)
    assert runs.loc[0, ["value", "leads", "furthest_data", "notebook"]].tolist() == [
        85.4, "all", "paper", "deri_linear_probe"]  # fmt: skip
    assert list(tmp_path.rglob("*.partial")) == []


@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("metrics[0].data_kind", {"metrics": [metric(data_kind="synthetic")]}),
        ("metrics[0].dataset", {"metrics": [metric(dataset="ptbxl_super")]}),
        ("metrics[0]", {"metrics": [metric(extra=1)]}),
        ("metrics[0]", {"metrics": [{k: v for k, v in metric().items() if k != "n"}]}),
        ("metrics[0]", {"metrics": [metric(value=float("nan"))]}),
        ("metrics[0]", {"metrics": [metric(ci_low=None)]}),
        ("metrics[0]", {"metrics": [metric(ci_low=87.0)]}),
        ("stands there twice", {"metrics": [metric(), metric(value=86.0)]}),
        ("seed", {"seed": -1}),
        ("profile", {"profile": "fast"}),
        ("surprise", {"surprise": 1}),
        ("error", {"status": "failed"}),
        ("error", {"error": {"type": "ValueError", "message": ""}}),
        ("record.notes", {"notes": "written to /home/somebody/results"}),
        ("record.parameters.data_root", {"parameters": {"data_root": "/data/ptb-xl"}}),
        ("record.machine.cpu", {"machine": record()["machine"] | {"cpu": r"C:\Users\somebody"}}),
    ],
)
def test_a_bad_record_is_refused_by_field(tmp_path, field, changes):
    with pytest.raises(ResultError) as caught:
        results.write_record(record(**changes), tmp_path)
    assert field in str(caught.value)
    assert not list(tmp_path.rglob("*.json"))


def test_host_name_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(socket, "gethostname", lambda: "node17.hospital")
    with pytest.raises(ResultError, match="node17"):
        results.write_record(record(notes="ran on node17"), tmp_path)


def test_good_records_are_immutable_and_failed_ones_may_be_superseded(tmp_path):
    failed = record(status="failed", error={"type": "OSError", "message": "disk full"}, metrics=[])
    failed["metrics"] = []
    results.write_record(failed, tmp_path)
    results.write_record(record(), tmp_path)
    with pytest.raises(ResultError, match="never changed"):
        results.write_record(record(wall_s=2.0), tmp_path)


def test_a_damaged_file_is_named(tmp_path):
    path = results.write_record(record(), tmp_path)
    path.write_text(path.read_text()[:100])
    with pytest.raises(ResultError, match="20260102T030000Z-00beef"):
        results.read_runs(tmp_path)


def test_newest_not_best(tmp_path):
    worse = record(metric(value=84.5), minute=5)
    row = verdict(tmp_path, record(metric(value=86.0)), worse)
    assert row.run_value == 84.5


def test_seed_0_is_the_chapter(tmp_path):
    """Runs with other seeds are for comparisons; they do not take the chapter's place, however new or good."""
    row = verdict(tmp_path, record(metric(value=84.5)), record(metric(value=86.0), minute=5, seed=1))
    assert (row.run_value, row.seed) == (84.5, 0)


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [
        (85.4, 84.0, 86.5, "agrees"),  # printed: 85.46
        (85.455, None, None, "agrees"),  # within the rounding of the print
        (85.0, 84.0, 85.456, "agrees"),
        (85.0, 84.0, 85.45, "below"),
        (85.4, None, None, "below"),
        (87.0, 86.0, 88.0, "above"),
    ],
)
def test_verdict_on_the_papers_data(tmp_path, value, low, high, expected):
    assert verdict(tmp_path, record(metric(value=value, ci_low=low, ci_high=high))).verdict == expected


def test_a_spread_in_print_widens_the_agreement():
    row = {"paper": "x", "setting": "zero-shot", "value": "80.0", "number": 80.0, "spread": "1.0"}
    run = metric(value=81.0, ci_low=None, ci_high=None) | {"furthest_data": "paper", "profile": "paper", "leads": "all"}
    evaluators = pd.Series({"macro_auc": "1"})
    assert results._verdict(row, run, set(), evaluators)[0] == "agrees"
    assert results._verdict(row | {"spread": "0.5"}, run, set(), evaluators)[0] == "above"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"metrics": [metric(data_kind="simulated")]}, "simulated ECGs"),
        ({"metrics": [metric(data_kind="subset")]}, "a part of the data"),
        ({"profile": "demo"}, "profile demo"),
        ({"parameters": {"leads": "I,II"}}, "leads I,II"),
        ({"data": {"mimic-iv-ecg": {"kind": "simulated", "fingerprint": None, "counts": {}, "role": "pretrain"}}},
         "trained on simulated ECGs"),
    ],
)  # fmt: skip
def test_not_comparable_says_why(tmp_path, changes, why):
    row = verdict(tmp_path, record(**changes))
    assert row.verdict == "not comparable"
    assert why in row.why


def test_an_old_evaluator_is_not_comparable(tmp_path):
    newer = record(metric(dataset="csn", evaluator_version="2", data_kind="paper"), minute=9)
    row = verdict(tmp_path, record(), newer)
    assert (row.verdict, row.why) == ("not comparable", "evaluator 1, now 2")


def test_the_run_nearest_to_the_paper_is_compared(tmp_path):
    simulated = record(metric(data_kind="simulated"), minute=9)
    assert verdict(tmp_path, record(), simulated).verdict == "agrees"


def test_unreadable_print(tmp_path):
    row = verdict(tmp_path, record(metric(dataset="csn", setting="linear-probe 100%")), dataset="csn",
                  setting="linear-probe 100%")  # fmt: skip
    assert row.verdict == "not comparable"
    assert "unreadable" in row.why


def test_not_run_and_failed(tmp_path):
    assert verdict(tmp_path).verdict == "not run"
    failed = record(status="failed", error={"type": "OSError", "message": "disk full"})
    failed["metrics"] = []
    assert verdict(tmp_path, failed).verdict == "failed"
    assert verdict(tmp_path, record(minute=1)).verdict == "agrees"


def test_average_of_six(tmp_path):
    six = [metric(dataset=t, setting="zero-shot", value=70.0 + i, ci_low=69.0, ci_high=80.0)
           for i, t in enumerate(results.TASKS)]  # fmt: skip
    row = verdict(tmp_path, record(*six, notebook="deri_zero_shot"), dataset="average", setting="zero-shot")
    assert (row.run_value, row.ci_low, row.ci_high) == (72.5, 69.0, 80.0)
    assert row.verdict == "agrees"  # 78.73


def test_clinical_prompts_are_what_the_papers_call_zero_shot(tmp_path):
    for setting, value in (("zero-shot, clinical prompts", 70.0), ("zero-shot, class names", 60.0)):
        metrics = [metric(dataset=t, setting=setting, value=value, ci_low=None, ci_high=None) for t in results.TASKS]
        results.write_record(record(*metrics, minute=int(value) - 30, notebook="deri_zero_shot"), tmp_path)
    row = verdict(tmp_path, dataset="average", setting="zero-shot")
    assert (row.run_value, row.verdict) == (70.0, "below")


def test_no_average_of_five(tmp_path):
    five = [metric(dataset=t, setting="zero-shot") for t in results.TASKS[:5]]
    assert verdict(tmp_path, record(*five), dataset="average", setting="zero-shot").verdict == "not run"


def test_coverage_counts_everything(tmp_path):
    results.write_record(record(), tmp_path)
    table = results.coverage("deri", results.read_runs(tmp_path)).set_index("exhibit")
    assert table.loc["table-1", ["reported", "run", "agrees", "not run"]].tolist() == [234, 1, 1, 233]
    assert table.loc["table-8", "reported"] == 0  # sizes of data sets, no scores
    assert (table[list(results.VERDICTS)].sum(axis=1) == table.reported).all()


def test_reported_refuses_an_unknown_paper():
    with pytest.raises(ResultError, match="deri"):
        results.reported("derri")


def test_empty_folder(tmp_path):
    assert results.read_runs(tmp_path).empty
    assert set(results.compare(results.reported("deri"), results.read_runs(tmp_path)).verdict) == {"not run"}


NO_PATHS = ["ST/T change", "LAFB/LPFB", "https://example.org/a/b", "25 mm/s", "a / b", "~/x/y", "3/4 of 1/2"]
NO_PATHS += ["results/runs/x.json", "…/x.npy", "and/or", "<python>/x"]


@pytest.mark.parametrize("text", NO_PATHS)
def test_no_false_alarm(text):
    assert list(leaks({"a": [text]})) == []
    assert scrub_text(text) == text


@pytest.mark.parametrize("text", ["/tmp/x", "file:///srv/data", "in '/data/a b'", "(/etc/hosts)", r"D:\data\x",
                                  r"\\server\share", "root=/mnt/d/"])  # fmt: skip
def test_paths_are_found_and_scrubbed(text):
    assert list(leaks(text))
    assert list(leaks(scrub_text(text))) == []


def test_paths_in_the_project_become_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert scrub_text(f"see {tmp_path}/results/x.svg") == "see results/x.svg"
    assert scrub_text(f"{tmp_path}/a and '{tmp_path}/b'") == "a and 'b'"
    assert scrub_text(f"{tmp_path}") == "."


def test_scrubbed_notebook_has_no_trace_of_the_machine():
    notebook = {
        "nbformat": 4, "nbformat_minor": 5,
        "metadata": {"kernelspec": {"name": "python3"}, "language_info": {"version": "3.11.7"},
                     "papermill": {"input_path": "/a/b.ipynb", "duration": 1.23456, "exception": None,
                                   "parameters": {"data_root": "/data/x/y"}, "start_time": "2026"}},
        "cells": [
            {"cell_type": "markdown", "metadata": {"papermill": {}}, "source": "text"},
            {"cell_type": "code", "metadata": {"tags": ["injected-parameters"], "papermill": {"duration": 1}},
             "execution_count": 1, "source": ["# Parameters\n", 'data_root = "/data/x/y"\n'],
             "outputs": [
                 {"output_type": "stream", "name": "stderr", "text": "Kernel is running over TCP without encryption"},
                 {"output_type": "stream", "name": "stdout", "text": ["read /data/x/y/z.npy\n"]},
                 {"output_type": "execute_result", "data": {"text/html": "<img src='/srv/a/b.png'>"}, "metadata": {}},
             ]},
        ],
    }  # fmt: skip
    clean = scrub_notebook(copy.deepcopy(notebook))
    assert list(leaks(clean)) == []
    assert clean["metadata"]["papermill"] == {
        "parameters": {"data_root": "…/y"}, "exception": None, "duration": 1.2}  # fmt: skip
    assert len(clean["cells"][1]["outputs"]) == 2
    assert clean["cells"][1]["metadata"] == {"tags": ["injected-parameters"]}
    assert scrub_notebook(json.loads(json.dumps(clean))) == clean


def test_lines_printed_one_by_one_become_one_output():
    def line(text):
        return {"output_type": "stream", "name": "stdout", "text": text}

    figure = {"output_type": "display_data", "data": {}, "metadata": {}}
    outputs = [line("epoch 1\n"), line(["epoch 2\n"]), figure, line("end\n")]
    cell = {"cell_type": "code", "metadata": {}, "source": "", "outputs": outputs}
    found = scrub_notebook({"metadata": {}, "cells": [cell]})["cells"][0]["outputs"]
    assert ["".join(output.get("text", "")) for output in found] == ["epoch 1\nepoch 2\n", "", "end\n"]


def test_a_path_with_blanks_given_as_parameter_is_scrubbed_whole():
    secret = "/data/St Marys hospital/ptbxl"
    cell = {"cell_type": "code", "metadata": {"tags": ["injected-parameters"]},
            "source": f'data_root = "{secret}"', "outputs": []}  # fmt: skip
    notebook = {"metadata": {"papermill": {"parameters": {"data_root": secret}}}, "cells": [cell]}
    assert "Marys" not in json.dumps(scrub_notebook(notebook))


def test_the_scores_in_a_terminal_name_the_chapter_that_was_run(tmp_path, capsys):
    """Data set and seed of the newest run are in the path; a chapter that is not there is not promised."""
    from ecglib import scores
    from ecglib.paths import project_root

    runs = tmp_path / "runs/deri_zero_shot"
    shutil.copytree(project_root() / "results/runs/deri_zero_shot", runs)
    newest = max((json.loads(path.read_text()) for path in runs.glob("*.json")), key=lambda record: record["created"])
    later = newest | {"run_id": "29990101T000000Z-000000", "created": "2999-01-01T00:00:00Z"}
    later["parameters"] = newest["parameters"] | {"dataset": "ptb-xl", "seed": 7}
    (runs / f"{later['run_id']}.json").write_text(json.dumps(later))
    chapter = tmp_path / "deri_zero_shot/ptb-xl/seed-7/deri_zero_shot.ipynb"
    assert scores.main(["deri_zero_shot"], str(tmp_path)) == 0
    assert f"executed chapter  {chapter} is not kept" in capsys.readouterr().out
    chapter.parent.mkdir(parents=True)
    chapter.write_text("{}")
    assert scores.main(["deri_zero_shot"], str(tmp_path)) == 0
    assert f"executed chapter  {chapter}\n" in capsys.readouterr().out
