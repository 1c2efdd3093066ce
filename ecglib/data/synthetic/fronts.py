"""Wavefronts of the ventricles: rows (centre ms, width ms, x, y, z mV, place x, y, z cm), drawn, turned and aimed.

Times are in parts of a QRS of 90 ms; `ventricles.finish` gives them the length that a heart has.
"""

import math

import numpy as np

from ecglib.data.synthetic.population import FRONT_AT, FRONTS, usual

# Where the wavefronts of a normal activation are when they pass (cm)
PLACES = np.array([[-1.0, 0.0, 1.5], [0.8, 1.0, 1.8], [2.0, 0.5, 0.0], [1.0, -0.5, -0.5], [0.0, -1.5, -1.0]])
# Lead I and, as large as it, aVF of the potentials of right arm, left arm and foot
_FRONTAL = np.array([[-1.0, 1.0, 0.0], [-0.5 * 1.1547, -0.5 * 1.1547, 1.1547]])
HEARTS = 24  # drawn at once, of which the one with the axis wanted most is taken


def turn(rows: np.ndarray, angle_deg: float, plane: tuple[int, int] = (2, 3)) -> None:
    """Rotate the dipoles of wavefront rows in place; the frontal plane by default (positive: clockwise seen
    from the front, towards the feet)."""
    angle = math.radians(angle_deg)
    c, s = math.cos(angle), math.sin(angle)
    a, b = rows[:, plane[0]].copy(), rows[:, plane[1]].copy()
    rows[:, plane[0]], rows[:, plane[1]] = c * a - s * b, s * a + c * b


def frontal_axis(rows: np.ndarray, limb: np.ndarray) -> float:
    """Axis in degrees of the summed areas, seen through limb potentials (3, 3)."""
    to_the_left, down = (_FRONTAL @ (limb @ (rows[:, 1] @ rows[:, 2:5]))).tolist()
    return math.degrees(math.atan2(down, to_the_left))


def _axes(vectors, limb):
    """Frontal axes (H,) in degrees of vectors (H, 3) as the limb electrodes see them."""
    seen = vectors @ (_FRONTAL @ limb).T
    return np.degrees(np.arctan2(seen[:, 1], seen[:, 0]))


def turn_towards(rows: np.ndarray, axis_deg: float, limb: np.ndarray) -> None:
    """Turn all wavefronts in place to a frontal axis of about ``axis_deg``: limbs see angles not quite as they are."""
    for _ in range(2):
        turn(rows, _apart(axis_deg, frontal_axis(rows, limb)))


def aim(rows: np.ndarray, axis_deg: float, limb: np.ndarray, moving=slice(None)) -> None:
    """Turn all wavefronts, or those ``moving``, in place until the frontal axis of all is ``axis_deg``, or as near to
    it as they can bring it."""
    part = rows[moving]
    area = part[:, 1] @ part[:, 2:5]
    turn(part, float(turn_to(axis_deg, limb, area, rows[:, 1] @ rows[:, 2:5] - area)))


def turn_to(axis_deg, limb, vectors, still=(0.0, 0.0, 0.0)):
    """Angles (...) in degrees by which vectors (..., 3) turn so that they and ``still`` have a frontal axis.

    Limb electrodes do not see angles quite as they are, and something of what points forward, which does not turn.
    """
    a = math.radians(axis_deg)
    plane = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    along, across = (plane @ (_FRONTAL @ limb)).tolist()
    x, y, z = np.moveaxis(vectors, -1, 0)
    cosine, sine = across[0] * x + across[1] * y, across[1] * x - across[0] * y
    rest = across[2] * z + np.dot(across, still)  # nothing may be left across: cosine cos + sine sin + rest = 0
    middle = np.arctan2(sine, cosine)
    half = np.arccos(np.minimum(np.maximum(-rest / np.maximum(np.hypot(cosine, sine), 1e-9), -1), 1))
    turned_x, turned_y = along[0] * x + along[1] * y, along[1] * x - along[0] * y
    ahead = [turned_x * np.cos(way) + turned_y * np.sin(way) for way in (middle + half, middle - half)]
    return _apart(np.degrees(np.where(ahead[0] > ahead[1], middle + half, middle - half)), 0.0)


def _apart(a_deg, b_deg):
    """From one angle to the other by the shorter way (degrees)."""
    return (a_deg - b_deg + 180) % 360 - 180


def healthy(
    axis_deg: float, limb: np.ndarray, rng, misfit=None, hearts: int = HEARTS, rotation_deg: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Wavefronts (5, 8) of a heart that conducts normally, drawn from the population with about the axis given, and
    what V1-V6 see of each beyond its dipole (5, 6), in parts of that.

    ``limb`` (3, 3): what the limb electrodes see. The rows are in parts of a QRS of 90 ms and in mV. ``misfit``: of
    the ``hearts`` that is taken which also has what is rare, see `rare`; degrees (H,) that count against each of them,
    from dipoles (H, 5, 3) once turned to the axis and what the chest sees beyond (H, 5, 6). Each heart is then also
    tried turned by ``rotation_deg`` about the upright axis, to the front where positive.
    """
    of = usual()
    modes = rng.standard_normal((hearts, len(of.front_modes)))
    dipoles = (of.fronts + modes @ of.front_modes[:, : 3 * FRONTS]).reshape(hearts, FRONTS, 3)
    if rotation_deg:
        dipoles, modes = np.concatenate([dipoles, turned(dipoles, rotation_deg, (0, 2))]), np.tile(modes, (2, 1))
    area = dipoles.swapaxes(1, 2) @ of.front_width
    off = np.abs(_apart(_axes(area, limb), axis_deg))
    if misfit is not None:
        needed = turn_to(axis_deg, limb, area)
        off += misfit(turned(dipoles, needed), _beyond(modes))
    best = int(off.argmin())
    dipole = dipoles[best]
    size = np.sqrt(np.vecdot(dipole, dipole))
    rows = np.empty((FRONTS, 8))
    rows[:, 0], rows[:, 1] = 90.0 * FRONT_AT, 90.0 * of.front_width
    rows[:, 2:5], rows[:, 5:] = dipole * (math.hypot(*of.fronts) / math.hypot(*size)), PLACES
    return rows, _beyond(modes[best]) / size[:, None]


def _beyond(modes: np.ndarray) -> np.ndarray:
    """What V1-V6 see beyond the dipoles (..., 5, 6) of hearts with so much of each mode (..., M)."""
    of = usual()
    return (of.beyond + modes @ of.front_modes[:, 3 * FRONTS :]).reshape(*modes.shape[:-1], FRONTS, 6)


def turned(dipoles, angles_deg, plane=(0, 1)):
    """Hearts (H, 5, 3), each turned by its angle (H,), or all by one, in the frontal plane or another."""
    angles = np.radians(np.broadcast_to(angles_deg, len(dipoles)))[:, None]
    c, s = np.cos(angles), np.sin(angles)
    a, b = dipoles[:, :, plane[0]], dipoles[:, :, plane[1]]
    out = dipoles.copy()
    out[:, :, plane[0]], out[:, :, plane[1]] = c * a - s * b, s * a + c * b
    return out
