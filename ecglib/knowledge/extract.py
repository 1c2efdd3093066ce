"""Entities of the knowledge base in free text, with negation and doubt, by longest match over folded words.

Cart statements are short and formulaic, which is why rules reach far here (README of the measurement:
``ecglib.knowledge.measure``). Three steps, each linear in the length of the text:

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
from ecglib.knowledge.vocabulary import spellings, synonyms, table

STATUSES = ("present", "negated", "uncertain")
_REACH = 10  # words between a cue and its entity
_LINKS = frozenset({"and", "or", "+", "nor", "&"})


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


@dataclass
class _Item:
    """A phrase or a single word of a sentence; entities carry their codes, sites and status."""

    kind: str  # entity, cue, site or word
    value: object
    start: int
    end: int
    codes: tuple[str, ...] = ()
    sites: frozenset[str] = frozenset()
    status: str = "present"


def _sentences(words: list[Token], trie: Trie) -> list[list[_Item]]:
    out, at = [[]], 0
    while at < len(words):
        value, after = trie.longest(words, at)
        if value:
            kind, what = value
            out[-1].append(_Item(kind, what, words[at].start, words[after - 1].end))
            at = after
        else:
            if words[at].text in STOPS:
                out.append([])
            else:
                out[-1].append(_Item("word", words[at].text, words[at].start, words[at].end))
            at += 1
    return [sentence for sentence in out if sentence]


@cache
def _roles() -> tuple[dict[str, str], frozenset[str], frozenset[str], frozenset[str]]:
    entries = load("vocabulary")["entities"]
    heads = {code: entry["head"] for code, entry in entries.items() if "head" in entry}
    sited = frozenset(code for code, entry in entries.items() if entry.get("sited"))
    return heads, sited, frozenset(grammar()["fillers"]), frozenset(grammar()["breakers"])


def _place(sentence: list[_Item]) -> None:
    """Give infarction, injury and ischemia the codes of their site; see step 2 above."""
    heads, sited, fillers, _ = _roles()
    pending: frozenset[str] = frozenset()
    behind = frozenset()  # site of the last ST, T or Q finding, or of the head just before
    open_heads: list[_Item] = []
    for item in sentence:
        if item.kind == "entity" and pending and item.value in _sited_phrases():  # «inferior and lateral infarct»
            item.value, sites = _sited_phrases()[item.value]
            pending |= sites
        if item.kind == "site":
            pending |= item.value
        elif item.kind == "entity" and (item.value in heads or item.value in sited):
            if pending:
                item.sites = behind = pending
                open_heads = []
            if item.value in heads and not item.sites:
                item.sites = behind
            if not pending or item.value in sited:
                open_heads.append(item)
            pending = frozenset()
        elif item.kind == "entity":
            item.codes, pending = (item.value,), frozenset()
        elif item.value in ("lead", "wall") and pending:
            for head in open_heads:
                head.sites = pending
            behind, pending, open_heads = pending, frozenset(), []
        elif item.kind == "word" and item.value not in fillers and item.value not in ",/+":
            pending = frozenset()
    for item in sentence:
        if item.kind == "entity" and not item.codes:
            item.codes = _coded(item.value, item.sites) if item.value in heads else (item.value,)


@cache
def _sited_phrases() -> dict[str, tuple[str, frozenset[str]]]:
    """Code of an infarction, injury or ischemia at a site -> the code without a site, and the site."""
    plain = {"infarct": "MI", "injury": "INJ", "ischemia": "ISC"}
    tables = load("vocabulary")["tables"]
    return {
        code: (plain[head], frozenset(key.split("+")))
        for head, codes in tables.items()
        for key, code in reversed(codes.items())
    }


@cache
def _coded(code: str, sites: frozenset[str]) -> tuple[str, ...]:
    """Codes of a head at its sites: the largest entries of the table first, until every site is spoken for."""
    codes = load("vocabulary")["tables"][_roles()[0][code]]
    if len(sites) > 1:
        sites = sites - {"extensive"}
    left, out = set(sites), []
    for key in sorted(codes, key=lambda key: (-len(key.split("+")), key)):
        parts = set(key.split("+"))
        if parts <= sites and parts & left:
            out.append(codes[key])
            left -= parts
    return tuple(out) or (code,)


def _judge(sentence: list[_Item]) -> None:
    """Set the status of the entities that cues reach; see step 3 above. A negation outweighs a doubt."""
    found: dict[int, str] = {}
    commas = _list_commas(sentence)
    for at, item in enumerate(sentence):
        if item.kind != "cue" or "neutral" in item.value:
            continue
        following = sentence[at + 1] if at + 1 < len(sentence) else None
        before = sorted(kind for kind in item.value if kind.endswith("before"))
        after = sorted(kind for kind in item.value if kind.endswith("after"))
        if "age_doubt" in item.value:  # «probable old inferior infarct», but «inferior infarct, probably old»
            before = ["uncertain_before"] if following and following.kind in ("site", "entity") else []
        ends = not following or (following.kind == "word" and (following.value == "," or following.value[0].isdigit()))
        if after and (ends or not before):
            reached = _backward(sentence, at)
            status = after[0]
        else:
            status = before[0] if before else ""
            reached = _forward(sentence, at, commas if status.startswith("neg") else None) if before else []
        for k in reached:
            if found.get(k) != "negated":
                found[k] = status.split("_")[0]
    for k, status in found.items():
        sentence[k].status = status
    last = None
    for k, item in enumerate(sentence):
        if item.kind == "entity":
            if last is not None and _between(sentence, last, k) == ["or"] and item.status == "present":
                item.status = "uncertain"
            last = k


def _between(sentence: list[_Item], a: int, b: int) -> list[str]:
    """The words between two entities without fillers and sites; long gaps are cut, they match nothing."""
    fillers = _roles()[2]
    gap = [item for item in sentence[a + 1 : min(b, a + 6)] if item.kind == "word"]
    return [str(item.value) for item in gap if item.value == "or" or item.value not in fillers]


def _list_commas(sentence: list[_Item]) -> set[int]:
    """Commas of an enumeration that ends in «or»: «no ST elevation, Q waves or LVH»."""
    out, pending = set(), []
    for at, item in enumerate(sentence):
        if item.kind == "word" and item.value == ",":
            pending.append(at)
        elif item.kind == "word" and item.value in ("or", "nor"):
            out.update(pending)
            pending = []
        elif item.kind == "cue" or (item.kind == "word" and item.value in _roles()[3]):
            pending = []
    return out


def _forward(sentence: list[_Item], at: int, commas: set[int] | None) -> list[int]:
    """Entities that a cue at ``at`` speaks of; ``commas`` is given for negations, which «and» ends."""
    breakers, out, linked, gap = _roles()[3], [], True, 0
    for k in range(at + 1, len(sentence)):
        item = sentence[k]
        if item.kind == "entity":
            if not linked:
                break
            out.append(k)
            linked, gap = False, 0
        elif item.kind == "site" or (item.kind == "cue" and not out):
            continue
        elif item.kind == "cue" or item.value in breakers:
            break
        elif item.value == ",":
            if commas is None or k not in commas or not out:
                break
            linked = True
        elif item.value in _LINKS or item.value == "/":
            if out and commas is not None and item.value in ("and", "+", "&"):
                break
            linked = True
        elif (gap := gap + 1) > _REACH or (out and not linked and item.value not in _roles()[2] | {"lead"}):
            break
    return out


def _backward(sentence: list[_Item], at: int) -> list[int]:
    """Entities that a cue behind them speaks of: the last one, and those joined to it."""
    breakers, out, linked, gap = _roles()[3], [], True, 0
    for k in range(at - 1, -1, -1):
        item = sentence[k]
        if item.kind == "entity":
            if not linked:
                break
            out.append(k)
            linked, gap = False, 0
        elif item.kind == "site":
            continue
        elif item.kind == "cue":
            if out or not item.value & {"neutral", "age_doubt"}:
                break
        elif item.value in breakers or (item.value == "," and (k != at - 1 or out)):
            break
        elif item.value in _LINKS or item.value == "/":
            linked = True
        elif item.value != "," and ((gap := gap + 1) > _REACH or (out and not linked)):
            break
    return out


_ARTERY = frozenset("occlusion territory artery lesion stenosis distribution".split())


def _is_artery(sentence: list[_Item], at: int, text: str) -> bool:
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
        _place(sentence)
        _judge(sentence)
        for at, item in enumerate(sentence):
            if item.kind == "entity" and not _is_artery(sentence, at, text[item.start : item.end]):
                for code in item.codes:
                    name = table()[code].name if code in table() else code
                    out.append(Mention(code, name, item.start, item.end, text[item.start : item.end], item.status))
    return out
