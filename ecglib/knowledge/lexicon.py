"""Text to folded tokens, and the phrases of the knowledge base as a trie over them.

Folding makes one spelling of many: case, umlauts, plural s, cart abbreviations («abnrm», «2nd», «w/»), hyphens,
«PVC(s)», British spelling. Each token keeps the place it came from, so that whatever is found stands in the text.
"""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

from ecglib.knowledge.files import load

# Words, ratios such as «2:1», signs that end or join; a decimal point ends no sentence. «R'» is a wave of its own.
_TOKEN = re.compile(r"\([sSnN]\)|\d+:\d+|\d+(?:[.,]\d+)+|[rR]'(?!\w)|[^\W_]+|\n|[^\w\s]")
_PASSED = frozenset(",+:/")  # signs that a phrase may hold
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "a"})
_SILENT = frozenset(["-", "(", ")", "'", '"', "(s)", "(n)", "*", "_", "`"])
_LONGEST = 60  # longer words are none of ours, and need no folding
STOPS = frozenset(".;!\n")


class Token(NamedTuple):
    """A folded word or sign and the half-open range of the text it stands for."""

    text: str
    start: int
    end: int


@cache
def grammar() -> dict:
    """The content of grammar.json: spellings, sites, cues of negation and doubt, German synonyms."""
    return load("grammar")


@cache
def _aliases() -> dict[str, str]:
    return {_plain(spelling): word for word, others in grammar()["aliases"].items() for spelling in others}


def _plain(word: str) -> str:
    word = unicodedata.normalize("NFKC", word).casefold().translate(_UMLAUTS)
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


@cache
def _fold(word: str) -> str:
    word = _plain(word)
    if word in _aliases():
        return _aliases()[word]
    if len(word) > 3 and word.endswith("ies"):
        word = word[:-3] + "y"
    elif len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is", "as", "os")):
        word = word[:-1]
    return _aliases().get(word, word)


@cache
def _joined() -> dict[str, list[tuple[tuple[str, ...], str]]]:
    table: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    for word, parts in grammar()["joined"].items():
        for part in parts:
            table.setdefault(part[0], []).append((tuple(part), word))
    return {first: sorted(found, key=lambda item: -len(item[0])) for first, found in table.items()}


@cache
def _abbreviations() -> frozenset[str]:
    return frozenset(grammar()["abbreviations"])


@cache
def _dropped() -> frozenset[str]:
    return frozenset(grammar()["dropped"])


def tokens(text: str) -> list[Token]:
    """Folded tokens of ``text``, in order; articles, copulas, hyphens, brackets and «(s)» are left out."""
    raw: list[Token] = []
    for found in _TOKEN.finditer(text.replace("’", "'")):
        word = _fold(found.group()) if len(found.group()) <= _LONGEST else "_"
        if word == "." and raw and raw[-1].text in _abbreviations() and raw[-1].end == found.start():
            continue
        if word and word not in _SILENT:
            raw.append(Token(word, found.start(), found.end()))
    out, at = [], 0
    while at < len(raw):
        for parts, word in _joined().get(raw[at].text, ()):
            found, end = _parts_at(raw, at, parts)
            if found:
                out.append(Token(word, raw[at].start, raw[end - 1].end))
                at = end
                break
        else:
            if raw[at].text not in _dropped():
                out.append(raw[at])
            at += 1
    return out


def _parts_at(raw: list[Token], at: int, parts: tuple[str, ...]) -> tuple[bool, int]:
    """Do the parts stand here, with full stops allowed between single letters («I.V.»)?"""
    for k, part in enumerate(parts):
        if k and len(part) == 1 and at < len(raw) and raw[at].text == ".":
            at += 1
        if at >= len(raw) or raw[at].text != part:
            return False, at
        at += 1
    if len(parts[-1]) == 1 and at < len(raw) and raw[at].text == "." and raw[at - 2].text == ".":
        at += 1
    return True, at


class Trie:
    """Phrases over folded tokens; :meth:`longest` finds the longest one that starts at a place."""

    def __init__(self) -> None:
        self.root: dict = {}
        self.depth = 0

    def add(self, text: str, value) -> None:
        """Add a phrase; the first value given to a phrase stays."""
        key = [token.text for token in tokens(text) if token.text not in _PASSED | STOPS]
        node = self.root
        for word in key:
            node = node.setdefault(word, {})
        node.setdefault(None, value)
        self.depth = max(self.depth, len(key))

    def longest(self, words: list[Token], at: int) -> tuple[object, int]:
        """(value, index after the phrase), or (None, at); signs such as commas inside a phrase are passed over."""
        node, best, end = self.root, None, at
        for k in range(at, min(len(words), at + 2 * self.depth)):
            word = words[k].text
            if word in node:
                node = node[word]
            elif k == at or word not in _PASSED:
                break
            if None in node and word not in _PASSED:
                best, end = node[None], k + 1
        return best, end
