"""Whether words stand in a text: what answers of a language model are held against.

Words are compared as the knowledge base folds them (case, plural, hyphens, cart abbreviations), so «PR intervals» is
found in «Prolonged PR-interval», and every place that is found is a range of the text itself.
"""

import re
from decimal import Decimal

from ecglib.knowledge.entity_table import NOT_CARDIAC
from ecglib.knowledge.files import load
from ecglib.knowledge.lexicon import STOPS, Token, tokens
from ecglib.knowledge.vocabulary import table

MAX_SKIPPED = 3  # words that may be left out of a phrase: «ST changes» stands in «ST and T wave changes»
MAX_WORDS = 12  # longer phrases name no single thing
# A phrase may leave words out, but not these: «sinus rhythm without ectopy» does not speak of sinus ectopy.
_NEVER_SKIPPED = frozenset("no not without nor never absent absence excluded".split())
_NUMBER = re.compile(r"(?<![\w.,])\d+(?:[.,]\d+)?")
_WORD_WITH_NUMBER = re.compile(r"[A-Za-z]+\d+")
_LEAD = re.compile(r"V[1-6]", re.IGNORECASE)


def words_of(text: str) -> list[str]:
    """The folded words of a text, signs left out."""
    return [token.text for token in tokens(text) if token.text[0].isalnum()]


def places(phrase: str, text: str | list[Token]) -> list[tuple[int, int]]:
    """Half-open ranges of ``text`` in which ``phrase`` stands, word for word; else those with few words left out.

    A phrase keeps its order and never crosses the end of a sentence. [] when it does not stand there. ``text`` may be
    given as its tokens when many phrases are looked for.
    """
    wanted = [token.text for token in tokens(phrase) if token.text not in STOPS]
    if not 0 < len(wanted) <= MAX_WORDS or not any(word[0].isalnum() for word in wanted):
        return []
    found = tokens(text) if isinstance(text, str) else text
    starts = [at for at, token in enumerate(found) if token.text == wanted[0]]
    for skips in (0, MAX_SKIPPED):
        ends = [(at, _end(found, at, wanted, skips)) for at in starts]
        if hits := [(found[at].start, found[end].end) for at, end in ends if end >= 0]:
            return hits
    return []


def _end(found: list[Token], at: int, wanted: list[str], skips: int) -> int:
    """Place of the last word of ``wanted`` when it stands from ``at`` on, else -1."""
    for word in wanted[1:]:
        at += 1
        while at < len(found) and found[at].text != word:
            if found[at].text in STOPS or found[at].text in _NEVER_SKIPPED or skips == 0:
                return -1
            skips -= 1
            at += 1
        if at == len(found):
            return -1
    return at


def numbers(text: str) -> set[Decimal]:
    """The numbers of a text, so that 0.10 and «0,1» are one; digits inside words, like V1, are none."""
    return {Decimal(found.replace(",", ".")).normalize() for found in _NUMBER.findall(text)}


def odd_names(text: str) -> set[str]:
    """Words with a number in them that are no chest lead, in lower case: «V9», «SV1»."""
    return {word.lower() for word in _WORD_WITH_NUMBER.findall(text) if not _LEAD.fullmatch(word)}


def shared_words(text: str, source: str) -> float:
    """Share of the distinct words of ``text`` (three letters or more) that stand in ``source``; 0 without words."""
    words = {word for word in words_of(text) if len(word) >= 3 and word.isalpha()}
    return len(words & set(words_of(source))) / len(words) if words else 0.0


def is_cardiac(code: str) -> bool:
    """Whether an entity of the knowledge base speaks of the heart, and not of electrodes or the recording."""
    return table()[code].superclass not in {load("vocabulary")["superclasses"][group] for group in NOT_CARDIAC}
