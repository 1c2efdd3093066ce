"""How good retrieval and descriptions of `ecglib.cqa` are: the analogues of ESI's tables 7 and 8 that can be had.

The paper's BERTScore needs RoBERTa-large and 28 human descriptions, neither of which is here. Measured instead, each
beside what chance gives: is the statement's own finding among the passages retrieved, and is a description more like
the reference for its own statement than like another's.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from ecglib.cqa import Assistant, Descriptions, findings
from ecglib.metrics import EVALUATOR_VERSION
from ecglib.mixtures import partners

Z = 1.96  # normal quantile of a 95 % interval


def retrieval_table(assistant: Assistant, statements: Sequence[str], ks: Sequence[int]) -> pd.DataFrame:
    """Per k: share of statements with a finding of theirs among the top k sections, in percent, and among random k.

    A statement's findings are those that the rule-based reader takes from its words, without any vectors. Statements
    none of whose findings has a section are left out; ``n`` is how many remain. Intervals are Wilson's.
    """
    known = set(assistant.sections)
    asked = {statement: (findings(statement) or set()) & known for statement in dict.fromkeys(statements)}
    asked = {statement: codes for statement, codes in asked.items() if codes}
    found = assistant.retrieve(list(asked), max(ks))
    right = np.array([[code in codes for code in best] for best, codes in zip(found, asked.values(), strict=True)])
    own = np.array([len(codes) for codes in asked.values()])  # (N,)
    rows = []
    for k in ks:
        share = right[:, :k].any(axis=1).mean()
        low, high = wilson(share, len(asked))
        missed = [(1 - own / (len(known) - drawn)).clip(0) for drawn in range(k)]  # k draws without replacement
        row = {"value": share, "ci_low": low, "ci_high": high, "chance": (1 - np.prod(missed, axis=0)).mean()}
        rows.append({"k": k, **{name: 100 * value for name, value in row.items()}, "n": len(asked)})
    return pd.DataFrame(rows)


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share of n (Wilson 1927)."""
    middle = (share + Z**2 / (2 * n)) / (1 + Z**2 / n)
    half = Z / (1 + Z**2 / n) * np.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    return middle - half, middle + half


def rouge_l(candidate: str, reference: str) -> float:
    """F1 of the longest common subsequence of words (Lin 2004), lower case; 0 when either has no word."""
    a, b = candidate.lower().split(), reference.lower().split()
    if not a or not b:
        return 0.0
    lengths = np.zeros(len(b) + 1, dtype=np.int64)
    for word in a:
        before = lengths.copy()
        for j, other in enumerate(b):
            lengths[j + 1] = before[j] + 1 if word == other else max(before[j + 1], lengths[j])
    return 2 * int(lengths[-1]) / (len(a) + len(b))


def likeness(
    described: Descriptions, references: Mapping[str, str], vectors: Callable[[list[str]], np.ndarray], seed: int
) -> pd.DataFrame:
    """Mean likeness of descriptions to the reference of their own statement, and to that of another one (chance).

    Two measures in percent, ROUGE-L and the cosine of ``vectors`` (texts -> (N, D)), with intervals of a bootstrap
    over statements. Statements without a description or a reference are left out.
    """
    both = [s for s, entry in described.entries.items() if entry.text and references.get(s, "").strip()]
    ours, theirs = [described.entries[s].text for s in both], [references[s] for s in both]
    other = partners(len(both), seed)
    a, b = _unit(vectors(ours)), _unit(vectors(theirs))
    measured = {
        ("ROUGE-L", "own reference"): [rouge_l(x, y) for x, y in zip(ours, theirs, strict=True)],
        ("ROUGE-L", "another's"): [rouge_l(x, theirs[j]) for x, j in zip(ours, other, strict=True)],
        ("cosine", "own reference"): (a * b).sum(axis=1),
        ("cosine", "another's"): (a * b[other]).sum(axis=1),
    }
    draws = np.random.default_rng(seed).integers(len(both), size=(1000, len(both)))
    rows = []
    for (measure, against), values in measured.items():
        low, high = np.percentile(np.asarray(values)[draws].mean(axis=1), [2.5, 97.5])
        row = {"value": np.mean(values), "ci_low": low, "ci_high": high}
        rows.append({"measure": measure, "against": against, **{k: 100 * v for k, v in row.items()}, "n": len(both)})
    return pd.DataFrame(rows)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def metric_rows(
    method: str, dataset: str, data_kind: str, tables: Sequence[pd.DataFrame], likeness: pd.DataFrame
) -> list[dict]:
    """The tables above as entries of a run record's ``metrics``; what chance gives has the method ``chance``.

    ``tables`` are of `retrieval_table`, with a column ``setting``.
    """
    common = {"method": method, "dataset": dataset, "data_kind": data_kind, "evaluator_version": EVALUATOR_VERSION}
    rows = []
    for row in pd.concat(tables).to_dict("records"):
        entry = common | {"setting": row["setting"], "metric": "right_section", "n": int(row["n"])}
        rows.append(entry | {name: row[name] for name in ("value", "ci_low", "ci_high")})
        rows.append(entry | {"method": "chance", "value": row["chance"], "ci_low": None, "ci_high": None})
    for row in likeness.to_dict("records"):
        metric = {"ROUGE-L": "rouge_l", "cosine": "cosine"}[row["measure"]]
        who = method if row["against"] == "own reference" else "chance"
        entry = common | {"method": who, "setting": "description against the released one", "metric": metric}
        rows.append(entry | {name: row[name] for name in ("value", "ci_low", "ci_high")} | {"n": int(row["n"])})
    return rows
