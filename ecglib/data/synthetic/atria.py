"""The atria: P waves, ectopic P waves, fibrillation and flutter as dipoles."""

import math

import numpy as np

from ecglib.data.synthetic.population import usual
from ecglib.data.synthetic.waves import Waves

# Right and left atrium, and the recovery of both: dipoles to be filled in, places in cm
_P_PLACES = np.array([[0, 0, 0, -4.0, -5.0, -2.0], [0, 0, 0, -2.0, -5.0, -4.0], [0, 0, 0, -3.0, -5.0, -3.0]])
TALL_MV = 0.25  # P in II above which the right atrium is enlarged (Hancock et al., JACC 2009;53:992-1002)


def sinus_p(case, body, rng) -> Waves:
    """P of a sinus beat from its onset: right atrium first, forward and down; left atrium later, backward."""
    has = case.codes.__contains__
    z = rng.standard_normal(10)
    of = usual()
    right = (of.p_mv[0] + of.p_spread_mv[0] * z[:3]) * np.exp(0.2 * z[6])
    left = (of.p_mv[1] + of.p_spread_mv[1] * z[3:6]) * np.exp(0.2 * z[7])
    gap, width = 39.0 + 10.0 * z[8], 19.0
    if has("LAO/LAE"):
        gap = rng.uniform(56, 80)
        left *= rng.uniform(1.6, 2.2)
        left[2] -= 0.06 * rng.uniform(0.7, 1.5)
        width = 17.0
    if has("RAO/RAE"):
        right *= rng.uniform(1.8, 2.8) * np.array([1.0, 1.0, 0.6])
        right[1] += 0.05
        gap, width = min(gap, 34.0), 16.0
    if has("PWC"):
        if rng.random() < 0.35:  # low and notched
            gap, right, left = gap + 18, right * rng.uniform(0.5, 0.8), left * rng.uniform(0.5, 0.9)
        else:  # from low in the atrium, or from the left
            flip = [1, -1.2, 0.6] if rng.random() < 0.75 else [-1.0, -0.6, 1.2]
            right, left = right * flip, left * flip
    if has("EL") and case.electrolyte == "potassium high":
        right, left = 0.5 * right, 0.5 * left
    first = 2.1 * width
    shape = [
        [first, width, width * 1.15],
        [first + gap, width * 1.1, width * 1.05],
        [first + gap + 95, 60.0, 60.0],  # atrial recovery, small and opposite
    ]
    right, left = _tall_or_not(right, left, body, gap / (1.1 * width), has("RAO/RAE"), rng.random())
    sources = _P_PLACES.copy()
    sources[0, :3], sources[1, :3], sources[2, :3] = right, left, -0.07 * (right + left)
    return Waves(np.array(shape), sources).see(body, of.p_chest)


def _tall_or_not(right, left, body, apart, tall, u):
    """Both dipoles so that P in lead II, electrodes in their places, is on the side of `TALL_MV` where it belongs.

    ``apart``: the time between them in widths. What a tall P lacks is added to the right atrium along lead II; one that
    is too tall shrinks as a whole. ``u``, a number from 0 to 1, says how far beyond the limit it then is: barely tall
    ones are commonest, and few exceed 0.4 mV.
    """
    lead_ii = body.limb[2] - body.limb[0]
    early, late = float(lead_ii @ right), float(lead_ii @ left)
    between, across = math.exp(-0.125 * apart**2), math.exp(-0.5 * apart**2)
    first = early + across * late
    height = max(first, late + across * early, between * (early + late))
    if tall and height <= TALL_MV:
        right = right + ((1.02 + 0.58 * u**1.5) * TALL_MV - first) / (lead_ii @ lead_ii) * lead_ii
    elif height > TALL_MV and not tall:
        factor = (0.98 - 0.28 * u) * TALL_MV / height
        right, left = factor * right, factor * left
    return right, left


def ectopic_p(body, rng, retrograde=False) -> Waves:
    """P from another focus; retrograde P runs upwards (negative in II, III, aVF)."""
    if retrograde:
        vector = np.array([0.10, -0.95, 0.15]) + 0.12 * rng.standard_normal(3)
    else:
        vector = np.array([0.2, 0.2, -0.1]) + 0.75 * rng.standard_normal(3)
    vector *= 0.10 * rng.uniform(0.8, 1.5) / np.linalg.norm(vector)
    second = vector * rng.uniform(0.4, 1.0) + 0.03 * rng.standard_normal(3)
    shape = np.array([[30.0, 13.0, 15.0], [56.0, 15.0, 14.0]])
    return Waves(shape, np.hstack([np.stack([vector, second]), [[0, -4.0, 0]] * 2])).see(body, usual().p_chest)


def fibrillation(body, rng, t_s: np.ndarray) -> np.ndarray:
    """Electrode potentials (9, T) of f waves: three wandering wavelets of 4 to 9 Hz, strongest near V1."""
    # The same number of draws at every sampling rate
    coarse = t_s[0] - 0.1 + 0.04 * np.arange(round((t_s[-1] - t_s[0]) / 0.4) * 10 + 20)
    main_hz = rng.uniform(4.8, 8.2)
    size = min(0.030 * np.exp(0.5 * rng.standard_normal()), 0.09)
    sources, waves = [], []
    for k in range(3):
        drift = np.cumsum(rng.standard_normal(len(coarse))) * 0.09
        hz = main_hz * (1 + 0.10 * rng.standard_normal())
        phase = 2 * np.pi * (hz * coarse + rng.random()) + drift * 2.2
        strength = np.exp(0.45 * np.sin(2 * np.pi * (rng.uniform(0.15, 0.6) * coarse + rng.random())))
        phase = np.interp(t_s, coarse, phase)
        wave = np.sin(phase) + 0.35 * np.sin(2 * phase + 1.0) + 0.12 * np.sin(3 * phase + 2.0)
        waves.append(wave * np.interp(t_s, coarse, strength))
        vector = np.array([-0.25, 0.45, 0.80]) + 0.5 * rng.standard_normal(3)
        sources.append([*(vector * size * (1.0 if k == 0 else 0.5)), -2.0, -3.0, 0.0])
    return (body.weights(np.array(sources), usual().p_chest) @ np.stack(waves)).astype(np.float32)


def flutter(body, rng, t_s: np.ndarray, cycle_s: float, first_s: float) -> np.ndarray:
    """Electrode potentials (9, T) of flutter waves: typical (up the septum) or reverse circuit."""
    typical = rng.random() < 0.8
    sign = 1.0 if typical else -1.0
    size = rng.uniform(0.09, 0.22)
    phase = (t_s - first_s) / cycle_s
    a = 2 * np.pi * phase
    # A sawtooth rounded by its first four harmonics: slow down, quick up in II, III, aVF.
    saw = sum(np.sin(k * a) / k * c for k, c in ((1, 1.0), (2, 0.75), (3, 0.5), (4, 0.25)))
    spike = sum(np.cos(k * (a - 0.6)) * c for k, c in ((1, 0.45), (2, 0.40), (3, 0.25)))
    # Where II, III and aVF go down V1 goes up, and the other way round
    v1 = np.array([0.0, 0.85, -1.0]) * sign + 0.15 * rng.standard_normal(3)
    v2 = np.array([-0.25, 0.10, 0.75]) * sign + 0.15 * rng.standard_normal(3)
    sources = np.array([[*(v1 * size * 0.75), 0, -2.0, 0], [*(v2 * size * 0.6), -3.0, -3.0, 1.0]])
    return (body.weights(sources, usual().p_chest) @ np.stack([saw, spike])).astype(np.float32)
