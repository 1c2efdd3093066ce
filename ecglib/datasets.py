"""Which records a chapter trains on and which it scores: one rule for simulated and for real sets."""

import numpy as np

from ecglib.data import open_dataset
from ecglib.data.store import RecordStore
from ecglib.errors import ParameterError
from ecglib.profiles import get_profile

TASKS_OF = {
    "ptb-xl": ("ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm"),
    "cpsc2018": ("cpsc2018",),
    "csn": ("csn",),
}
RECORDS_OF_WHOLE_SET = {"mimic-iv-ecg": 800_035, "ptb-xl": 21_799, "cpsc2018": 6_877, "csn": 45_152}
PRETRAINING_COHORT = "mimic-iv-ecg"  # the simulated set whose reports are written for pre-training
TRAINING_FOLDS, TEST_FOLD = tuple(range(1, 9)), 10
HELD_OUT_SEED = 1_000_003  # added to the seed for simulated records that no training run of that seed saw
N_HELD_OUT = 1_000


def data_kind(store: RecordStore, dataset: str) -> str:
    """``simulated``; ``paper`` when a real set is there whole (within 2 %); else ``subset``."""
    if dataset == "simulated":
        return "simulated"
    return "paper" if store.card["records"] >= 0.98 * RECORDS_OF_WHOLE_SET[dataset] else "subset"


def pretraining_store(profile: str, dataset: str, data_root: str, seed: int, n_records: int = 0) -> RecordStore:
    """The pairs to train on: simulated, or the training folds of a real set, reports not empty.

    Args:
        n_records: how many to simulate, or at most how many real ones to take; 0 leaves it to the profile.
    """
    size = get_profile(profile)
    if dataset == "simulated":
        return _simulated(PRETRAINING_COHORT, n_records or size.n_pretrain, seed, size.sampling_rate_hz)
    store = _with_reports(open_dataset(dataset, data_root, sampling_rate_hz=size.sampling_rate_hz))
    store = store.fold_in(*TRAINING_FOLDS)
    if n_records and n_records < len(store):
        chosen = np.random.default_rng(seed).permutation(len(store))[:n_records]
        store = store.select(np.sort(chosen))
    return store


def held_out_pairs(profile: str, dataset: str, data_root: str, seed: int) -> RecordStore:
    """Pairs that pre-training did not see: freshly simulated ones, or the test fold of a real set."""
    size = get_profile(profile)
    if dataset == "simulated":
        return _simulated(PRETRAINING_COHORT, N_HELD_OUT, seed + HELD_OUT_SEED, size.sampling_rate_hz)
    return _with_reports(open_dataset(dataset, data_root, sampling_rate_hz=size.sampling_rate_hz)).fold_in(TEST_FOLD)


def evaluation_stores(
    profile: str, dataset: str, data_root: str, seed: int, trained_on: str = "simulated"
) -> dict[str, RecordStore]:
    """Name of the set -> the records to score.

    Simulated: the counterparts of all three labelled sets. Real: the test fold where the set is there whole or where
    the model was trained on it; every record of a subset otherwise, since nothing of it was ever seen.
    """
    size = get_profile(profile)
    if dataset == "simulated":
        return {
            cohort: _simulated(cohort, n, seed + HELD_OUT_SEED, size.sampling_rate_hz)
            for cohort, n in size.n_evaluate.items()
        }
    if dataset not in TASKS_OF:
        raise ParameterError(f"dataset = '{dataset}' has no labels to score; choose one of {', '.join(TASKS_OF)}")
    store = open_dataset(dataset, data_root, sampling_rate_hz=size.sampling_rate_hz)
    if data_kind(store, dataset) == "paper" or trained_on == dataset:
        store = store.fold_in(TEST_FOLD)
    return {dataset: store}


def _simulated(cohort: str, n: int, seed: int, sampling_rate_hz: float) -> RecordStore:
    return open_dataset("simulated", cohort=cohort, n=n, seed=seed, sampling_rate_hz=sampling_rate_hz)


def _with_reports(store: RecordStore) -> RecordStore:
    return store.select(np.array([bool(text.strip()) for text in store.records["report"]], dtype=bool))
