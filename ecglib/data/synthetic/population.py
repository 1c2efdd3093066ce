"""What is usual in adults: sizes that ``ecglib.calibration`` fits to unlabelled recordings, kept as a file.

``population.toml`` is written by its commands (the package's own and ``matched``) and read here; nothing in it was
chosen by a diagnosis of a real record.
"""

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from ecglib.errors import ParameterError

FILE = Path(__file__).with_name("population.toml")
FRONTS = 5  # wavefronts of a QRS, in the order of activation
# When each wavefront passes, in parts of the QRS, and how long it is taken to last when a QRS is measured
FRONT_AT = np.array([0.13, 0.29, 0.45, 0.61, 0.79])
FRONT_WIDTH = 0.085


@dataclass(frozen=True)
class Population:
    """chest (6, 3): lead vectors of V1-V6 (x to the left, y down, z forward; the scale of Frank's leads).

    QRS: ``fronts`` (15,) mean of five dipoles in mV of a heart of usual size, ``beyond`` (30,) what V1-V6 see of each
    that the lead vectors do not tell, in mV, and ``front_modes`` (M, 45) of both in mV: a heart takes a normal number
    of each.
    ``axis`` mean and spread in degrees at 50 years; ``voltage_spread`` of the logarithm.
    T: mean unit ``t_vector`` (3,), size in mV and spread of its logarithm, and ``t_chest`` (6, 3): V1-V6 see recovery,
    which is everywhere at once, by lead vectors of their own. ``t_by_axis`` (9,): its change per 40 degrees of QRS
    axis, and that of what V1-V6 show beyond it in parts of its size. ST: mean (3,) in mV, share of the T vector,
    ``st_chest`` (6, 3). ``recovery_modes`` (M, 6): of the unit T and of the ST in mV, together;
    ``recovery_beyond`` (M, 12): of what V1-V6 show beyond both, in the same units.
    P: right and left atrium (2, 3) in mV, the spreads of each component, and ``p_chest`` (6, 3), as the atria lie deep.
    Bodies: ``near``, how much a source weighs more the nearer it is (fitted once, with ``chest``); spreads of lead
    vectors ``limb``, of the gains of V1-V6 ``chest_spread`` (6,) and of the heart's place ``heart_cm``.
    What the leads show of a QRS and no front tells: widths ``front_width`` (5,) in parts of the QRS, slurs and fibres
    (sizes in mV, widths in ms), and the muscle under an electrode, ``local`` (2,) of slurs and fronts that are no
    healthy ones, and of fine structure, in parts of the most that it sees of them, by electrode ``local_at`` (6,).
    T: ``t_ms`` and ``t_skew``, width after its peak and how much longer before it.
    """

    chest: np.ndarray
    fronts: np.ndarray
    beyond: np.ndarray
    front_modes: np.ndarray
    axis: np.ndarray
    voltage_spread: float
    t_vector: np.ndarray
    t_by_axis: np.ndarray
    t_mv: float
    t_spread: float
    t_chest: np.ndarray
    st_chest: np.ndarray
    st_mv: np.ndarray
    st_of_t: float
    recovery_modes: np.ndarray
    recovery_beyond: np.ndarray
    p_mv: np.ndarray
    p_spread_mv: np.ndarray
    p_chest: np.ndarray
    near: float
    limb: float
    chest_spread: np.ndarray
    heart_cm: float
    front_width: np.ndarray
    slur_mv: float
    slur_ms: float
    fibre_mv: float
    fibre_ms: float
    local: np.ndarray
    local_at: np.ndarray
    t_ms: float
    t_skew: float


def load(path: Path = FILE) -> Population:
    """Read a population file; ParameterError that names file and value where one is missing, surplus or not finite."""
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ParameterError(f"{path.name} cannot be read ({error}); make it: python -m ecglib.calibration") from error
    for note in ("source", "matched"):
        read.pop(note, None)
    names = {field.name for field in fields(Population)}
    if odd := names ^ read.keys():
        raise ParameterError(f"{path.name}: {sorted(odd)} missing or not known; make it: python -m ecglib.calibration")
    try:
        values = {name: np.array(value, dtype=float) for name, value in read.items()}
    except ValueError as error:
        raise ParameterError(f"{path.name}: {error}; make it: python -m ecglib.calibration") from error
    shapes = {"chest": (6, 3), "axis": (2,), "t_by_axis": (9,)}
    shapes |= {"fronts": (3 * FRONTS,), "beyond": (6 * FRONTS,)}
    shapes |= {"p_mv": (2, 3), "p_spread_mv": (2, 3), "p_chest": (6, 3), "t_chest": (6, 3)}
    shapes["st_chest"] = (6, 3)
    shapes |= dict.fromkeys(("t_vector", "st_mv"), (3,))
    shapes |= dict.fromkeys(("chest_spread", "local_at"), (6,))
    shapes |= {"front_width": (FRONTS,), "local": (2,)}
    of_modes = {"front_modes": 9 * FRONTS, "recovery_modes": 6, "recovery_beyond": 12}
    shapes |= {name: (*values[name].shape[:1], n) for name, n in of_modes.items()}
    for name, value in values.items():
        if value.shape != shapes.get(name, ()) or not np.isfinite(value).all():
            raise ParameterError(f"{path.name}: {name} must be finite numbers of shape {shapes.get(name, ())}")
    return Population(**{name: value if value.shape else float(value) for name, value in values.items()})


@cache
def of_package() -> Population:
    """The population of ``population.toml``."""
    return load()


_put: Population | None = None


def put(of: Population | None) -> None:
    """Simulate another population in this process, for calibration; None: the package's again.

    What others derive from it must be forgotten with it, see ``ecglib.calibration.files.forget``.
    """
    global _put
    _put = of


def usual() -> Population:
    """The population that is simulated."""
    return _put or of_package()
