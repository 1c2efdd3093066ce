"""A reader's scores on real and simulated records, other hospitals, the worst mistakes: known truth first."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib.answers import answers
from ecglib.chapters import mistakes, other_hospitals, transfer
from ecglib.data import open_dataset
from ecglib.data.store import write_store
from ecglib.data.synthetic import simulate_store
from ecglib.errors import ParameterError
from ecglib.metrics import macro_auc
from ecglib.run import Run
from ecglib.signals import LEADS
from ecglib.statement_scores import SUPERCLASSES, class_questions, questions, save_predictions, score
from ecglib.statements import scp_of

CODES = ("NORM", "AFIB", "IMI", "LVH", "CLBBB", "PVC")


class Stand:
    """A reader's interface without a network: a statement is a fixed mixture of the leads' standard deviations."""

    codes = CODES
    rate_hz = 100

    def __init__(self, seed=0):
        self.seed = seed
        self.mixture = np.random.default_rng(seed).standard_normal((len(LEADS), len(CODES)))

    def scores(self, ecg_mv, hz):
        assert ecg_mv.ndim == 3
        assert hz in (100, 500)
        return torch.from_numpy(np.asarray(ecg_mv, dtype=float).std(axis=2) @ self.mixture)

    def probabilities(self, ecg_mv, hz):
        return torch.sigmoid(self.scores(ecg_mv, hz))

    def superclasses(self, ecg_mv, hz):
        return self.scores(ecg_mv, hz).numpy()[:, :5]

    def untrained(self, seed):
        return Stand(seed)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))


def a_run(tmp_path, **given):
    usual = {"profile": "demo", "seed": 0, "n_bootstrap": 50, "results_dir": str(tmp_path / "results")}
    usual |= {"dataset": "simulated", "reader": "", "challenge_root": "", "cpsc2018_root": ""}
    return Run("simulator_realism", usual | given)


def store_of(folder, findings, **columns):
    n = len(findings)
    signals = np.random.default_rng(0).normal(size=(n, 12, 500)).astype(np.float32)
    table = {"id": [f"r{i}" for i in range(n)], "findings": findings}
    table["labels/ptbxl-super"] = [["NORM"] if "NORM" in some else ["MI"] if "IMI" in some else [] for some in findings]
    return write_store(folder, 100, signals, pd.DataFrame(table | columns))


def test_findings_are_counted_as_ptbxl_would():
    assert scp_of(["2AVB1", "AFIB"]) == {"2AVB", "AFIB"}
    assert scp_of(["AT", "LAXIS", "NST_"]) == {"SVTAC", "NST"}


def test_a_reader_that_knows_has_a_hundred_and_one_that_guesses_fifty(tmp_path):
    rng = np.random.default_rng(1)
    findings = [[code for code in CODES if rng.random() < 0.3] for _ in range(400)]
    asked = questions("made", store_of(tmp_path / "s", findings), CODES)
    knows = score(asked, asked.labels.astype(float), repeats=50)
    assert knows.mean == knows.ci_low == 100
    guesses = score(asked, rng.random(asked.labels.shape), repeats=200)
    assert guesses.ci_low < 50 < guesses.ci_high
    assert ((guesses.table["chance_low"] < 50) & (guesses.table["chance_high"] > 50)).all()


def test_the_mean_is_that_of_the_evaluator_used_everywhere(tmp_path):
    rng = np.random.default_rng(2)
    findings = [[code for code in CODES if rng.random() < 0.3] for _ in range(120)]
    patients = [f"p{i // 3}" for i in range(120)]
    asked = questions("made", store_of(tmp_path / "s", findings, patient=patients), CODES)
    scores = asked.labels + rng.normal(size=asked.labels.shape)
    ours = score(asked, scores, repeats=200, seed=3)
    theirs = macro_auc(asked.labels, scores, list(CODES), np.array(patients), repeats=200, seed=3)
    assert ours.mean == pytest.approx(theirs.value)
    assert (ours.ci_low, ours.ci_high) == pytest.approx((theirs.ci_low, theirs.ci_high))
    assert ours.table["auc"].tolist() == pytest.approx([entry["auc"] for entry in theirs.classes.values()])


def test_a_statement_needs_five_records(tmp_path):
    findings = [["AFIB"]] * 4 + [["IMI"]] * 5 + [["NORM"]] * 10
    asked = questions("made", store_of(tmp_path / "s", findings), CODES)
    found = score(asked, np.zeros(asked.labels.shape), repeats=10)
    assert found.table["code"].tolist() == ["NORM", "IMI"]
    assert found.table["positives"].tolist() == [10, 5]
    assert score(asked, np.zeros(asked.labels.shape), repeats=10, only={"IMI"}).table["code"].tolist() == ["IMI"]
    none = score(asked, np.zeros(asked.labels.shape), repeats=10, only=set())
    assert np.isnan(none.mean)
    assert len(none.table) == 0


def test_a_hospital_that_never_writes_a_statement_has_not_denied_it(tmp_path):
    """Hospital b leaves out AFIB though its records show it: these count neither as present nor as absent."""
    findings = [["AFIB"]] * 10 + [["NORM"]] * 10 + [["NORM"]] * 20
    store = store_of(tmp_path / "s", findings, part=["a"] * 20 + ["b"] * 20)
    scores = np.zeros((40, len(CODES)))
    scores[:10, 1] = scores[20:, 1] = 1.0
    fair = score(questions("made", store, CODES, "part"), scores, repeats=10).table.set_index("code")
    unfair = score(questions("made", store, CODES), scores, repeats=10).table.set_index("code")
    assert fair.loc["AFIB", "auc"] == 100
    assert fair.loc["AFIB", "n"] == 20
    assert unfair.loc["AFIB", "auc"] < 70


def test_superclasses_are_in_the_readers_order(tmp_path):
    asked = class_questions("made", store_of(tmp_path / "s", [["NORM"], ["IMI"], ["PVC"]]))
    assert asked.codes == SUPERCLASSES == ("NORM", "MI", "STTC", "CD", "HYP")
    assert asked.labels.tolist() == [[True] + [False] * 4, [False, True] + [False] * 3]
    assert asked.store.records["id"].tolist() == ["r0", "r1"]


def test_transfer_is_scored_on_both_sides_and_recorded(tmp_path):
    stores = tuple(
        simulate_store(tmp_path / name, name, 150, seed=9, sampling_rate_hz=100) for name in ("ptb-xl", "csn")
    )
    run = a_run(tmp_path)
    found = transfer.transfer(run, Stand(), stores, ("one", "other"), "simulated")
    real = found.real[transfer.STATEMENTS]
    again = score(real.of, answers(Stand().scores, stores[0]), repeats=50)
    pd.testing.assert_frame_equal(real.table, again.table)
    assert set(found.simulated[transfer.STATEMENTS].table["code"]) <= set(real.table["code"])
    assert len(found.untrained) == 5
    low, mean, high = (found.chance[transfer.STATEMENTS][i] for i in (1, 0, 2))
    assert low < mean < high
    assert mean == pytest.approx(50, abs=2)
    table = transfer.transfer_table(found).set_index("what")
    assert "aim" not in table  # aims are for real records
    assert transfer.transfer_table(replace(found, kind="subset")).set_index("what").loc["NORM", "aim"] == "84"
    means = [net[transfer.STATEMENTS].mean for net in found.untrained]
    count, other = len(real.table), len(found.simulated[transfer.STATEMENTS].table)
    what = f"statements, mean of {count}" + (f" (of {other} on the other side)" if other < count else "")
    shown = table.loc[what, "5 untrained (lowest to highest)"]
    assert shown == f"{np.mean(means):.1f} ({min(means):.1f} to {max(means):.1f})"
    assert table.loc["NORM", "records"].endswith(f"of {found.real[transfer.CLASSES].n}")
    rows = transfer.rows(found)
    keys = [tuple(row[k] for k in ("method", "dataset", "data_kind", "setting", "metric")) for row in rows]
    assert len(keys) == len(set(keys))
    assert {row["method"] for row in rows} == {"reader", "random-encoder", "chance"}
    run.record(rows)
    said = transfer.in_words(found)
    assert f"{real.mean:.1f}" in said
    assert "Aims" not in said
    met, not_met, unsure = transfer._met(found)
    assert len(met) + len(not_met) == 7
    assert set(unsure) <= set(met)
    judged = transfer.in_words(replace(found, kind="subset"))
    assert f"Not met: {', '.join(not_met)}. The weakest" in judged
    kept = pd.read_parquet(save_predictions(tmp_path / "p.parquet", [real]))
    norm = kept[kept["class"] == "NORM"]
    assert norm["label"].tolist() == real.of.labels[:, 0].tolist()
    assert norm["score"].to_numpy() == pytest.approx(real.scores[:, 0])


def test_weak_statements_are_told_by_the_side_they_are_weak_on():
    def side(name, **auc):
        table = pd.DataFrame([{"code": code, "auc": value} for code, value in auc.items()])
        return {transfer.STATEMENTS: SimpleNamespace(table=table, of=SimpleNamespace(name=name))}

    found = SimpleNamespace(
        real=side("real", AMI=54, ABQRS=67, AFIB=98, NST=82, PMI=40),
        simulated=side("simulated", AMI=87, ABQRS=64, AFIB=97, NST=64),
    )
    said = " Below 70 on both sides: ABQRS 67, simulated 64. Below 70 on real alone: AMI 54, simulated 87."
    assert transfer._weak(found) == f"{said} Below 70 and too rare to score on the other side: PMI 40."
    found.real = side("real", AMI=54, ABQRS=67, AFIB=98, NST=82)
    assert transfer._weak(found) == said


def test_no_reader_is_said_and_a_wrong_one_refused(tmp_path, capsys):
    assert transfer.open_reader(a_run(tmp_path)) is None
    assert "transfer is left out" in capsys.readouterr().out
    with pytest.raises(ParameterError, match="no such folder"):
        transfer.open_reader(a_run(tmp_path, reader=str(tmp_path / "nowhere")))


def test_the_worst_mistakes_are_found_once_each(tmp_path):
    findings = [["NORM"]] * 6 + [["AFIB"]] * 6
    asked = questions("made", store_of(tmp_path / "s", findings), ("NORM", "AFIB", "PVC"))
    probabilities = np.where(asked.labels, 0.9, 0.1)
    probabilities[2, 1] = 0.95  # a normal record called fibrillation
    probabilities[3, 1] = 0.94  # likewise: not told twice
    probabilities[7, 0] = 0.8
    probabilities[8, 1] = 0.01  # fibrillation not seen
    probabilities[:, 2] = 0.99  # a statement that is not scored
    alarm, second, missed, _ = mistakes.worst(asked, probabilities, ["NORM", "AFIB"], n=2)
    assert (alarm.kind, alarm.id, alarm.code, alarm.probability) == (mistakes.FALSE_ALARM, "r2", "AFIB", 0.95)
    assert (second.id, second.code) == ("r7", "NORM")
    assert (missed.kind, missed.id, missed.code, missed.labels) == (mistakes.MISSED, "r8", "AFIB", ("AFIB",))
    assert alarm.ranked == (("PVC", 0.99), ("AFIB", 0.95), ("NORM", 0.9))


def test_the_mistakes_are_drawn_and_tabled(tmp_path, monkeypatch):
    store = simulate_store(tmp_path / "s", "ptb-xl", 60, seed=1, sampling_rate_hz=100)
    asked = questions("simulated", store, CODES)
    run = a_run(tmp_path)
    reader = Stand()
    shown = []
    monkeypatch.setattr(mistakes, "display", lambda *what: shown.append(what))
    table = mistakes.show(run, score(asked, answers(reader.scores, store), repeats=10),
                          answers(reader.probabilities, store))  # fmt: skip
    assert table["mistake"].tolist()[0] == "false alarm"
    assert len(table) == len(shown) == len(list(run.folder.glob("mistake_*")))
    for (text, _), row in zip(shown, table.to_dict("records"), strict=True):
        said = f"{row['statement']}, {row['probability, %']}\u00a0%.** Simulated, record {row['record']}."
        assert text.data.startswith(f"**{row['mistake'].capitalize()}: {said}")


def test_ranks_of_labels(tmp_path):
    asked = questions("made", store_of(tmp_path / "s", [["AFIB"], ["NORM", "IMI"]]), ("NORM", "AFIB", "IMI"))
    ranks = other_hospitals.label_ranks(asked, np.array([[3.0, 2, 1], [1, 2, 3]]))
    assert list(ranks.itertuples(index=False, name=None)) == [("r0", "AFIB", 2), ("r1", "NORM", 3), ("r1", "IMI", 1)]


def test_other_hospitals_hold_no_record_twice(tmp_path, real_data, capsys):
    run = a_run(
        tmp_path,
        challenge_root=str(real_data("cinc2021_samples")),
        cpsc2018_root=str(real_data("cpsc2018_original")),
    )
    found = other_hospitals.stores(run)
    challenge, cpsc = found["cinc2021"], found["cpsc2018"]
    assert "ptb-xl" not in set(challenge.records["part"])
    assert not set(challenge.records["id"]) & set(cpsc.records["id"])
    assert len(challenge) + len(cpsc) == len(set(challenge.records["id"]) | set(cpsc.records["id"]))
    assert "left out of the Challenge" in capsys.readouterr().out
    read = other_hospitals.read(run, Stand(), found)
    table = other_hospitals.table(read).set_index("set")
    assert table.loc["CPSC2018", "records"] == 7
    assert table.loc["CPSC2018", "statements scored"] == 0
    assert table.loc["CPSC2018", "mean AUC"] == "–"
    rows = other_hospitals.rows(read, other_hospitals.kinds(found))
    assert {row["data_kind"] for row in rows} == {"subset"}
    run.record(rows)
    said = other_hospitals.in_words(read)
    assert "no statement has five positive records" in said
    low = read["cinc2021"].table.query("auc < @transfer.LOW")
    assert len(low)  # a stand-in that answers at random is low somewhere
    for row in low.itertuples():
        assert f"{row.code} {row.auc:.0f} ({row.ci_low:.0f} to {row.ci_high:.0f}, {row.positives} positive)" in said


def test_answers_come_in_order_and_without_the_padding(tmp_path):
    seconds = [5.0, 3.0, 5.0, 4.0]
    store = store_of(tmp_path / "s", [["NORM"]] * 4, duration_s=seconds)
    seen = answers(lambda ecg, hz: np.stack([ecg[:, 0, 0], np.full(len(ecg), ecg.shape[2] / hz)], axis=1), store)
    assert seen[:, 1].tolist() == seconds
    np.testing.assert_array_equal(seen[:, 0], store.read(range(4))[:, 0, 0])


def test_real_ptbxl_statements_are_those_of_its_table(real_data):
    store = open_dataset("ptb-xl", real_data("ptbxl_subset"), sampling_rate_hz=100)
    asked = questions("real", store, ("NORM", "SR", "AFIB"))
    written = pd.read_csv(real_data("ptbxl_subset") / "ptbxl_database.csv", dtype=str).set_index("ecg_id")["scp_codes"]
    for record, labels in zip(store.records["id"], asked.labels, strict=True):
        assert [f"'{code}'" in written[record] for code in asked.codes] == labels.tolist()
