"""What no wavefront as a whole tells of a QRS: its slurs, its fine structure, the muscle under each electrode."""

import numpy as np

from ecglib.data.synthetic.body import Body, neighbours
from ecglib.data.synthetic.population import FRONTS, usual
from ecglib.data.synthetic.waves import Waves

FIBRES, FINE_MS = 9, 4.0
FINE_APART = 0.6  # what a chest electrode does not see of fine structure far from it
_ALIKE = neighbours(0.5, 0.6, 0.65, 0.65, 0.85)


def slurs(rng, n: int, span_ms: float, size_mv: float) -> np.ndarray:
    """Small wavefronts (n, 8) in any direction: the notches and slurs that make every QRS its own."""
    rows = np.empty((n, 8))
    rows[:, 0] = span_ms * rng.uniform(0.15, 0.95, n)
    rows[:, 1] = usual().slur_ms * rng.uniform(0.6, 1.4, n)
    rows[:, 2:5] = size_mv * rng.standard_normal((n, 3))
    rows[:, 5:] = rng.uniform(-1.5, 1.5, (n, 3))
    return rows


def fibres(rng, together: float) -> np.ndarray:
    """Fine structure (FIBRES, 8), the same in every beat: small groups of fibres that fire at once, ``together`` of
    which do so as in a healthy heart. They carry the QRS above 50 Hz; smooth wavefronts alone have nothing there
    (Flowers et al., Circulation 1969;39:531-539)."""
    of, rows = usual(), np.empty((FIBRES, 8))
    rows[:, 0] = 78.0 * rng.uniform(0.08, 0.85, FIBRES)
    rows[:, 1] = of.fibre_ms * rng.uniform(0.6, 1.4, FIBRES)
    rows[:, 2:5] = together * of.fibre_mv * rng.standard_normal((FIBRES, 3))
    rows[:, 5:] = rng.uniform(-4.5, 4.5, (FIBRES, 3))
    return rows


def near_the_electrodes(waves: Waves, body: Body, rng, beyond: np.ndarray | None) -> None:
    """Add what each chest electrode sees of the muscle under it, which no dipole of a whole front tells: of fine
    structure all that is seen at all, of a wavefront some.

    ``beyond`` (5, 6): how much of the first five wavefronts, in parts of their dipoles, see `ventricles.healthy`. So
    it is lost with what a scar takes from them. None where no front is a healthy one's, as in left bundle branch block.
    Of every other wavefront it is drawn.
    """
    of = usual()
    strength = np.sqrt(np.vecdot(waves.sources[:, :3], waves.sources[:, :3]))
    fine = waves.shape[:, 1] < FINE_MS
    own = _ALIKE @ rng.standard_normal((6, len(strength)))
    own *= strength * np.where(fine, of.local[1], of.local[0])
    own *= (of.local_at * np.linalg.norm(of.chest, axis=1))[:, None]
    if beyond is not None:
        own[:, :FRONTS] = strength[:FRONTS] * beyond.T
    own *= body.chest_gain[:, None]
    waves.weights[3:] *= np.where(fine, 1 - FINE_APART, 1.0)
    waves.weights += np.concatenate([np.zeros((3, len(strength))), own])[body.order]
