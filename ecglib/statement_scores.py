"""SCP statements of records and a reader's AUC on each: what is asked, what is known, and what it scores.

Labels of real records are read here and in the chapters that score, nowhere else. A statement is scored when at least
five records carry it, and among those records alone whose source uses it: a hospital that never writes a statement has
not denied it.
"""

import io
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.data.labels import FINDINGS, findings_to_labels
from ecglib.data.store import RecordStore
from ecglib.metrics import patient_weights, weighted_auc
from ecglib.paths import atomic_write
from ecglib.statements import SUPERCLASSES, shown

LEAST = 5  # records with a statement, and without, to score it
_FINDING_OF_CPSC = {cls: finding for finding in FINDINGS for cls in findings_to_labels([finding])["cpsc2018"]}
_COLUMNS = ("code", "auc", "ci_low", "ci_high", "positives", "n", "chance_low", "chance_high")


@dataclass(frozen=True)
class Questions:
    """Records with what is true of them: labels (N, C) bool of ``codes``; ``known`` (N, C), whether a record's source
    uses the statement, so that its absence counts."""

    name: str
    store: RecordStore
    codes: tuple[str, ...]
    labels: np.ndarray
    known: np.ndarray


def questions(name: str, store: RecordStore, codes: Sequence[str], source: str = "") -> Questions:
    """SCP statements of a store's records, from ``findings`` or the classes of CPSC2018.

    Args:
        source: column with each record's source, where sources use different statements.
    """
    if "findings" in store.records:
        findings = store.records["findings"]
    else:
        findings = [[_FINDING_OF_CPSC[c] for c in some] for some in store.records["labels/cpsc2018"]]
    labels = shown(findings, codes)
    return Questions(name, store, tuple(codes), labels, _known(labels, store, source))


def class_questions(name: str, store: RecordStore, source: str = "") -> Questions:
    """The five superclasses of the records that have any, in a reader's order."""
    view, labels, classes = store.task("ptbxl-super")
    labels = labels[:, [classes.index(c) for c in SUPERCLASSES]]
    return Questions(name, view, SUPERCLASSES, labels, _known(labels, view, source))


def _known(labels: np.ndarray, store: RecordStore, source: str) -> np.ndarray:
    if not source:
        return np.ones_like(labels)
    of = store.records[source].to_numpy()
    uses = {part: labels[of == part].any(axis=0) for part in set(of)}
    return np.array([uses[part] for part in of], dtype=bool).reshape(labels.shape)


@dataclass(frozen=True)
class Scored:
    """AUCs in percent of one reader on one set of questions; ``table``: one row per scored code (code, auc, ci_low,
    ci_high, positives, n, chance_low, chance_high), ``mean`` over them, ``scores`` (N, C)."""

    of: Questions
    scores: np.ndarray
    table: pd.DataFrame
    mean: float
    ci_low: float
    ci_high: float

    @property
    def n(self) -> int:
        return len(self.of.store)


def score(
    of: Questions, scores: np.ndarray, *, repeats: int = 1000, seed: int = 0, only: Collection[str] | None = None
) -> Scored:
    """AUC of every code with five positives and five others, and their mean; intervals resample patients.

    Args:
        only: codes to keep, where two sets are to be averaged over the same.

    A code that loses its positives in a resample is left out of that resample's mean. Without one code to score the
    mean is NaN.
    """
    kept = [
        c
        for c, code in enumerate(of.codes)
        if (of.labels[:, c] & of.known[:, c]).sum() >= LEAST
        and (~of.labels[:, c] & of.known[:, c]).sum() >= LEAST
        and (only is None or code in only)
    ]
    weights = patient_weights(of.store.records["patient"].to_numpy(), repeats, seed)
    rng = np.random.default_rng(seed)
    rows, draws = [], np.empty((repeats, len(kept)))
    for column, c in enumerate(kept):
        there = of.known[:, c]
        y, own = of.labels[there, c], scores[there, c]
        draws[:, column] = 100 * weighted_auc(y, own, weights[:, there])
        even = np.ones((1, int(there.sum())), dtype=np.float32)
        luck = [100 * weighted_auc(y, rng.random(len(y)), even)[0] for _ in range(100)]
        low, high = np.nanpercentile(draws[:, column], [2.5, 97.5])
        rows.append(
            {
                "code": of.codes[c],
                "auc": 100 * float(weighted_auc(y, own, even)[0]),
                "ci_low": float(low),
                "ci_high": float(high),
                "positives": int(y.sum()),
                "n": len(y),
                "chance_low": float(np.percentile(luck, 2.5)),
                "chance_high": float(np.percentile(luck, 97.5)),
            }
        )
    if not rows:
        return Scored(of, scores, pd.DataFrame(columns=_COLUMNS), np.nan, np.nan, np.nan)
    table = pd.DataFrame(rows)
    means = np.nanmean(draws, axis=1)
    return Scored(of, scores, table, float(table["auc"].mean()), *map(float, np.percentile(means, [2.5, 97.5])))


def save_predictions(path: str | Path, scored: Sequence[Scored]) -> Path:
    """Every score and label in long form, as parquet, so that each metric can be computed again. Returns ``path``."""
    frames = []
    for of in scored:
        n, c = of.scores.shape
        ids = of.of.store.records["id"].tolist()
        frame = {"task": of.of.name, "id": np.repeat(ids, c), "class": np.tile(of.of.codes, n)}
        frame |= {"score": of.scores.ravel(), "label": of.of.labels.ravel(), "known": of.of.known.ravel()}
        frames.append(pd.DataFrame(frame))
    buffer = io.BytesIO()
    pd.concat(frames).to_parquet(buffer, index=False)
    return atomic_write(path, buffer.getvalue())
