"""ECG signals: leads by name, millivolts, sampling rates, length, missing samples, quality.

Everywhere in this package a record is (S, T): S leads, T samples, in millivolts; a full record has the twelve
leads of ``LEADS`` in that order. Files name their leads, and those names alone decide which row is which lead
(MIMIC-IV-ECG stores aVF before aVL, PTB-XL writes AVR).
"""

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ecglib.errors import SignalError

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
GAIN_PER_MV = 1000.0  # int16 steps per millivolt: 1 µV resolution, range ±32.767 mV
FLAT_MV = 0.005  # a lead whose largest and smallest sample are closer than this carries no signal
ABSURD_MV = 10.0  # root mean square about the mean; an ECG stays below 2, a wrong gain or unit goes far beyond

_BY_LOWER = {lead.lower(): lead for lead in LEADS}
_INT16_LIMIT = 32767  # -32768 is WFDB's mark of a missing sample and never written
_PER_MV = {"nv": 1e6, "uv": 1e3, "µv": 1e3, "μv": 1e3, "mv": 1.0, "v": 1e-3}  # micro sign and Greek mu


def canonical_lead(name: str) -> str:
    """``"avr "`` -> ``"aVR"``: upper or lower case and blanks do not matter; SignalError for any other name."""
    lead = _BY_LOWER.get(str(name).strip().lower())
    if lead is None:
        raise SignalError(f"unknown lead {name!r}; the twelve leads are {', '.join(LEADS)}")
    return lead


def parse_leads(leads: str | Sequence[str]) -> tuple[str, ...]:
    """``"all"``, ``"I,II,V5"`` or a sequence of names -> canonical names in the order given.

    SignalError when a name is unknown or given twice, or when there is none.
    """
    if isinstance(leads, str):
        if leads.strip().lower() == "all":
            return LEADS
        leads = [part for part in leads.split(",") if part.strip()]
    names = tuple(canonical_lead(lead) for lead in leads)
    _refuse_twice(names)
    if not names:
        raise SignalError('no leads given; write "all" or some of ' + ",".join(LEADS))
    return names


def lead_indices(leads: str | Sequence[str]) -> list[int]:
    """Rows of ``leads`` (as parse_leads takes them) in a record of twelve."""
    return [LEADS.index(lead) for lead in parse_leads(leads)]


def order_leads(ecg: np.ndarray, names: Sequence[str]) -> np.ndarray:
    """(S, T) with its S lead names -> (12, T) in the order of LEADS.

    SignalError when a lead is missing, doubled or unknown, or when names and rows differ in number.
    """
    if len(names) != len(ecg):
        raise SignalError(f"{len(names)} lead names for {len(ecg)} rows of signal; the header and the data disagree")
    canonical = tuple(canonical_lead(name) for name in names)
    _refuse_twice(canonical)
    missing = [lead for lead in LEADS if lead not in canonical]
    if missing:
        raise SignalError(f"lead {', '.join(missing)} missing; a record needs all twelve of {', '.join(LEADS)}")
    if canonical == LEADS:
        return np.asarray(ecg)
    return np.asarray(ecg)[[canonical.index(lead) for lead in LEADS]]


def _refuse_twice(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise SignalError(f"lead {', '.join(twice)} given twice")


def unit_per_millivolt(unit: str) -> float:
    """How many of ``unit`` (nV, uV, µV, mV, V) make one millivolt; SignalError for any other unit."""
    per_mv = _PER_MV.get(str(unit).strip().lower())
    if per_mv is None:
        raise SignalError(f"unknown unit {unit!r} of an ECG signal; known are nV, uV, µV, mV and V")
    return per_mv


def to_millivolt(x: np.ndarray, unit: str) -> np.ndarray:
    """``x`` in ``unit`` -> the same in millivolts; SignalError when the unit is unknown."""
    return np.asarray(x) / unit_per_millivolt(unit)


def resample(ecg_mv: np.ndarray, from_hz: float, to_hz: float) -> np.ndarray:
    """(S, T) at ``from_hz`` -> (S, ceil(T * to/from)) at ``to_hz``, polyphase with an anti-alias filter.

    The ends are extended along the line through the first and last sample, so that an offset or a slow
    drift makes no step there. SignalError when a rate is not positive or a sample is missing.
    """
    for hz in (from_hz, to_hz):
        if not np.isfinite(hz) or hz <= 0:
            raise SignalError(f"sampling rate {hz} Hz; it must be a positive number")
    if from_hz == to_hz:
        return np.asarray(ecg_mv)
    if not np.isfinite(ecg_mv).all():
        raise SignalError("samples are missing (NaN or Inf); fill them before resampling (fill_missing)")
    from scipy.signal import resample_poly

    ratio = Fraction(to_hz).limit_denominator(10000) / Fraction(from_hz).limit_denominator(10000)
    return resample_poly(ecg_mv, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def fit_length(ecg: np.ndarray, n: int, where: str = "start") -> np.ndarray:
    """(S, T) -> (S, n): longer is cut (keeping the start, or the middle for ``where="centre"``), shorter is
    padded with zeros at the end. SignalError on any other ``where``."""
    if where not in ("start", "centre"):
        raise SignalError(f"where={where!r}; a record is cut at its start or its centre")
    samples = ecg.shape[-1]
    if samples == n:
        return ecg
    if samples > n:
        first = (samples - n) // 2 if where == "centre" else 0
        return ecg[..., first : first + n]
    return np.pad(ecg, ((0, 0), (0, n - samples)))


def fill_missing(ecg: np.ndarray) -> tuple[np.ndarray, int]:
    """(S, T) with NaN or Inf -> (S, T) finite, and how many samples were filled.

    Each lead on its own: gaps by straight lines, ends by the nearest sample; a lead without one good sample
    becomes zero, which ``flat_leads`` then names. The input is not changed.
    """
    ecg = np.asarray(ecg)
    good = np.isfinite(ecg)
    missing = int(good.size - np.count_nonzero(good))
    if missing == 0:
        return ecg, 0
    filled = np.array(ecg, dtype=np.float64 if ecg.dtype == np.float64 else np.float32)
    at = np.arange(ecg.shape[-1])
    for lead, ok in zip(filled, good, strict=True):
        lead[~ok] = np.interp(at[~ok], at[ok], lead[ok]) if ok.any() else 0.0
    return filled, missing


def flat_leads(ecg_mv: np.ndarray, leads: Sequence[str] = LEADS) -> list[str]:
    """Names of the leads of (S, T) that carry no signal (peak to peak below ``FLAT_MV``)."""
    return [lead for lead, ptp in zip(leads, np.ptp(ecg_mv, axis=-1), strict=True) if ptp < FLAT_MV]


def quality(ecg_mv: np.ndarray, hz: float, *, shortest_s: float = 5.0) -> list[str]:
    """What is wrong with (12, T) millivolts at ``hz``, in words; an empty list when nothing is.

    A first word names the kind: ``missing`` samples, ``short`` record, ``flat`` leads, ``absurd`` amplitude
    (wrong gain or unit), ``limb`` leads that break Einthoven's and Goldberger's equations (leads mixed up).
    """
    ecg_mv = np.asarray(ecg_mv)
    problems = []
    missing = int(np.count_nonzero(~np.isfinite(ecg_mv)))
    if missing:
        problems.append(f"missing samples: {missing} of {ecg_mv.size}")
        ecg_mv, _ = fill_missing(ecg_mv)
    if ecg_mv.shape[-1] < shortest_s * hz:
        problems.append(f"short: {ecg_mv.shape[-1] / hz:.2f} s, less than {shortest_s:g} s")
    if ecg_mv.shape[-1] == 0:
        return problems
    flat = flat_leads(ecg_mv)
    if flat:
        problems.append("flat leads: " + ", ".join(flat))
    # A thousand samples tell amplitude and sums as well as all do, at a fraction of the time.
    sparse = np.ascontiguousarray(ecg_mv[:, :: max(1, ecg_mv.shape[-1] // 1000)])
    rms_mv = np.std(sparse, axis=-1)
    worst = int(np.argmax(rms_mv))
    if rms_mv[worst] > ABSURD_MV:
        problems.append(
            f"absurd amplitude: {rms_mv[worst]:.0f} mV root mean square in {LEADS[worst]}; wrong gain or unit?"
        )
    if not any(lead in flat for lead in LEADS[:6]):
        problems += _limb_lead_problems(sparse, rms_mv)
    return problems


def _limb_lead_problems(ecg_mv: np.ndarray, rms_mv: np.ndarray) -> list[str]:
    one, two, three, avr, avl, avf = ecg_mv[:6]
    rules = {
        "II = I + III": two - one - three,
        "aVR = -(I + II)/2": avr + (one + two) / 2,
        "aVL = I - II/2": avl - one + two / 2,
        "aVF = II - I/2": avf - two + one / 2,
    }
    # Filtering and rounding leave a few µV; an exchanged lead leaves an error of the size of the signal.
    limit_mv = max(0.05, 0.5 * float(np.mean(rms_mv[:6])))
    broken = [rule for rule, error in rules.items() if np.std(error) > limit_mv]
    return [f"limb leads break {'; '.join(broken)}"] if broken else []


def to_int16(ecg_mv: np.ndarray, gain_per_mv: float = GAIN_PER_MV) -> tuple[np.ndarray, int]:
    """Millivolts -> int16 steps of ``1/gain_per_mv`` (rounded), and how many samples had to be clipped.

    SignalError when a sample is missing: int16 has no NaN.
    """
    steps = np.rint(np.asarray(ecg_mv) * np.float32(gain_per_mv))
    if not np.isfinite(steps).all():
        raise SignalError("samples are missing (NaN or Inf); fill them before storing (fill_missing)")
    clipped = int(np.count_nonzero(np.abs(steps) > _INT16_LIMIT))
    if clipped:
        steps = np.clip(steps, -_INT16_LIMIT, _INT16_LIMIT)
    return steps.astype(np.int16), clipped


def from_int16(steps: np.ndarray, gain_per_mv: float = GAIN_PER_MV) -> np.ndarray:
    """int16 steps -> float32 millivolts."""
    return np.multiply(steps, np.float32(1.0 / gain_per_mv), dtype=np.float32)
