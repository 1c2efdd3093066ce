"""XResNet1d101: the printed size, 101 layers, tokens, blocks that start as their shortcut."""

import pytest
import torch
from torch import nn

from ecglib.encoders.xresnet1d import Bottleneck, XResNet1d101


@pytest.fixture(scope="module")
def encoder():
    torch.manual_seed(0)
    return XResNet1d101(width=8)


def test_size_is_that_of_esi_table_5b():
    parameters = sum(p.numel() for p in XResNet1d101().parameters())
    assert parameters == 1_804_672
    assert round(parameters / 1e6, 2) == 1.80


def test_it_has_101_layers(encoder):
    """The name counts a plain ResNet: one stem layer, three per block, a head. This stem has three; no head here."""
    blocks = [m for m in encoder.modules() if isinstance(m, Bottleneck)]
    assert len(blocks) == 33
    assert 1 + 3 * len(blocks) + 1 == 101
    assert all(sum(isinstance(m, nn.Conv1d) for m in block.path.modules()) == 3 for block in blocks)


@pytest.mark.parametrize(("samples", "tokens"), [(5000, 157), (1000, 32), (333, 11)])
def test_tokens(encoder, samples, tokens):
    encoder.eval()
    assert encoder(torch.randn(2, 12, samples)).shape == (2, tokens, encoder.width)
    assert tokens == -(-samples // 32)


@pytest.mark.parametrize("stride", [1, 2])
def test_a_new_block_is_its_shortcut(stride):
    torch.manual_seed(0)
    block = Bottleneck(16, 4, 5, stride).eval()
    x = torch.randn(2, 16, 20)
    expected = x if stride == 1 else nn.functional.avg_pool1d(x, 2)
    torch.testing.assert_close(block(x), torch.relu(expected))


def test_every_parameter_learns(encoder):
    """The last normalisation of a block is zero at the start, so what lies before it moves from the second step on."""
    encoder.train()
    optimizer = torch.optim.SGD(encoder.parameters(), lr=0.1)
    before = [p.detach().clone() for p in encoder.parameters()]
    torch.manual_seed(0)
    for _ in range(2):
        optimizer.zero_grad()
        (encoder(torch.randn(4, 12, 640)) * torch.randn(4, 20, encoder.width)).sum().backward()
        nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimizer.step()
    assert all(not torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
