"""Losses against naive double loops, closed forms and symmetries, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.losses import (
    PairLogits,
    captioning,
    cosine_matrix,
    entity_bce,
    false_negative_mitigation,
    info_nce,
    masked_ecg,
    masked_language,
    matching,
    one_way_nce,
    pairwise_sigmoid,
)


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
            bottom = sum(math.exp(sim(first[i], second[k]) / tau) for k in range(n) if keep_positive or k != i)
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


def naive_pairwise_sigmoid(logits, sign):
    """FG-CLEP eq. 5 and C-MELT eq. 4 by hand, with the logarithm of 1 + e^(-x) as its definition has it."""
    rows, columns = logits.shape
    total = 0.0
    for i in range(rows):
        for j in range(columns):
            total -= math.log(1 / (1 + math.exp(-float(sign[i, j]) * float(logits[i, j]))))
    return total / rows


@settings(deadline=None, max_examples=30)
@given(batch=st.integers(1, 8), scale=st.floats(0.1, 20), bias=st.floats(-10, 10), seed=st.integers(0, 999))
def test_pairwise_sigmoid_is_the_naive_double_loop(batch, scale, bias, seed):
    x, y = pair(batch, 4, seed)
    logits = scale * cosine_matrix(x, y) + bias
    diagonal = 2 * torch.eye(batch, dtype=torch.float64) - 1
    expected = naive_pairwise_sigmoid(logits, diagonal)
    assert pairwise_sigmoid(logits).item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
    on_diagonal = torch.randint(-1, 2, (batch,), generator=torch.Generator().manual_seed(seed)).double()
    sign = torch.full((batch, batch), -1.0).double().fill_diagonal_(0) + on_diagonal.diag()
    expected = naive_pairwise_sigmoid(logits, sign)
    assert pairwise_sigmoid(logits, on_diagonal).item() == pytest.approx(expected, rel=1e-9)


def test_pair_logits_start_as_siglip_and_both_learn():
    """Closed form: scale 10, bias -10; each row of the derivatives is that of s -> e^t s + b."""
    logits, cosine = PairLogits(), torch.tensor([-1.0, 0.0, 0.3, 1.0])
    torch.testing.assert_close(logits(cosine), 10 * cosine - 10)
    logits(cosine).sum().backward()
    assert logits.t.grad.item() == pytest.approx(10 * cosine.sum().item(), rel=1e-6)
    assert logits.b.grad.item() == len(cosine)


def test_pair_logits_without_a_bias_and_with_t_itself_as_scale():
    cosine = torch.tensor([-0.5, 0.5])
    plain = PairLogits(bias=None, scale_of=torch.nn.Identity())
    assert [name for name, _ in plain.named_parameters()] == ["t"]
    torch.testing.assert_close(plain(cosine), math.log(10) * cosine)


def test_pair_logits_of_rows_are_those_of_their_cosines():
    x, y = pair(5, 4, 0)
    logits = PairLogits()
    torch.testing.assert_close(logits.matrix(x, 3 * y[:2]), logits(cosine_matrix(x, y[:2])))


def test_a_pair_left_out_of_the_sigmoid_loss_has_no_gradient():
    logits = torch.randn(3, 3, dtype=torch.float64).requires_grad_()
    pairwise_sigmoid(logits, torch.tensor([1.0, 0.0, -1.0])).backward()
    assert logits.grad[1, 1] == 0
    assert (logits.grad.flatten()[[0, 1, 2, 3, 5, 6, 7, 8]] != 0).all()
    assert logits.grad.sign().diagonal().tolist() == [-1, 0, 1]  # a pair rises, one torn apart falls


def test_pairwise_sigmoid_closed_forms_and_symmetries():
    zeros = torch.zeros(6, 6, dtype=torch.float64)
    assert pairwise_sigmoid(zeros).item() == pytest.approx(6 * math.log(2), abs=1e-12)  # B log 2: knows nothing
    biased = zeros - 10  # SigLIP's start: one positive costs about 10, five negatives next to nothing
    expected = math.log1p(math.exp(10)) + 5 * math.log1p(math.exp(-10))
    assert pairwise_sigmoid(biased).item() == pytest.approx(expected, abs=1e-12)
    extreme = torch.tensor([[1e4, -1e4], [1e4, -1e4]], dtype=torch.float64)  # overflows without care
    assert pairwise_sigmoid(extreme).item() == pytest.approx((0 + 0 + 1e4 + 1e4) / 2, rel=1e-12)
    logits = torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    value = pairwise_sigmoid(logits)
    torch.testing.assert_close(pairwise_sigmoid(logits.T), value)  # modalities swap
    order = torch.tensor([3, 1, 4, 0, 2])
    torch.testing.assert_close(pairwise_sigmoid(logits[order][:, order]), value)
    with pytest.raises(ValueError, match="no diagonal"):
        pairwise_sigmoid(logits[:3])


def test_false_negative_mitigation_is_the_naive_double_loop():
    x, y = pair(7, 4, 3)
    similarity, semantic = cosine_matrix(x, y), cosine_matrix(y, y)
    naive_sum = sum(abs(float(similarity[i, j]) - float(semantic[i, j])) for i in range(7) for j in range(7))
    assert false_negative_mitigation(similarity, semantic).item() == pytest.approx(naive_sum / 7, abs=1e-12)
    assert false_negative_mitigation(semantic, semantic).item() == 0.0
    order = torch.tensor([6, 2, 0, 1, 5, 3, 4])
    torch.testing.assert_close(
        false_negative_mitigation(similarity[order][:, order], semantic[order][:, order]),
        false_negative_mitigation(similarity, semantic),
    )
    with pytest.raises(ValueError, match="differ in shape"):
        false_negative_mitigation(similarity, semantic[:, :3])


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 9), vocabulary=st.integers(1, 7), texts=st.integers(1, 4), seed=st.integers(0, 999))
def test_captioning_is_the_naive_double_loop(n, vocabulary, texts, seed):
    """ESI L_Cap: the mean over words, or the printed sum over a text averaged over texts."""
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(n, vocabulary, generator=generator, dtype=torch.float64)
    words = torch.randint(vocabulary, (n,), generator=generator)
    total = 0.0
    for i in range(n):
        total -= math.log(math.exp(logits[i, words[i]]) / sum(math.exp(logits[i, v]) for v in range(vocabulary)))
    assert captioning(logits, words).item() == pytest.approx(total / n, rel=1e-9, abs=1e-9)
    assert captioning(logits, words, texts).item() == pytest.approx(total / texts, rel=1e-9, abs=1e-9)
    torch.testing.assert_close(captioning(logits + 3.0, words), captioning(logits, words))  # a constant does not count


def test_captioning_knows_chance_and_certainty():
    words = torch.tensor([0, 2, 1, 1])
    assert captioning(torch.zeros(4, 3, dtype=torch.float64), words).item() == pytest.approx(math.log(3), abs=1e-12)
    certain = 1e3 * torch.nn.functional.one_hot(words, 3).double()
    assert captioning(certain, words).item() == pytest.approx(0, abs=1e-12)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: captioning(x, words), logits)


def test_masked_language_is_the_naive_loop_over_masked_words():
    """C-MELT eq. 1: summed over a text's masked words, averaged over texts; by default the mean over words."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 6, 5, generator=generator, dtype=torch.float64)  # (B, L, V)
    words, where = torch.randint(5, (3, 6), generator=generator), torch.rand(3, 6, generator=generator) < 0.5
    total = 0.0
    for j in range(3):
        for m in range(6):
            if where[j, m]:
                total -= math.log(logits[j, m].exp()[words[j, m]] / logits[j, m].exp().sum())
    count = int(where.sum())
    assert masked_language(logits[where], words[where]).item() == pytest.approx(total / count, rel=1e-9)
    assert masked_language(logits[where], words[where], 3).item() == pytest.approx(total / 3, rel=1e-9)


def test_masked_language_without_masked_words_is_zero_and_has_a_gradient():
    logits = torch.zeros(0, 5, requires_grad=True)
    loss = masked_language(logits, torch.zeros(0, dtype=torch.long))
    assert loss.item() == 0
    loss.backward()
    assert logits.grad.shape == (0, 5)


@settings(deadline=None, max_examples=30)
@given(records=st.integers(1, 4), patches=st.integers(1, 5), samples=st.integers(1, 4), seed=st.integers(0, 999))
def test_masked_ecg_is_the_naive_loop(records, patches, samples, seed):
    """C-MELT eq. 2, over the masked patches or all of them, per sample or per record."""
    generator = torch.Generator().manual_seed(seed)
    shape = (records, patches, samples)
    x, y = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    hidden = torch.rand(records, patches, generator=generator) < 0.6
    total, masked, count = 0.0, 0.0, 0
    for i in range(records):
        for j in range(patches):
            for k in range(samples):
                error = (x[i, j, k] - y[i, j, k]).item() ** 2
                total += error
                masked += error * hidden[i, j].item()
                count += hidden[i, j].item()
    assert masked_ecg(x, y).item() == pytest.approx(total / x.numel(), rel=1e-9)
    assert masked_ecg(x, y, per_record=True).item() == pytest.approx(total / records, rel=1e-9)
    assert masked_ecg(x, y, hidden).item() == pytest.approx(masked / max(1, count), rel=1e-9)
    assert masked_ecg(x, y, hidden, per_record=True).item() == pytest.approx(masked / records, rel=1e-9)


def test_masked_ecg_sends_no_gradient_to_what_was_seen():
    x = torch.randn(2, 3, 4, requires_grad=True)
    hidden = torch.tensor([[True, False, True], [False, False, True]])
    masked_ecg(x, torch.zeros(2, 3, 4), hidden).backward()
    assert (x.grad.abs().sum(dim=-1) > 0).equal(hidden)
    assert masked_ecg(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), hidden).item() == 0


def test_matching_is_the_naive_loop_and_starts_at_log_2():
    """C-MELT eq. 3."""
    logits = torch.tensor([0.3, -1.2, 2.0], dtype=torch.float64)
    matched = torch.tensor([True, False, False])
    expected = -sum(
        math.log(1 / (1 + math.exp(-z))) if y else math.log(1 - 1 / (1 + math.exp(-z)))
        for z, y in zip(logits.tolist(), matched.tolist(), strict=True)
    )
    assert matching(logits, matched).item() == pytest.approx(expected / 3, rel=1e-9)
    assert matching(-logits, ~matched).item() == pytest.approx(expected / 3, rel=1e-9)  # the symmetry of both answers
    assert matching(torch.zeros(4), torch.tensor([1, 0, 1, 1])).item() == pytest.approx(math.log(2), abs=1e-6)


@settings(deadline=None, max_examples=20)
@given(batch=st.integers(2, 9), tau=st.floats(0.05, 2.0), keep=st.booleans(), seed=st.integers(0, 999))
def test_one_way_nce_is_half_of_the_symmetric_loss(batch, tau, keep, seed):
    """K-MERL equation 2 by hand in its one direction; both directions together are info_nce."""
    x, y = pair(batch, 5, seed)
    cosine = cosine_matrix(x, y)
    total = 0.0
    for i in range(batch):
        bottom = sum(math.exp(cosine[i, k].item() / tau) for k in range(batch) if keep or k != i)
        total -= math.log(math.exp(cosine[i, i].item() / tau) / bottom)
    forward = one_way_nce(x, y, tau, positive_in_denominator=keep).item()
    assert forward == pytest.approx(total / batch, rel=1e-9, abs=1e-9)
    both = 0.5 * (forward + one_way_nce(y, x, tau, positive_in_denominator=keep).item())
    assert info_nce(x, y, tau, positive_in_denominator=keep).item() == pytest.approx(both, rel=1e-9, abs=1e-9)


@settings(deadline=None, max_examples=20)
@given(batch=st.integers(1, 6), entities=st.integers(1, 9), seed=st.integers(0, 999))
def test_entity_bce_is_the_naive_double_loop(batch, entities, seed):
    """K-MERL equation 3 by hand; a wrong sign of every logit costs exactly their sum over labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(batch, entities, generator=generator, dtype=torch.float64)
    labels = torch.rand(batch, entities, generator=generator) < 0.3
    total = 0.0
    for i in range(batch):
        for q in range(entities):
            p = 1 / (1 + math.exp(-logits[i, q].item()))
            total -= math.log(p if labels[i, q] else 1 - p)
    ours = entity_bce(logits, labels).item()
    assert ours == pytest.approx(total / (batch * entities), rel=1e-9, abs=1e-9)
    signed = torch.where(labels, logits, -logits).mean().item()  # log(1 + e^-z) - log(1 + e^z) = -z
    assert entity_bce(-logits, labels).item() - ours == pytest.approx(signed, rel=1e-9, abs=1e-9)
    assert entity_bce(logits, labels, per_record=True).item() == pytest.approx(entities * ours, rel=1e-9, abs=1e-9)


def test_entity_bce_closed_form_and_gradient():
    logits = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.eye(3, 4)
    loss = entity_bce(logits, labels)
    assert loss.item() == pytest.approx(math.log(2), abs=1e-12)  # says 1/2 to everything
    loss.backward()
    torch.testing.assert_close(logits.grad, (0.5 - labels.double()) / 12)
    assert entity_bce(logits.detach().half(), labels).dtype == torch.float32
    with pytest.raises(ValueError, match="size"):
        entity_bce(logits, labels[:, :2])
