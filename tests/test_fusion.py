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
    QueryNetwork,
    learned_positions,
    masked_mean,
    sinusoidal_positions,
)
from ecglib.masking import keep_mask, kept_segments, random_subsets, visible_lead_counts


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


def query_network(**changes):
    torch.manual_seed(0)
    return QueryNetwork(8, 12, **({"width": 16, "depth": 2, "heads": 2} | changes)).eval()


def test_queries_are_answered_one_by_one():
    """An answer depends on its own query, on all tokens of its own record and on nothing else."""
    network, queries, tokens = query_network(), torch.randn(5, 8), torch.randn(3, 7, 12)
    with torch.no_grad():
        logits = network(queries, tokens)
        assert logits.shape == (3, 5)
        torch.testing.assert_close(network(queries[[4, 1]], tokens), logits[:, [4, 1]])
        torch.testing.assert_close(network(queries, tokens[1:2]), logits[1:2])
        torch.testing.assert_close(network(queries, tokens[:, torch.randperm(7)]), logits)  # a set of tokens
        changed = tokens.clone()
        changed[1, 3] += 1.0
        moved = (network(queries, changed) - logits).abs().amax(dim=1) > 1e-6
        assert moved.tolist() == [False, True, False]


@pytest.mark.parametrize(("heads", "head_width"), [(1, 0), (3, 0), (5, 0), (3, 7)])
def test_query_network_has_the_parameters_of_its_layers(heads, head_width):
    """K-MERL tables 6b and 6c: the heads keep their width, so five of them fit a width of sixteen."""
    width, depth, inner = 16, 3, heads * (head_width or 4)
    network = query_network(depth=depth, heads=heads, head_width=head_width)
    attention = 3 * (width * inner + inner) + inner * width + width
    layer = attention + 2 * 2 * width + 8 * width**2 + 5 * width
    read = 8 * width + width + 2 * width + 12 * width + width
    assert sum(p.numel() for p in network.parameters()) == read + depth * layer + 2 * width + width + 1


def test_query_attention_is_the_formula():
    """One head of full width against softmax(q k / sqrt(d)) v by hand, in float64."""
    network = query_network(depth=1, heads=1, head_width=16).double()
    attention, x, tokens = network.layers[0].attention, torch.randn(1, 3, 16).double(), torch.randn(1, 7, 16).double()
    with torch.no_grad():
        key, value = attention.to_key_value(tokens).chunk(2, dim=-1)
        weights = (attention.to_query(x) @ key.transpose(1, 2) / 4).softmax(dim=-1)
        torch.testing.assert_close(attention(x, tokens), attention.merge(weights @ value), atol=1e-12, rtol=1e-12)


def test_query_network_learns_a_planted_relation():
    """Tokens hold one of four signs, queries name them; a query held out of training is answered by likeness."""
    torch.manual_seed(0)
    signs, names = torch.randn(4, 12), torch.randn(4, 8)
    network = QueryNetwork(8, 12, width=32, depth=2, heads=2)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)

    def records(kinds):
        tokens = torch.randn(len(kinds), 6, 12)
        tokens[torch.arange(len(kinds)), torch.randint(6, (len(kinds),))] = 3 * signs[kinds]  # one token, anywhere
        return tokens

    for _ in range(150):
        kinds = torch.randint(4, (32,))
        labels = torch.nn.functional.one_hot(kinds, 4).float()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(names, records(kinds)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    kinds = torch.arange(4).repeat(25)
    with torch.no_grad():
        logits = network(names + 0.05 * torch.randn(4, 8), records(kinds))
    assert (logits.argmax(dim=1) == kinds).float().mean() > 0.9
    assert ((logits > 0) == torch.nn.functional.one_hot(kinds, 4).bool()).float().mean() > 0.9


def test_learned_positions_keep_their_instant_or_stretch():
    table = torch.randn(5, 3)
    assert torch.equal(learned_positions(table, 3), table[:3])
    torch.testing.assert_close(learned_positions(table, 9)[::2], table)
    torch.testing.assert_close(learned_positions(table, 9)[1], table[:2].mean(dim=0))


def test_random_subsets_are_uniform_and_independent():
    torch.manual_seed(0)
    drawn = random_subsets((3000,), 12, 3)
    assert drawn.shape == (3000, 3)
    assert (drawn.diff(dim=1) > 0).all()  # distinct and ascending
    one_hot = torch.zeros(3000, 12).scatter(1, drawn, 1.0)
    assert (one_hot.mean(dim=0) - 0.25).abs().max() < 0.04  # 5 standard deviations
    together = (one_hot.T @ one_hot / 3000).fill_diagonal_(3 * 2 / (12 * 11))
    assert (together - 3 * 2 / (12 * 11)).abs().max() < 0.02  # every pair as often
    assert random_subsets((2, 4), 5, 5).tolist() == [[[0, 1, 2, 3, 4]] * 4] * 2
    assert random_subsets((2,), 5, 0).shape == (2, 0)
    with pytest.raises(ValueError, match="6 of 5"):
        random_subsets((1,), 5, 6)


def test_lead_counts_are_drawn_for_every_record():
    torch.manual_seed(0)
    counts = visible_lead_counts(6000, 9, 11)
    assert counts.unique().tolist() == [1, 2, 3]
    assert (counts.bincount()[1:] / 6000 - 1 / 3).abs().max() < 0.03  # 5 standard deviations
    assert visible_lead_counts(9, 0, 0).tolist() == [12] * 9
    for wrong in ((9, 12), (-1, 3), (5, 4)):
        with pytest.raises(ValueError, match="masked leads go from 0 to 11"):
            visible_lead_counts(4, *wrong)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.5, 0.75])
def test_segment_masks_have_exact_counts_and_are_independent(ratio):
    """K-MERL section 3.3: as many of every lead, each lead by a draw of its own; jointly, as many in all."""
    torch.manual_seed(0)
    n, leads, segments = 2000, 3, 20
    kept = round((1 - ratio) * segments)
    for per_lead in (True, False):
        keep = kept_segments(n, leads, segments, ratio, per_lead)
        assert keep.shape == (n, leads * kept)
        assert (keep.diff(dim=1) > 0).all()
        on = torch.zeros(n, leads * segments).scatter(1, keep, 1.0).unflatten(1, (leads, segments))
        assert (on.mean(dim=0) - (1 - ratio)).abs().max() < 0.06  # every place as often: 5 standard deviations
        if per_lead:
            assert (on.sum(dim=2) == kept).all()
            if ratio:  # another lead tells nothing
                first, second = on[:, 0], on[:, 1]
                correlation = ((first - 1 + ratio) * (second - 1 + ratio)).mean() / (ratio * (1 - ratio))
                assert correlation.abs() < 0.03
                assert (first != second).any(dim=1).float().mean() > 0.9
        elif ratio:
            assert (on.sum(dim=2) != kept).any()


def test_an_impossible_segment_ratio_is_refused():
    with pytest.raises(ValueError, match=r"\[0, 1\)"):
        kept_segments(1, 1, 20, 1.0)
