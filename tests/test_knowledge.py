"""The knowledge base: complete, well formed, medically free of the contradictions known from other prompt sets."""

import csv
import hashlib
import json
import re
import subprocess
import sys
from importlib.resources import files

import jsonschema
import pytest

from ecglib import knowledge
from ecglib.data.labels import FINDINGS, SCP_CODES, TASKS, cpsc_to_classes, csn_acronyms, scp_statements
from ecglib.errors import ParameterError
from ecglib.knowledge.corpus import ASPECTS
from ecglib.knowledge.extract import extract
from ecglib.llm import KnowledgeBase, ask
from ecglib.report_tasks import FEATURES

EVERY_CLASS = [(task, cls) for task, classes in TASKS.items() for cls in classes]


def _json(name):
    return json.loads(files("ecglib.knowledge").joinpath(name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", [*knowledge.DATA_FILES, *knowledge.ENTITY_FILES])
def test_data_files_satisfy_their_schemas(name):
    schema = _json(f"{name}.schema.json")
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(_json(f"{name}.json"), schema)
    knowledge.validate()


def test_schema_refuses_what_it_should():
    entry = _json("statements.json")
    schema = _json("statements.schema.json")
    for broken in (
        {"prompts": ["only one"]},
        {"prompts": ["ends in blank ", "second"]},
        {"prompts": ["Vorhofflimmern mit Überleitung", "non-ASCII"]},
        {"criteria": {"V7": "a lead group nobody defined"}},
        {"synonyms": []},
    ):
        damaged = entry | {"findings": {"AFIB": entry["findings"]["AFIB"] | broken}}
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(damaged, schema)


def test_validate_names_what_is_wrong(monkeypatch):
    classes = _json("classes.json")
    classes["csn"]["AF"]["typical"] = ["AFIB"]  # csn's AF is flutter
    real = knowledge._load
    monkeypatch.setattr(knowledge, "_load", lambda name: classes if name == "classes" else real(name))
    with pytest.raises(ParameterError, match=r"AFIB.*csn AF"):
        knowledge.validate()
    del classes["csn"]["AF"]
    with pytest.raises(ParameterError, match="differ in AF"):
        knowledge.validate()


@pytest.mark.parametrize(("task", "cls"), EVERY_CLASS)
def test_every_class_has_name_and_distinct_prompts(task, cls):
    name, prompts = knowledge.class_name(task, cls), knowledge.prompts(task, cls)
    assert name != cls
    assert len(prompts) >= 2
    assert len({p.lower() for p in prompts}) == len(prompts)
    assert all(p == p.strip() and p.isascii() and 1 <= len(p.split()) <= 14 for p in prompts)


@pytest.mark.parametrize("task", TASKS)
def test_no_prompt_serves_two_classes_of_a_task(task):
    owner = {}
    for cls, prompts in knowledge.prompt_set(task).items():
        for prompt in prompts:
            assert owner.setdefault(prompt.lower(), cls) == cls, prompt


# What the prompts (and name) of a class must speak of, and must never speak of. Written apart from the data.
MUST = {
    "NORM": r"normal",
    "MI": r"infarct",
    "CD": r"conduction|block|wolff",
    "AMI": r"anter",
    "IMI": r"infer",
    "LMI": r"lateral",
    "PMI": r"posterior",
    "AFIB": r"fibrillation",
    "AF": r"flutter",
    "AFLT": r"flutter",
    "ST": r"tachycardia",
    "STACH": r"tachycardia",
    "SBRAD": r"bradycardia|slow",
    "STD": r"depress",
    "STDD": r"depress|drop down",
    "STE": r"elevat",
    "SA": r"arrhythmia|irregular",
    "LVH": r"left ventricular|lvh",
    "RVH": r"right ventricular|rvh",
    "CRBBB": r"right bundle|rbbb",
    "CLBBB": r"left bundle|lbbb",
    "RBBB": r"right bundle|rbbb",
    "LBBB": r"left bundle|lbbb",
    "TWO": r"inver",
    "CCR": r"counterclockwise|early",
    "VB": r"bigem",
    "AVB": r"a-?v block|atrioventricular|heart block",
    "ERV": r"early repol",
}
MUST_NOT = {
    "NORM": r"tachy|brady|block|infarct|hypertroph|abnormal|fibrill|flutter|nonspecific|ischemi|depress|elevat",
    "STD": r"elevat",
    "STDD": r"elevat",
    "STE": r"depress",
    "AF": r"fibrill",
    "AFLT": r"fibrill",
    "AFIB": r"flutter",
    "ST": r"brady|elevat|depress|st-t",  # csn's ST is sinus tachycardia
    "STACH": r"brady",
    "SBRAD": r"tachy",
    "SR": r"brady|tachy|fibrill|abnormal",
    "SVT": r"ventricular tachycardia(?<!supraventricular tachycardia)",
    "LBBB": r"right bundle|incomplete",
    "RBBB": r"left bundle|incomplete",
    "CLBBB": r"right bundle|incomplete",
    "CRBBB": r"left bundle|incomplete",
    "CR": r"counter|early",
    "CCR": r"\bclockwise|late",
    "ALS": r"right",
    "ARS": r"left",
    "LVH": r"right",
    "RVH": r"left",
    "1AVB": r"second|complete|third|2nd|3rd",
    "2AVB": r"first|complete|third|1st",
    "PAC": r"ventricular(?<!supraventricular)|pvc",
    "APB": r"ventricular(?<!supraventricular)|pvc",
    "PVC": r"atrial|supraventricular",
    "VPB": r"atrial|supraventricular",
    "VPC": r"atrial|supraventricular",
    "BIGU": r"trigem",
    "TRIGU": r"bigem",
    "MI": r"bundle|normal",
    "IMI": r"anter",
    "LOWT": r"tall|invert",
    "LVOLT": r"high",
    "HVOLT": r"\blow",
}


@pytest.mark.parametrize(("task", "cls"), EVERY_CLASS)
def test_prompts_say_what_the_class_means(task, cls):
    for text in (knowledge.class_name(task, cls), *knowledge.prompts(task, cls)):
        assert re.search(MUST.get(cls, ""), text.lower()), text
        if cls in MUST_NOT:
            assert not re.search(MUST_NOT[cls], text.lower()), text


def test_no_prompt_reads_like_a_chat_reply_or_hedges_away_its_class():
    for task, cls in EVERY_CLASS:
        for prompt in knowledge.prompts(task, cls):
            assert not re.search(r"based on|let me|generated|please|requirement|[?!*]", prompt, re.I)
            assert not re.search(r"\b(no|not|without|absent|rule out|unlikely)\b(?! P waves)", prompt, re.I)


def test_superclass_prompts_are_statements_of_its_members():
    for cls in TASKS["ptbxl-super"]:
        own = set(_json("classes.json")["ptbxl-super"][cls].get("prompts", ()))
        of_members = {p for code in knowledge.members("ptbxl-super", cls) for p in knowledge.finding(code)["prompts"]}
        assert set(knowledge.prompts("ptbxl-super", cls)) <= own | of_members
        assert len(knowledge.prompts("ptbxl-super", cls)) >= 5


def test_findings_carry_superclass_and_classes_of_the_label_spaces():
    assert set(_json("statements.json")["findings"]) == set(FINDINGS)
    for code in FINDINGS:
        entry = knowledge.finding(code)
        if code in SCP_CODES:
            assert entry["superclass"] == scp_statements()[code]["super"]
        assert set(entry["criteria"]) <= set(knowledge.lead_groups())
    assert knowledge.finding("AFLT")["classes"]["csn"] == ["AF"]
    assert knowledge.finding("2AVB1")["superclass"] == ""


def test_codes_that_mean_different_things_per_task():
    assert knowledge.class_name("csn", "AF") == "atrial flutter"
    assert knowledge.class_name("csn", "ST") == "sinus tachycardia"
    assert knowledge.class_name("csn", "SA") == "sinus irregularity"
    assert knowledge.prompts("csn", "STTC") != knowledge.prompts("ptbxl-super", "STTC")
    assert "Complete A-V block" in knowledge.prompts("csn", "AVB")
    assert "First degree A-V block" not in knowledge.prompts("csn", "AVB")
    assert "First degree A-V block" in knowledge.prompts("ptbxl-sub", "AVB")


def test_prompt_sets_follow_the_order_of_the_task():
    for task in TASKS:
        for kind in knowledge.KINDS:
            assert tuple(knowledge.prompt_set(task, kind)) == TASKS[task]
    assert knowledge.prompt_set("ptbxl-super", "name")["HYP"] == ["hypertrophy"]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: knowledge.prompts("ptbxl", "MI"), "ptbxl-super"),
        (lambda: knowledge.class_name("csn", "SB"), "JEB"),
        (lambda: knowledge.prompt_set("cpsc"), "cpsc2018"),
        (lambda: knowledge.prompt_set("cpsc2018", "names"), "clinical"),
        (lambda: knowledge.finding("NST_"), "NST"),
        (lambda: knowledge.superclass("NST_"), "entities"),
        (lambda: knowledge.waveform_features("lvh"), "entities"),
        (lambda: knowledge.codes("icd10"), "snomed"),
    ],
)
def test_unknown_names_say_what_exists(call, named):
    with pytest.raises(ParameterError, match=named):
        call()


def test_hash_moves_with_any_prompt(monkeypatch):
    before = knowledge.knowledge_hash()
    assert re.fullmatch(r"[0-9a-f]{12}", before)
    assert before == knowledge.knowledge_hash()
    changed = _json("statements.json")
    changed["findings"]["AFIB"]["prompts"][0] += "."
    real = knowledge._load
    monkeypatch.setattr(knowledge, "_load", lambda name: changed if name == "statements" else real(name))
    assert knowledge.knowledge_hash() != before


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("vocabulary", ("entities", "AFIB", "features", 0), "no P waves"),
        ("passages", ("findings", "AFIB", 0), "Atrial fibrillation has no P waves and irregular RR intervals."),
        ("grammar", ("cues", "negated_before", 0), "nowhere"),
        ("codes", ("csn", "SB", "entity"), "SR"),
        ("coded", ("entities", "BBB", "prompts", 0), "Block of a bundle branch"),
    ],
)
def test_hash_of_the_content_moves_where_that_of_the_prompts_does_not(monkeypatch, name, path, value):
    of_prompts, of_content = knowledge.knowledge_hash(), knowledge.content_hash()
    assert re.fullmatch(r"[0-9a-f]{12}", of_content)
    assert of_content != of_prompts
    assert KnowledgeBase().record()["model"] == f"knowledge base {of_content}"
    changed = _json(f"{name}.json")
    node = changed
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    real = knowledge._load
    monkeypatch.setattr(knowledge, "_load", lambda n: changed if n == name else real(n))
    assert knowledge.knowledge_hash() == of_prompts
    assert knowledge.content_hash() != of_content
    assert KnowledgeBase().record()["model"] != f"knowledge base {of_content}"


def test_both_hashes_move_with_the_findings(monkeypatch):
    of_prompts, of_content = knowledge.knowledge_hash(), knowledge.content_hash()
    changed = _json("statements.json")
    changed["findings"]["AFIB"]["criteria"]["rhythm"] += ", at any rate"
    real = knowledge._load
    monkeypatch.setattr(knowledge, "_load", lambda n: changed if n == "statements" else real(n))
    assert knowledge.knowledge_hash() != of_prompts
    assert knowledge.content_hash() != of_content


# Fixed before any scoring: a score of one prompt set is not to be compared with that of another under the same name.
PROMPTS = {
    "ptbxl-super": "21ebf9868a32",
    "ptbxl-sub": "2e99217cf7ba",
    "ptbxl-form": "2a6e7e27e97b",
    "ptbxl-rhythm": "b0574f7890c5",
    "cpsc2018": "c87ac3828123",
    "csn": "408c5717571c",
}


@pytest.mark.parametrize("task", TASKS)
def test_the_prompts_that_were_scored_stay_as_they_are(task):
    content = json.dumps([knowledge.prompt_set(task, kind) for kind in knowledge.KINDS])
    assert hashlib.sha256(content.encode()).hexdigest()[:12] == PROMPTS[task]


def test_vocabulary_holds_every_finding_and_more():
    codes = [entity.code for entity in knowledge.entities()]
    assert set(FINDINGS) < set(codes)
    assert len(set(codes)) == len(codes) > 200
    names = [entity.name.lower() for entity in knowledge.entities()]
    assert len(set(names)) == len(names)
    assert {entity.superclass for entity in knowledge.entities()} == set(knowledge.superclasses())
    assert knowledge.superclass("IMI") == knowledge.superclass("MI") == "myocardial infarction"
    assert all(entity.scp in ("", *SCP_CODES) for entity in knowledge.entities())
    assert all(entity.scp == entity.code for entity in knowledge.entities() if entity.code in SCP_CODES)


def test_every_finding_has_waveform_features_with_leads_or_timing():
    for code in FINDINGS:
        features = knowledge.waveform_features(code)
        assert features, code
        assert all(not feature.endswith(".") and len(feature.split()) <= 16 for feature in features)
    assert "tall R wave in V5 and V6" in knowledge.waveform_features("LVH")
    assert "ST elevation in II, III and aVF" in knowledge.waveform_features("IMI")
    assert knowledge.waveform_features("POORQ") == []
    assert any(re.search(r"\bV1\b", feature) for feature in knowledge.waveform_features("CRBBB"))


def test_every_code_list_is_covered():
    known = {entity.code for entity in knowledge.entities()}
    assert set(SCP_CODES) <= known
    cpsc = knowledge.codes("cpsc2018")
    assert {entry["class"] for entry in cpsc.values()} == set(TASKS["cpsc2018"])
    for number, entry in cpsc.items():
        assert cpsc_to_classes([number]) == [entry["class"]]
    csn = knowledge.codes("csn")
    assert set(TASKS["csn"]) <= set(csn)
    assert "SB" in csn
    assert csn["SB"]["entity"] == "SBRAD"
    assert csn["AF"]["entity"] == "AFLT"
    for label_set in knowledge.CODE_SETS:
        assert {entry["entity"] for entry in knowledge.codes(label_set).values()} <= known
        for entry in knowledge.codes(label_set).values():
            code = entry["entity"]
            about, features = knowledge.finding(code), knowledge.waveform_features(code)
            assert about["name"] != code
            assert knowledge.synonyms(code)
            if about["not_on_ecg"]:
                assert [about["criteria"], about["prompts"], features] == [{}, [], []], code
            else:
                assert about["criteria"], code
                assert len(about["prompts"]) >= 2, code
                assert features, code
    snomed = knowledge.codes("snomed")
    assert sum(entry["challenge"].get("2021") == "scored" for entry in snomed.values()) == 30
    assert sum(entry["challenge"].get("2020") == "scored" for entry in snomed.values()) == 27
    assert set(csn_acronyms()) <= set(snomed)


CODED = sorted(set(_json("coded.json")["entities"]))
BY_ECG = [code for code in CODED if not knowledge.finding(code)["not_on_ecg"]]
SAYS = {  # what criteria must speak of, written apart from the data
    "BBB": r"QRS 120 ms",
    "PRWP": r"R .*V3",
    "BRADY": r"below 60",
    "JTACH": r"above 100",
    "VTACH": r"wide.*above 100",
    "VFIB": r"chaotic",
    "BRUGADA": r"coved ST elevation.*saddleback",
    "WAP": r"three shapes",
    "SPR": r"under 120 ms",
    "SQT": r"390 ms",
    "LVOLL": r"0\.5 mV",
    "LVOLC": r"1\.0 mV",
    "AVNRT": r"pseudo r'",
}


def test_what_no_ecg_defines_is_marked():
    assert set(CODED) - set(BY_ECG) == {"CHD", "HF", "HVD", "TIA"}
    assert knowledge.finding("HF")["criteria"] == {}
    assert knowledge.finding("HF")["prompts"] == knowledge.waveform_features("HF") == []
    assert "specific" in knowledge.finding("HF")["not_on_ecg"]


@pytest.mark.parametrize("code", BY_ECG)
def test_entities_of_codes_have_criteria_features_and_prompts_that_name_them(code):
    about = knowledge.finding(code)
    assert set(about["criteria"]) <= set(knowledge.lead_groups())
    assert re.search(SAYS.get(code, ""), " ".join(about["criteria"].values()))
    assert about["superclass"] in ("", *TASKS["ptbxl-super"])
    assert about["classes"] == {task: [] for task in TASKS}
    for prompt in about["prompts"]:
        assert code in {mention.code for mention in extract(prompt) if mention.status != "negated"}, prompt
    others = {p.lower() for other in (*FINDINGS, *BY_ECG) if other != code for p in knowledge.finding(other)["prompts"]}
    assert not others & {prompt.lower() for prompt in about["prompts"]}
    (proposed,) = ask(FEATURES, [about["prompts"][0]]).values
    assert set(knowledge.waveform_features(code)) <= {pair["feature"] for pair in proposed["features"]}


def test_coded_entities_have_the_superclass_of_their_scp_code():
    of = {code: knowledge.finding(code)["superclass"] for code in BY_ECG}
    assert [of[code] for code in ("BBB", "AVB", "VPEX", "MI", "STTC", "AE", "VTACH", "PRWP")] == [
        "CD", "CD", "CD", "MI", "STTC", "HYP", "", "",
    ]  # fmt: skip
    for entity in knowledge.entities():
        if entity.code in of and entity.scp:
            assert of[entity.code] == scp_statements()[entity.scp]["super"]


@pytest.mark.parametrize("label_set", knowledge.CODE_SETS)
def test_names_of_label_sets_are_read_as_their_entity(label_set):
    for code, entry in knowledge.codes(label_set).items():
        found = {mention.code: mention.status for mention in extract(entry["name"])}
        assert found == {entry["entity"]: "present"}, (code, entry)


def test_codes_of_real_headers_and_label_files_are_known(real_data):
    snomed = knowledge.codes("snomed")
    with (real_data("cinc2021_samples") / "records.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    codes = {code.strip() for row in rows for code in re.split(r"[;,|]", row["dx_snomed"]) if code.strip()}
    assert len(codes) > 40
    assert codes <= set(snomed)
    for year, n in (("2020", 111), ("2021", 133)):
        with (real_data("csn_labels") / f"challenge{year}_dx_mapping.csv").open(encoding="utf-8") as file:
            listed = {row["snomed_code"]: row["scored"] == "1" for row in csv.DictReader(file)}
        here = {
            code: entry["challenge"][year] == "scored" for code, entry in snomed.items() if year in entry["challenge"]
        }
        assert here == listed
        assert len(listed) == n
    with (real_data("csn_labels") / "ConditionNames_SNOMED-CT.csv").open(encoding="utf-8") as file:
        listed = {row["AcronymName"]: row["Snomed_CT"] for row in csv.DictReader(file)}
    assert {acronym: entry["snomed"] for acronym, entry in knowledge.codes("csn").items()} == listed


def test_passages_are_distinct_and_speak_of_their_finding():
    passages = knowledge.passages()
    assert len({passage.id for passage in passages}) == len({passage.text for passage in passages}) == len(passages)
    of = {passage.id: passage.text for passage in passages}
    for code in FINDINGS:
        assert all(f"{code}/{aspect}" in of for aspect in ASPECTS)
    assert {passage.code for passage in passages} == {entity.code for entity in knowledge.entities()}
    assert "In V1 and V2: deep S in V1" in of["LVH/criteria"]
    assert "II, III and aVF" in of["IMI/definition"]
    assert all(passage.text.isascii() and passage.text.endswith(".") for passage in passages)


def test_a_passage_s_definition_names_no_other_side_or_wall():
    for code, wrong in {
        "CRBBB": "left ventricle is",
        "IMI": "V1 to V4",
        "LAO/LAE": "right atri",
        "LPFB": "upper left",
    }.items():
        definition = next(p.text for p in knowledge.passages() if p.id == f"{code}/definition")
        assert wrong not in definition


def test_schemas_of_the_entity_files_refuse_what_they_should():
    for name, path, value in (
        ("vocabulary", ("entities", "AFIB", "synonyms"), []),
        ("vocabulary", ("entities", "AFIB", "colour"), "red"),
        ("grammar", ("cues", "maybe"), ["perhaps"]),
        ("codes", ("snomed", "abc"), {}),
        ("passages", ("findings", "AFIB"), ["too short", "also"]),
        ("coded", ("entities", "BBB", "not_on_ecg"), "but it has criteria"),
        ("coded", ("entities", "HF"), {}),
        ("coded", ("entities", "BBB", "prompts"), ["only one"]),
    ):
        broken = _json(f"{name}.json")
        node = broken
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(broken, _json(f"{name}.schema.json"))


def test_validate_finds_what_entity_files_refer_to_in_vain(monkeypatch):
    real = knowledge._load
    for name, change, message in (
        ("vocabulary", lambda c: c["entities"].pop("AFIB"), "lacks the findings AFIB"),
        ("vocabulary", lambda c: c["entities"]["AFIB"].update(superclass="NONE"), "NONE"),
        ("vocabulary", lambda c: c["entities"]["AT"].update(scp="XX"), "XX"),
        ("codes", lambda c: c["csn"]["SB"].update(entity="ZZ"), "ZZ"),
        ("grammar", lambda c: c["german"].update(QQ=["x"]), "QQ"),
        ("vocabulary", lambda c: c["entities"]["AFIB"].update(name="again"), "AFIB"),
        ("coded", lambda c: c["entities"].pop("PRWP"), "differ in PRWP"),
        ("coded", lambda c: c["entities"]["PRWP"].pop("features"), "PRWP needs features"),
        ("coded", lambda c: c["entities"]["DIB"].update(superclass="MI"), "DIB under 'MI'"),
    ):
        changed = _json(f"{name}.json")
        change(changed)
        monkeypatch.setattr(knowledge, "_load", lambda n, name=name, changed=changed: changed if n == name else real(n))
        with pytest.raises(ParameterError, match=message):
            knowledge.validate()


def test_returned_values_are_copies():
    knowledge.prompts("csn", "AF").append("x")
    knowledge.finding("AFLT")["classes"]["csn"].append("x")
    knowledge.codes("csn")["SB"]["entity"] = "x"
    knowledge.waveform_features("LVH").clear()
    knowledge.entities().clear()
    knowledge.finding("AFLT")["criteria"].clear()
    knowledge.finding("BBB")["criteria"].clear()
    assert knowledge.finding("BBB")["criteria"]
    assert knowledge.finding("AFLT")["criteria"]
    assert knowledge.codes("csn")["SB"]["entity"] == "SBRAD"
    assert knowledge.waveform_features("LVH")
    assert knowledge.entities()
    assert "x" not in knowledge.prompts("csn", "AF")
    assert knowledge.finding("AFLT")["classes"]["csn"] == ["AF"]


def test_import_is_light():
    heavy = "{'torch', 'pandas', 'scipy', 'numpy', 'jsonschema'}"
    code = f"import sys, ecglib.knowledge as k; k.prompt_set('csn'); print(sorted({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
