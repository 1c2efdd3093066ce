"""What simulated reports state is true of their records: the extractor of the knowledge base reads them."""

from collections import Counter
from functools import cache

import numpy as np
import pytest

from ecglib.data.labels import FINDINGS
from ecglib.data.synthetic.generate import simulate_tracing
from ecglib.data.synthetic.reports import compose, write_report
from ecglib.knowledge.extract import extract
from ecglib.knowledge.files import load

CONDUCTION = {
    "CRBBB",
    "CLBBB",
    "IRBBB",
    "ILBBB",
    "LAFB",
    "LPFB",
    "IVCD",
    "WPW",
    "1AVB",
    "2AVB",
    "2AVB1",
    "2AVB2",
    "3AVB",
}
SITED = {
    code: frozenset(site.split("+")) for codes in load("vocabulary")["tables"].values() for site, code in codes.items()
}
ISCHAEMIAS = {code for code in FINDINGS if code.startswith("ISC")}
INJURIES = {code for code in FINDINGS if code.startswith("INJ")}
T_CHANGES = {"INVT", "NDT", "NT", "LOWT", "TAB", "LVH", "RVH", "ANEUR", "DIG", "EL"} | ISCHAEMIAS | INJURIES

# A broader word, or another name of the same waveform, is true beside the finding that the simulator keeps. Written
# from what the words mean, not from what was generated.
ALSO_TRUE = {
    "TAB": T_CHANGES,
    "NT": T_CHANGES,
    "NDT": T_CHANGES,
    "IVCD": CONDUCTION,  # «conduction disturbance»
    "STE": {"EREPOL", "ANEUR"},
    "STD": {"NST", "DIG"} | INJURIES | ISCHAEMIAS,
    "NST": {"EL"},
    "ISC": ISCHAEMIAS | INJURIES,
    "PWC": {"LAO/LAE", "RAO/RAE", "PAC", "AT"},
    "QWAVE": {"SEHYP"},
    "2AVB": {"2AVB1", "2AVB2"},
    "SVTAC": {"PSVT"},
    "PRC(S)": {"PVC", "PAC"},
    "SR": {"SARRH"},
    "LVH": {"VCLVH"},
    "VCLVH": {"LVH"},
    "HVOLT": {"LVH", "VCLVH"},
    "LPR": {"1AVB", "2AVB1"},
    "INVT": ISCHAEMIAS,
    "LAXIS": {"LAFB"},
    "RAXIS": {"LPFB"},
    "AT": {"SVARR"},
    "AFLT": {"AFIB"},
}
# What a waveform lets a cart ask for: «ST elevation - repeat if myocardial injury is suspected».
ONLY_HEDGED = {**{code: {"STE"} for code in INJURIES}, "RVH": {"IRBBB", "PMI"}, "PMI": {"RVH", "IPMI", "IPLMI"}}
# German: entities of the extractor that stand for more than one finding.
GERMAN = {
    "AFAFL": {"AFIB", "AFLT"},
    "RAF": {"AFIB"},
    "LVOLL": {"LVOLT"},
    "AVB": {"2AVB"},
    "MI": {code for code in FINDINGS if code.endswith("MI")},
}


def is_true(code, findings):
    findings = set(findings)
    if code in findings or findings & ALSO_TRUE.get(code, set()):
        return True
    if code in SITED:  # ischemia of the anterior wall is part of anterolateral ischemia
        kind = code[:3] if code[:3] in ("ISC", "INJ") else "MI"
        mine = {c for c in findings if (c[:3] == kind if kind != "MI" else c.endswith("MI"))}
        return any(c == kind or SITED[code] & SITED.get(c, frozenset()) for c in mine) or (
            kind == "ISC" and "ISC" in mine
        )
    return False


@cache
def simulated(n, cohort):
    out = []
    for i in range(n):
        x = simulate_tracing(cohort, 23, i, 100, 10.0)
        out.append((x.findings, x.features, x.case.age, x.case.sex, x.case.events))
    return out


def reports(n, cohort, style):
    for i, (findings, features, age, sex, events) in enumerate(simulated(n, cohort)):
        rng = np.random.default_rng([29, i])
        yield findings, write_report(findings, features, age=age, sex=sex, style=style, rng=rng, events=events)


def test_what_a_cart_report_states_is_true():
    """Precision of stated findings over 3,000 records; hedged ones are held to the same table, a little looser."""
    right, wrong, doubted, groundless = 0, Counter(), 0, Counter()
    for findings, text in reports(3000, "mimic-iv-ecg", "mimic"):
        for mention in extract(text):
            if mention.code not in FINDINGS or mention.status == "negated":
                continue
            true = is_true(mention.code, findings)
            if mention.status == "present":
                right += true
                wrong[mention.code] += not true
            else:
                doubted += 1
                groundless[mention.code] += not (true or set(findings) & ONLY_HEDGED.get(mention.code, set()))
    precision = right / (right + wrong.total())
    assert right > 6000
    assert precision >= 0.98, (precision, wrong.most_common(8))
    assert doubted > 500
    assert 1 - groundless.total() / doubted >= 0.95, groundless.most_common(8)


def test_german_reports_are_read_as_what_they_are_about():
    """Stated findings are true; findings that German words name are found again in four of five records or more."""
    right, wrong, there, found = 0, Counter(), 0, 0
    for i, (findings, features, age, sex, events) in enumerate(simulated(1500, "ptb-xl in german")):
        rng = np.random.default_rng([31, i])
        kwargs = {"age": age, "sex": sex, "style": "ptb-xl-german", "events": events}
        text = write_report(findings, features, rng=rng, **kwargs)
        spoken = {c for s in compose(findings, features, rng=np.random.default_rng([31, i]), **kwargs) for c in s.codes}
        mentions = [m for m in extract(text) if m.status != "negated"]
        for mention in mentions:
            if mention.code in FINDINGS or mention.code in GERMAN:
                true = is_true(mention.code, findings) or bool(GERMAN.get(mention.code, set()) & set(findings))
                right += true
                wrong[mention.code] += not true
        read = {m.code for m in mentions} | {c for m in mentions for c in GERMAN.get(m.code, ())}
        there += len(spoken)
        found += len(spoken & read)
    assert right > 2500
    assert right / (right + wrong.total()) >= 0.98, (right, wrong.most_common(8))
    assert found / there >= 0.9, (found, there)


@pytest.mark.parametrize("style", ["mimic", "ptb-xl-german"])
def test_no_finding_is_always_left_out(style):
    there, said = Counter(), Counter()
    for i, (findings, features, age, sex, events) in enumerate(simulated(1500, "mimic-iv-ecg")):
        for k in range(3):
            rng = np.random.default_rng([37, k, i])
            made = compose(findings, features, age=age, sex=sex, style=style, rng=rng, events=events)
            there.update(findings)
            said.update({code for s in made for code in s.codes})
    covered = {"SR", "SVARR", "2AVB", "SVTAC"}  # said by the more specific finding beside them
    rare = {code: said[code] / n for code, n in there.items() if n >= 12 and code not in covered}
    assert len(rare) > 60
    assert min(rare.values()) > 0.1, sorted(rare.items(), key=lambda item: item[1])[:8]
