"""Loss terms as pure functions. Each states its shapes, its equation and its paper."""

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor


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
