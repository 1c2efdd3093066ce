"""Losses against naive double loops, closed forms and symmetries, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.losses import cosine_matrix, info_nce


def pair(batch, width, seed):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, width, generator=generator, dtype=torch.float64) for _ in range(2)]


def naive(x, y, tau, keep_positive):
    """Equations 1 to 3 of DERI by hand: one positive per row, both directions, 1/2B."""
    n = len(x)

    def sim(a, b):
        return float((a @ b) / (a.norm() * b.norm()))

    total = 0.0
    for i in range(n):
        for first, second in ((x, y), (y, x)):
            bottom = sum(
                math.exp(sim(first[i], second[k]) / tau) for k in range(n) if keep_positive or k != i
            )
            total -= math.log(math.exp(sim(first[i], second[i]) / tau) / bottom)
    return total / (2 * n)


@settings(deadline=None, max_examples=30)
@given(
    batch=st.integers(2, 9),
    width=st.integers(1, 8),
    tau=st.floats(0.05, 2.0),
    keep=st.booleans(),
    seed=st.integers(0, 999),
)
def test_info_nce_is_the_naive_double_loop(batch, width, tau, keep, seed):
    x, y = pair(batch, width, seed)
    ours = info_nce(x, y, tau, positive_in_denominator=keep).item()
    assert ours == pytest.approx(naive(x, y, tau, keep), rel=1e-9, abs=1e-9)


def test_closed_forms():
    same = torch.ones(7, 3, dtype=torch.float64)
    assert info_nce(same, same, 0.07).item() == pytest.approx(math.log(7), abs=1e-12)  # all alike: chance
    eye = torch.eye(5, dtype=torch.float64)
    expected = math.log(math.e ** (1 / 0.5) + 4) - 1 / 0.5
    assert info_nce(eye, eye, 0.5).item() == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), scale=st.floats(0.1, 100))
def test_symmetries(seed, scale):
    x, y = pair(6, 4, seed)
    value = info_nce(x, y, 0.07)
    torch.testing.assert_close(info_nce(y, x, 0.07), value)  # modalities swap
    torch.testing.assert_close(info_nce(scale * x, y, 0.07), value)  # length does not count
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(info_nce(x[order], y[order], 0.07), value)  # nor does the order of pairs


def test_cosine_matrix_is_bounded_and_exact():
    x, y = pair(4, 3, 0)
    s = cosine_matrix(x, y)
    assert s.abs().max() <= 1 + 1e-12
    assert s[1, 2].item() == pytest.approx(torch.cosine_similarity(x[1], y[2], dim=0).item(), abs=1e-12)


def test_gradient_reaches_both_sides():
    x, y = (t.requires_grad_() for t in pair(4, 3, 1))
    info_nce(x, y, 0.1).backward()
    assert x.grad.abs().sum() > 0
    assert y.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(lambda a, b: info_nce(a, b, 0.5), pair_requiring(3))


def pair_requiring(width):
    return tuple(t.requires_grad_() for t in pair(4, width, 2))
