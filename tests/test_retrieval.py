"""Exact neighbours against brute force, and negatives drawn among them."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib import retrieval
from ecglib.retrieval import Index, ReportNegatives


def cosines(queries, vectors):
    a = queries / np.linalg.norm(queries, axis=1, keepdims=True)
    b = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return a @ b.T


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 40), width=st.integers(2, 9), n_queries=st.integers(1, 12), seed=st.integers(0, 99))
def test_neighbours_are_those_of_brute_force(n, width, n_queries, seed):
    rng = np.random.default_rng(seed)
    vectors, queries = rng.normal(size=(n, width)), rng.normal(size=(n_queries, width))
    index, expected = Index(vectors), cosines(queries, vectors)
    for k in {1, (n + 1) // 2, n}:
        scores, ids = index.nearest(queries, k)
        assert scores.dtype == np.float32
        assert scores.shape == ids.shape == (n_queries, k)
        np.testing.assert_allclose(scores, -np.sort(-expected, axis=1)[:, :k], atol=1e-6)
        np.testing.assert_allclose(np.take_along_axis(expected, ids, axis=1), scores, atol=1e-6)
        scores, ids = index.farthest(queries, k)
        np.testing.assert_allclose(scores, np.sort(expected, axis=1)[:, :k], atol=1e-6)
        np.testing.assert_allclose(np.take_along_axis(expected, ids, axis=1), scores, atol=1e-6)


def test_length_does_not_count():
    """Cosine: a vector and its multiples are the same direction, its opposite is the farthest."""
    index = Index(np.array([[1.0, 0.0], [0.0, 1.0], [-3.0, 0.0]]))
    assert index.nearest(np.array([[1e-3, 0.0]]), 1)[1].item() == 0
    assert index.farthest(np.array([[1e3, 0.0]]), 1)[1].item() == 2
    assert index.farthest(np.array([[1e3, 0.0]]), 1)[0].item() == pytest.approx(-1.0)
    assert len(index) == 3


def test_many_queries_are_searched_in_batches(monkeypatch):
    rng = np.random.default_rng(0)
    index, queries = Index(rng.normal(size=(50, 8))), rng.normal(size=(23, 8))
    whole = index.nearest(queries, 5)
    monkeypatch.setattr(retrieval, "_BATCH", 4)
    parts = index.nearest(queries, 5)
    np.testing.assert_allclose(parts[0], whole[0], atol=1e-6)
    np.testing.assert_array_equal(parts[1], whole[1])


@pytest.mark.parametrize(
    ("vectors", "message"),
    [
        (np.zeros((0, 4)), "at least one row"),
        (np.ones(4), "at least one row"),
        (np.array([[1.0, 2.0], [np.nan, 1.0]]), "row 1 holds a value that is not finite"),
        (np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 0.0]]), "row 2 is zero"),
    ],
)
def test_vectors_without_a_direction_are_refused(vectors, message):
    with pytest.raises(ValueError, match=message):
        Index(vectors)


def test_queries_that_do_not_fit_are_refused():
    index = Index(np.eye(3))
    with pytest.raises(ValueError, match="queries have width 4, the index has 3"):
        index.nearest(np.ones((1, 4)), 1)
    with pytest.raises(ValueError, match="queries: row 0 holds"):
        index.nearest(np.full((1, 3), np.inf), 1)
    for k in (0, 4):
        with pytest.raises(ValueError, match=f"k lies in 1..3, the number of vectors, not {k}"):
            index.farthest(np.ones((1, 3)), k)


# --- negatives -----------------------------------------------------------------------------------------------

ANGLES = {f"report {i}": i for i in range(0, 180, 5)}  # degrees on a half circle


def embed(texts):
    radians = np.deg2rad([ANGLES[text] for text in texts])
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


@pytest.mark.parametrize("how", ["farthest", "nearest"])
def test_negatives_are_the_farthest_or_the_nearest(how):
    negatives = ReportNegatives(embed, how, pool=4)
    negatives.prepare(list(ANGLES))
    drawn = {text: set() for text in ANGLES}
    for _ in range(60):
        for text, negative in zip(ANGLES, negatives.draw(list(ANGLES)), strict=True):
            drawn[text].add(negative)
    for text, found in drawn.items():
        others = sorted((other for other in ANGLES if other != text), key=lambda o: abs(ANGLES[o] - ANGLES[text]))
        expected = others[-4:] if how == "farthest" else others[:4]
        distance = sorted(abs(ANGLES[o] - ANGLES[text]) for o in found)
        assert distance == sorted(abs(ANGLES[o] - ANGLES[text]) for o in expected)  # equal distances: either one


@pytest.mark.parametrize("how", ["farthest", "nearest"])
def test_a_report_is_never_its_own_negative(how):
    """Also with fewer reports than the pool, and with two reports at one place."""
    ANGLES["same place"] = 0
    try:
        corpus = ["report 0", "same place", "report 90"]
        negatives = ReportNegatives(embed, how, pool=64)
        negatives.prepare(corpus)
        for _ in range(30):
            assert all(a != b for a, b in zip(corpus, negatives.draw(corpus), strict=True))
    finally:
        del ANGLES["same place"]


def test_random_negatives_go_by_record_and_may_say_the_same():
    """What N3S is for: most records share a report, and a random one is often no negative at all."""
    negatives = ReportNegatives(embed, "random")
    negatives.prepare(["report 0"] * 90 + ["report 90"] * 10)
    torch.manual_seed(0)
    drawn = negatives.draw(["report 0"] * 2000)
    assert drawn.count("report 0") / 2000 == pytest.approx(0.9, abs=0.03)


def test_draws_follow_from_torchs_random_state():
    negatives = ReportNegatives(embed)
    negatives.prepare(list(ANGLES))
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append(negatives.draw(list(ANGLES)))
    assert draws[0] == draws[1] != draws[2]


def test_unknown_reports_are_looked_up_among_the_known():
    corpus = [text for text in ANGLES if text != "report 0"]
    negatives = ReportNegatives(embed, pool=2)
    negatives.prepare(corpus)
    assert {negatives.draw(["report 0"])[0] for _ in range(30)} == {"report 170", "report 175"}
    assert "report 0" not in negatives.texts
    negatives.prepare(["report 0"])  # more texts: the corpus grows
    assert {negatives.draw(["report 175"])[0] for _ in range(30)} == {"report 0", "report 5"}


def test_without_a_corpus_a_batch_is_its_own():
    negatives = ReportNegatives(embed, pool=1)
    assert negatives.draw(["report 0", "report 45", "report 175"]) == ["report 175", "report 175", "report 0"]
    assert negatives.texts == []
    assert negatives.draw(["report 5", "report 5"]) == ["report 5", "report 5"]  # there is no other


def test_the_corpus_is_embedded_once():
    calls = []
    negatives = ReportNegatives(lambda texts: calls.append(len(texts)) or embed(texts))
    negatives.prepare(list(ANGLES) * 3)
    negatives.prepare(list(ANGLES))
    for _ in range(3):
        negatives.draw(list(ANGLES))
    assert calls == [len(ANGLES)]


def test_impossible_negatives_are_refused():
    with pytest.raises(ValueError, match="negatives are one of farthest, nearest, random, none, not 'far'"):
        ReportNegatives(embed, "far")
    with pytest.raises(ValueError, match="at least one report, not 0"):
        ReportNegatives(embed, pool=0)


@pytest.mark.parametrize("prepared", [True, False])
def test_a_random_half_is_replaced_and_known_to_be(prepared):
    negatives, texts = ReportNegatives(embed), list(ANGLES)
    if prepared:
        negatives.prepare(texts)
    rows = np.zeros(len(texts))
    for seed in range(40):
        torch.manual_seed(seed)
        replaced, kept = negatives.replace(texts, 0.5)
        assert [a == b for a, b in zip(texts, replaced, strict=True)] == kept.tolist()
        assert kept.sum() == len(texts) // 2
        rows += ~kept.numpy()
    assert 5 < rows.min() < rows.max() < 35  # every row in turn


def test_without_negatives_every_report_stays_and_none_is_embedded():
    calls = []
    negatives, texts = ReportNegatives(lambda asked: calls.append(asked), "none"), list(ANGLES)
    negatives.prepare(texts)
    replaced, kept = negatives.replace(texts, 0.5)
    assert replaced == texts == negatives.draw(texts)
    assert kept.all()
    assert not calls


def test_nothing_to_replace():
    assert ReportNegatives(embed).draw([]) == []
    replaced, kept = ReportNegatives(embed).replace(["report 5", "report 5"], 0.5)
    assert replaced == ["report 5", "report 5"]
    assert kept.all()  # there is no other report, so both pairs still match
    replaced, kept = ReportNegatives(embed, "random").replace(["report 5", "report 5"], 0.5)
    assert replaced == ["report 5", "report 5"]
    assert kept.sum() == 1  # the false negative of random sampling
