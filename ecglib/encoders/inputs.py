"""What every encoder does to millivolts before its first layer."""

from collections.abc import Sequence

from torch import Tensor

from ecglib.signals import lead_indices

CLIP_MV = 10.0  # beyond this is artefact: a pacing spike or a lost electrode, not a heart


def standardised(ecg_mv: Tensor) -> Tensor:
    """Each lead, centred already, to a standard deviation of one; a flat one stays zero. (B, S, T) -> (B, S, T)."""
    return ecg_mv / ecg_mv.std(dim=-1, keepdim=True).clamp_min(1e-3)


def place_leads(ecg_mv: Tensor, leads: Sequence[str] | None = None) -> Tensor:
    """Centre each lead on its mean, clip, and put the leads named into their places among twelve.

    (B, S, T) millivolts -> (B, 12, T) millivolts; leads that are not there are zero, as in MERL. ``leads`` names the
    S rows in order; ``None`` means all twelve in the canonical order. Amplitude is kept: voltage is a diagnosis.
    """
    centred = (ecg_mv - ecg_mv.mean(dim=-1, keepdim=True)).clamp(-CLIP_MV, CLIP_MV)
    if leads is None:
        if ecg_mv.shape[1] != 12:
            raise ValueError(f"an ECG of {ecg_mv.shape[1]} leads needs their names: pass leads=(...)")
        return centred
    rows = lead_indices(leads)
    if len(rows) != ecg_mv.shape[1]:
        raise ValueError(f"{len(rows)} leads are named, the ECG has {ecg_mv.shape[1]}")
    placed = centred.new_zeros(len(centred), 12, centred.shape[-1])
    placed[:, rows] = centred
    return placed
