"""From electrodes to stored millivolts: noise at the electrodes, the amplifier, its filters, its converter."""

from dataclasses import dataclass

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
    Device((0.05, 0.5), (40.0, 100.0, 150.0), 1, False, 0.2, 0.00488),
    Device((0.5, 0.67), (40.0, 150.0), 2, True, 0.2, 0.0050),
    Device((0.05, 0.15, 0.5), (100.0, 150.0), 2, True, 0.4, 0.0025),
    Device((0.3, 0.5), (35.0, 45.0, 75.0), 1, False, 0.8, 0.00244),
)


def record(clean, hz, n_out, rngs, noise_level, mains_hz):
    """Electrode potentials (9, T) of the heart to a recording (12, n_out) float32 in mV.

    ``rngs``: generators for the settings, for noise below 50 Hz and for noise above, so that 100 Hz and
    500 Hz versions of a record carry the same noise. noise_level: 1 is an ordinary ward.
    """
    rng, low, high = rngs
    device = DEVICES[max(int(rng.integers(len(DEVICES) + 2)) - 2, 0)]
    total = clean.shape[1]
    frequency = np.fft.rfftfreq(total, 1 / hz)
    potentials = clean + _noise(rng, low, high, frequency, total, hz, noise_level, mains_hz)
    wilson = (potentials[0] + potentials[1] + potentials[2]) / 3.0
    eight = np.concatenate([[potentials[1] - potentials[0], potentials[2] - potentials[0]], potentials[3:] - wilson])
    response = _response(device, rng, frequency, mains_hz)
    gain = 1 + 0.01 * rng.standard_normal(8)
    gain[:2] = gain[0]
    eight = np.fft.irfft(np.fft.rfft(eight) * response, total)
    begin = (total - n_out) // 2
    eight = eight[:, begin : begin + n_out] * gain[:, None]
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


def _noise(rng, low, high, frequency, total, hz, level, mains_hz):
    """Baseline wander, electrode noise, muscle, mains and artefacts at nine electrodes (9, T) in mV."""
    z = rng.standard_normal((4, 9))
    u = rng.random(12)
    below = int(np.searchsorted(frequency, min(50.0, hz / 2) - 1e-9, side="right"))
    spectrum = np.empty((9, len(frequency)), complex)
    spectrum[:, :below] = low.standard_normal((below, 9, 2)).view(complex)[..., 0].T
    if below < len(frequency):
        spectrum[:, below:] = high.standard_normal((len(frequency) - below, 9, 2)).view(complex)[..., 0].T
    # Amplitude densities, in mV for one electrode; a record has its own mood, an electrode its own skin.
    f = np.maximum(frequency, 0.04)
    df = frequency[1]
    base = level * 0.030 * np.exp(0.55 * z[0] + 0.7 * (u[0] - 0.5) * 2)
    base[3:] *= 1.9
    base = np.minimum(base, 0.16 * level)
    drift = base[:, None] * ((f / 0.25) ** -1.5 * np.exp(-((f / 1.3) ** 2)))
    pink = level * 0.0022 * np.exp(0.4 * z[1])[:, None] * (f**-0.55 * (f > 0.3))
    muscle = level * 0.0009 * np.exp(0.35 * z[2] + 0.8 * (u[1] - 0.5) * 2)
    muscle[:3] *= 0.75
    tension = muscle[:, None] * (f**2 / (f**2 + 18.0**2) / (1 + (f / 90.0) ** 2)) + 0.00022
    quiet = np.sqrt(drift**2 + pink**2)
    scale = total / 2 * np.sqrt(df)
    slow = np.fft.irfft(spectrum * (quiet * scale), total)
    fast = np.fft.irfft(spectrum * (tension * scale), total)
    t = (np.arange(total) / hz) / (total / hz)
    envelope = 1 + 0.8 * np.sin(2 * np.pi * (u[2] * 3 * t + u[3]))
    if u[4] < 0.12:  # a burst: the patient moves
        envelope = envelope + 4.0 * np.exp(-(((t - 0.1 - 0.8 * u[5]) / (0.02 + 0.1 * u[6])) ** 2))
    out = slow + fast * envelope
    if mains_hz < 0.48 * hz:
        size = level * 0.0035 * np.exp(0.6 * z[3]) * (u[7] < 0.85)
        out += size[:, None] * np.sin(2 * np.pi * mains_hz * t * (total / hz) + 6.28 * u[8])
    if u[9] < 0.04 * level:  # an electrode shifts
        where = 0.15 + 0.7 * u[10]
        out[int(u[11] * 9)] += (t > where) * np.exp(-(t - where) * 12) * level * (0.3 + u[10]) * np.sign(z[3, 0])
    return out
