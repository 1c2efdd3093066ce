"""Original files -> record store: in parallel, resumable, and never stopped by one broken record.

The rows of a source are worked off in chunks. A finished chunk leaves its signals and a marker in
``.<folder>.building``; a run that was killed goes on after the last marker, and the finished store is the same
byte for byte. A record that cannot be used is quarantined: named in the card with its reason.
"""

import json
import multiprocessing
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

import numpy as np

from ecglib.data.card import SIGNALS, STORE_VERSION
from ecglib.data.one_record import prepare_record
from ecglib.data.store import RecordStore, finish_store, npy_header
from ecglib.data.table import check_records
from ecglib.data.workers import WorkerPool, main_module_hidden
from ecglib.errors import SignalError, StoreError
from ecglib.paths import atomic_write, sha256_of
from ecglib.signals import GAIN_PER_MV, LEADS

if TYPE_CHECKING:
    import pandas as pd

PREPARE_VERSION = 1  # part of every job's name: raise it when the steps below change
CHUNK_RECORDS = 64
ALONE_S = 1.0  # about what starting workers costs: a small set is done before they would be there


class Source(Protocol):
    """An original data set: a table of records, and the signal of each."""

    name: str
    version: int  # of the reader: part of the job's name
    root: Path

    def rows(self) -> "pd.DataFrame":
        """The columns of a store (``ecglib.data.table``); columns that begin with "_" are only for ``read``."""

    def read(self, row: dict[str, Any]) -> tuple[np.ndarray, float]:
        """(12, T) millivolts in the order of LEADS, NaN where missing, and the rate in Hz. May raise anything."""

    def card(self) -> dict[str, Any]:
        """Keys for the store's card (licence, citation, what ``rows`` left out); called after ``rows``."""


def prepare(
    source: Source,
    folder: str | os.PathLike,
    *,
    sampling_rate_hz: float,
    duration_s: float = 10.0,
    workers: int = 2,
    limit: int | None = None,
    seed: int | None = None,
) -> RecordStore:
    """Make the store of ``source`` in ``folder``, or open it when this very preparation is there already.

    Each record: missing samples interpolated, checked, resampled, its first ``duration_s`` seconds kept (zeros
    after the end of a shorter one; its true length stays in the column ``duration_s``), stored as int16.
    ``limit``: so many records only, the first ones, or a random choice when ``seed`` is given.
    StoreError when no record is usable. Two processes may ask for the same store: the second waits.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = folder.parent / f".{folder.name}.building"
    samples = round(duration_s * sampling_rate_hz)
    rows, doubled = _without_doubles(source.rows())
    if limit is not None and limit < len(rows):
        chosen = range(limit) if seed is None else np.random.default_rng(seed).permutation(len(rows))[:limit]
        rows = rows.iloc[sorted(chosen)].reset_index(drop=True)
    if not len(rows):
        raise StoreError(f"{source.name} names no record at all; nothing to prepare")
    job = _job(source, rows, sampling_rate_hz, samples)
    with _alone(folder):
        if (folder / "card.json").is_file():
            done = _open_if_ours(folder, job)
            if done is not None:
                shutil.rmtree(building, ignore_errors=True)
                return done
        _start_or_resume(building, job)
        _work_off(source, rows, building, sampling_rate_hz, samples, workers)
        _finish(source, rows, doubled, building, folder, job, sampling_rate_hz, samples)
        return RecordStore.open(folder)


def _job(source: Source, rows: "pd.DataFrame", sampling_rate_hz: float, samples: int) -> str:
    versions = [STORE_VERSION, PREPARE_VERSION, source.name, source.version]
    return sha256_of([*versions, float(sampling_rate_hz), samples, sha256_of(rows.to_csv(index=False))], 16)


def _open_if_ours(folder: Path, job: str) -> RecordStore | None:
    try:
        store = RecordStore.open(folder)
    except StoreError:
        return None  # of another version or damaged: it is replaced
    return store if store.card.get("job") == job else None


def _without_doubles(rows: "pd.DataFrame") -> tuple["pd.DataFrame", list[dict[str, str]]]:
    double = rows["id"].duplicated()
    quarantined = [
        {"id": str(i), "reason": "this id occurs more than once in the table; the first row was kept"}
        for i in rows["id"][double]
    ]
    return rows[~double].reset_index(drop=True), quarantined


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold a lock that the system releases however the process ends."""
    with (folder.parent / f".{folder.name}.lock").open("w") as file:
        try:
            import fcntl
        except ImportError:  # not on Windows; there two preparations at once are the user's to avoid
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start_or_resume(building: Path, job: str) -> None:
    kept = building / "job"
    if not (kept.is_file() and kept.read_text() == job):
        shutil.rmtree(building, ignore_errors=True)
        building.mkdir()
        atomic_write(kept, job)


def _chunk_names(n: int) -> list[tuple[str, slice]]:
    starts = range(0, n, CHUNK_RECORDS)
    return [(f"chunk-{i:06d}", slice(start, start + CHUNK_RECORDS)) for i, start in enumerate(starts)]


def _work_off(source: Source, rows: "pd.DataFrame", building: Path, hz: float, samples: int, workers: int) -> None:
    from tqdm import tqdm

    todo = [
        (building / name, part) for name, part in _chunk_names(len(rows)) if not (building / f"{name}.json").is_file()
    ]
    tasks = ((source, rows.iloc[part].to_dict("records"), path, hz, samples) for path, part in todo)
    for _ in tqdm(
        _done(tasks, workers, source.name),
        f"preparing {source.name}",
        len(todo),
        unit="chunk",
        disable=None,
        mininterval=1,
    ):
        pass


def _done(tasks: Iterator[tuple], workers: int, name: str) -> Iterator[None]:
    """Work off ``tasks``, yielding after each: here for a while, then, if some are left, in processes."""
    begin = time.monotonic()
    while workers <= 1 or time.monotonic() - begin < ALONE_S:
        task = next(tasks, None)
        if task is None:
            return
        yield _prepare_chunk(task)
    yield from _in_processes(tasks, workers, name)


def _in_processes(tasks: Iterator[tuple], workers: int, name: str) -> Iterator[None]:
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__, "pandas", "scipy.signal"])
    with main_module_hidden(), WorkerPool(workers, context) as pool:
        try:
            # A few tasks ahead of the workers: the rows of a large set are not copied all at once.
            pending = {pool.submit(_prepare_chunk, task) for task in islice(tasks, 2 * workers)}
            while pending:
                finished, pending = wait(pending, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
                    pending |= {pool.submit(_prepare_chunk, task) for task in islice(tasks, 1)}
        except BrokenProcessPool as error:
            raise StoreError(
                f"a worker that prepared {name} was killed (out of memory?); run again and it goes on"
            ) from error
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _prepare_chunk(task: tuple[Source, list[dict[str, Any]], Path, float, int]) -> None:
    source, rows, path, hz, samples = task
    signals = np.empty((len(rows), len(LEADS), samples), dtype=np.int16)
    kept: list[dict[str, Any]] = []
    quarantined: list[dict[str, str]] = []
    warnings: Counter[str] = Counter()
    for number, row in enumerate(rows):
        try:
            signals[len(kept)], facts, warned = prepare_record(*source.read(row), hz, samples)
        except MemoryError:
            raise
        except Exception as error:
            if not source.root.is_dir():
                raise StoreError(f"{source.root} is gone; bring it back, run again and it goes on") from error
            reason = str(error) if isinstance(error, SignalError) else f"{type(error).__name__}: {error}"
            quarantined.append({"id": str(row["id"]), "reason": reason})
        else:
            kept.append({"row": number, **facts})
            warnings.update(warned)
    atomic_write(path.with_suffix(".i16"), signals[: len(kept)].data)
    marker = {"kept": kept, "quarantined": quarantined, "warnings": warnings}
    atomic_write(path.with_suffix(".json"), json.dumps(marker))


def _finish(
    source: Source,
    rows: "pd.DataFrame",
    quarantined: list[dict[str, str]],
    building: Path,
    folder: Path,
    job: str,
    hz: float,
    samples: int,
) -> None:
    names = _chunk_names(len(rows))
    markers = [json.loads((building / f"{name}.json").read_text()) for name, _ in names]
    kept = [
        (part.start + k["row"], k) for (_, part), marker in zip(names, markers, strict=True) for k in marker["kept"]
    ]
    quarantined = [q for marker in markers for q in marker["quarantined"]] + quarantined
    if not kept:
        shutil.rmtree(building, ignore_errors=True)
        raise StoreError(
            f"none of the {len(rows)} records of {source.name} could be read; the first reason: "
            f"{quarantined[0]['id']}: {quarantined[0]['reason']}"
        )
    final = building / "store"
    final.mkdir(exist_ok=True)
    _join(building, final / SIGNALS, names, [len(marker["kept"]) for marker in markers], samples)
    records = rows.iloc[[at for at, _ in kept]].reset_index(drop=True)
    records = records[[c for c in records.columns if not c.startswith("_")]].copy()
    for column in ("duration_s", "flat_leads", "filled_samples"):
        records[column] = [facts[column] for _, facts in kept]
    extra = {
        **source.card(),
        "name": source.name,
        "job": job,
        "quarantined": quarantined,
        "warnings": dict(sorted(sum((Counter(m["warnings"]) for m in markers), Counter()).items())),
    }
    finish_store(final, folder, samples, check_records(records), hz, GAIN_PER_MV, extra)
    shutil.rmtree(building, ignore_errors=True)


def _join(building: Path, path: Path, names: list[tuple[str, slice]], counts: list[int], samples: int) -> None:
    """Append the chunks to ``signals.npy``, each removed once it is safely there: disk is never needed twice.

    Killed in between, the next run cuts the file back to the first chunk that still exists and goes on there.
    """
    mode = "r+b" if path.exists() else "w+b"
    with path.open(mode) as file:
        np.lib.format.write_array_header_1_0(file, npy_header(sum(counts), samples))
        at = file.tell()
        joined: list[Path] = []
        for (name, _), count in zip(names, counts, strict=True):
            chunk = building / f"{name}.i16"
            if chunk.exists():
                file.seek(at)
                file.truncate()
                file.write(chunk.read_bytes())
                joined.append(chunk)
            at += 2 * count * len(LEADS) * samples
            if len(joined) == 16:
                _drop(joined, file)
        file.truncate(at)
        _drop(joined, file)


def _drop(joined: list[Path], file: BinaryIO) -> None:
    """Remove chunks after what was written of them has reached the disk."""
    file.flush()
    os.fsync(file.fileno())
    while joined:
        joined.pop(0).unlink()
