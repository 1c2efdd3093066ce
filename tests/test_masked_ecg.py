"""What masked ECG modelling leaves out, and that nothing of it comes through."""

import pytest
import torch

from ecglib.encoders.wave_transformer import WaveTransformer
from ecglib.masked_ecg import MaskedEcgs, unseen


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return WaveTransformer(16, 1, 2, (16, 16), dropout=0.0).eval()  # patches of four samples


@pytest.fixture
def ecg():
    return torch.randn(3, 12, 80, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_with_nothing_hidden_it_is_the_encoder(encoder, ecg):
    states, seen, patches = MaskedEcgs(encoder, 0.0, 0.0)(ecg)
    assert torch.equal(seen, torch.arange(20).expand(3, 20))
    torch.testing.assert_close(states, encoder(ecg))
    torch.testing.assert_close(patches, encoder.embed(ecg))
    assert not unseen(seen, 20).any()


@torch.no_grad()
@pytest.mark.parametrize(("patch_mask", "kept"), [(0.75, 5), (0.5, 10), (0.99, 1)])
def test_that_part_of_the_patches_is_left_out_and_the_encoder_reads_the_others_alone(encoder, ecg, patch_mask, kept):
    torch.manual_seed(1)
    states, seen, patches = MaskedEcgs(encoder, 0.0, patch_mask)(ecg)
    assert seen.shape == (3, kept)
    alone = [encoder.contextualise(of_record[places][None])[0] for of_record, places in zip(patches, seen, strict=True)]
    torch.testing.assert_close(states, torch.stack(alone))
    assert unseen(seen, 20).sum(dim=1).tolist() == [20 - kept] * 3
    assert not unseen(seen, 20).gather(1, seen).any()


@torch.no_grad()
def test_zeroed_leads_are_zero_to_the_encoder(encoder, ecg):
    """The patches are those of the ECG with some leads zeroed, the others untouched, record by record."""
    given, embed = [], encoder.embed
    masked = MaskedEcgs(encoder, 0.5, 0.0)
    encoder.embed = lambda x: given.append(x) or embed(x)
    torch.manual_seed(0)
    masked(ecg)
    del encoder.embed
    gone = (given[0] == 0).all(dim=-1)  # (B, 12)
    assert 0 < gone.sum() < gone.numel()
    assert torch.equal(given[0][~gone], ecg[~gone])
