"""Fine-grained reports: proposals, their check against the ECG, and the simulator's truth about waveform features."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llm_server import Server
from torch import nn

from ecglib.data.store import write_store
from ecglib.errors import CheckpointError
from ecglib.fine_grained import (
    OUTCOMES,
    Checked,
    FineGrained,
    Proposals,
    extend,
    kept_on_disk,
    outcome,
    propose,
    verify,
)
from ecglib.llm_server import ServerModel
from ecglib.signals import LEADS
from ecglib.waveform_truth import agreement, decided, named_leads, truth

FEATURES_OF = {
    "Sinus rhythm. Normal ECG.": ["PR interval constant", "normal ecg"],
    "Left bundle branch block": ["broad R wave in V6", "no Q wave in V6", "broad R wave in V6 "],
    "Nothing to say": [],
}
REPORTS = list(FEATURES_OF)


class Planted(nn.Module):
    """An ECG is the mean of its leads and a text a fixed vector; counts what it is asked to encode."""

    def __init__(self):
        super().__init__()
        self.still = nn.Parameter(torch.zeros(1))
        self.texts: list[str] = []
        self.ecgs = 0

    def vector(self, text):
        generator = torch.Generator().manual_seed(sum(map(ord, text)))
        return nn.functional.normalize(torch.randn(12, generator=generator), dim=0)

    def encode_text(self, texts):
        self.texts += texts
        return torch.stack([self.vector(text) for text in texts])

    def encode_ecg(self, ecg):
        self.ecgs += len(ecg)
        return nn.functional.normalize(ecg.mean(dim=-1), dim=-1)

    def probability(self, similarity):
        return torch.sigmoid(5 * similarity)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    reports = [REPORTS[i % 3] for i in range(11)]
    signals = (rng.normal(size=(11, 12, 1)) + 0.1 * rng.normal(size=(11, 12, 50))).astype(np.float32)
    records = pd.DataFrame({"id": [f"r{i}" for i in range(11)], "report": reports})
    return write_store(tmp_path_factory.mktemp("fine") / "store", 100, signals, records)


def test_proposals_leave_out_what_is_stated_or_repeated():
    proposals = Proposals.of(FEATURES_OF)
    assert proposals.features == ["PR interval constant", "broad R wave in V6", "no Q wave in V6"]
    assert list(proposals.of_report.values()) == [[0], [1, 2], []]
    record, feature = proposals.pairs([REPORTS[1], REPORTS[2], REPORTS[0], REPORTS[1]])
    assert record.tolist() == [0, 0, 2, 3, 3]
    assert feature.tolist() == [1, 2, 0, 1, 2]
    with pytest.raises(ValueError, match="no proposals for the report 'Atrial flutter'"):
        proposals.pairs(["Atrial flutter"])


@settings(deadline=None, max_examples=40)
@given(
    of=st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=5), min_size=1, max_size=6),
    order=st.lists(st.integers(0, 5), max_size=20),
)
def test_pairs_are_each_reports_own_features(of, order):
    features_of = {f"{i}": [f"wave {letter}" for letter in letters] for i, letters in enumerate(of)}
    reports = [f"{i % len(of)}" for i in order]
    proposals = Proposals.of(features_of)
    record, feature = proposals.pairs(reports)
    found = [(r, proposals.features[f]) for r, f in zip(record.tolist(), feature.tolist(), strict=True)]
    assert found == [(r, text) for r, report in enumerate(reports) for text in dict.fromkeys(features_of[report])]


@pytest.mark.parametrize("batch_size", [1, 3, 4, 11, 100])
def test_check_is_the_naive_loop_and_encodes_everything_once(store, batch_size):
    model = Planted().train()
    reports = list(store.records["report"])
    proposals = Proposals.of(FEATURES_OF)
    checked = verify(model, store, reports, proposals, batch_size)
    assert not model.training
    assert sorted(model.texts) == sorted(proposals.features)  # each distinct feature once
    assert model.ecgs <= len(store)  # each ECG at most once
    row = 0
    for i, report in enumerate(reports):  # algorithm 1, lines 4 to 7
        for position in proposals.of_report[report]:
            ecg = model.encode_ecg(torch.from_numpy(store.read([i])))[0]
            expected = torch.sigmoid(5 * ecg @ model.vector(proposals.features[position])).item()
            assert (checked.record[row], checked.feature[row]) == (i, position)
            assert checked.probability[row] == pytest.approx(expected, abs=1e-6)
            row += 1
    assert row == len(checked.record)


def test_threshold_decides_what_enters_the_report(store):
    reports = list(store.records["report"])
    checked = verify(Planted(), store, reports, Proposals.of(FEATURES_OF))
    assert extend(reports, checked, 1.0) == reports
    everything = extend(reports, checked, -1.0)
    assert everything[0] == "Sinus rhythm. Normal ECG. PR interval constant"
    assert everything[1] == "Left bundle branch block. broad R wave in V6. no Q wave in V6"
    assert everything[2] == "Nothing to say"
    threshold = float(np.median(checked.probability))
    for i, text in enumerate(extend(reports, checked, threshold)):  # lines 8 and 9
        mine = checked.record == i
        kept = [checked.features[f] for f in checked.feature[mine & (checked.probability > threshold)]]
        assert text.removeprefix(reports[i].rstrip(".")).strip(". ").split(". ") == (kept or [""])


def test_nothing_proposed_is_nothing_added(store):
    reports = list(store.records["report"])
    checked = verify(Planted(), store, reports, Proposals.of(dict.fromkeys(REPORTS, ())))
    assert len(checked.record) == 0
    assert extend(reports, checked, 0.0) == reports
    with pytest.raises(ValueError, match="11 records but 1 reports"):
        verify(Planted(), store, reports[:1], Proposals.of(FEATURES_OF))


def test_the_knowledge_base_proposes_for_distinct_reports():
    reports = ["First degree A-V block", "Sinus rhythm, no ST elevation", "First degree A-V block", "nothing of note"]
    proposals = propose(reports)
    assert list(proposals.of_report) == list(dict.fromkeys(reports))
    assert proposals.asked["reports"] == 3
    features = {report: [proposals.features[i] for i in at] for report, at in proposals.of_report.items()}
    assert any("PR interval" in feature for feature in features[reports[0]])
    assert not any("ST" in feature for feature in features[reports[1]])  # what is negated is not proposed
    assert features["nothing of note"] == []


def asked(**counts):
    return dict.fromkeys(OUTCOMES, 0) | {"model": {"model": "a"}} | counts


def test_texts_are_made_once_for_what_they_are_made_from(tmp_path, capsys):
    path, calls = tmp_path / "stage-1" / "fine_grained.json", []

    def make():
        calls.append(1)
        return FineGrained([f"text {len(calls)}"], asked(refused=len(calls)))

    assert kept_on_disk(path, ["weights", 0.1], make) == (["text 1"], asked(refused=1))
    assert kept_on_disk(path, ["weights", 0.1], make) == (["text 1"], asked(refused=1))
    assert kept_on_disk(path, ["weights", 0.2], make) == (["text 2"], asked(refused=2))
    assert capsys.readouterr().out == ""
    path.write_text(path.read_text()[:-5])
    with pytest.raises(CheckpointError, match="is damaged"):
        kept_on_disk(path, ["weights", 0.2], make)


@pytest.mark.parametrize("status", ["failed", "timed_out"])
def test_texts_with_lost_answers_are_made_again(tmp_path, capsys, status):
    path = tmp_path / "fine_grained.json"
    lost, whole = FineGrained(["a"], asked(**{status: 2})), FineGrained(["a. wave"], asked())
    assert kept_on_disk(path, ["weights"], lambda: lost) == lost
    assert not path.exists()
    (line,) = capsys.readouterr().out.splitlines()
    assert "2 answers failed or timed out" in line
    assert kept_on_disk(path, ["weights"], lambda: whole) == whole
    assert kept_on_disk(path, ["weights"], lambda: lost) == whole


def test_what_became_of_the_questions_is_one_line_with_every_count(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    reports = ["sinus rhythm", "sinus rhythm", "bad rhythm"]
    with Server(tmp_path) as server:
        model = ServerModel(server.url, "sometimes", retries=0)
        proposals = propose(reports, model)
    said = "features by sometimes: 2 distinct, 0 answered, 0 refused, 1 malformed, 0 timed out, 1 failed, 0 dropped"
    assert outcome(proposals.asked) == said


def records(**changes):
    """Two records: the first ordinary, the second as ``changes`` say."""
    usual = {"rate_bpm": 70, "pr_ms": 160, "qrs_ms": 90, "qtc_ms": 420, "axis_deg": 40, "p_amp_mv": 0.1}
    for lead in LEADS:
        usual |= {f"st_mv_{lead}": 0.0, f"t_amp_mv_{lead}": 0.3, f"r_amp_mv_{lead}": 1.0, f"s_amp_mv_{lead}": 0.3}
    return pd.DataFrame([usual, usual | changes]).add_prefix("feature/")


@pytest.mark.parametrize(
    ("feature", "changes"),
    [
        ("PR interval above 200 ms", {"pr_ms": 230}),
        ("QRS duration of 120 ms or more", {"qrs_ms": 120}),
        ("QRS duration of 110 to 120 ms", {"qrs_ms": 114}),
        ("QTc above 460 ms", {"qtc_ms": 480}),
        ("RR intervals above 1000 ms", {"rate_bpm": 50}),
        ("left axis beyond -45 degrees", {"axis_deg": -60}),
        ("right axis deviation", {"axis_deg": 110}),
        ("peaked P wave above 0.25 mV in II, III and aVF", {"p_amp_mv": 0.3}),
        ("ST elevation in II, III and aVF", {"st_mv_II": 0.15, "st_mv_III": 0.2}),
        ("ST elevation in V2 to V4", {"st_mv_V2": 0.25, "st_mv_V4": 0.15}),
        ("ST segment below the baseline in two neighbouring leads", {"st_mv_V5": -0.1, "st_mv_V6": -0.1}),
        ("ST depression or T wave inversion in I, aVL, V5 and V6", {"st_mv_I": -0.1, "t_amp_mv_V6": -0.2}),
        ("inverted T wave in two neighbouring leads", {"t_amp_mv_V3": -0.2, "t_amp_mv_V4": -0.2}),
        ("S wave larger than R wave still in V5", {"s_amp_mv_V5": 1.2}),
    ],
)
def test_truth_is_read_from_the_measurements(feature, changes):
    assert truth(feature, records(**changes)).tolist() == [False, True]
    assert truth(feature, records()).tolist() == [False, False]


def test_truth_needs_enough_leads_and_knows_what_it_cannot_say():
    assert truth("ST elevation in II, III and aVF", records(st_mv_II=0.3)).tolist() == [False, False]
    apart = records(t_amp_mv_V1=-0.2, t_amp_mv_V5=-0.2)
    assert truth("inverted T wave in two neighbouring leads", apart).tolist() == [False, False]
    assert truth("isoelectric ST segment in all leads", records(st_mv_V1=0.3)).tolist() == [True, False]
    for unmeasured in ("delta wave at the onset of QRS", "Q wave in II, III and aVF", "inverted T wave somewhere"):
        assert truth(unmeasured, records()) is None
    with pytest.raises(ValueError, match="no true measurements"):
        truth("QTc above 460 ms", pd.DataFrame({"report": ["normal"]}))


def test_leads_are_read_from_words():
    assert named_leads("V3 to V6, I and aVL") == ["V3", "V4", "V5", "V6", "I", "aVL"]
    assert named_leads("leads with Q waves") == []


def planted(n, knows, seed=0):
    """Half of the records have a long PR interval; the filter knows it, or knows only that QTc is never long."""
    rng = np.random.default_rng(seed)
    long = rng.random(n) < 0.5
    table = pd.concat([records(pr_ms=230 if here else 160).iloc[1:] for here in long], ignore_index=True)
    table["patient"] = [f"p{i}" for i in range(n)]
    features = ["PR interval above 200 ms", "QTc above 460 ms", "delta wave at the onset of QRS"]
    record = np.repeat(np.arange(n), 3)
    feature = np.tile([0, 1, 2], n)
    sees = long if knows else rng.permutation(long)
    probability = np.where(feature == 0, np.where(sees[record], 0.9, 0.1), np.where(feature == 1, 0.05, 0.5))
    return Checked(features, record, feature, probability.astype(np.float32)), table, long


def test_agreement_of_a_filter_that_knows_and_of_one_that_does_not():
    checked, table, long = planted(120, knows=True)
    found = agreement(checked, table, 0.5, repeats=200)
    assert found.loc["proposed", "pairs"] == 240  # the delta wave is not measured
    assert found.loc["proposed", "true"] == pytest.approx(100 * long.sum() / 240)
    assert found.loc["kept", ["true", "ci_low", "ci_high"]].tolist() == [100, 100, 100]
    assert found.loc["dropped", "true"] == 0
    assert found.loc["kept by lot", "true"] == pytest.approx(100 * long.mean())
    assert found.loc["kept above lot", "ci_low"] > 30
    blind, table, long = planted(120, knows=False)
    found = agreement(blind, table, 0.5, repeats=200)
    assert found.loc["kept", "true"] > found.loc["proposed", "true"]  # by knowing that QTc is never long
    assert found.loc["kept above lot", "ci_low"] < 0 < found.loc["kept above lot", "ci_high"]
    nothing = agreement(checked, table, 1.0, repeats=20)
    assert nothing.loc["kept", "pairs"] == 0
    assert np.isnan(nothing.loc["kept", "true"])


def test_agreement_is_the_naive_count():
    rng = np.random.default_rng(1)
    checked, table, long = planted(40, knows=True)
    checked = Checked(checked.features, checked.record, checked.feature, rng.random(120).astype(np.float32))
    found = agreement(checked, table, 0.4, repeats=5)
    kept, by_lot = [], []
    for record, feature, probability in zip(checked.record, checked.feature, checked.probability, strict=True):
        if feature < 2 and probability > 0.4:
            kept.append(long[record] if feature == 0 else False)
            by_lot.append(long.mean() if feature == 0 else 0.0)
    assert found.loc["kept", "pairs"] == len(kept)
    assert found.loc["kept", "true"] == pytest.approx(100 * np.mean(kept))
    assert found.loc["kept by lot", "true"] == pytest.approx(100 * np.mean(by_lot))


def test_features_that_can_be_scored():
    _, table, long = planted(60, knows=True)
    names, labels = decided(
        ["PR interval above 200 ms", "QTc above 460 ms", "delta wave", "PR interval above 200 ms"], table
    )
    assert names == ["PR interval above 200 ms"]
    assert labels[:, 0].tolist() == long.tolist()
