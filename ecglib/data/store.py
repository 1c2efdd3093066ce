"""The record store: one folder with all signals of a data set as int16, memory-mapped, and their table.

``signals.npy`` (N, 12, T) int16, ``records.parquet`` (N rows), ``card.json`` (format version, sampling rate,
gain, counts, hashes, quarantined records and why). A store is written whole or not at all and never changed;
``fingerprint`` names its content in run records and caches.
"""

import os
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecglib.data.card import AGAIN, CARD, RECORDS, SIGNALS, STORE_VERSION, check_hash, read_card, seal_card
from ecglib.data.labels import TASKS, label_matrix
from ecglib.data.table import LABELS, check_records, read_table, write_table
from ecglib.errors import StoreError
from ecglib.paths import sha256_of
from ecglib.signals import GAIN_PER_MV, LEADS, lead_indices, to_int16

if TYPE_CHECKING:
    import pandas as pd


class RecordStore:
    """N records of one data set, read in batches by position; a view of some of them behaves the same.

    Open with ``RecordStore.open``. A store can be pickled (to data-loader processes): only its folder and the
    chosen rows travel.
    """

    def __init__(self, folder: Path, card: dict[str, Any], rows: np.ndarray | None = None):
        self.folder = folder
        self.card = card
        self._rows = rows
        self._signals: np.ndarray | None = None
        self._records: pd.DataFrame | None = None

    @classmethod
    def open(cls, folder: str | os.PathLike) -> "RecordStore":
        """Open a folder written by write_store or prepare.

        Checks the format version, that both files have the size and the table has the hash that the card
        says; the signals' own hash is checked by ``verify``. StoreError names the file and the remedy.
        """
        folder = Path(folder)
        card = read_card(folder)
        for name, kept in card["files"].items():
            path = folder / name
            if not path.is_file():
                raise StoreError(f"{path} is missing from the record store; {AGAIN}")
            if path.stat().st_size != kept["bytes"]:
                raise StoreError(
                    f"{path} has {path.stat().st_size} bytes where {CARD} says {kept['bytes']}: "
                    f"cut short or changed; {AGAIN}"
                )
        check_hash(folder / RECORDS, card)
        store = cls(folder, card)
        expected = (card["records"], len(LEADS), card["samples"])
        if store.signals.shape != expected or store.signals.dtype != np.int16:
            raise StoreError(
                f"{folder / SIGNALS} holds {store.signals.dtype} {store.signals.shape} where {CARD} says "
                f"int16 {expected}; {AGAIN}"
            )
        return store

    def verify(self) -> None:
        """Read every byte and compare with the hashes of the card; StoreError names the file that changed."""
        for name in self.card["files"]:
            check_hash(self.folder / name, self.card)

    def __len__(self) -> int:
        return self.card["records"] if self._rows is None else len(self._rows)

    def __repr__(self) -> str:
        what = "" if self._rows is None else f" of {self.card['records']}"
        return f"<RecordStore {self.card.get('name', '')}: {len(self)}{what} records, {self.sampling_rate_hz:g} Hz>"

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "card": self.card, "_rows": self._rows, "_signals": None, "_records": None}

    @property
    def signals(self) -> np.ndarray:
        """(N, 12, T) int16 of the whole store, memory-mapped, read-only (a view's rows are not applied)."""
        if self._signals is None:
            try:
                # A plain array over the map: np.memmap's own indexing costs microseconds a record.
                self._signals = np.asarray(np.load(self.folder / SIGNALS, mmap_mode="r", allow_pickle=False))
            except (OSError, ValueError) as error:
                raise StoreError(f"{self.folder / SIGNALS} cannot be read ({error}); {AGAIN}") from error
        return self._signals

    @property
    def records(self) -> "pd.DataFrame":
        """The table, one row per record in the order of ``read``."""
        if self._records is None:
            table = read_table(self.folder / RECORDS)
            self._records = table if self._rows is None else table.iloc[self._rows].reset_index(drop=True)
        return self._records

    @property
    def sampling_rate_hz(self) -> float:
        return self.card["sampling_rate_hz"]

    @property
    def samples(self) -> int:
        """T, samples per lead."""
        return self.card["samples"]

    @property
    def gain_per_mv(self) -> float:
        return self.card["gain_per_mv"]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks this set has labels for."""
        return tuple(self.card["tasks"])

    @property
    def fingerprint(self) -> str:
        """Short SHA-256 of signals, table and format; of a view, of the chosen rows as well."""
        if self._rows is None:
            return self.card["fingerprint"]
        return sha256_of(f"{self.card['fingerprint']}:{sha256_of(self._rows.tobytes())}", 16)

    def read_int16(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(B, 12, T) int16 of the records at ``indices``, in that order; one copy, the file read in its order."""
        rows = self._whole_rows(indices)
        signals = self.signals
        out = np.empty((len(rows), *signals.shape[1:]), dtype=np.int16)
        for b in np.argsort(rows, kind="stable"):
            out[b] = signals[rows[b]]
        return out

    def read(self, indices: Sequence[int] | np.ndarray, leads: str | Sequence[str] | None = None) -> np.ndarray:
        """(B, S, T) float32 millivolts of the records at ``indices``; all twelve leads unless ``leads`` names some."""
        rows = self._whole_rows(indices)
        signals = self.signals
        chosen = None if leads is None else lead_indices(leads)
        if chosen == list(range(len(LEADS))):
            chosen = None
        mv_per_step = np.float32(1.0 / self.gain_per_mv)
        out = np.empty((len(rows), len(chosen or LEADS), signals.shape[2]), dtype=np.float32)
        for b in np.argsort(rows, kind="stable"):
            steps = signals[rows[b]] if chosen is None else signals[rows[b]][chosen]
            np.multiply(steps, mv_per_step, out=out[b], dtype=np.float32)
        return out

    def _whole_rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        indices = np.atleast_1d(np.asarray(indices))
        if indices.size == 0:
            indices = indices.astype(np.int64)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise StoreError(f"records are read by a list of whole numbers, not by {indices.dtype} {indices.shape}")
        if indices.size and (indices.min() < 0 or indices.max() >= len(self)):
            bad = indices[(indices < 0) | (indices >= len(self))][0]
            raise StoreError(f"record {bad} asked of a store with {len(self)} records (0 to {len(self) - 1})")
        return indices if self._rows is None else self._rows[indices]

    def select(self, chosen: Sequence[int] | Sequence[bool] | np.ndarray) -> "RecordStore":
        """A view of the records at ``chosen``: positions, or a bool per record. Nothing is copied."""
        chosen = np.asarray(chosen)
        if chosen.dtype == bool:
            if chosen.shape != (len(self),):
                raise StoreError(f"a mask of {chosen.shape} for a store with {len(self)} records")
            chosen = np.flatnonzero(chosen)
        view = RecordStore(self.folder, self.card, self._whole_rows(chosen).astype(np.int64))
        view._signals = self._signals
        if self._records is not None:
            view._records = self._records.iloc[chosen.astype(np.int64)].reset_index(drop=True)
        return view

    def fold_in(self, *folds: int) -> "RecordStore":
        """A view of the records whose ``fold`` is one of ``folds``."""
        return self.select(self.records["fold"].isin(folds).to_numpy())

    def task(self, task: str) -> tuple["RecordStore", np.ndarray, tuple[str, ...]]:
        """The records with at least one label of ``task``, their labels (N, C) bool, the C class names.

        StoreError when the set has no labels of that task.
        """
        if task not in self.tasks:
            known = ", ".join(self.tasks) or "none"
            raise StoreError(f"{self.folder} has no labels for {task!r}; it has: {known}")
        labels = label_matrix(self.records[LABELS + task].tolist(), task)
        some = labels.any(axis=1)
        return self.select(some), labels[some], TASKS[task]


def write_store(
    folder: str | os.PathLike,
    sampling_rate_hz: float,
    signals: np.ndarray | Iterable[np.ndarray],
    records: "pd.DataFrame",
    card_extra: dict[str, Any] | None = None,
    *,
    gain_per_mv: float = GAIN_PER_MV,
) -> RecordStore:
    """Write a store whole or not at all and open it; an older store in ``folder`` is replaced.

    ``signals``: (N, 12, T), or blocks (B, 12, T) one after the other, float millivolts or int16 steps of
    ``1/gain_per_mv``. ``records``: N rows, see ``ecglib.data.table.check_records``. ``card_extra``: more keys
    of the card (name, licence, quarantined, warnings). StoreError when they do not fit together.
    """
    folder = Path(folder)
    if folder.exists() and not (folder / CARD).is_file() and any(folder.iterdir()):
        raise StoreError(f"{folder} holds something else than a record store; nothing is written there")
    records = check_records(records)
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial"))
    try:
        blocks = [signals] if isinstance(signals, np.ndarray) else signals
        shape, clipped = _write_signals(building / SIGNALS, blocks, len(records), gain_per_mv)
        extra = {"clipped_samples": clipped, **(card_extra or {})}
        finish_store(building, folder, shape[2], records, sampling_rate_hz, gain_per_mv, extra)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise
    return RecordStore.open(folder)


def _write_signals(
    path: Path, blocks: Iterable[np.ndarray], n: int, gain_per_mv: float
) -> tuple[tuple[int, int, int], int]:
    written, clipped, samples = 0, 0, None
    with path.open("wb") as file:
        for block in blocks:
            block = np.asarray(block)
            if block.ndim != 3 or block.shape[1] != len(LEADS):
                raise StoreError(f"signals of shape {block.shape}; a block is (B, {len(LEADS)}, T)")
            if samples is None:
                samples = block.shape[2]
                np.lib.format.write_array_header_1_0(file, npy_header(n, samples))
            if block.shape[2] != samples:
                raise StoreError(f"a block of {block.shape[2]} samples after blocks of {samples}; T must not vary")
            if block.dtype != np.int16:
                block, beyond = to_int16(block, gain_per_mv)
                clipped += beyond
            file.write(np.ascontiguousarray(block).data)
            written += len(block)
        file.flush()
        os.fsync(file.fileno())
    if samples is None or written != n:
        raise StoreError(f"{written} signals for {n} rows of the table of records")
    return (n, len(LEADS), samples), clipped


def npy_header(n: int, samples: int) -> dict[str, Any]:
    """Header of ``signals.npy`` for n records."""
    return {"descr": "<i2", "fortran_order": False, "shape": (n, len(LEADS), samples)}


def finish_store(
    building: Path,
    folder: Path,
    samples: int,
    records: "pd.DataFrame",
    sampling_rate_hz: float,
    gain_per_mv: float,
    card_extra: dict[str, Any],
) -> None:
    """Add table and card to ``building`` (which holds the signals) and move it to ``folder`` in one step."""
    write_table(records, building / RECORDS)
    card = {
        "name": folder.name,
        **card_extra,
        "store_version": STORE_VERSION,
        "records": len(records),
        "samples": samples,
        "leads": list(LEADS),
        "sampling_rate_hz": float(sampling_rate_hz),
        "gain_per_mv": float(gain_per_mv),
        "tasks": [c.removeprefix(LABELS) for c in records.columns if c.startswith(LABELS)],
    }
    seal_card(building, card)
    building.chmod(0o755)
    if folder.exists():
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}.", suffix=".partial"))
        os.replace(folder, aside)
        os.replace(building, folder)
        shutil.rmtree(aside, ignore_errors=True)
    else:
        os.replace(building, folder)
