"""What this package knows about ECG statements: names, synonyms, waveform criteria, prompts for zero-shot.

``statements.json`` describes the findings of :data:`ecglib.data.labels.FINDINGS`, ``classes.json`` the classes of
the six tasks; both are written for this project from the published standards that the first file lists, and
fixed before any scoring. ``coded.json`` does the same for what codes of the Challenges and CSN name beyond the
findings, and marks what no ECG defines; no task scores with its prompts. Which findings make up a class is not
repeated here: it follows from :func:`ecglib.data.labels.findings_to_labels`. The prompts of a class are its own, then
those of its (typical) findings: all of them when there is one finding, two of each when there are two or three, the
first of each when there are more, so that a superclass is spoken for by the typical statements of its members.
"""

from copy import deepcopy
from functools import cache

from ecglib.data.labels import FINDINGS, SCP_CODES, TASKS, findings_to_labels, scp_statements
from ecglib.errors import ParameterError
from ecglib.knowledge.corpus import Passage, passages
from ecglib.knowledge.files import load as _load
from ecglib.knowledge.vocabulary import (
    CODE_SETS,
    Entity,
    codes,
    entities,
    superclass,
    superclasses,
    synonyms,
    table,
    waveform_features,
)
from ecglib.paths import sha256_of

# From vocabulary.py, which knows more entities than the tasks have findings.
__all__ = [
    "CODE_SETS",
    "Entity",
    "Passage",
    "codes",
    "entities",
    "passages",
    "superclass",
    "superclasses",
    "synonyms",
    "waveform_features",
]
KINDS = ("name", "clinical")
DATA_FILES = ("statements", "classes")  # what prompts are made of
ENTITY_FILES = ("vocabulary", "grammar", "codes", "passages", "coded")


def _class(task: str, cls: str) -> dict:
    tasks = _load("classes")
    if task not in TASKS:
        raise ParameterError(f"no task is called {task!r}; the tasks are {', '.join(TASKS)}")
    if cls not in tasks[task]:
        raise ParameterError(f"task {task} has no class {cls!r}; its classes are {', '.join(TASKS[task])}")
    return tasks[task][cls]


@cache
def _labels_of(code: str) -> dict[str, list[str]]:
    return findings_to_labels((code,))


def finding(code: str) -> dict:
    """All about one finding, or one entity that a code of :data:`CODE_SETS` stands for.

    Keys: code, name, synonyms, criteria (lead group -> text), prompts, superclass, classes, not_on_ecg. ``superclass``
    is that of PTB-XL, "" without one; ``classes`` maps each task to the classes that a finding alone gives, none for
    other entities; ``not_on_ecg`` is "", or why no ECG defines the entity, which then has neither criteria nor
    prompts. ParameterError on an unknown code.
    """
    findings, coded = _load("statements")["findings"], _load("coded")["entities"]
    if code in findings:
        classes = _labels_of(code)
        of_ptbxl = "".join(classes["ptbxl-super"]) if code in SCP_CODES else ""
        return deepcopy({"code": code, "superclass": of_ptbxl, "classes": classes, "not_on_ecg": "", **findings[code]})
    if code not in coded:
        raise ParameterError(f"no finding is called {code!r}; the findings are {', '.join((*findings, *coded))}")
    about = {"code": code, "superclass": "", "classes": {task: [] for task in TASKS}, "not_on_ecg": "", "prompts": []}
    about |= {"name": table()[code].name, "synonyms": synonyms(code, german=False)[1:], "criteria": {}}
    return about | deepcopy({key: value for key, value in coded[code].items() if key != "features"})


def members(task: str, cls: str) -> list[str]:
    """The findings that alone give a record the class, in the order of the vocabulary."""
    _class(task, cls)
    return [code for code in FINDINGS if cls in _labels_of(code)[task]]


def class_name(task: str, cls: str) -> str:
    """The plain name of a class, spelled out as the data set means it: csn's ``AF`` is «atrial flutter»."""
    return _class(task, cls)["name"]


def prompts(task: str, cls: str) -> list[str]:
    """Curated clinical prompts of a class, distinct, in a fixed order."""
    entry = _class(task, cls)
    codes = entry.get("typical") or members(task, cls)
    per_finding = 6 if len(codes) == 1 else 2 if len(codes) <= 3 else 1
    texts = list(entry.get("prompts", ()))
    for code in codes:
        texts += _load("statements")["findings"][code]["prompts"][:per_finding]
    return list(dict.fromkeys(texts))


def prompt_set(task: str, kind: str = "clinical") -> dict[str, list[str]]:
    """class -> prompts for all classes of a task, in its order; ``kind`` is one of :data:`KINDS`."""
    if task not in TASKS:
        raise ParameterError(f"no task is called {task!r}; the tasks are {', '.join(TASKS)}")
    if kind not in KINDS:
        raise ParameterError(f"kind of prompts {kind!r} is not known; it takes {', '.join(KINDS)}")
    if kind == "name":
        return {cls: [class_name(task, cls)] for cls in TASKS[task]}
    return {cls: prompts(task, cls) for cls in TASKS[task]}


def lead_groups() -> dict[str, list[str]]:
    """The lead groups that waveform criteria speak of; ``rhythm`` has no leads, it is seen in all."""
    return {name: list(leads) for name, leads in _load("statements")["lead_groups"].items()}


def knowledge_hash() -> str:
    """Twelve hex digits of a SHA-256 over :data:`DATA_FILES` and all prompts, to be recorded with every score of them.

    The prompts are part of it because the rule that picks them, and the label spaces, lie outside the files.
    """
    chosen = {f"{task} {kind}": prompt_set(task, kind) for task in TASKS for kind in KINDS}
    return sha256_of({"prompts": chosen} | {name: _load(name) for name in DATA_FILES}, 12)


def content_hash() -> str:
    """Twelve hex digits over what extraction, features and passages come from: :data:`ENTITY_FILES` and the findings.

    It stands beside what the knowledge base itself answered; scores of prompts carry :func:`knowledge_hash`.
    """
    return sha256_of({name: _load(name) for name in ("statements", *ENTITY_FILES)}, 12)


def validate() -> None:
    """Check the data files against their schemas and against the label spaces; ParameterError on a defect."""
    import jsonschema

    for name in (*DATA_FILES, *ENTITY_FILES):
        try:
            jsonschema.validate(_load(name), _load(f"{name}.schema"))
        except jsonschema.ValidationError as error:
            raise ParameterError(f"ecglib/knowledge/{name}.json at {error.json_path}: {error.message}") from error
    _check_vocabulary()
    _check_coded()
    statements, tasks = _load("statements"), _load("classes")
    _same(statements["findings"], FINDINGS, "findings of statements.json")
    _same({task for task in tasks if task != "version"}, TASKS, "tasks of classes.json")
    for task, classes in TASKS.items():
        _same(tasks[task], classes, f"classes of {task} in classes.json")
        for cls in classes:
            typical = set(tasks[task][cls].get("typical", ()))
            if stray := sorted(typical - set(members(task, cls))):
                raise ParameterError(f"classes.json names {stray} as typical of {task} {cls}, but they are not in it")
            if not prompts(task, cls):
                raise ParameterError(f"{task} {cls} has no prompt; give it prompts in classes.json")


def _check_vocabulary() -> None:
    """Names, superclasses and codes that the entity files refer to exist."""
    words = _load("vocabulary")
    entries, groups = words["entities"], words["superclasses"]
    if missing := sorted(set(FINDINGS) - set(entries)):
        raise ParameterError(f"vocabulary.json lacks the findings {', '.join(missing)}")
    _same(_load("passages")["findings"], FINDINGS, "findings of passages.json")
    used = {entry["superclass"] for entry in entries.values()}
    if difference := sorted(used ^ set(groups)):
        raise ParameterError(f"vocabulary.json uses or lists only, of its superclasses, {', '.join(difference)}")
    if nameless := sorted(code for code, entry in entries.items() if ("name" in entry) == (code in FINDINGS)):
        raise ParameterError(f"{', '.join(nameless)}: statements.json names findings, vocabulary.json all others")
    if stray := sorted({entry["scp"] for entry in entries.values() if "scp" in entry} - set(SCP_CODES)):
        raise ParameterError(f"vocabulary.json files entities under {', '.join(stray)}, which are no SCP codes")
    referred = {code for table in words["tables"].values() for code in table.values()} | set(_load("grammar")["german"])
    referred |= {entry["entity"] for name in CODE_SETS for entry in _load("codes")[name].values()}
    if stray := sorted(referred - set(entries)):
        raise ParameterError(
            f"grammar.json, codes.json or a table names {', '.join(stray)}, which vocabulary.json lacks"
        )


def _check_coded() -> None:
    """Every entity behind a code is a finding or stands in coded.json; what an ECG defines has waveform features."""
    coded, entries = _load("coded")["entities"], _load("vocabulary")["entities"]
    behind = {entry["entity"] for name in CODE_SETS for entry in _load("codes")[name].values()}
    if difference := sorted((behind - set(FINDINGS)) ^ set(coded)):
        raise ParameterError(f"coded.json and the entities behind codes.json differ in {', '.join(difference)}")
    for code, entry in coded.items():
        if ("features" in entry or "not_on_ecg" in entry) == ("features" in entries[code]):
            raise ParameterError(f"{code} needs features in one of coded.json and vocabulary.json, or not_on_ecg")
        filed, given = entries[code].get("scp", ""), entry.get("superclass", "")
        if filed and given != (known := scp_statements()[filed]["super"]):
            raise ParameterError(f"coded.json puts {code} under {given!r}, but its SCP code {filed} is under {known!r}")


def _same(found, expected, what: str) -> None:
    if difference := sorted(set(found) ^ set(expected)):
        raise ParameterError(f"{what} and the label spaces of ecglib.data.labels differ in {', '.join(difference)}")
