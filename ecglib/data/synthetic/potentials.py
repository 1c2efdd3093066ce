"""What nine electrodes see of a heart: its beats, one kind after another, and what is true of them."""

import math
from dataclasses import replace
from statistics import median

import numpy as np

from ecglib.data.synthetic import atria, rhythm, ventricles
from ecglib.data.synthetic.arrhythmias import build
from ecglib.data.synthetic.events import count_events
from ecglib.data.synthetic.features import derived_findings, measure
from ecglib.data.synthetic.findings import finished
from ecglib.data.synthetic.recording import PAD
from ecglib.data.synthetic.repolarisation import recover
from ecglib.data.synthetic.waves import Waves, add_beats


def electrode_potentials(case, body, duration_s, hz, rng):
    """Steps (`stages`) to the potentials (9, T) in mV of the padded record, its features and its findings."""
    total = 2 * round(duration_s * PAD * hz / 2)
    begin = -(total - round(duration_s * hz)) // 2 / hz
    beats = build(case, duration_s, rng)
    case.events = count_events(beats, duration_s)
    yield
    kinds = sorted({k for _, k in beats.qrs} | {rhythm.CONDUCTED})
    activations = dict.fromkeys(kinds)
    base = ventricles.conducted(case, body, rng)
    yield
    _size_up(base, case, rng)
    activations[rhythm.CONDUCTED] = base
    for kind in kinds:
        if kind == rhythm.PREMATURE or kind == rhythm.ESCAPE:
            activations[kind] = ventricles.ventricular(body, rng, case.voltage)
        elif kind == rhythm.PACED:
            activations[kind] = ventricles.ventricular(body, rng, case.voltage, "paced")
        elif kind == rhythm.ABERRANT:
            wide = replace(case, codes=case.codes | {"CRBBB"}, qrs_ms=125.0)
            activations[kind] = ventricles.conducted(wide, body, rng)
    if rhythm.FUSION in activations:
        other = activations.get(rhythm.PREMATURE) or ventricles.ventricular(body, rng, case.voltage)
        activations[rhythm.FUSION] = ventricles.fused(base, other, 0.5)

    yield
    start = np.array([t for t, _ in beats.qrs])
    kind = np.array([k for _, k in beats.qrs])
    within = (start >= 0) & (start <= duration_s)
    seen = start[within]
    before = np.empty_like(start)
    before[0], before[1:] = 2 * start[0] - start[1], start[:-1]
    rr_all = start - before
    rate = 60.0 * (len(seen) - 1) / float(seen[-1] - seen[0]) if len(seen) > 2 else case.rate
    # The beat that is measured: the most frequent one, but no extrasystole, however many there are.
    usual = kind[~np.isin(kind, (rhythm.PREMATURE, rhythm.FUSION))]
    main = rhythm.PACED if rhythm.PACED in kinds else int(np.bincount(usual if len(usual) else kind).argmax())

    out = np.zeros((total, 9), np.float32).T  # the electrodes of one moment side by side, so that a beat is one block
    shifted = start - begin
    breath = rhythm.breath(case, start)
    gain = 1 + 0.4 * case.resp_tilt * breath + 0.012 * rng.standard_normal(len(start))
    features = None
    for k, activation in activations.items():
        mine = kind == k
        cycles = rr_all[mine]
        mean_rr = median(cycles.tolist()) if len(cycles) else 60.0 / rate
        if k in (rhythm.PREMATURE, rhythm.FUSION, rhythm.ESCAPE):
            mean_rr = max(mean_rr, 0.55)
        qt = case.qtc_ms * min(max(mean_rr, 0.28), 1.6) ** (1 / 3)
        if case.qtc_ms < 445:  # not long by Bazett's correction either
            qt = min(qt, 452 * math.sqrt(mean_rr) if 0.6 <= mean_rr <= 1.0 else qt)
        if k != rhythm.CONDUCTED or case.qrs_ms > 118:
            qt += 0.55 * (activation.duration_ms - 95)
        qt = min(qt, max(880 * mean_rr, 245.0))
        recovery, qt = recover(case, activation, body, rng, qt, conducted=k == rhythm.CONDUCTED)
        if k == main:
            features = (activation, recovery, qt, mean_rr)
        if not len(cycles):
            continue
        begins, gains = shifted[mine], gain[mine]
        tilted = _tilted(activation.waves, body)
        add_beats(out, hz, activation.waves, begins, gains, case.resp_tilt * breath[mine], tilted)
        # T follows the cycle before it, sluggishly.
        stretch = ((cycles / mean_rr) ** 0.22).clip(0.8, 1.15)
        t_gain = gains * (1 + 0.02 * rng.standard_normal(len(gains)))
        add_beats(out, hz, recovery, begins + activation.duration_ms / 1000, t_gain, stretch=stretch)

    yield
    p_waves = _atria(case, body, rng, beats, out, hz, begin)
    _spikes(body, rng, beats, out, hz, begin)
    yield
    activation, recovery, qt, main_rr = features
    visible_p = p_waves if beats.atrium == "P" and not math.isnan(beats.pr_ms) else None
    late_right = "CRBBB" in case.codes and main == rhythm.CONDUCTED
    values, arrays = measure(
        activation, recovery, qt, visible_p, rate=rate, rr_s=main_rr, pr_ms=beats.pr_ms, late_right=late_right
    )
    derived = derived_findings(case, values, arrays, conducted=main == rhythm.CONDUCTED)
    seen_kinds = set(kind[within].tolist())
    findings = finished(case, beats, values, derived, seen, seen_kinds, conducted=main == rhythm.CONDUCTED)
    return out, values, findings


def _size_up(activation, case, rng):
    """Scale the QRS to its finding: voltage criteria of hypertrophy are met by who has them and by no one else.

    Sokolow and Lyon 1949: S V1 + R V5 or V6 above 3.5 mV; Cornell: R aVL + S V3 above 2.8 (men), 2.0 mV (women). Right:
    R V1 above 0.7 mV, or with S V5 or V6 above 1.05 mV.
    """
    leads = activation.leads()
    r, low = leads.max(1).tolist(), leads.min(1).tolist()
    heights = [top - bottom for top, bottom in zip(r, low, strict=True)]
    criterion = max((max(r[10], r[11]) - low[6]) / 3.5, (r[4] - low[8]) / (2.0 if case.sex == "F" else 2.8))
    limb, chest = max(heights[:6]), max(heights[6:])
    height = max(chest / 4.2, limb / 2.6)
    has = case.codes.__contains__
    if has("LVH") or has("VCLVH"):
        factor = rng.uniform(1.05, 1.5) / criterion
    elif has("HVOLT"):
        factor = rng.uniform(1.05, 1.3) / height
    elif has("LVOLT"):
        factor = rng.uniform(0.55, 0.88) / max(limb / 0.5, chest / 1.15)
    elif has("RVH"):
        right = max(r[6] / 0.7, (r[6] - min(low[10], low[11])) / 1.05)
        factor = min(max(rng.uniform(1.05, 1.4) / right, 1.0), 0.95 / criterion, 0.95 / height)
    elif has("CLBBB") or has("WPW"):
        factor = min(1.0, 0.95 / height)
    else:
        factor = min(1.0, 0.95 / criterion, 0.86 / height)
    activation.scale(factor)


def _tilted(waves, body):
    """What a small turn of the heart, up with each breath, adds to the electrode weights (9, K)."""
    turned = waves.sources.copy()
    x, y = waves.sources[:, 0], waves.sources[:, 1]
    turned[:, 0], turned[:, 1], turned[:, 2] = -0.9 * y, 0.9 * x, 0.4 * x
    return body.weights(turned)


def _atria(case, body, rng, beats, out, hz, begin):
    p_waves = atria.sinus_p(case, body, rng)
    if beats.atrium == "f":
        out += atria.fibrillation(body, rng, begin + np.arange(out.shape[1]) / hz)
    elif beats.atrium == "F":
        t = begin + np.arange(out.shape[1]) / hz
        out += atria.flutter(body, rng, t, beats.cycle_s, beats.qrs[0][0] - rng.uniform(0.03, 0.12))
    else:
        templates = (p_waves, None, None, p_waves)
        for k in (rhythm.SINUS_P, rhythm.ECTOPIC_P, rhythm.RETROGRADE_P, rhythm.PACED_P):
            when = np.array([s for s, kind in beats.p if kind == k])
            if len(when) == 0:
                continue
            waves = templates[k] or atria.ectopic_p(body, rng, retrograde=k == rhythm.RETROGRADE_P)
            gain = 1 + case.resp_tilt * rhythm.breath(case, when) + 0.05 * rng.standard_normal(len(when))
            add_beats(out, hz, waves, when - begin, gain)
    return p_waves


def _spikes(body, rng, beats, out, hz, begin):
    """Pacing stimuli: 1 ms pulses as wide as the sampling rate shows them."""
    if not beats.spikes:
        return
    width = max(0.8, 420.0 / hz)
    bipolar = rng.random() < 0.5
    for chamber in ("A", "V"):
        when = np.array([s for s, c in beats.spikes if c == chamber])
        vector = np.array([0.3, 0.8, 0.3] if chamber == "A" else [0.6, 0.7, -0.3]) + 0.4 * rng.standard_normal(3)
        size = (0.8 if bipolar else 3.2) * np.exp(0.4 * rng.standard_normal()) * 2.0 / max(width, 2.0)
        waves = Waves(np.array([[0.0, width, width]]), np.array([[*(vector * size), 0, 0, 0]])).see(body)
        add_beats(out, hz, waves, when - begin, np.ones(len(when)))
