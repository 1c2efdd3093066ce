"""Several record stores as one, written to the cache: a training run reads one store, wherever its records are from."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from ecglib.data.store import RecordStore, write_store
from ecglib.data.table import LABELS, TEXT_COLUMNS
from ecglib.errors import StoreError
from ecglib.paths import cache_dir, sha256_of

SOURCE_SET = "dataset"  # column of a mixture: the name of the set that a record is from
_BLOCK = 1_024


def mix(parts: Mapping[str, RecordStore]) -> RecordStore:
    """One store with the records of all ``parts``, name -> store, in their order.

    Ids become ``name/id``, patients ``name/patient``; the column ``dataset`` names the set. The signals are copied, so
    a mixture takes as much disk as its parts; the same parts are copied once.

    Raises StoreError for parts of different rate, length or gain.
    """
    shapes = {(store.sampling_rate_hz, store.samples, store.gain_per_mv) for store in parts.values()}
    if len(shapes) != 1:
        told = ", ".join(f"{name} {s.sampling_rate_hz:g} Hz, {s.samples} samples" for name, s in parts.items())
        raise StoreError(f"a mixture needs records of one rate, length and gain: {told}; prepare them alike")
    ((rate_hz, _, gain_per_mv),) = shapes
    made_from = [[name, store.fingerprint] for name, store in parts.items()]
    folder = cache_dir() / "mixture" / sha256_of(made_from, 16)
    if (folder / "card.json").is_file():
        return RecordStore.open(folder)
    kinds = sorted({store.card.get("data_kind", "") for store in parts.values()})
    extra = {"name": "+".join(parts), "parts": made_from, "data_kind": "+".join(kinds), "quarantined": []}
    tables = pd.concat([_named(name, store) for name, store in parts.items()], ignore_index=True)
    return write_store(folder, rate_hz, _blocks(parts), tables, extra, gain_per_mv=gain_per_mv)


def _named(name: str, store: RecordStore) -> pd.DataFrame:
    labels = [column for column in store.records.columns if column.startswith(LABELS)]
    table = store.records[[*TEXT_COLUMNS, "age", "fold", *labels]].copy()
    for column in ("id", "patient"):
        table[column] = name + "/" + table[column]
    return table.assign(**{SOURCE_SET: name})


def _blocks(parts: Mapping[str, RecordStore]) -> Iterator[np.ndarray]:
    for store in parts.values():
        for start in range(0, len(store), _BLOCK):
            yield store.read_int16(np.arange(start, min(start + _BLOCK, len(store))))
