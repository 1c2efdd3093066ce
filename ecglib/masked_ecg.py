"""ECGs with leads and patches hidden, encoded: what masked ECG modelling reads (C-MELT section 3.1)."""

import torch
from torch import Tensor

from ecglib.encoders.wave_transformer import WaveTransformer
from ecglib.masking import keep_mask, random_subsets, take


class MaskedEcgs:
    """Zeroes some leads, leaves out some patches and encodes the others, which alone cost anything.

    Args:
        encoder: embeds patches and contextualises any of them.
        lead_mask: probability that a lead is zeroed, for each on its own.
        patch_mask: part of the patches that the encoder does not see; it always sees one.
    """

    def __init__(self, encoder: WaveTransformer, lead_mask: float, patch_mask: float):
        self.encoder, self.lead_mask, self.patch_mask = encoder, lead_mask, patch_mask

    def __call__(self, ecg: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 12, T) millivolts -> states of the seen patches (B, K, D), their places (B, K), all patches (B, L, D).

        The patches are those of the leads that were kept, embedded and not yet aware of each other.
        """
        leads = keep_mask(ecg.shape[:2], self.lead_mask, ecg.device)
        patches = self.encoder.embed(ecg * leads.unsqueeze(-1))
        batch, length = patches.shape[:2]
        seen = random_subsets((batch,), length, max(1, round((1 - self.patch_mask) * length)), ecg.device)
        return self.encoder.contextualise(take(patches, seen)), seen, patches


def unseen(places: Tensor, length: int) -> Tensor:
    """1 where a patch was left out, 0 where it was seen: places (B, K) of the seen ones -> (B, L)."""
    return torch.ones(len(places), length, device=places.device).scatter(1, places, 0.0)
