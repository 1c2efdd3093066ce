"""Block of one fascicle of the left bundle: the wall that it serves is reached late, from the other one.

Criteria: Surawicz et al., AHA/ACCF/HRS recommendations III, Circulation 2009;119:e235-e240. The heart itself is
one of the population, so that what the chest leads show varies as in all hearts.
"""

from functools import partial

import numpy as np

from ecglib.data.synthetic.body import Body
from ecglib.data.synthetic.fronts import aim, healthy, turned
from ecglib.data.synthetic.rare import transition_early

# Lead I, III and aVL of the potentials of right arm, left arm and foot
_LEADS = {"I": np.array([-1.0, 1.0, 0.0]), "III": np.array([0.0, -1.0, 1.0]), "aVL": np.array([-0.5, 1.0, -0.5])}
# What two leads show first (mV, median): upper wall late: down and to the right, lower wall late: up and to the left
_FIRST = {"LAFB": {"aVL": -0.08, "III": 0.18}, "LPFB": {"I": 0.18, "III": -0.14}}
_BACK_DEG = 400.0  # degrees of axis that count as much as 1 mV of late forces in the wrong direction
_LATE_MS = (5.0, 10.0)  # by which the wall that has lost its fascicle is late, in a QRS of 90 ms
# By how much the axis lay elsewhere before the block (degrees): a left axis is common without one, a right one is not
_BEFORE_DEG = {"LAFB": (-10.0, 10.0), "LPFB": (-60.0, -40.0)}


def blocked(case, body: Body, rng) -> tuple[np.ndarray, np.ndarray]:
    """Fronts as of `fronts.healthy`, all but the first late and turned towards the wall that is: in anterior block to
    the left and up (R in aVL, S in III), in posterior block to the right and down (S in I, R in III)."""
    code, limb = ("LAFB" if "LAFB" in case.codes else "LPFB"), body.limb
    before_deg = rng.uniform(*_BEFORE_DEG[code])
    back = _LEADS["III" if code == "LAFB" else "I"] @ limb
    rows, beyond = healthy(case.axis_deg + before_deg, limb, rng, partial(_misfit, back, -before_deg, body))
    rows[1:, 0] += rng.uniform(*_LATE_MS)
    aim(rows, case.axis_deg, limb, slice(1, None))
    returning = np.maximum(rows[2:, 2:5] @ back, 0) / (back @ back)  # what is left of it in the best heart
    rows[2:, 2:5] -= returning[:, None] * back
    return rows, beyond


def _misfit(lead, by_deg, body, dipoles, beyond) -> np.ndarray:
    """Degrees (H,) against hearts whose late forces, once turned, come back to where the first ones point, in lead
    (3,): what is late is late to the end. And against R above S in V2, which such a block does not make."""
    then = turned(dipoles, by_deg)
    return _BACK_DEG * np.maximum(then[:, 2:] @ lead, 0).sum(axis=1) + transition_early(body, then, beyond)


def begin(codes: frozenset, rows: np.ndarray, beyond: np.ndarray, limb: np.ndarray, rng) -> None:
    """Give the first front the frontal direction with which two leads, at its time, show the small wave that the muscle
    makes which is reached first: q in aVL and r in III in anterior block, r in I and q in III in posterior block."""
    first = _FIRST["LAFB" if "LAFB" in codes else "LPFB"]
    share = np.exp(-0.5 * ((rows[0, 0] - rows[1:, 0]) / rows[1:, 1]) ** 2)
    vectors = np.array([_LEADS[lead] @ limb for lead in first])
    wanted = np.array([_small(rng, mv) for mv in first.values()])
    others = (share @ rows[1:, 2:5]) @ vectors.T
    before = np.linalg.norm(rows[0, 2:5])
    rows[0, 2:4] = np.linalg.solve(vectors[:, :2], wanted - others - vectors[:, 2] * rows[0, 4])
    beyond[0] *= before / np.linalg.norm(rows[0, 2:5])  # what the chest sees beyond the dipole stays as it was


def _small(rng, usual_mv: float) -> float:
    """A wave of about ``usual_mv``, never so small that it is not seen."""
    return usual_mv * max(float(np.exp(0.45 * rng.standard_normal())), 0.5)
