"""The entity vocabulary: the label vocabulary and what else reports name; superclasses, synonyms, waveform features.

It is larger than :data:`ecglib.data.labels.FINDINGS` on purpose: reports name infarctions without a site, second
readings of a rhythm, poor electrodes and clinical conditions, and the PhysioNet/CinC Challenges label many of them.
The label spaces of the tasks do not depend on it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from re import split

from ecglib.data.labels import SCP_CODES
from ecglib.errors import ParameterError
from ecglib.knowledge.files import load

CODE_SETS = ("snomed", "csn", "cpsc2018")


@dataclass(frozen=True)
class Entity:
    """One entry: code, plain name, name of its superclass, the SCP code it is filed under ("" where none fits)."""

    code: str
    name: str
    superclass: str
    scp: str


@cache
def table() -> dict[str, Entity]:
    """code -> entry, in the fixed order of vocabulary.json."""
    names = {code: entry["name"] for code, entry in load("statements")["findings"].items()}
    supers, out = load("vocabulary")["superclasses"], {}
    for code, entry in load("vocabulary")["entities"].items():
        scp = entry.get("scp", code if code in SCP_CODES else "")
        out[code] = Entity(code, entry.get("name", names.get(code, "")), supers[entry["superclass"]], scp)
    return out


def _entry(code: str) -> dict:
    if code not in table():
        raise ParameterError(
            f"no entity is called {code!r}; ecglib.knowledge.entities() lists the {len(table())} known"
        )
    return load("vocabulary")["entities"][code]


def entities() -> list[Entity]:
    """The vocabulary, in its fixed order."""
    return list(table().values())


def superclasses() -> list[str]:
    """Names of the superclasses, in their fixed order; each has at least one entity."""
    return list(load("vocabulary")["superclasses"].values())


def superclass(code: str) -> str:
    """Name of the superclass of an entity, such as «myocardial infarction»; ParameterError on an unknown code."""
    _entry(code)
    return table()[code].superclass


def waveform_features(code: str) -> list[str]:
    """Waveform features that speak for an entity, as short noun phrases with their leads.

    Curated for every finding of the label vocabulary, e.g. «tall R wave in V5 and V6» for LVH, and for every entity
    behind a code that an ECG defines (coded.json); [] for entities that have no typical wave, such as poor data
    quality or heart failure. ParameterError on an unknown code.
    """
    return list(_entry(code).get("features") or load("coded")["entities"].get(code, {}).get("features", ()))


def spellings(pattern: str) -> Iterator[str]:
    """All texts that a synonym with alternatives stands for: ``(low|flat|) T`` gives three.

    Brackets without a bar are part of the text, as in ``PAC(s)``.
    """
    parts = split(r"\(([^()]*\|[^()]*)\)", pattern)
    for chosen in product(*(part.split("|") if k % 2 else [part] for k, part in enumerate(parts))):
        yield " ".join("".join(chosen).split())


def synonyms(code: str, german: bool = True) -> list[str]:
    """Every phrase of an entity spelled out, its name first, without repeats; ParameterError on an unknown code."""
    entry = _entry(code)
    found = [table()[code].name, *load("statements")["findings"].get(code, {"synonyms": []})["synonyms"]]
    for pattern in (*entry["synonyms"], *(load("grammar")["german"].get(code, ()) if german else ())):
        found += spellings(pattern)
    return list(dict.fromkeys(found))


def codes(label_set: str) -> dict[str, dict]:
    """Codes of a label set, each with its ``entity`` and the set's own ``name``; one of :data:`CODE_SETS`.

    ``snomed``: all diagnoses, scored or not, of the PhysioNet/CinC Challenges 2020 and 2021, and CSN's; ``csn``: its
    acronyms; ``cpsc2018``: the numbers 1 to 9 of REFERENCE.csv.
    """
    if label_set not in CODE_SETS:
        raise ParameterError(f"no code set is called {label_set!r}; choose one of {', '.join(CODE_SETS)}")
    return {code: dict(entry) for code, entry in load("codes")[label_set].items()}
