"""Decoders, attention means and masks."""

import pytest
import torch

from ecglib.fusion import AttentionMean, CaptionDecoder, FeatureDecoder, masked_mean, sinusoidal_positions
from ecglib.masking import keep_mask


def test_masked_mean_counts_real_tokens_only():
    tokens = torch.randn(2, 5, 3)
    mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]], dtype=torch.bool)
    torch.testing.assert_close(masked_mean(tokens, mask)[0], tokens[0, :2].mean(0))
    torch.testing.assert_close(masked_mean(tokens), tokens.mean(1))


@pytest.mark.parametrize("shared", [0, 1])
def test_decoder_ignores_padding(shared):
    torch.manual_seed(0)
    decoder = FeatureDecoder(16, depth=2, heads=4, shared_tokens=shared).eval()
    tokens = torch.randn(1, 6, 16)
    mask = torch.tensor([[True] * 4 + [False] * 2])
    padded = decoder(torch.cat([tokens[:, :4], 9 * torch.randn(1, 2, 16)], dim=1), mask)
    torch.testing.assert_close(padded, decoder(torch.cat([tokens[:, :4], torch.zeros(1, 2, 16)], dim=1), mask))
    if not shared:  # behind padding a shared token stands at another place, but has no position of its own
        torch.testing.assert_close(padded, decoder(tokens[:, :4]))


def test_decoder_sees_order_and_any_length():
    torch.manual_seed(0)
    decoder = FeatureDecoder(16, depth=1, heads=2).eval()
    tokens = torch.randn(1, 7, 16)
    assert not torch.allclose(decoder(tokens), decoder(tokens.flip(1)))
    assert decoder(torch.randn(2, 700, 16)).shape == (2, 16)


def test_shared_token_changes_the_feature_and_learns():
    torch.manual_seed(0)
    decoder = FeatureDecoder(16, depth=1, heads=2, shared_tokens=1)
    decoder(torch.randn(3, 5, 16)).sum().backward()
    assert decoder.shared.grad.abs().sum() > 0


def test_positions_are_distinct():
    table = sinusoidal_positions(400, 32)
    assert torch.cdist(table, table).fill_diagonal_(1).min() > 1e-3


def test_attention_mean_is_invariant_to_order():
    torch.manual_seed(0)
    pool = AttentionMean(8, 2)
    tokens = torch.randn(2, 5, 8)
    torch.testing.assert_close(pool(tokens), pool(tokens[:, torch.randperm(5)]))


@pytest.mark.parametrize("ratio", [0.0, 0.1, 0.5])
def test_masks_have_the_ratio_asked_for(ratio):
    torch.manual_seed(0)
    mask = keep_mask((400, 500), ratio)
    assert set(mask.unique().tolist()) <= {0.0, 1.0}
    assert 1 - mask.mean().item() == pytest.approx(ratio, abs=0.005)
    if ratio:
        assert not torch.equal(mask, keep_mask((400, 500), ratio))


def test_an_impossible_ratio_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        keep_mask((2, 2), 1.0)


def causal_decoder():
    torch.manual_seed(0)
    return CaptionDecoder(16, depth=2, heads=4).double().eval()


@pytest.mark.parametrize("changed", range(6))
def test_caption_decoder_cannot_see_later_words(changed):
    """Position j is a function of words 0 to j: with a word changed, exactly the positions from it on move."""
    decoder = causal_decoder()
    words, ecg = torch.randn(2, 6, 16, dtype=torch.float64), torch.randn(2, 5, 16, dtype=torch.float64)
    other = words.clone()
    other[:, changed] = torch.randn(2, 16, dtype=torch.float64)
    moved = (decoder(words, ecg) - decoder(other, ecg)).abs().amax(dim=(0, 2)) > 1e-9
    assert moved.tolist() == [position >= changed for position in range(6)]


def test_caption_decoder_reads_every_ecg_token_and_their_order():
    decoder = causal_decoder()
    words, ecg = torch.randn(1, 4, 16, dtype=torch.float64), torch.randn(1, 5, 16, dtype=torch.float64)
    before = decoder(words, ecg)
    for token in range(5):
        other = ecg.clone()
        other[:, token] += 1
        assert ((decoder(words, other) - before).abs().amax(dim=2) > 1e-9).all()  # at every position
    assert not torch.allclose(decoder(words, ecg.flip(1)), before)
    assert decoder(words, torch.randn(1, 700, 16, dtype=torch.float64)).shape == words.shape


def test_caption_decoder_needs_no_padding_mask():
    """Words behind the end of a text change nothing before it."""
    decoder = causal_decoder()
    words, ecg = torch.randn(3, 7, 16, dtype=torch.float64), torch.randn(3, 5, 16, dtype=torch.float64)
    torch.testing.assert_close(decoder(words, ecg)[:, :4], decoder(words[:, :4], ecg))
