"""The tracings that a reader gets most wrong, on clinical paper, with what is written of them and what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from ecglib import figures
from ecglib.data.labels import FINDINGS
from ecglib.run import Run
from ecglib.statement_scores import Questions, Scored

FALSE_ALARM, MISSED = "false alarm", "missed"
SAID = 5  # statements shown


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
    """Draw the worst mistakes over the statements that were scored, each below its words; returns them as a table."""
    found = worst(scored.of, probabilities, scored.table["code"].tolist(), n)
    for number, mistake in enumerate(found, 1):
        fig = drawn(scored.of, mistake)
        run.save_figure(fig, f"mistake_{number}")
        display(Markdown(in_words(scored.of, mistake)), figures.show(fig))
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
        ]
    )
    run.save_table(table, "mistakes")
    return table


def drawn(of: Questions, mistake: Mistake) -> Any:
    """One mistake on clinical paper, without words: on a phone those of a picture are too small to read."""
    return figures.plot_ecg(of.store.read([mistake.row])[0], of.store.sampling_rate_hz)


def in_words(of: Questions, mistake: Mistake) -> str:
    """What was written of the record and what the reader says, in Markdown."""

    def percent(p: float) -> str:
        return f"{100 * p:.0f}\u00a0%"  # a number and its sign stay on one line

    written = ", ".join(FINDINGS[code] for code in mistake.labels) or "none"
    said = ", ".join(f"{FINDINGS[code]} {percent(p)}" for code, p in mistake.ranked)
    return (
        f"**{mistake.kind.capitalize()}: {FINDINGS[mistake.code]}, {percent(mistake.probability)}.** "
        f"{of.name[0].upper()}{of.name[1:]}, record {mistake.id}. Written: {written}. The reader's first statements: "
        f"{said}."
    )
