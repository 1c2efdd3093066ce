"""From electrodes to stored millivolts: noise at the electrodes, the amplifier, its filters, its converter."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from ecglib.data.synthetic.body import twelve_leads

PAD = 1.25  # a record is cut from the middle of a longer one, so that no filter wraps around its ends


@dataclass(frozen=True, slots=True)
class Device:
    """A make of recorder: high-pass and its order, low-pass, mains notch, size of one bit in mV."""

    high_pass_hz: tuple[float, ...]
    low_pass_hz: tuple[float, ...]
    high_pass_order: int
    zero_phase: bool
    notch: float
    lsb_mv: float


DEVICES = (
    Device((0.05, 0.05, 0.15), (150.0, 100.0), 1, False, 0.0, 0.0010),
    Device((0.05, 0.15, 0.3), (40.0, 100.0, 150.0), 1, False, 0.2, 0.00488),
    Device((0.5, 0.67), (40.0, 150.0), 2, True, 0.2, 0.0050),
    Device((0.05, 0.15, 0.5), (100.0, 150.0), 2, True, 0.4, 0.0025),
    Device((0.15, 0.5), (35.0, 45.0, 75.0), 1, False, 0.8, 0.00244),
)


# I, II, V1-V6 from nine electrodes; Wilson's terminal is the mean of the limbs.
_EIGHT = np.zeros((8, 9), np.float32)
_EIGHT[0, [0, 1]] = _EIGHT[1, [0, 2]] = -1, 1
_EIGHT[2:, :3] = -1 / 3
_EIGHT[np.arange(2, 8), np.arange(3, 9)] = 1


def record(clean, hz, n_out, rngs, noise_level, mains_hz):
    """Electrode potentials (9, T) of the heart to a recording (12, n_out) float32 in mV.

    ``rngs``: generators for the settings and for noise below 50 Hz, and a seed for noise above, so that
    100 Hz and 500 Hz versions of a record carry the same noise. noise_level: 1 is an ordinary ward.
    """
    rng, low, high = rngs
    device = DEVICES[max(int(rng.integers(len(DEVICES) + 2)) - 2, 0)]
    total = clean.shape[1]
    noise, slow_spectrum = _noise(rng, low, high, total, hz, noise_level, mains_hz)
    noise += clean
    spectrum = np.fft.rfft(_EIGHT @ noise) + _EIGHT @ slow_spectrum
    spectrum *= _response(device, rng, _shapes(total, hz)[0], mains_hz).astype(np.complex64)
    gain = 1 + 0.01 * rng.standard_normal(8)
    gain[:2] = gain[0]
    begin = (total - n_out) // 2
    eight = np.fft.irfft(spectrum, total)[:, begin : begin + n_out] * gain[:, None]
    u = rng.random(2)
    limit = 2.0 + 2.0 * u[1] if u[0] < 0.004 else 8.0  # an amplifier at its rails
    steps = np.rint(np.clip(eight, -limit, limit) / device.lsb_mv)
    return (twelve_leads(steps) * device.lsb_mv).astype(np.float32)


def _response(device, rng, frequency, mains_hz):
    """Transfer function of the chain, on the frequencies of the record."""
    corner = float(rng.choice(device.high_pass_hz)) * rng.uniform(0.9, 1.1)
    ratio = 1j * frequency / corner
    response = ratio / (1 + ratio) if device.high_pass_order == 1 else ratio**2 / (1 + 1.414 * ratio + ratio**2)
    if device.zero_phase:
        response = np.abs(response)
    corner = float(rng.choice(device.low_pass_hz)) * rng.uniform(0.9, 1.1)
    order = 1.0 + rng.random() * 2
    response = response / np.sqrt(1 + (frequency / corner) ** (2 * order))
    if rng.random() < device.notch:
        response = response * (1 - np.exp(-(((frequency - mains_hz) / 1.2) ** 2)))
    return response


@cache
def _shapes(total, hz):
    """Frequencies, and spectral shapes (amplitude per root hertz) of drift, electrode and muscle noise."""
    frequency = np.fft.rfftfreq(total, 1 / hz)
    f = np.maximum(frequency, 0.04)
    drift = (f / 0.25) ** -1.5 * np.exp(-((f / 1.3) ** 2))
    pink = f**-0.55 * (f > 0.3)
    muscle = f**2 / (f**2 + 18.0**2) / (1 + (f / 90.0) ** 2)
    return frequency, drift.astype(np.float32), pink.astype(np.float32), muscle.astype(np.float32)


def _white(generator, n):
    """(9, n) complex normal numbers, drawn frequency by frequency so that a longer spectrum begins alike."""
    return generator.standard_normal((n, 18), dtype=np.float32).view(np.complex64).T


def _noise(rng, low, high, total, hz, level, mains_hz):
    """Noise at nine electrodes in mV: (9, T) muscle, mains and artefacts, (9, F) spectrum of slow noise."""
    z = rng.standard_normal((4, 9))
    u = rng.random(12).tolist()
    frequency, drift_shape, pink_shape, muscle_shape = _shapes(total, hz)
    below = int(np.searchsorted(frequency, min(50.0, hz / 2) - 1e-9, side="right"))
    white = _white(low, below)
    if below < len(frequency):
        white = np.hstack([white, _white(np.random.default_rng(high), len(frequency) - below)])
    # Amplitude densities, in mV for one electrode; a record has its own mood, an electrode its own skin.
    scale = total / 2 * np.sqrt(frequency[1])
    size = level * scale * np.exp(np.array([[0.55], [0.4], [0.35]]) * z[:3])
    drift = np.minimum(0.030 * np.exp(1.4 * u[0] - 0.7) * size[0], 0.09 * level * scale)
    drift[3:] *= 1.9
    pink = 0.0022 * size[1]
    muscle = 0.0009 * np.exp(1.6 * u[1] - 0.8) * size[2]
    muscle[:3] *= 0.75
    drift, pink, muscle = (x.astype(np.float32)[:, None] for x in (drift, pink, muscle))
    quiet = np.hypot(drift * drift_shape, pink * pink_shape)
    tension = muscle * muscle_shape + np.float32(0.00022 * scale)
    out = np.fft.irfft(white * tension, total)
    t = np.arange(total) / total
    envelope = 1 + 0.8 * np.sin(2 * np.pi * (u[2] * 3 * t + u[3]))
    if u[4] < 0.12:  # a burst: the patient moves
        envelope += 4.0 * np.exp(-(((t - 0.1 - 0.8 * u[5]) / (0.02 + 0.1 * u[6])) ** 2))
    out *= envelope.astype(np.float32)
    if mains_hz < 0.48 * hz:
        hum = level * 0.0035 * np.exp(0.6 * z[3]) * (u[7] < 0.85)
        wave = np.sin(2 * np.pi * (mains_hz * t * (total / hz) + u[8]))
        out += hum.astype(np.float32)[:, None] * wave.astype(np.float32)
    if u[9] < 0.04 * level:  # an electrode shifts
        after = t - 0.15 - 0.7 * u[10]
        step = (after > 0) * np.exp(-12 * np.maximum(after, 0)) * level * (0.3 + u[10])
        out[int(u[11] * 9)] += (step * np.sign(z[3, 0])).astype(np.float32)
    return out, white * quiet
