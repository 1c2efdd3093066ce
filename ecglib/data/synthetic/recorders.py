"""Makes of electrocardiograph: filters, mains removal, converter, storage. Rows in recorders.toml."""

import tomllib
from dataclasses import dataclass, fields
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np

from ecglib.errors import ParameterError

TABLE = Path(__file__).with_name("recorders.toml")
MARGIN = 3  # Lanczos's kernel: own samples on either side
_CHOICES = {
    "high_pass_order": (1, 2),
    "phase": ("causal", "zero"),
    "low_pass_shape": ("butterworth", "gaussian"),
    "mains": ("none", "notch", "adaptive"),
}


@dataclass(frozen=True, slots=True)
class Recorder:
    """One make; the head of recorders.toml explains the fields."""

    name: str
    source: str
    high_pass_hz: tuple[float, ...]
    high_pass_order: int
    phase: str
    low_pass_hz: tuple[float, ...]
    low_pass_shape: str
    low_pass_order: int
    anti_alias_hz: float
    mains: str
    mains_width_hz: float
    mains_left: float
    sampling_hz: float
    lsb_mv: float
    stored_mv: float
    rail_mv: float


@cache
def recorders(path: Path = TABLE) -> dict[str, Recorder]:
    """Name -> make. ParameterError names the file, the row and the field at fault."""
    rows = read_toml(path).get("recorder")
    if not isinstance(rows, list) or not rows:
        raise ParameterError(f"{path.name} holds no [[recorder]] table; add one")
    out = {}
    for number, row in enumerate(rows, 1):
        recorder = _recorder(row, f"{path.name}, recorder {number} ({row.get('name', 'unnamed')})")
        if recorder.name in out:
            raise ParameterError(f"{path.name} names {recorder.name!r} twice; give each recorder its own name")
        out[recorder.name] = recorder
    return out


def read_toml(path: Path) -> dict:
    """The tables of a TOML file; ParameterError when it is missing or not TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ParameterError(f"{path.name} cannot be read: {error.strerror}") from error
    except tomllib.TOMLDecodeError as error:
        raise ParameterError(f"{path.name} is not valid TOML: {error}") from error


def _recorder(row: dict, where: str) -> Recorder:
    names = [f.name for f in fields(Recorder)]
    if missing := [n for n in names if n not in row]:
        raise ParameterError(f"{where} lacks {', '.join(missing)}")
    if unknown := sorted(row.keys() - set(names)):
        raise ParameterError(f"{where} has unknown fields {', '.join(unknown)}; known are {', '.join(names)}")
    for name, choices in _CHOICES.items():
        if row[name] not in choices:
            raise ParameterError(f"{where}: {name} is {row[name]!r}; use one of {choices}")
    for name in ("high_pass_hz", "low_pass_hz"):
        values = row[name]
        if not isinstance(values, list) or not values or not all(_number(v) and v > 0 for v in values):
            raise ParameterError(f"{where}: {name} is {values!r}; use a list of frequencies above 0")
    for name in ("low_pass_order", "anti_alias_hz", "mains_width_hz", "sampling_hz", "lsb_mv", "stored_mv", "rail_mv"):
        if not _number(row[name]) or row[name] <= 0:
            raise ParameterError(f"{where}: {name} is {row[name]!r}; use a number above 0")
    if not _number(row["mains_left"]) or not 0 <= row["mains_left"] <= 1:
        raise ParameterError(f"{where}: mains_left is {row['mains_left']!r}; use a number from 0 to 1")
    lists = {name: tuple(map(float, row[name])) for name in ("high_pass_hz", "low_pass_hz")}
    return Recorder(**{**row, **lists})


def _number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@cache
def response(recorder: Recorder, high_pass_hz: float, low_pass_hz: float, mains_hz: float, samples: int, hz: float):
    """Transfer function (F,) complex64 of the whole chain at the frequencies of ``np.fft.rfft`` of ``samples``."""
    frequency = np.fft.rfftfreq(samples, 1 / hz)
    ratio = 1j * frequency / high_pass_hz
    out = ratio / (1 + ratio) if recorder.high_pass_order == 1 else ratio**2 / (1 + np.sqrt(2) * ratio + ratio**2)
    if recorder.phase == "zero":
        out = np.abs(out).astype(complex)
    if recorder.low_pass_shape == "gaussian":
        out *= 2.0 ** (-0.5 * (frequency / low_pass_hz) ** 2)
    else:
        out /= np.sqrt(1 + (frequency / low_pass_hz) ** (2 * recorder.low_pass_order))
    out /= np.sqrt(1 + (frequency / recorder.anti_alias_hz) ** 12)
    if recorder.mains == "notch":
        away = (frequency - mains_hz) / (0.5 * recorder.mains_width_hz)
        out *= 1 - (1 - recorder.mains_left) * 2.0 ** -(away**2)
    return out.astype(np.complex64)


@cache
def interpolation(own_hz: float, hz: float) -> tuple[int, int, np.ndarray]:
    """From ``own_hz`` up to ``hz``: (p, q, (p + 6, q) float32): q samples from p own, 3 either side.

    Lanczos's kernel of six samples; it leaves own samples as they are.
    """
    ratio = Fraction(own_hz / hz).limit_denominator(100)
    p, q = ratio.numerator, ratio.denominator
    away = np.arange(q) * p / q - np.arange(-MARGIN, p + MARGIN)[:, None]
    weights = np.where(np.abs(away) < MARGIN, np.sinc(away) * np.sinc(away / MARGIN), 0)
    return p, q, (weights / weights.sum(0)).astype(np.float32)


def interpolate(own: np.ndarray, own_hz: float, hz: float, samples: int) -> np.ndarray:
    """(L, T) at ``own_hz``, with three samples before the first wanted, to (L, samples) at ``hz``."""
    p, _, weights = interpolation(own_hz, hz)
    windows = np.lib.stride_tricks.sliding_window_view(own, len(weights), axis=1)[:, ::p]
    return (windows @ weights).reshape(len(own), -1)[:, :samples]


def own_samples(own_hz: float, hz: float, samples: int) -> int:
    """How many own samples ``interpolate`` needs for ``samples``."""
    p, q, weights = interpolation(own_hz, hz)
    return (-(-samples // q) - 1) * p + len(weights)
