"""True measurements of a simulated record, read from its noise-free main beat, and findings that follow."""

import math

import numpy as np

from ecglib.conventions import corrected_qt_ms, frontal_axis_deg
from ecglib.data.synthetic.body import leads_from_electrodes
from ecglib.signals import LEADS

_I, _II, _III, _AVR, _AVL, _AVF = range(6)
_V1 = 6
_GRID_MS = np.arange(0.0, 760.0, 4.0)
_OF_LEADS = {name: [f"{name}_mv_{lead}" for lead in LEADS] for name in ("st", "t_amp", "r_amp", "s_amp")}
_P_GRID_MS = np.arange(0.0, 140.0, 4.0)
# Neighbouring leads, in which a wave must be seen twice to count.
_NEIGHBOURS = ((1, 5), (2, 5), (0, 4), (0, 11), (10, 11), (9, 10), (8, 9), (7, 8), (6, 7))

# Findings that stand or fall with a measurement, whatever the case was made from.
MEASURED = frozenset("LAXIS RAXIS VCLVH HVOLT LVOLT CCR CR QWAVE STD STE INVT LOWT LNGQT UWAVE".split())


def measure(
    activation, recovery, qt_ms, p_waves, *, rate, rr_s, pr_ms, late_right=False
) -> tuple[dict[str, float], dict]:
    """Features by name (mV, ms, 1/min, degrees) and the arrays they came from, lead by lead.

    rr_s: the cycle of the main beat, by which QT is corrected (Bazett at 60-100/min, else Fridericia).
    r_amp: highest point of QRS; s_amp: depth of its lowest point after R, as a positive number, or of a QS, which may
    end in an R of a tenth of it;
    q: depth before R; st: 60 ms after J; t_amp: signed extreme of T. Intervals: onset to offset.
    """
    qrs_ms = activation.duration_ms
    t = _GRID_MS[: math.ceil((qt_ms + 40) / 4.0)]
    n_qrs = min(math.ceil((qrs_ms + 2) / 4.0), len(t))
    at_st, at_j = (min(int((qrs_ms + late_ms) // 4), len(t) - 1) for late_ms in (60, 12))
    after = leads_from_electrodes(recovery.sample(t[at_j:] - qrs_ms))  # nothing before J + 12 ms is read
    qrs = activation.leads()[:, :n_qrs]
    peak = qrs.argmax(1)[:, None]
    r = np.maximum(qrs.max(1), 0.0)
    column = np.arange(n_qrs)
    s = np.maximum(-qrs.min(1, where=column > peak, initial=np.inf), 0.0)
    first = (column < peak) | (r <= 0.03)[:, None]
    q = np.maximum(-qrs.min(1, where=first, initial=np.inf), 0.0)
    s = np.where(r < np.maximum(0.06, 0.1 * q), np.maximum(s, q), s)  # QS
    q_ms = 4.0 * ((qrs < -0.03) & first).sum(1)
    st, j = after[:, at_st - at_j], after[:, 0]
    t_window = after[:, max(int((qrs_ms + 0.42 * (qt_ms - qrs_ms)) // 4) - at_j, 0) :]
    high, low = t_window.max(1), t_window.min(1)
    t_amp = np.where(high >= -low, high, low)
    # The terminal right ventricular force of a right bundle block is no part of the axis.
    net = (qrs[:, : int(0.6 * n_qrs)] if late_right else qrs).sum(1)
    axis = frontal_axis_deg(net[_I], net[_AVF])
    features = {
        "rate_bpm": float(rate),
        "pr_ms": float(pr_ms),
        "qrs_ms": float(qrs_ms),
        "qt_ms": float(qt_ms),
        "qtc_ms": float(corrected_qt_ms(qt_ms, rr_s)),
        "axis_deg": axis,
        "p_amp_mv": float("nan"),
    }
    if p_waves is not None:
        p = p_waves.sample(_P_GRID_MS)
        features["p_amp_mv"] = float((p[2] - p[0]).max())  # lead II: left leg less right arm
    for name, values in (("st", st), ("t_amp", t_amp), ("r_amp", r), ("s_amp", s)):
        features.update(zip(_OF_LEADS[name], values.tolist(), strict=True))
    arrays = {"q": q, "q_ms": q_ms, "r": r, "s": s, "st": st, "j": j, "t": t_amp, "low": low, "high": high}
    return features, arrays


def _twice(flags) -> bool:
    return any(flags[a] and flags[b] for a, b in _NEIGHBOURS)


def derived_findings(case, features, arrays, conducted=True) -> set[str]:
    """Findings that are definitions: they hold exactly when the true measurements say so."""
    found = set()
    if not conducted:  # the main beat starts in the ventricles: its shape means nothing else
        return found
    codes = case.codes
    r, s, q, st, t = (arrays[k] for k in ("r", "s", "q", "st", "t"))
    rate = features["rate_bpm"]
    wide = bool(codes & {"CLBBB", "CRBBB", "WPW", "PACE", "IVCD"})
    axis = features["axis_deg"]
    if -90 < axis < -30:
        found.add("LAXIS")
    elif 90 < axis <= 180:
        found.add("RAXIS")
    sokolow, cornell = s[_V1] + max(r[10], r[11]), r[_AVL] + s[8]
    if not wide:
        if sokolow > 3.5 or cornell > (2.0 if case.sex == "F" else 2.8):
            found.add("VCLVH")
        height = r + np.maximum(s, q)
        if height[6:].max() > 4.2 or height[:6].max() > 2.6:
            found.add("HVOLT")
        if height[:6].max() < 0.5 and height[6:].max() < 1.15:
            found.add("LVOLT")
        if not codes & {"LVOLT", "RVH", "LPFB", "IRBBB"}:
            if r[7] > 1.05 * s[7] and r[7] > 0.35:  # transition at or before V2
                found.add("CCR")
            elif r[9] < 0.8 * s[9] and r[8] < 0.5 * s[8] and r[10] < 2.2 * s[10]:  # transition beyond V4
                found.add("CR")
        # Pathological Q: at least 30 ms and a quarter of R, or nothing but a negative deflection
        deep = (q > 0.25 * r) & (arrays["q_ms"] >= 28) & (q > 0.10)
        deep[[_III, _AVR, _V1]] = False
        deep[2] = deep[5] and q[2] > 0.1
        if axis > 70 and not codes & {"LMI", "ALMI", "QWAVE"}:
            deep[_AVL] = False  # a vertical heart turns its back on aVL
        if "LAFB" in codes:
            deep[_AVL] = False
        if codes & {"RVH", "ILBBB"}:
            pass
        elif _twice(deep) or (q[7] > 0.15 and q[6] > 0.15 and arrays["q_ms"][7] >= 28 and r[7] < 0.1):
            found.add("QWAVE")
    if not wide and "ILBBB" not in codes:
        down, up = st < -0.05, (st > 0.10) & (arrays["j"] > 0.08)
        down[[_AVR, _V1]] = False
        # Most healthy men have some ST elevation in V1 to V5 (Surawicz and Parikh, JACC 2002;40:1870-1876): only
        # what is more than they have is said
        up[6:11] &= st[6:11] > ((0.10, 0.20, 0.20, 0.10, 0.10) if case.injury else (0.15, 0.30, 0.30, 0.20, 0.15))
        up[_AVR] = False
        if rate > 130:  # T and P of neighbouring beats lie on the segment
            down[:], up[:] = False, False
        if _twice(down) and (st[[0, 1, 5, 7, 8, 9, 10, 11]] < -0.08).any() and not codes & {"NST", "DIG"}:
            found.add("STD")
        if _twice(up) and not codes & {"EREPOL"}:
            found.add("STE")
        inverted = t < -0.08
        inverted[[_AVR, _V1]] = False
        inverted[2] = False
        if _twice(inverted) and codes:
            found.add("INVT")
        if (np.abs(t)[[0, 1, 9, 10, 11]] < (0.10, 0.10, 0.14, 0.12, 0.10)).all() and codes:
            found.add("LOWT")
    if features["qtc_ms"] > (470 if case.sex == "M" else 475) and not codes & {"PACE", "CLBBB"}:
        found.add("LNGQT")
    if case.u_mv > 0.06 and features["rate_bpm"] < 85:
        found.add("UWAVE")
    return found
