"""The knowledge base as passages of prose: what ESI's question answering retrieves from (section 3.1.2).

The paper retrieves from two textbooks, which cannot be shipped. Here each finding of the label vocabulary has five
passages (definition, criteria lead by lead, waveform features, other names, differential diagnosis), and each
further entity one with its names and group.
"""

from dataclasses import dataclass
from functools import cache

from ecglib.knowledge.files import load
from ecglib.knowledge.vocabulary import synonyms, table, waveform_features

ASPECTS = ("definition", "criteria", "features", "names", "differential")


@dataclass(frozen=True)
class Passage:
    """A text about one entity; ``id`` is ``<code>/<aspect>``."""

    id: str
    code: str
    title: str
    text: str


def _leads(group: str) -> str:
    """«In II, III and aVF» for a lead group; «Rhythm» for what is seen in all leads alike."""
    leads = load("statements")["lead_groups"][group]
    if not leads:
        return "Rhythm"
    if len(leads) == 12:
        return "In all leads"
    return f"In {', '.join(leads[:-1])} and {leads[-1]}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _texts(code: str) -> dict[str, str]:
    entity, finding = table()[code], load("statements")["findings"].get(code)
    shown = [name for name in synonyms(code, german=False)[1:] if name.lower() != entity.name.lower()][:8]
    names = f"{_capital(entity.name)} belongs to: {entity.superclass}."
    if shown:
        names += f" ECG reports also call it {_listed(shown)}."
    if finding is None:
        return {"names": names}
    definition, differential = load("passages")["findings"][code]
    criteria = ". ".join(f"{_leads(group)}: {text}" for group, text in finding["criteria"].items())
    return {
        "definition": definition,
        "criteria": f"Criteria for {entity.name}. {criteria}.",
        "features": f"Waveform features of {entity.name}: {_listed(waveform_features(code))}.",
        "names": names,
        "differential": f"Differential diagnosis of {entity.name}. {differential}",
    }


@cache
def _passages() -> tuple[Passage, ...]:
    out = []
    for code, entity in table().items():
        for aspect, text in _texts(code).items():
            out.append(Passage(f"{code}/{aspect}", code, f"{_capital(entity.name)}: {aspect}", text))
    return tuple(out)


def passages() -> list[Passage]:
    """The retrieval corpus, in the order of the vocabulary; every id and every text is there once."""
    return list(_passages())
