"""Record store: reading in batches against record by record, and preparing PTB-XL against a loop over wfdb.

    python benchmarks/bench_store.py [--megabytes 600] [--ptb-xl DIR] [--copies 10]

Reading: a store of noise, larger than the processor's caches and warm in the page cache. Preparing: the real
500 Hz files (default: the folder ptbxl_subset under $ECG_DATA), each listed ``--copies`` times because starting
two workers costs about a second whatever the size; the loop reads exactly the same list, and does nothing else.
"""

import argparse
import os
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from ecglib.data.prepare import prepare
from ecglib.data.ptbxl import PtbXl
from ecglib.data.store import RecordStore, write_store

BATCH = 256
SAMPLES = 5000


def noise_store(folder: Path, megabytes: int) -> RecordStore:
    """A store of ``megabytes`` of int16 noise."""
    n = megabytes * 2**20 // (12 * SAMPLES * 2)
    rng = np.random.default_rng(0)
    blocks = (rng.integers(-900, 900, (min(64, n - at), 12, SAMPLES), dtype=np.int16) for at in range(0, n, 64))
    return write_store(folder, 500, blocks, pd.DataFrame({"id": [str(i) for i in range(n)]}))


def per_second(read: Callable[[np.ndarray], object], n: int, rounds: int = 3) -> float:
    """Records a second over all n records in random batches: the best of ``rounds``, after one to warm up."""
    best = 0.0
    for done in range(rounds + 1):
        order = np.random.default_rng(done).permutation(n)
        begin = time.perf_counter()
        for at in range(0, n, BATCH):
            read(order[at : at + BATCH])
        if done:
            best = max(best, n / (time.perf_counter() - begin))
    return best


def reading(megabytes: int) -> None:
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        store = noise_store(Path(folder) / "noise", megabytes)
        signals = store.signals

        def one_by_one(indices: np.ndarray) -> np.ndarray:
            """What a data set with ``__getitem__`` and a collating loader do."""
            return np.stack([signals[i].astype(np.float32) / np.float32(1000) for i in indices])

        def one_by_one_int16(indices: np.ndarray) -> np.ndarray:
            return np.stack([np.array(signals[i]) for i in indices])

        size = signals.nbytes / 2**20
        print(f"reading, {len(store)} records of 12 x {SAMPLES} int16, {size:.0f} MiB, batches of {BATCH}, warm:")
        for what, batched, single in (
            ("int16", store.read_int16, one_by_one_int16),
            ("float32 mV", store.read, one_by_one),
        ):
            fast, slow = per_second(batched, len(store)), per_second(single, len(store))
            print(f"  {what:11s}{fast:9,.0f} records/s; record by record {slow:9,.0f}; ratio {fast / slow:.2f}")


class Copies(PtbXl):
    """PTB-XL with every record listed several times over, under ids of their own."""

    def __init__(self, root: Path, copies: int):
        super().__init__(root, 500)
        self.copies = copies

    def rows(self) -> pd.DataFrame:
        rows = super().rows()
        return pd.concat([rows.assign(id=rows["id"] + f"-{k}") for k in range(self.copies)], ignore_index=True)


def preparing(root: Path, copies: int) -> None:
    import wfdb

    # The import tells the workers where the class is: they do not run this script again.
    from bench_store import Copies as Source

    source = Source(root, copies)
    names = [str(root / path.removesuffix(".hea")) for path in source.rows()["source"]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.rdsamp(names[0])
        begin = time.perf_counter()
        for name in names:
            wfdb.rdsamp(name)
        loop_s = time.perf_counter() - begin
    print(f"preparing, {len(names)} records of PTB-XL at 500 Hz; a loop over wfdb.rdsamp takes {loop_s:.1f} s:")
    for workers in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            begin = time.perf_counter()
            prepare(source, Path(folder) / "s", sampling_rate_hz=500, workers=workers)
            spent_s = time.perf_counter() - begin
        print(f"  prepare() in {workers} process(es) {spent_s:6.1f} s; ratio {loop_s / spent_s:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=600)
    parser.add_argument("--ptb-xl", type=Path, default=Path(os.environ.get("ECG_DATA", "")) / "ptbxl_subset")
    parser.add_argument("--copies", type=int, default=10)
    options = parser.parse_args()
    reading(options.megabytes)
    if options.ptb_xl.is_dir():
        preparing(options.ptb_xl, options.copies)
    else:
        print(f"preparing: left out, {options.ptb_xl} is no folder with PTB-XL (--ptb-xl or ECG_DATA)")


if __name__ == "__main__":
    main()
