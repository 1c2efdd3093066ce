"""What the papers ask a language model about reports, as tasks for :func:`ecglib.llm.ask`.

* K-MERL, section 3.4: :data:`ENTITIES` (one report), :data:`VERIFY` (a report and names), :data:`MERGE` and
  :data:`SUPERCLASSES` (all names of a corpus). The paper asks for positive entities only and prints four one-sentence
  prompts; here every entity comes with its status, and the answers are JSON.
* FG-CLEP, "Two-stage Pre-training": :data:`FEATURES`, waveform features to be expected behind a report.
* ESI, section 3.1.2: :data:`DESCRIPTION`, how a condition looks in a 12-lead ECG, out of retrieved passages alone.

Each check says what it keeps. None trusts a model: an entity is a range of the report, whatever the model was talked
into, and a number in a description stands in the question or a passage.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from functools import cache
from itertools import takewhile

from ecglib.entity_tasks import MERGE, SUPERCLASSES, VERIFY
from ecglib.knowledge import corpus
from ecglib.knowledge.extract import extract
from ecglib.knowledge.lexicon import tokens
from ecglib.knowledge.vocabulary import waveform_features
from ecglib.llm_task import Task, list_of, object_of, string_of
from ecglib.report_checks import is_cardiac, numbers, odd_names, places, shared_words, words_of

__all__ = ["DESCRIPTION", "ENTITIES", "FEATURES", "MERGE", "SUPERCLASSES", "VERIFY", "question"]

STATUSES = ("present", "negated", "uncertain")
MIN_SUPPORT = 0.5  # share of a sentence's words that stand in the passages it cites, or in the question
# What a waveform feature must speak of, with waves as capital letters: the «s» of «patient's» is no S wave.
_WAVEFORM = re.compile(
    r"\b(?:[PQRSTUJ]|[qQrRsS]{2,3}|PR|PQ|ST|QTc?|RR|[Ww]aves?|[Cc]omplex(?:es)?|[Ii]ntervals?|[Ss]egments?|[Aa]xis|[Rr]ate"
    r"|[Rr]hythm|[Aa]mplitudes?|[Vv]oltages?|[Bb]aseline|[Dd]eflections?|[Ss]lopes?|[Nn]otch\w*|[Ss]pikes?|[Uu]pstrokes?"
    r"|[Pp]rogression|[Bb]eats?|[Pp]auses?)\b"
)


# --- K-MERL: entities of one report -----------------------------------------------------------------------------


def _check_entities(report: str, answer: dict) -> tuple[dict, list[str]]:
    """Keep what stands in the report: {text, name, status, start, end, codes}, ``text`` being ``report[start:end]``.

    ``name`` are the entity's folded words, ``codes`` those of the knowledge base for just this range. An entity that
    is named n times takes n places, first those whose status the knowledge base sees alike. One that the model calls
    present is dropped when the knowledge base finds every place of it negated.
    """
    kept: dict[tuple[int, int], dict] = {}
    dropped, words, mentions = [], tokens(report), sorted(extract(report), key=lambda mention: mention.end)
    ends = [mention.end for mention in mentions]

    @cache
    def seen(place: tuple[int, int]) -> tuple[list[str], set[str]]:
        """What the knowledge base makes of a range: the codes for just this, and the statuses within it."""
        within = list(takewhile(lambda m: m.start < place[1], mentions[bisect_right(ends, place[0]) :]))
        return [m.code for m in within if (m.start, m.end) == place], {m.status for m in within}

    @cache
    def candidates(text: str, status: str) -> tuple[Iterator[tuple[int, int]], str]:
        """The places an entity may take, the likeliest first, and why it is dropped when none is left."""
        if not (found := places(text, words)):
            return iter(()), "not in the report"
        if status == "present" and not (found := [place for place in found if seen(place)[1] != {"negated"}]):
            return iter(()), "negated in the report"
        return iter(sorted(found, key=lambda place: status not in seen(place)[1])), "named twice"

    for entity in answer["entities"]:
        left, why = candidates(entity["text"], entity["status"])
        place = next((place for place in left if place not in kept), None)
        if place is None:
            dropped.append(f"{why}: {entity['text']}")
            continue
        kept[place] = {
            "text": report[place[0] : place[1]],
            "name": " ".join(words_of(entity["text"])),
            "status": entity["status"],
            "start": place[0],
            "end": place[1],
            "codes": seen(place)[0],
        }
    return {"entities": [kept[place] for place in sorted(kept)]}, dropped


def _known_entities(report: str) -> dict:
    """Each place with its own status: opposing findings are all kept, and one stated and denied is there twice."""
    found = {(m.start, m.end): (m.text, m.status) for m in extract(report) if is_cardiac(m.code)}
    return {"entities": [{"text": text, "status": status} for text, status in found.values()]}


ENTITIES = Task(
    name="entities",
    version=1,
    instructions=(
        "Extract the cardiac entities of an ECG report: rhythms, conduction disorders, infarction and ischemia, "
        "hypertrophy, changes of waves, segments, intervals and axis, pacing. Copy each entity from the report word "
        "for word, without the words around it that negate or weaken it. Give its status: «present» when the report "
        "states it, «negated» when the report says that it is absent, «uncertain» when the report doubts it "
        "(possible, probable, cannot rule out). Leave out devices, patients, dates, electrodes and the quality of the "
        "recording. An empty list is the right answer for a report without cardiac entities."
    ),
    schema=object_of(
        entities=list_of(object_of(text=string_of(120), status={"type": "string", "enum": list(STATUSES)}), 2_000)
    ),
    check=_check_entities,
    from_knowledge=_known_entities,
)


# --- FG-CLEP: waveform features behind a report -----------------------------------------------------------------


def _check_features(report: str, answer: dict) -> tuple[dict, list[str]]:
    """Keep {finding, feature} when the finding stands in the report and the feature, new to it, is of a waveform."""
    kept, dropped, words = {}, [], tokens(report)
    for pair in answer["features"]:
        feature = " ".join(pair["feature"].split()).strip(" .;")
        if not places(pair["finding"], words):
            dropped.append(f"finding not in the report: {pair['finding']}")
        elif not _WAVEFORM.search(feature) or any(sign in feature for sign in "<>{}\\"):
            dropped.append(f"names no part of a waveform: {feature}")
        elif places(feature, words):
            dropped.append(f"stands in the report already: {feature}")
        elif feature.casefold() in kept:
            dropped.append(f"proposed twice: {feature}")
        else:
            kept[feature.casefold()] = {"finding": pair["finding"], "feature": feature}
    return {"features": list(kept.values())}, dropped


def _known_features(report: str) -> dict:
    """The curated features of all that the report states or suspects, be it denied too or opposed by another."""
    found: dict[str, str] = {}
    words = tokens(report)
    for mention in extract(report):
        for feature in waveform_features(mention.code) if mention.status != "negated" else ():
            if not places(feature, words):
                found.setdefault(feature, mention.text)
    return {"features": [{"finding": text, "feature": feature} for feature, text in found.items()]}


FEATURES = Task(
    name="features",
    version=1,
    instructions=(
        "A report gives the diagnoses of an ECG but seldom the waveform features they rest on. Go through the findings "
        "that the report states or suspects, and for each name the waveform features that are most likely to be seen "
        "in such an ECG: shape, amplitude, duration or regularity of P, QRS, ST, T, U, PR, QT or RR, with the leads. "
        "Each feature is one short noun phrase about one wave, such as «tall R wave in V5 and V6». Copy the finding "
        "from the report word for word. Leave out negated findings, and features that the report already states."
    ),
    schema=object_of(features=list_of(object_of(finding=string_of(120), feature=string_of(120)), 500)),
    check=_check_features,
    from_knowledge=_known_features,
)


# --- ESI: a description out of retrieved passages -----------------------------------------------------------------


def question(condition: str, passages: list[str] | tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """An item of :data:`DESCRIPTION`: what is asked (the paper's prompt) and what was retrieved for it."""
    return f"How is {' '.join(condition.split())} reflected in a 12-lead ECG?", tuple(passages)


def _passages(item: tuple[str, tuple[str, ...]]) -> dict[str, str]:
    return {"question": item[0]} | {f"passage {k}": text for k, text in enumerate(item[1], start=1)}


def _check_description(item: tuple[str, tuple[str, ...]], answer: dict) -> tuple[dict, list[str]]:
    """{"description", "sentences"}: sentences that cite given passages, are borne by them, and add no number."""
    asked, passages = item
    everything = " \n ".join([asked, *passages])
    allowed, names = numbers(everything), odd_names(everything)
    kept, dropped = [], []
    for sentence in answer["sentences"]:
        text, cited = " ".join(sentence["text"].split()), [int(number) for number in sentence["passages"]]
        if unknown := [number for number in cited if number > len(passages)]:
            dropped.append(f"cites no given passage: {unknown} in {text}")
        elif strange := sorted(map(str, numbers(text) - allowed)) + sorted(odd_names(text) - names):
            dropped.append(f"number from nowhere: {', '.join(strange)} in {text}")
        elif shared_words(text, " \n ".join([asked, *(passages[n - 1] for n in cited)])) < MIN_SUPPORT:
            dropped.append(f"not borne by its passages: {text}")
        else:
            kept.append({"text": text.rstrip(" ."), "passages": cited})
    return {"description": ". ".join(sentence["text"] for sentence in kept), "sentences": kept}, dropped


def _known_description(item: tuple[str, tuple[str, ...]]) -> dict:
    """The sentences of those passages that speak of what the question asks about."""
    asked = {mention.code for mention in extract(item[0])}
    sentences = []
    for number, passage in enumerate(item[1], start=1):
        if asked & _subjects(passage):
            parts = [part.strip() for part in passage.replace("\n", " ").split(". ") if part.strip(" .")]
            sentences += [{"text": part[:600], "passages": [number]} for part in parts]
    return {"sentences": sentences}


@cache
def _corpus() -> dict[str, str]:
    return {passage.text: passage.code for passage in corpus.passages()}


def _subjects(passage: str) -> set[str]:
    """Codes of what a passage is about: the knowledge base's own tell, in others all that they name."""
    code = _corpus().get(passage)
    return {code} if code else {mention.code for mention in extract(passage)}


DESCRIPTION = Task(
    name="description",
    version=1,
    instructions=(
        "Answer a question on how a condition looks in a 12-lead ECG, out of the numbered passages alone. Describe "
        "waves, segments, intervals, rhythm and leads in plain sentences, each on its own, each with the numbers of "
        "the passages it rests on. Add no number, name or claim that is not in them. Passages that do not concern the "
        "question are left aside; when none does, an empty list is the right answer."
    ),
    schema=object_of(
        sentences=list_of(
            object_of(
                text=string_of(600),
                passages={"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 1, "maxItems": 20},
            ),
            500,
        )
    ),
    check=_check_description,
    from_knowledge=_known_description,
    data=_passages,
)
