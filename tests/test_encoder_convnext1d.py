"""ConvNeXt V2 over time: published sizes, GRN against its formula, tokens, gradients."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.encoders.convnext1d import STAGES, ConvNext1d, ConvNextBlock, GlobalResponseNorm


def small(**changes):
    torch.manual_seed(0)
    return ConvNext1d(**({"depths": (1, 1, 2, 1), "widths": (4, 6, 8, 10)} | changes))


@pytest.mark.parametrize(
    ("size", "printed_millions", "exact"), [("tiny", 26.81, 26_814_144), ("base", 85.56, 85_558_528)]
)
def test_sizes_are_those_of_esi_table_5b(size, printed_millions, exact):
    parameters = sum(p.numel() for p in ConvNext1d(*STAGES[size]).parameters())
    assert parameters == exact
    assert round(parameters / 1e6, 2) == printed_millions


@settings(deadline=None, max_examples=25)
@given(batch=st.integers(1, 3), length=st.integers(1, 6), width=st.integers(1, 5), seed=st.integers(0, 999))
def test_response_norm_is_its_formula(batch, length, width, seed):
    """Woo et al. 2023, equations 1 to 3, by a naive loop in float64."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, length, width, generator=generator, dtype=torch.float64)
    layer = GlobalResponseNorm(width).double()
    with torch.no_grad():
        layer.gamma.copy_(torch.randn(width, generator=generator))
        layer.beta.copy_(torch.randn(width, generator=generator))
    found = layer(x)
    for b in range(batch):
        energy = [sum(x[b, t, c].item() ** 2 for t in range(length)) ** 0.5 for c in range(width)]
        mean = sum(energy) / width
        for c in range(width):
            share = energy[c] / (mean + 1e-6)
            for t in range(length):
                value = x[b, t, c].item()
                expected = layer.gamma[c].item() * value * share + layer.beta[c].item() + value
                assert found[b, t, c].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_response_norm_starts_as_the_identity_and_survives_silence():
    layer = GlobalResponseNorm(4).double()
    x = torch.randn(2, 5, 4, dtype=torch.float64)
    assert torch.equal(layer(x), x)
    silent = torch.zeros(1, 5, 4, dtype=torch.float64, requires_grad=True)
    layer(silent).sum().backward()
    assert torch.isfinite(silent.grad).all()
    with torch.no_grad():
        layer.gamma.fill_(0.7)
    assert torch.autograd.gradcheck(layer, torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True))


def test_a_block_is_local_but_for_its_energy():
    """Without GRN's weight, an output sample sees seven input samples and no more."""
    torch.manual_seed(0)
    block = ConvNextBlock(3).double()
    x = torch.randn(1, 20, 3, dtype=torch.float64)
    changed = x.clone()
    changed[0, 10] += 1
    moved = (block(x) - block(changed)).abs().sum(-1)[0] > 1e-12
    assert moved.nonzero().flatten().tolist() == list(range(7, 14))
    with torch.no_grad():
        block.response.gamma.fill_(1)
    assert ((block(x) - block(changed)).abs().sum(-1)[0] > 1e-12).all()


@pytest.mark.parametrize("samples", [1000, 5000, 4096, 200])
def test_tokens(samples):
    encoder = small().eval()
    length = samples // 4 // 2 // 2 // 2
    assert encoder(torch.randn(2, 12, samples)).shape == (2, length, encoder.width)


def test_batch_members_are_independent():
    encoder = small().eval()
    x = torch.randn(3, 12, 320)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))


def test_every_parameter_learns():
    encoder = small()
    (encoder(torch.randn(2, 12, 320)) * torch.randn(2, 10, 10)).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())


def test_depths_and_widths_must_agree():
    with pytest.raises(ValueError, match="as many depths as widths"):
        ConvNext1d((1, 1), (4, 4, 4))
