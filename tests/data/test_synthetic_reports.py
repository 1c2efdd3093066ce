"""Reports of simulated ECGs: every finding can be said, nothing false is said, and patterns repeat."""

import re
import time
from collections import Counter
from functools import cache

import numpy as np
import pytest

from ecglib import reports as cleaning
from ecglib.data.labels import FINDINGS, findings_to_labels
from ecglib.data.synthetic.cart import Cart
from ecglib.data.synthetic.free_cart import FreeCart
from ecglib.data.synthetic.generate import simulate_tracing
from ecglib.data.synthetic.reports import STYLES, compose, phrases, write_report
from ecglib.data.synthetic.wording import Draw, gravity
from ecglib.errors import ParameterError

ENGLISH = tuple(style for style in STYLES if style != "ptb-xl-german")
INFARCTS = {"IMI", "ASMI", "AMI", "ALMI", "LMI", "ILMI", "IPMI", "IPLMI", "PMI"}
INJURIES = {"INJAS", "INJAL", "INJIN", "INJLA", "INJIL"}
ISCHAEMIAS = {"ISC", "ISCAL", "ISCAS", "ISCLA", "ISCAN", "ISCIN", "ISCIL"}
BLOCKS = {"1AVB", "2AVB", "2AVB1", "2AVB2", "3AVB"}

# How a reader recognises each finding, written apart from the phrase file.
SAYS = {
    "NORM": r"(?<!ab)normal|\bnorm\b|no definite pathology",
    "SR": r"sinus|nsr|\bsr\b",
    "STACH": r"tach|\bst\b",
    "SBRAD": r"brady|\bsb\b",
    "SARRH": r"sinus (arrhythmia|irregularity)|\bsa\b",
    "AFIB": r"atrial fibrillation|a-?fib",
    "AFLT": r"flutter|\baf\b",
    "SVTAC": r"supraventricular tachycardia|\bsvt\b",
    "PSVT": r"supraventricular tachycardia|svt",
    "AT": r"atrial tach|\bat\b",
    "SVARR": r"arrhythmia|ectopic atrial|supraventricular rhythm|svarr",
    "PACE": r"pace|pacing|\bpr\b",
    "1AVB": r"(1st|first|1)[- ]deg|av block i\b|1avb",
    "2AVB": r"(2nd|second)[- ]deg|av block ii\b|2avb",
    "2AVB1": r"wenckebach|mobitz (type )?i\b|type one|2avb1",
    "2AVB2": r"mobitz (type )?ii\b|type (ii|two)|mobitz ii|2avb2",
    "3AVB": r"(3rd|third)[- ]degree|complete|3avb",
    "LPR": r"pr interval|pr prolonged|prie",
    "PAC": r"atrial|supraventricular|pacs?\b|apb",
    "PVC": r"ventricular|pvcs?|vpb",
    "PRC(S)": r"premature|extrasyst|ectopic|prc",
    "BIGU": r"bigem|every second|\bbig\b",
    "TRIGU": r"trigem|every third|\btri\b",
    "JESC": r"junctional|jeb|late narrow",
    "VESC": r"ventricular escape|veb|late wide",
    "LAXIS": r"left|lad|axis superior|als",
    "RAXIS": r"right|\brad\b|ars|negative qrs in i",
    "CCR": r"counterclockwise|early|ccr|already in v2|displaced to the right",
    "CR": r"(?<!counter)clockwise|late|\bcr\b|displaced to the left|smaller than s",
    "CRBBB": r"right bundle|rbbb|v1|slurred s",
    "CLBBB": r"left bundle|lbbb|wide qrs|notched",
    "IRBBB": r"incomplete right|incomplete rbbb|irbbb|rsr'|right ventricular conduction",
    "ILBBB": r"incomplete left|incomplete lbbb|ilbbb|left ventricular conduction|septal q",
    "LAFB": r"left anterior|lafb|lfbbb|avl",
    "LPFB": r"left posterior|lpfb|lbbbb|avl",
    "IVCD": r"conduction|ivcd|intraventricular|ivb|wide qrs",
    "WPW": r"wolff|wpw|preexcit|delta",
    "LVOLT": r"low|small|lvqrs",
    "HVOLT": r"high|increased|large|hvqrs",
    "LAO/LAE": r"left atri|lae|lah|of the left atrium|atrial hypertrophy|hypertrophy|\bp\b",
    "RAO/RAE": r"right atri|rae|rah|pulmonale|hypertrophy|peaked p",
    "PWC": r"p[- ]wave|pwc|hypertrophy",
    "LVH": r"left ventricular|lvh|hypertrophy|tall r",
    "VCLVH": r"lvh|left ventricular hypertrophy|hypertrophy",
    "RVH": r"right ventricular|rvh|hypertrophy|right heart|v1",
    "SEHYP": r"septal hypertrophy|sehyp|hypertrophy|q waves",
    "IMI": r"inferior|infarction|\bmi\b",
    "ASMI": r"anteroseptal|septal|ant/septal|infarction|\bmi\b",
    "AMI": r"anterior|infarction|\bmi\b",
    "ALMI": r"anterolateral|infarction|\bmi\b",
    "LMI": r"lateral|infarction|\bmi\b",
    "ILMI": r"inferolateral|inferior(/| and )lateral|infarction|\bmi\b",
    "IPMI": r"inferoposterior|infarction|\bmi\b",
    "IPLMI": r"inferoposterolateral|extensive|infarction|\bmi\b",
    "PMI": r"posterior|infarction|\bmi\b",
    **dict.fromkeys(INJURIES, r"injury|infarction|st[- ]t change|sttc|st depression"),
    **dict.fromkeys(ISCHAEMIAS, r"ischemi|sttc|st.t change"),
    "NST": r"\bst\b|repol|st[-/]t|sttc|nsst",
    "NDT": r"\bt\b|t wave|twc|st.t",
    "NT": r"t[- ]wave|twc|st.t",
    "TAB": r"\bt\b|t wave|twc|st.t",
    "LOWT": r"t[- ]wave|twc|st.t",
    "INVT": r"inver|negative|\btwi\b|t wave opposite|two\b|st.t",
    "STD": r"depr|drop down|stdd|st.t",
    "STE": r"elev|extension|\bste\b|st.t",
    "STTU": r"upslop|tilt up|upward|ascending|sttu|st.t",
    "EREPOL": r"early repol|erv|j point|st.t",
    "ANEUR": r"aneurysm|\bste\b|st extension|st.t",
    "DIG": r"digitalis|digoxin|sttc|st.t|scooped",
    "EL": r"electrolyte|sttc|st.t|hyperkal",
    "LNGQT": r"\bqt|qtie",
    "UWAVE": r"u wave|\buw\b",
    "QWAVE": r"q wave|aqw",
    "ABQRS": r"qrs",
}

# Words that may only appear when one of these findings is there.
ONLY_WITH = {
    r"fibrillation|a-?fib\b|irregularly irregular": {"AFIB"},
    r"flutter": {"AFLT"},
    r"ectopic atrial tachycardia": {"AT", "SVARR"},
    r"(?<!ectopic atrial )tachycardia|\btach\b|\bp?svt\b": {"STACH", "SVTAC", "PSVT", "AT"},
    r"sinus tach": {"STACH"},
    r"brady": {"SBRAD"},
    r"sinus(?! or ectopic)": {"SR", "STACH", "SBRAD", "SARRH"},
    r"sinus arrhythmia|sinus irregularity": {"SARRH"},
    r"right bundle|rbbb": {"CRBBB", "IRBBB"},
    r"left bundle|(?<!r)(?<!i)lbbb": {"CLBBB", "ILBBB"},
    r"incomplete": {"IRBBB", "ILBBB"},
    r"infarct|\bmi\b": INFARCTS | INJURIES,
    r"(?<!\w)inferior (infarct|mi\b|myocardial inf)": {"IMI"},
    r"(?<!\w)anterior (infarct|mi\b|myocardial inf)": {"AMI"},
    r"lateral (infarct|mi\b|myocardial inf)": {"LMI", "ALMI", "ILMI", "IPLMI"},
    r"posterior\w* (infarct|mi\b|myocardial inf)": {"PMI", "IPMI", "IPLMI"},
    r"a-?v block|\bavb\b|atrioventricular|heart block|wenckebach|mobitz": BLOCKS,
    r"complete (a-?v|heart)|(3rd|third)[- ]deg": {"3AVB"},
    r"(1st|first|1)[- ]deg": {"1AVB"},
    r"prolonged pr|long pr|pr prolonged|pr interval (prol|ext)": {"LPR", "1AVB"},
    r"pace|pacing": {"PACE"},
    r"pvc|premature ventricular|ventricular (premature|ectopic)|(?<!supra)ventricular (extras|bigem|trigem)": {"PVC"},
    r"\bpacs?\b|premature atrial|atrial (premature|ectopic|bigem)|supraventricular (extras|bigem|trigem)": {"PAC"},
    r"bigem": {"BIGU"},
    r"trigem": {"TRIGU"},
    r"escape": {"JESC", "VESC"},
    r"hypertroph|\blvh|\bbvh": {"LVH", "RVH", "VCLVH", "SEHYP", "LAO/LAE", "RAO/RAE", "PWC"},
    r"left ventricular hyp|\blvh": {"LVH", "VCLVH"},
    r"right ventricular hyp|(?<!vcd or )(?<!consider )\brvh|biventricular": {"RVH"},
    r"left atri|\blae\b|biatrial": {"LAO/LAE"},
    r"right atri|\brae\b|biatrial|pulmonale": {"RAO/RAE"},
    r"left axis|leftward|\blad\b|axis left|left type": {"LAXIS", "LAFB"},
    r"right axis|rightward|\brad\b|axis right|right type": {"RAXIS", "LPFB"},
    r"left anterior|lafb": {"LAFB"},
    r"left posterior|lpfb": {"LPFB"},
    r"wolff|wpw|preexcit|delta": {"WPW"},
    r"st (segments? )?(are )?(slightly )?elev": {"STE", "EREPOL", "ANEUR"} | INFARCTS,
    r"depress|st depr": {"STD", "NST", "DIG"} | INJURIES | ISCHAEMIAS,
    r"t[- ]wave inversion|t inversion|inverted t|negative t\b|\btwi\b": {"INVT"} | ISCHAEMIAS,
    r"(?<!hypertrophy and/or )(?<!acute )ischemi": ISCHAEMIAS | INJURIES,
    r"hypertrophy and/or ischemi": {"LVH", "RVH", "VCLVH"},
    r"(?<!if myocardial )(?<!rule out myocardial )injury": INJURIES,
    r"(if|rule out) myocardial injury": INJURIES | {"STE"},
    r"digital|digoxin": {"DIG"},
    r"early repol": {"EREPOL"},
    r"aneurysm": {"ANEUR"},
    r"vcd or rvh": {"IRBBB"},
    r"consider rvh": {"PMI", "RVH"},
    r"electrolyte|hyperkal": {"EL"},
    r"(long|prolonged) qt|qt (interval )?prolong": {"LNGQT"},
    r"q waves?\b": {"QWAVE", "SEHYP", "ILBBB", "CLBBB", "ANEUR"},
    r"\bu wave": {"UWAVE"},
    r"low (qrs )?volt": {"LVOLT"},
    r"high (qrs )?volt|high precordial|voltages are high": {"HVOLT", "VCLVH"},
    r"counterclockwise|early (r wave|precord)|early transition": {"CCR"},
    r"(?<!counter)clockwise|late (r wave|precord)|late transition": {"CR"},
    r"(?<!ab)normal (ecg|tracing|electro|12)|within normal|no definite path": {"NORM"},
    r"aberrant ventricular conduction": {"PVC"},
    r"aberrant conduction": {"PAC"},
    r"intermittent conduction": {"AFIB"},
    r"(?<!aberrant ventricular )(?<!aberrant )(?<!intermittent )conduction": BLOCKS
    | {"CRBBB", "IRBBB", "CLBBB", "ILBBB", "LAFB", "LPFB", "IVCD", "WPW"},
}


@cache
def simulated(n=600, cohort="mimic-iv-ecg"):
    """(findings, features, age, sex) of real simulator output."""
    out = []
    for i in range(n):
        x = simulate_tracing(cohort, 5, i, 100, 10.0)
        out.append((tuple(x.findings), x.features, x.case.age, x.case.sex))
    return out


def _write(record, style="mimic", seed=0):
    findings, features, age, sex = record
    return write_report(findings, features, age=age, sex=sex, style=style, rng=np.random.default_rng(seed))


def test_vocabulary_is_that_of_the_labels():
    assert set(phrases()["findings"]) == set(FINDINGS) == set(SAYS)
    assert len(FINDINGS) == 84


@pytest.mark.parametrize("code", sorted(SAYS))
def test_a_report_of_a_single_finding_speaks_of_it(code):
    rng = np.random.default_rng(1)
    for style in ENGLISH:
        texts = {write_report((code,), {}, age=60.0, sex="F", style=style, rng=rng) for _ in range(120)}
        assert all(re.search(SAYS[code], t.lower()) for t in texts), [
            t for t in texts if not re.search(SAYS[code], t.lower())
        ]
    assert all(
        any(code in s.codes for s in compose((code,), {}, age=None, sex="", style="mimic", rng=rng)) for _ in "ab"
    )


@pytest.mark.parametrize("code", ["SR", "AFIB", "CLBBB", "CRBBB", "LVH", "IMI", "PVC", "1AVB", "STD", "INVT", "ISCAL"])
def test_common_findings_have_at_least_five_wordings(code):
    rng = np.random.default_rng(2)
    texts = Counter(
        s.text.lower()
        for _ in range(1500)
        for s in compose((code,), {}, age=60.0, sex="F", style="mimic", rng=rng)
        if s.codes == (code,)
    )
    assert len(texts) >= 5


@pytest.mark.parametrize("style", ENGLISH)
def test_nothing_is_said_that_is_not_there(style):
    cohort = {"mimic": "mimic-iv-ecg", "ptb-xl": "ptb-xl", "cpsc": "cpsc2018", "csn": "csn"}[style]
    for i, record in enumerate(simulated(600, cohort)):
        for seed in range(4):
            text = _write(record, style, [seed, i]).lower()
            if style == "csn" and re.fullmatch(r"[a-z0-9()/, ]+", text) and not re.search(r"[a-z]{6}", text):
                continue  # acronyms mean other things there
            for words, allowed in ONLY_WITH.items():
                hit = re.search(words, text)
                assert not hit or allowed & set(record[0]), (hit.group(), record[0], text)


def test_lead_groups_and_acuteness_need_evidence():
    rng = np.random.default_rng(3)
    st = {f"st_mv_{lead}": 0.0 for lead in "I II III aVR aVL aVF V1 V2 V3 V4 V5 V6".split()}
    elevated = st | {"st_mv_II": 0.2, "st_mv_III": 0.25, "st_mv_aVF": 0.2}

    def texts(findings, features, n=300):
        return [write_report(findings, features, age=60.0, sex="M", style="mimic", rng=rng).lower() for _ in range(n)]

    assert not any("acute" in t or "recent" in t for t in texts(("SR", "IMI"), st))
    # ST that a block or an aneurysm elevates is none of the infarct's
    assert not any("acute" in t or "recent" in t for t in texts(("SR", "IMI", "CRBBB"), elevated))
    assert not any("acute" in t or "recent" in t for t in texts(("SR", "IMI", "STE", "ANEUR"), elevated))
    acute = texts(("IMI", "STE"), elevated)
    assert all("acute" in t or "recent" in t for t in acute if "infarct" in t and "inferior" in t)
    assert not any("leads" in t for t in texts(("SR", "STE"), st))
    assert any("st elevation in inferior leads" in t for t in texts(("SR", "STE"), elevated))
    assert not any("rapid" in t or "slow" in t for t in texts(("AFIB",), {"rate_bpm": 80.0}))
    assert any("rapid" in t for t in texts(("AFIB",), {"rate_bpm": 130.0}))
    assert not any("rapid" in t for t in texts(("AFIB",), {"rate_bpm": float("nan")}))
    assert any("slow ventricular" in t for t in texts(("AFIB",), {"rate_bpm": 48.0}))


def test_measurements_are_those_of_the_features():
    rng = np.random.default_rng(4)
    features = {"pr_ms": 247.0, "rate_bpm": 71.0, "qrs_ms": 152.0, "qtc_ms": float("nan")}
    seen = " ".join(write_report(("SR", "1AVB"), features, age=60, sex="M", style="mimic", rng=rng) for _ in range(800))
    assert set(re.findall(r"PR interval (\d+) ms", seen, re.I)) == {"250"}
    seen = " ".join(
        write_report(("SR", "LNGQT"), features, age=60, sex="M", style="mimic", rng=rng) for _ in range(800)
    )
    assert "QTc nan" not in seen


def test_order_of_a_cart_rhythm_first_summary_last():
    order = phrases()["slots"]
    for i, record in enumerate(simulated()):
        statements = compose(record[0], record[1], age=60.0, sex="M", style="mimic", rng=np.random.default_rng(i))
        slots = [
            order.index(phrases()["findings"][s.codes[0]]["slot"])
            for s in statements
            if s.codes[:1] != ("NORM",) and s.codes
        ]
        body = [s.text.lower() for s in statements]
        if len(slots) > 2 and 0 in slots:
            assert slots[0] == 0
        for place, text in enumerate(body):
            if re.fullmatch(r"(summary: )?(ab|border)?.*(normal|line) (ecg|electrocardiogram)", text):
                assert place == len(body) - 1


def test_no_statement_twice_and_no_loose_ends():
    for i, record in enumerate(simulated()):
        for style in STYLES:
            text = _write(record, style, i)
            sentences = text.split(", " if style in ("cpsc", "csn") else ". ")
            assert text
            assert text.isascii()
            assert len({s.lower() for s in sentences}) == len(sentences)
            assert not re.search(r"[{}]|\s\s|\s$|^\s|\.\.| ,|nan", text)


def test_a_report_is_a_function_of_its_generator():
    for i, record in enumerate(simulated(60)):
        for style in STYLES:
            assert _write(record, style, i) == _write(record, style, i)
    assert len({_write(simulated()[1], "mimic", i) for i in range(60)}) > 3


def test_single_omissions_leave_most_findings_in_the_text():
    said = Counter()
    there = Counter()
    for i, (findings, features, age, sex) in enumerate(simulated()):
        statements = compose(findings, features, age=age, sex=sex, style="mimic", rng=np.random.default_rng(i))
        spoken = {code for s in statements for code in s.codes}
        assert spoken <= set(findings)
        assert spoken
        there.update(findings)
        said.update(spoken)
    share = sum(n for c, n in said.items() if c != "SR") / sum(n for c, n in there.items() if c != "SR")
    assert 0.6 < share < 0.95


def test_every_finding_has_a_gravity():
    """A finding outranks what is nonspecific, and everything outranks sinus rhythm."""
    assert gravity("IMI") == gravity("3AVB") < gravity("AFIB") < gravity("LVH") < gravity("1AVB") < gravity("LAXIS")
    assert all(gravity(code) < gravity("SR") for code in FINDINGS if code not in ("SR", "NORM"))


@pytest.mark.parametrize("kind", [Cart, FreeCart])
def test_a_terse_report_keeps_the_most_serious_statement(kind):
    """However it is drawn: an old infarct is not left out for the axis beside it."""
    worst, mild, tried = ["SR", "LAXIS", "LVOLT", "IMI", "NST"], 0, 0
    for findings in [worst, *(list(record[0]) for record in simulated(150))]:
        for seed in range(8):
            draw = Draw(np.random.default_rng(seed))
            cart = Cart({}, draw) if kind is Cart else FreeCart({}, draw, None, "F")
            cart.report(findings)  # so that it knows the record
            body = [s for s in cart.statements(findings) if s.codes != ("SR",)]
            said = {code for s in cart.terse(body, findings) for code in s.codes}
            there = {code for s in body for code in s.codes}
            if there:
                tried += 1
                mild += len(there) > len(said)
                assert min(map(gravity, said)) == min(map(gravity, there)), (findings, said)
    assert mild > 0.5 * tried  # so it did leave out


def test_lengths_and_repetition_are_like_real_sets():
    """As in real sets, most reports are short and many repeat; the commonest is a normal ECG in sinus rhythm."""
    records = simulated()
    normal = (("NORM", "SR"), {}, 50.0, "F")
    draws = [normal if i % 5 < 2 else records[i % len(records)] for i in range(4000)]
    texts = [cleaning.clean(_write(r, "mimic", [9, i])) for i, r in enumerate(draws)]
    words = np.array([cleaning.word_count(t) for t in texts])
    assert 5 <= np.median(words) <= 15
    assert np.percentile(words, 95) <= 32
    assert words.max() < 80
    share = cleaning.distinct_share(texts)
    assert 0.15 < share < 0.5
    commonest = Counter(texts).most_common(1)[0]
    assert commonest[0] == "sinus rhythm. normal ecg"
    assert commonest[1] > 0.05 * len(texts)


def test_concept_words_link_classes_to_statements():
    rng = np.random.default_rng(6)
    for code, word in (
        ("CRBBB", "conduction"),
        ("LVH", "hypertrophy"),
        ("IMI", "myocardial infarction"),
        ("ISCAL", "st-t"),
    ):
        texts = [write_report(("SR", code), {}, age=60, sex="M", style="mimic", rng=rng).lower() for _ in range(400)]
        assert sum(word in t for t in texts) > 20, code


def test_label_styles_agree_with_the_labels():
    names = {"AFIB": "atrial fibrillation", "CRBBB": "right bundle branch block", "STD": "ST-segment depression"}
    for record in simulated(600, "cpsc2018"):
        text = _write(record, "cpsc")
        labels = findings_to_labels(record[0])["cpsc2018"]
        for cls, name in names.items():
            assert (cls in labels) == (name in text.replace("incomplete right bundle branch block", "")), (
                record[0],
                text,
            )


@pytest.mark.parametrize(
    ("findings", "style", "named"),
    [
        (("SR", "NST_"), "mimic", "NST_"),
        (("STACH", "SBRAD"), "mimic", "exclude each other"),
        (("SR",), "mimic-iv-ecg", "ptb-xl"),
    ],
)
def test_impossible_requests_are_refused(findings, style, named):
    with pytest.raises(ParameterError, match=named):
        write_report(findings, {}, age=60, sex="F", style=style, rng=np.random.default_rng(0))


def test_missing_age_and_sex_are_said_to_be_missing_at_most():
    rng = np.random.default_rng(8)
    texts = {write_report(("SR", "NORM"), {}, age=float("nan"), sex="", style="mimic", rng=rng) for _ in range(200)}
    assert any("without knowing" in t.lower() for t in texts)
    assert cleaning.clean("Report made without knowing patient's sex. Sinus rhythm") == "sinus rhythm"


def test_speed():
    """Far above what the simulator needs; the bound is loose because test machines are shared."""
    records = simulated()
    begin = time.perf_counter()
    for i in range(3000):
        _write(records[i % len(records)], "mimic", i)
    assert 3000 / (time.perf_counter() - begin) > 1500
