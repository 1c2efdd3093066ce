"""Mixtures of sets and torn pairs: what was put in comes out, and what was trained on is not scored."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib import datasets, mixtures
from ecglib.data import open_dataset
from ecglib.data.mixture import mix
from ecglib.data.store import write_store


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))


def store(folder, n, seed, samples=200):
    signals = np.random.default_rng(seed).integers(-900, 900, (n, 12, samples)).astype(np.int16)
    table = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(n)],
            "patient": [f"p{i // 2}" for i in range(n)],
            "report": [f"report {seed} {i}" for i in range(n)],
            "age": np.arange(n, dtype=float),
            "fold": np.arange(n) % 10 + 1,
            "labels/csn": [["SR"] if i % 2 else [] for i in range(n)],
        }
    )
    return write_store(folder, 100, signals, table)


def test_a_mixture_holds_its_parts(tmp_path):
    parts = {"a": store(tmp_path / "a", 5, 0), "b": store(tmp_path / "b", 4, 1).select([3, 1])}
    whole = mix(parts)
    assert len(whole) == 7
    assert np.array_equal(whole.read_int16(range(5)), parts["a"].read_int16(range(5)))
    assert np.array_equal(whole.read_int16([5, 6]), parts["b"].read_int16([0, 1]))
    assert whole.records["id"].tolist()[-2:] == ["b/r3", "b/r1"]
    assert whole.records["patient"].tolist()[-2:] == ["b/p1", "b/p0"]  # b's patient 0 is not a's
    assert whole.records["report"].tolist()[5] == "report 1 3"
    assert whole.records["dataset"].tolist() == ["a"] * 5 + ["b"] * 2
    assert [list(labels) for labels in whole.records["labels/csn"]][:2] == [[], ["SR"]]
    assert mix(parts).fingerprint == whole.fingerprint
    assert mix({"a": parts["a"]}).fingerprint != whole.fingerprint


def test_parts_must_be_alike(tmp_path):
    with pytest.raises(ValueError, match="one rate, length and gain: a 100 Hz, 200 samples, b 100 Hz, 100 samples"):
        mix({"a": store(tmp_path / "a", 2, 0), "b": store(tmp_path / "b", 2, 1, samples=100)})


def test_simulated_mixture_has_the_proportions_of_table_1():
    made, kind = mixtures.pretraining_mixture("all", "demo", "simulated", {}, 0, n_records=132)
    counts = made.records["dataset"].value_counts().to_dict()
    assert kind == "simulated"
    assert counts == {"mimic-iv-ecg": 120, "ptb-xl": 4, "csn": 9}  # 600, 17 and 45 of 662
    of_ptbxl = made.records.query("dataset == 'ptb-xl'")
    assert set(of_ptbxl["fold"]) <= set(datasets.TRAINING_FOLDS)
    alone, _ = mixtures.pretraining_mixture("mimic-iv-ecg", "demo", "simulated", {}, 0, n_records=20)
    expected = open_dataset("simulated", cohort="mimic-iv-ecg", n=20, seed=0, sampling_rate_hz=100)
    assert alone.fingerprint == expected.fingerprint


def test_what_cannot_be_mixed_is_refused():
    with pytest.raises(ValueError, match="mixture is one of mimic-iv-ecg, all, not 'ptb'"):
        mixtures.pretraining_mixture("ptb", "demo", "simulated", {}, 0)
    with pytest.raises(ValueError, match="give dataset = 'simulated' or 'mimic-iv-ecg', not 'ptb-xl'"):
        mixtures.pretraining_mixture("all", "demo", "ptb-xl", {"ptb-xl": "x"}, 0)
    with pytest.raises(ValueError, match="needs the folders of ptb-xl, csn as well"):
        mixtures.pretraining_mixture("all", "demo", "mimic-iv-ecg", {"mimic-iv-ecg": "x"}, 0)


def test_a_model_of_the_mixture_is_not_scored_on_what_it_saw(tmp_path):
    stores = {name: store(tmp_path / name, 20, 0) for name in ("ptb-xl", "cpsc2018", "csn")}
    name = mixtures.joined("all", "mimic-iv-ecg")
    left = datasets.unseen_by(name, stores)
    assert set(left) == {"ptb-xl", "cpsc2018"}
    assert set(left["ptb-xl"].records["fold"]) == {datasets.TEST_FOLD}
    assert len(left["cpsc2018"]) == 20
    with pytest.raises(ValueError, match="has seen every record of csn"):
        datasets.unseen_by(name, {"csn": stores["csn"]})
    assert len(datasets.unseen_by("mimic-iv-ecg", stores)["csn"]) == 20
    assert mixtures.joined("all", "simulated") == "simulated"
    assert "not zero-shot" in mixtures.seen_words("all")
    assert mixtures.seen_words("mimic-iv-ecg") == ""


@settings(deadline=None, max_examples=50)
@given(n=st.integers(0, 40), share=st.floats(0, 1), seed=st.integers(0, 99))
def test_misaligned_tears_the_share_asked_for(n, share, seed):
    texts = [f"text {i}" for i in range(n)]
    given_out = mixtures.misaligned(texts, share, seed)
    assert sorted(given_out) == sorted(texts)  # nothing is lost or doubled
    torn = sum(a != b for a, b in zip(texts, given_out, strict=True))
    wanted = round(share * n)
    assert torn == (wanted if wanted != 1 else 0)  # one alone has nobody to change with
    assert given_out == mixtures.misaligned(texts, share, seed)


def test_misaligned_follows_its_seed_and_refuses_nonsense():
    texts = [str(i) for i in range(50)]
    assert mixtures.misaligned(texts, 0.5, 0) != mixtures.misaligned(texts, 0.5, 1)
    with pytest.raises(ValueError, match="between 0 and 1"):
        mixtures.misaligned(texts, 1.5, 0)
