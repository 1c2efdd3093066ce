"""Activation of the ventricles: QRS as a chain of wavefronts, changed the way each condition changes it.

Every wavefront is a row (centre ms, width ms, x, y, z mV, place x, y, z cm). The normal sequence follows
Durrer et al., Circulation 1970;41:899-912: septum from the left, apex, left free wall, base.
"""

from dataclasses import dataclass
from functools import cache, partial

import numpy as np

from ecglib.data.synthetic.body import leads_from_electrodes
from ecglib.data.synthetic.cases import FASCICLES
from ecglib.data.synthetic.fascicles import begin, blocked
from ecglib.data.synthetic.fronts import aim, frontal_axis, healthy, turn, turn_towards
from ecglib.data.synthetic.muscle import fibres, near_the_electrodes, slurs
from ecglib.data.synthetic.population import FRONTS, usual
from ecglib.data.synthetic.rare import sought
from ecglib.data.synthetic.territories import scarred
from ecglib.data.synthetic.waves import Waves

_LEFT_BUNDLE_BLOCK = np.array(
    [
        [16, 8, 0.107, 0.0931, 0.23, -1, 0.5, 2],
        [46, 15, 0.659, 0.317, -0.728, 0.5, 0.5, 0],
        [78, 16, 0.807, 0.146, -0.767, 1.5, 0, -1],
        [108, 15, 0.919, 0.045, -0.303, 2.5, 0, -1],
    ]
)
FAINT_MS = 8.0
RIGHT_TURNS_DEG = 50.0  # by which a heavy right ventricle turns the frontal axis, about
_BROAD = (1.0, 1.4)  # later and broader: the Q of a scar large enough to be seen in the whole wall
USUAL_FACTOR = 0.95  # of `finish` for a normal QRS
_GRID_MS = np.arange(-60.0, 260.0, 2.0)  # on which the ends of a QRS are found
_FROM_MUSCLE = frozenset("CRBBB CLBBB IVCD WPW".split())
_TURNED = frozenset("CRBBB CLBBB LAFB LPFB LAXIS RAXIS RVH WPW IVCD".split())
_AXIS = frozenset("LAFB LPFB LAXIS RAXIS".split())  # a finding of the frontal axis: what is planned is shown
_ROTATED = frozenset("CCR CR".split())  # findings of the chest transition, sought in hearts that have them
_AIMED = _AXIS | _ROTATED | {"RVH"}
_LATE = slice(2, FRONTS)  # the fronts that turn where the first ones show a scar


@dataclass(slots=True)
class Activation:
    """QRS of one beat kind: waves from its onset, duration, and the area lost or won against normal."""

    waves: Waves
    duration_ms: float
    excess_area: np.ndarray  # (3,) mV ms, drives secondary repolarisation
    _leads: np.ndarray | None = None

    def leads(self) -> np.ndarray:
        """The QRS in twelve leads (12, n), one sample every 4 ms."""
        if self._leads is None:
            self._leads = leads_from_electrodes(self.waves.sample(np.arange(0.0, self.duration_ms + 2, 4.0)))
        return self._leads

    def scale(self, factor: float) -> None:
        """Make all of it so many times as large."""
        self.waves.sources[:, :3] *= factor
        self.waves.weights = self.waves.weights * factor
        self.excess_area = self.excess_area * factor
        self._leads = None if self._leads is None else self._leads * factor


def _jitter(rng, rows):
    n = len(rows)
    z = rng.standard_normal((n, 6))
    size = np.sqrt(np.square(rows[:, 2:5]).sum(1, keepdims=True))
    rows[:, 2:5] = rows[:, 2:5] * np.exp(0.27 * z[:, :1]) + 0.21 * size * z[:, 1:4]
    rows[:, 0] += 2.0 * z[:, 4]
    rows[:, 1] *= np.exp(0.13 * z[:, 5])
    return rows


@cache
def _normal_area() -> np.ndarray:
    """Dipole time integral (3,) of the mean heart's QRS in mV ms."""
    of = usual()
    return _area(np.column_stack([of.front_width, 90.0 * of.front_width, of.fronts.reshape(FRONTS, 3)]))


def _area(rows):
    return 2.5066 * (rows[:, 1] @ rows[:, 2:5])


def finish(rows, body, target_ms, usual_area, skew=None, more=lambda waves: None) -> Activation:
    """Scale time so that the QRS lasts ``target_ms`` and starts at zero; see it through the body.

    ``usual_area`` (3,) mV ms: what a heart of this size has when it conducts normally. ``more``: adds to the waves what
    electrodes see beyond dipoles; where the QRS begins and ends is where all of it does.
    """
    shape = rows.take((0, 1, 1), axis=1)
    if skew is not None:
        shape[:, 1] *= skew
        shape[:, 2] /= skew
    waves = Waves(shape, rows[:, 2:]).see(body)
    more(waves)
    size = np.abs(waves.sample(_GRID_MS)).max(0)
    inside = (size > max(0.05 * size.max(), 0.02)).nonzero()[0]
    begin, end = _GRID_MS[inside[0]], _GRID_MS[inside[-1]] + 2.0
    # What carts measure includes faint beginnings and ends; the steep part is shorter.
    factor = (target_ms - 2 * FAINT_MS) / (end - begin)
    waves.shape *= factor
    waves.shape[:, 0] -= begin * factor - FAINT_MS
    return Activation(waves, float(target_ms), _area(rows) * factor - usual_area * USUAL_FACTOR)


def conducted(case, body, rng) -> Activation:
    """The QRS of a beat that comes down the conduction system, with everything the case has."""
    has = case.codes.__contains__
    left_block = has("CLBBB")
    beyond, replaced = None, 0
    axis_deg = case.axis_deg - (RIGHT_TURNS_DEG if has("RVH") else 0.0)  # of the left ventricle
    if left_block:
        rows = _LEFT_BUNDLE_BLOCK.copy()
        rows[0, 2:5] *= rng.uniform(0.0, 1.2)
    elif case.codes & FASCICLES:
        rows, beyond = blocked(case, body, rng)
    else:
        rows, beyond = healthy(axis_deg, body.limb, rng, **sought(case, body))
    if has("ILBBB"):  # the septum turns: no q, slurred upstroke
        replaced = 2
        rows[0] = [16, 9.0, 0.16, 0.10, 0.08, -0.5, 0.3, 1.0]
        rows[1, 2:5] = [0.30, 0.20, 0.05]
        rows[2:, 1] *= 1.2
    if left_block:
        _jitter(rng, rows)
    if has("SEHYP"):
        replaced = max(replaced, 1)
        rows[0, 2:5] = np.array([-0.52, -0.35, 0.50]) * rng.uniform(0.9, 1.5)
        rows[0, :2] = [17, 6.0]
    if beyond is not None:
        beyond[:replaced] = 0
    normal_area = _normal_area()

    limb = body.limb
    if left_block:
        turn_towards(rows, axis_deg, limb)
    elif case.codes & _AIMED - FASCICLES:
        aim(rows, axis_deg, limb)
    if not (case.codes & (_AXIS | _ROTATED) or left_block):
        if abs(axis_deg - 40) > 60:  # in a far turn septum and apex turn less than the free wall
            turn(rows[:2], 0.5 * (40 - axis_deg))
    if not case.codes & _ROTATED or case.codes & FASCICLES:
        turn(rows, case.rotation_deg, (2, 4))  # about the long axis: moves the chest transition

    if has("LVH"):
        rows[2:, 2:5] *= case.hypertrophy
        rows[2:, 4] -= 0.12 * case.hypertrophy
        rows[:, :2] *= 1.08
    if has("RVH"):
        rows = _right_hypertrophy(rows, beyond, case.axis_deg, body, rng)
    target, late = case.qrs_ms, np.empty((0, 8))
    if has("CRBBB") or has("IRBBB"):
        full = has("CRBBB")
        end = target * (0.84 if full else 0.82)
        size = rng.uniform(0.48, 0.74) if full else rng.uniform(0.20, 0.42)
        width = rng.uniform(13, 17) if full else rng.uniform(6.5, 9)
        direction = np.array([-0.72, rng.normal(-0.05, 0.2), 0.72]) * size
        late = [[end, width, *direction, -1.5, -0.3, 1.5]]
        if full:
            rows[3, 2:5] *= 0.75
            late.append([end - 26, 0.85 * width, *(rng.uniform(0.5, 0.9) * direction), -1.0, 0, 1.0])
    if has("IVCD"):
        rows[:, 1] *= 1.15
        rows = np.vstack([rows, slurs(rng, 3, 85, 0.25)])
    if case.infarct:
        rows = scarred(case, rng, rows)
        if has("QWAVE"):  # a Q of 30 ms and more, where not every scar leaves one
            rows[-1, :2] *= _BROAD
    rough = 0.2 if has("ABQRS") else usual().slur_mv * np.exp(0.4 * rng.standard_normal())
    # Muscle that is reached from muscle, not from Purkinje fibres, fires less together.
    together = 0.35 if case.codes & _FROM_MUSCLE else 1.0
    rows, fine = np.concatenate([rows, slurs(rng, 3, 78, rough)]), fibres(rng, together)
    if case.infarct and case.codes & _AXIS:
        aim(rows, case.axis_deg, limb, _LATE)
    elif case.codes & FASCICLES and beyond is not None and not replaced:
        begin(case.codes, rows, beyond, limb, rng)
        aim(rows, case.axis_deg, limb, slice(1, None))
    elif case.codes & _AIMED:
        aim(rows, case.axis_deg, limb)
    rows = np.concatenate([rows, fine, late])  # the terminal force of the right ventricle is no part of the axis
    rows[:, 2:5] *= case.voltage
    if not case.infarct and not case.codes & (_TURNED | _AIMED):
        axis = frontal_axis(rows, limb)
        if not -27 <= axis <= 87:
            turn(rows, (-27 if axis < -27 else 87) - axis)

    if has("WPW"):
        pathways = {
            "left lateral": (-0.35, 0.35, 0.65),
            "posteroseptal": (0.55, -0.62, 0.35),
            "right free wall": (0.75, 0.15, -0.10),
            "anteroseptal": (0.45, 0.60, -0.15),
        }
        way = np.array(list(pathways.values())[int(rng.integers(4))])
        size = rng.uniform(0.35, 0.75) * max(case.voltage, 0.8)
        lead_ms = rng.uniform(20, 30)
        delta = [[4, 12, *(0.45 * way * size), 0, 0, 0], [0.5 * lead_ms + 12, 13, *(0.9 * way * size), 0.5, 0, 0]]
        delta.append([lead_ms + 21, 12, *(1.3 * way * size), 0.5, 0, 0])
        rows[:2, 2:5] *= 0.4
        rows[:, 2:5] *= 0.8
        rows[:, 0] += lead_ms
        rows = np.vstack([rows, delta])
    skew = np.exp(0.05 * rng.standard_normal(len(rows)))
    more = partial(near_the_electrodes, body=body, rng=rng, beyond=beyond)
    return finish(rows, body, target, normal_area * case.voltage * 0.9, skew, more)


def _right_hypertrophy(rows, beyond, axis_deg, body, rng) -> np.ndarray:
    """The right ventricle outweighs the left one: R in V1, S in V5 and V6 (Hancock et al., Circulation 2009;119:
    e251-e261). ``rows`` (5, 8) lose of the left wall; two fronts of the right are added, (7, 8).

    The first of them is as strong as it takes for V1 to show the R that is drawn, and for what is left of S there.
    """
    rows[1:, 2:5] *= 0.5
    r_mv = 0.92 * np.exp(0.3 * rng.standard_normal())
    late = rng.uniform(0.6, 1.2)
    front = np.array([42, 8.0, -0.55, 0.3, 0.6, -1.0, 0.5, 1.2])
    rows = np.vstack([rows, [58, 8.0, -0.75 * late, 0.3, 0.15 * late, -1.0, -0.5, 0.5], front])
    share = np.exp(-0.5 * ((front[0] - rows[:, 0]) / rows[:, 1]) ** 2)
    for _ in range(2):  # what aims the whole changes what V1 sees behind the front that was just sized
        v1 = body.weights(rows[:, 2:])[3]
        if beyond is not None:
            v1[:FRONTS] += body.chest_gain[0] * beyond[:, 0] * np.linalg.norm(rows[:FRONTS, 2:5], axis=1)
        there = share @ v1 - v1[-1]
        rows[-1, 2:5] *= max(r_mv - there, 0.3) / max(v1[-1], 0.2)
        aim(rows, axis_deg, body.limb, slice(FRONTS))
    return rows


def ventricular(body, rng, voltage, kind="V") -> Activation:
    """A beat that starts in the muscle: slow, wide, no conduction system. Premature, escape or paced."""
    if kind == "paced":
        main = np.array([0.25, -0.85, -0.50]) + 0.2 * rng.standard_normal(3)
        duration = rng.uniform(140, 185)
    else:
        # Right outflow tract, right apex, left posterior, left lateral, left apex
        exits = np.array(
            [[0.35, 0.9, -0.45], [0.7, -0.6, -0.6], [-0.2, -0.85, 0.7], [-0.8, 0.4, 0.6], [-0.2, -0.7, -0.5]]
        )
        main = exits[int(rng.integers(5))] + 0.3 * rng.standard_normal(3)
        duration = rng.uniform(125, 175)
    main *= rng.uniform(0.8, 1.5) * max(voltage, 0.7) / np.linalg.norm(main)
    side = 0.45 * np.linalg.norm(main) * rng.standard_normal((3, 3)) / 1.7
    rows = np.empty((4, 8))
    rows[:, 0] = [26, 55, 82, 108]
    rows[:, 1] = [13, 16, 17, 15]
    rows[:, 2:5] = np.vstack([0.35 * main + 0.5 * side[0], main, 0.85 * main + side[1], 0.35 * main + side[2]])
    rows[:, 5:] = np.clip(rows[:, 2:5], -1.5, 1.5)
    return finish(rows, body, duration, 0.8 * voltage * _normal_area())


def fused(a: Activation, b: Activation, share: float) -> Activation:
    """Two wavefronts that meet: a mixture of both activations."""
    waves = Waves(
        np.vstack([a.waves.shape, b.waves.shape]),
        np.vstack([a.waves.sources * [[1 - share] * 3 + [1] * 3], b.waves.sources * [[share] * 3 + [1] * 3]]),
        np.hstack([(1 - share) * a.waves.weights, share * b.waves.weights]),
    )
    duration = (1 - share) * a.duration_ms + share * b.duration_ms
    return Activation(waves, duration, (1 - share) * a.excess_area + share * b.excess_area)
