"""Measurements of a 12-lead ECG as a cardiograph takes them: beats, the median beat, its waves, intervals, amplitudes.

Nothing here knows how a record came about, so simulated and real ones are measured by one rule. Where a wave cannot be
told from noise its measurements are NaN: no P wave in atrial fibrillation, no QT where T drowns.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import butter, find_peaks, sosfiltfilt

from ecglib.conventions import corrected_qt_ms, frontal_axis_deg
from ecglib.errors import SignalError
from ecglib.signals import LEADS, fill_missing, resample

WORK_HZ = 500.0  # records of lower rate are interpolated, so that intervals have steps of 2 ms
BEFORE_S, AFTER_S = 0.36, 0.60  # of a median beat, around its QRS
LEAST_MV = 0.01  # energy of a QRS; what stays below is no ECG
FLAT_MV = 0.001  # a lead that moves less has recorded nothing, and tells no axis
LEAST_WAVE_MV = 0.02  # what is smaller is no wave: CSE Working Party, Eur Heart J 1985;6:815-825
LIKE = 0.85  # correlation with the median beat from which a beat is of the same form
_I, _II, _AVF = LEADS.index("I"), LEADS.index("II"), LEADS.index("aVF")


@dataclass(frozen=True)
class MedianBeat:
    """The commonest form of beat: (12, T) mV at ``WORK_HZ``, its QRS at ``at``; level zero just before the QRS."""

    ecg_mv: np.ndarray
    at: int
    beats: int  # of this form
    others: int  # whole beats of another form
    coherent_p: float  # how alike the beats are where P would be, -1 to 1


def find_beats(ecg_mv: np.ndarray, hz: float) -> np.ndarray:
    """Sample of every QRS in (12, T) millivolts: peaks of the energy between 8 and 40 Hz over all leads."""
    energy = np.sqrt((_band(ecg_mv, hz, 8.0, min(40.0, 0.45 * hz)) ** 2).mean(axis=0))
    width = max(1, round(0.06 * hz))
    energy = np.convolve(energy, np.ones(width) / width, mode="same")
    # The floor follows the tallest peak of each two seconds, so that one large ectopic beat hides no other.
    span = max(1, round(2.0 * hz))
    tallest = np.array([energy[max(0, i - span // 2) : i + span // 2].max() for i in range(0, len(energy), span // 4)])
    floor = 0.3 * np.minimum(np.repeat(tallest, span // 4)[: len(energy)], 2.0 * np.median(tallest))
    peaks, _ = find_peaks(
        energy, height=np.maximum(floor, LEAST_MV), distance=round(0.24 * hz), prominence=0.15 * np.median(tallest)
    )
    return peaks


def median_beat(ecg_mv: np.ndarray, peaks: np.ndarray) -> MedianBeat:
    """Median over the aligned beats of the commonest form: (12, T) mV at ``WORK_HZ``, samples of the QRSs (N,).

    Raises:
        SignalError: fewer than two of the beats lie in the record as a whole.
    """
    before, after = round(BEFORE_S * WORK_HZ), round(AFTER_S * WORK_HZ)
    whole = peaks[(peaks > before + 20) & (peaks < ecg_mv.shape[1] - after - 20)]
    if len(whole) < 2:
        raise SignalError(f"{len(whole)} whole beats were found; two or more are needed to measure")
    core = slice(before - 50, before + 60)  # 220 ms around the QRS

    def cut(at: np.ndarray) -> np.ndarray:
        beats = np.stack([ecg_mv[:, i - before : i + after] for i in at])  # (N, 12, T)
        return beats - np.median(beats[:, :, before - 60 : before - 30], axis=2, keepdims=True)

    def alike(beats: np.ndarray) -> np.ndarray:
        """Correlations of all pairs of beats over their QRS: (N, 12, T) -> (N, N)."""
        form = beats[:, :, core].reshape(len(beats), -1)
        form = (form - form.mean(1, keepdims=True)) / (form.std(1, keepdims=True) + 1e-9)
        return form @ form.T / form.shape[1]

    beats = cut(whole)
    centre = int((alike(beats) > LIKE).sum(axis=1).argmax())
    shifts = np.arange(-15, 16)
    template = beats[centre][:, core]
    moved = []
    for i in whole:
        found = [np.vdot(template, ecg_mv[:, i + s - 50 : i + s + 60]) for s in shifts]
        moved.append(i + int(shifts[int(np.argmax(found))]))
    beats = cut(np.array(moved))
    same = alike(beats)[centre] > LIKE
    same[centre] = True
    chosen = beats[same]
    n = int(same.sum())
    return MedianBeat(np.median(chosen, axis=0), before, n, len(beats) - n, _coherence(chosen, before))


def _coherence(beats: np.ndarray, at: int) -> float:
    """(N, 12, T) -> median correlation of single beats with the mean of the others from 280 to 60 ms before the QRS."""
    window = _band(beats[:, :, at - 140 : at - 30], WORK_HZ, 1.0, 25.0, pad=60)
    window = window - window.mean(axis=2, keepdims=True)
    if len(window) < 3:
        return 0.0
    others = (window.sum(axis=0) - window) / (len(window) - 1)
    product = (window * others).sum(axis=(1, 2))
    return float(np.median(product / np.sqrt((window**2).sum((1, 2)) * (others**2).sum((1, 2)) + 1e-12)))


def measure_ecg(ecg_mv: np.ndarray, hz: float) -> dict[str, float]:
    """(12, T) millivolts -> measurements by name, in 1/min, ms, degrees and mV; NaN where a wave is not to be told.

    ``rate_bpm, rr_std_ms, pr_ms, p_ms, qrs_ms, qt_ms, qtc_ms, axis_deg, p_axis_deg, t_axis_deg, p_amp_mv, beats,
    other_beats`` and, for every lead, ``q_mv_I, r_mv_I, s_mv_I, st_mv_I, t_mv_I`` and so on. QT is corrected by Bazett
    between 60 and 100 beats a minute, else by Fridericia.

    Raises:
        SignalError: fewer than two whole beats.
    """
    beat, peaks, (begin, end) = usual_beat(ecg_mv, hz)
    rr_s = np.diff(peaks) / WORK_HZ
    wave = beat.ecg_mv
    found = {
        "rate_bpm": 60.0 / float(rr_s.mean()),
        "rr_std_ms": 1000.0 * float(rr_s.std()),
        "beats": float(len(peaks)),
        "other_beats": float(beat.others),
        "qrs_ms": _ms(end - begin),
    }
    net = wave[:, begin:end].sum(axis=1)
    found["axis_deg"] = _axis(net)
    found |= _t_wave(wave, begin, end, float(np.median(rr_s)))
    found |= _p_wave(beat, begin)
    for row, lead in enumerate(LEADS):
        found |= {f"{name}_mv_{lead}": value for name, value in _amplitudes(wave[row], begin, end).items()}
        found[f"t_mv_{lead}"] = float(found["t_peak"][row]) if found["t_peak"] is not None else np.nan
    del found["t_peak"]
    if min(np.ptp(wave[_I]), np.ptp(wave[_AVF])) < FLAT_MV:
        found |= dict.fromkeys(("axis_deg", "p_axis_deg", "t_axis_deg"), np.nan)
    return found


def usual_beat(ecg_mv: np.ndarray, hz: float) -> tuple[MedianBeat, np.ndarray, tuple[int, int]]:
    """(12, T) millivolts -> the median beat with the level before its QRS at zero, the samples of all QRSs (N,) at
    ``WORK_HZ``, and the first sample of the median QRS and the first behind it.

    Raises:
        SignalError: fewer than two whole beats.
    """
    ecg_mv, _ = fill_missing(np.asarray(ecg_mv, dtype=np.float64))
    ecg_mv = _band(resample(ecg_mv, hz, WORK_HZ), WORK_HZ, 0.4, 100.0)
    peaks = find_beats(ecg_mv, WORK_HZ)
    beat = median_beat(ecg_mv, peaks)
    begin, end = _qrs(beat)
    level = beat.ecg_mv[:, max(0, begin - 8) : begin - 1].mean(axis=1, keepdims=True)
    return replace(beat, ecg_mv=beat.ecg_mv - level), peaks, (begin, end)


def _qrs(beat: MedianBeat) -> tuple[int, int]:
    """First sample of the QRS and the first behind it: where the leads together change faster than around it."""
    smooth = _band(beat.ecg_mv, WORK_HZ, 0.0, 50.0)
    speed = np.sqrt((np.gradient(smooth, axis=1) ** 2).sum(axis=0))
    centre = beat.at - 40 + int(speed[beat.at - 40 : beat.at + 41].argmax())
    quiet = np.percentile(speed[beat.at - 150 : beat.at - 40], 30)
    threshold = max(0.045 * speed[centre], 2.5 * quiet)
    calm = np.convolve(speed < threshold, np.ones(7), mode="same") >= 6.5  # 14 ms below
    left = np.flatnonzero(calm[max(0, centre - 90) : centre])
    right = np.flatnonzero(calm[centre : centre + 110])
    begin = max(0, centre - 90) + int(left[-1]) + 3 if len(left) else centre - 30
    end = centre + int(right[0]) - 3 if len(right) else centre + 60
    return max(begin, 10), max(end, begin + 10)


def _t_wave(wave: np.ndarray, begin: int, end: int, rr_s: float) -> dict:
    """QT by the tangent to the steepest descent of the T wave's magnitude, and T lead by lead at its peak."""
    nothing = {"qt_ms": np.nan, "qtc_ms": np.nan, "t_axis_deg": np.nan, "t_peak": None}
    smooth = _band(wave, WORK_HZ, 0.0, 20.0)
    first, last = end + 30, min(wave.shape[1] - 10, begin + round(min(0.56, 0.8 * rr_s) * WORK_HZ))
    if last - first < 40:
        return nothing
    size = np.sqrt((smooth**2).mean(axis=0))
    peak = first + int(size[first:last].argmax())
    if size[peak] < 0.03 or peak >= last - 8:
        return nothing
    floor = size[peak:last].min()
    slope = np.gradient(size)
    steepest = peak + int(slope[peak:last].argmin())
    if slope[steepest] >= 0:
        return nothing
    qt_ms = _ms(min(steepest + (size[steepest] - floor) / -slope[steepest], last) - begin)
    around = smooth[:, max(first, peak - 40) : peak + 40]
    extreme = np.abs(around).argmax(axis=1)
    return {
        "qt_ms": qt_ms,
        "qtc_ms": float(corrected_qt_ms(qt_ms, rr_s)),
        "t_axis_deg": _axis(smooth[:, peak]),
        "t_peak": around[np.arange(len(LEADS)), extreme],
    }


def _p_wave(beat: MedianBeat, begin: int) -> dict[str, float]:
    """PR, duration, axis and size in II of a P wave that all beats have in the same place."""
    found = p_wave(beat, begin)
    if found is None:
        return dict.fromkeys(("pr_ms", "p_ms", "p_axis_deg", "p_amp_mv"), np.nan)
    smooth, onset, peak, offset = found
    return {
        "pr_ms": _ms(begin - onset) + 8.0,  # a quarter of the height is reached about 8 ms after the onset
        "p_ms": _ms(offset - onset) + 16.0,
        "p_axis_deg": _axis(smooth[:, peak]),
        "p_amp_mv": float(smooth[_II, onset:offset].max()) if offset > onset else np.nan,
    }


def p_wave(beat: MedianBeat, begin: int) -> tuple[np.ndarray, int, int, int] | None:
    """The leads (12, ``begin`` - 8) with zero at the onset of P, its onset, peak and offset; None where none is clear.

    ``begin``: first sample of the QRS. Onset and offset are where a quarter of P's height is passed.
    """
    if beat.coherent_p < 0.5:
        return None
    smooth = _band(beat.ecg_mv, WORK_HZ, 0.0, 25.0)[:, : begin - 8]
    smooth = smooth - np.linspace(smooth[:, :15].mean(axis=1), smooth[:, -6:].mean(axis=1), smooth.shape[1]).T
    first = max(0, begin - 165)
    size = np.sqrt((smooth**2).mean(axis=0))
    peak = first + int(size[first:].argmax())
    if size[peak] < 0.02 or peak - first < 5:
        return None
    low = 0.25 * size[peak]
    left = np.flatnonzero(size[:peak] < low)
    right = np.flatnonzero(size[peak:] < low)
    onset = int(left[-1]) if len(left) else first
    offset = peak + int(right[0]) if len(right) else smooth.shape[1]
    return smooth - smooth[:, max(0, onset - 6) : onset + 1].mean(axis=1, keepdims=True), onset, peak, offset


def _amplitudes(lead_mv: np.ndarray, begin: int, end: int) -> dict[str, float]:
    """Q, R and S of one lead as sizes, all positive or zero, and ST 60 ms behind the QRS with its sign."""
    qrs = lead_mv[begin:end]
    top = int(qrs.argmax())
    r = _wave(qrs[top])
    q = _wave(-qrs[: top + 1].min()) if r else 0.0
    s = _wave(-(qrs[top:] if r else qrs).min())
    at = min(end + 30, len(lead_mv) - 5)
    return {"q": q, "r": r, "s": s, "st": float(lead_mv[at - 3 : at + 4].mean())}


def _wave(size_mv: float) -> float:
    return float(size_mv) if size_mv >= LEAST_WAVE_MV else 0.0


def _axis(vector: np.ndarray) -> float:
    """Angle in the frontal plane of (12,) leads, degrees, 0 along I and 90 along aVF."""
    return frontal_axis_deg(vector[_I], vector[_AVF])


def _ms(samples: float) -> float:
    return 1000.0 * float(samples) / WORK_HZ


def _band(x: np.ndarray, hz: float, low_hz: float, high_hz: float, pad: int | None = None) -> np.ndarray:
    """Second-order Butterworth, forward and back: no wave is moved."""
    top = min(high_hz, 0.49 * hz)
    sos = butter(2, (low_hz, top) if low_hz else top, "band" if low_hz else "low", fs=hz, output="sos")
    return sosfiltfilt(sos, x, axis=-1, padlen=pad)
