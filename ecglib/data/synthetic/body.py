"""The torso: what nine electrodes see of a current dipole in the heart.

Axes: x to the patient's left, y to the feet, z to the chest wall; centimetres, millivolts.
"""

from dataclasses import dataclass, field
from functools import cache

import numpy as np

from ecglib.data.synthetic.population import usual

ELECTRODES = ("RA", "LA", "LL", "V1", "V2", "V3", "V4", "V5", "V6")

# Lead vectors of I and II for a dipole in Frank coordinates, z turned to point forward:
# Dower, Machado, Osborne, "On deriving the electrocardiogram from vectorcardiographic leads",
# Clin Cardiol 1980;3:87-95. Those of the chest leads stand in population.toml.
_DOWER_LIMB = np.array([[0.632, -0.235, -0.059], [0.235, 1.066, 0.132]])
_DOWER_LIMB[0] *= 1.18  # lead I of patients is larger than the torso model's
_CHEST_CM = np.array(
    [
        [-2.5, -2.0, 10.0],
        [2.5, -2.0, 10.5],
        [5.8, 0.0, 10.2],
        [8.8, 2.0, 9.0],
        [11.8, 2.0, 5.5],
        [13.8, 2.0, 1.2],
    ]
)
_ALONG_CM = np.array(  # one centimetre to the patient's left along the chest wall at V1..V6
    [[1, 0, 0.1], [1, 0, 0], [0.97, 0, -0.2], [0.8, 0, -0.6], [0.5, 0, -0.87], [0.3, 0, -0.95]]
)
HEART_CM = np.array([3.0, 0.0, 3.5])
NEAREST_CM = 4.0  # no muscle lies closer to an electrode
_NOMINAL = _CHEST_CM - HEART_CM


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.sqrt(np.vecdot(vectors, vectors))[:, None]


_TOWARDS = _unit(_NOMINAL)


def neighbours(*alike: float) -> np.ndarray:
    """(6, 6) by which six normal numbers become those of V1 to V6, of which the next one is ``alike`` (5,)."""
    place = np.append(0.0, -np.cumsum(np.log(alike)))
    return np.linalg.cholesky(np.exp(-np.abs(np.subtract.outer(place, place))))


# What lies under an electrode lies under the next one too, the more so the farther both are from the heart: in real
# recordings V5 tells R in V6 to 0.16 mV, V3 that of V4 to 0.35 mV.
NEIGHBOURS = neighbours(0.8, 0.75, 0.8, 0.88, 0.95)


@dataclass(frozen=True, slots=True)
class Body:
    """One patient with the electrodes as placed: ``limb`` (3, 3), chest positions (6, 3), swaps (9,).

    ``turn`` (6, 3): by how much each chest electrode looks at the heart from another side than one in its place.
    """

    limb: np.ndarray
    chest_cm: np.ndarray
    chest_gain: np.ndarray
    order: np.ndarray
    turn: np.ndarray = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "turn", _unit(self.chest_cm - HEART_CM) - _TOWARDS)

    def weights(self, sources: np.ndarray, chest: np.ndarray | None = None) -> np.ndarray:
        """Electrode potentials (9, K) in mV of K dipoles; ``sources`` (K, 6): vector, then place in cm.

        The place is relative to the heart's middle. A source near an electrode weighs more there: the
        published lead vector is corrected by the difference of two point-dipole fields. Sources that lie deep have
        lead vectors of their own, ``chest`` (6, 3), wherever they are; an electrode beside its place sees them from
        another side. So P in V1 and V2 turns over when these are too high.
        """
        vector = sources[:, :3].T  # (3, K)
        if chest is not None:
            chest = chest + np.sqrt(np.vecdot(chest, chest))[:, None] * self.turn
            return np.concatenate([self.limb @ vector, chest @ vector * self.chest_gain[:, None]])[self.order]
        far, weight = _chest_field()
        from_source = (self.chest_cm - HEART_CM)[:, None] - sources[:, 3:]  # (6, K, 3)
        square = np.vecdot(from_source, from_source)
        np.maximum(square, NEAREST_CM**2, out=square)
        seen = np.empty((9, len(sources)))
        np.matmul(self.limb, vector, out=seen[:3])
        near = np.vecdot(from_source, sources[:, :3])
        near *= weight
        near /= square * np.sqrt(square)
        near += far @ vector
        np.multiply(near, self.chest_gain[:, None], out=seen[3:])
        return seen.take(self.order, axis=0)


@cache
def _chest_field() -> tuple[np.ndarray, np.ndarray]:
    """Of the chest leads: lead vectors (6, 3) less their nearness at the heart's middle, and its weight (6, 1)."""
    of, distance = usual(), np.linalg.norm(_NOMINAL, axis=1, keepdims=True)
    weight = of.near * np.linalg.norm(of.chest, axis=1, keepdims=True) * distance**2
    return of.chest - weight * _NOMINAL / distance**3, weight


def limb_vectors() -> np.ndarray:
    """Lead vectors (2, 3) of I and II in an average torso."""
    return _DOWER_LIMB.copy()


def average_body() -> Body:
    """The torso that all others vary, with every electrode in its place."""
    return Body(limb_potentials(_DOWER_LIMB), _CHEST_CM, np.ones(6), np.arange(9))


def limb_potentials(limb_leads: np.ndarray) -> np.ndarray:
    """Potentials of RA, LA, LL against their mean, from I and II: (2, ...) to (3, ...)."""
    lead_i, lead_ii = limb_leads
    right = -(lead_i + lead_ii) / 3.0
    return np.array([right, lead_i + right, lead_ii + right])


def leads_from_electrodes(v: np.ndarray) -> np.ndarray:
    """The twelve leads (12, ...) from nine electrode potentials (9, ...), in the order of ``signals.LEADS``."""
    seen = _TWELVE.astype(v.dtype, copy=False) @ v.reshape(9, -1)
    return seen.reshape(12, *v.shape[1:])


def twelve_leads(eight: np.ndarray) -> np.ndarray:
    """I, II, V1-V6 to twelve leads: III = II - I and Goldberger's leads follow exactly (Einthoven 1913)."""
    out = np.empty((12, *eight.shape[1:]), eight.dtype)
    lead_i, lead_ii = eight[:1], eight[1:2]
    out[:2] = eight[:2]
    np.subtract(lead_ii, lead_i, out=out[2:3])
    np.add(lead_i, lead_ii, out=out[3:4])
    out[3:4] /= -2
    np.subtract(eight[:2], eight[1::-1] / 2, out=out[4:6])
    out[6:] = eight[2:]
    return out


def _from_nine() -> np.ndarray:
    eight = np.zeros((8, 9))
    eight[0, [0, 1]] = eight[1, [0, 2]] = -1, 1
    eight[2:, :3] = -1 / 3  # Wilson's terminal is the mean of the limbs
    eight[:, 3:][np.arange(2, 8), np.arange(6)] = 1
    return twelve_leads(eight)


_TWELVE = _from_nine()  # (12, 9)


def sample_body(rng: np.random.Generator, sex: str, habitus: float, sloppiness: float) -> Body:
    """A torso and a technician.

    habitus: about -2 (thin) to 3 (obese); sloppiness scales how often electrodes are misplaced.
    """
    of = usual()
    size = min(max(1.0 + 0.05 * habitus + 0.05 * rng.standard_normal(), 0.86), 1.3)
    limb = _DOWER_LIMB * (1 + of.limb * rng.standard_normal((2, 3)))
    limb = limb_potentials(limb) / size
    chest = _CHEST_CM * np.array([1 + (size - 1) * 0.7, 1.0, size])
    shift = rng.standard_normal(14)
    # Neighbours are placed relative to each other, so their errors are correlated.
    along = 0.7 * shift[0:6] + 0.8 * shift[6]
    down = 0.5 * shift[7:13] + 0.7 * shift[13]
    u = rng.random(6)
    if u[0] < 0.16 * sloppiness:  # V1 and V2 in the second or third intercostal space: common
        down[:2] -= 1.0 + 2.5 * u[1]
    if u[2] < 0.20 * sloppiness:  # V4-V6 under a breast or along the ribs
        down[3:] += 1.0 + 2.5 * u[3]
    chest = chest + along[:, None] * _ALONG_CM
    chest[:, 1] += down
    chest = chest + of.heart_cm * rng.standard_normal(3)  # where the heart lies behind them
    gain = np.exp(of.chest_spread * (NEIGHBOURS @ rng.standard_normal(6)))
    if sex == "F":
        gain[2:5] *= 1 - 0.15 * u[4]
    order = np.arange(9)
    if u[5] < 0.012 * sloppiness:
        swaps = ((0, 1), (3, 4), (4, 5), (5, 6), (3, 5), (7, 8), (1, 2))
        a, b = swaps[int(u[5] / (0.012 * sloppiness) * len(swaps))]
        order[[a, b]] = order[[b, a]]
    return Body(limb, chest, gain, order)
