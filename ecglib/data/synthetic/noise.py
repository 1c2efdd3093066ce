"""What nine electrodes pick up beside the heart: wander, skin, muscle, mains, movement.

Spectra are drawn frequency by frequency, so that a record at 500 Hz begins as the same record at 100 Hz does.
Sizes follow log-normal distributions over records and, within a record, over electrodes; their parameters stand
in noise.toml, written by ``ecglib.calibration.noise_fit`` from unlabelled signals.
"""

import math
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import numpy as np

from ecglib.data.synthetic.cohorts import COHORTS
from ecglib.data.synthetic.recorders import TABLE as RECORDERS
from ecglib.data.synthetic.recorders import Recorder, read_toml, recorders
from ecglib.errors import ParameterError

TABLE = Path(__file__).with_name("noise.toml")
SLOW_HZ = 45.0  # wander and skin noise end here
SHARED_HZ = 50.0  # up to here two sampling rates show the same noise
TOGETHER_HZ = 1.5  # below this the chest moves as a whole, its electrodes with it
_NEIGHBOURS = np.linalg.cholesky(0.5 ** np.abs(np.subtract.outer(np.arange(6), np.arange(6)))).astype(np.float32)
_WAVES = 6  # slow waves of muscle tension in a record
BREATHS_HZ = (0.16, 0.33)  # rates of breathing at rest
ALIKE_BREATHS = 0.8  # share of the baseline's breathing, in power, that repeats from breath to breath (assumed)
_BREATH_BINS = 32  # of its spectrum; what is left out is heard at the ends of the padded record alone
_BREATH_T = (np.arange(2 * _BREATH_BINS) / (2 * _BREATH_BINS)).astype(np.float32)
# Fourier's transform of so few numbers is a product, faster than the call of an FFT
_BREATH_TO_BINS = np.fft.rfft(np.eye(2 * _BREATH_BINS))[:, :_BREATH_BINS].astype(np.complex64) / _BREATH_BINS
_BREATH_TO_BINS = np.ascontiguousarray(_BREATH_TO_BINS).view(np.float32)  # (64, 64): real and imaginary by turns


@dataclass(frozen=True, slots=True)
class NoiseSizes:
    """Typical size, spread over records and over electrodes (standard deviations of logarithms), chances.

    wander_uv, breath_uv: root mean square. skin_uv: density in uV per root hertz at 1 Hz, falling as
    f**-skin_slope. muscle_uv: plateau density, between 18 Hz and muscle_corner_hz; muscle_floor: its power far
    above, relative to the plateau; muscle_terminal: share of the limbs' mean that Wilson's terminal sees.
    amplifier_uv: white density. mains_uv: amplitude, with mains_2 and mains_3 that
    of the harmonics relative to it. *_arm, *_leg, *_chest: factor of these electrodes. jitter_ms: error in time of
    the samples and storage_uv: error in size, both of steep waves. The others: chance per record.
    """

    wander_uv: float
    wander_sd: float
    wander_electrode_sd: float
    wander_leg: float
    wander_chest: float
    breath_uv: float
    skin_uv: float
    skin_sd: float
    skin_electrode_sd: float
    skin_slope: float
    muscle_uv: float
    muscle_sd: float
    muscle_electrode_sd: float
    muscle_arm: float
    muscle_leg: float
    muscle_terminal: float
    muscle_corner_hz: float
    muscle_floor: float
    muscle_mood: float
    amplifier_uv: float
    amplifier_sd: float
    mains_uv: float
    mains_sd: float
    mains_2: float
    mains_3: float
    mains_chest: float
    jitter_ms: float
    jitter_sd: float
    storage_uv: float
    burst: float
    step: float
    tremor: float
    flat: float
    rail: float


@dataclass(frozen=True, slots=True)
class Ward:
    """Where a cohort was recorded: sizes of noise, and the share of each make of recorder (they add up to 1)."""

    sizes: NoiseSizes
    shares: dict[str, float]

    def recorder(self, u: float) -> Recorder:
        """The make that a draw from 0 to 1 falls on."""
        for name, share in self.shares.items():  # noqa: B007 (the last one takes what rounding leaves)
            u -= share
            if u < 0:
                break
        return recorders()[name]


@cache
def wards(path: Path = TABLE) -> dict[str, Ward]:
    """Cohort -> ward. ParameterError names the file, cohort and field at fault."""
    return {cohort: _entry(entry, f"{path.name}, cohort {cohort}") for cohort, entry in read_toml(path).items()}


def _entry(entry, where):
    if set(entry) != {"noise", "recorders"}:
        raise ParameterError(f"{where} needs the tables noise and recorders and no other; it has {sorted(entry)}")
    names = {f.name for f in fields(NoiseSizes)}
    sizes, shares = entry["noise"], entry["recorders"]
    if set(sizes) != names:
        raise ParameterError(
            f"{where}: noise lacks {sorted(names - set(sizes))} and has unknown {sorted(set(sizes) - names)}"
        )
    for kind, values in (("noise", sizes), ("recorders", shares)):
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
                raise ParameterError(f"{where}: {kind} {name} is {value!r}; use a number from 0")
    if unknown := sorted(set(shares) - set(recorders())):
        raise ParameterError(f"{where}: recorders {unknown} are not in {RECORDERS.name}")
    if not 0.999 < sum(shares.values()) < 1.001:
        raise ParameterError(f"{where}: shares of recorders add up to {sum(shares.values()):g}, not to 1")
    return Ward(NoiseSizes(**sizes), dict(shares))


def ward_of(cohort: str) -> Ward:
    """The ward of a cohort, or of the one that it shares it with; ParameterError when noise.toml has none."""
    table, name = wards(), cohort
    if cohort in COHORTS:
        name = COHORTS[cohort].ward or cohort
    if name not in table:
        raise ParameterError(f"{TABLE.name} has no cohort {name!r}; it has {', '.join(table)}")
    return table[name]


@cache
def _shapes(total: int, hz: float, corner_hz: float, floor: float, slope: float):
    """What depends on length and rate alone: distance of frequencies (Hz), number of all and of those below 50 Hz,
    frequencies below 45 Hz; unit-power spectral shapes of wander; of skin; squared shapes of (muscle, amplifier); root
    of the muscle's band up to 50 Hz; slow waves; time from 0 to 1."""
    frequency = np.fft.rfftfreq(total, 1 / hz)
    slow = frequency[frequency < SLOW_HZ]
    f = np.maximum(slow, 0.06)
    wander = (f / 0.25) ** -1.2 * np.exp(-((f / 1.3) ** 2))
    wander /= np.sqrt((wander[slow > 0.1] ** 2).sum() * frequency[1])
    skin = np.maximum(f, 0.3) ** -slope * np.cos(np.pi / 2 * slow / SLOW_HZ)
    muscle = frequency**2 / (frequency**2 + 18.0**2) / (1 + (frequency / corner_hz) ** 2)
    fast = np.stack([muscle**2 + floor, np.ones_like(muscle)])
    t = np.arange(total) / total
    k = np.arange(1, _WAVES + 1)[:, None]
    waves = np.concatenate([np.cos(2 * np.pi * k * t), np.sin(2 * np.pi * k * t)])
    below = int(np.searchsorted(frequency, min(SHARED_HZ, hz / 2) + 1e-9, side="right"))
    slow, wander, skin, fast, waves, t = (a.astype(np.float32) for a in (slow, wander, skin, fast, waves, t))
    width = math.sqrt(float(fast[0, :below].sum()) * frequency[1])
    return float(frequency[1]), len(frequency), below, slow, wander, skin, fast, width, waves, t


@cache
def _spreads(sizes: NoiseSizes):
    """Of wander, skin, muscle, amplifier, mains: spreads (5, 1) over records and electrodes, typical sizes (5, 9)."""
    records = [sizes.wander_sd, sizes.skin_sd, sizes.muscle_sd, sizes.amplifier_sd, sizes.mains_sd]
    electrodes = [sizes.wander_electrode_sd, sizes.skin_electrode_sd, sizes.muscle_electrode_sd, 0.2, 0.6]
    typical = np.ones((5, 9)) * np.array(
        [[sizes.wander_uv], [sizes.skin_uv], [sizes.muscle_uv], [sizes.amplifier_uv], [sizes.mains_uv]]
    )
    typical[0, 2] *= sizes.wander_leg
    typical[0, 3:] *= sizes.wander_chest
    typical[4, 3:] *= sizes.mains_chest
    typical[2, :2] *= sizes.muscle_arm
    typical[2, 2] *= sizes.muscle_leg
    columns = (np.array(x, np.float32)[:, None] for x in (records, electrodes))
    return *columns, typical.astype(np.float32)


def _white(low, high, below, n):
    """(9, n) complex normal numbers, drawn frequency by frequency so that a longer spectrum begins alike; the first
    ``below`` from the generator ``low``, the others from the seed ``high``."""
    drawn = np.empty((n, 18), np.float32)
    low.standard_normal(out=drawn[:below], dtype=np.float32)
    if below < n:
        np.random.default_rng(high).standard_normal(out=drawn[below:], dtype=np.float32)
    return drawn.view(np.complex64).T


@dataclass(frozen=True, slots=True)
class ElectrodeNoise:
    """Noise at nine electrodes. ``fast_mv`` (9, T) in time; ``slow`` (9, S) the first bins of a spectrum;
    ``lines``: (first bin, (9, 5) spectrum) per mains harmonic, the fundamental first; ``muscle_mv``, up to 50 Hz,
    and ``wander_mv``: (9,) root mean square sizes; ``mains_mv`` (9,): amplitude; ``moved``: a burst or a step."""

    fast_mv: np.ndarray
    slow: np.ndarray
    lines: list[tuple[int, np.ndarray]]
    muscle_mv: np.ndarray
    wander_mv: np.ndarray
    mains_mv: np.ndarray
    moved: bool


def electrode_noise(
    rng, low, high, total: int, hz: float, sizes: NoiseSizes, level: float, mains_hz: float, breath=None
):
    """Draw :class:`ElectrodeNoise` of ``total`` samples at ``hz``. ``level`` scales all of it.

    ``rng``: settings; ``low``: noise up to 50 Hz; ``high``: seed of noise above. ``breath``: rate in Hz and phase in
    turns, at the first sample, of what the patient's breathing does to all else; None draws them.
    """
    z = rng.standard_normal((5, 10), dtype=np.float32)
    u = rng.random(13).tolist()
    step_hz, bins, below, slow_hz, wander, skin, fast, width, waves, t = _shapes(
        total, hz, sizes.muscle_corner_hz, sizes.muscle_floor, sizes.skin_slope
    )
    white = _white(low, high, below, bins)
    scale = level * 1e-3 * total / 2 * math.sqrt(step_hz)  # uV per root hertz to a bin of the spectrum
    over_records, over_electrodes, typical = _spreads(sizes)
    size = typical * np.exp(over_records * z[:, 9:] + over_electrodes * z[:, :9])
    np.minimum(size[0], 400.0, out=size[0])

    slow = size[0][:, None] * wander + size[1][:, None] * skin
    breath_uv = sizes.breath_uv * size[0] / max(sizes.wander_uv, 1e-9)
    breath_hz, turns = breath or (BREATHS_HZ[0] + (BREATHS_HZ[1] - BREATHS_HZ[0]) * u[0], u[12])
    few = int(0.6 / step_hz) + 1
    bump = np.exp(-0.5 * ((slow_hz[:few] - breath_hz) / 0.04) ** 2) / np.sqrt(0.04 * np.sqrt(np.pi))
    slow[:, :few] += math.sqrt(1 - ALIKE_BREATHS) * breath_uv[:, None] * bump.astype(np.float32)
    if u[1] < sizes.tremor:  # of the arms, at 4 to 7 Hz
        peak = np.exp(-0.5 * ((slow_hz - 4 - 3 * u[2]) / 0.25) ** 2)
        slow[:2] += 30.0 * (0.3 + u[3]) * peak
    slow *= np.float32(scale)
    together = int(TOGETHER_HZ / step_hz) + 1
    drawn = white[:, : len(slow_hz)].copy()
    drawn[3:, :together] = _NEIGHBOURS @ drawn[3:, :together]
    slow = np.multiply(drawn, slow, order="C")
    # How far each electrode goes along, and which way: what is drawn for 0 Hz no recorder lets through
    sway = breath_uv * drawn[:, 0].real
    sway *= np.float32(level * 1e-3 * total / 2 * math.sqrt(2 * ALIKE_BREATHS))
    line = _breathing(breath_hz * total / hz, turns)[: slow.shape[1]]
    slow[:, : len(line)] += sway[:, None] * line

    tension = np.square(size[2:4]).T @ fast
    np.sqrt(tension, out=tension)
    tension *= np.float32(scale)
    out = np.fft.irfft(np.multiply(white, tension, order="C"), total)
    mood = sizes.muscle_mood * rng.standard_normal((4, 2 * _WAVES), dtype=np.float32) / np.float32(math.sqrt(_WAVES))
    envelope = mood @ waves
    np.exp(envelope, out=envelope)
    if moved := u[4] < sizes.burst:
        burst = np.exp(-(((t - np.float32(0.1 + 0.8 * u[5])) / np.float32(0.02 + 0.1 * u[6])) ** 2))
        envelope += 3.0 * np.abs(z[4, :4, None]) * burst
    out[:3] *= envelope[:3]
    out[:3] -= np.float32(1 - sizes.muscle_terminal) * out[:3].mean(axis=0)
    out[3:] *= envelope[3]
    if u[7] < sizes.step:
        out[int(u[8] * 9)] += _step(t, total / hz, u) * np.float32(level * np.copysign(0.2 + u[9], z[0, 0]))
        moved = True
    return ElectrodeNoise(
        out,
        slow,
        _mains(rng, size[4] * np.float32(level), sizes, total, hz, mains_hz),
        1e-3 * level * size[2] * width,
        1e-3 * level * np.hypot(size[0], breath_uv),
        1e-3 * level * size[4],
        moved,
    )


def _breathing(breaths, turns):
    """First bins of the spectrum of a sine of so many cycles, in parts of what a sine of one bin has there."""
    sine = np.sin(np.float32(2 * np.pi * breaths) * _BREATH_T + np.float32(2 * np.pi * turns))
    return (sine @ _BREATH_TO_BINS).view(np.complex64)


def _step(t, seconds, u):
    """An electrode shifts: a rise within 30 ms, and a slow return."""
    after = (t - np.float32(0.15 + 0.7 * u[10])) * np.float32(seconds)
    return np.exp(-np.maximum(after, 0) / np.float32(0.4 + u[11])) / (1 + np.exp(-np.clip(after / 0.006, -30, 30)))


def _mains(rng, size_uv, sizes, total, hz, mains_hz):
    """A line at each harmonic; its amplitude drifts, which is five bins of the spectrum."""
    lines = []
    drift = rng.standard_normal((3, 12), dtype=np.float32)
    phase = np.exp(2j * np.pi * rng.random((9, 1), dtype=np.float32))
    for k, relative in enumerate((1.0, sizes.mains_2, sizes.mains_3)):
        at = round((k + 1) * mains_hz * total / hz)
        if at + 2 >= total * 0.48:
            break
        kernel = 0.15 * drift[k, :10].view(np.complex64)
        kernel[2] = np.exp(1j * drift[k, 10])
        amplitude = size_uv * np.float32(1e-3 * total / 2 * relative * np.exp(0.4 * (k > 0) * drift[k, 11]))
        lines.append((at - 2, amplitude[:, None] * phase ** (k + 1) * kernel))
    return lines
