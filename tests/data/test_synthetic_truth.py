"""Planted truth: what the simulator says of a tracing can be measured in the tracing."""

import dataclasses

import numpy as np
import pytest

from ecglib.data.synthetic import simulate_tracing
from ecglib.data.synthetic.atria import sinus_p
from ecglib.data.synthetic.body import average_body, leads_from_electrodes
from ecglib.data.synthetic.generate import simulate_heart
from ecglib.data.synthetic.patients import sample_case
from ecglib.delineate import find_beats
from ecglib.signals import LEADS

LEAD = {name: i for i, name in enumerate(LEADS)}
HZ = 500


def tracing(codes, index, hz=HZ):
    x = simulate_tracing("ptb-xl", 99, index, hz, 10.0, codes=set(codes))
    return x.ecg_mv, x.case, set(x.findings), x.features


def r_peaks(ecg, hz=HZ):
    """Times (s) of QRS complexes: peaks of the summed slope of all leads."""
    slope = np.abs(np.diff(ecg, axis=1)).sum(0)
    energy = np.convolve(slope, np.ones(int(0.06 * hz)), "same")
    peaks, limit = [], 0.45 * np.percentile(energy, 98)
    for i in np.flatnonzero(energy > limit):
        if peaks and i - peaks[-1] < 0.25 * hz:
            if energy[i] > energy[peaks[-1]]:
                peaks[-1] = i
        else:
            peaks.append(i)
    return np.array(peaks) / hz


def mean_beat(ecg, hz=HZ, before_s=0.35, after_s=0.5):
    """Median beat (12, n) with its QRS at ``before_s``, baseline before P at zero."""
    a, b = int(before_s * hz), int(after_s * hz)
    at = [int(p * hz) for p in r_peaks(ecg, hz)]
    beats = [ecg[:, i - a : i + b] for i in at if i >= a and i + b <= ecg.shape[1]]
    beat = np.median(beats, axis=0)
    return beat - np.median(beat[:, int(0.21 * hz) : int(0.27 * hz)], axis=1, keepdims=True)


@pytest.mark.parametrize("code", ["", "SBRAD", "STACH", "SVTAC"])
def test_beats_seen_agree_with_the_rate(code):
    errors = []
    for index in range(10):
        ecg, _, _, features = tracing([code] if code else [], index)
        errors.append(abs(60 / np.diff(r_peaks(ecg)).mean() / features["rate_bpm"] - 1))
    assert np.median(errors) < 0.02


@pytest.mark.parametrize(("code", "low", "high"), [("SBRAD", 30, 60), ("STACH", 100, 160)])
def test_rate_findings_follow_the_rate(code, low, high):
    for index in range(12):
        _, _, findings, features = tracing([code], index)
        assert (code in findings) == (low < features["rate_bpm"] < high)


def test_findings_and_measurements_never_disagree():
    for cohort in ("mimic-iv-ecg", "csn"):
        for index in range(150):
            x = simulate_tracing(cohort, 1, index, 100, 10.0)
            findings, features = set(x.findings), x.features
            rate, pr = features["rate_bpm"], features["pr_ms"]
            assert ("1AVB" in findings) <= (pr > 200)
            assert ("SBRAD" in findings) <= (rate < 60)
            assert ("STACH" in findings) <= (rate > 100)
            assert ("CRBBB" in findings or "CLBBB" in findings) <= (features["qrs_ms"] >= 120 or "PVC" in findings)
            assert ("LAXIS" in findings) <= (-90 < features["axis_deg"] < -30)
            assert ("RAXIS" in findings) <= (features["axis_deg"] > 90)
            assert len(findings & {"SR", "SBRAD", "STACH"}) <= 1
            if findings & {"AFIB", "AFLT", "SVTAC"}:
                assert np.isnan(pr)
                assert not findings & {"SR", "NORM", "1AVB"}
            if "NORM" in findings:
                assert findings <= {"NORM", "SR", "SBRAD", "STACH", "SARRH", "EREPOL"}
                assert 110 < pr <= 200
                assert 70 < features["qrs_ms"] < 112
                assert features["qtc_ms"] < 470
                assert -30 <= features["axis_deg"] <= 90


def test_pr_is_longer_in_first_degree_block():
    """P is found where it should be: its onset lies PR before QRS."""

    def p_position(codes):
        when = []
        for index in range(8):
            beat = mean_beat(tracing(codes, index)[0], before_s=0.42)[LEAD["II"]]
            when.append(np.argmax(beat[: int(0.36 * HZ)]) / HZ)
        return np.median(when)

    assert p_position([]) - p_position(["1AVB"]) > 0.04


def test_late_forces_of_the_bundle_branch_blocks():
    """The end of QRS points to the right and forward in right, to the left and backward in left block."""
    for index in range(8):
        for code in ("CRBBB", "CLBBB"):
            ecg, _, findings, features = tracing([code], index)
            assert code in findings
            assert features["qrs_ms"] >= 120
            qrs = mean_beat(ecg)[:, int(0.25 * HZ) : int(0.45 * HZ)]
            if code == "CLBBB":
                assert features["s_amp_mv_V1"] > features["r_amp_mv_V1"]
                assert features["r_amp_mv_I"] > 2 * features["s_amp_mv_I"]
            else:
                assert features["r_amp_mv_V1"] > 0.3
                assert features["s_amp_mv_V6"] > 0.05
                assert qrs[LEAD["V1"]].argmax() > qrs[LEAD["V5"]].argmax() + 0.02 * HZ


def test_acute_inferior_infarct_elevates_there_and_depresses_opposite():
    seen = 0
    for index in range(200):  # one in twelve is acute
        _, case, _, features = tracing(["IMI"], index, hz=100)
        if case.stage == "acute":
            seen += 1
            assert features["st_mv_III"] > 0.08
            assert features["st_mv_aVF"] > 0.08
            assert features["st_mv_aVL"] < -0.03
    assert seen > 8


def test_acute_anterior_infarct_elevates_the_front():
    stages = [tracing(["ASMI"], index, hz=100) for index in range(200)]
    acute = [f for _, case, _, f in stages if case.stage == "acute"]
    assert min(f["st_mv_V2"] for f in acute) > 0.1
    assert np.median([f["st_mv_V2"] for f in acute]) > 3 * abs(np.median([f["st_mv_V6"] for f in acute]))


def test_normal_progression_in_the_chest_leads():
    r, s, t = [], [], []
    for index in range(40):
        _, _, _, f = tracing([], index, hz=100)
        r.append([f[f"r_amp_mv_V{k}"] for k in range(1, 7)])
        s.append([f[f"s_amp_mv_V{k}"] for k in range(1, 7)])
        t.append([f[f"t_amp_mv_{lead}"] for lead in ("I", "II", "aVR", "V3", "V5")])
    r, s, t = np.median(r, 0), np.median(s, 0), np.median(t, 0)
    assert r[0] < r[1] < r[2] < r[3]
    assert r[0] < 0.5 * s[0]
    assert s[1] > s[3] > s[5]
    assert r[4] > 3 * s[4]
    assert (t[[0, 1, 3, 4]] > 0.1).all()
    assert t[2] < -0.1


def test_hypertrophy_meets_a_voltage_criterion_and_normal_does_not():
    for index in range(12):
        assert "VCLVH" in tracing(["LVH"], index, hz=100)[2]
        assert not tracing([], index, hz=100)[2] & {"VCLVH", "HVOLT", "LVOLT", "LVH"}


def test_fibrillation_is_irregular_and_sinus_rhythm_is_not():
    def spread(codes, index):
        rr = np.diff(r_peaks(tracing(codes, index)[0]))
        return rr.std() / rr.mean()

    assert np.median([spread(["AFIB"], k) for k in range(8)]) > 0.12
    assert np.median([spread([], k) for k in range(8)]) < 0.06


def test_pacing_stimuli_are_seen():
    """A stimulus is narrower than anything the heart makes: it shows against a median of five samples."""

    def sharpest(codes, index):
        ecg = tracing(codes, index)[0]
        smooth = np.median(np.lib.stride_tricks.sliding_window_view(ecg, 5, axis=1), axis=2)
        return np.abs(ecg[:, 2:-2] - smooth).max()

    paced, plain = ([sharpest(codes, k) for k in range(10)] for codes in (["PACE"], []))
    assert np.median(paced) > 1.5 * np.median(plain)


def qrs_width_s(ecg, at, hz=HZ):
    """From the first to the last moment around ``at`` at which the leads together change a fifth as fast as at most."""
    near = slice(max(at - int(0.11 * hz), 0), at + int(0.11 * hz))
    speed = np.convolve(np.sqrt((np.diff(ecg[:, near], axis=1) ** 2).sum(0)), np.ones(5) / 5, "same")
    fast = np.flatnonzero(speed > 0.2 * speed.max())
    return (fast[-1] - fast[0]) / hz


def test_ventricular_ectopy_is_wide_and_atrial_ectopy_is_not():
    """Measured in the leads without noise: when beats come, and how long an early QRS lasts against the others."""
    wider = {}
    for code in ("PVC", "PAC"):
        earliest, wider[code] = [], []
        for k in range(80):
            heart = simulate_heart("ptb-xl", 99, k, HZ, 10.0, codes=[code])
            ecg = leads_from_electrodes(heart.clean_mv)[:, int(1.25 * HZ) : int(11.25 * HZ)]
            at = find_beats(ecg, HZ)
            rr = np.diff(at) / np.median(np.diff(at))
            earliest.append(rr.min())
            widths = np.array([qrs_width_s(ecg, i) for i in at[1:]])
            if (rr < 0.85).any():
                wider[code].append(np.median(widths[rr < 0.85]) / np.median(widths[rr >= 0.85]))
        assert np.median(earliest) < 0.85
        assert len(wider[code]) > 40
    assert np.median(wider["PVC"]) > 1.4
    assert np.mean(np.array(wider["PVC"]) > 1.2) > 0.85
    assert 0.9 < np.median(wider["PAC"]) < 1.1  # a few are conducted aberrantly
    assert np.mean(np.array(wider["PAC"]) > 1.2) < 0.25


def test_tall_p_waves_are_those_of_an_enlarged_right_atrium():
    healthy = [tracing([], index, 100)[3]["p_amp_mv"] for index in range(60)]
    enlarged = [tracing(["RAO/RAE"], index, 100)[3]["p_amp_mv"] for index in range(20)]
    assert max(healthy) <= 0.26
    assert min(enlarged) >= 0.24


@pytest.mark.parametrize("swap", [None, (0, 1), (1, 2)])
def test_no_p_wave_grows_beyond_what_is_seen(swap):
    """Also where limb electrodes are exchanged, so that the recorded lead II is another one."""
    order = np.arange(9)
    if swap:
        order[list(swap)] = order[list(swap)[::-1]]
    body = dataclasses.replace(average_body(), order=order)
    for codes in ({"RAO/RAE"}, {"RAO/RAE", "LAO/LAE"}, set()):
        for seed in range(200):
            case = sample_case((60.0, "F", 0.3), codes, np.random.default_rng([seed, 0]))
            waves = sinus_p(case, body, np.random.default_rng([seed, 1]))
            p_mv = leads_from_electrodes(waves.sample(np.arange(0.0, 200.0, 2.0)))
            assert np.abs(p_mv).max() < 0.8, (codes, seed)
