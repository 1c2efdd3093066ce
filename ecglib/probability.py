"""From scores to probabilities, and how well these hold: Platt's curves, reliability, expected calibration error."""

from dataclasses import dataclass

import numpy as np

from ecglib.metrics import patient_weights

BINS = 10  # of equal width
_STEPS = 100
_HALVINGS = 30


def platt_curve(scores: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope a and intercept b of P(y | s) = 1 / (1 + exp(-(a s + b))): scores (N,), y (N,) bool.

    Logistic regression by Newton's method with Platt's targets, (N+ + 1) / (N+ + 2) and 1 / (N- + 2) in place of 1 and
    0, so that a statement that few records show, or that is told apart without error, keeps a finite slope (Platt 1999,
    Probabilistic outputs for support vector machines).

    A curve that would fall is flat at the share of positives: such a score does not rank its statement.

    Raises:
        ValueError: no positive or no negative record, scores that are not finite or all the same.
    """
    s, y = np.asarray(scores, dtype=float), np.asarray(y, dtype=bool)
    positives = int(y.sum())
    if not 0 < positives < len(y):
        raise ValueError(f"{positives} of {len(y)} records are positive; a curve needs records of both kinds")
    if not np.isfinite(s).all() or s.std() == 0:
        raise ValueError("a curve needs scores that are finite and differ")
    target = np.where(y, (positives + 1) / (positives + 2), 1 / (len(y) - positives + 2))
    centre, scale = s.mean(), s.std()
    x = np.stack([(s - centre) / scale, np.ones_like(s)], axis=1)  # (N, 2)
    w = np.array([0.0, np.log(target.mean() / (1 - target.mean()))])
    loss = _loss(x @ w, target)
    for _ in range(_STEPS):
        p = sigmoid(x @ w)
        step = np.linalg.solve((x * (p * (1 - p))[:, None]).T @ x + 1e-12 * np.eye(2), x.T @ (p - target))
        for _ in range(_HALVINGS):
            new = _loss(x @ (w - step), target)
            if new <= loss:
                break
            step = step / 2
        if new > loss or np.abs(step).max() < 1e-10:
            break
        w, loss = w - step, new
    slope = w[0] / scale
    if slope <= 0:  # a score that does not rank the statement says nothing of it: its prevalence, whatever the score
        return 0.0, float(np.log(target.mean() / (1 - target.mean())))
    return float(slope), float(w[1] - slope * centre)


def platt_curves(scores: np.ndarray, shown: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`platt_curve` of every column: scores (N, C), shown (N, C) bool -> slopes (C,), intercepts (C,)."""
    curves = [platt_curve(scores[:, c], shown[:, c]) for c in range(scores.shape[1])]
    slopes, intercepts = np.array(curves, dtype=np.float32).T
    return slopes, intercepts


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-x)) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * np.asarray(x)))


def _loss(logit: np.ndarray, target: np.ndarray) -> float:
    return float((np.logaddexp(0.0, logit) - target * logit).sum())


@dataclass(frozen=True)
class Reliability:
    """Mean prediction and observed share per bin, (BINS,) each, NaN in empty ones, with ``counts``.

    ``ece``: expected calibration error in percentage points, with a 95 % interval over patients. Of a finite sample it
    is never 0 and its resamples lie somewhat above it.
    """

    predicted: np.ndarray
    observed: np.ndarray
    low: np.ndarray  # of ``observed``, 95 % over patients
    high: np.ndarray
    counts: np.ndarray
    ece: float
    ci_low: float
    ci_high: float


def reliability(
    probabilities: np.ndarray, y: np.ndarray, patients: np.ndarray, *, repeats: int = 1000, seed: int = 0
) -> Reliability:
    """Of N records and C statements together: probabilities (N, C), y (N, C) bool, N patient ids."""
    p, y = np.asarray(probabilities, dtype=float), np.asarray(y, dtype=bool)
    bins = np.minimum((p * BINS).astype(int), BINS - 1)
    place = (np.arange(len(p))[:, None] * BINS + bins).ravel()

    def per_record(weights: np.ndarray | None = None) -> np.ndarray:
        """Sums over the statements of one record: (N, BINS)."""
        return np.bincount(place, None if weights is None else weights.ravel(), len(p) * BINS).reshape(-1, BINS)

    n, predicted, observed = per_record(), per_record(p), per_record(y.astype(float))
    draws = patient_weights(patients, repeats, seed).astype(float)
    counts = draws @ n  # (R, BINS)
    eces = np.abs(draws @ predicted - draws @ observed).sum(axis=1) / counts.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = (draws @ observed) / counts
        low, high = np.full(BINS, np.nan), np.full(BINS, np.nan)
        some = n.sum(axis=0) > 0
        low[some], high[some] = np.nanpercentile(shares[:, some], [2.5, 97.5], axis=0)
        return Reliability(
            predicted=predicted.sum(axis=0) / n.sum(axis=0),
            observed=observed.sum(axis=0) / n.sum(axis=0),
            low=low,
            high=high,
            counts=n.sum(axis=0).astype(int),
            ece=100 * float(np.abs(predicted.sum(axis=0) - observed.sum(axis=0)).sum() / n.sum()),
            ci_low=100 * float(np.percentile(eces, 2.5)),
            ci_high=100 * float(np.percentile(eces, 97.5)),
        )
