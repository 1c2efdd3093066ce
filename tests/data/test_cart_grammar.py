"""The grammar of cart statements: what is expanded, when a statement may be made, and what a broken file gets."""

import subprocess
import sys
from copy import deepcopy
from types import SimpleNamespace

import numpy as np
import pytest

from ecglib.data.synthetic.arrhythmias import build
from ecglib.data.synthetic.cart_grammar import Grammar, Scene, check_schema, expand, grammar, read
from ecglib.data.synthetic.cases import Case
from ecglib.data.synthetic.events import count_events
from ecglib.data.synthetic.generate import simulate_record
from ecglib.data.synthetic.german import German
from ecglib.data.synthetic.reports import write_report
from ecglib.data.synthetic.rhythm import CONDUCTED, ECTOPIC_P, FUSION, PREMATURE, SINUS_P, Rhythm
from ecglib.data.synthetic.wording import Draw
from ecglib.errors import ParameterError

LEADS = "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6".split()
CALM = {f"{kind}_mv_{lead}": value for lead in LEADS for kind, value in (("st", 0.0), ("t_amp", 0.3))}
QUIET = {"swapped": "", "noisy": (), "flat": (), "mains": False, "wander": False}


def texts(findings, features=None, n=400, style="mimic", sex="F", **kwargs):
    return {
        write_report(
            findings, features or {}, age=60.0, sex=sex, style=style, rng=np.random.default_rng([k, 3]), **kwargs
        ).lower()
        for k in range(n)
    }


def test_alternatives_are_expanded():
    assert expand("[a|b] c[| d]") == ["a c", "a c d", "b c", "b c d"]
    assert expand("Broad QRS in (V1 or V2)") == ["Broad QRS in (V1 or V2)"]


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda g: g["statements"]["SR"][0].pop("say"), "statements/SR/0"),
        (lambda g: g["statements"]["SR"][0].update(weight=0), "weight"),
        (lambda g: g["statements"]["SR"][0].update(when="always"), "when"),
        (lambda g: g["statements"]["SR"][0].update(all=["SRR"]), "SRR"),
        (lambda g: g["statements"].update(XYZ=[{"say": ["x"]}]), "XYZ"),
        (lambda g: g["statements"]["SR"][0].update(say=["{S} rhythm"]), "no where"),
        (lambda g: g["territories"].pop("inferior"), "inferior"),
        (lambda g: g["hang_order"].append("NODE"), "NODE"),
        (lambda g: g["asides"][0].pop("of"), "asides/0"),
        (lambda g: g["remarks"].update(flat=["Ableitung fällt aus"]), "remarks/flat"),
    ],
)
def test_a_broken_grammar_is_refused_by_name(break_it, named):
    content = deepcopy(read("cart_grammar"))
    _check(Grammar, content, "cart_grammar")
    break_it(content)
    with pytest.raises(ParameterError, match=named) as error:
        _check(Grammar, content, "cart_grammar")
    assert "cart_grammar" in str(error.value)


@pytest.mark.parametrize(
    ("break_it", "named"),
    [
        (lambda g: g["order"].remove("qt"), "qt"),
        (lambda g: g["findings"]["SR"][0].update(say=["Sinusrhythmus in Ü"]), "findings/SR"),
        (lambda g: g["findings"]["STD"][0].pop("where"), "no where"),
    ],
)
def test_a_broken_german_grammar_is_refused_by_name(break_it, named):
    content = deepcopy(read("german"))
    _check(German, content, "german")
    break_it(content)
    with pytest.raises(ParameterError, match=named):
        _check(German, content, "german")


def _check(kind, content, name):
    check_schema(content, name)
    kind(content)


@pytest.mark.parametrize(
    ("entry", "named"), [({"say": ["x"], "wheer": "st_low"}, "wheer"), ({"all": ["SR"]}, "say"), ({"say": []}, "say"),
                         ({"say": ["x"], "weight": 0}, "weight")]
)  # fmt: skip
def test_the_simulator_itself_overlooks_no_condition(entry, named):
    content = deepcopy(read("german"))
    content["findings"]["SR"].append(entry)
    with pytest.raises(ParameterError, match=named):
        German(content)


def test_a_simulated_record_needs_no_validator():
    """Every worker would load it, which takes longer than the records of a small store."""
    code = (
        "import sys\nfrom ecglib.data.synthetic import simulate_record\n"
        "for cohort in ('mimic-iv-ecg', 'ptb-xl in german'):\n"
        "    for i in range(20): simulate_record(cohort, 0, i, 100)\n"
        "sys.exit('jsonschema' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_conditions_hold_only_on_evidence():
    scene = Scene(["SR", "LVH"], CALM | {"pr_ms": 210.0, "st_mv_V5": -0.1, "st_mv_V6": -0.1}, {"n_pvc": 2}, "F")
    for when, true in (
        ({"all": ["LVH"]}, True),
        ({"all": ["LVH", "RVH"]}, False),
        ({"any": ["LVH", "RVH"]}, True),
        ({"none": ["RVH"]}, True),
        ({"features": {"pr_ms": [200, None]}}, True),
        ({"features": {"qrs_ms": [0, None]}}, False),
        ({"events": {"n_pvc": [1, 2]}}, True),
        ({"events": {"n_pac": [0, None]}}, False),
        ({"unknown": ["n_pac"]}, True),
        ({"unknown": ["n_pvc"]}, False),
        ({"where": "st_low"}, True),
        ({"where": "st_high"}, False),
        ({"sex": "M"}, False),
        ({"shows": {"V5": "st_low"}}, True),
        ({"paced": "A"}, False),
    ):
        assert scene.holds(when, "") == true, when
    assert scene.where("st_low") == "lateral"
    assert scene.site_shows("st_low", "lateral")
    assert not scene.site_shows("st_low", "inferior")


def test_weights_steer_what_is_said():
    productions = grammar().statements["SBRAD"]
    scene = Scene(["SBRAD"], {"rate_bpm": 41.0})
    draw = Draw(np.random.default_rng(0))
    said = [grammar().say(productions, scene, draw).texts[0] for _ in range(2000)]
    assert 0.4 < said.count("Marked sinus bradycardia") / 2000 < 0.49  # 8 of 18
    assert "Marked sinus bradycardia" not in {
        grammar().say(productions, Scene(["SBRAD"], {"rate_bpm": 52.0}), draw).texts[0] for _ in range(500)
    }


def test_events_are_said_only_where_they_are():
    few = {"n_pvc": 1, "n_fusion": 0, "n_pac": 0, "n_aberrant": 0, "n_interpolated": 0, "couplets": 0, "longest_run": 1}
    many = few | {"n_pvc": 6, "n_interpolated": 2, "couplets": 1, "longest_run": 2}
    quiet, busy = (" ".join(texts(("SR", "PVC"), events=events)) for events in (few, many))
    for word in ("frequent", "interpolated", "couplet", "fusion", "multiform", "tachycardia"):
        assert word not in quiet
    assert all(word in busy for word in ("frequent pvcs", "interpolated pvcs", "ventricular couplet"))
    assert "fusion" not in busy
    assert "tachycardia" in " ".join(texts(("SR", "PVC"), events=many | {"longest_run": 3}))
    assert "frequent" not in " ".join(texts(("SR", "PVC")))


def test_counts_of_a_known_strip():
    beats = Rhythm()
    for t in range(-1, 11):
        beats.qrs.append((t + 0.16, CONDUCTED))
        beats.p.append((float(t), SINUS_P))
    beats.qrs += [(2.66, PREMATURE), (5.55, PREMATURE), (5.80, FUSION), (10.5, PREMATURE)]
    beats.p.append((7.5, ECTOPIC_P))
    beats.qrs.sort()
    beats.spikes = [(1.0, "V"), (-1.0, "A")]
    assert count_events(beats, 10.0) == {
        "n_pvc": 3,
        "n_fusion": 1,
        "n_pac": 1,
        "n_sinus_p": 11,
        "n_aberrant": 0,
        "n_interpolated": 1,
        "couplets": 1,
        "longest_run": 2,
        "flutter_ratio": 0,
        "paced": "V",
    }


def test_flutter_names_its_ratio():
    case = Case(60.0, "F", 0.0, frozenset({"AFLT"}), rhythm="AFLT", rate=70.0)
    ratios = {count_events(build(case, 10.0, np.random.default_rng(k)), 10.0)["flutter_ratio"] for k in range(30)}
    assert 0 in ratios
    assert ratios & {3, 4, 5}
    assert "2:1" in " ".join(texts(("AFLT",), events={"flutter_ratio": 2}))
    assert not any(word in " ".join(texts(("AFLT",), events={"flutter_ratio": 3})) for word in ("2:1", "variable"))


def test_sites_and_hedges_need_evidence():
    lateral = CALM | {f"t_amp_mv_{lead}": -0.2 for lead in ("I", "aVL", "V5", "V6")}
    assert any("lateral t wave changes" in t for t in texts(("SR", "NDT"), lateral))
    assert not any("lateral" in t for t in texts(("SR", "NDT"), CALM))
    assert not any("inferior" in t or "hypertrophy" in t for t in texts(("SR", "NDT"), lateral))
    assert any("due to ventricular hypertrophy" in t for t in texts(("SR", "LVH", "NDT"), lateral, n=800))
    assert not any("female" in t for t in texts(("SR", "NDT"), lateral, sex="M"))
    assert not any("borderline 1st" in t or "borderline first" in t for t in texts(("SR", "1AVB"), {"pr_ms": 280.0}))
    assert any("borderline 1st" in t for t in texts(("SR", "1AVB"), {"pr_ms": 212.0}))


@pytest.mark.parametrize(
    ("change", "words", "never"),
    [
        ({"swapped": "RA/LA"}, "arm", "sequence"),
        ({"swapped": "LA/LL"}, "limb lead reversal", "arm "),
        ({"swapped": "V2/V3"}, "sequence error: v2,v3", "reversal"),
        ({"flat": ("V4",)}, "faulty v4", "artifact"),
        ({"flat": ("V5", "II")}, "unsuitable for analysis: ii v5", "faulty"),
        ({"noisy": ("V1", "V2")}, "artifact in lead(s) v1,v2", "missing"),
        ({"wander": True}, "baseline", "interference"),
        ({"mains": True}, "interference", "baseline"),
    ],
)
def test_remarks_name_the_disturbance_that_is_there(change, words, never):
    said = texts(("SR", "NORM"), disturbance=SimpleNamespace(**QUIET | change))
    assert any(words in t for t in said)
    assert not any(never in t for t in said)
    assert any(words not in t for t in said)  # not every disturbance is remarked


def test_what_was_not_entered_is_not_used():
    t_flat = CALM | {f"t_amp_mv_{lead}": 0.02 for lead in LEADS}
    said = texts(("SR", "NDT"), t_flat, n=6000)
    blind = [t for t in said if "without know" in t]
    assert blind
    assert not any("female" in t for t in blind)
    assert any("female" in t for t in said)


def test_a_quiet_recording_gets_no_remark():
    marks = ("lead(s)", "reversal", "artifact", "baseline", "faulty", "interference", "quality", "error")
    for disturbance in (None, SimpleNamespace(**QUIET)):
        assert not any(mark in t for t in texts(("SR", "NORM"), disturbance=disturbance) for mark in marks)


def test_remarks_speak_of_no_finding_and_come_first():
    disturbed = SimpleNamespace(**QUIET | {"flat": ("V1",)})
    said = [t for t in texts(("AFIB",), disturbance=disturbed) if "v1" in t]
    assert said
    assert all(t.index("v1") < t.index("fib") for t in said)


def test_german_reports_are_german_and_repeatable():
    first, again = (simulate_record("ptb-xl in german", 1, 4, 100) for _ in range(2))
    assert first.report == again.report
    reports = [simulate_record("ptb-xl in german", 1, k, 100).report.lower() for k in range(60)]
    assert sum("sinus" in r for r in reports) > 30
    assert sum("rhythmus" in r or "lagetyp" in r or "normaltyp" in r for r in reports) > 40
    assert any("unbestaetigter bericht" in r for r in reports)
    assert all(r.isascii() for r in reports)
