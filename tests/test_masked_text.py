"""Masked words: how many, which, and that nobody sees what was masked."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.masked_text import MaskedTexts
from ecglib.masking import mask_tokens, put, random_subsets, take
from ecglib.text import WHOLE, TextEncoder

TEXTS = ["Sinus rhythm. Normal ECG", "Atrial fibrillation with rapid ventricular response", "Sinus rhythm. Normal ECG"]


@pytest.fixture(scope="module")
def tower():
    return TextEncoder("minilm")


@settings(deadline=None, max_examples=50)
@given(n=st.integers(0, 30), ratio=st.floats(0, 0.95), seed=st.integers(0, 99))
def test_a_share_of_the_words_is_masked_and_special_tokens_never(n, ratio, seed):
    rng = np.random.default_rng(seed)
    ids = np.concatenate([[1], rng.integers(10, 99, n), [2]]).astype(np.int32)
    masked, where = mask_tokens(ids, ratio, 5, {1, 2, 5}, rng.random(len(ids)))
    assert where.sum() == (min(n, max(1, round(ratio * n))) if ratio else 0)
    assert (masked[where] == 5).all()
    np.testing.assert_array_equal(masked[~where], ids[~where])
    assert not where[0]
    assert not where[-1]
    assert masked.dtype == ids.dtype


def test_every_word_is_masked_as_often():
    rng = np.random.default_rng(0)
    ids = np.arange(8, dtype=np.int32)
    where = np.mean([mask_tokens(ids, 0.25, 99, {0, 7}, rng.random(8))[1] for _ in range(3000)], axis=0)
    np.testing.assert_allclose(where[1:7], 2 / 6, atol=0.03)
    with pytest.raises(ValueError, match="mask_ratio must lie in"):
        mask_tokens(ids, 1.0, 99, {0}, rng.random(8))


def test_what_was_taken_is_put_back():
    torch.manual_seed(0)
    tokens, filler = torch.randn(3, 7, 4), torch.tensor([1.0, 2.0, 3.0, 4.0])
    places = random_subsets((3,), 7, 3)
    again = put(take(tokens, places), places, 7, filler)
    for i in range(3):
        for j in range(7):
            expected = tokens[i, j] if j in places[i].tolist() else filler
            assert torch.equal(again[i, j], expected)


def test_masked_words_are_hidden_from_every_state(tower):
    """Two reports that differ in the masked words alone become the same input, so nothing of them can leak."""
    texts = MaskedTexts(tower, 0.25, kept=1)
    ids, where = texts.masked(TEXTS[1], 0)
    other = tower.tokenize([TEXTS[1]])[0].copy()
    other[where] = (other[where] + 7) % tower.vocabulary
    states, real, hidden, words = texts([TEXTS[1]])
    np.testing.assert_array_equal(hidden[0].numpy(), where)
    assert words[0].tolist() == tower.tokenize([TEXTS[1]])[0].tolist()
    assert real.all()
    torch.testing.assert_close(
        states, tower.states_of_ids([np.where(where, tower.mask_id, other).astype(ids.dtype)])[0]
    )
    unmasked = tower([TEXTS[1]])[0]
    assert ((states - unmasked).abs().amax(dim=-1) > 1e-2).all()  # every state had read the masked words


def test_kept_maskings_are_few_and_computed_once(tower, monkeypatch):
    texts = MaskedTexts(tower, 0.25, kept=2)
    texts.prepare(TEXTS)
    monkeypatch.setattr(tower, "_compute", lambda sequences: pytest.fail("frozen states were computed again"))
    torch.manual_seed(0)
    seen = {texts(TEXTS)[2][1].numpy().tobytes() for _ in range(20)}
    assert len(seen) == 2
    assert texts.prepare(TEXTS) == 0


def test_rows_with_one_report_share_one_masking(tower):
    states, real, hidden, words = MaskedTexts(tower, 0.25, kept=3)(TEXTS)
    for rows in (states, real, hidden, words):
        assert torch.equal(rows[0], rows[2])
    assert states.shape[:2] == real.shape == hidden.shape == words.shape
    assert not (hidden & ~real).any()


def test_a_tower_that_learns_reads_a_new_masking_every_time():
    tower = TextEncoder("minilm", trainable_layers=WHOLE)
    texts = MaskedTexts(tower, 0.25)
    torch.manual_seed(0)
    seen = {texts([TEXTS[1]])[2].numpy().tobytes() for _ in range(8)}
    assert len(seen) > 2
    texts([TEXTS[1]])[0].sum().backward()
    assert tower.token_embeddings.grad is not None
