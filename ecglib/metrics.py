"""Scores with intervals. Every metric states what it does with classes that cannot be scored."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata

EVALUATOR_VERSION = "1"  # raised whenever a number here could change


def class_auc(y: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Area under the ROC curve per class: y (N, C) bool, scores (N, C) -> (C,); NaN without both outcomes.

    Mann-Whitney: the chance that a positive record scores above a negative one, ties counting half.
    """
    ranks = rankdata(scores, axis=0)
    positives = y.sum(axis=0)
    negatives = len(y) - positives
    with np.errstate(invalid="ignore", divide="ignore"):
        return ((ranks * y).sum(axis=0) - positives * (positives + 1) / 2) / (positives * negatives)


def weighted_auc(y: np.ndarray, scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """AUC of one class under many weightings of the records: y (N,), scores (N,), weights (R, N) -> (R,).

    With integer weights this is the AUC of a resampled data set, without sorting it again.
    """
    order = np.argsort(scores, kind="stable")
    y, scores, weights = y[order], scores[order], weights[:, order]
    starts = np.flatnonzero(np.r_[True, np.diff(scores) > 0])  # first record of each group of equal scores
    positive = np.add.reduceat(weights * y, starts, axis=1)
    negative = np.add.reduceat(weights * ~y, starts, axis=1)
    below = np.cumsum(negative, axis=1) - 0.5 * negative
    with np.errstate(invalid="ignore", divide="ignore"):
        return (positive * below).sum(axis=1) / (positive.sum(axis=1) * negative.sum(axis=1))


def patient_weights(patients: np.ndarray, repeats: int, seed: int) -> np.ndarray:
    """How often each record occurs when patients are drawn with replacement: N ids -> (R, N)."""
    _, member = np.unique(patients, return_inverse=True)
    n_patients = member.max() + 1
    rng = np.random.default_rng(seed)
    counts = rng.multinomial(n_patients, np.full(n_patients, 1 / n_patients), size=repeats)
    return counts[:, member].astype(np.float32)


@dataclass(frozen=True)
class MacroAuc:
    """Macro AUC in percent with a 95 % bootstrap interval over patients.

    ``classes``: name -> dict of auc, ci_low, ci_high (percent) and positives, in the order of the task.
    ``left_out``: classes that occur in no record, or in all, and so have no AUC.
    """

    value: float
    ci_low: float
    ci_high: float
    n: int
    classes: dict[str, dict]
    left_out: list[str]
    rare_free: float  # the same mean over classes with at least 10 positives; NaN if there is none


def macro_auc(
    y: np.ndarray, scores: np.ndarray, classes: list[str], patients: np.ndarray, *, repeats: int = 1000, seed: int = 0
) -> MacroAuc:
    """Mean AUC over the classes that can be scored: y (N, C) bool, scores (N, C), N patient ids.

    Whole patients are resampled. A class that loses its positives in a resample is left out of that resample's mean.

    Raises:
        ValueError: shapes that differ, scores that are not finite, or no class that can be scored.
    """
    y, scores, patients = np.asarray(y, bool), np.asarray(scores, float), np.asarray(patients)
    if y.shape != scores.shape or y.shape[1] != len(classes) or len(patients) != len(y):
        raise ValueError(f"labels {y.shape}, scores {scores.shape}, {len(classes)} classes, {len(patients)} patients")
    if not np.isfinite(scores).all():
        raise ValueError(f"{(~np.isfinite(scores)).sum()} scores are not finite")
    auc = class_auc(y, scores)
    kept = np.flatnonzero(np.isfinite(auc))
    if len(kept) == 0:
        raise ValueError(f"none of the {len(classes)} classes has both positive and negative records")
    weights = patient_weights(patients, repeats, seed)
    draws = np.stack([weighted_auc(y[:, c], scores[:, c], weights) for c in kept], axis=1)  # (R, C')
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # few resamples of a rare class may all miss it: NaN then
        low, high = np.nanpercentile(np.nanmean(draws, axis=1), [2.5, 97.5])
        class_range = np.nanpercentile(draws, [2.5, 97.5], axis=0)
    per_class = {}
    for column, c in enumerate(kept):
        c_low, c_high = class_range[:, column]
        per_class[classes[c]] = {
            "auc": 100 * float(auc[c]),
            "ci_low": 100 * float(c_low),
            "ci_high": 100 * float(c_high),
            "positives": int(y[:, c].sum()),
        }
    common = [entry["auc"] for entry in per_class.values() if entry["positives"] >= 10]
    return MacroAuc(
        value=100 * float(auc[kept].mean()),
        ci_low=100 * float(low),
        ci_high=100 * float(high),
        n=len(y),
        classes=per_class,
        left_out=[name for c, name in enumerate(classes) if c not in set(kept)],
        rare_free=float(np.mean(common)) if common else float("nan"),
    )


def chance_macro_auc(
    y: np.ndarray, *, known: np.ndarray | None = None, repeats: int = 1000, seed: int = 0
) -> tuple[float, float, float]:
    """Macro AUC of scores that know nothing, in percent: mean, 2.5th and 97.5th percentile over random scores.

    Args:
        y: (N, C) bool.
        known: (N, C) bool, of which records the label of a class counts; without it, of all.
    """
    y = np.asarray(y, bool)
    rng = np.random.default_rng(seed)
    if known is None or known.all():
        draws = [np.nanmean(class_auc(y, rng.random(y.shape))) for _ in range(repeats)]
    else:
        labels = [y[there, c, None] for c, there in enumerate(known.T)]
        draws = [np.nanmean([class_auc(of, rng.random(of.shape))[0] for of in labels]) for _ in range(repeats)]
    return 100 * float(np.mean(draws)), *(100 * float(v) for v in np.percentile(draws, [2.5, 97.5]))


def between_networks(percent: Sequence[float]) -> tuple[float, float, float]:
    """AUCs of M networks -> their mean and 1.96 standard deviations on either side, within the scale of 0 to 100.

    The range is NaN for one network, and all three are for none. With few networks it is wide: it says how little so
    few tell, not where a network may lie.
    """
    values = np.asarray(percent, dtype=float)
    if not len(values):
        return (float("nan"),) * 3
    mean = float(values.mean())
    spread = 1.96 * float(values.std(ddof=1)) if len(values) > 1 else float("nan")
    return mean, float(np.maximum(mean - spread, 0.0)), float(np.minimum(mean + spread, 100.0))
