"""Sizes that no single wave shows, matched to unlabelled recordings by the method of simulated moments.

    python -m ecglib.calibration.matched FOLDER [--cohort "ptb-xl as counted"] [--steps 2] [--records 400]

How much skin, muscle and fine structure a recording has, how differently bodies and electrodes weigh one heart: each
leaves its mark on many statistics at once. The statistics of simulated recordings are compared with those of the real
ones below FOLDER, and all sizes move together by a damped Gauss-Newton step (McFadden, Econometrica 1989;57:995-1026).
Only signals are read. Middles and spreads of waves are medians and interquartile ranges, so that what severe illness
adds at the ends moves nothing. A step takes four minutes on two cores; each replaces population.toml and noise.toml.
"""

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from pandas import DataFrame, concat

from ecglib.calibration import files
from ecglib.calibration.noise_fit import HZ, SECONDS, read_signals, recorded
from ecglib.data.synthetic import population
from ecglib.data.synthetic.generate import simulate_heart
from ecglib.data.synthetic.noise import Ward, ward_of
from ecglib.data.synthetic.population import Population
from ecglib.errors import EcgError
from ecglib.realism_features import GROUPS, SPECTRUM_LEADS, measurements

COHORT, SEED = "ptb-xl as counted", 11
OF_NOISE = (
    "wander_uv", "skin_uv", "muscle_uv", "muscle_sd", "muscle_electrode_sd", "muscle_arm", "muscle_leg",
    "muscle_terminal", "muscle_corner_hz", "muscle_floor", "muscle_mood", "jitter_ms", "mains_3",
)  # fmt: skip
OF_HEARTS = (
    "limb", "chest_spread", "heart_cm", "front_width", "slur_mv", "slur_ms", "fibre_mv", "fibre_ms", "local",
    "local_at", "t_ms", "t_skew",
)  # fmt: skip
# Wider, they would give healthy hearts the Q waves, notches and tall R of ill ones more often than they have them. How
# the leads of a healthy heart go together is left to its modes, which are fitted to ordinary beats alone; bodies, whose
# spread the ill show as well, take no more of it than this
AT_MOST = {"local": np.array([0.15, np.inf]), "slur_mv": 0.075, "chest_spread": 0.26}
# With fronts up to 0.16 wide the last third of a QRS varied 0.6 times as much as in real hearts, with these 0.8 times
AT_MOST |= {"heart_cm": 0.7, "limb": 0.12, "front_width": 0.12}
NUDGE = 0.15  # of a logarithm, to see what a size does
MOST = 0.4  # of a logarithm, in one step
DAMPING, FLOOR = 0.1, 0.02  # of each size's own curvature, and of the mean one
# What one standard error of a statistic is about, with some hundred records on either side
_MIDDLE, _SPREAD, _WAVE_SPREAD, _ALIKE = 0.075, 0.06, 0.12, 0.14
_LEAST = 0.01  # mV: Q waves that most records lack have no interquartile range
_FARTHEST = 4.0  # standard deviations; a lead that came off is not to move the mean


@dataclass(frozen=True)
class Sizes:
    """A population and the noise it is recorded with."""

    hearts: Population
    ward: Ward

    def logarithms(self) -> np.ndarray:
        """All sizes that are matched, (P,)."""
        ours = [np.atleast_1d(getattr(self.hearts, name)) for name in OF_HEARTS]
        return np.log(np.concatenate([*ours, [getattr(self.ward.sizes, name) for name in OF_NOISE]]))

    def at(self, logarithms: np.ndarray) -> "Sizes":
        """The same with other sizes."""
        values, of_hearts = np.exp(logarithms).tolist(), {}
        for name in OF_HEARTS:
            own = getattr(self.hearts, name)
            taken, values = values[: np.size(own)], values[np.size(own) :]
            most = np.minimum(taken, AT_MOST.get(name, np.inf))
            of_hearts[name] = most if np.ndim(own) else float(most[0])
        noise = replace(self.ward.sizes, **dict(zip(OF_NOISE, values, strict=True)))
        return Sizes(replace(self.hearts, **of_hearts), replace(self.ward, sizes=noise))


class Moments:
    """Statistics of a set of recordings in units of about one standard error, against those of the real ones.

    ``real``: a table of `ecglib.realism_features.measurements`.
    """

    def __init__(self, real: DataFrame):
        self._bands = list(GROUPS["spectrum"])
        waves = [f"{w}_mv_{lead}" for w in ("q", "r", "s", "st", "t") for lead in SPECTRUM_LEADS]
        quartiles = real[[*waves, "qrs_ms", "qt_ms", "p_amp_mv"]].quantile([0.25, 0.75])
        self._width = quartiles.iloc[1] - quartiles.iloc[0]
        self._width = self._width[self._width > 0]
        self._waves = list(self._width.index)
        every = [*self._bands, *self._waves]
        self._mean, self._sd = real[every].mean(), real[every].std()
        of_band = [[f"power_{lead}_{band}" for lead in SPECTRUM_LEADS] for band in self._names_of_bands()]
        of_lead = [list(column) for column in zip(*of_band, strict=True)]
        of_wave = [[f"{w}_mv_{lead}" for lead in SPECTRUM_LEADS] for w in ("r", "s", "st", "t")]
        found = [[name for name in group if name in every] for group in (*of_band, *of_lead, *of_wave)]
        self._pairs = [(every.index(a), every.index(b)) for of in found for k, a in enumerate(of) for b in of[:k]]
        self._real = self._of(real)

    def _names_of_bands(self) -> list[str]:
        first = f"power_{SPECTRUM_LEADS[0]}_"
        return [name.removeprefix(first) for name in self._bands if name.startswith(first)]

    def off(self, simulated: DataFrame) -> np.ndarray:
        """How far each statistic of ``simulated`` lies from the real one, (M,)."""
        return self._of(simulated) - self._real

    def _of(self, table: DataFrame) -> np.ndarray:
        z = ((table[self._mean.index] - self._mean) / self._sd).clip(-_FARTHEST, _FARTHEST)
        bands, quartiles = z[self._bands], table[self._waves].quantile([0.25, 0.5, 0.75])
        alike = np.ma.corrcoef(np.ma.masked_invalid(z.to_numpy()), rowvar=False).data
        return np.concatenate(
            [
                bands.mean() / _MIDDLE,
                np.log(bands.std()) / _SPREAD,
                quartiles.loc[0.5] / self._width / _MIDDLE,
                np.log((quartiles.loc[0.75] - quartiles.loc[0.25] + _LEAST) / (self._width + _LEAST)) / _WAVE_SPREAD,
                [np.arctanh(np.clip(alike[pair], -0.99, 0.99)) / _ALIKE for pair in self._pairs],
            ]
        )


def simulated(sizes: Sizes, cohort: str, start: int, stop: int) -> DataFrame:
    """Measurements of the records from ``start`` to ``stop`` of a cohort, made with these sizes."""
    population.put(sizes.hearts)
    files.forget()
    try:
        hearts = [simulate_heart(cohort, SEED, i, HZ, SECONDS) for i in range(start, stop)]
    finally:
        population.put(None)
        files.forget()
    return measurements(recorded(hearts, sizes.ward)[0], HZ)


def step(sizes: Sizes, moments: Moments, cohort: str, records: int, workers: int = 2) -> tuple[Sizes, float, float]:
    """Sizes after one step, and the mean square of what is off before and after it."""
    point = sizes.logarithms()
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:

        def off(points):
            middle = records // 2
            halves = [(sizes.at(p), cohort, *half) for p in points for half in ((0, middle), (middle, records))]
            parts = list(pool.map(simulated, *zip(*halves, strict=True)))
            return [moments.off(concat(parts[k : k + 2])) for k in range(0, len(parts), 2)]

        here, *nudged = off([point, *(point + NUDGE * np.eye(len(point)))])
        slope = (np.stack(nudged, axis=1) - here[:, None]) / NUDGE
        curve = slope.T @ slope
        damping = DAMPING * np.diag(curve) + FLOOR * np.trace(curve) / len(point)
        move = np.clip(-np.linalg.solve(curve + np.diag(damping), slope.T @ here), -MOST, MOST)
        candidates = [point + part * move for part in (0.5, 1.0)]
        left = [float((there**2).mean()) for there in off(candidates)]
    best = int(np.argmin(left))
    return sizes.at(candidates[best]), float((here**2).mean()), left[best]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ecglib.calibration.matched", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="WFDB records of 500 Hz, searched below this folder")
    parser.add_argument("--cohort", default=COHORT, help="whose mixture of conditions, and whose noise")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--records", type=int, default=400)
    options = parser.parse_args(argv)
    try:
        signals, fingerprint = read_signals(options.folder)
        moments = Moments(measurements(signals, HZ))
        sizes = Sizes(population.usual(), ward_of(options.cohort))
        for k in range(1, options.steps + 1):
            before = sizes
            sizes, here, left = step(sizes, moments, options.cohort, options.records)
            print(f"step {k}: mean square of what is off, in standard errors, {here:.2f} -> {left:.2f}", flush=True)
            files.write_population(sizes.hearts, matched=f"{len(signals)} unlabelled recordings, signals {fingerprint}")
            files.write_noise(_changed(before.ward, sizes.ward))
    except EcgError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _changed(before: Ward, after: Ward) -> dict[str, tuple[float, float]]:
    pairs = {f.name: (getattr(before.sizes, f.name), getattr(after.sizes, f.name)) for f in fields(before.sizes)}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


if __name__ == "__main__":
    raise SystemExit(main())
