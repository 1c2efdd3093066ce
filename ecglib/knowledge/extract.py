"""Entities of the knowledge base in free text, with negation and doubt, by longest match over folded words.

Cart statements are short and formulaic, which is why rules reach far here; how far is measured in
:mod:`ecglib.knowledge.measure`. Three steps, each linear in the length of the text:

1. the longest phrase that starts at a word wins; its words are used up;
2. infarction, injury and ischemia take their site from the words before («inferior and lateral infarct»), from
   leads named after («ischemia, inferior leads»), or from the ST or T finding they explain;
3. a cue makes the next entity negated or uncertain, and those joined to it by «or», «and», «/»; cues that stand
   behind («cannot be excluded», «is no longer present») reach back in the same way.

Of «A or B», B is uncertain: the cart itself puts it second («PVCs or aberrant ventricular conduction»).
"""

from dataclasses import dataclass
from functools import cache

from ecglib.errors import ParameterError
from ecglib.knowledge.files import load
from ecglib.knowledge.lexicon import STOPS, Token, Trie, grammar, tokens
from ecglib.knowledge.scope import Item, judge, place
from ecglib.knowledge.vocabulary import spellings, synonyms, table

STATUSES = ("present", "negated", "uncertain")


@dataclass(frozen=True)
class Mention:
    """One entity in a text: ``text`` is ``source[start:end]``; ``status`` is one of :data:`STATUSES`."""

    code: str
    name: str
    start: int
    end: int
    text: str
    status: str


@cache
def _phrases(extra: tuple[tuple[str, str], ...] = ()) -> Trie:
    """All phrases: cues first, then entities (curated synonyms before others), then foreign ones and sites."""
    cues: dict[str, list[str]] = {}
    for kind, patterns in grammar()["cues"].items():
        for pattern in patterns:
            for phrase in spellings(pattern):
                cues.setdefault(phrase, []).append(kind)
    trie = Trie()
    for phrase, kinds in cues.items():
        trie.add(phrase, ("cue", frozenset(kinds)))
    for phrase, code in _codes_of_phrases():
        trie.add(phrase, ("entity", code))
    for phrase, name in extra:
        trie.add(phrase, ("entity", name))
    for site, words in grammar()["sites"].items():
        for word in words:
            trie.add(word, ("site", frozenset(site.split("+"))))
    return trie


def _codes_of_phrases():
    for code, entry in load("vocabulary")["entities"].items():
        for pattern in (*entry["synonyms"], *grammar()["german"].get(code, ())):
            yield from ((phrase, code) for phrase in spellings(pattern))
    for code in table():
        yield from ((phrase, code) for phrase in synonyms(code))


def _sentences(words: list[Token], trie: Trie) -> list[list[Item]]:
    out, at = [[]], 0
    while at < len(words):
        value, after = trie.longest(words, at)
        if value:
            kind, what = value
            out[-1].append(Item(kind, what, words[at].start, words[after - 1].end))
            at = after
        else:
            if words[at].text in STOPS:
                out.append([])
            else:
                out[-1].append(Item("word", words[at].text, words[at].start, words[at].end))
            at += 1
    return [sentence for sentence in out if sentence]


_ARTERY = frozenset("occlusion territory artery lesion stenosis distribution".split())


def _is_artery(sentence: list[Item], at: int, text: str) -> bool:
    """«LAD» is the left anterior descending artery behind an infarction or before «territory» and the like."""
    if text.upper() != "LAD":
        return False
    before = [item for item in sentence[max(0, at - 3) : at] if item.kind == "entity"]
    after = sentence[at + 1].value if at + 1 < len(sentence) else ""
    infarcts = load("vocabulary")["tables"]["infarct"].values()
    return after in _ARTERY or any(code in infarcts for item in before for code in item.codes)


def extract(text: str, extra: tuple[tuple[str, str], ...] = ()) -> list[Mention]:
    """All entities of ``text`` in order of appearance, contradictory ones included; ParameterError if not a str.

    extra: further (phrase, name) pairs, found where no phrase of the knowledge base stands; the name is their code.
    """
    if not isinstance(text, str):
        raise ParameterError(f"extract takes a text, not {type(text).__name__}; give one report as a str")
    out = []
    for sentence in _sentences(tokens(text), _phrases(extra)):
        place(sentence)
        judge(sentence)
        for at, item in enumerate(sentence):
            if item.kind == "entity" and not _is_artery(sentence, at, text[item.start : item.end]):
                for code in item.codes:
                    name = table()[code].name if code in table() else code
                    out.append(Mention(code, name, item.start, item.end, text[item.start : item.end], item.status))
    return out
