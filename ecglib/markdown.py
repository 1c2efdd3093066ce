"""Small pieces of Markdown that the book's computed pages are made of."""

import re
from collections.abc import Mapping, Sequence

import pandas as pd

TASK_NAMES = {"average": "average", "ptbxl-super": "PTB-XL super", "ptbxl-sub": "PTB-XL sub",
              "ptbxl-form": "PTB-XL form", "ptbxl-rhythm": "PTB-XL rhythm", "cpsc2018": "CPSC2018", "csn": "CSN",
              "mimic-iv-ecg": "MIMIC-IV-ECG", "ptb-xl": "PTB-XL"}  # fmt: skip
DATA_KINDS = {"simulated": "simulated ECGs", "subset": "a part of the real records", "paper": "the paper's data"}


def escape(text: object) -> str:
    """Plain text for Markdown and for a cell of a table; pairs of backticks stay code."""
    parts = str(text).split("`")
    parts[::2] = [re.sub(r"([\\*$<>\[\]])", r"\\\1", part) for part in parts[::2]]
    return "`".join(parts).replace("|", r"\|").replace("\n", " ")


def symbols(text: str) -> str:
    """``z_e`` and ``SE_t`` with a subscript, ``tau`` as the letter; names such as ``free_layers`` stay."""
    return re.sub(r"\b([A-Z]{1,2}|[a-z])_([a-z])\b", r"\1<sub>\2</sub>", re.sub(r"\btau\b", "τ", text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """A Markdown table; ``align`` has one of ``l c r`` per column. Cells must be Markdown already."""
    rule = {"l": ":--", "c": ":-:", "r": "--:"}
    rules = [rule[a] for a in align.ljust(len(header), "l")]
    return "\n".join("| " + " | ".join(row) + " |" for row in [list(header), rules, *map(list, rows)])


def run_link(text: str, run_id: str) -> str:
    """A link to the run's section on the provenance page."""
    return f"{{ref}}`{text} <run-{run_id.lower()}>`"


def chapter_link(notebook: str, chapters: Mapping[tuple[str, str], str], dataset: str = "simulated") -> str:
    """A link to an executed chapter, on this data set where it has one, or the notebook's name if the book has none."""
    page = chapters.get((notebook, dataset)) or chapters.get((notebook, "simulated"))
    return f"{{doc}}`{notebook} </{page}>`" if page else f"`{notebook}`"


def interval(low: float | None, high: float | None) -> str:
    return "" if pd.isna(low) or pd.isna(high) else f'<br><small class="interval">{low:.1f}–{high:.1f}</small>'


def paper_name(stem: str) -> str:
    return stem.upper().replace("_", "-")


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
