"""K-MERL's questions after extraction (section 3.4), as tasks: verify, merge, aggregate.

The paper verifies each entity by itself and has all names of a corpus merged, then grouped, in one question each. Here
the entities of a report are verified in one question; merging and grouping are as in the paper, and what a model
returns is held to the names it was given and to the knowledge base's own.
"""

from ecglib.knowledge.extract import extract
from ecglib.knowledge.lexicon import tokens
from ecglib.knowledge.vocabulary import Entity, superclasses, table
from ecglib.llm_task import Task, list_of, object_of, string_of
from ecglib.report_checks import is_cardiac, places, words_of


def _known(name: str) -> Entity | None:
    """The entity of the knowledge base that a name as a whole is a synonym of."""
    found, words = extract(name), tokens(name)
    whole = len(found) == 1 and bool(words) and (found[0].start, found[0].end) == (words[0].start, words[-1].end)
    return table().get(found[0].code) if whole else None


def _lines(names: tuple[str, ...]) -> str:
    return "\n".join(" ".join(name.split()) for name in names)


# --- K-MERL: are the entities there and positive? ---------------------------------------------------------------


def _check_verdicts(item: tuple[str, tuple[str, ...]], answer: dict) -> tuple[dict, list[str]]:
    """{"verified": names with a YES that stand in the report}; a name without a verdict counts as dropped."""
    report, names = item
    verdicts, dropped = {}, []
    for given in answer["verdicts"]:
        if given["entity"] not in names:
            dropped.append(f"was not asked about: {given['entity']}")
        else:
            verdicts[given["entity"]] = given["verdict"]
    verified = []
    for name in names:
        if name not in verdicts:
            dropped.append(f"no verdict: {name}")
        elif verdicts[name] == "YES" and not places(name, report):
            dropped.append(f"not in the report: {name}")
        elif verdicts[name] == "YES":
            verified.append(name)
    return {"verified": verified}, dropped


def _known_verdicts(item: tuple[str, tuple[str, ...]]) -> dict:
    """YES where a place of the name is part of a cardiac mention that the report states."""
    report, names = item
    stated = [(m.start, m.end) for m in extract(report) if m.status == "present" and is_cardiac(m.code)]
    verdicts = []
    for name in names:
        yes = any(start < b and a < end for a, b in places(name, report) for start, end in stated)
        verdicts.append({"entity": name, "verdict": "YES" if yes else "NO"})
    return {"verdicts": verdicts}


VERIFY = Task(
    name="verify",
    version=1,
    instructions=(
        "Verify entities that were extracted from an ECG report, one a line. For each, answer YES when the report "
        "states it as existing and positive, and it names a cardiac condition or a finding in an ECG; answer NO when "
        "the report negates or doubts it, does not contain it, or it is nothing cardiac. Repeat each entity exactly."
    ),
    schema=object_of(
        verdicts=list_of(object_of(entity=string_of(200), verdict={"type": "string", "enum": ["YES", "NO"]}), 2_000)
    ),
    check=_check_verdicts,
    from_knowledge=_known_verdicts,
    data=lambda item: {"report": item[0], "entities": _lines(item[1])},
)


# --- K-MERL: names of one meaning, and superclasses -------------------------------------------------------------


def _check_merged(names: tuple[str, ...], answer: dict) -> tuple[dict, list[str]]:
    """{"merged": every name -> the name it goes by}; only to given names or those of the knowledge base."""
    allowed, said, dropped = set(names) | {entity.name for entity in table().values()}, {}, []
    for pair in answer["merged"]:
        if pair["name"] not in names:
            dropped.append(f"was not asked about: {pair['name']}")
        elif pair["merged_name"] not in allowed:
            dropped.append(f"invented name: {pair['merged_name']}")
        else:
            said[pair["name"]] = pair["merged_name"]
    return {"merged": {name: _followed(name, said) for name in names}}, dropped


def _followed(name: str, said: dict[str, str]) -> str:
    """Where a chain of merges ends; a ring ends at the first of its names by alphabet."""
    path = [name]
    while (target := said.get(path[-1], path[-1])) not in path:
        path.append(target)
    return min(path[path.index(target) :])


def _known_merged(names: tuple[str, ...]) -> dict:
    pairs = [(name, known.name) for name in names if (known := _known(name))]
    return {"merged": [{"name": name, "merged_name": target} for name, target in pairs]}


MERGE = Task(
    name="merge",
    version=1,
    instructions=(
        "Below are names of cardiac entities, one a line, taken from many ECG reports. Merge the names that have the "
        "same meaning but different wording (abbreviations, word order, spelling): for each name that another name of "
        "the list can stand for, give that other name, the most usual one, copied exactly. Names that differ in site, "
        "side, degree or age of a condition have different meanings. Leave out names that stay as they are."
    ),
    schema=object_of(merged=list_of(object_of(name=string_of(200), merged_name=string_of(200)), 2_000)),
    check=_check_merged,
    from_knowledge=_known_merged,
    data=lambda names: {"entities": _lines(names)},
    max_chars=100_000,
    max_answer_tokens=8_192,
)


def _check_superclasses(names: tuple[str, ...], answer: dict) -> tuple[dict, list[str]]:
    """{"superclasses": name -> its members}; made of words of its members or of the knowledge base, two members on."""
    vocabulary = {word for entity in table().values() for word in words_of(entity.name)}
    vocabulary |= {word for name in superclasses() for word in words_of(name)}
    kept, dropped = {}, []
    for group in answer["superclasses"]:
        members = [name for name in dict.fromkeys(group["entities"]) if name in names]
        dropped += [f"was not asked about: {name}" for name in group["entities"] if name not in names]
        words = words_of(group["superclass"])
        if not words or not set(words) <= vocabulary.union(*(words_of(name) for name in members)):
            dropped.append(f"invented superclass: {group['superclass']}")
        elif not members:
            dropped.append(f"superclass without entities: {group['superclass']}")
        else:
            kept.setdefault(" ".join(group["superclass"].split()).lower(), []).extend(members)
    return {"superclasses": {name: list(dict.fromkeys(members)) for name, members in kept.items()}}, dropped


def _known_superclasses(names: tuple[str, ...]) -> dict:
    groups: dict[str, list[str]] = {}
    for name in names:
        if known := _known(name):
            groups.setdefault(known.superclass, []).append(name)
    return {"superclasses": [{"superclass": name, "entities": members} for name, members in groups.items()]}


SUPERCLASSES = Task(
    name="superclasses",
    version=1,
    instructions=(
        "Below are names of cardiac entities, one a line. Detect the superclasses among them: a superclass is the "
        "plain medical name of a group of which several entities are subtypes, as «myocardial infarction» is of "
        "«anterior myocardial infarction». Give each superclass with the entities that belong to it, copied exactly."
    ),
    schema=object_of(
        superclasses=list_of(object_of(superclass=string_of(100), entities=list_of(string_of(200), 500)), 200)
    ),
    check=_check_superclasses,
    from_knowledge=_known_superclasses,
    data=lambda names: {"entities": _lines(names)},
    max_chars=100_000,
    max_answer_tokens=8_192,
)
