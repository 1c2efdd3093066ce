"""One record of any source -> the form in which a store keeps it, or the reason why it cannot be used."""

from typing import Any

import numpy as np

from ecglib.errors import SignalError
from ecglib.signals import LEADS, fill_missing, fit_length, flat_leads, quality, resample, to_int16

MOST_MISSING = 0.5  # share of missing samples beyond which a record is not interpolated but refused
# Kinds of problem (first word of ecglib.signals.quality) with which a record is not usable.
_FATAL = ("short", "absurd")


def prepare_record(
    ecg_mv: np.ndarray, from_hz: float, hz: float, samples: int
) -> tuple[np.ndarray, dict[str, Any], list[str]]:
    """(12, T) millivolts -> (12, ``samples``) int16 at ``hz``, facts for the table, kinds of warning.

    SignalError when the record is not usable: wrong shape, shorter than 5 s, all leads flat, more than half of
    the samples missing, an amplitude that only a wrong gain or unit explains. Kept with a warning: some leads
    flat, some samples missing (interpolated), limb leads that break Einthoven's equations, samples clipped.
    """
    ecg_mv = np.asarray(ecg_mv)
    if ecg_mv.ndim != 2 or len(ecg_mv) != len(LEADS):
        raise SignalError(f"a signal of shape {ecg_mv.shape}; expected ({len(LEADS)}, T)")
    if not np.isfinite(from_hz) or from_hz <= 0:
        raise SignalError(f"sampling rate {from_hz} Hz; it must be a positive number")
    ecg_mv, filled = fill_missing(ecg_mv)
    if filled > MOST_MISSING * ecg_mv.size:
        raise SignalError(f"{filled} of {ecg_mv.size} samples are missing")
    problems = quality(ecg_mv, from_hz)
    fatal = [p for p in problems if p.startswith(_FATAL)]
    flat = flat_leads(ecg_mv) if any(p.startswith("flat") for p in problems) else []
    if fatal or len(flat) == len(LEADS):
        raise SignalError("; ".join(fatal) or "all leads are flat: no signal")
    kinds = [p.partition(":")[0] for p in problems]
    if any(kind.startswith("limb leads") for kind in kinds):
        kinds = [k for k in kinds if not k.startswith("limb leads")] + ["limb leads do not add up"]
    if filled:
        kinds.append("missing samples interpolated")
    duration_s = ecg_mv.shape[1] / from_hz
    if from_hz != hz:
        # What lies behind the part that is kept would only cost time; a second more spares it an edge.
        ecg_mv = resample(ecg_mv[:, : int((samples / hz + 1.0) * from_hz) + 1], from_hz, hz)
    if ecg_mv.shape[1] != samples and abs(duration_s - samples / hz) > 0.5 / hz:
        kinds.append("shorter, padded with zeros" if ecg_mv.shape[1] < samples else "longer, start kept")
    steps, clipped = to_int16(fit_length(ecg_mv, samples, "start"))
    if clipped:
        kinds.append("samples clipped at 32.767 mV")
    return steps, {"duration_s": duration_s, "flat_leads": flat, "filled_samples": filled}, kinds
