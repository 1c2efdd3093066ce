"""Evaluations on models whose answers are known."""

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib import evaluate as ev
from ecglib.data.store import write_store
from ecglib.metrics import class_auc

RHYTHMS = ["SR", "AFIB", "SBRAD"]
TEXTS = {"SR": "sinus rhythm", "AFIB": "atrial fibrillation", "SBRAD": "sinus bradycardia"}


class Oracle(torch.nn.Module):
    """Reads the class that was written into lead II, and knows the three texts; all through the papers' contract."""

    def __init__(self, blind: bool = False):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))
        self.blind = blind

    def encode_ecg(self, ecg, leads=None):
        return torch.tensor([[1.0, 0.0]]).repeat(len(ecg), 1)

    def encode_text(self, texts):
        return torch.tensor([[1.0, 0.0]]).repeat(len(texts), 1)

    def encode_classes(self, prompts):
        return prompts

    def score(self, ecg, prompts, leads=None):
        row = 1 if leads is None else list(leads).index("II")
        level = ecg[:, row].mean(dim=-1)
        level = torch.zeros_like(level) if self.blind else level
        levels = {text: number + 1.0 for number, text in enumerate(TEXTS.values())}
        wanted = torch.tensor([levels.get(p[0], 9.0) for p in prompts])
        return -(level[:, None] - wanted[None]).abs()


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 3, size=60)
    signals = np.zeros((60, 12, 20), np.float32)
    signals[:, 1] = kind[:, None] + 1.0
    records = pd.DataFrame(
        {
            "id": [f"r{i}" for i in range(60)],
            "patient": [f"p{i // 2}" for i in range(60)],
            "report": [list(TEXTS.values())[k] for k in kind],
            "labels/ptbxl-rhythm": [[RHYTHMS[k]] if i else [] for i, k in enumerate(kind)],
        }
    )
    return write_store(tmp_path_factory.mktemp("store") / "s", 100, signals, records)


def prompts(store):
    classes = store.task("ptbxl-rhythm")[2]
    return {"zero-shot, names": {"ptbxl-rhythm": {c: [TEXTS.get(c, c)] for c in classes}}}


def test_a_model_that_knows_scores_a_hundred(store):
    (result,) = ev.zero_shot(Oracle(), store, prompts(store), repeats=50)
    assert result.auc.value == 100
    assert set(result.auc.classes) == set(RHYTHMS)
    assert len(result.auc.left_out) == 12 - 3
    assert result.auc.n == 59  # the record without a label takes no part
    (one_lead,) = ev.zero_shot(Oracle(), store, prompts(store), ("V1", "II"), repeats=5)
    assert one_lead.auc.value == 100


def test_a_model_that_sees_nothing_is_at_chance(store):
    (result,) = ev.zero_shot(Oracle(blind=True), store, prompts(store), repeats=50)
    assert result.auc.value == 50


def test_rows_carry_the_keys_of_the_schema(store):
    result = ev.zero_shot(Oracle(), store, prompts(store), repeats=50)
    rows = [ev.metric_row("deri", "simulated", result[0]), *ev.chance_rows("simulated", result)]
    rows += ev.random_encoder_rows("simulated", [ev.zero_shot(Oracle(blind=True), store, prompts(store)) for _ in "ab"])
    from ecglib.results import METRIC_KEYS

    assert all(set(row) == set(METRIC_KEYS) for row in rows)
    assert rows[1]["value"] == pytest.approx(50, abs=2)
    assert rows[2]["value"] == 50


def test_scores_can_be_computed_again_from_the_predictions(store, tmp_path):
    (result,) = ev.zero_shot(Oracle(), store, prompts(store), repeats=5)
    table = pd.read_parquet(ev.save_predictions(tmp_path / "p.parquet", [result]))
    wide = table.pivot_table(index="id", columns="class", values=["score", "label"], observed=True)
    auc = class_auc(wide["label"].to_numpy().astype(bool), wide["score"].to_numpy())
    assert np.nanmean(auc) == 1


def test_retrieval_counts_every_distinct_report_once(store):
    rng = np.random.default_rng(0)
    reports = ["common"] * 150 + [f"t{i}" for i in range(50)]
    records = pd.DataFrame({"id": [f"r{i}" for i in range(200)], "report": reports})
    many = write_store(store.folder.parent / "many", 100, rng.normal(size=(200, 12, 10)).astype(np.float32), records)

    class Frequency(Oracle):
        def encode_text(self, texts):
            angle = torch.tensor([0.0 if text == "common" else 0.02 * (1 + float(text[1:])) for text in texts])
            return torch.stack([angle.cos(), angle.sin()], dim=1)

    found = ev.retrieval(Frequency(), many, repeats=20)
    assert found.distinct == 51
    assert found.recall_at_10 == pytest.approx(found.chance)


def test_a_collapsed_model_retrieves_at_chance(store):
    texts = pd.DataFrame({"id": [f"r{i}" for i in range(60)], "report": [f"text {i}" for i in range(60)]})
    many = write_store(store.folder.parent / "same", 100, np.zeros((60, 12, 10), np.int16), texts)
    found = ev.retrieval(Oracle(), many, repeats=20)
    assert found.recall_at_10 == pytest.approx(found.chance)
