"""Conventions of electrocardiography that measured and simulated ECGs share, so that both mean the same by a name."""

import numpy as np

# aVF is an augmented lead, 2/sqrt(3) shorter than I in the frontal plane's equilateral triangle (Einthoven 1913).
AVF_TO_I = 1.1547
BAZETT_RR_S = (0.6, 1.0)  # 60 to 100 beats a minute


def corrected_qt_ms(qt_ms: float, rr_s: float) -> float:
    """QTc in ms of a QT interval at a cycle of ``rr_s`` seconds.

    Bazett (1920), QT / sqrt(RR), between 60 and 100 beats a minute; Fridericia (1920), QT / cbrt(RR), outside, where
    Bazett over-corrects.
    """
    low, high = BAZETT_RR_S
    return qt_ms / np.sqrt(rr_s) if low <= rr_s <= high else qt_ms / np.cbrt(rr_s)


def frontal_axis_deg(lead_i: float, lead_avf: float) -> float:
    """Angle in the frontal plane, -180 to 180 degrees, 0 along I and 90 along aVF, of two leads in one unit."""
    return float(np.degrees(np.arctan2(AVF_TO_I * lead_avf, lead_i)))
