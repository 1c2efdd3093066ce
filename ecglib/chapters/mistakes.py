"""The tracings that a reader gets most wrong, on clinical paper, with what is written of them and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import display

from ecglib import figures
from ecglib.data.labels import FINDINGS
from ecglib.run import Run
from ecglib.statement_scores import Questions, Scored

FALSE_ALARM, MISSED = "false alarm", "missed"
SAID = 5  # statements shown
WORDS = ("record", "mistake", "statement", "written", "the reader's first statements")  # columns of `show`


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: the record's row, the statement, its probability, all labels, and the statements ranked first.

    ``kind``: `FALSE_ALARM` (said with high probability, not written) or `MISSED` (written, low probability).
    """

    kind: str
    row: int
    id: str
    code: str
    probability: float
    labels: tuple[str, ...]
    ranked: tuple[tuple[str, float], ...]


def worst(of: Questions, probabilities: np.ndarray, codes: Sequence[str], n: int = 2) -> list[Mistake]:
    """The ``n`` most probable false alarms, then the ``n`` least probable statements that are written.

    Args:
        probabilities: (N, C) of all the reader's statements.
        codes: those that count; one with few records says little about the reader.

    Each record and each statement comes once only, so that one systematic mistake does not fill the list.
    """
    counted = np.isin(of.codes, list(codes))[None] & of.known
    alarms = np.where(counted & ~of.labels, probabilities, -np.inf)
    misses = np.where(counted & of.labels, -probabilities, -np.inf)
    found, seen = [], set()
    for kind, degree in ((FALSE_ALARM, alarms), (MISSED, misses)):
        of_kind = 0
        for flat in np.argsort(-degree, axis=None, kind="stable"):
            row, column = np.unravel_index(flat, degree.shape)
            if of_kind == n or not np.isfinite(degree[row, column]):
                break
            if {("row", row), (kind, column)} & seen:
                continue
            seen |= {("row", row), (kind, column)}
            of_kind += 1
            found.append(_mistake(kind, int(row), int(column), of, probabilities[row]))
    return found


def _mistake(kind: str, row: int, column: int, of: Questions, probabilities: np.ndarray) -> Mistake:
    first = np.argsort(-probabilities, kind="stable")[:SAID]
    return Mistake(
        kind,
        row,
        str(of.store.records["id"].iloc[row]),
        of.codes[column],
        float(probabilities[column]),
        tuple(code for code, true in zip(of.codes, of.labels[row], strict=True) if true),
        tuple((of.codes[c], float(probabilities[c])) for c in first),
    )


def show(run: Run, scored: Scored, probabilities: np.ndarray, n: int = 2) -> pd.DataFrame:
    """Draw the worst mistakes over the statements that were scored; returns them as a table."""
    found = worst(scored.of, probabilities, scored.table["code"].tolist(), n)
    for number, mistake in enumerate(found, 1):
        fig = drawn(scored.of, mistake)
        run.save_figure(fig, f"mistake_{number}")
        display(figures.show(fig))
    table = pd.DataFrame(
        [
            {
                "record": m.id,
                "mistake": m.kind,
                "statement": FINDINGS[m.code],
                "probability, %": f"{100 * m.probability:.0f}",
                "written": ", ".join(m.labels) or "none",
                "the reader's first statements": ", ".join(code for code, _ in m.ranked),
            }
            for m in found
        ],
        columns=[*WORDS[:3], "probability, %", *WORDS[3:]],
    )
    run.save_table(table, "mistakes")
    return table


def drawn(of: Questions, mistake: Mistake) -> Any:
    """One mistake on clinical paper."""
    title = f"{mistake.kind}: {FINDINGS[mistake.code]}, {100 * mistake.probability:.0f} %"
    written = ", ".join(mistake.labels) or "none"
    said = ", ".join(f"{code} {100 * p:.0f} %" for code, p in mistake.ranked)
    text = f"{of.name}, record {mistake.id}. Written: {written}. The reader's first statements: {said}."
    ecg_mv = of.store.read([mistake.row])[0]
    return figures.plot_ecg(ecg_mv, of.store.sampling_rate_hz, title=title[0].upper() + title[1:], report=text)
