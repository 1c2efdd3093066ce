"""Waves: skewed Gaussian bumps along fixed directions, summed over beats only where they are."""

import math
from dataclasses import dataclass, field

import numpy as np

REACH = 3.3  # widths beyond which a bump is left out
_SIDES = np.array([-1, 1], np.float32)  # before and after the centre
LEAST_SAMPLES = 0.35  # width of the narrowest bump that samples still show without folding it over


@dataclass(slots=True)
class Waves:
    """K bumps of one group (P, QRS or ST-T).

    shape (K, 3): centre, left and right width in ms after the group's start; sources (K, 6): the dipole in
    mV (x, y, z) and its place in cm; weights (9, K): electrode potentials in mV, filled in by the body.
    """

    shape: np.ndarray
    sources: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.empty((9, 0)))

    def see(self, body, chest: np.ndarray | None = None) -> "Waves":
        self.weights = body.weights(self.sources, chest)
        return self

    def joined(self, other: "Waves") -> "Waves":
        """Both groups as one, each as it is seen."""
        return Waves(
            *(np.concatenate(both) for both in ((self.shape, other.shape), (self.sources, other.sources))),
            np.hstack([self.weights, other.weights]),
        )

    def area(self) -> np.ndarray:
        """Dipole time integral (3,) in mV ms."""
        return 1.2533 * ((self.shape[:, 1] + self.shape[:, 2])[:, None] * self.sources[:, :3]).sum(0)

    def sample(self, t_ms: np.ndarray) -> np.ndarray:
        """Electrode potentials (9, n) of one beat at the times ``t_ms`` (n,)."""
        return self.weights @ bumps(self.shape[None], t_ms[None])[0]


def bumps(shape: np.ndarray, t_ms: np.ndarray) -> np.ndarray:
    """(B, K, 3) shapes at times (B, n) to (B, K, n) values between 0 and 1."""
    shape = shape.astype(np.float32)  # four times faster than double, and exact to a nanovolt
    per_width = _SIDES / shape[:, :, 1:]
    d = t_ms.astype(np.float32)[:, None, :] - shape[:, :, :1]
    after = d * per_width[:, :, 1:]
    d *= per_width[:, :, :1]
    np.maximum(d, after, out=d)  # the distance in widths of the side it is on, without a sign
    d *= d
    d *= -0.5
    return np.exp(d, out=d)


def _sampled(waves: Waves, hz: float) -> tuple[np.ndarray, np.ndarray]:
    """Shapes (K, 3) no narrower than ``hz`` can show, and the factors (K,) that keep their areas."""
    least = LEAST_SAMPLES * 1000 / hz
    width = waves.shape[:, 1:]
    if width.min() >= least:
        return waves.shape, np.ones(len(width))
    wide = np.maximum(width, least)
    return np.hstack([waves.shape[:, :1], wide]), width.sum(axis=1) / wide.sum(axis=1)


def add_beats(
    out: np.ndarray,
    hz: float,
    waves: Waves,
    start_s: np.ndarray,
    gain: np.ndarray,
    tilt: np.ndarray | None = None,
    tilted: np.ndarray | None = None,
    stretch: np.ndarray | None = None,
) -> None:
    """Add one group of every beat to ``out`` (9, T), evaluating each bump only near itself.

    start_s, gain (B,): when and how large; tilt (B,) times ``tilted`` (9, K) is what respiration adds;
    stretch (B,) scales time (repolarisation that follows the rate).
    """
    if len(start_s) == 0:
        return
    own, seen = _sampled(waves, hz)
    shape = own[None]
    rows = own.tolist()
    low = min([centre - REACH * left for centre, left, _ in rows]) / 1000
    high = max([centre + REACH * right for centre, _, right in rows]) / 1000
    if stretch is not None:
        shape = shape * stretch[:, None, None]
        least, most = float(stretch.min()), float(stretch.max())
        low, high = min(low * least, low * most), max(high * least, high * most)
    first = np.floor((start_s + low) * hz).astype(int)
    n = math.ceil((high - low) * hz) + 2
    t_ms = ((first / hz - start_s) * 1000)[:, None] + np.arange(n) * (1000 / hz)
    values = bumps(shape, t_ms)  # (B, K, n)
    weights = gain[:, None, None] * (waves.weights * seen).T  # (B, K, 9)
    if tilt is not None and tilted is not None:
        weights += (gain * tilt)[:, None, None] * (tilted * seen).T
    beats = np.matmul(values.transpose(0, 2, 1), weights.astype(np.float32))  # (B, n, 9)
    by_time, total = out.T, out.shape[1]
    for k, beat in zip(first.tolist(), beats, strict=True):
        if 0 <= k <= total - n:
            window = by_time[k : k + n]
            window += beat
        elif -n < k < total:
            a, b = max(k, 0), min(k + n, total)
            window = by_time[a:b]
            window += beat[a - k : b - k]
