"""Random masks over token sequences: pure functions of a generator's state."""

from collections.abc import Callable, Collection, Iterator

import numpy as np
import torch
from torch import Tensor


def keep_mask(shape: tuple[int, ...], mask_ratio: float, device: torch.device | None = None) -> Tensor:
    """Float mask of ``shape``, 0 with probability ``mask_ratio`` independently per entry, else 1.

    DERI eq. 8: every entry of the masks M1, M2 in R^(B x L) is sampled independently with ratio p.
    """
    if not 0.0 <= mask_ratio < 1.0:
        raise ValueError(f"mask_ratio must lie in [0, 1), not {mask_ratio}")
    return (torch.rand(shape, device=device) >= mask_ratio).float()


def random_subsets(shape: tuple[int, ...], n: int, k: int, device: torch.device | None = None) -> Tensor:
    """``k`` distinct numbers of 0..n-1, ascending, drawn uniformly for every entry of ``shape``: (*shape, k)."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} of {n} cannot be drawn")
    return torch.rand(*shape, n, device=device).argsort(dim=-1)[..., :k].sort(dim=-1).values


def visible_lead_counts(batch: int, fewest_masked: int, most_masked: int, n_leads: int = 12) -> Tensor:
    """Dynamic lead masking (K-MERL section 3.3): how many leads of each record stay visible, (B,), on the CPU.

    The number of masked leads is drawn uniformly from ``fewest_masked``..``most_masked`` for every record on its own;
    K-MERL draws from 9, 10 and 11. Which leads these are is then a random subset.
    """
    if not 0 <= fewest_masked <= most_masked < n_leads:
        raise ValueError(f"masked leads go from 0 to {n_leads - 1}, not from {fewest_masked} to {most_masked}")
    return n_leads - torch.randint(fewest_masked, most_masked + 1, (batch,))


def kept_segments(
    batch: int, leads: int, segments: int, mask_ratio: float, per_lead: bool = True, device: torch.device | None = None
) -> Tensor:
    """Lead-independent segment masking (K-MERL section 3.3): places of the tokens that stay, (B, L), ascending.

    Tokens are counted lead after lead, ``lead * segments + segment``. Of every lead the same number of segments is
    masked, ``mask_ratio * segments`` rounded down, each lead by a draw of its own. ``per_lead=False`` masks as many in
    all, drawn over the tokens of all leads together (table 2d).
    """
    if not 0.0 <= mask_ratio < 1.0:
        raise ValueError(f"mask_ratio must lie in [0, 1), not {mask_ratio}")
    kept = segments - int(mask_ratio * segments)
    if not per_lead:
        return random_subsets((batch,), leads * segments, leads * kept, device)
    first = torch.arange(leads, device=device).unsqueeze(-1) * segments  # (S, 1)
    return (random_subsets((batch, leads), segments, kept, device) + first).flatten(1)


def visible_groups(
    batch: int,
    segments: int,
    masked_leads: tuple[int, int],
    mask_ratio: float,
    rows_of: Callable[[int], int],
    per_lead: bool = True,
    device: torch.device | None = None,
    n_leads: int = 12,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Both maskings of K-MERL section 3.3 for B records of M segments, one group for every number S of visible leads.

    A group: rows (B',) of the records with that many, their leads (B', S), the places of their tokens (B', L). It goes
    through an encoder together: nothing is padded, and a token that is masked is not computed.

    Args:
        masked_leads: fewest and most, see `visible_lead_counts`.
        mask_ratio, per_lead: see `kept_segments`.
        rows_of: how many rows of M tokens the encoder makes of so many leads.
    """
    counts = visible_lead_counts(batch, *masked_leads, n_leads)
    for visible in counts.unique().tolist():
        rows = (counts == visible).nonzero().squeeze(1).to(device)
        leads = random_subsets((len(rows),), n_leads, visible, device)
        yield rows, leads, kept_segments(len(rows), rows_of(visible), segments, mask_ratio, per_lead, device)


def mask_tokens(
    ids: np.ndarray, mask_ratio: float, mask_id: int, special_ids: Collection[int], draws: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Masked language modelling (C-MELT section 3.1): the ids with masked words replaced, and where, both (L,).

    Of the tokens that are not special, ``mask_ratio`` of their number, at least one, become ``mask_id``: those with
    the smallest of ``draws`` (L,), uniform random numbers. A text of special tokens alone is left as it is.
    """
    if not 0.0 <= mask_ratio < 1.0:
        raise ValueError(f"mask_ratio must lie in [0, 1), not {mask_ratio}")
    words = np.flatnonzero(~np.isin(ids, list(special_ids)))
    count = min(len(words), max(1, round(mask_ratio * len(words)))) if mask_ratio else 0
    where = np.zeros(len(ids), dtype=bool)
    where[words[np.argsort(draws[words], kind="stable")[:count]]] = True
    return np.where(where, mask_id, ids).astype(ids.dtype), where


def take(tokens: Tensor, places: Tensor) -> Tensor:
    """The tokens that stay: (B, L, D), places (B, K) -> (B, K, D)."""
    return tokens.gather(1, places.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))


def put(tokens: Tensor, places: Tensor, length: int, filler: Tensor) -> Tensor:
    """The reverse of `take`, with ``filler`` (D,) in the other places: (B, K, D), (B, K) -> (B, length, D)."""
    empty = filler.to(tokens.dtype).expand(len(tokens), length, -1)
    return torch.scatter(empty, 1, places.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]), tokens)
