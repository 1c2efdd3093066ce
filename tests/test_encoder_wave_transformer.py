"""The encoder of C-MELT: sizes, patches that share no sample, and what a record may depend on."""

import pytest
import torch

from ecglib.encoders.wave_transformer import WaveTransformer


def small(**changes):
    torch.manual_seed(0)
    return WaveTransformer(
        **({"width": 32, "layers": 2, "heads": 4, "conv_widths": (16, 32), "dropout": 0.0} | changes)
    )


def test_paper_size():
    """Section 3.1: eight layers of width 768 are 56.7 M parameters; 12 x 5,000 samples become 312 tokens of 16."""
    encoder = WaveTransformer()
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in encoder.named_children()}
    assert sizes["blocks"] == 8 * (12 * 768**2 + 13 * 768) + 2 * 768
    assert sum(sizes.values()) == 57_893_888
    assert encoder.patch == 16
    assert encoder.embed(torch.zeros(1, 12, 5000)).shape == (1, 312, 768)


@pytest.mark.parametrize("layers", [1, 4, 8])
def test_layers_of_table_8(layers):
    assert len(small(layers=layers).blocks.layers) == layers


def test_shapes_for_any_length():
    encoder = small()
    assert encoder(torch.randn(2, 12, 400)).shape == (2, 100, 32)
    assert encoder(torch.randn(2, 12, 403)).shape == (2, 100, 32)
    with pytest.raises(ValueError, match="3 samples is shorter than one patch of 4"):
        encoder(torch.zeros(1, 12, 3))


def test_patches_are_the_samples_behind_the_tokens():
    encoder = small()
    ecg = torch.arange(2 * 12 * 10.0).reshape(2, 12, 10)
    patches = encoder.patches(ecg)
    assert patches.shape == (2, 2, 48)
    for token in range(2):
        assert torch.equal(patches[:, token], ecg[..., 4 * token : 4 * token + 4].flatten(1))


def test_a_patch_is_not_seen_through_its_neighbours():
    """What a masked patch holds reaches no other token; only the normalisation over time knows of it."""
    encoder = small()
    encoder.front = torch.nn.Sequential(*[m for m in encoder.front if not isinstance(m, torch.nn.GroupNorm)])
    ecg = torch.randn(1, 12, 80)
    changed = ecg.clone()
    changed[..., 20:24] += 1.0  # token 5
    moved = (encoder.embed(ecg) - encoder.embed(changed)).abs().amax(dim=-1)[0] > 0
    assert moved.nonzero().flatten().tolist() == [5]


def test_tokens_read_each_other_and_know_their_place():
    encoder = small().eval()
    tokens = encoder.embed(torch.randn(1, 12, 80))
    whole, part = encoder.contextualise(tokens), encoder.contextualise(tokens[:, :10])
    assert (whole[:, :10] - part).abs().max() > 1e-4
    flat = encoder.embed(torch.ones(1, 12, 80))  # the same samples everywhere: positions alone tell tokens apart
    assert (flat[:, 1:] - flat[:, :-1]).abs().amax(dim=-1).min() > 1e-2


def test_records_of_a_batch_do_not_meet():
    encoder = small().eval()
    ecg = torch.randn(3, 12, 80)
    torch.testing.assert_close(encoder(ecg)[1:2], encoder(ecg[1:2]), atol=1e-5, rtol=1e-4)
