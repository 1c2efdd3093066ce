"""Cardiac entities mined from a corpus of reports (K-MERL, section 3.4): extract, verify, merge, aggregate.

The paper asks Llama3.1-70B for the «positive cardiac-related entities» of each report, asks again whether each is
there and positive (341 unique names), has names of one meaning merged (252), and superclasses detected (25), which
makes 277 entities; the label vector of a report has a 1 for each entity that is present and positive.

Here the four questions are tasks of :mod:`ecglib.report_tasks`, answered by the knowledge base or by any model that
:func:`ecglib.llm.ask` can speak to. What a model says is held against the report and the names it was given: it can
leave an entity out, but it cannot bring in one that no report states.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ecglib import report_tasks
from ecglib.errors import ParameterError
from ecglib.knowledge.entity_table import UNCERTAIN, EntityTable, with_superclasses
from ecglib.knowledge.extract import extract
from ecglib.knowledge.lexicon import tokens
from ecglib.knowledge.vocabulary import Entity, superclasses, table
from ecglib.llm import Answer, AnswerError, Task, ask, backend

__all__ = ["PAPER_COUNTS", "UNCERTAIN", "EntityTable", "merge_by_similarity", "mine", "outcome"]

PAPER_COUNTS = {"extracted": 341, "merged": 252, "superclasses": 25, "entities": 277}  # section 3.4
QUESTIONS = ("extract", "verify", "merge", "aggregate")
Embed = Callable[[list[str]], np.ndarray]


def merge_by_similarity(counts: Counter, embed: Embed, threshold: float = 0.95) -> dict[str, str]:
    """Name -> the more frequent name it means the same as, by cosine of embeddings (E, D) above ``threshold``.

    Names are visited from the most frequent down (ties by alphabet); each joins the nearest representative so far.
    0.95 is the similarity at which the paper takes two names for the same (section 4.2, for classes).
    """
    names = sorted(counts, key=lambda name: (-counts[name], name))
    vectors = np.asarray(embed(names), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(names) or not np.isfinite(vectors).all():
        raise ParameterError(f"embed gave {vectors.shape} for {len(names)} names; it takes texts to finite (E, D)")
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
    model="knowledge",
    embed: Embed | None = None,
    threshold: float = 0.95,
    min_count: int = 1,
    uncertain: str = "absent",
    merge: bool = True,
    aggregate: bool = True,
) -> EntityTable:
    """The entities of a corpus, by the four steps of the paper.

    ``stages`` of the table counts what each step left and, where there are any, the answers that were of no use:
    ``extract_failed`` (reports), ``verify_malformed``, ``extract_dropped`` (entities that do not stand in their
    report), and so on; :func:`outcome` puts them into words.

    Args:
        model: a back end or the name of one, as :func:`ecglib.llm.ask` takes it.
        embed: texts -> (E, D) vectors; merges further names whose cosine is above ``threshold``.
        min_count: distinct reports that must name an entity.
        uncertain: whether «possible X» counts as X, here and in the labels of the table.
        merge, aggregate: False leaves names of one meaning apart, or does without superclasses (table 2c).

    Raises:
        ParameterError: no report, or none that names an entity; a wrong ``uncertain``.
        AnswerError: the model gave no usable answer to one of the two questions about the whole corpus.
    """
    if uncertain not in UNCERTAIN:
        raise ParameterError(f"uncertain is {uncertain!r}; it takes {', '.join(UNCERTAIN)}")
    distinct = list(dict.fromkeys(report for report in reports if report.strip()))
    if not distinct:
        raise ParameterError("reports is empty; mining needs at least one report with text")
    model = backend(model) if isinstance(model, str) else model
    stages = Counter(reports=len(distinct))
    counts = _extracted(distinct, model, uncertain, stages)
    counts = Counter({name: n for name, n in counts.items() if n >= min_count})
    if not counts:
        raise ParameterError(
            f"none of the {len(distinct)} reports names an entity at least {min_count} times ({outcome(stages)}); "
            "lower min_count, or take another model"
        )
    stages["extracted"] = len(counts)

    names = tuple(sorted(counts))
    merged = {name: name for name in names}
    if merge:
        said = _about_all("merge", report_tasks.MERGE, names, model, stages)["merged"]
        merged = {name: _name(said.get(name, name)) for name in names}
    if merge and embed:
        found = Counter()
        for name, target in merged.items():
            found[target] += counts[name]
        closer = merge_by_similarity(found, embed, threshold)
        merged = {name: closer[target] for name, target in merged.items()}
    rank = {entity.name: place for place, entity in enumerate(table().values())}
    targets = tuple(sorted(set(merged.values()), key=lambda name: (rank.get(name, len(rank)), name)))
    stages["merged"] = len(targets)

    groups = {}
    if aggregate:
        groups = _about_all("aggregate", report_tasks.SUPERCLASSES, targets, model, stages)["superclasses"]
    spelled = {name.lower(): name for name in superclasses()}  # answers are in lower case
    parents = {name: spelled.get(parent, parent) for parent, members in groups.items() for name in members}
    parents = {name: parents.get(name, "") for name in targets}
    kept = with_superclasses(parents, model.record().get("kind", "model"), uncertain=uncertain)
    stages["superclasses"], stages["entities"] = len(set(parents.values()) - {""}), len(kept.entities)
    if not merge:  # words that the knowledge base does not know are looked for as they are
        spellings = {name: name for name in kept.entities if not _known(name)}
        return replace(kept, spellings=spellings, stages=dict(stages), merged=False)
    spellings = {_name(name): target for name, target in merged.items() if _name(name) != target}
    return replace(kept, spellings=spellings, stages=dict(stages))


def outcome(stages: Mapping[str, int]) -> str:
    """What of the model's answers was of no use, by question, in one line; ``stages`` as a table has it."""
    said = []
    for step in QUESTIONS:
        counts = {key.removeprefix(f"{step}_"): n for key, n in stages.items() if key.startswith(f"{step}_")}
        if counts:
            said.append(f"{step}: " + ", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in counts.items()))
    return "answers of no use: " + ("; ".join(said) or "none")


def _answers(step: str, task: Task, items: Sequence, model, stages: Counter) -> tuple[Answer, ...]:
    """Answers in order; ``stages`` takes up how many had no value, by status, and how many parts were dropped."""
    answers = ask(task, items, model).answers
    stages.update(f"{step}_{answer.status}" for answer in answers if answer.status != "answered")
    if dropped := sum(len(answer.dropped) for answer in answers):
        stages[f"{step}_dropped"] += dropped
    return answers


def _extracted(distinct: list[str], model, uncertain: str, stages: Counter) -> Counter:
    """Name -> number of reports with it, after both questions about single reports."""
    counted = {"present"} | ({"uncertain"} if uncertain == "present" else set())
    found: dict[str, dict[str, set[str]]] = {}  # report -> name as written -> names it counts for
    answers = _answers("extract", report_tasks.ENTITIES, distinct, model, stages)
    for report, answer in zip(distinct, answers, strict=True):
        for entity in (answer.value or {"entities": ()})["entities"]:
            if entity["status"] in counted:
                found.setdefault(report, {}).setdefault(entity["name"], set()).update(_names(entity))
                stages["proposed"] += 1
    if "present" in counted and len(counted) == 1:  # the paper's question is about positive ones only
        items = [(report, tuple(names)) for report, names in found.items()]
        answers = _answers("verify", report_tasks.VERIFY, items, model, stages)
        for (report, names), answer in zip(items, answers, strict=True):
            verified = set(answer.value["verified"]) if answer.value else set()
            stages["not_verified"] += len(set(names) - verified)
            found[report] = {name: found[report][name] for name in names if name in verified}
    stages += Counter()  # drops zero counts
    return Counter(name for names in found.values() for name in set().union(*names.values()))


def _names(entity: dict) -> set[str]:
    """The name as written; the knowledge base's where the site of an entity stands elsewhere in the sentence."""
    known = _known(entity["name"])
    if not entity["codes"] or (known and known.code in entity["codes"]):
        return {entity["name"]}
    return {table()[code].name for code in entity["codes"]}


def _about_all(step: str, task: Task, names: tuple[str, ...], model, stages: Counter) -> dict:
    (answer,) = _answers(step, task, [names], model, stages)
    if answer.value is None:
        raise AnswerError(
            f"the model's answer to {task.name!r} about {len(names)} names is {answer.status}: {answer.reason}; "
            "raise min_count, or take another model"
        )
    return answer.value


def _known(name: str) -> Entity | None:
    """The entity of the knowledge base that a name as a whole is a synonym of."""
    found, words = extract(name), tokens(name)
    whole = len(found) == 1 and bool(words) and (found[0].start, found[0].end) == (words[0].start, words[-1].end)
    return table().get(found[0].code) if whole else None


def _name(name: str) -> str:
    known = _known(name)
    return known.name if known else name
