"""Rhythms as cardiologists define them: what follows what, how soon, and what the tracing shows of it."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from ecglib.data.synthetic import generate, potentials, recording
from ecglib.data.synthetic.arrhythmias import build
from ecglib.data.synthetic.body import leads_from_electrodes
from ecglib.data.synthetic.cases import INFARCTS
from ecglib.data.synthetic.events import shows_pattern, sinus_rate
from ecglib.data.synthetic.noise import Ward, ward_of
from ecglib.data.synthetic.patients import sample_case
from ecglib.data.synthetic.rhythm import CONDUCTED, ECTOPIC_P, ESCAPE, FUSION, PREMATURE, SINUS_P, Rhythm, breath

VENTRICULAR = (PREMATURE, FUSION)
HZ, SECONDS, PAD_S = 100, 10.0, 1.25


def rhythms(codes: str, n: int, steady: bool = False) -> list:
    """n patients and the events of their strips; ``steady``: whose sinus node keeps time exactly."""
    out = []
    for i in range(n):
        rng = np.random.default_rng([i, 5])
        case = sample_case((30.0 + i % 50, "FM"[i % 2], 0.3), set(codes.split()), rng)
        if steady:
            case.rsa = case.hrv = 0.0
        out.append((case, build(case, SECONDS, rng)))
    return out


def hearts(codes: str, n: int, hz: int = HZ):
    """n simulated hearts, the twelve leads they show without noise, and their events."""
    events = []

    def watched(*given):
        events.append(build(*given))
        return events[-1]

    for i in range(n):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(potentials, "build", watched)
            heart = generate.simulate_heart("ptb-xl", 71, i, hz, SECONDS, codes=codes.split())
        yield heart, leads_from_electrodes(heart.clean_mv), events[-1]


def within(events):
    return [(t, kind) for t, kind in events if 0 <= t <= SECONDS]


def triples(r: Rhythm, middle) -> list[tuple[float, float, float]]:
    """Times of a conducted beat, one of the ``middle`` kinds and the conducted beat after it."""
    around = zip(r.qrs, r.qrs[1:], r.qrs[2:], strict=False)
    return [(a, b, c) for (a, i), (b, k), (c, j) in around if i == j == CONDUCTED and k in middle]


@pytest.mark.parametrize(("name", "period"), [("BIGU", 2), ("TRIGU", 3)])
@pytest.mark.parametrize("code", ["PVC", "PAC"])
def test_every_second_or_third_beat_is_premature(name, period, code):
    for heart, _, r in hearts(f"{name} {code}", 60):
        if code == "PVC":
            early = [kind in VENTRICULAR for _, kind in within(r.qrs)]
        else:
            p = [t for t, kind in r.p if kind == ECTOPIC_P]
            early = [any(0 < t - start < 0.45 for start in p) for t, _ in within(r.qrs)]
        assert set(np.diff(np.flatnonzero(early))) == {period}
        assert (name in heart.findings) == (period * sum(early) >= 6)
        assert code in heart.findings


@pytest.mark.parametrize(("pattern", "period"), [("NVNVNV", 2), ("VNVNV", 2), ("NNVNNV", 3), ("NVNNVNNVN", 3)])
def test_a_pattern_is_seen_only_where_no_beat_breaks_it(pattern, period):
    def strip(text):
        return Rhythm(qrs=[(0.8 * k, PREMATURE if kind == "V" else CONDUCTED) for k, kind in enumerate(text)])

    assert shows_pattern(strip(pattern), period, 0, 10)
    for broken in (pattern + "NNN", "NNN" + pattern, pattern[:3] + "NN" + pattern[3:], pattern[:3], "V" * 6, "N" * 9):
        assert not shows_pattern(strip(broken), period, 0, 10)
    assert not shows_pattern(strip(pattern), 5 - period, 0, 10)


def test_the_pause_after_a_pvc_is_compensatory_and_after_a_pac_is_not():
    """The sinus node fires on through a PVC and begins anew after a PAC; a PVC between two sinus beats is rare."""
    pauses, interpolated, slow = [], 0, []
    for case, r in rhythms("PVC", 800, steady=True):
        rr = 60 / case.rate
        p = [t for t, _ in r.p]
        np.testing.assert_allclose(np.diff(p), rr, atol=1e-9)
        for before, pvc, after in triples(r, (PREMATURE,)):
            cycles = (after - before) / rr
            if cycles < 1.5:
                interpolated += 1
                slow.append(case.rate)
                own = max(t for t in p if t < after)
                assert 1000 * (after - own) > case.pr_ms + 30  # what the PVC left in the AV node delays it
            else:
                pauses.append(cycles)
                assert sum(before < t < after for t in p) == 2  # the first of them blocked
                assert pvc - before < rr
    assert np.percentile(np.abs(np.array(pauses) - 2), 99) < 0.02
    assert 0.01 < interpolated / (interpolated + len(pauses)) < 0.08
    assert max(slow) < 70
    for case, r in rhythms("PAC", 200, steady=True):
        for (before, j), (pac, k), (after, _) in zip(r.p, r.p[1:], r.p[2:], strict=False):
            if j == SINUS_P and k == ECTOPIC_P:
                assert after - before < 1.97 * 60 / case.rate
                assert after - pac > 60 / case.rate


def test_beats_leave_muscle_and_node_time_to_recover():
    for codes in ("PVC STACH", "PAC STACH", "PVC", "PAC PVC", "PVC SBRAD"):
        for _, r in rhythms(codes, 150):
            assert np.diff([t for t, _ in r.qrs]).min() > 0.22  # Josephson: muscle is refractory for 170 to 290 ms


@pytest.mark.parametrize("codes", ["PAC", "PVC", "PAC PVC", "PRC(S) PAC PVC", "PAC SBRAD", "PAC PVC STACH"])
def test_ectopic_beats_asked_for_are_in_the_strip(codes):
    """They come at any time, also in the first and in the last two seconds."""
    times = []
    for _, r in rhythms(codes, 300):
        pvc = [t for t, kind in within(r.qrs) if kind in VENTRICULAR]
        pac = [t for t, kind in within(r.p) if kind == ECTOPIC_P]
        assert bool(pvc) == ("PVC" in codes)
        assert bool(pac) == ("PAC" in codes)
        times += pvc + pac
    assert np.histogram(times, 5, (0, SECONDS))[0].min() > 0.08 * len(times)


def test_a_fusion_beat_follows_its_p_sooner_than_a_sinus_beat():
    seen, leads = 0, []
    for case, r in rhythms("PVC", 1000):
        fusions = [t for t, kind in within(r.qrs) if kind == FUSION]
        seen += bool(fusions)
        for t in fusions:
            p = max(start for start, _ in r.p if start < t)
            lead = case.pr_ms / 1000 - (t - p)
            assert 0 < lead < 0.07
            assert t - p > 0.5 * case.pr_ms / 1000
            leads.append(lead)
            assert not [start for start, _ in r.p if t <= start < t + 0.2]  # no second P
    assert 0.02 < seen / 1000 < 0.12
    assert np.ptp(leads) > 0.04


def test_a_fusion_beat_looks_like_both():
    """Its QRS lies about half way from the sinus beat to the PVC."""
    shares = []
    for _, ecg, r in hearts("PVC", 1000):
        first = {kind: t for t, kind in reversed(within(r.qrs)) if 0.2 < t < 9.5}
        if {FUSION, PREMATURE, CONDUCTED} <= first.keys():
            cut = {k: round((t + PAD_S) * HZ) for k, t in first.items()}
            shape = {k: ecg[:, at : at + 15] - ecg[:, at - 1 : at] for k, at in cut.items()}
            way = shape[PREMATURE] - shape[CONDUCTED]
            shares.append(float(np.vdot(shape[FUSION] - shape[CONDUCTED], way) / np.vdot(way, way)))
    assert len(shares) > 8
    assert 0.35 < np.median(shares) < 0.65
    assert min(shares) > 0.1
    assert max(shares) < 0.9


@pytest.mark.parametrize("codes", ["BIGU PVC", "BIGU PAC", "TRIGU PAC", "PVC", "BIGU PAC STACH", "PVC SBRAD"])
def test_premature_beats_make_no_sinus_tachycardia(codes):
    for heart, _, r in hearts(codes, 100):
        rate = np.nan_to_num(sinus_rate(r, 0, SECONDS), nan=heart.case.rate)
        assert ("STACH" in heart.findings) <= (rate > 100)
        assert ("SBRAD" in heart.findings) <= (rate < 60)
        assert {"SR", "STACH", "SBRAD"} & set(heart.findings)


def test_a_condition_brings_what_it_cannot_be_without():
    assert all("ANEUR" in h.findings and set(h.findings) & set(INFARCTS) for h, *_ in hearts("ANEUR", 20))
    for code, kinds in (("PRC(S)", {"PAC", "PVC"}), ("BIGU", {"PAC"}), ("TRIGU", {"PAC"})):
        assert all({code, *kinds} <= set(h.findings) for h, *_ in hearts(code, 20))


def test_flutter_waves_and_beats_stay_in_step():
    """A QRS comes a fixed time after every second, third or fourth flutter wave, give or take what the node adds."""
    fixed = 0
    for _, r in rhythms("AFLT", 300):
        t = np.array([t for t, _ in within(r.qrs)])
        steps = np.diff(t) / r.cycle_s
        assert 235 < 60 / r.cycle_s < 330
        assert set(np.rint(steps)) <= {2, 3, 4, 5}
        phase = np.angle(np.exp(2j * np.pi * (t - t[0]) / r.cycle_s)) / (2 * np.pi)
        assert np.ptp(phase) * r.cycle_s < 0.10
        half = len(t) // 2
        assert abs(phase[:half].mean() - phase[half:].mean()) * r.cycle_s < 0.04
        fixed += len(set(np.rint(steps))) == 1
    assert 0.5 < fixed / 300 < 0.8


def groups(r: Rhythm) -> list[list[float]]:
    """PR intervals of the beats between two dropped ones, whole groups only."""
    beats, out = [t for t, _ in r.qrs], [[]]
    for p, following in pairwise([t for t, _ in r.p]):
        own = [t - p for t in beats if p < t < following + 0.1 and t - p < 0.7][:1]
        out[-1] += own
        out += [] if own else [[]]
    return out[1:-1]


def test_wenckebach_pr_grows_until_a_beat_is_dropped():
    seen = 0
    for _, r in rhythms("2AVB1", 100, steady=True):
        for pr in groups(r):
            seen, gains = seen + 1, np.diff(pr)
            assert (gains > 0.02).all()
            assert (np.diff(gains) < 0).all()  # by less and less, so that RR shortens before the pause
        rr, pp = np.diff([t for t, _ in r.qrs]), np.diff([t for t, _ in r.p])
        assert rr.max() < 2 * pp.max() + 1e-9  # the pause is shorter than two sinus cycles
    assert seen > 200


@pytest.mark.parametrize("code", ["2AVB2", "2AVB"])
def test_mobitz_pr_is_constant_and_beats_are_dropped(code):
    for case, r in rhythms(code, 100):
        pr = [x for group in groups(r) for x in group]
        np.testing.assert_allclose(pr, case.pr_ms / 1000, atol=1e-6)
        assert len(within(r.p)) > len(within(r.qrs))
        if code == "2AVB":  # two to one
            assert {len(group) for group in groups(r)} == {1}


def test_dropped_beats_leave_their_p_wave():
    """Lead II after a P that no QRS follows: a P wave and nothing as steep as a QRS."""
    tall, low = [], []
    for _, ecg, r in hearts("2AVB2", 60):
        for p in [t for t, _ in within(r.p) if 1 < t < 9 and not any(0 < q - t < 0.5 for q, _ in r.qrs)][:1]:
            at = round((p + PAD_S) * HZ)
            bump = ecg[1, at : at + 13]
            tall.append(bump.max() - bump[[0, -1]].max())
            low.append(np.abs(np.diff(ecg[:, at : at + 30], axis=1)).max())
    assert len(tall) > 40
    assert np.median(tall) > 0.03
    assert np.median(low) < 0.06  # mV in 10 ms


def test_complete_block_parts_atria_and_ventricles():
    phases = []
    for _, r in rhythms("3AVB", 200):
        p, qrs = (np.array([t for t, _ in x]) for x in (r.p, r.qrs))
        assert np.diff(p).mean() < 0.85 * np.diff(qrs).mean()
        assert np.diff(qrs).std() < 0.05 * np.diff(qrs).mean()
        last = np.searchsorted(p, qrs) - 1
        inside = (last >= 0) & (last < len(p) - 1)
        a, b, t = p[last[inside]], p[last[inside] + 1], qrs[inside]
        phases += ((t - a) / (b - a)).tolist()
    share = np.histogram(phases, 5, (0, 1))[0] / len(phases)
    assert np.abs(share - 0.2).max() < 0.05  # a QRS falls anywhere between two P waves


@pytest.mark.parametrize("code", ["VESC", "JESC"])
def test_escape_beats_come_only_after_a_pause(code):
    seen = 0
    for case, r in rhythms(code, 150):
        if not any(kind == SINUS_P for _, kind in r.p):
            continue  # a junctional rhythm throughout
        cycles = [b - a for (a, _), (b, _) in pairwise(r.qrs)]
        usual = 60 / case.rate
        for (t, kind), gap in zip(r.qrs[1:], cycles, strict=True):
            alone = not any(0.05 < t - p < 0.4 for p, _ in r.p)
            assert alone == (kind == ESCAPE) or code == "JESC"
            if alone:
                seen += 1
                assert gap > max(1.19, 1.05 * usual)
    assert seen > 100


def test_sinus_cycles_waves_and_baseline_breathe_together():
    """One patient breathes at one rate: sinus cycles lengthen, QRS change and the baseline sways with one phase."""
    sway, qrs, noises, draw = [], [], [], recording.electrode_noise
    sizes = replace(ward_of("ptb-xl").sizes, wander_uv=0.01, skin_uv=0.0, tremor=0.0)

    def watched(*given):
        noises.append(draw(*given))
        return noises[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording, "electrode_noise", watched)
        patch.setattr(generate, "ward_of", lambda _: Ward(sizes, ward_of("ptb-xl").shares))
        for i in range(40):
            x = generate.simulate_tracing("ptb-xl", 71, i, HZ, SECONDS, codes=[])
            base = np.fft.irfft(noises[-1].slow, 1250)[:, 125:-125]
            off = replace(x.case, resp_phase=x.case.resp_phase + 0.25)  # a quarter of a breath
            parts = np.stack([breath(case, np.arange(1000) / HZ) for case in (x.case, off)])
            sway.append((parts @ base.T) ** 2)  # (2, 9)
    in_phase, off = np.sum(sway, axis=(0, 2))
    assert in_phase > 4 * off
    for case, r in rhythms("SARRH", 20):
        p = np.array([t for t, _ in r.p])
        assert np.corrcoef(np.diff(p), breath(case, p[:-1]))[0, 1] > 0.8
    for heart, ecg, r in hearts("", 20, 500):
        at = np.array([t for t, _ in within(r.qrs)])
        sizes = np.array([np.ptp(ecg[:, k : k + 50], axis=1) for k in np.rint((at + PAD_S) * 500).astype(int)])
        breaths = breath(heart.case, at)
        qrs.append(max(abs(np.corrcoef(of_lead, breaths)[0, 1]) for of_lead in sizes.T))
    assert np.median(qrs) > 0.8


@pytest.mark.parametrize("shape", ["LAFB", "CRBBB", "IMI", "LVH"])
def test_extrasystoles_are_not_what_is_measured_however_many_there_are(shape):
    for i in range(60):
        heart = generate.simulate_heart("ptb-xl", 71, i, HZ, SECONDS, codes=["BIGU", "PVC", shape])
        assert shape in heart.findings
        assert heart.features["qrs_ms"] < (125 if shape != "CRBBB" else 190)
