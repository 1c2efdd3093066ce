"""How far generated reports are from real ones: statements produced word for word, vocabulary, hedges, repetition.

The references are lists of distinct statements of real carts. A list has no counts: rare statements weigh as much as
common ones. Statements are compared without case and punctuation. The generator's grammar was written with some real
statements in view; those stand apart («in view») from the others («held out»), on which it is judged: a statement is
in view when one of two bits, of the SHA-256 of its text and of its words, is even, which holds for three of four.
Nothing of a real text is kept.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ecglib.errors import ParameterError

HEDGES = re.compile(
    r"\b(possibl[ey]|probabl[ey]|prob|consider|cannot (rule out|be excluded)|suggests?|suggestive|borderline"
    r"|may be|could be|likely|consistent with|equivocal|or aberrant)\b"
)
_JUNK = re.compile(r"[^a-z0-9+/:' ]+|(?<!\d):|:(?!\d)|(?<!\w)'|(?<!r)'(?!\w)")
_SPLIT = re.compile(r"(?<!i\.v)\.\s+|\n", re.IGNORECASE)
_WORD = re.compile(r"[a-z]+")
PARTS = ("all", "in view", "held out")


def normalised(statement: str) -> str:
    """Lower case, no punctuation but «+», «/» and colons between digits, single spaces."""
    return " ".join(_JUNK.sub(" ", statement.lower()).split())


def statements_of(report: str) -> list[str]:
    """The normalised statements of a report whose statements end in a full stop; empty ones left out."""
    return [text for text in map(normalised, _SPLIT.split(report)) if text]


def held_out(statement: str) -> bool:
    """Whether the grammar was written without this real statement in view; see the module's head."""
    as_written, bare = (hashlib.sha256(text.encode()).digest() for text in (statement, _bare(statement)))
    return as_written[0] % 2 == 1 and bare[-1] % 2 == 1


def _bare(statement: str) -> str:
    """An older normal form, kept because :func:`held_out` must not move."""
    return " ".join(re.sub(r"[^a-z0-9+/:']+", " ", statement.lower().replace("r'", "rprime")).split())


@dataclass(frozen=True)
class TextGap:
    """Measures of :func:`text_gap`: ``table``, and what no real cart says with its count, most frequent first."""

    table: pd.DataFrame
    never_real: tuple[tuple[str, int], ...]


def text_gap(reports: Sequence[str], statements: Iterable[str]) -> TextGap:
    """What separates ``reports`` from real ``statements``.

    reports: generated reports, statements ended by full stops. statements: real statements, of which each counts once.
    The table has one row per part of the reference (all, in view, held out) and columns

    * n_statements: distinct normalised statements of the part,
    * word_for_word: percent of these that are produced,
    * vocabulary: percent of their words that are produced,
    * hedged: percent of these that hold a hedge,

    and the row «generated» with n_statements (distinct), word_for_word (percent of produced statements, counted as
    often as they occur, that are in the whole reference), vocabulary (percent of its words that the reference knows),
    hedged (of distinct ones), hedged_said (of all said), per_report, entropy_bits and zipf (exponent of frequency
    against rank, over the 200 commonest) of the statements. ParameterError when either list is empty.
    """
    given = set(statements)
    if not reports or not given:
        raise ParameterError(f"text_gap needs reports and statements; got {len(reports)} and {len(given)}")
    produced = Counter(text for report in reports for text in statements_of(report))
    if not produced:
        raise ParameterError("text_gap: no report holds a word")
    outside = {normalised(s) for s in given if held_out(s)} - {normalised(s) for s in given if not held_out(s)}
    real = {normalised(s) for s in given} - {""}
    members = {"all": real, "in view": real - outside, "held out": real & outside}
    rows = {part: _part(members[part], produced) for part in PARTS}
    rows["generated"] = _generated(produced, real, len(reports))
    frame = pd.DataFrame(rows).T.rename_axis("part")
    strange = [(text, n) for text, n in produced.most_common() if text not in real]
    return TextGap(frame, tuple(strange))


def _words(texts: Iterable[str]) -> set[str]:
    return {word for text in texts for word in _WORD.findall(text)}


def _percent(flags: Iterable[bool]) -> float:
    flags = list(flags)
    return 100 * float(np.mean(flags)) if flags else float("nan")


def _part(members: set[str], produced: Counter) -> dict[str, float]:
    known = _words(produced)
    return {
        "n_statements": len(members),
        "word_for_word": _percent(text in produced for text in members),
        "vocabulary": _percent(word in known for word in _words(members)),
        "hedged": _percent(bool(HEDGES.search(text)) for text in members),
    }


def _generated(produced: Counter, real: set[str], n_reports: int) -> dict[str, float]:
    counts = np.array(sorted(produced.values(), reverse=True), dtype=np.float64)
    shares, top = counts / counts.sum(), counts[:200]
    hedged, known_real = {text for text in produced if HEDGES.search(text)}, _words(real)
    steep = -np.polyfit(np.log(np.arange(1, len(top) + 1)), np.log(top), 1)[0] if len(top) > 1 else float("nan")
    return {
        "n_statements": len(produced),
        "word_for_word": 100 * sum(n for text, n in produced.items() if text in real) / counts.sum(),
        "vocabulary": _percent(word in known_real for word in _words(produced)),
        "hedged": 100 * len(hedged) / len(produced),
        "hedged_said": 100 * sum(produced[text] for text in hedged) / counts.sum(),
        "per_report": counts.sum() / n_reports,
        "entropy_bits": float(-(shares * np.log2(shares)).sum()),
        "zipf": float(steep),
    }
