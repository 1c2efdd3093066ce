"""Noise of recordings, measured without knowing where the heart beats: band powers of their quietest moments."""

from dataclasses import dataclass

import numpy as np

from ecglib.errors import SignalError

BANDS_HZ = (
    (10, 20),
    (20, 35),
    (35, 47),
    (53, 62),
    (62, 90),
    (90, 130),
    (130, 148),
    (152, 180),
    (180, 210),
    (210, 240),
)
WANDER_HZ = (0.15, 0.5)
LINES = (1, 2, 3)  # harmonics of the mains
WINDOW_S = 0.2
QUIET = 0.25  # share of windows that count as between beats
EIGHT = (0, 1, 6, 7, 8, 9, 10, 11)  # I, II, V1-V6: the others follow from these


@dataclass(frozen=True, slots=True)
class NoiseMeasures:
    """Of N records, L = 8 leads. ``quiet`` and ``loud`` (N, L, B): log10 power (mV^2) in BANDS_HZ of the quiet
    quarter and of the loudest tenth of windows; ``whole`` of all; ``wander`` (N, L):
    log10 power in WANDER_HZ; ``lines`` (N, L, 3): log10 of mains over its neighbourhood."""

    quiet: np.ndarray
    loud: np.ndarray
    whole: np.ndarray
    wander: np.ndarray
    lines: np.ndarray

    def features(self) -> np.ndarray:
        """(N, F): one row a record, means over leads, for telling makes of recorder apart."""
        quiet = self.quiet.mean(1)
        return np.concatenate([np.diff(quiet, axis=1), self.wander.mean(1)[:, None] - quiet[:, :1]], axis=1)


def measure_noise(ecg_mv: np.ndarray, hz: float, mains_hz: float = 50.0) -> NoiseMeasures:
    """Measure records (N, 12, T). SignalError when the rate is below 490 Hz or records last under 5 s."""
    samples = ecg_mv.shape[-1]
    if hz < 490 or samples < 5 * hz:
        raise SignalError(
            f"noise up to {BANDS_HZ[-1][1]} Hz needs records of 490 Hz or more and 5 s or more; "
            f"these have {hz:g} Hz and {samples / hz:g} s"
        )
    parts = [_measure(record, hz, mains_hz) for record in ecg_mv]
    return NoiseMeasures(*(np.stack(p) for p in zip(*parts, strict=True)))


def _measure(record, hz, mains_hz):
    samples = record.shape[1]
    frequency = np.fft.rfftfreq(samples, 1 / hz)
    # A straight line from end to end would leak into every band.
    leads = record[list(EIGHT)].astype(np.float32)
    ramp = np.linspace(0, 1, samples, dtype=np.float32)
    leads -= leads[:, :1] + (leads[:, -1:] - leads[:, :1]) * ramp
    spectrum = np.fft.rfft(leads)
    window = round(WINDOW_S * hz)
    quiet, loud, whole = [], [], []
    for low, high in BANDS_HZ:
        a, b = np.searchsorted(frequency, (low, high))
        # The band shifted to zero: its envelope needs few samples.
        few = 2 * (b - a)
        part = np.zeros((len(leads), few), np.complex64)
        part[:, : b - a] = spectrum[:, a:b]
        power = np.square(np.abs(np.fft.ifft(part))) * 2 * (few / samples) ** 2
        n = max(round(few * window / samples), 1)
        power = power[:, : few // n * n].reshape(len(leads), -1, n).mean(2)
        power.sort(axis=1)
        quiet.append(power[:, : max(int(QUIET * power.shape[1]), 1)].mean(1))
        loud.append(power[:, int(0.9 * power.shape[1]) :].mean(1))
        whole.append(power.mean(1))
    quiet, loud, whole = (np.log10(np.stack(x, axis=1) + 1e-12) for x in (quiet, loud, whole))
    density = np.square(np.abs(spectrum))
    slow = (frequency >= WANDER_HZ[0]) & (frequency <= WANDER_HZ[1])
    wander = np.log10(2 * density[:, slow].sum(1) / samples**2 + 1e-9)
    lines = []
    for k in LINES:
        away = np.abs(frequency - k * mains_hz)
        near = density[:, away <= 0.21].mean(1)
        around = density[:, (away > 0.5) & (away < 2.0)].mean(1)
        lines.append(np.log10((near + 1e-9) / (around + 1e-9)))
    return quiet, loud, whole, wander, np.stack(lines, axis=1)
