"""A reader's answers for all records of a store, batch by batch: training, calibration and scoring ask in this way."""

from collections.abc import Callable
from typing import Any

import numpy as np

from ecglib.data.store import RecordStore

_BATCH = 64


def answers(read: Callable[[np.ndarray, float], Any], store: RecordStore) -> np.ndarray:
    """``read(ecg_mv, hz)``, a method of a reader, over a whole store in batches: (N, C) float64.

    Of a short record it sees what was recorded, not the zeros after its end.
    """
    hz = store.sampling_rate_hz
    lengths = np.full(len(store), store.samples)
    if "duration_s" in store.records:
        recorded = (store.records["duration_s"].to_numpy(dtype=float) * hz).round()
        lengths = np.minimum(lengths, np.where(np.isfinite(recorded), recorded, store.samples).astype(int))
    parts, order = [], []
    for length in np.unique(lengths):
        rows = np.flatnonzero(lengths == length)
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            found = read(np.ascontiguousarray(store.read(batch)[:, :, :length]), hz)
            parts.append(np.asarray(found.detach().cpu() if hasattr(found, "detach") else found, dtype=np.float64))
            order.append(batch)
    return np.concatenate(parts)[np.argsort(np.concatenate(order))]
