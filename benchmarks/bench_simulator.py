"""Simulator speed: records/s of one process, beside plain noise of the same size made in the same run.

    python benchmarks/bench_simulator.py [--seconds 8]

The yardstick shapes white noise of twelve leads in the frequency domain, the least that any generator of
coloured signals does; the ratio says how many of those a whole record with its report costs.
"""

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from ecglib.data.synthetic import simulate_record


def shaped_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """(12, samples) float32 noise with a falling spectrum."""
    spectrum = np.fft.rfft(rng.standard_normal((12, samples)))
    spectrum /= 1 + np.arange(spectrum.shape[1]) / 50
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def per_second(make, seconds: float) -> float:
    """Calls of ``make(i)`` per second of processor time, after a warm-up."""
    for i in range(10):
        make(i)
    done, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < seconds:
        make(done)
        done += 1
    return done / spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8.0)
    seconds = parser.parse_args().seconds / 4
    rng = np.random.default_rng(0)
    for hz in (100, 500):
        records = per_second(lambda i, hz=hz: simulate_record("mimic-iv-ecg", 0, i, hz), seconds)
        noise = per_second(lambda i, hz=hz: shaped_noise(rng, 10 * hz), seconds)
        print(f"{hz} Hz, 12 x {10 * hz}: {records:6.0f} records/s; one costs {noise / records:4.1f} x shaped noise")


if __name__ == "__main__":
    main()
