"""Metrics against scikit-learn and against resampling by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from ecglib.metrics import between_networks, chance_macro_auc, class_auc, macro_auc, patient_weights, weighted_auc


def problem(seed, n=60, classes=4, ties=True):
    rng = np.random.default_rng(seed)
    y = rng.random((n, classes)) < 0.3
    y[0], y[1] = True, False
    scores = rng.normal(size=(n, classes)) + y
    return y, np.round(scores, 1) if ties else scores


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 10_000), n=st.integers(3, 80), ties=st.booleans())
def test_class_auc_is_scikit_learns(seed, n, ties):
    y, scores = problem(seed, n, ties=ties)
    expected = [roc_auc_score(y[:, c], scores[:, c]) for c in range(4)]
    np.testing.assert_allclose(class_auc(y, scores), expected, atol=1e-12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 10_000))
def test_weighted_auc_is_that_of_the_resampled_set(seed):
    y, scores = problem(seed)
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, size=(3, len(y))).astype(np.float32)
    ours = weighted_auc(y[:, 0], scores[:, 0], counts)
    for row, value in zip(counts.astype(int), ours, strict=True):
        drawn = np.repeat(np.arange(len(y)), row)
        if len(set(y[drawn, 0])) == 2:
            assert value == pytest.approx(roc_auc_score(y[drawn, 0], scores[drawn, 0]), abs=1e-6)
        else:
            assert np.isnan(value)


def test_patients_are_drawn_whole():
    patients = np.array(["a", "b", "b", "c", "b"])
    weights = patient_weights(patients, 200, seed=0)
    assert (weights[:, 1] == weights[:, 2]).all()
    assert (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_classes_that_cannot_be_scored_are_named_and_left_out():
    y, scores = problem(0)
    y[:, 2], y[:, 3] = False, True
    result = macro_auc(y, scores, ["a", "b", "none", "all"], np.arange(len(y)), repeats=50)
    assert result.left_out == ["none", "all"]
    assert set(result.classes) == {"a", "b"}
    assert result.value == pytest.approx(50 * sum(roc_auc_score(y[:, c], scores[:, c]) for c in (0, 1)))
    assert result.classes["a"]["positives"] == y[:, 0].sum()
    assert result.ci_low < result.value < result.ci_high


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """Scores N(0, 1) and N(1, 1) have AUC Phi(1/sqrt 2) = 0.7602; 95 % intervals hold it in 95 of 100 draws or so."""
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(100):
        y = rng.random((150, 1)) < 0.4
        result = macro_auc(y, rng.normal(size=(150, 1)) + y, ["a"], np.arange(150), repeats=200, seed=trial)
        hits += result.ci_low <= 76.02 <= result.ci_high
    assert 88 <= hits <= 100


def test_wrong_input_is_refused():
    y, scores = problem(0)
    with pytest.raises(ValueError, match="not finite"):
        macro_auc(y, scores * np.nan, list("abcd"), np.arange(len(y)))
    with pytest.raises(ValueError, match="none of the 4 classes"):
        macro_auc(np.zeros_like(y), scores, list("abcd"), np.arange(len(y)))
    with pytest.raises(ValueError, match="3 classes"):
        macro_auc(y, scores, list("abc"), np.arange(len(y)))


def test_chance_is_fifty_and_a_perfect_score_is_a_hundred():
    y, _ = problem(0, n=400)
    value, low, high = chance_macro_auc(y)
    assert value == pytest.approx(50, abs=0.5)
    assert low < 50 < high
    assert macro_auc(y, y.astype(float), list("abcd"), np.arange(400), repeats=20).value == 100


def test_chance_over_fewer_known_records_is_wider():
    y, _ = problem(0, n=400)
    whole = chance_macro_auc(y, repeats=2000)
    assert chance_macro_auc(y, known=np.ones_like(y), repeats=2000) == whole
    few = np.zeros_like(y)
    few[:60] = True
    assert y[:60].any(axis=0).all()
    value, low, high = chance_macro_auc(y, known=few, repeats=2000)
    assert value == pytest.approx(50, abs=1)
    assert high - low > 1.5 * (whole[2] - whole[1])
    assert (value, low, high) == pytest.approx(chance_macro_auc(y[:60], repeats=2000), abs=1)


def test_the_range_between_networks_stays_on_the_scale():
    assert between_networks([40.0, 50.0, 60.0]) == pytest.approx((50, 50 - 19.6, 50 + 19.6))
    assert between_networks([20.0, 80.0]) == (50, 0, 100)
    assert between_networks([48.0])[0] == 48
    assert np.isnan(between_networks([48.0])[1:]).all()
    assert np.isnan(between_networks([])).all()
