"""Cardiac entities mined from a corpus of reports (K-MERL, section 3.4): extract, verify, merge, aggregate.

The paper asks Llama3.1-70B for the «positive cardiac-related entities» of each report, asks again whether each is
there and positive (341 unique names), has names of one meaning merged (252), and superclasses detected (25), which
makes 277 entities; the label vector of a report has a 1 for each entity that is present and positive.

Here each step has two ways: the knowledge base (the default, offline, exact) or a language model given as
``ask(prompt) -> answer``, with the paper's prompts. A model's answer is never trusted alone: a name must stand in the
report, outside any negation, whatever the model says, and an answer that cannot be parsed is counted, not guessed at.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ecglib.errors import ParameterError
from ecglib.knowledge.entity_table import NOT_CARDIAC, EntityTable, with_superclasses
from ecglib.knowledge.extract import extract
from ecglib.knowledge.files import load
from ecglib.knowledge.lexicon import tokens
from ecglib.knowledge.vocabulary import table

# Paper, section 3.4, word for word.
ASK_ENTITIES = (
    "Please extract all positive Cardiac-related Entities from the given ECG report. "
    "Output format is [Entity1, Entity2, ...]"
)
ASK_VERIFY = (
    "Please verify the extracted cardiac-related entities as existing and positive in the given report. "
    "Output format is YES or NO"
)
ASK_MERGE = (
    "Please merge the cardiac-related entities that have the same semantics but different expressions. "
    "Here are {names}. Output format is JSON, where the key is the original name and the value is the merged name."
)
ASK_SUPERCLASSES = (
    "Please detect all the superclasses present in {names}. Output format is JSON, where the key is the superclass "
    "name and the values are the cardiac-related entities that belong to this superclass."
)
PAPER_COUNTS = {"extracted": 341, "merged": 252, "superclasses": 25, "entities": 277}  # section 3.4
Ask = Callable[[str], str]
Embed = Callable[[list[str]], np.ndarray]


def merge_by_similarity(counts: Counter, embed: Embed, threshold: float = 0.95) -> dict[str, str]:
    """Name -> the more frequent name it means the same as, by cosine of embeddings (E, D) above ``threshold``.

    Names are visited from the most frequent down (ties by alphabet); each joins the nearest representative so far.
    0.95 is the similarity at which the paper takes two names for the same (section 4.2, for classes).
    """
    names = sorted(counts, key=lambda name: (-counts[name], name))
    vectors = np.asarray(embed(names), dtype=np.float64)
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    kept: list[int] = []
    merged: dict[str, str] = {}
    for k, name in enumerate(names):
        cosines = vectors[kept] @ vectors[k] if kept else np.zeros(0)
        if len(kept) and cosines.max() > threshold:
            merged[name] = names[kept[int(cosines.argmax())]]
        else:
            kept.append(k)
            merged[name] = name
    return merged


def mine(
    reports: Iterable[str],
    ask: Ask | None = None,
    embed: Embed | None = None,
    threshold: float = 0.95,
    min_count: int = 1,
    uncertain: str = "absent",
) -> EntityTable:
    """The entities of a corpus, by the four steps of the paper; ``stages`` of the table counts what each step left.

    ask: a language model, or None for the knowledge base; embed: texts -> (E, D) vectors, merges further names whose
    cosine is above ``threshold``; min_count: distinct reports that must name an entity.
    """
    distinct = list(dict.fromkeys(report for report in reports if report.strip()))
    if not distinct:
        raise ParameterError("reports is empty; mining needs at least one report with text")
    stages: Counter = Counter(reports=len(distinct))
    counts: Counter = Counter()  # name as written -> reports
    known: dict[str, str] = {}  # name as written -> name of the knowledge base
    for report in distinct:
        names = _by_model(report, ask, stages) if ask else _by_knowledge(report, known, uncertain)
        counts.update(set(names))
    counts = Counter({name: n for name, n in counts.items() if n >= min_count})
    if not counts:
        raise ParameterError(f"none of the {len(distinct)} reports names an entity at least {min_count} times")
    stages["extracted"] = len(counts)
    merged = _merged_by_model(counts, ask, stages) if ask else {name: known.get(name, name) for name in counts}
    merged = {name: _of_knowledge(target) or target for name, target in merged.items()}
    if embed:
        merged_counts: Counter = Counter()
        for name, target in merged.items():
            merged_counts[target] += counts[name]
        closer = merge_by_similarity(merged_counts, embed, threshold)
        merged = {name: closer[target] for name, target in merged.items()}
    targets = sorted(set(merged.values()), key=lambda name: (_rank(name), name))
    stages["merged"] = len(targets)
    parents = {name: _superclass_of(name) for name in targets}
    if ask:
        parents |= _parents_by_model([name for name in targets if not parents[name]], ask, stages)
    found = with_superclasses(parents, "model" if ask else "knowledge", uncertain=uncertain)
    stages["superclasses"], stages["entities"] = len(found.superclasses), len(found.entities)
    spellings = {_of_knowledge(name) or name: target for name, target in merged.items() if name != target}
    spellings = {name: target for name, target in spellings.items() if name != target}
    return replace(found, spellings=spellings, stages=dict(stages))


def _by_knowledge(report: str, known: dict[str, str], uncertain: str) -> list[str]:
    """Names as written; a site that stands apart from its head is put before it, so that names differ as they mean."""
    out = []
    for mention in extract(report):
        if mention.status == "present" or (mention.status == "uncertain" and uncertain == "present"):
            if table()[mention.code].superclass in {load("vocabulary")["superclasses"][c] for c in NOT_CARDIAC}:
                continue
            written = " ".join(mention.text.lower().split())
            if _of_knowledge(written) != mention.name:
                written = mention.name
            known[written] = mention.name
            out.append(written)
    return out


def _by_model(report: str, ask: Ask, stages: Counter) -> list[str]:
    answer = re.search(r"\[(.*?)\]", ask(f"{ASK_ENTITIES}\n\nECG report: {report}"), re.DOTALL)
    if not answer:
        stages["unreadable_answers"] += 1
        return []
    out = []
    for name in dict.fromkeys(part.strip(" \"'\n").lower() for part in answer.group(1).split(",")):
        if not tokens(name) or len(name) > 120:
            continue
        stages["proposed"] += 1
        found = [m for m in extract(report, ((name, name),)) if m.code == name or _of_knowledge(name) == m.name]
        if not any(mention.status == "present" for mention in found):
            stages["not_in_report"] += 1
        elif not ask(f"{ASK_VERIFY}\n\nECG report: {report}\n\nEntity: {name}").strip().upper().startswith("YES"):
            stages["not_verified"] += 1
        else:
            out.append(name)
    return out


def _json_of(answer: str, stages: Counter) -> dict:
    found = re.search(r"\{.*\}", answer, re.DOTALL)
    try:
        content = json.loads(found.group()) if found else None
    except ValueError:
        content = None
    if not isinstance(content, dict):
        stages["unreadable_answers"] += 1
        return {}
    return content


def _merged_by_model(counts: Counter, ask: Ask, stages: Counter) -> dict[str, str]:
    """Merges may only lead to names that were extracted: a model invents no entity."""
    said = _json_of(ask(ASK_MERGE.format(names=sorted(counts))), stages)
    merged = {name: said.get(name, name) for name in counts}
    merged = {name: target.lower() if isinstance(target, str) else name for name, target in merged.items()}
    return {name: target if target in counts or _of_knowledge(target) else name for name, target in merged.items()}


def _parents_by_model(names: list[str], ask: Ask, stages: Counter) -> dict[str, str]:
    if not names:
        return {}
    out: dict[str, str] = {}
    for parent, members in _json_of(ask(ASK_SUPERCLASSES.format(names=names)), stages).items():
        for member in members if isinstance(members, list) else ():
            if member in names and parent.strip():
                out.setdefault(member, parent.strip().lower())
    return out


def _of_knowledge(name: str) -> str:
    """The entity that a name is a synonym of, as a whole; "" when the knowledge base does not know it."""
    found = extract(name)
    words = tokens(name)
    if len(found) == 1 and words and found[0].start == words[0].start and found[0].end == words[-1].end:
        return found[0].name
    return ""


def _superclass_of(name: str) -> str:
    for entity in table().values():
        if entity.name == name:
            return entity.superclass
    return ""


def _rank(name: str) -> int:
    """Place in the vocabulary; names it does not hold come after."""
    return next((k for k, entity in enumerate(table().values()) if entity.name == name), len(table()))
