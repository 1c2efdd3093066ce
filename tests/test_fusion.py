"""Decoders, attention means and masks."""

import pytest
import torch

from ecglib.fusion import (
    AttentionMean,
    AttentionPool,
    CaptionDecoder,
    CrossAttentionFusion,
    FeatureDecoder,
    PatchDecoder,
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


def test_cross_attention_fusion_lets_each_read_the_other_and_no_padding():
    """C-MELT section 3.1: ECG tokens depend on the words, words on the ECG, and neither on padding."""
    torch.manual_seed(0)
    fusion = CrossAttentionFusion(12, 20, width=16, depth=2, heads=4, dropout=0.0)
    x, t, mask = torch.randn(2, 5, 12), torch.randn(2, 7, 20), torch.ones(2, 7, dtype=torch.bool)
    mask[1, 4:] = False
    f_x, f_t = fusion(x, t, mask)
    assert f_x.shape == (2, 5, 16)
    assert f_t.shape == (2, 7, 16)
    other_words, other_wave = t.clone(), x.clone()
    other_words[0, 2] += 1.0
    other_wave[0, 2] += 1.0
    assert ((fusion(x, other_words, mask)[0][0] - f_x[0]).abs().amax(dim=-1) > 1e-6).all()
    assert ((fusion(other_wave, t, mask)[1][0] - f_t[0]).abs().amax(dim=-1) > 1e-6).all()
    padding = t.clone()
    padding[1, 4:] = 99.0
    again_x, again_t = fusion(x, padding, mask)
    torch.testing.assert_close(again_x, f_x)
    torch.testing.assert_close(again_t[1, :4], f_t[1, :4])
    alone_x, alone_t = fusion(x[1:], t[1:, :4], mask[1:, :4])  # the same record without padding
    torch.testing.assert_close(alone_x[0], f_x[1], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone_t[0], f_t[1, :4], atol=1e-5, rtol=1e-4)


def test_cross_attention_fusion_tells_the_modalities_apart():
    """The same tokens on both sides differ by their modality's embedding."""
    torch.manual_seed(0)
    fusion = CrossAttentionFusion(8, 8, width=8, depth=1, heads=2, dropout=0.0)
    fusion.project_t.load_state_dict(fusion.project_x.state_dict())
    fusion.layers_t.load_state_dict(fusion.layers_x.state_dict())
    x, mask = torch.randn(1, 3, 8), torch.ones(1, 3, dtype=torch.bool)
    f_x, f_t = fusion(x, x, mask)
    assert (f_x - f_t).abs().max() > 1e-3
    with torch.no_grad():
        fusion.modality_t.copy_(fusion.modality_x)
    torch.testing.assert_close(*fusion(x, x, mask))


def test_patch_decoder_learns_to_fill_gaps():
    """A ramp over the places is rebuilt everywhere from a few seen tokens: positions reach the masked places."""
    torch.manual_seed(0)
    decoder = PatchDecoder(4, 1, width=16, depth=1, heads=2, dropout=0.0)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=1e-2)
    places = torch.tensor([[0, 3, 5], [1, 2, 7]])
    level = torch.tensor([1.0, -1.0])
    target = level[:, None] * torch.linspace(0, 1, 8)
    for _ in range(150):
        rebuilt = decoder(level[:, None, None].expand(2, 3, 4), places, 8)
        assert rebuilt.shape == (2, 8, 1)
        loss = (rebuilt.squeeze(-1) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.01
