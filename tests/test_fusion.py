"""Decoders, attention means and masks."""

import pytest
import torch

from ecglib.fusion import (
    AttentionMean,
    AttentionPool,
    CaptionDecoder,
    FeatureDecoder,
    masked_mean,
    sinusoidal_positions,
)
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


def test_attention_pool_is_its_equation():
    """One query, softmax over the tokens in every head, written out; positions weigh tokens but are not read."""
    torch.manual_seed(0)
    pool = AttentionPool(16, heads=2).double()
    tokens = torch.randn(3, 7, 16, dtype=torch.float64)
    weights, biases = pool.attention.in_proj_weight.chunk(3), pool.attention.in_proj_bias.chunk(3)
    q = pool.query[0, 0] @ weights[0].T + biases[0]
    k = (tokens + sinusoidal_positions(7, 16)) @ weights[1].T + biases[1]
    v = tokens @ weights[2].T + biases[2]
    heads = []
    for h in (slice(0, 8), slice(8, 16)):
        share = torch.softmax(k[..., h] @ q[h] / 8**0.5, dim=1)  # (B, L)
        heads.append((share.unsqueeze(-1) * v[..., h]).sum(dim=1))
    expected = pool.attention.out_proj(torch.cat(heads, dim=-1))
    torch.testing.assert_close(pool(tokens), expected, atol=1e-9, rtol=1e-9)


def test_attention_pool_of_equal_tokens_is_that_token_at_any_length():
    """The weights sum to one, so how often a token is repeated does not matter; of different ones the order does."""
    torch.manual_seed(0)
    pool = AttentionPool(16, heads=4).double()
    token = torch.randn(2, 1, 16, dtype=torch.float64)
    torch.testing.assert_close(pool(token.expand(2, 313, 16)), pool(token), atol=1e-9, rtol=1e-9)
    tokens = torch.randn(2, 9, 16, dtype=torch.float64)
    assert not torch.allclose(pool(tokens), pool(tokens.flip(1)))
