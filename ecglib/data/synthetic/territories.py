"""Walls of the left ventricle: in which leads a scar, an injury or ischaemia of each shows, and what a scar takes."""

import numpy as np

# Territory: direction and place (cm) of the one dipole that the twelve leads see as they see a scar or an injury there.
# Leads that show each wall: Wagner et al., Circulation 2009;119:e262-e270 (ST); Bayes de Luna et al., Circulation
# 2006;114:1755-1760 (Q). Lead vectors fitted to whole hearts let V3-V5 see what points down, so the lower wall
# points a little back and lies a little in front: V3 and V4 stay flat, V2 and aVL are reciprocal.
TERRITORY = {
    "AS": ((-0.10, 0.0, 1.0), (-0.5, 0.0, 2.5)),
    "A": ((0.30, 0.05, 0.95), (1.0, 0.3, 2.6)),
    "AL": ((0.90, -0.03, 0.44), (2.5, 0.6, 1.2)),
    "L": ((0.99, -0.13, -0.09), (2.3, 0.6, -0.3)),
    "I": ((-0.26, 0.84, -0.48), (3.0, 3.1, 2.6)),
    "IL": ((0.04, 0.86, -0.50), (2.5, 3.2, 2.4)),
    "P": ((0.05, 0.10, -1.0), (0.8, 0.0, -1.8)),
    "IP": ((-0.24, 0.76, -0.61), (2.6, 2.9, 2.1)),
    "IPL": ((0.13, 0.70, -0.70), (3.1, 2.9, 2.4)),
}
TERRITORY = {k: (np.array(d) / np.linalg.norm(d), np.array(p)) for k, (d, p) in TERRITORY.items()}

# What each wavefront loses of its force towards a scar: the early ones most, the lateral wall its main front, the
# posterior wall what is activated late; and how much (mV) the opposite wall then points away, from and to.
_INFERIOR = ("I", "IL", "IP", "IPL")
_LATE, _LATERAL = np.array([0.0, 0.1, 0.4, 0.75, 0.5]), np.array([0.75, 0.8, 0.7, 0.35, 0.1])
_LOSS = {"": np.array([0.75, 0.75, 0.5, 0.2, 0.1]), "P": _LATE, **dict.fromkeys(("L", "AL"), _LATERAL)}
_LOSS |= dict.fromkeys(_INFERIOR, np.array([0.9, 0.9, 0.6, 0.25, 0.1]))
_UNOPPOSED = {"P": (0.45, 0.80), "L": (0.45, 0.85), "AL": (0.55, 0.95), "A": (0.25, 0.58), "AS": (0.25, 0.58)}
_UNOPPOSED |= dict.fromkeys(_INFERIOR, (0.22, 0.42))
# When (ms, centre and width) it does so: a Q of the lower wall is broad rather than deep
_WHEN = {"": ((19, 26), (7.5, 10.5)), **dict.fromkeys(_INFERIOR, ((21, 28), (9.5, 13.0)))}


def scarred(case, rng, rows: np.ndarray) -> np.ndarray:
    """Dead muscle makes no current: forces towards it are lost early, and the opposite wall is unopposed.

    ``rows`` (K, 8): wavefronts as in `ventricles`, the first five changed in place. Returns (K + 1, 8).
    """
    wall = case.infarct
    towards, place = TERRITORY[wall]
    n = min(len(rows), 5)
    agreeing = np.maximum(rows[:n, 2:5] * towards, 0).sum(axis=1)
    along = agreeing * _LOSS.get(wall, _LOSS[""])[:n] * min(case.scar, 1.0)
    rows[:n, 2:5] -= along[:, None] * towards
    away = -towards * case.scar * rng.uniform(*_UNOPPOSED.get(wall, (0.35, 0.70)))
    when = (46, 9) if wall == "P" else [rng.uniform(*span) for span in _WHEN.get(wall, _WHEN[""])]
    return np.vstack([rows, [*when, *away, *place]])
