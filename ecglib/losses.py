"""Loss terms as pure functions, and what of them learns. Each states its shapes, its equation and its paper."""

import math
from collections.abc import Callable

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn


def gather_batch(x: Tensor) -> Tensor:
    """Concatenate a (B, D) batch over all processes, (world * B, D), with gradients to every shard.

    One process: ``x`` itself.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return x
    from torch.distributed.nn.functional import all_gather

    return torch.cat(all_gather(x.contiguous()))


def cosine_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Cosine similarities s_ij of rows: (B, D), (B', D) -> (B, B'). DERI eq. 3, MERL eq. 2."""
    return F.normalize(at_least_float32(x), dim=-1) @ F.normalize(at_least_float32(y), dim=-1).T


def dot_matrix(x: Tensor, y: Tensor) -> Tensor:
    """Inner products of rows: (B, D), (B', D) -> (B, B'). C-MELT eq. 4."""
    return at_least_float32(x @ y.T)


def at_least_float32(x: Tensor) -> Tensor:
    """Half precision is raised to float32, whatever autocast says; other types stay."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def info_nce(x: Tensor, y: Tensor, temperature: float, *, positive_in_denominator: bool = True) -> Tensor:
    """Symmetric InfoNCE: rows i of ``x`` and ``y``, both (B, D), are the only positive pairs. Scalar.

    1/2B sum_i [ -log e^(s_ii/tau) / sum_k e^(s_ik/tau)  -  log e^(s_ii/tau) / sum_k e^(s_ki/tau) ]

    This is the reading taken of DERI eq. 1 to 4 and 7 (see its ``DEVIATIONS``). ``positive_in_denominator=False``
    takes the printed indicator 1[k != i] at its word and leaves the positive out of both sums. Over several processes
    the batch is the global one, so that its negatives are shared.
    """
    logits = cosine_matrix(gather_batch(x), gather_batch(y)) / temperature  # (B, B)
    positive = logits.diagonal()
    if not positive_in_denominator:
        logits = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), float("-inf"))
    forward = torch.logsumexp(logits, dim=1) - positive
    backward = torch.logsumexp(logits, dim=0) - positive
    return 0.5 * (forward.mean() + backward.mean())


def pairwise_sigmoid(logits: Tensor, diagonal: Tensor | None = None) -> Tensor:
    """Every entry of a (B, B) matrix of logits judged on its own: matched or not. Scalar.

    1/B sum_i sum_j -log sigma(z_ij l_ij)

    SigLIP (Zhai et al. 2023, algorithm 1), FG-CLEP eq. 5 in the reading of its ``DEVIATIONS``, C-MELT eq. 4. z is -1
    off the diagonal and ``diagonal`` (B,) on it: +1 by default, -1 where a pair was torn apart, 0 for a pair to leave
    out (a constant, without a gradient). Scale and bias are in `PairLogits`; `gather_batch` is the caller's, so that
    negatives are shared over processes.
    """
    if logits.ndim != 2 or logits.shape[0] != logits.shape[1]:
        raise ValueError(f"logits of shape {tuple(logits.shape)} have no diagonal of pairs")
    if diagonal is None:
        diagonal = logits.new_ones(len(logits))
    sign = (diagonal.to(logits.dtype) + 1).diag() - 1
    return -F.logsigmoid(sign * logits).sum(dim=1).mean()


class PairLogits(nn.Module):
    """Learned scale and bias between a cosine and the logit of a pair: s -> e^t s + b, any shape.

    SigLIP (Zhai et al. 2023, algorithm 1), where t starts at log 10 and b at -10; FG-CLEP eq. 5.

    Args:
        bias: b at the start; ``None`` for no bias, as in InfoNCE, where it would change nothing.
        scale_of: the factor as a function of t.
    """

    def __init__(self, bias: float | None = -10.0, scale_of: Callable[[Tensor], Tensor] = torch.exp):
        super().__init__()
        self.scale_of = scale_of
        self.t = nn.Parameter(torch.tensor(math.log(10.0)))
        self.b = 0.0 if bias is None else nn.Parameter(torch.tensor(bias))

    def scale(self) -> Tensor:
        """The factor of the cosine, a scalar."""
        return self.scale_of(self.t)

    def forward(self, cosine: Tensor) -> Tensor:
        return self.scale() * cosine + self.b

    def matrix(self, x: Tensor, y: Tensor) -> Tensor:
        """Logits of all pairs of rows: (B, D), (B', D) -> (B, B'). Scaled before the product, not after it."""
        return dot_matrix(self.scale() * F.normalize(x, dim=-1), F.normalize(y, dim=-1)) + self.b


def false_negative_mitigation(similarity: Tensor, semantic: Tensor) -> Tensor:
    """Distance of ECG-report similarities from report-report similarities S, both (B, B). Scalar. FG-CLEP eq. 6.

    1/B sum_i sum_j |sim(e_i, t_j) - S_ij|

    Two ECGs whose reports say the same are then not pushed apart. Whether S passes a gradient is the caller's choice.
    """
    if similarity.shape != semantic.shape:
        raise ValueError(f"similarities {tuple(similarity.shape)} and S {tuple(semantic.shape)} differ in shape")
    return (similarity - semantic).abs().sum(dim=1).mean()


def one_way_nce(x: Tensor, y: Tensor, temperature: float, *, positive_in_denominator: bool = True) -> Tensor:
    """Half of `info_nce`: every row of ``x`` finds its row of ``y``, both (B, D), and not the reverse. Scalar.

    1/B sum_i -log e^(s_ii/tau) / sum_k e^(s_ik/tau)

    The direction that K-MERL eq. 2 prints; its indicator 1[k != i] is ``positive_in_denominator=False``.
    """
    logits = cosine_matrix(gather_batch(x), gather_batch(y)) / temperature  # (B, B)
    positive = logits.diagonal()
    if not positive_in_denominator:
        logits = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool, device=logits.device), float("-inf"))
    return (torch.logsumexp(logits, dim=1) - positive).mean()


def entity_bce(logits: Tensor, labels: Tensor, per_record: bool = False) -> Tensor:
    """Binary cross-entropy of entity predictions against a report's label vectors, both (B, Q). Scalar. K-MERL eq. 3.

    -1/(B Q) sum_i sum_q [ y_iq log sigma(l_iq) + (1 - y_iq) log(1 - sigma(l_iq)) ]

    ``per_record`` sums over a record's entities instead, so that only B divides, as printed.
    """
    logits = at_least_float32(logits)
    mean = F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    return mean * labels.shape[-1] if per_record else mean


def captioning(logits: Tensor, targets: Tensor, n_texts: int = 0) -> Tensor:
    """Negative log-likelihood of the words of a batch: logits (N, V), their words (N,) as columns. Scalar. ESI L_Cap.

    1/N sum_i -log P(t_i | t_<i, S)

    over all N words of all texts; with ``n_texts``, divided by it instead, so that it is ESI's printed sum over a text,
    averaged over texts.
    """
    nll = F.cross_entropy(at_least_float32(logits), targets, reduction="sum")
    return nll / (n_texts or len(targets))


def masked_language(logits: Tensor, words: Tensor, n_texts: int = 0) -> Tensor:
    """Negative log-likelihood of masked words: logits (M, V), the words that stood there (M,). Scalar. C-MELT eq. 1.

    -1/B sum_j sum_(m in M_j) log P(t_jm | the unmasked rest)

    with ``n_texts`` = B; by default divided by the number of masked words instead. A batch without any gives zero.
    """
    return captioning(logits, words, n_texts) if len(words) else logits.sum()


def masked_ecg(predicted: Tensor, samples: Tensor, hidden: Tensor | None = None, per_record: bool = False) -> Tensor:
    """Squared error of reconstructed patches, both (B, L, P). Scalar. C-MELT eq. 2.

    Mean over the samples of the patches that ``hidden`` (B, L) marks, or of all. ``per_record`` sums over a record's
    samples instead, as printed: 1/B sum_i |x^_i - x_i|^2.
    """
    error = (at_least_float32(predicted) - samples).square()
    counted = torch.ones_like(error) if hidden is None else hidden.unsqueeze(-1).to(error.dtype).expand_as(error)
    return (error * counted).sum() / (len(error) if per_record else counted.sum().clamp_min(1.0))


def matching(logits: Tensor, matched: Tensor) -> Tensor:
    """Binary cross-entropy of "this ECG and this report belong together", both (B,). Scalar. C-MELT eq. 3.

    -1/B sum_k [ y_k log sigma(z_k) + (1 - y_k) log(1 - sigma(z_k)) ]
    """
    logits = at_least_float32(logits)
    return F.binary_cross_entropy_with_logits(logits, matched.to(logits.dtype))
