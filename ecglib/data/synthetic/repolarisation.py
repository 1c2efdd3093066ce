"""ST segment, T and U: recovery as dipoles after the J point.

Secondary change follows the ventricular gradient (Wilson et al. 1934; Burger 1957): the QRS-T area of a heart
does not depend on the order of activation, so what the QRS area gains, the T area loses.
"""

import math

import numpy as np

from ecglib.data.synthetic.population import usual
from ecglib.data.synthetic.territories import TERRITORY
from ecglib.data.synthetic.ventricles import Activation
from ecglib.data.synthetic.waves import Waves

U_FORWARD = np.array([0.0, 0.15, 0.4])  # U follows T, but is tallest in V2 and V3
ST_KEPT = 0.4  # of the healthy ST at J, on the way to T
# Of about length 1: where the late forces of the right ventricle point, to the right and more so forward. The share of
# each is what T of V1 to V3 and of the limbs asks for in unlabelled tracings with a wide QRS and a late R in V1.
RIGHT = np.array([-0.45, 0.0, 0.9])
TURNED_MV = 0.2  # from here on the T of a region is turned over as a whole


def st_rows(j_vector, late_vector, t_peak, place=(0.0, 0.0, 0.0)):
    """Two bumps that make a segment: from J on and on the way to T. Rows (centre, left, right, source).

    What injured and healthy muscle differ by is there as soon as both are active, so it rises within the QRS and is
    whole at J: one that came later would look like a longer QRS.
    """
    mid = max(0.42 * t_peak, 60.0)
    return [
        [0.0, 14.0, 26.0 + 0.30 * t_peak, *j_vector, *place],
        [mid + 22.0, 0.26 * t_peak, 0.26 * t_peak, *late_vector, *place],
    ]


def recover(case, activation: Activation, body, rng, qt_ms: float, conducted=True) -> tuple[Waves, float]:
    """ST-T-U of a beat kind as waves after J, and the QT used (ms)."""
    has = case.codes.__contains__ if conducted else (lambda code: False)
    qrs = activation.duration_ms
    of = usual()
    right = of.t_ms * rng.uniform(0.82, 1.18) * (qt_ms / 390) ** 0.7
    left = right * of.t_skew * rng.uniform(0.857, 1.143)
    if has("EL") and case.electrolyte == "potassium high":
        right, left = right * 0.75, right * 0.8
    t_peak = max(qt_ms - qrs - 2.0 * right, 70.0)
    left = min(left, 0.40 * t_peak)

    gradient = case.t_vector.copy()
    rows = []
    if has("LVH") and case.strain:
        gradient = gradient * 0.25 + case.strain * np.array([-0.32, -0.02, 0.20])
        st = case.strain * np.array([-0.10, -0.02, 0.06])
        rows += st_rows(st, 1.2 * st, t_peak, (1.5, 0.3, 0.0))
    if has("RVH") and case.strain:
        gradient = gradient + case.strain * np.array([0.12, -0.10, -0.42])
        st = case.strain * np.array([0.02, -0.04, -0.07])
        rows += st_rows(st, 1.1 * st, t_peak, (-1.5, 0.0, 2.0))
    st_late = ST_KEPT * case.st_vector + 0.13 * case.t_scale * case.t_vector
    whole = []  # what all of the ventricles make, not one region
    if conducted:
        gradient, more = _primary(case, rng, gradient, t_peak)
        rows += more

    # Secondary T and ST, opposite to the main QRS forces, as far as activation is abnormal.
    excess = activation.excess_area
    if conducted and has("CRBBB"):  # the left ventricle is activated as ever; only the late right forces are new
        excess = RIGHT * max(float(RIGHT @ excess), 0.0)
    elif has("CLBBB"):  # T of the whole left ventricle is opposed, not of its end alone
        excess = activation.waves.area()
    share = min(max((qrs - 104) / 30, 0.0), 1.0) * rng.uniform(0.65, 0.95)
    if has("EL"):  # salts slow all fibres alike and leave the order of activation
        share = 0.0
    secondary = -share * excess / (1.2533 * (left + right))
    secondary *= min(1.0, 0.85 / (math.sqrt(secondary @ secondary) + 1e-9))
    gradient = gradient * (1 - 0.25 * share) + secondary
    rows += st_rows(0.17 * secondary, 0.34 * secondary, t_peak)

    early = gradient * rng.uniform(0.06, 0.22) + 0.1 * math.sqrt(gradient @ gradient) * rng.standard_normal(3) * 0.3
    whole.append([t_peak - 1.25 * left, 0.7 * left, 0.8 * left, *early, 0, 0, 0])
    whole.append([t_peak, left, right, *gradient, 0, 0, 0])
    unit = case.t_vector / (math.sqrt(case.t_vector @ case.t_vector) + 1e-9)
    if case.u_mv > 0:
        u_vector = case.u_mv * (unit + U_FORWARD)
        whole.append([t_peak + 2.0 * right + rng.uniform(75, 105), 28, 34, *u_vector, 0, 0, 0])
    # What the chest shows of the healthy T beyond its dipole goes with as much of it as there still is
    waves = _waves(whole).see(body, of.t_chest + np.outer(case.t_beyond, unit))
    plateau = _waves(st_rows(case.st_vector, st_late, t_peak)).see(body, of.st_chest)
    beyond = np.concatenate([np.zeros(3), body.chest_gain * case.st_beyond_mv])[body.order]
    plateau.weights += np.outer(beyond, (1.0, ST_KEPT))
    waves = waves.joined(plateau)
    if rows:
        waves = waves.joined(_waves(rows).see(body))
    return waves, qrs + t_peak + 2.0 * right


def _waves(rows) -> Waves:
    rows = np.array(rows)
    return Waves(rows[:, :3], rows[:, 3:])


def _primary(case, rng, gradient, t_peak):
    """Diseases of recovery itself: injury, ischaemia, drugs, salts, and the unspecific rest."""
    has = case.codes.__contains__
    rows = []
    for territory, st_mv, t_mv, slope in case.injury:
        towards, place = TERRITORY[territory]
        st = towards * st_mv
        rows += st_rows(st, slope * st, t_peak, place)
        narrow = 0.14 * t_peak + 8
        rows.append([t_peak, narrow, 0.8 * narrow, *(towards * t_mv), *place])
        if t_mv < 0:  # the healthy T of that region is lost as far as it turns over
            lost = 0.8 * min(-t_mv / TURNED_MV, 1.0)
            gradient = gradient - lost * float(np.maximum(gradient * towards, 0.0).sum()) * towards
    gradient = gradient * case.t_scale
    if has("DIG"):
        sag = -np.array([0.11, 0.07, 0.02]) * rng.uniform(0.7, 1.4)
        rows.append([0.42 * t_peak, 0.26 * t_peak, 0.17 * t_peak, *sag, 1.0, 0.3, 0.5])  # scooped; T rises behind it
        gradient = gradient * 0.75
    if has("EL"):
        if case.electrolyte == "potassium low":
            gradient = gradient * 0.3
            sag = -np.array([0.07, 0.05, 0.02]) * rng.uniform(0.7, 1.4)
            rows += st_rows(0.7 * sag, sag, t_peak)
        elif case.electrolyte == "potassium high":
            gradient = gradient * rng.uniform(1.9, 2.8)
    if case.early_mv > 0:  # concave elevation with a notch at J
        st = np.array([0.50, 0.55, 0.45]) * case.early_mv
        rows += st_rows(st, 1.25 * st, t_peak, (1.0, 0.5, 1.5))
        if rng.random() < 0.6:
            rows.append([4.0, 5.0, 6.0, *(0.9 * st * [1.2, 1.2, 0.3]), 1.0, 0.5, 0.0])
    if has("STTU"):
        dip = -np.array([0.10, 0.09, 0.04]) * rng.uniform(0.8, 1.5)
        rows.append([0.0, 14.0, 54.0, *dip, 1.0, 0.5, 0.5])
    return gradient, rows
