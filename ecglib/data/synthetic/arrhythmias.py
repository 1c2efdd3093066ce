"""Rhythms other than sinus rhythm: each builder fills a ``Rhythm`` with its events."""

from ecglib.data.synthetic.cases import one_of
from ecglib.data.synthetic.rhythm import (
    ABERRANT,
    AFTER_S,
    BEFORE_S,
    CONDUCTED,
    ECTOPIC_P,
    ESCAPE,
    PACED,
    PACED_P,
    PREMATURE,
    RETROGRADE_P,
    SINUS_P,
    Clock,
    Rhythm,
    sinus,
)


def build(case, duration_s: float, rng) -> Rhythm:
    """The rhythm that ``case.rhythm`` names, with the case's ectopic beats."""
    rhythm = Rhythm()
    end = duration_s + AFTER_S
    rr = 60.0 / case.rate
    _BUILDERS.get(case.rhythm, sinus)(rhythm, case, rr, -BEFORE_S - rng.random() * rr, end, rng)
    rhythm.qrs.sort()
    return rhythm


def _fibrillation(r, case, rr, t, end, rng):
    r.atrium = "f"
    spread = rng.uniform(0.16, 0.27)
    ectopy = 0.10 if "PVC" in case.codes else 0.0
    forced = ectopy > 0
    while t < end:
        step = max(rr * (1 + spread * rng.standard_normal() + 0.06 * rng.exponential()), 0.30)
        if ectopy and (rng.random() < ectopy or (forced and 2.0 < t < 7.0)):
            r.qrs.append((t + min(0.62 * rr, 0.48), PREMATURE))
            step = max(step, 1.25 * rr)
            forced = False
        else:
            kind = ABERRANT if step < 0.36 and rng.random() < 0.1 else CONDUCTED
            r.qrs.append((t + step, kind))
        t += step


def _flutter(r, case, rr, t, end, rng):
    r.atrium = "F"
    r.cycle_s = rng.uniform(0.185, 0.255)
    fixed = max(2, min(5, round(rr / r.cycle_s)))
    variable = rng.random() < 0.35
    while t < end:
        ratio = one_of(rng, [2, 3, 4, 4]) if variable else fixed
        t += ratio * r.cycle_s
        # Each flutter wave takes its own time through the AV node; the circuit above does not wait for it
        r.qrs.append((t + 0.012 * rng.standard_normal(), CONDUCTED))


def _atrial_tachycardia(r, case, rr, t, end, rng):
    """A fast ectopic focus, one to one or two to one."""
    ratio = 2 if case.rate < 95 else 1
    cycle = rr / ratio
    pr = min(case.pr_ms / 1000, 0.62 * cycle) if ratio == 1 else case.pr_ms / 1000
    i = 0
    while t < end:
        if i % ratio == 0:
            r.conduct(t, pr, ECTOPIC_P)
        else:
            r.p.append((t, ECTOPIC_P))
        t += cycle * (1 + 0.006 * rng.standard_normal())
        i += 1


def _reentry(r, case, rr, t, end, rng, retrograde=None):
    """Regular narrow tachycardia; P hidden in the QRS or just behind it."""
    behind = rng.uniform(0.06, 0.12) if (rng.random() < 0.5 if retrograde is None else retrograde) else None
    while t < end:
        r.qrs.append((t, CONDUCTED))
        if behind:
            r.p.append((t + behind, RETROGRADE_P))
        t += rr * (1 + 0.004 * rng.standard_normal())
    return t


def _paroxysm(r, case, rr, t, end, rng):
    """Reentry tachycardia that starts or stops within the strip."""
    slow = 60.0 / rng.uniform(62, 105)
    change = rng.uniform(0.3, 0.7) * (end - AFTER_S)
    calm = Rhythm()
    if rng.random() < 0.5:  # starts
        sinus(calm, case.calm(), slow, t, change, rng)
        last = calm.qrs[-1][0]
        _reentry(r, case, rr, last + 0.75 * slow, end, rng)
    else:
        _reentry(r, case, rr, t, change, rng)
        sinus(calm, case.calm(), slow, r.qrs[-1][0] + 1.2 * slow, end, rng)
    r.p += calm.p
    r.qrs += calm.qrs


def _supraventricular_arrhythmia(r, case, rr, t, end, rng):
    """Several atrial pacemakers in turn: irregular, P of changing shape and PR."""
    while t < end:
        kind = one_of(rng, [SINUS_P, ECTOPIC_P, RETROGRADE_P])
        pr = case.pr_ms / 1000 * rng.uniform(0.8, 1.12)
        r.conduct(t, pr, kind)
        t += max(rr * (1 + 0.24 * rng.standard_normal()), 0.36)


def _wenckebach(r, case, rr, t, end, rng):
    first, clock = case.pr_ms / 1000, Clock(case, rng)
    while t < end:
        pr, gain = first, rng.uniform(0.07, 0.13)
        for _ in range(int(rng.integers(2, 5))):
            r.conduct(t, pr)
            pr += gain
            gain *= 0.6
            t += clock.next(t, rr)
        r.p.append((t, SINUS_P))
        t += clock.next(t, rr)


def _mobitz(r, case, rr, t, end, rng):
    two_to_one = "2AVB" in case.codes
    clock, wait = Clock(case, rng), int(rng.integers(1, 4))
    while t < end:
        if wait:
            r.conduct(t, case.pr_ms / 1000)
            wait -= 1
        else:
            r.p.append((t, SINUS_P))
            wait = 1 if two_to_one else int(rng.integers(2, 5))
        t += clock.next(t, rr)


def _complete_block(r, case, rr, t, end, rng):
    """Atria and ventricles each at their own rate."""
    clock = Clock(case, rng)
    p, cycle = t, 60.0 / rng.uniform(68, 105)
    while p < end:
        r.p.append((p, SINUS_P))
        p += clock.next(p, cycle)
    kind = CONDUCTED if rng.random() < 0.35 else ESCAPE
    while t < end:
        r.qrs.append((t, kind))
        t += rr * (1 + 0.008 * rng.standard_normal())


def _junctional(r, case, rr, t, end, rng):
    """Junctional rhythm, or a sinus pause ended by a junctional beat."""
    if rng.random() < 0.55:
        _reentry(r, case, 60.0 / rng.uniform(38, 58), t, end, rng, retrograde=rng.random() < 0.35)
        return
    _pauses(r, case, rr, t, end, rng, CONDUCTED)


def _ventricular_escape(r, case, rr, t, end, rng):
    _pauses(r, case, rr, t, end, rng, ESCAPE)


def _pauses(r, case, rr, t, end, rng, kind):
    clock, pr = Clock(case, rng), case.pr_ms / 1000
    pause_at = rng.uniform(1.5, 4.0)
    r.pr_ms = case.pr_ms
    while t < end:
        r.conduct(t, pr)
        if t > pause_at:
            escape = t + pr + rng.uniform(1.35, 1.7)
            for _ in range(1 + int(rng.random() < 0.35)):
                r.qrs.append((escape, kind))
                t = escape
                escape += rng.uniform(1.2, 1.6)
            t += rng.uniform(0.55, 0.9)
            pause_at = t + rng.uniform(2.0, 5.0)
        else:
            t += clock.next(t, rr)


def _paced(r, case, rr, t, end, rng):
    """VVI, DDD or AAI; stimuli a few milliseconds before what they start."""
    mode = one_of(rng, ["VVI", "DDD", "AAI", "VVI-AF"], [0.25, 0.45, 0.12, 0.18])
    r.atrium = "f" if mode == "VVI-AF" else "P"
    av, atrial_too = rng.uniform(0.13, 0.20), rng.random() < 0.4
    clock = Clock(case, rng)
    p, p_cycle = t + rng.random(), 60.0 / rng.uniform(60, 95)
    while t < end:
        if mode == "AAI":
            r.spikes.append((t - 0.006, "A"))
            r.conduct(t, case.pr_ms / 1000, PACED_P)
        elif mode == "DDD":
            if atrial_too:
                r.spikes.append((t - 0.006, "A"))
            r.spikes.append((t + av - 0.004, "V"))
            r.conduct(t, av, PACED_P if atrial_too else SINUS_P, PACED)
        else:
            r.spikes.append((t - 0.004, "V"))
            r.qrs.append((t, PACED))
        fixed = mode != "DDD" or atrial_too
        t += rr if fixed else clock.next(t, rr)
    while mode == "VVI" and p < end:
        r.p.append((p, SINUS_P))
        p += clock.next(p, p_cycle)


_BUILDERS = {
    "AFIB": _fibrillation,
    "AFLT": _flutter,
    "AT": _atrial_tachycardia,
    "SVTAC": _reentry,
    "PSVT": _paroxysm,
    "SVARR": _supraventricular_arrhythmia,
    "2AVB1": _wenckebach,
    "2AVB2": _mobitz,
    "2AVB": _mobitz,
    "3AVB": _complete_block,
    "JESC": _junctional,
    "VESC": _ventricular_escape,
    "PACE": _paced,
}
