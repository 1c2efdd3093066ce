"""What a paper says about itself: ``<stem>.toml`` beside its code, read into objects that tables are made of."""

import tomllib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Card:
    """Where a newcomer finds a paper's parts. Paths count from the project's root; a test holds them true."""

    stem: str
    title: str
    citation: str  # key of its entry in bibtex
    bibtex: str  # its BibTeX entry, and those of its later versions
    adds: str  # what the paper adds, in one sentence
    method: str  # files
    loss: str
    ecg_encoder: str
    text_encoder: str
    pretraining_data: str
    evaluations: tuple[str, ...]
    notebooks: tuple[str, ...]
    exhibits: tuple[str, ...]  # those that the notebooks here regenerate


@dataclass(frozen=True)
class Deviation:
    """One place where print is open, contradictory or not what was run."""

    where: str  # equation, section or table
    printed: str
    released: str
    here: str
    switch: str = ""  # the argument that chooses another reading


def read_record(paper_file: str) -> tuple[Card, tuple[Deviation, ...]]:
    """Card and deviations from the ``.toml`` beside a paper's ``.py``. Unknown or missing keys raise TypeError."""
    path = Path(paper_file).with_suffix(".toml")
    record = tomllib.loads(path.read_text(encoding="utf-8"))
    card = {k: tuple(v) if isinstance(v, list) else v for k, v in record["card"].items()}
    return Card(stem=path.stem, **card), tuple(Deviation(**entry) for entry in record["deviation"])
