"""Cardio Query Assistant: nothing invented, nothing lost, each statement asked once; and how good it is."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib import cqa, cqa_scores, knowledge, report_tasks
from ecglib.data.store import write_store
from ecglib.llm_models import Reply
from ecglib.text import TextEncoder

MACHINE = (  # of the released texts, each of these got an invented finding or a refusal
    "** INTERPRETATION MADE WITHOUT KNOWING PATIENT'S GENDER/AGE **",
    "Analysis error",
    "Pediatric ECG interpretation",
    "Summary: None available",
    "*** Unconfirmed Analysis ***",
)
KNOWN = ("atrial fibrillation", "left bundle branch block", "sinus bradycardia", "first degree av block")


@pytest.fixture(scope="module")
def encoder():
    return TextEncoder("minilm")


@pytest.fixture(scope="module")
def assistant(encoder):
    return cqa.Assistant(encoder)


@pytest.fixture(scope="module")
def described(assistant):
    return assistant.describe([*KNOWN, "no st elevation", "borderline ecg", "qwerty uiop"])


class Scripted:
    """A language model that answers what it is told and keeps what it was asked."""

    cached = False

    def __init__(self, answer):
        self.answer, self.asked = answer, []

    def record(self):
        return {"kind": "scripted", "model": "test"}

    def replies(self, task, items, deliver):
        for place, item in enumerate(items):
            self.asked.append(item)
            deliver(place, Reply(self.answer(item)))


def sentences(*texts):
    return json.dumps({"sentences": [{"text": text, "passages": [1]} for text in texts]})


def store(folder, reports, **columns):
    table = pd.DataFrame({"id": [f"r{i}" for i in range(len(reports))], "report": list(reports), **columns})
    return write_store(folder, 100, np.zeros((len(reports), 12, 200), dtype=np.int16), table)


@pytest.mark.parametrize("statement", KNOWN)
def test_a_known_finding_is_described_from_its_own_passages(described, assistant, statement):
    entry = described.entries[statement]
    assert entry.status == "answered"
    by_id = {passage.id: passage for passage in knowledge.passages()}
    read = [by_id[name] for name in entry.passages]
    assert {passage.code for passage in read} <= cqa.findings(statement)
    for sentence in entry.text.split(". "):
        assert any(sentence in passage.text for passage in read)


def test_nothing_is_described_that_was_denied_or_is_unknown(described):
    assert described.entries["no st elevation"].status == "denied"
    assert described.entries["qwerty uiop"].status == "unexplained"
    for statement in ("no st elevation", "qwerty uiop"):
        assert described.entries[statement].text == ""
        assert described.text([statement]) == statement  # its own words alone


@pytest.mark.parametrize("statement", MACHINE)
def test_statements_about_the_machine_say_nothing_of_the_heart(assistant, tmp_path, statement):
    """Dropped from a report; and when asked about all the same, not described."""
    both = store(tmp_path / "s", [f"{statement}. Sinus rhythm", "Sinus rhythm"])
    first, second = cqa.statements_of(both, "mimic-iv-ecg")
    assert first == second == ["sinus rhythm"]
    assert assistant.describe([statement]).entries[statement].text == ""


def test_each_distinct_statement_is_asked_once_in_the_papers_words(encoder):
    model = Scripted(lambda item: sentences(item[1][0]))
    cqa.Assistant(encoder, model=model).describe([*KNOWN, *KNOWN])
    assert sorted(question for question, _ in model.asked) == sorted(
        f"How is {statement} reflected in a 12-lead ECG?" for statement in KNOWN
    )
    assert all(1 <= len(passages) <= cqa.TOP_K for _, passages in model.asked)


def test_what_a_model_makes_up_does_not_get_into_the_text(encoder):
    """The task's own check stands between: a number from nowhere and a sentence without support are dropped."""
    made_up = sentences("heart rate of 187 per minute", "the patient should take aspirin daily with breakfast")
    found = cqa.Assistant(encoder, model=Scripted(lambda item: made_up)).describe(["atrial fibrillation"])
    entry = found.entries["atrial fibrillation"]
    assert (entry.text, entry.status) == ("", "unexplained")
    refused = cqa.Assistant(encoder, model=Scripted(lambda item: "I'm sorry, I cannot")).describe(["pacing"])
    assert refused.entries["pacing"].text == ""


def test_a_text_is_demographics_statements_descriptions(described):
    text = described.text(["atrial fibrillation", "borderline ecg", "atrial fibrillation"], 67.0, "F")
    expected = described.entries["atrial fibrillation"].text
    assert text == f"67-year-old woman. atrial fibrillation. borderline ecg. {expected.strip(' .')}"
    with pytest.raises(ValueError, match="no description was asked for 'mobitz'"):
        described.text(["mobitz"])


@pytest.mark.parametrize(
    ("age", "sex", "words"),
    [
        (67.0, "F", "67-year-old woman"),
        (40.4, "M", "40-year-old man"),
        (9.0, "F", "9-year-old girl"),
        (3.0, "", "3-year-old child"),
        (50.0, "", "50-year-old person"),
        (math.nan, "M", "man"),
        (math.nan, "", ""),
    ],
)
def test_demographics(age, sex, words):
    assert cqa.demographics(age, sex) == words


def test_texts_of_a_store(tmp_path, described):
    two = store(tmp_path / "s", ["Sinus bradycardia. Sinus bradycardia", "No ST elevation"], age=[70.0, None])
    texts = cqa.texts(two, "mimic-iv-ecg", described)
    assert texts[0].startswith("70-year-old person. sinus bradycardia. ")
    assert texts[1] == "no st elevation"
    assert cqa.texts(two, "mimic-iv-ecg", None) == ["sinus bradycardia", "no st elevation"]  # without CQA
    with pytest.raises(ValueError, match="record r0 has no statement to learn from"):
        cqa.texts(store(tmp_path / "e", ["Analysis error"]), "mimic-iv-ecg", described)


def test_sets_with_labels_speak_by_their_names(tmp_path):
    """Table 1: SCP codes of PTB-XL, diagnoses of CSN; also inside a mixture, whose records name their set."""
    labels = {"labels/csn": [["AF"], []], "labels/ptbxl-sub": [[], ["IMI"]]}
    labels |= {"labels/ptbxl-form": [[], []], "labels/ptbxl-rhythm": [[], ["SR"]]}
    mixed = store(tmp_path / "m", ["afl.", "zzz"], dataset=["csn", "ptb-xl"], **labels)
    expected = [knowledge.class_name(task, cls).lower() for task, cls in (("ptbxl-sub", "IMI"), ("ptbxl-rhythm", "SR"))]
    assert cqa.statements_of(mixed, "mimic-iv-ecg") == [["atrial flutter"], expected]
    plain = store(tmp_path / "p", ["afl."], **{"labels/csn": [["AF"]]})
    assert cqa.statements_of(plain, "csn") == [["atrial flutter"]]
    assert cqa.statements_of(plain, "mimic-iv-ecg") == [["afl"]]


def test_descriptions_come_back_from_disk_or_not_at_all(described, tmp_path):
    path = described.save(tmp_path / "descriptions.jsonl")
    again = cqa.Descriptions.read(path)
    assert again.entries == dict(described.entries)
    assert again.fingerprint == described.fingerprint
    assert json.loads(path.read_text().splitlines()[0])["about"]["knowledge"] == knowledge.content_hash()
    path.write_text(path.read_text().replace("atrial", "arterial"))
    with pytest.raises(ValueError, match="changed by hand"):
        cqa.Descriptions.read(path)
    path.write_text("[]")
    with pytest.raises(ValueError, match="not a file of descriptions"):
        cqa.Descriptions.read(path)
    with pytest.raises(ValueError, match=r"is not there; give descriptions\.jsonl"):
        cqa.Descriptions.read(tmp_path / "none.jsonl")


def test_sources_of_texts(described, tmp_path):
    one = store(tmp_path / "s", ["Sinus bradycardia"])
    assert cqa.descriptions_for("report", [one], "simulated") is None
    assert cqa.descriptions_for("cqa", [one, one], "simulated").entries.keys() == {"sinus bradycardia"}
    path = described.save(tmp_path / "d.jsonl")
    assert cqa.descriptions_for(str(path), [one], "simulated").fingerprint == described.fingerprint


def test_impossible_questions_and_k_are_refused(encoder):
    with pytest.raises(ValueError, match="question needs"):
        cqa.Assistant(encoder, question="How is it?")
    with pytest.raises(ValueError, match="top_k lies in 1"):
        cqa.Assistant(encoder, k=0)


def test_retrieval_table_counts_by_hand(assistant):
    """The share at k, recounted statement by statement; it cannot fall with k, and beats random sections."""
    table = cqa_scores.retrieval_table(assistant, [*KNOWN, "qwerty uiop", "no st elevation"], (1, 2, 5))
    assert set(table["n"]) == {len(KNOWN)}
    for _, row in table.iterrows():
        right = 0
        for statement in KNOWN:
            (best,) = assistant.retrieve([statement], int(row["k"]))
            right += bool(cqa.findings(statement) & set(best))
        assert row["value"] == pytest.approx(100 * right / len(KNOWN))
        assert row["ci_low"] < row["value"] + 1e-9
        assert row["ci_high"] > row["value"] - 1e-9
    assert table["value"].is_monotonic_increasing
    assert (table["value"] > table["chance"] + 20).all()


def test_a_section_is_as_near_as_its_nearest_passage(assistant):
    """Recounted from all cosines."""
    statement = "ventricular preexcitation"
    every = assistant.encoder.pooled([f"{p.title}. {p.text}" for p in assistant.searched])
    (asked,) = assistant.encoder.pooled([cqa.QUESTION.format(condition=statement)])
    cosine = (every @ asked) / np.linalg.norm(every, axis=1)
    best = {}
    for passage, value in zip(assistant.searched, cosine, strict=True):
        best[passage.code] = max(value, best.get(passage.code, -1))
    assert assistant.retrieve([statement], 7)[0] == sorted(best, key=best.get, reverse=True)[:7]


def test_chance_of_random_sections_is_that_of_drawing_them(assistant):
    """Hypergeometric closed form against draws."""
    statement = KNOWN[0]
    own = np.array([code in cqa.findings(statement) for code in assistant.sections])
    rng = np.random.default_rng(0)
    drawn = np.mean([own[rng.permutation(len(own))[:30]].any() for _ in range(20_000)])
    table = cqa_scores.retrieval_table(assistant, [statement], (30,))
    assert table["chance"][0] == pytest.approx(100 * drawn, abs=1.5)


def test_wilson_interval():
    """Against the roots of its defining equation, and at the edges."""
    low, high = cqa_scores.wilson(0.3, 40)
    for bound in (low, high):
        assert (0.3 - bound) ** 2 == pytest.approx(cqa_scores.Z**2 * bound * (1 - bound) / 40)
    assert cqa_scores.wilson(0.0, 10)[0] == pytest.approx(0)
    assert cqa_scores.wilson(1.0, 10)[1] == pytest.approx(1)


def longest(a, b):
    """Longest common subsequence by plain recursion."""
    if not a or not b:
        return 0
    if a[-1] == b[-1]:
        return 1 + longest(a[:-1], b[:-1])
    return max(longest(a[:-1], b), longest(a, b[:-1]))


@settings(deadline=None, max_examples=40)
@given(a=st.lists(st.sampled_from("xyz"), max_size=6), b=st.lists(st.sampled_from("xyz"), max_size=6))
def test_rouge_l_is_the_longest_common_subsequence(a, b):
    expected = 2 * longest(a, b) / (len(a) + len(b)) if a and b else 0.0
    assert cqa_scores.rouge_l(" ".join(a), " ".join(b)) == pytest.approx(expected)
    assert cqa_scores.rouge_l(" ".join(b), " ".join(a)) == pytest.approx(expected)


def test_likeness_tells_the_own_reference_from_anothers():
    entries = {
        word: cqa.Description(word, f"{word} waves in lead {i}", (), "answered") for i, word in enumerate("abcdef")
    }
    entries["g"] = cqa.Description("g", "", (), "unexplained")
    found = cqa.Descriptions(entries, {})
    references = {word: entry.text for word, entry in entries.items()}
    table = cqa_scores.likeness(found, references, lambda texts: np.array([[ord(t[0]), 1.0] for t in texts]) - 98, 0)
    value = table.set_index(["measure", "against"])["value"]
    assert set(table["n"]) == {6}
    assert value["ROUGE-L", "own reference"] == 100
    assert value["ROUGE-L", "another's"] == pytest.approx(60)  # «waves in lead» of five words
    assert value["cosine", "own reference"] == pytest.approx(100)
    assert value["cosine", "another's"] < 100


def test_the_papers_prompt_is_the_task_s_question():
    question, _ = report_tasks.question("RBBB", ())
    assert question == cqa.QUESTION.format(condition="RBBB")


def test_metric_rows_hold_every_number_once(assistant):
    table = cqa_scores.retrieval_table(assistant, KNOWN, (1, 2))
    table["setting"] = ["top 1", "top 2"]
    like = pd.DataFrame(
        [
            {"measure": "ROUGE-L", "against": who, "value": v, "ci_low": v - 1, "ci_high": v + 1, "n": 4}
            for who, v in (("own reference", 30.0), ("another's", 12.0))
        ]
    )
    rows = cqa_scores.metric_rows("esi", "mimic-iv-ecg", "subset", (table,), like)
    found = {(row["method"], row["setting"], row["metric"]): row["value"] for row in rows}
    assert len(found) == len(rows) == 6
    assert found["esi", "top 2", "right_section"] == table["value"][1]
    assert found["chance", "top 1", "right_section"] == table["chance"][0]
    assert found["esi", "description against the released one", "rouge_l"] == 30.0
    assert found["chance", "description against the released one", "rouge_l"] == 12.0
