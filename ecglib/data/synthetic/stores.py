"""A record store of simulated records, made in parallel."""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from ecglib.data.labels import TASKS
from ecglib.data.store import RecordStore, finish_store
from ecglib.data.synthetic.cohorts import cohort_named
from ecglib.data.synthetic.generate import simulate_records
from ecglib.data.workers import WorkerPool, main_module_hidden
from ecglib.errors import ParameterError, StoreError
from ecglib.paths import sha256_of
from ecglib.signals import GAIN_PER_MV, LEADS, to_int16
from ecglib.sources import content

CHUNK = 128
FOLDS = 10


@cache
def simulator_hash() -> str:
    """Short SHA-256 of what runs of the simulator's own source: two stores are equal only if this is."""
    sources = sorted(p for p in Path(__file__).parent.iterdir() if p.suffix in (".py", ".json", ".toml"))
    return sha256_of([[p.name, sha256_of(content(p), 16)] for p in sources], 16)


def simulate_store(
    folder: str | os.PathLike,
    cohort: str,
    n: int,
    *,
    seed: int,
    sampling_rate_hz: float,
    duration_s: float = 10.0,
    workers: int = 2,
) -> RecordStore:
    """Write ``n`` simulated records as a store, whole or not at all; an older store there is replaced.

    The content depends on (cohort, n, seed, rate, duration) alone, not on ``workers``. Memory stays flat:
    workers write their signals into the file. ParameterError on an unknown cohort or an impossible number.
    """
    import pandas as pd

    number = cohort_named(cohort).number
    if n < 1 or workers < 1 or duration_s < 2 or not 50 <= sampling_rate_hz <= 2000:
        raise ParameterError(
            f"a simulated store takes n >= 1, workers >= 1, duration_s >= 2, sampling_rate_hz from 50 to 2000; "
            f"got n={n}, workers={workers}, duration_s={duration_s}, sampling_rate_hz={sampling_rate_hz}"
        )
    folder = Path(folder)
    if folder.exists() and not (folder / "card.json").is_file() and any(folder.iterdir()):
        raise StoreError(f"{folder} holds something else than a record store; name an empty or new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial"))
    try:
        samples = round(duration_s * sampling_rate_hz)
        shape = (n, len(LEADS), samples)
        signals = np.lib.format.open_memmap(building / "signals.npy", mode="w+", dtype="<i2", shape=shape)
        signals.flush()
        del signals
        jobs = [
            (str(building / "signals.npy"), cohort, seed, a, min(a + CHUNK, n), sampling_rate_hz, duration_s)
            for a in range(0, n, CHUNK)
        ]
        rows, clipped = [], 0
        for part, beyond in _run(jobs, workers):
            rows += part
            clipped += beyond
        with open(building / "signals.npy", "rb+") as file:
            os.fsync(file.fileno())
        card = {
            "name": f"simulated {cohort}",
            "data_kind": "simulated",
            "cohort": cohort,
            "cohort_number": number,
            "seed": seed,
            "simulator": simulator_hash(),
            "clipped_samples": clipped,
            "quarantined": [],
        }
        finish_store(building, folder, samples, pd.DataFrame(rows), sampling_rate_hz, GAIN_PER_MV, card)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return RecordStore.open(folder)


def _run(jobs, workers):
    if workers == 1 or len(jobs) == 1:
        yield from map(_chunk, jobs)
        return
    with main_module_hidden(), WorkerPool(min(workers, len(jobs))) as pool:
        yield from pool.map(_chunk, jobs)


def _chunk(job):
    path, cohort, seed, begin, end, hz, duration_s = job
    signals = np.load(path, mmap_mode="r+")
    rows, clipped = [], 0
    for index, record in enumerate(simulate_records(cohort, seed, range(begin, end), hz, duration_s), begin):
        signals[index], beyond = to_int16(record.ecg_mv, GAIN_PER_MV)
        clipped += beyond
        rows.append(_row(record, cohort, seed, index))
    signals.flush()
    return rows, clipped


def _row(record, cohort, seed, index):
    owner = int(record.patient.rsplit("-", 1)[1])
    return {
        "id": f"sim-{cohort}-{seed}-{index}",
        "patient": record.patient,
        "report": record.report,
        "age": record.age,
        "sex": record.sex,
        "fold": owner % FOLDS + 1,
        "source": "",
        **{f"labels/{task}": record.labels[task] for task in TASKS},
        "findings": list(record.findings),
        **{f"feature/{name}": value for name, value in record.features.items()},
    }
