"""What ESI's ablations change about the pairs: which sets they are from (table 6), how many are torn apart (figure 7).

ESI pre-trains on MIMIC-IV-ECG, the training part of PTB-XL and all of Chapman-Shaoxing (the source of CSN). A model of
that mixture has seen the records of CSN and the site and label words of PTB-XL: ``ecglib.datasets.unseen_by`` keeps
the former out of every test and `seen_words` says the latter.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from ecglib import datasets
from ecglib.data import open_dataset
from ecglib.data.mixture import mix
from ecglib.data.store import RecordStore
from ecglib.errors import ParameterError
from ecglib.profiles import get_profile

MIXTURES = {"mimic-iv-ecg": ("mimic-iv-ecg",), "all": ("mimic-iv-ecg", "ptb-xl", "csn")}  # the rows of table 6
THOUSANDS = {"mimic-iv-ecg": 600, "ptb-xl": 17, "csn": 45}  # training samples, table 1


def joined(mixture: str, dataset: str) -> str:
    """The name under which a model says what it was trained on, for example ``mimic-iv-ecg-and-ptb-xl-and-csn``.

    Simulated pairs stay ``simulated``. Raises ParameterError for a mixture that no row of table 6 has.
    """
    if mixture not in MIXTURES:
        raise ParameterError(f"mixture is one of {', '.join(MIXTURES)}, not '{mixture}'")
    return dataset if dataset == "simulated" or mixture != "all" else datasets.AND.join(MIXTURES[mixture])


def pretraining_mixture(
    mixture: str, profile: str, dataset: str, roots: Mapping[str, str], seed: int, n_records: int = 0
) -> tuple[RecordStore, str]:
    """The records to train on, and whether they are simulated, a subset or the paper's.

    Args:
        dataset: ``simulated`` makes every part with the simulator, in the proportions of table 1; else the set of a
            mixture of one, or ``mimic-iv-ecg`` for all three.
        roots: folder of each real set with its original files.
        n_records: at most how many, drawn from all parts together (figure 5); 0 leaves it to the profile.
    """
    joined(mixture, dataset)
    if mixture != "all":
        store = datasets.pretraining_store(profile, dataset, roots.get(dataset, ""), seed, n_records)
        return store, datasets.data_kind(store, dataset, folds=len(datasets.TRAINING_FOLDS))
    if dataset not in ("simulated", datasets.PRETRAINING_COHORT):
        raise ParameterError(
            f"mixture = 'all' trains on {', '.join(MIXTURES['all'])}: give dataset = 'simulated' or "
            f"'{datasets.PRETRAINING_COHORT}', not '{dataset}'"
        )
    size = get_profile(profile)
    if dataset == "simulated":
        total = n_records or size.n_pretrain
        parts = {name: _simulated(name, total, size.sampling_rate_hz, seed) for name in MIXTURES["all"]}
        return mix(parts), "simulated"
    if missing := [name for name in MIXTURES["all"] if not roots.get(name)]:
        raise ParameterError(f"mixture = 'all' on real records needs the folders of {', '.join(missing)} as well")
    parts = {name: _real(name, roots[name], size.sampling_rate_hz) for name in MIXTURES["all"]}
    kinds = [datasets.data_kind(part, name, folds=8 if name != "csn" else 10) for name, part in parts.items()]
    whole = mix(parts)
    kind = "paper" if set(kinds) == {"paper"} and not 0 < n_records < len(whole) else "subset"
    return datasets.at_most(whole, n_records or len(whole), seed), kind


def _simulated(name: str, total: int, sampling_rate_hz: float, seed: int) -> RecordStore:
    """A part of ``total`` records; of PTB-XL the training folds, of CSN all."""
    n = max(1, round(total * THOUSANDS[name] / sum(THOUSANDS.values())))
    folds = len(datasets.TRAINING_FOLDS) if name == "ptb-xl" else 10
    made = open_dataset("simulated", cohort=name, n=-(-n * 10 // folds), seed=seed, sampling_rate_hz=sampling_rate_hz)
    return made.fold_in(*datasets.TRAINING_FOLDS) if name == "ptb-xl" else made


def _real(name: str, root: str, sampling_rate_hz: float) -> RecordStore:
    """All of CSN, as in the paper; of the other sets the training folds."""
    store = open_dataset(name, root, sampling_rate_hz=sampling_rate_hz)
    return store if name == "csn" else store.fold_in(*datasets.TRAINING_FOLDS)


def misaligned(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """The texts with ``share`` of them handed on among each other, so that none of these keeps its ECG (figure 7).

    Which ones follows from ``seed``. A record may still get a text of the same words from another record. Raises
    ParameterError for a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        raise ParameterError(f"shuffled is a share of the pairs, between 0 and 1, not {share}")
    rows = np.random.default_rng([seed, len(texts)]).permutation(len(texts))[: round(share * len(texts))]
    given = list(texts)
    for row, source in zip(rows, rows[partners(len(rows), seed)], strict=True):
        given[row] = texts[source]
    return given


def partners(n: int, seed: int) -> np.ndarray:
    """Another row for each of ``n``, (n,), every row once and none its own (unless it is alone)."""
    order = np.random.default_rng([seed, n]).permutation(n)
    other = np.empty(n, dtype=np.int64)
    other[order] = np.roll(order, 1)
    return other


def seen_words(mixture: str) -> str:
    """What of a test of a model of this mixture is not zero-shot, "" when nothing."""
    if mixture != "all":
        return ""
    return (
        "mixture 'all': trained on records and label words of PTB-XL and CSN, so scores on either are not zero-shot; "
        "no record of CSN may be scored"
    )
