"""The finished findings of a tracing, from cases whose answer is known."""

import numpy as np
import pytest

from ecglib.data.synthetic.cases import Case
from ecglib.data.synthetic.findings import finished
from ecglib.data.synthetic.rhythm import CONDUCTED, ECTOPIC_P, PREMATURE, Rhythm

REGULAR_S = np.arange(0.2, 10.0, 0.8)


def findings(codes=(), *, rate=75.0, pr_ms=160.0, derived=(), seen=REGULAR_S, kinds=(CONDUCTED,), conducted=True, p=()):
    case = Case(60.0, "F", 0.0, frozenset(codes))
    beats = Rhythm(qrs=[(t, CONDUCTED) for t in seen], p=list(p))
    features = {"rate_bpm": rate, "pr_ms": pr_ms}
    return finished(case, beats, features, set(derived), np.asarray(seen), set(kinds), conducted)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, ("NORM", "SR")),
        ({"rate": 50.0}, ("NORM", "SBRAD")),
        ({"rate": 120.0}, ("NORM", "STACH")),
        ({"pr_ms": 230.0}, ("SR", "1AVB", "LPR")),
        ({"codes": ["1AVB"], "pr_ms": 180.0}, ("SR",)),  # the measurement goes before the plan
        ({"seen": REGULAR_S + 0.1 * (np.arange(len(REGULAR_S)) % 2)}, ("NORM", "SARRH")),
        ({"codes": ["LAXIS"]}, ("SR",)),  # a definition that is not met
        ({"derived": ["LAXIS"]}, ("SR", "LAXIS")),
        ({"codes": ["EREPOL"]}, ("SR", "EREPOL")),
        ({"codes": ["IVCD"]}, ("SR", "IVCD", "ABQRS")),
        ({"codes": ["LVH"], "conducted": False}, ("SR",)),  # a paced beat shows no hypertrophy
        ({"codes": ["PVC"]}, ("SR",)),  # planned, but none lies within the strip
        ({"codes": ["PVC"], "kinds": [CONDUCTED, PREMATURE]}, ("SR", "PVC")),
        ({"codes": ["PAC"], "p": [(12.0, ECTOPIC_P)]}, ("SR",)),
        ({"codes": ["PAC"], "p": [(4.0, ECTOPIC_P)]}, ("SR", "PAC")),
    ],
)
def test_what_shows_is_found_and_nothing_else(given, expected):
    assert set(findings(**given)) == set(expected)
