"""Waves: skewed Gaussian bumps along fixed directions, summed over beats only where they are."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(slots=True)
class Waves:
    """K bumps of one group (P, QRS or ST-T).

    shape (K, 3): centre, left and right width in ms after the group's start; sources (K, 6): the dipole in
    mV (x, y, z) and its place in cm; weights (9, K): electrode potentials in mV, filled in by the body.
    """

    shape: np.ndarray
    sources: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.empty((9, 0)))

    def see(self, body) -> "Waves":
        self.weights = body.weights(self.sources)
        return self

    def extended(self, shape, sources) -> "Waves":
        """The same group with more bumps."""
        return Waves(np.vstack([self.shape, shape]), np.vstack([self.sources, sources]))

    def area(self) -> np.ndarray:
        """Dipole time integral (3,) in mV ms."""
        return 1.2533 * ((self.shape[:, 1] + self.shape[:, 2])[:, None] * self.sources[:, :3]).sum(0)

    def sample(self, t_ms: np.ndarray) -> np.ndarray:
        """Electrode potentials (9, n) of one beat at the times ``t_ms`` (n,)."""
        return self.weights @ bumps(self.shape[None], t_ms[None])[0]


def bumps(shape: np.ndarray, t_ms: np.ndarray) -> np.ndarray:
    """(B, K, 3) shapes at times (B, n) to (B, K, n) values between 0 and 1."""
    shape = shape.astype(np.float32)  # four times faster than double, and exact to a nanovolt
    d = t_ms.astype(np.float32)[:, None, :] - shape[:, :, 0, None]
    d *= np.where(d < 0, 1 / shape[:, :, 1, None], 1 / shape[:, :, 2, None])
    d *= d
    d *= np.float32(-0.5)
    return np.exp(d, out=d)


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
    shape = np.broadcast_to(waves.shape, (len(start_s), *waves.shape.shape))
    if stretch is not None:
        shape = shape * stretch[:, None, None]
    low = float((shape[..., 0] - 3.3 * shape[..., 1]).min()) / 1000
    high = float((shape[..., 0] + 3.3 * shape[..., 2]).max()) / 1000
    first = np.floor((start_s + low) * hz).astype(int)
    n = int(np.ceil((high - low) * hz)) + 2
    t_ms = ((first[:, None] + np.arange(n)) / hz - start_s[:, None]) * 1000
    values = bumps(shape, t_ms)  # (B, K, n)
    weights = gain[:, None, None] * waves.weights  # (B, 9, K)
    if tilt is not None and tilted is not None:
        weights += (gain * tilt)[:, None, None] * tilted
    beats = np.matmul(weights.astype(np.float32), values)  # (B, 9, n)
    total = out.shape[1]
    for k, beat in zip(first.tolist(), beats, strict=True):
        a, b = max(k, 0), min(k + n, total)
        if a < b:
            out[:, a:b] += beat[:, a - k : b - k]
