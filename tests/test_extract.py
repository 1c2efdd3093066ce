"""Entities in reports: what is found where, what is denied or doubted, tables of entities, mining, measurement."""

import json
import time
from collections import Counter
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib import knowledge
from ecglib.data import open_dataset
from ecglib.errors import DataError, ParameterError
from ecglib.knowledge import measure, mining
from ecglib.knowledge.entity_table import EntityTable
from ecglib.knowledge.extract import STATUSES, extract
from ecglib.knowledge.lexicon import tokens
from ecglib.knowledge.vocabulary import spellings, synonyms, table
from ecglib.llm_models import Reply
from ecglib.report_tasks import ENTITIES, MERGE, VERIFY

MARKS = {"present": "", "uncertain": "?", "negated": "-"}
EVERY_SYNONYM = [(e.code, name) for e in knowledge.entities() for name in synonyms(e.code)]


def read(text):
    """Codes in order, with ? for doubt and - for denial."""
    return " ".join(mention.code + MARKS[mention.status] for mention in extract(text))


# Written down from the statements themselves, not from what the code gives.
STATEMENTS = {
    "Inferior infarct, age undetermined": "IMI",
    "Left axis deviation": "LAXIS",
    "ST elevation, consider inferior injury": "STE INJIN?",
    "Possible left atrial enlargement": "LAO/LAE?",
    "cannot rule out anterior infarct": "AMI?",
    "Sinus rhythm is no longer present": "SR-",
    "Sinus rhythm is no longer. Atrial fibrillation": "SR- AFIB",
    "without ST elevation": "STE-",
    "rule out MI": "MI?",
    "MI ruled out": "MI-",
    "LAD, consider left anterior fascicular block": "LAXIS LAFB?",
    "Posterior infarct, acute (LAD)": "PMI",
    "LVH w/ strain pattern": "LVH LVS",
    "Q waves c/w old inferior infarct": "QWAVE IMI",
    "Abnrm T, probable ischemia, anterolateral lds": "TAB ISCAL?",
    "Inferior and lateral T wave changes may be due to myocardial ischemia": "TAB ISCIL?",
    "Inferior and anteroseptal infarction": "ASMI IMI",
    "ischemia cannot be excluded": "ISC?",
    "No ST elevation, Q waves or LVH": "STE- QWAVE- LVH-",
    "No PVCs, normal axis": "PVC- NAXIS",
    "No abnormal Q waves": "QWAVE-",
    "No ischemia but LVH": "ISC- LVH",
    "Possible atrial flutter with PVCs": "AFLT? PVC",
    "PVCs or aberrant ventricular conduction": "PVC ABER?",
    "Probable old anteroseptal infarct": "ASMI?",
    "Anteroseptal infarct, probably old": "ASMI",
    "Borderline 1st degree A-V block": "1AVB?",
    "Sinus rhythm has replaced atrial fibrillation": "SR AFIB-",
    "No significant change. Atrial fibrillation": "AFIB",
    "2nd degree (Mobitz II) SA block": "SABLK",
    "Second degree AV block, Mobitz II": "2AVB2",
    "EXTENSIVE I.V. CONDUCTION DEFECT": "IVCD",
    "Infarct? LVH": "MI? LVH",
    "? LVH": "LVH?",
    "Normal ECG except for left axis deviation": "NORM LAXIS",
    "RBBB. LBBB. No RBBB": "CRBBB CLBBB CRBBB-",
    "sinusrhythmus lagetyp normal qrs(t) abnorm    inferiorer infarkt     wahrscheinlich alt": "SR NAXIS ABQRS IMI",
    "verdacht auf p-sinistrocardiale linkstyp": "LAO/LAE? LAXIS",
    "anteroseptaler infarkt nicht auszuschliessen": "ASMI?",
    "inferiorer infarkt mÖglich st & t abnorm": "IMI? STTC",
    "Lead(s) unsuitable for analysis: V1 V2": "POORQ",
    "Interpretation made without knowing patient's sex": "",
}


@pytest.mark.parametrize(("text", "expected"), STATEMENTS.items())
def test_statements_are_read_as_a_reader_would(text, expected):
    assert read(text) == expected


def test_every_phrase_alone_is_present_for_its_entity():
    owners: dict[str, set[str]] = {}
    for code, name in EVERY_SYNONYM:
        owners.setdefault(" ".join(token.text for token in tokens(name)), set()).add(code)
    shared = wrong = 0
    for code, name in EVERY_SYNONYM:
        found = extract(name)
        hedged = any(mention.status != "present" for mention in found)
        if hedged:  # «possible myocardial ischemia» is a synonym in statements.json, and is doubted
            assert any(word in name for word in ("possible", "suggest", "borderline")), name
            continue
        same = owners[" ".join(token.text for token in tokens(name))]
        shared += len(same) > 1
        wrong += not any(mention.code in same for mention in found) and print(code, name, found) is None
    assert len(EVERY_SYNONYM) > 1500
    assert wrong == 0
    assert shared < 0.03 * len(EVERY_SYNONYM)


@pytest.mark.parametrize(
    "template", ["no {}", "No evidence of {}.", "without {}", "absence of {}", "{} is no longer present", "{} not seen"]
)
def test_denied_entities_are_never_present(template):
    for code, name in EVERY_SYNONYM:
        if name.split()[0].lower() in ("no", "kein", "voltages"):  # «no definite pathology» is itself a finding
            continue
        found = extract(template.format(name))
        assert not any(m.code == code and m.status == "present" for m in found), (code, name, found)


@pytest.mark.parametrize(
    "template", ["possible {}", "Consider {}.", "cannot rule out {}", "{} cannot be excluded", "suggestive of {}"]
)
def test_doubted_entities_are_never_present(template):
    for entity in knowledge.entities():
        text = template.format(entity.name)
        found = [m for m in extract(text) if m.code == entity.code]
        assert all(m.status == "uncertain" for m in found), (text, found)


def test_a_mention_reaches_from_its_site_to_its_head():
    assert [m.text for m in extract("Old inferior and lateral MI, anterior ST changes")] == [
        "inferior and lateral MI",
        "ST changes",
    ]


def test_case_punctuation_and_plural_do_not_matter():
    for text in (
        "Premature ventricular contractions",
        "PREMATURE VENTRICULAR CONTRACTION(S)",
        "premature-ventricular  contraction.",
    ):
        assert read(text) == "PVC"
    assert read("a-v block, first degree") == read("AV Block First Degree") == "1AVB"
    assert read("T-wave inversion") == read("T wave inversions") == read("inverted T waves") == "INVT"
    assert read("ischämie") == read("ischaemie") == read("ischaemia") == "ISC"
    assert read("MISMATCH arsenic srr") == ""  # «MI», «SR» stand inside words


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_read_and_spans_stand_in_it(text):
    found = extract(text)
    assert all(text[m.start : m.end] == m.text and m.text and m.status in STATUSES for m in found)
    assert all(a.start <= b.start for a, b in pairwise(found))


PARTS = [
    "LVH",
    "no ",
    "possible ",
    "inferior ",
    "infarct",
    " or ",
    ", ",
    ". ",
    "is no longer present",
    "ischemia",
    "🫀",
    "\x00",
    "ß",
    "?",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PARTS), max_size=40).map("".join))
def test_any_order_of_cues_and_entities_is_read(text):
    found = extract(text)
    assert all(text[m.start : m.end] == m.text for m in found)
    assert {m.code for m in found} <= set(table())


@settings(max_examples=100, deadline=None)
@given(st.permutations(list(STATEMENTS)).map(lambda order: order[:8]))
def test_the_order_of_sentences_changes_nothing(sentences):
    def counted(order):
        return Counter((m.code, m.status) for m in extract("\n".join(order)))

    assert counted(sentences) == counted(sorted(sentences)) == sum((counted([s]) for s in sentences), Counter())


@pytest.mark.parametrize(
    "unit",
    [
        "Sinus rhythm with PVCs, inferior infarct, no ST elevation or LVH 🫀 \x07 ",
        "possible no ",
        "no LVH, RVH, ",
        "inferior ",
        "? ",
        "x",
    ],
)
def test_long_texts_take_time_in_proportion(unit):
    def seconds(words):
        text = (unit * words)[: 8 * words]
        start = time.perf_counter()
        extract(text)
        return time.perf_counter() - start

    seconds(500)
    ratios = sorted(seconds(8_000) / seconds(2_000) for _ in range(3))
    assert ratios[0] < 10  # 4 when linear, 16 when quadratic


def test_foreign_phrases_are_found_where_the_knowledge_base_has_none():
    assert extract("zebra pattern in V1") == []
    (found,) = extract("no zebra pattern in V1", (("zebra pattern", "zebra"),))
    assert (found.code, found.name, found.text, found.status) == ("zebra", "zebra", "zebra pattern", "negated")
    assert extract("LVH", (("LVH", "mine"),))[0].code == "LVH"


def test_what_is_no_text_is_refused():
    with pytest.raises(ParameterError, match="NoneType"):
        extract(None)


def test_alternatives_of_a_pattern():
    assert list(spellings("(low|flat|) T")) == ["low T", "flat T", "T"]
    assert list(spellings("PAC(s)")) == ["PAC(s)"]


# --- tables of entities -----------------------------------------------------------------------------------------


def test_table_of_the_knowledge_base():
    known = EntityTable.of_knowledge()
    assert len(set(known.entities)) == len(known.entities) > 200
    n = len(known.superclasses)
    assert tuple(known.superclasses) == known.entities[-n:]  # subclasses first, superclasses last
    assert set(known.superclasses["myocardial infarction"]) >= {"inferior myocardial infarction"}
    assert "poor data quality" not in known.entities
    assert known.hash == EntityTable.of_knowledge().hash != EntityTable.of_knowledge("present").hash


def test_labels_follow_status_and_superclass():
    known = EntityTable.of_knowledge()
    column = {name: k for k, name in enumerate(known.entities)}
    reports = [
        "Sinus rhythm. Possible inferior infarct. No LVH",
        "infarct",
        "LVH. No LVH",
        "",
        "Sinus rhythm. Possible inferior infarct. No LVH",
    ]
    labels = known.labels(reports)
    assert labels.dtype == np.float32
    assert labels.shape == (5, len(known.entities))
    on = [{known.entities[k] for k in np.flatnonzero(row)} for row in labels]
    assert on[0] == {"sinus rhythm", "sinus rhythm disorder or variant"}
    assert on[1] == {"myocardial infarction"}
    assert "left ventricular hypertrophy" in on[2]
    assert on[3] == set()
    assert (labels[0] == labels[4]).all()
    doubted = known.labels(reports[:1], uncertain="present")[0]
    assert doubted[column["inferior myocardial infarction"]] == doubted[column["myocardial infarction"]] == 1
    assert doubted[column["left ventricular hypertrophy"]] == 0
    assert (EntityTable.of_knowledge("present").labels(reports[:1])[0] == doubted).all()


def test_table_comes_back_from_its_file(tmp_path):
    known = EntityTable.of_knowledge("present")
    again = EntityTable.read(known.save(tmp_path / "entities.json"))
    assert again == known
    assert again.hash == known.hash


def test_damaged_tables_are_named(tmp_path):
    path = EntityTable.of_knowledge().save(tmp_path / "entities.json")
    content = json.loads(path.read_text(encoding="utf-8"))
    for change, named in (
        ({"entities": []}, "entities"),
        ({"uncertain": "maybe"}, "uncertain"),
        ({"extra": 1}, "extra"),
    ):
        path.write_text(json.dumps(content | change), encoding="utf-8")
        with pytest.raises(DataError, match=named):
            EntityTable.read(path)
    path.write_text(json.dumps(content | {"spellings": {"x": "nothing known"}}), encoding="utf-8")
    with pytest.raises(ParameterError, match="nothing known"):
        EntityTable.read(path)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(DataError, match=r"entities\.json"):
        EntityTable.read(path)
    with pytest.raises(DataError, match="missing"):
        EntityTable.read(tmp_path / "missing.json")
    with pytest.raises(ParameterError, match="absent, present"):
        EntityTable.of_knowledge("maybe")


# --- mining -----------------------------------------------------------------------------------------------------

REPORTS = [
    "Sinus rhythm. Left anterior hemiblock. Possible LVH",
    "LAFB. Normal sinus rhythm. ST changes, inferior leads, consistent with ischemia",
    "Atrial fibrillation. No LVH. Inferior MI",
    "Atrial fibrillation. Old inferior infarct. Baseline wander",
]


def test_mining_merges_spellings_and_finds_superclasses(tmp_path):
    mined = mining.mine(REPORTS)
    assert set(mined.entities) >= {
        "left anterior fascicular block",
        "inferior ischemia",
        "inferior myocardial infarction",
    }
    assert "fascicular block" in mined.superclasses
    assert "left ventricular hypertrophy" not in mined.entities  # only doubted or denied
    assert "artifact" not in mined.entities
    assert mined.stages["reports"] == 4
    assert mined.stages["extracted"] > mined.stages["merged"] >= mined.stages["superclasses"] > 0
    assert mined.stages["entities"] == len(mined.entities)
    assert EntityTable.read(mined.save(tmp_path / "entities.json")) == mined
    assert "left ventricular hypertrophy" in mining.mine(REPORTS, uncertain="present").entities
    assert "inferior ischemia" not in mining.mine(REPORTS, min_count=2).entities


class Answering:
    """A back end without a server: task name -> what it says of a report, a Reply or an answer."""

    cached = False

    def __init__(self, **says):
        self.says = says

    def record(self):
        return {"kind": "planted", "model": "planted"}

    def replies(self, task, items, deliver):
        for place, item in enumerate(items):
            said = self.says[task.name](item) if task.name in self.says else task.from_knowledge(item)
            deliver(place, said if isinstance(said, Reply) else Reply(json.dumps(said)))


def test_answers_of_no_use_are_counted_for_every_question(tmp_path):
    def entities(report):
        if "Baseline" in report:
            return Reply(status="failed", reason="503")
        known = ENTITIES.from_knowledge(report)["entities"]
        return {"entities": [*known, {"text": "moon landing", "status": "present"}]}

    def verify(item):
        return Reply(status="timed_out") if "inferior leads" in item[0] else VERIFY.from_knowledge(item)

    def merge(names):
        return {"merged": [*MERGE.from_knowledge(names)["merged"], {"name": "x", "merged_name": names[0]}]}

    mined = mining.mine(REPORTS, Answering(entities=entities, verify=verify, merge=merge))
    counted = {"extract_failed": 1, "extract_dropped": 3, "verify_timed_out": 1, "merge_dropped": 1}
    assert {key: mined.stages[key] for key in counted} == counted
    assert mining.outcome(mined.stages) == (
        "answers of no use: extract: 1 failed, 3 dropped; verify: 1 timed out; merge: 1 dropped"
    )
    assert EntityTable.read(mined.save(tmp_path / "entities.json")).stages == mined.stages
    assert mining.outcome(mining.mine(REPORTS).stages) == "answers of no use: none"


def test_a_mined_table_labels_like_the_knowledge_base():
    reports = (
        open_dataset("simulated", cohort="mimic-iv-ecg", n=60, seed=3, sampling_rate_hz=100).records["report"].tolist()
    )
    mined, known = mining.mine(reports), EntityTable.of_knowledge()
    of_known = known.labels(reports)[:, [known.entities.index(name) for name in mined.entities]]
    assert (mined.labels(reports) == of_known).all()


def test_embeddings_merge_what_is_near_and_labels_follow():

    def embed(names):  # everything about rhythm points one way
        return np.array(
            [[1.0, 0.1] if "fibrillation" in n or "rhythm" in n else [k * 1.0, -5.0] for k, n in enumerate(names)]
        )

    mined = mining.mine(REPORTS, embed=embed)
    assert len({"sinus rhythm", "atrial fibrillation"} & set(mined.entities)) == 1
    (kept,) = {"sinus rhythm", "atrial fibrillation"} & set(mined.entities)
    labels = mined.labels(["Sinus rhythm", "AFib"])[:, mined.entities.index(kept)]
    assert labels.tolist() == [1, 1]


def test_merging_keeps_the_more_frequent_name_and_the_threshold():
    vectors = {"a": [1.0, 0.0], "b": [0.96, 0.28], "c": [0.0, 1.0]}  # cos(a, b) = 0.96
    counts = Counter(a=1, b=3, c=2)

    def embed(names):
        return np.array([vectors[name] for name in names])

    assert mining.merge_by_similarity(counts, embed, 0.95) == {"b": "b", "c": "c", "a": "b"}
    assert mining.merge_by_similarity(counts, embed, 0.97) == {"b": "b", "c": "c", "a": "a"}
    with pytest.raises(ParameterError, match="embed"):
        mining.merge_by_similarity(counts, lambda names: np.zeros(3))


def test_mining_needs_reports_with_entities():
    for reports, named in (([], "empty"), ([" "], "empty"), (["nothing of note"], "none of the 1 reports")):
        with pytest.raises(ParameterError, match=named):
            mining.mine(reports)


# --- measurement ------------------------------------------------------------------------------------------------


def test_scores_by_hand():
    measured = measure.Measured.of("by hand", [("1", {"A", "B"}, {"A"}), ("2", {"A"}, {"A", "C"}), ("3", set(), {"C"})])
    scores = measured.scores(replicates=200).set_index("entity")
    assert scores.loc["micro", ["right", "extra", "missed"]].tolist() == [2, 1, 2]
    assert scores.loc["micro", "precision"] == pytest.approx(100 * 2 / 3)
    assert scores.loc["micro", "recall"] == pytest.approx(50)
    assert scores.loc["A", "precision"] == scores.loc["A", "recall"] == 100
    assert np.isnan(scores.loc["C", "precision"])
    assert scores.loc["C", "recall"] == 0
    assert scores.loc["macro", "recall"] == pytest.approx(50)  # of A and C; the reference never holds B
    assert scores.loc["micro", "recall_low"] <= 50 <= scores.loc["micro", "recall_high"]
    assert measured.failures().to_dict("records") == [
        {"id": "1", "extra": "B", "missed": ""},
        {"id": "2", "extra": "", "missed": "C"},
        {"id": "3", "extra": "", "missed": "C"},
    ]
    with pytest.raises(ParameterError, match="nothing"):
        measure.Measured.of("nothing", [])


def test_intervals_do_not_depend_on_anything_but_the_seed():
    documents = [(str(n), {"A"} if n % 3 else set(), {"A"} if n % 2 else set()) for n in range(30)]
    one, two = (measure.Measured.of("x", documents).scores(seed=1, replicates=50) for _ in range(2))
    pd.testing.assert_frame_equal(one, two)


def test_reference_names_known_entities_and_no_statement():
    reference = json.loads(json.dumps(measure.load("mimic_reference")))
    assert Counter(entry["sample"] for entry in reference["statements"].values()) == {"first": 200, "second": 120}
    for i, entry in reference["statements"].items():
        assert len(i) == 16
        assert int(i, 16) >= 0
        assert {name.rstrip("?-") for name in entry["entities"]} <= set(table())
        assert entry["stratum"] in reference["strata"]


def test_languages():
    assert measure.language("sinusrhythmus linkstyp qrs(t) abnormal") == "german"
    assert measure.language("sinus rhythm. normal ecg.") == "english"
    assert measure.language("sinusrytm avvikande qrs(t) förlopp") == "other"


def test_unreadable_references_are_named(tmp_path):
    with pytest.raises(DataError, match="mimic_waveform_dict"):
        measure.read_statements(tmp_path)
    (tmp_path / measure.STATEMENTS).write_text('{"Sinus rhythm": ""}', encoding="utf-8")
    with pytest.raises(DataError, match="lacks 200 of 200"):
        measure.mimic_statements(tmp_path, "first")
    with pytest.raises(ParameterError, match="third"):
        measure.mimic_statements(tmp_path, "third")
    (tmp_path / "x.csv").write_text("ecg_id,report\n1,a\n", encoding="utf-8")
    with pytest.raises(DataError, match="scp_codes"):
        measure.read_ptbxl(tmp_path / "x.csv")


@pytest.mark.parametrize(("sample", "precision", "recall"), [("first", 97, 97), ("second", 97, 96)])
def test_real_statements_are_read_well(real_data, sample, precision, recall):
    micro = measure.mimic_statements(real_data("mimic_iv_ecg_text"), sample).scores(replicates=10).iloc[0]
    assert micro["precision"] > precision
    assert micro["recall"] > recall


def test_no_statement_is_committed(real_data):
    text = json.dumps(measure.load("mimic_reference"))
    statements = measure.read_statements(real_data("mimic_iv_ecg_text"))
    assert len(statements) == 3862
    assert not [s for s in statements if len(s) > 30 and s in text]


def test_real_ptbxl_reports_and_their_codes(real_data):
    frame = measure.read_ptbxl(real_data("ptbxl_reports") / "ptbxl_database_form.csv")
    frame = frame[measure.held_out(frame["patient_id"])].assign(language=lambda f: f["report"].map(measure.language))
    for language, precision, recall in (("german", 65, 69), ("english", 75, 72)):
        part = frame[frame["language"] == language]
        micro = measure.ptbxl_reports(part, language).scores(replicates=10).iloc[0]
        assert len(part) > 1500
        assert micro["precision"] > precision
        assert micro["recall"] > recall


def test_a_folder_without_reports_is_named(tmp_path):
    with pytest.raises(ParameterError, match=r"holds no ptbxl_\*.csv"):
        measure.real_references("", str(tmp_path))


def test_reports_of_the_real_subset_are_measured_beside_the_others(real_data):
    paths = [real_data("ptbxl_reports") / "ptbxl_test_english.csv", real_data("ptbxl_subset") / "ptbxl_database.csv"]
    found = {measured.what: measured for _, measured in measure.real_references("", ",".join(map(str, paths)))}
    german, english = (found[f"PTB-XL reports, {language}, ptbxl_subset"] for language in ("german", "english"))
    assert "PTB-XL reports, english, ptbxl_test_english" in found
    folder = [measured.what for _, measured in measure.real_references("", str(real_data("ptbxl_subset")))]
    assert folder == ["PTB-XL reports, german, ptbxl_subset", "PTB-XL reports, english, ptbxl_subset"]
    for measured, n, precision, recall in ((german, 85, 88, 84), (english, 49, 82, 75)):
        micro = measured.scores(replicates=10).iloc[0]
        assert len(measured.ids) == n
        assert micro["precision"] > precision
        assert micro["recall"] > recall


def test_mining_without_merging_or_superclasses(tmp_path):
    """K-MERL table 2c: synonyms stay apart, each found by its own words; or nothing says what is a kind of what."""
    reports = ["Sinus rhythm. Left bundle branch block", "NSR with LBBB", "Anterior myocardial infarction", "No LBBB"]
    apart, flat = mining.mine(reports, merge=False), mining.mine(reports, aggregate=False)
    named = {
        report: {apart.entities[k] for k in row.nonzero()[0]} - set(apart.superclasses)
        for report, row in zip(reports, apart.labels(reports), strict=True)
    }
    assert named["Sinus rhythm. Left bundle branch block"] == {"sinus rhythm", "left bundle branch block"}
    assert named["NSR with LBBB"] == {"nsr", "lbbb"}
    assert len(named["Anterior myocardial infarction"]) == 1
    assert named["No LBBB"] == set()
    assert {"lbbb", "left bundle branch block"} <= set(apart.superclasses["bundle branch block"])
    assert flat.superclasses == {}
    assert set(flat.entities) == set(mining.mine(reports).entities) - set(mining.mine(reports).superclasses)
    assert len({table.hash for table in (apart, flat, mining.mine(reports))}) == 3
    assert EntityTable.read(apart.save(tmp_path / "entities.json")) == apart
