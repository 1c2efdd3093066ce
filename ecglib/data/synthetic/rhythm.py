"""When the atria and the ventricles are activated, and from where."""

import math
from dataclasses import dataclass, field

import numpy as np

# Kinds of ventricular activation and of P wave, as indices into a record's template lists.
CONDUCTED, PREMATURE, ESCAPE, PACED, FUSION, ABERRANT = range(6)
SINUS_P, ECTOPIC_P, RETROGRADE_P, PACED_P = range(4)
BEFORE_S, AFTER_S = 2.5, 1.5

PATTERNS = {"BIGU": 2, "TRIGU": 3}  # the ectopic beat is every second, every third one
ECTOPIC = frozenset(("PAC", "PVC", *PATTERNS))
# Refractory periods, AV node 230 to 425 ms, muscle 170 to 290 ms: Josephson, Clinical Cardiac Electrophysiology
AV_NODE_S = 0.28
REFRACTORY_S = 0.36  # from a QRS to the next that comes down the conduction system
# A PVC enters the AV node from below. That blocks the next sinus P, which makes the pause compensatory, or lets it pass
# late: an interpolated PVC (Langendorf, Am Heart J 1948;35:542-552), rare and of slow rates.
CONCEALED_FOR_S, CONCEALED_S = 0.40, 0.06
SLOW_S, INTERPOLATES = 0.86, 0.12
LATE = 0.15  # share of patients whose PVCs come at the end of diastole (assumed)
FUSES_S = 0.07  # ventricles are activated within 70 to 100 ms; what comes later meets no muscle left


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


def breath(case, t_s: np.ndarray) -> np.ndarray:
    """Where in a breath times (s) of a record fall, from -1 to 1: what sinus cycles, waves and baseline follow."""
    return np.sin(2 * np.pi * (case.resp_hz * t_s + case.resp_phase))


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
    clock, pr = Clock(case, rng), case.pr_ms / 1000
    r.pr_ms = case.pr_ms
    if case.codes.isdisjoint(ECTOPIC):
        while t < end:
            r.conduct(t, pr + 0.002 * clock.noise())
            t += clock.next(t, rr)
        return
    ectopy = Ectopy(case, rng, rr, end - AFTER_S)
    last, since, ventricular = t - rr, ectopy.since, -9.0
    while t < end:
        step = clock.next(t, rr)
        wobble = 0.03 * clock.noise()
        what = ectopy.due(since, last + ectopy.coupling * rr)
        if what == "A":
            early = ectopy.premature_p(r, last, wobble, rng)
            last, t, since = early, early + step * 1.08, 0
            continue
        if what:
            ventricular = ectopy.premature_qrs(r, what, last, t, wobble)
            since = 0
        # A P that follows its PVC is blocked, and so is any other that meets tissue which cannot answer
        interpolated = what and ectopy.interpolates and t + pr + CONCEALED_S >= ventricular + REFRACTORY_S
        if interpolated or (not what and t + pr >= ventricular + REFRACTORY_S):
            r.conduct(t, pr + CONCEALED_S * bool(interpolated) + 0.002 * clock.noise())
            since += 1
        elif not r.p or r.p[-1][0] < t:  # a fusion beat has its P already
            r.p.append((t, SINUS_P))
        last, t = t, t + step


class Ectopy:
    """Which sinus cycles end early, and how: the ectopic beats of one record.

    A pattern (bigeminy, trigeminy) takes every second or third beat; other ectopic beats have their own times, far
    enough apart that one sinus beat lies between them; of each kind at least one falls in the strip. How early they
    come is much the same in one patient.
    """

    def __init__(self, case, rng, rr, duration_s):
        codes = case.codes
        self.rr, self.pr = rr, case.pr_ms / 1000
        # Muscle answers again towards the end of its T wave
        self.earliest = 0.95 * case.qtc_ms / 1000 * rr ** (1 / 3)
        self.coupling = rng.uniform(0.48, 0.76)  # of a sinus cycle
        u = rng.random(4).tolist()
        kinds = [kind for kind, code in (("V", "PVC"), ("A", "PAC")) if code in codes]
        self.period = next((period for code, period in PATTERNS.items() if code in codes), 0)
        self.kind = kinds[0] if kinds else "A"
        self.since = int(u[0] * self.period) if self.period else 1
        self.times = [] if self.period else _times(kinds, rng, rr, duration_s)
        # Late PVCs come about when the sinus impulse does, and meet it in the ventricles
        self.lead = 0.01 + 0.13 * u[1] if u[2] < LATE and not self.period else 0.0
        self.interpolates = rr > SLOW_S and u[3] < INTERPOLATES and not (self.period or self.lead)

    def due(self, since: int, at_s: float) -> str:
        """What ends the cycle in which an ectopic beat would come at ``at_s``, ``since`` sinus beats after the last:
        A premature atrial, V premature ventricular, W two of these, "" nothing."""
        if self.period:
            return self.kind if since >= self.period - 1 else ""
        if since and self.times and at_s >= self.times[0][0]:
            return self.times.pop(0)[1]
        return ""

    def premature_p(self, r, last, wobble, rng) -> float:
        """Adds a PAC after the P at ``last``; the time of its P."""
        early = last + max((self.coupling + wobble) * self.rr, AV_NODE_S)
        draw = rng.random()
        if draw < 0.06 and early > 0 and not self.period:  # blocked
            r.p.append((early, ECTOPIC_P))
        else:
            pr = self.pr * (1.08 if self.coupling < 0.65 else 1.0)
            r.conduct(early, pr, ECTOPIC_P, ABERRANT if draw > 0.88 else CONDUCTED)
        return early

    def premature_qrs(self, r, what, last, t, wobble) -> float:
        """Adds a PVC, or two, between the sinus P at ``last`` and the end of the cycle of that at ``t``; the time of
        the last one. One that the sinus impulse meets while it spreads is a fusion beat, with the P at ``t``."""
        expected = t + self.pr  # of the sinus beat
        if self.lead:
            lead = max(self.lead + 0.8 * wobble, 0.01)
            if lead < min(FUSES_S, 0.5 * self.pr):
                r.conduct(t, self.pr - lead, SINUS_P, FUSION)
                return expected - lead
            beat = expected - lead
        else:
            beat = last + self.pr + max((self.coupling + wobble) * self.rr, self.earliest)
            if not self.interpolates:  # its way back into the AV node is what blocks the P
                beat = max(beat, t - CONCEALED_FOR_S)
            beat = min(beat, expected - FUSES_S)
        r.qrs.append((beat, PREMATURE))
        if what == "W":
            beat += min(max(0.5 * self.rr + 0.1, 0.36), 0.60)
            r.qrs.append((beat, PREMATURE))
        return beat


def _times(kinds, rng, rr, duration_s) -> list[tuple[float, str]]:
    """From when on the next sinus cycle ends in which kind of ectopic beat, in order.

    Times keep a distance that leaves room for the pause and a sinus beat. The first of each kind lies in the strip,
    others may also lie just before or after it.
    """
    if not kinds:
        return []
    apart, room = 2.4 * rr, max(duration_s - 2 * rr, 0.0)
    inside = 1 + int(room / apart)
    first = rng.random() * (room - (inside - 1) * apart)
    order = rng.permutation(inside).tolist()
    sure, rest = order[: len(kinds)], [*order[len(kinds) :], -1, inside]
    rest = [rest[k] for k in rng.permutation(len(rest))]
    chosen = list(zip(sure, kinds, strict=False))
    for kind in kinds:
        more = int(rng.exponential(1.3))
        taken, rest = rest[:more], rest[more:]
        for slot in taken:  # couplets are of those who have many
            double = kind == "V" and more > 1 and rng.random() < 0.12
            chosen.append((slot, "W" if double else kind))
    return sorted((first + slot * apart, kind) for slot, kind in chosen)
