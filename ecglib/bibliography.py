"""The book's BibTeX file: the entries of the papers' cards and those of ``book/references.bib``, all others."""

import re
from pathlib import Path

from ecglib import papers
from ecglib.errors import ResultError

BY_HAND = Path("book/references.bib")
ENTRY = re.compile(r"^\s*@(?!comment|string|preamble)\w+\s*\{\s*([^\s,{}]+)\s*,", re.MULTILINE | re.IGNORECASE)


def keys(bibtex: str) -> list[str]:
    """The keys of all entries, in their order."""
    return ENTRY.findall(bibtex)


def bibliography(root: Path) -> str:
    """All entries as one BibTeX text, those of the papers first.

    Raises ResultError: ``book/references.bib`` is missing, a card cites an entry that it does not hold, or a key stands
    in two places.
    """
    path = root / BY_HAND
    if not path.is_file():
        raise ResultError(f"{path} is missing: it holds the entries that no card has; restore it from the repository")
    parts = {}
    for stem, (card, _) in papers.records().items():
        parts[f"ecglib/papers/{stem}.toml"] = card.bibtex
        if card.citation not in keys(card.bibtex):
            raise ResultError(
                f"ecglib/papers/{stem}.toml: citation = {card.citation!r}, but its bibtex has no entry of that key; "
                f"write it there, as in @article{{{card.citation}, ...}}"
            )
    parts[BY_HAND.as_posix()] = path.read_text(encoding="utf-8")
    _check_unique(parts)
    return "\n".join(f"% From {where}\n\n{text.strip()}\n" for where, text in parts.items())


def _check_unique(parts: dict[str, str]) -> None:
    first: dict[str, str] = {}
    for where, text in parts.items():
        for key in keys(text):
            if key in first:
                places = f"in {first[key]} and in {where}" if first[key] != where else f"twice in {where}"
                raise ResultError(f"the BibTeX entry {key!r} stands {places}; keep one of them")
            first[key] = where
