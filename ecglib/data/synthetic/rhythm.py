"""When the atria and the ventricles are activated, and from where."""

import math
from dataclasses import dataclass, field

import numpy as np

# Kinds of ventricular activation and of P wave, as indices into a record's template lists.
CONDUCTED, PREMATURE, ESCAPE, PACED, FUSION, ABERRANT = range(6)
SINUS_P, ECTOPIC_P, RETROGRADE_P, PACED_P = range(4)
BEFORE_S, AFTER_S = 2.5, 1.5


@dataclass(slots=True)
class Rhythm:
    """Events of one record in seconds from its start, some before 0 and after the end.

    p and qrs: lists of (onset, kind); spikes: pacing stimuli; atrium: "P", "f" (fibrillation) or "F" (flutter,
    with its cycle); pr_ms: of conducted sinus beats, NaN where undefined.
    """

    p: list = field(default_factory=list)
    qrs: list = field(default_factory=list)
    spikes: list = field(default_factory=list)
    atrium: str = "P"
    cycle_s: float = 0.0
    pr_ms: float = float("nan")

    def conduct(self, p_s, pr_s, p_kind=SINUS_P, kind=CONDUCTED):
        self.p.append((p_s, p_kind))
        self.qrs.append((p_s + pr_s, kind))


class Clock:
    """Successive sinus cycle lengths: respiratory arrhythmia, slow 1/f drift and a little jitter."""

    def __init__(self, case, rng):
        self.case, self.rng = case, rng
        self.z = rng.standard_normal(96).tolist()
        self.i, self.slow = 0, 0.0

    def noise(self):
        self.i = (self.i + 1) % 96
        return self.z[self.i]

    def next(self, t: float, rr: float) -> float:
        case, z, i = self.case, self.z, self.i
        self.slow = 0.93 * self.slow + 0.37 * z[(i + 1) % 96]
        self.i = i = (i + 2) % 96
        breath = math.sin(2 * math.pi * (case.resp_hz * t + case.resp_phase))
        return rr * (1 + case.rsa * breath + case.hrv * (0.8 * self.slow + 0.5 * z[i]))


def sinus(r, case, rr, t, end, rng):
    """Sinus rhythm and its ectopic beats: a premature P resets the sinus, a premature QRS does not."""
    clock = Clock(case, rng)
    pr = case.pr_ms / 1000
    r.pr_ms = case.pr_ms
    plan = _ectopic_plan(case, rng, int((end - t) / rr) + 4)
    coupling = rng.uniform(0.48, 0.76)
    last, i = t - rr, 0
    while t < end:
        what = plan[i] if i < len(plan) else ""
        i += 1
        step = clock.next(t, rr)
        wobble = 0.03 * clock.noise()
        if what == "A":
            early = last + (coupling + wobble) * rr
            p_kind = ECTOPIC_P
            draw = rng.random()
            if draw < 0.06 and early > 0:  # blocked
                r.p.append((early, p_kind))
            else:
                kind = ABERRANT if draw > 0.88 else CONDUCTED
                r.conduct(early, pr * (1.08 if coupling < 0.65 else 1.0), p_kind, kind)
            last, t = early, early + step * 1.08
            continue
        if what in ("V", "W"):
            beat = last + pr + (coupling + wobble) * rr
            if what == "W":
                r.qrs += [(beat, PREMATURE), (beat + 0.5 * rr + 0.1, PREMATURE)]
                t += step * 0.6 if t < beat else 0.0
            else:
                r.qrs.append((beat, PREMATURE if rng.random() > 0.05 or t - beat > 0.12 else FUSION))
            if t + pr < beat + 0.32:  # the sinus P of this cycle meets tissue that cannot answer
                r.p.append((t, SINUS_P))
                last, t = t, t + step
                continue
        r.conduct(t, pr + 0.002 * clock.noise())
        last, t = t, t + step


def _ectopic_plan(case, rng, n):
    """One letter per beat: "" sinus, A premature atrial, V premature ventricular, W a couplet."""
    plan = [""] * n
    codes = case.codes
    letter = "V" if "PVC" in codes else "A"
    for code, period in (("BIGU", 2), ("TRIGU", 3)):
        if code in codes:
            start = int(rng.integers(period)) + 1
            for i in range(start, n, period):
                plan[i] = letter
            return plan
    letters = [c for c, code in (("A", "PAC"), ("V", "PVC")) if code in codes]
    if not letters:
        return plan
    # The middle beats are sure to be seen in the strip.
    margin = min(int(BEFORE_S * case.rate / 60) + 1, n // 3)
    seen = max(n - margin - int(AFTER_S * case.rate / 60) - 2, 2)
    for c in letters:
        count = min(1 + int(rng.exponential(1.3)), max(seen // 3, 1))
        for slot in rng.choice(np.arange(margin, margin + seen), size=min(count, seen), replace=False):
            plan[slot] = "W" if c == "V" and count > 2 and rng.random() < 0.12 else c
    for i in range(1, n):  # an ectopic beat follows a sinus beat
        if plan[i] and plan[i - 1]:
            plan[i] = ""
    return plan
