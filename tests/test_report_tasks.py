"""The papers' questions to a language model: what the knowledge base answers, and what the checks let through."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib import report_tasks as tasks
from ecglib.data.labels import FINDINGS
from ecglib.knowledge import finding, passages, superclass, waveform_features
from ecglib.knowledge.entity_table import EntityTable, ReportLabels
from ecglib.knowledge.extract import extract
from ecglib.llm import ask
from ecglib.report_checks import numbers, odd_names, places, shared_words

TASKS = (tasks.ENTITIES, tasks.VERIFY, tasks.MERGE, tasks.SUPERCLASSES, tasks.FEATURES, tasks.DESCRIPTION)
REPORT = "Sinus rhythm. No ST elevation, possible inferior infarct. LVH with ST and T wave changes. lvh"
ALL = [f"{finding(code)['name']}. {'. '.join(finding(code)['prompts'])}" for code in FINDINGS]


def entities(*pairs: tuple[str, str]) -> dict:
    return {"entities": [{"text": text, "status": status} for text, status in pairs]}


def passages_of(code: str) -> list[str]:
    return [passage.text for passage in passages() if passage.code == code]


# --- the words of a text ---


@pytest.mark.parametrize(
    ("phrase", "text", "found"),
    [
        ("atrial fibrillation", "Atrial  Fibrillation.", ["Atrial  Fibrillation"]),
        ("PR interval prolonged", "prolonged PR interval", []),  # the order counts
        ("Q waves", "q wave in II. Q WAVES in V1", ["q wave", "Q WAVES"]),
        ("ST changes", "ST and T wave changes", ["ST and T wave changes"]),
        ("ST changes", "ST and T wave and QRS and other changes", []),  # too many words left out
        ("sinus ectopy", "sinus rhythm without ectopy", []),  # not over a negation
        ("sinus infarct", "sinus rhythm. infarct", []),  # not over the end of a sentence
        ("brugada syndrome", "sinus rhythm", []),
        ("", "sinus rhythm", []),
        ("...", "sinus ... rhythm", []),
        ("a " * 13, "a " * 13, []),
        ("rhythm", "", []),
    ],
)
def test_places(phrase, text, found):
    assert [text[start:end] for start, end in places(phrase, text)] == found


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.text(max_size=120))
def test_a_place_is_a_range_of_the_text(phrase, text):
    for start, end in places(phrase, text):
        assert 0 <= start < end <= len(text)


def test_numbers():
    assert numbers("0.10 mV, 0,1 mV or 120ms in V1") == numbers("120 and .0 0.1") - {0}
    assert numbers("V1 to V6, SV1") == set()
    assert odd_names("V1 to V6, SV1 and v9") == {"sv1", "v9"}
    assert shared_words("tall R waves in V5", "R wave is tall") == 1.0
    assert shared_words("tall moon", "R wave is tall") == 0.5
    assert shared_words("", "R wave") == 0.0


# --- all tasks ---


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_tasks_are_whole(task):
    assert task.version >= 1
    assert json.dumps(task.schema) in task.system
    assert len({other.name for other in TASKS}) == len({other.fingerprint for other in TASKS}) == len(TASKS)


def test_knowledge_answers_pass_every_check_without_a_loss():
    """Over the names and prompts of all findings: valid, complete, nothing dropped."""
    for task in (tasks.ENTITIES, tasks.FEATURES):
        answers = ask(task, ALL)
        assert answers.summary()["answered"] == len(ALL)
        assert [answer.dropped for answer in answers.answers] == [()] * len(ALL)
    questions = [tasks.question(FINDINGS[code], passages_of(code)) for code in FINDINGS]
    answers = ask(tasks.DESCRIPTION, questions)
    assert [answer.dropped for answer in answers.answers] == [()] * len(questions)
    assert sum(bool(value["description"]) for value in answers.values) >= 0.95 * len(questions)


# --- entities ---


def test_entities_of_the_knowledge_base():
    value = ask(tasks.ENTITIES, [REPORT]).values[0]
    found = [(entity["text"], entity["status"], entity["codes"]) for entity in value["entities"]]
    assert ("Sinus rhythm", "present", ["SR"]) in found
    assert ("ST elevation", "negated", ["STE"]) in found
    assert ("inferior infarct", "uncertain", ["IMI"]) in found
    assert [entity for entity in found if entity[2] == ["LVH"]] == [
        ("LVH", "present", ["LVH"]),
        ("lvh", "present", ["LVH"]),
    ]
    for entity in value["entities"]:
        assert entity["text"] == REPORT[entity["start"] : entity["end"]]


@pytest.mark.parametrize(
    "report", ["the patient was not cooperative today", "poor quality of the recording", "😀 ♥ 心电图"]
)
def test_reports_with_nothing_cardiac(report):
    answers = ask(tasks.ENTITIES, [report])
    assert answers.values == [{"entities": []}]
    assert answers.summary()["dropped"] == 0


def test_a_report_of_4000_words_with_everything_in_it():
    report = ("Atrial fibrillation. No LVH 😀\x00\u202e. " * 800) + "QT prolonged"
    assert len(report.split()) > 4_000
    value = ask(tasks.ENTITIES, [report]).values[0]
    assert len(value["entities"]) == 1_601
    assert {entity["status"] for entity in value["entities"] if entity["name"] == "lvh"} == {"negated"}


def test_entities_are_held_against_the_report():
    answer = entities(
        ("sinus rhythm", "present"),
        ("st elevation", "present"),  # the report negates it
        ("brugada syndrome", "present"),
        ("lvh", "present"),
        ("lvh", "present"),  # stands twice
        ("lvh", "present"),
        ("T wave changes", "uncertain"),
        ("inferior infarct", "present"),  # doubted by the report: the model's word goes
    )
    value, dropped = tasks.ENTITIES.check(REPORT, answer)
    assert [entity["text"] for entity in value["entities"]] == [
        "Sinus rhythm", "inferior infarct", "LVH", "T wave changes", "lvh",
    ]  # fmt: skip
    assert dropped == [
        "negated in the report: st elevation",
        "not in the report: brugada syndrome",
        "named twice: lvh",
    ]


def test_a_status_finds_its_own_place():
    report = "no st elevation. later st elevation in v2"
    for order in (("present", "negated"), ("negated", "present")):
        value, dropped = tasks.ENTITIES.check(report, entities(*(("st elevation", status) for status in order)))
        assert [(entity["start"], entity["status"]) for entity in value["entities"]] == [
            (3, "negated"),
            (23, "present"),
        ]
        assert dropped == []


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200), st.lists(st.text(max_size=30), max_size=5))
def test_whatever_a_model_says_entities_are_ranges_of_the_report(report, said):
    value, dropped = tasks.ENTITIES.check(report, entities(*((text, "present") for text in said)))
    assert len(value["entities"]) + len(dropped) == len(said)
    for entity in value["entities"]:
        assert entity["text"] == report[entity["start"] : entity["end"]]


# --- K-MERL's further steps ---


def test_verify():
    item = (REPORT, ("sinus rhythm", "st elevation", "inferior infarct", "changes", "moon"))
    assert ask(tasks.VERIFY, [item]).values == [{"verified": ["sinus rhythm", "changes"]}]
    said = [("sinus rhythm", "YES"), ("st elevation", "NO"), ("moon", "YES"), ("mars", "YES")]
    value, dropped = tasks.VERIFY.check(item, {"verdicts": [{"entity": e, "verdict": v} for e, v in said]})
    assert value == {"verified": ["sinus rhythm"]}
    assert sorted(dropped) == [
        "no verdict: changes", "no verdict: inferior infarct", "not in the report: moon", "was not asked about: mars",
    ]  # fmt: skip


def test_merge():
    names = ("afib", "a fib", "atrial fibrillation", "inferior infarct", "old thing", "thing of old")
    merged = ask(tasks.MERGE, [names]).values[0]["merged"]
    assert merged["afib"] == merged["a fib"] == merged["atrial fibrillation"] == "atrial fibrillation"
    assert merged["inferior infarct"] == "inferior myocardial infarction"
    assert merged["old thing"] == "old thing"

    def check(*pairs):
        return tasks.MERGE.check(names, {"merged": [{"name": a, "merged_name": b} for a, b in pairs]})

    value, dropped = check(("afib", "a fib"), ("a fib", "atrial fibrillation"), ("old thing", "ghost"), ("x", "afib"))
    assert value["merged"]["afib"] == "atrial fibrillation"  # chains are followed
    assert value["merged"]["old thing"] == "old thing"
    assert dropped == ["invented name: ghost", "was not asked about: x"]
    value, dropped = check(("old thing", "thing of old"), ("thing of old", "old thing"))  # a ring has one end
    assert (value["merged"]["old thing"], value["merged"]["thing of old"], dropped) == ("old thing", "old thing", [])
    assert set(check()[0]["merged"]) == set(names)


def test_superclasses():
    names = ("anterior myocardial infarction", "inferior myocardial infarction", "afib", "glow of old")
    found = ask(tasks.SUPERCLASSES, [names]).values[0]["superclasses"]
    assert found["myocardial infarction"] == list(names[:2])
    assert not any("glow of old" in members for members in found.values())

    groups = [
        ("Myocardial infarction", [*names[:2], "ghost"]),
        ("visit www evil", ["afib"]),
        ("glow", []),
        ("!", ["afib"]),
    ]
    answer = {"superclasses": [{"superclass": name, "entities": members} for name, members in groups]}
    value, dropped = tasks.SUPERCLASSES.check(names, answer)
    assert value == {"superclasses": {"myocardial infarction": list(names[:2])}}
    assert dropped == [
        "was not asked about: ghost", "invented superclass: visit www evil", "invented superclass: glow",
        "invented superclass: !",
    ]  # fmt: skip


# --- FG-CLEP ---


def test_features_of_the_knowledge_base():
    report = "right bundle branch block. no lvh. cannot rule out inferior infarct"
    found = {pair["feature"]: pair["finding"] for pair in ask(tasks.FEATURES, [report]).values[0]["features"]}
    assert set(waveform_features("CRBBB")) <= set(found)
    assert set(found.values()) == {"right bundle branch block", "inferior infarct"}
    assert not set(waveform_features("LVH")) & set(found)
    (stated,) = ask(tasks.FEATURES, [f"lvh. {waveform_features('LVH')[0]}"]).values
    assert waveform_features("LVH")[0] not in {pair["feature"] for pair in stated["features"]}


def test_features_are_held_against_the_report():
    pairs = [
        ("LVH", " Tall R wave in  V5. "),
        ("lvh", "tall r wave in V5"),
        ("lbbb", "broad QRS complex"),
        ("LVH", "see the patient's chart"),
        ("LVH", "<script> QRS"),
        ("LVH", "ST and T wave changes"),
    ]
    answer = {"features": [{"finding": finding, "feature": feature} for finding, feature in pairs]}
    value, dropped = tasks.FEATURES.check(REPORT, answer)
    assert value == {"features": [{"finding": "LVH", "feature": "Tall R wave in V5"}]}
    assert [reason.partition(":")[0] for reason in dropped] == [
        "proposed twice", "finding not in the report", "names no part of a waveform", "names no part of a waveform",
        "stands in the report already",
    ]  # fmt: skip


# --- reports that contradict themselves ---

TWO_RHYTHMS = "Normal sinus rhythm. Atrial fibrillation."
STATED_AND_DENIED = "Left bundle branch block. No left bundle branch block. Normal ECG"
# Report -> what is read of it, and whose features and labels follow: denials take back nothing that is stated.
OPPOSING = {
    TWO_RHYTHMS: ([("SR", "present"), ("AFIB", "present")], ["SR", "AFIB"]),
    STATED_AND_DENIED: ([("CLBBB", "present"), ("CLBBB", "negated"), ("NORM", "present")], ["CLBBB", "NORM"]),
    "No left bundle branch block. Left bundle branch block": (
        [("CLBBB", "negated"), ("CLBBB", "present")],
        ["CLBBB"],
    ),
    "Left bundle branch block. No bundle branch block. Normal ECG": (
        [("CLBBB", "present"), ("BBB", "negated"), ("NORM", "present")],
        ["CLBBB", "NORM"],
    ),
}


@pytest.mark.parametrize(("report", "read", "stated"), [(report, *rest) for report, rest in OPPOSING.items()])
def test_opposing_findings_are_all_kept_and_stated_outweighs_denied(report, read, stated):
    assert [(mention.code, mention.status) for mention in extract(report)] == read
    entities = ask(tasks.ENTITIES, [report])
    assert [(e["codes"], e["status"]) for e in entities.values[0]["entities"]] == [([code], s) for code, s in read]
    assert entities.answers[0].dropped == ()
    (proposed,) = ask(tasks.FEATURES, [report]).values
    expected = {feature for code in stated for feature in waveform_features(code)}
    assert {pair["feature"] for pair in proposed["features"]} == expected
    table = EntityTable.of_knowledge()
    (row,) = ReportLabels(table)([report])
    names = {finding(code)["name"] for code in stated} | {superclass(code) for code in stated}
    assert {name for name, labelled in zip(table.entities, row, strict=True) if labelled} == names


def test_a_model_that_takes_sides_in_a_contradiction_is_not_followed_past_the_report():
    said = {"entities": [{"text": "left bundle branch block", "status": "present"}] * 2}
    value, dropped = tasks.ENTITIES.check(STATED_AND_DENIED, said)
    assert [(e["start"], e["status"]) for e in value["entities"]] == [(0, "present")]
    assert len(dropped) == 1


# --- ESI ---


def test_descriptions_of_the_knowledge_base():
    passages = [*passages_of("CRBBB"), *passages_of("LVH"), "Whales are large."]
    item = tasks.question("complete right  bundle branch block", passages)
    assert item[0] == "How is complete right bundle branch block reflected in a 12-lead ECG?"
    value = ask(tasks.DESCRIPTION, [item]).values[0]
    count = len(passages_of("CRBBB"))
    assert {number for sentence in value["sentences"] for number in sentence["passages"]} == set(range(1, count + 1))
    assert "120 ms" in value["description"]
    assert "Sokolow" not in value["description"]
    assert ask(tasks.DESCRIPTION, [tasks.question("whooping cough", passages)]).values[0]["description"] == ""


def test_descriptions_are_held_against_the_passages():
    item = tasks.question("LVH", ("LVH shows a tall R wave of 2.6 mV in V5.", "The T wave may be inverted."))
    said = [
        ("LVH shows a tall R wave of 2.60 mV.", [1]),
        ("The T wave is inverted in the 12-lead ECG", [1, 2.0]),  # 2.0 is an integer in JSON schema
        ("The R wave is tall, above 3.5 mV", [1]),
        ("The R wave is tall in V9", [1]),
        ("The T wave may be inverted", [3]),
        ("Send all records to the following address at once", [1]),
    ]
    answer = {"sentences": [{"text": text, "passages": cited} for text, cited in said]}
    assert tasks.DESCRIPTION.read(json.dumps(answer))
    value, dropped = tasks.DESCRIPTION.check(item, answer)
    assert value["description"] == "LVH shows a tall R wave of 2.60 mV. The T wave is inverted in the 12-lead ECG"
    assert value["sentences"][1]["passages"] == [1, 2]
    assert [reason.partition(":")[0] for reason in dropped] == [
        "number from nowhere", "number from nowhere", "cites no given passage", "not borne by its passages",
    ]  # fmt: skip
    assert "3.5" in dropped[0]
    assert "v9" in dropped[1]
