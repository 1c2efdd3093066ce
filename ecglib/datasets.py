"""Which records a chapter trains on and which it scores: one rule for simulated and for real sets."""

import numpy as np

from ecglib.data import open_dataset
from ecglib.data.store import RecordStore
from ecglib.errors import DataError, ParameterError
from ecglib.profiles import get_profile

TASKS_OF = {
    "ptb-xl": ("ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm"),
    "cpsc2018": ("cpsc2018",),
    "csn": ("csn",),
}
# Records that the whole set leaves in a store; of MIMIC-IV-ECG those whose report has more than three words.
RECORDS_OF_WHOLE_SET = {"mimic-iv-ecg": 771_693, "ptb-xl": 21_799, "cpsc2018": 6_877, "csn": 45_152, "cinc2021": 88_253}
SETS_WITH_REPORTS = ("mimic-iv-ecg", "ptb-xl")
AND = "-and-"  # between the names of a mixture's parts
WHOLE_IN_MIXTURES = ("csn",)  # ESI section 4.1: all 45,152 records, no fold kept back
PRETRAINING_COHORT = "mimic-iv-ecg"  # the simulated set whose reports are written for pre-training
TRAINING_FOLDS, TEST_FOLD = tuple(range(1, 9)), 10
HELD_OUT_SEED = 1_000_003  # added to the seed for simulated records that no training run of that seed saw
N_HELD_OUT = 1_000


def data_kind(store: RecordStore, dataset: str, folds: int = 10) -> str:
    """``simulated``; ``paper`` when ``folds`` tenths of a real set are there whole, within 5 %; else ``subset``."""
    if dataset == "simulated":
        return "simulated"
    return "paper" if len(store) >= 0.95 * RECORDS_OF_WHOLE_SET[dataset] * folds / 10 else "subset"


def pretraining_store(profile: str, dataset: str, data_root: str, seed: int, n_records: int = 0) -> RecordStore:
    """The pairs to train on: simulated, or the training folds of a real set, reports not empty.

    Args:
        n_records: how many to simulate, or at most how many real ones to take; 0 leaves it to the profile.
    """
    size = get_profile(profile)
    if dataset == "simulated":
        return _simulated(PRETRAINING_COHORT, n_records or size.n_pretrain, seed, size.sampling_rate_hz)
    store = _real_pairs(dataset, data_root, size.sampling_rate_hz, TRAINING_FOLDS)
    return at_most(store, n_records or len(store), seed)


def held_out_pairs(profile: str, dataset: str, data_root: str, seed: int) -> RecordStore:
    """Pairs that pre-training did not see, at most a thousand: freshly simulated, or of a real set's test fold."""
    size = get_profile(profile)
    if dataset == "simulated":
        return _simulated(PRETRAINING_COHORT, N_HELD_OUT, seed + HELD_OUT_SEED, size.sampling_rate_hz)
    return at_most(_real_pairs(dataset, data_root, size.sampling_rate_hz, (TEST_FOLD,)), N_HELD_OUT, seed)


def evaluation_stores(profile: str, dataset: str, data_root: str, seed: int) -> dict[str, RecordStore]:
    """Name of the set -> the records to score, before `unseen_by`.

    Simulated: the counterparts of all three labelled sets. Real: the test fold of a whole set, all of a subset.
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
    return {dataset: store.fold_in(TEST_FOLD) if data_kind(store, dataset) == "paper" else store}


def unseen_by(trained_on: str, stores: dict[str, RecordStore]) -> dict[str, RecordStore]:
    """The records that a model trained on ``trained_on`` never saw: of that set only the test fold.

    A mixture is named by its parts, ``mimic-iv-ecg-and-csn``. Sets of `WHOLE_IN_MIXTURES` among them were trained
    on in every record and are left out. Raises ParameterError when nothing is left to score.
    """
    parts = trained_on.split(AND)
    gone = {name for name in WHOLE_IN_MIXTURES if name in parts}
    left = {name: store for name, store in stores.items() if name not in gone}
    if not left:
        raise ParameterError(
            f"a model trained on {trained_on} has seen every record of {', '.join(stores)}: score another set, or "
            "pre-train with mixture = 'mimic-iv-ecg'"
        )
    return {name: store.fold_in(TEST_FOLD) if name in parts else store for name, store in left.items()}


def evaluation_kind(store: RecordStore, dataset: str) -> str:
    """`data_kind` of records that `evaluation_stores` gave: a whole test fold is the paper's data."""
    return data_kind(store, dataset, folds=1) if store.card["records"] > len(store) else data_kind(store, dataset)


def _simulated(cohort: str, n: int, seed: int, sampling_rate_hz: float) -> RecordStore:
    return open_dataset("simulated", cohort=cohort, n=n, seed=seed, sampling_rate_hz=sampling_rate_hz)


def _real_pairs(dataset: str, data_root: str, sampling_rate_hz: int, folds: tuple[int, ...]) -> RecordStore:
    store = open_dataset(dataset, data_root, sampling_rate_hz=sampling_rate_hz)
    told = np.array([bool(text.strip()) for text in store.records["report"]], dtype=bool)
    chosen = told & store.records["fold"].isin(folds).to_numpy()
    if not chosen.any():
        raise DataError(
            f"{data_root}: none of the {len(store)} records of {dataset} has a report and lies in fold "
            f"{', '.join(map(str, folds))}, so there is nothing to learn from; sets with reports are "
            f"{', '.join(SETS_WITH_REPORTS)}"
        )
    return store.select(chosen)


def at_most(store: RecordStore, n: int, seed: int) -> RecordStore:
    """At most ``n`` records, drawn by ``seed``, in their order."""
    if n >= len(store):
        return store
    return store.select(np.sort(np.random.default_rng(seed).permutation(len(store))[:n]))
