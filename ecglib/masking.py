"""Random masks over token sequences: pure functions of a generator's state."""

import torch
from torch import Tensor


def keep_mask(shape: tuple[int, ...], mask_ratio: float, device: torch.device | None = None) -> Tensor:
    """Float mask of ``shape``, 0 with probability ``mask_ratio`` independently per entry, else 1.

    DERI eq. 8: every entry of the masks M1, M2 in R^(B x L) is sampled independently with ratio p.
    """
    if not 0.0 <= mask_ratio < 1.0:
        raise ValueError(f"mask_ratio must lie in [0, 1), not {mask_ratio}")
    return (torch.rand(shape, device=device) >= mask_ratio).float()
