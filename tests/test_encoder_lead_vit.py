"""Lead-aware transformer: whose token is whose, what a position says, what an absent lead costs."""

import pytest
import torch

from ecglib.encoders.lead_vit import SIZES, LeadViT
from ecglib.errors import ParameterError, SignalError
from ecglib.masking import kept_segments


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return LeadViT("demo", token_samples=50, segments=20).eval()


def ecg(batch=2, leads=12, samples=1000, seed=0):
    return torch.randn(batch, leads, samples, generator=torch.Generator().manual_seed(seed))


def indices(*leads):
    return torch.tensor(leads)


@pytest.mark.parametrize("size", SIZES)
def test_sizes_have_the_parameters_of_a_vit(size):
    """Each block is 12 D^2 + 13 D; W has no bias; one vector per lead and per instant; one last normalisation."""
    width, depth, _ = SIZES[size]
    model = LeadViT(size, token_samples=100, segments=50)
    blocks = depth * (12 * width**2 + 13 * width)
    assert sum(p.numel() for p in model.parameters()) == blocks + width * (100 + 12 + 50 + 2)
    assert sum(p.numel() for p in model.blocks.parameters()) == blocks


def test_tokens_are_per_lead(encoder):
    assert encoder(ecg()).shape == (2, 240, 160)  # 12 leads of 20 segments
    assert encoder(ecg(leads=3), indices(0, 1, 10)).shape == (2, 60, 160)
    assert encoder(ecg(samples=1020)).shape == (2, 252, 160)  # the last segment is filled up


def test_equation_1_and_the_sum_of_embeddings(encoder):
    """Token (l, m) before the first block is temp_m + lead_l + W e_l[p_m], by hand."""
    x, leads = ecg(leads=2), indices(4, 9).expand(2, -1)
    tokens = encoder.tokens(x, leads)
    for row, lead in enumerate((4, 9)):
        for m in (0, 7, 19):
            segment = x[1, row, 50 * m : 50 * (m + 1)]
            by_hand = encoder.time[m] + encoder.lead[lead] + encoder.embed.weight @ segment
            torch.testing.assert_close(tokens[1, row, m], by_hand)


def test_spatial_positions_belong_to_leads_and_temporal_ones_to_none(encoder):
    """The swap test: the same signal in another lead moves its tokens by the difference of the lead embeddings, the
    same at all times; a segment at another time moves them by that of the temporal ones, the same in all leads."""
    x = ecg(batch=1, leads=1)
    with torch.no_grad():
        first, second = (encoder.tokens(x, torch.tensor([[lead]]))[0, 0] for lead in (1, 7))
        torch.testing.assert_close(second - first, (encoder.lead[7] - encoder.lead[1]).expand(20, -1))
        flat = encoder.tokens(torch.ones(1, 12, 1000), torch.arange(12)[None])[0]  # (12, 20, C), every segment alike
        moved = flat[:, 5] - flat[:, 2]
        torch.testing.assert_close(moved, (encoder.time[5] - encoder.time[2]).expand(12, -1))


def test_a_lead_is_known_by_its_name_alone(encoder):
    """Rows in another order with their indices in the same order: the same tokens; other indices: other tokens."""
    x = ecg(leads=3)
    order = torch.tensor([2, 0, 1])
    with torch.no_grad():
        named, turned = encoder(x, indices(0, 5, 8)), encoder(x[:, order], indices(0, 5, 8)[order])
        blocks = turned.unflatten(1, (3, 20))[:, order.argsort()].flatten(1, 2)
        torch.testing.assert_close(blocks, named, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(encoder(x, indices(0, 5, 9)), named, atol=1e-3)


def test_every_record_may_have_leads_of_its_own(encoder):
    x, leads = ecg(leads=2), torch.tensor([[0, 3], [7, 11]])
    with torch.no_grad():
        together = encoder(x, leads)
        alone = torch.cat([encoder(x[i : i + 1], leads[i]) for i in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_only_kept_tokens_are_read(encoder):
    """What is masked has no effect at all, and the kept tokens see one another alone."""
    x = ecg(leads=3)
    keep = kept_segments(2, 3, 20, 0.25)
    other = x.clone().unflatten(-1, (20, 50)).flatten(1, 2)  # (B, 60, 50)
    masked = torch.ones(2, 60, dtype=torch.bool).scatter(1, keep, False)
    other[masked] = 99.0
    leads = indices(0, 1, 2)
    with torch.no_grad():
        tokens = encoder(x, leads, keep)
        assert tokens.shape == (2, 45, 160)
        assert torch.equal(encoder(other.unflatten(1, (3, 20)).flatten(2), leads, keep), tokens)
        everything = torch.arange(60).expand(2, -1)
        torch.testing.assert_close(encoder(x, leads, everything), encoder(x, leads))
        assert not torch.allclose(encoder(x, leads).gather(1, keep[..., None].expand_as(tokens)), tokens, atol=1e-3)


def test_ablations_of_table_2b():
    """Without lead tokens one token holds all leads and absent ones are zero; without a position it is not there."""
    torch.manual_seed(0)
    merged = LeadViT("demo", 50, 20, lead_tokens=False).eval()
    assert merged(ecg()).shape == (2, 20, 160)
    assert merged.lead is None
    assert (merged.rows(3), LeadViT("demo", 50, 20).rows(3)) == (1, 3)
    x = ecg(leads=2)
    filled = torch.zeros(2, 12, 1000)
    filled[:, [1, 6]] = x
    with torch.no_grad():
        torch.testing.assert_close(merged(x, indices(1, 6)), merged(filled))
    blind = LeadViT("demo", 50, 20, lead_positions=False)
    assert blind.lead is None
    same = blind.tokens(x, indices(0, 1).expand(2, -1))
    assert torch.equal(same, blind.tokens(x, indices(4, 5).expand(2, -1)))
    timeless = LeadViT("demo", 50, 20, time_positions=False)
    tokens = timeless.tokens(torch.ones(1, 12, 1000), torch.arange(12)[None])
    assert timeless.time is None
    assert torch.equal(tokens[:, :, 0], tokens[:, :, 19])


def test_other_lengths_are_read(encoder):
    """A shorter record uses the first positions, a longer one all of them, stretched."""
    leads = torch.arange(12)[None]
    with torch.no_grad():
        short, whole = encoder.tokens(ecg(1)[..., :400], leads), encoder.tokens(ecg(1), leads)
        assert torch.equal(short, whole[:, :, :8])
        silent = encoder.tokens(torch.zeros(1, 12, 5000), leads)[0, 0] - encoder.lead[0]
    assert silent.shape == (100, 160)
    torch.testing.assert_close(silent[[0, -1]], encoder.time[[0, -1]].detach(), atol=1e-6, rtol=0)


def test_bad_input_is_named(encoder):
    with pytest.raises(ParameterError, match="sizes tiny, small, middle, base, demo, not 'huge'"):
        LeadViT("huge")
    with pytest.raises(SignalError, match="2 leads are named, the ECG has 3"):
        encoder(ecg(leads=3), indices(0, 1))
