"""Fit what is usual in adults to unlabelled recordings: python -m ecglib.calibration FOLDER [--steps 6]

FOLDER holds WFDB records of 12 leads, with or without illness; nothing but their signals is read. The result replaces
``population.toml`` of the simulator. About fifteen seconds a step for 800 simulated records. ``--lead-vectors`` moves
the lead vectors of V1-V6 alone, for a start from other recordings; what walls of the heart show hangs on them.
"""

import argparse
import hashlib
import sys

import numpy as np

from ecglib.calibration import files, seen, usual
from ecglib.data.synthetic import population, simulate_record
from ecglib.errors import EcgError

COHORT, SEED = "ptb-xl", 90_001


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m ecglib.calibration", description=__doc__.splitlines()[0])
    parser.add_argument("folder", help="WFDB records, searched below this folder")
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--records", type=int, default=800, help="healthy records to simulate in each step")
    parser.add_argument("--lead-vectors", action="store_true", help="move the lead vectors of V1-V6 and nothing else")
    options = parser.parse_args(argv)
    move = usual.lead_vectors_moved if options.lead_vectors else usual.moved
    try:
        fit(options.folder, options.steps, options.records, move)
    except EcgError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def fit(folder: str, steps: int, records: int, move=usual.moved) -> None:
    """Move the population ``steps`` times towards the recordings below ``folder`` and write it each time; ``move`` is
    `usual.moved` or `usual.lead_vectors_moved`."""
    digest = hashlib.sha256()
    n = 0

    def counted():
        nonlocal n
        for ecg_mv, hz in seen.recordings(folder):
            digest.update(np.ascontiguousarray(ecg_mv).tobytes())
            n += 1
            yield ecg_mv, hz

    real_hearts = seen.hearts(counted())
    source = f"{n} unlabelled recordings, signals {digest.hexdigest()[:16]}"
    for step in range(1, steps + 1):
        of = population.usual()
        healthy = ((simulate_record(COHORT, SEED + step, i, seen.HZ, codes=()).ecg_mv, seen.HZ) for i in range(records))
        simulated = usual.statistics(seen.hearts(healthy), of.chest)
        real = usual.statistics(real_hearts, of.chest)
        print(f"step {step}: " + ", ".join(f"{k} {_gap(real[k], simulated[k]):.3f}" for k in real), flush=True)
        files.write_population(move(of, real, simulated), source=source)


def _gap(real: np.ndarray, simulated: np.ndarray) -> float:
    """Root mean square difference, relative to the real values."""
    return float(np.sqrt(((real - simulated) ** 2).mean() / (real**2).mean()))


if __name__ == "__main__":
    raise SystemExit(main())
