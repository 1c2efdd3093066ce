"""How far simulated ECGs are from real ones, without labels: can a classifier tell, by what, and how far apart.

Both functions take the tables of `ecglib.realism_features.measurements`. Records that could not be measured take no
part in a comparison of waves; how many they are stands in the result. The column ``weight`` counts: `weigh` sets it so
that a simulated population has another's mixture of diagnoses.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import wasserstein_distance

from ecglib.errors import ParameterError
from ecglib.metrics import patient_weights, weighted_auc
from ecglib.realism_features import AXES, GROUPS, INTERVALS, features_of, measurements, spoken

__all__ = [
    "GROUPS", "TwoSample", "distances", "measurable", "measurements", "spoken", "two_sample_auc", "weigh",
]  # fmt: skip
QUANTILES = (0.05, 0.25, 0.50, 0.75, 0.95)
FOLDS = 5
LEAST_SPREAD_MV = 0.05  # half a small square: Q waves that most records lack have no interquartile range to count in
_ROWS_AT_ONCE = 20_000  # a call of the classifier costs more than the rows of a small fold
_LEAST = 2 * FOLDS  # patients on either side


@dataclass(frozen=True)
class TwoSample:
    """How well a classifier tells two sets of records apart: AUC in percent, 50 when they are alike.

    ``importances``: feature, loss (points of AUC that go when its values are shuffled among held-out records) and
    single (AUC of this measurement alone, 50 to 100), the greatest loss first.
    """

    group: str
    auc: float
    ci_low: float
    ci_high: float
    n_real: int
    n_simulated: int
    failed_real: int
    failed_simulated: int
    importances: pd.DataFrame


def two_sample_auc(
    real: pd.DataFrame, simulated: pd.DataFrame, group: str = "everything", *, repeats: int = 1000, seed: int = 0
) -> TwoSample:
    """Gradient-boosted trees, cross-validated over patients, tell ``simulated`` from ``real`` by one group's features.

    Both sides have the same total weight, so that 50 is the aim however many records each has. A measurement that is
    missing counts as such: P waves that are found too often are a difference. The interval resamples patients and keeps
    the classifiers; it does not hold what another fit would change.

    Raises:
        ParameterError: an unknown group, or fewer than ten patients on one side.
    """
    from sklearn.model_selection import StratifiedGroupKFold

    features = list(features_of(group))
    sides = [measurable(table, group) for table in (real, simulated)]
    for name, side in zip(("real", "simulated"), sides, strict=True):
        if side["patient"].nunique() < _LEAST:
            raise ParameterError(
                f"{side['patient'].nunique()} patients on the {name} side of the comparison; {_LEAST} are needed"
            )
    x = pd.concat([side[features] for side in sides]).to_numpy(dtype=float)
    is_simulated = np.repeat([False, True], [len(side) for side in sides])
    patients = np.concatenate([prefix + side["patient"] for prefix, side in zip("rs", sides, strict=True)])
    weight = np.concatenate([side["weight"] / side["weight"].sum() for side in sides]) * len(x) / 2
    scores, losses = np.empty(len(x)), np.zeros((FOLDS, len(features)))
    rng = np.random.default_rng(seed)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed).split(x, is_simulated, patients)
    for fold, (train, held_out) in enumerate(folds):
        model = _classifier(seed).fit(x[train], is_simulated[train], weight[train])
        scores[held_out] = model.decision_function(x[held_out])
        losses[fold] = _losses(model, x[held_out], is_simulated[held_out], weight[held_out], rng)
    draws = weighted_auc(is_simulated, scores, weight * patient_weights(patients, repeats, seed))
    low, high = np.percentile(draws, [2.5, 97.5])
    single = [_single(x[:, column], is_simulated, weight) for column in range(len(features))]
    importances = pd.DataFrame({"feature": features, "loss": 100 * losses.mean(axis=0), "single": single})
    return TwoSample(
        group,
        100 * _auc(is_simulated, scores, weight),
        100 * float(low),
        100 * float(high),
        *(len(side) for side in sides),
        *(int((table["failed"] != "").sum()) for table in (real, simulated)),
        importances.sort_values("loss", ascending=False, kind="stable").reset_index(drop=True),
    )


def measurable(table: pd.DataFrame, group: str) -> pd.DataFrame:
    """The records of a table that can take part in a group: all for the spectrum, else those with measured waves."""
    return table if group == "spectrum" else table[table["failed"] == ""]


def _classifier(seed: int):
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=120,
        learning_rate=0.08,
        max_leaf_nodes=12,
        min_samples_leaf=15,
        l2_regularization=1.0,
        max_bins=63,  # with weights, finding the edges of 255 bins takes longer than growing the trees
        early_stopping=False,
        random_state=seed,
    )


def _auc(y: np.ndarray, scores: np.ndarray, weight: np.ndarray) -> float:
    return float(weighted_auc(y, scores, weight[None])[0])


def _losses(model, x: np.ndarray, y: np.ndarray, weight: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """AUC that goes when one column's values are shuffled, (F,)."""
    whole = _auc(y, model.decision_function(x), weight)
    losses = np.zeros(x.shape[1])
    at_once = max(1, _ROWS_AT_ONCE // len(x))
    for start in range(0, x.shape[1], at_once):
        columns = range(start, min(start + at_once, x.shape[1]))
        copies = np.repeat(x[None], len(columns), axis=0)
        for copy, column in zip(copies, columns, strict=True):
            copy[:, column] = rng.permutation(copy[:, column])
        scores = model.decision_function(copies.reshape(-1, x.shape[1])).reshape(len(columns), -1)
        losses[columns] = [whole - _auc(y, of_copy, weight) for of_copy in scores]
    return losses


def _single(values: np.ndarray, y: np.ndarray, weight: np.ndarray) -> float:
    """AUC in percent, 50 or more, of one measurement where it is there; 50 where one side has none of it."""
    there = np.isfinite(values)
    if len(np.unique(y[there])) < 2:
        return 50.0
    auc = 100 * _auc(y[there], values[there], weight[there])
    return max(auc, 100 - auc)


def distances(real: pd.DataFrame, simulated: pd.DataFrame, features: Sequence[str] = ()) -> pd.DataFrame:
    """How far apart every measurement is, the farthest first.

    Columns: feature; distance (first Wasserstein distance in units of the real records' interquartile range, at
    least 0.05 mV for amplitudes); missing real and simulated (shares of the measured records); real 5 % ... 95 %
    and simulated 5 % ... 95 %. Axes are compared in degrees about the real mean, the short way round.
    """
    names = features or (*INTERVALS, *AXES, *(n for g, of in GROUPS.items() if g in _AMPLITUDES for n in of),
                         *GROUPS["spectrum"])  # fmt: skip
    rows = []
    for name in names:
        group = "spectrum" if name in GROUPS["spectrum"] else ""
        tables = [measurable(table, group) for table in (real, simulated)]
        values = [table[name].to_numpy(dtype=float) for table in tables]
        weights = [table["weight"].to_numpy(dtype=float) for table in tables]
        row = {"feature": name, "distance": np.nan}
        for side, of_side, weight in zip(("real", "simulated"), values, weights, strict=True):
            row[f"missing {side}"] = float(np.average(np.isnan(of_side), weights=weight)) if len(of_side) else np.nan
        there = [np.isfinite(of_side) for of_side in values]
        values, weights = ([of[keep] for of, keep in zip(both, there, strict=True)] for both in (values, weights))
        if all(len(of_side) for of_side in values):
            if name in AXES:
                values = _about(*values)
            quantiles = [_quantiles(*pair) for pair in zip(values, weights, strict=True)]
            spread = max(quantiles[0][3] - quantiles[0][1], LEAST_SPREAD_MV if "_mv_" in name else 0.0)
            if spread > 0:
                row["distance"] = wasserstein_distance(*values, *weights) / spread
            for side, of_side in zip(("real", "simulated"), quantiles, strict=True):
                row |= {f"{side} {100 * q:g} %": value for q, value in zip(QUANTILES, of_side, strict=True)}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("distance", ascending=False, kind="stable").reset_index(drop=True)


_AMPLITUDES = ("P", "Q", "R", "S", "ST", "T")


def _about(real_deg: np.ndarray, other_deg: np.ndarray) -> list[np.ndarray]:
    """Both sides' angles within 180 degrees of the real circular mean."""
    mean = np.degrees(np.angle(np.exp(1j * np.radians(real_deg)).mean()))
    return [(side - mean + 180.0) % 360.0 - 180.0 + mean for side in (real_deg, other_deg)]


def _quantiles(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted quantiles: interpolated between the middles of the records' shares of the weight."""
    order = np.argsort(values, kind="stable")
    share = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.interp(np.array(QUANTILES) * weights.sum(), share, values[order])


def weigh(
    simulated: pd.DataFrame, simulated_classes: Sequence[Sequence[str]], wanted_classes: Sequence[Sequence[str]]
) -> tuple[pd.DataFrame, float]:
    """``simulated`` with weights that give it the other set's shares of every combination of classes.

    Classes are lists of names, one list per record. Also returns the share of the other set whose combination no
    simulated record has, which the weights cannot give. Labels serve to set one population beside another: nothing that
    is simulated, trained or chosen may depend on the result.

    Raises:
        ParameterError: no combination is common to both.
    """
    ours = [" ".join(sorted(some)) for some in simulated_classes]
    theirs = [" ".join(sorted(some)) for some in wanted_classes]
    have, want = pd.Series(ours).value_counts(normalize=True), pd.Series(theirs).value_counts(normalize=True)
    ratio = (want / have).dropna()
    if ratio.empty:
        raise ParameterError("no record of the simulated set has a combination of classes that the other set has")
    weight = pd.Series(ours).map(ratio).fillna(0.0).to_numpy()
    return simulated.assign(weight=weight * len(weight) / weight.sum()), float(want[~want.index.isin(have.index)].sum())
