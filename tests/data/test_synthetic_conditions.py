"""What goes together and what does not, and what salts, U waves and flutter look like: sizes of the literature."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from ecglib.data.synthetic import atria, cases, generate
from ecglib.data.synthetic.arrhythmias import build
from ecglib.data.synthetic.body import average_body, leads_from_electrodes
from ecglib.data.synthetic.cohorts import COHORTS
from ecglib.data.synthetic.generate import simulate_heart
from ecglib.data.synthetic.patients import sample_case
from ecglib.delineate import WORK_HZ, usual_beat
from ecglib.signals import LEADS

LEAD = {name: i for i, name in enumerate(LEADS)}
INFARCTS = "IMI ILMI IPMI IPLMI ASMI AMI ALMI LMI PMI"
# One tracing cannot show both of a pair, or the one hides what the other would be told by
NEVER = (
    ("SBRAD STACH AFIB AFLT AT SVTAC PSVT PACE JESC 1AVB 2AVB1 2AVB2 3AVB", "*"),  # one rhythm at a time
    (INFARCTS, "*"),  # one territory at a time
    ("PACE", "LVH CRBBB CLBBB WPW LAFB IMI ASMI STD INVT PVC LAO/LAE"),  # paced beats show none of these
    ("AFIB AFLT SVTAC PSVT AT JESC", "LAO/LAE RAO/RAE PWC PAC BIGU"),  # no sinus P to judge, or to come before
    ("CLBBB", f"{INFARCTS} LVH RVH STD STE INVT QWAVE LAFB LPFB CRBBB IRBBB WPW"),
    ("WPW", "1AVB 2AVB1 LVH RVH QWAVE IMI ASMI CRBBB LAFB"),  # the delta wave is in the way
    ("LAFB", "LPFB RAXIS"),
    ("LAXIS", "RAXIS"),
    ("CCR", "CR"),
    ("LVOLT", "HVOLT LVH VCLVH"),
    ("RVH", "LVH ASMI AMI LAXIS LAFB"),
    ("QWAVE SEHYP", INFARCTS),  # a Q wave has one cause
    ("EREPOL", f"{INFARCTS} STACH AFIB"),
    ("LNGQT", "DIG"),  # digitalis shortens QT
    ("UWAVE", "STACH AFIB AFLT SVTAC"),  # P lies on U, or there is no pause to see it in
)
PARTS = (("BIGU", "PAC PVC"), ("TRIGU", "PAC PVC"), ("PRC(S)", "PAC PVC"), ("PAC", "PVC"), ("ANEUR", INFARCTS))


def pairs_of(table):
    """frozensets of two codes; «*»: each with each other of the same list."""
    found = set()
    for one, other in table:
        ones, others = one.split(), one.split() if other == "*" else other.split()
        found |= {frozenset((a, b)) for a in ones for b in others if a != b}
    return found


def drawn_pairs(n: int = 900):
    """Pairs of conditions in ``n`` draws of each of six cohorts, and the draws."""
    draws = [cases.choose_conditions(c, np.random.default_rng([7, c.number, i])) for c in COHORTS.values()
             for i in range(n)]  # fmt: skip
    return {frozenset(pair) for chosen in draws for pair in combinations(sorted(chosen), 2)}, draws


def test_what_excludes_each_other_does_so_in_either_order():
    for a, b in map(tuple, pairs_of(NEVER)):
        assert not cases.compatible(a, {b}), (a, b)
        assert not cases.compatible(b, {a}), (a, b)
    codes = sorted(COHORTS["ptb-xl"].weights)
    assert all(cases.compatible(a, {b}) == cases.compatible(b, {a}) for a, b in combinations(codes, 2))


def test_no_excluded_pair_is_drawn():
    """In 5,400 draws; what a bigeminy or an aneurysm consists of is no pair in this sense."""
    pairs, draws = drawn_pairs()
    assert len(draws) >= 5000
    assert not [sorted(pair) for pair in pairs & pairs_of(NEVER)]
    assert not [(a, b) for a, b in map(tuple, pairs - pairs_of(PARTS)) if not cases.compatible(a, {b})]
    for chosen in draws:
        assert not chosen & {"BIGU", "TRIGU"} or chosen & {"PAC", "PVC"}
        assert "PRC(S)" not in chosen or {"PAC", "PVC"} <= chosen
        assert "ANEUR" not in chosen or chosen & set(INFARCTS.split())
    assert sum(len(chosen) > 1 for chosen in draws) > 1000


def test_an_excluded_pair_would_be_seen(monkeypatch):
    monkeypatch.setattr(cases, "compatible", lambda code, chosen: True)
    assert len(drawn_pairs(300)[0] & pairs_of(NEVER)) > 20


@pytest.mark.parametrize("codes", [("CRBBB", "LAFB"), ("AFIB", "CRBBB"), ("AFIB", "LVH"), ("IMI", "1AVB")])
def test_each_of_two_conditions_shows(codes):
    for index in range(20):
        heart = simulate_heart("ptb-xl", 17, index, 100, 10.0, codes)
        found, features = set(heart.findings), heart.features
        assert set(codes) <= found
        if "CRBBB" in codes:
            assert features["qrs_ms"] >= 120
        if "LAFB" in codes:
            assert -90 < features["axis_deg"] < -30
        if "1AVB" in codes:
            assert features["pr_ms"] > 200
        assert np.isnan(features["pr_ms"]) == ("AFIB" in codes)


def measured(heart, hz=100):
    """The tallest T of V2 to V4: height (mV), width at half of it, and J to its peak (ms); ST 60 ms after J in V5."""
    beat, _, (begin, end) = usual_beat(leads_from_electrodes(heart.clean_mv), hz)
    wave = beat.ecg_mv
    first, last = end + 20, begin + round((heart.features["qt_ms"] + 20) * WORK_HZ / 1000)
    t = max((wave[LEAD[lead], first:last] for lead in ("V2", "V3", "V4")), key=np.max)
    peak = int(t.argmax())
    wide = np.count_nonzero(t[max(0, peak - 60) : peak + 60] > t[peak] / 2)
    ms = 1000 / WORK_HZ
    return t[peak], wide * ms, (first + peak - end) * ms, wave[LEAD["V5"], end + 30]


@pytest.fixture(scope="module")
def salts():
    """Medians of what salts change, by electrolyte; "": of healthy hearts."""
    rows = {}
    for index in range(110):
        for codes in ((), ("EL",)):
            heart = simulate_heart("ptb-xl", 5, index, 100, 8.0, codes)
            f = heart.features
            row = (*measured(heart), f["p_amp_mv"], f["qrs_ms"], f["qtc_ms"], "LNGQT" in heart.findings)
            rows.setdefault(heart.case.electrolyte, []).append(row)
    names = ("t_mv", "wide_ms", "peak_ms", "st_mv", "p_mv", "qrs_ms", "qtc_ms", "long")
    assert min(map(len, rows.values())) >= 12
    return {kind: dict(zip(names, np.nanmedian(np.array(of, float), axis=0), strict=True)) for kind, of in rows.items()}


def test_potassium_high_makes_t_tall_and_narrow_p_flat_and_qrs_wide(salts):
    """Surawicz, Am Heart J 1967;73:814-834; a tent of T and a P that goes are the first to be seen."""
    high, healthy = salts["potassium high"], salts[""]
    assert high["t_mv"] > 1.4 * healthy["t_mv"]
    assert high["wide_ms"] < 0.85 * healthy["wide_ms"]
    assert high["p_mv"] < 0.7 * healthy["p_mv"]
    assert high["qrs_ms"] > healthy["qrs_ms"] + 8


def test_potassium_low_makes_t_flat_st_low_and_u_tall(salts):
    low, healthy = salts["potassium low"], salts[""]
    assert low["t_mv"] < 0.6 * healthy["t_mv"]
    assert low["st_mv"] < healthy["st_mv"] - 0.04
    assert not low["long"]  # QT is that of the others; what looks longer is U


def test_calcium_low_makes_st_long_and_leaves_t(salts):
    low, healthy = salts["calcium low"], salts[""]
    assert low["qtc_ms"] > 470
    assert low["long"]
    longer = low["peak_ms"] - healthy["peak_ms"]
    assert longer > 50
    assert low["wide_ms"] - healthy["wide_ms"] < 0.35 * longer
    assert 0.75 < low["t_mv"] / healthy["t_mv"] < 1.35


def u_wave(codes, index, monkeypatch):
    """(12,) mV of U at its top in V3, when that is after the end of T (ms), and the heart."""
    with monkeypatch.context() as patch:
        heart = simulate_heart("ptb-xl", 5, index, WORK_HZ, 8.0, codes)
        patch.setattr(generate, "sample_case", lambda *a: replace(sample_case(*a), u_mv=1e-9))  # the same draws
        without = simulate_heart("ptb-xl", 5, index, WORK_HZ, 8.0, codes)
    leads = leads_from_electrodes(heart.clean_mv)
    beat, peaks, (begin, _) = usual_beat(leads, WORK_HZ)
    onset = peaks[2] - (beat.at - begin)
    u = (leads - leads_from_electrodes(without.clean_mv))[:, onset : onset + round(0.9 * np.diff(peaks)[2])]
    top = int(u[LEAD["V3"]].argmax())
    return u[:, top], top * 1000 / WORK_HZ - heart.features["qt_ms"], heart


@pytest.mark.parametrize("codes", [("UWAVE",), ("EL",)])
def test_a_u_wave_is_upright_behind_t_and_tallest_in_v2_or_v3(codes, monkeypatch):
    """Lepeschkin 1969; Surawicz, J Cardiovasc Electrophysiol 1998;9:1117-1128."""
    tops, after = [], []
    for index in range(40):
        if codes == ("EL",) and sample_of(index).electrolyte != "potassium low":
            continue
        top, late_ms, heart = u_wave(codes, index, monkeypatch)
        assert "UWAVE" in heart.findings or heart.features["rate_bpm"] >= 85
        tops.append(top)
        after.append(late_ms)
    assert len(tops) >= 12
    top = np.median(tops, axis=0)
    assert LEADS[top.argmax()] in ("V2", "V3")
    assert 0.08 < top.max() < 0.35
    assert top[LEAD["aVR"]] < 0 < top[LEAD["II"]]
    assert 45 < np.median(after) < 120


def sample_of(index):
    return simulate_heart("ptb-xl", 5, index, 50, 4.0, ("EL",)).case


def test_healthy_u_waves_are_small_and_of_slow_hearts():
    hearts = [sample_case((50.0, "M", 0.3), set(), np.random.default_rng(i)) for i in range(1500)]
    slow, fast = ([case.u_mv for case in hearts if low < case.rate < high] for low, high in ((45, 65), (85, 98)))
    assert np.median(slow) > 2 * np.median(fast)
    assert max(case.u_mv for case in hearts) < 0.06  # what is called a U wave begins there


def test_flutter_waves_have_their_rate_and_their_leads():
    """Typical: 240 to 340 a minute, tall in II, III and aVF, slowly down and quickly up; hardly seen in I and V6."""
    t = np.arange(0.0, 3.0, 0.002)
    rates, heights, typical, ratios = [], [], [], []
    for seed in range(120):
        rng = np.random.default_rng(seed)
        beats = build(sample_case((65.0, "M", 0.3), {"AFLT"}, rng), 10.0, rng)
        leads = leads_from_electrodes(atria.flutter(average_body(), rng, t, beats.cycle_s, 0.0))
        rates.append(60 / beats.cycle_s)
        heights.append(np.ptp(leads, axis=1))
        slope = np.diff(leads[LEAD["aVF"]])
        typical.append(slope.max() > -slope.min())
        times = np.array([when for when, _ in beats.qrs])
        ratios += (np.diff(times) / beats.cycle_s).round().tolist()
        spectrum = np.abs(np.fft.rfft(leads[LEAD["II"]]))[1:]
        assert (1 + spectrum.argmax()) / 3.0 == pytest.approx(1 / beats.cycle_s, abs=0.35)
    assert 230 <= min(rates)
    assert max(rates) <= 340
    assert set(ratios) <= {2, 3, 4, 5}
    height = dict(zip(LEADS, np.median(heights, axis=0), strict=True))
    assert min(height["II"], height["III"], height["aVF"]) > 2 * max(height["I"], height["V6"])
    assert 0.1 < height["aVF"] < 0.5
    assert 0.65 < np.mean(typical) < 0.95


def test_flutter_waves_of_v1_go_against_those_below():
    """Typical flutter is negative in II, III and aVF and upright in V1 (Saoudi et al., Eur Heart J 2001;22:1162)."""
    t = np.arange(0.0, 2.0, 0.01)
    against = []
    for seed in range(60):
        leads = leads_from_electrodes(atria.flutter(average_body(), np.random.default_rng(seed), t, 0.22, 0.0))
        against.append([np.corrcoef(leads[k], leads[6])[0, 1] for k in (1, 5)])
    assert np.median(against) < -0.4
    assert np.mean(np.array(against) < 0) > 0.85
