"""What a sentence says of its entities: the site of an infarction, and whether it is stated, denied or doubted.

A sentence comes as items: phrases of the knowledge base (entities, sites, cues) and the single words between them.
"""

from dataclasses import dataclass
from functools import cache

from ecglib.knowledge.files import load
from ecglib.knowledge.lexicon import grammar

_REACH = 10  # words between a cue and its entity
_WINDOW = 80  # items that a cue reaches over at most; keeps long texts linear
_LINKS = frozenset({"and", "or", "+", "nor", "&"})


@dataclass
class Item:
    """A phrase or a single word of a sentence; entities carry their codes, sites and status."""

    kind: str  # entity, cue, site or word
    value: object
    start: int
    end: int
    codes: tuple[str, ...] = ()
    sites: frozenset[str] = frozenset()
    status: str = "present"


@cache
def _roles() -> tuple[dict[str, str], frozenset[str], frozenset[str], frozenset[str]]:
    entries = load("vocabulary")["entities"]
    heads = {code: entry["head"] for code, entry in entries.items() if "head" in entry}
    sited = frozenset(code for code, entry in entries.items() if entry.get("sited"))
    return heads, sited, frozenset(grammar()["fillers"]), frozenset(grammar()["breakers"])


def place(sentence: list[Item]) -> None:
    """Give infarction, injury and ischemia the codes of their site; see step 2 above."""
    heads, sited, fillers, _ = _roles()
    pending: frozenset[str] = frozenset()
    begin = 0  # where the words of the pending site begin
    behind = frozenset()  # site of the last ST, T or Q finding, or of the head just before
    open_heads: list[Item] = []
    for item in sentence:
        if item.kind == "entity" and pending and item.value in _sited_phrases():  # «inferior and lateral infarct»
            item.value, sites = _sited_phrases()[item.value]
            pending |= sites
        if item.kind == "site":
            begin = begin if pending else item.start
            pending |= item.value
        elif item.kind == "entity" and (item.value in heads or item.value in sited):
            if pending:
                item.sites = behind = pending
                item.start = begin if item.value in heads else item.start
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


def judge(sentence: list[Item]) -> None:
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
        # «Infarct? LVH» and «? LVH»: a question mark belongs to the word it touches.
        touches = item.end - item.start == 1 and at > 0 and sentence[at - 1].end == item.start
        ends = (
            touches
            or not following
            or (following.kind == "word" and (following.value == "," or following.value[0].isdigit()))
        )
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


def _between(sentence: list[Item], a: int, b: int) -> list[str]:
    """The words between two entities without fillers and sites; long gaps are cut, they match nothing."""
    fillers = _roles()[2]
    gap = [item for item in sentence[a + 1 : min(b, a + 6)] if item.kind == "word"]
    return [str(item.value) for item in gap if item.value == "or" or item.value not in fillers]


def _list_commas(sentence: list[Item]) -> set[int]:
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


def _forward(sentence: list[Item], at: int, commas: set[int] | None) -> list[int]:
    """Entities that a cue at ``at`` speaks of; ``commas`` is given for negations, which «and» ends."""
    breakers, out, linked, gap = _roles()[3], [], True, 0
    for k in range(at + 1, min(at + _WINDOW, len(sentence))):
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


def _backward(sentence: list[Item], at: int) -> list[int]:
    """Entities that a cue behind them speaks of: the last one, and those joined to it."""
    breakers, out, linked, gap = _roles()[3], [], True, 0
    for k in range(at - 1, max(-1, at - _WINDOW), -1):
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
