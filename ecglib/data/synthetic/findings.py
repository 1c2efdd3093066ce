"""What is true of a tracing: conditions that show, definitions that are met, the rhythm, normal if nothing is wrong."""

import numpy as np

from ecglib.data.labels import FINDINGS
from ecglib.data.synthetic import rhythm
from ecglib.data.synthetic.cases import ECTOPY, SHAPE
from ecglib.data.synthetic.events import shows_pattern, sinus_rate
from ecglib.data.synthetic.features import MEASURED

ARRHYTHMIA_S = 0.16  # cycles that differ by more make a sinus arrhythmia
_PLACES = {code: i for i, code in enumerate(FINDINGS)}
_HARMLESS = frozenset({"SR", "EREPOL"})


def finished(case, beats, features, derived, seen, kinds, conducted):
    """The findings in the order of the labels.

    Args:
        case: the patient; what was planned.
        beats: the `rhythm.Rhythm` that came of it.
        features: true measurements, ``rate_bpm`` and, with P waves, ``pr_ms`` among them.
        derived: findings that the measurements define, of `features.derived_findings`.
        seen, kinds: times (s) of the beats within the strip, and which kinds these are.
        conducted: whether the main beat comes down the conduction system, so that its shape means something.
    """
    codes = set(case.codes if conducted else case.codes - SHAPE)
    found = (codes - MEASURED) | derived
    rate, rate_codes = features["rate_bpm"], {"SBRAD", "STACH", "SARRH"}
    found -= rate_codes
    sinus = case.rhythm in ("SINUS", "1AVB") or case.rhythm in rate_codes
    if sinus:
        rr = np.diff(seen)
        irregular = not case.codes & ECTOPY and len(rr) > 2 and rr.max() - rr.min() > ARRHYTHMIA_S
        if irregular:
            found.add("SARRH")
        slow, fast = _rates(case, beats, rate, seen)
        if fast < 60:
            found.add("SBRAD")
        elif slow > 100:
            found.add("STACH")
        elif not irregular:
            found.add("SR")
        found -= {"1AVB", "LPR"}
        if features["pr_ms"] > 200:
            found |= {"1AVB", "LPR"}
    elif case.rhythm in ("2AVB1", "2AVB2", "2AVB", "3AVB", "VESC"):
        found.add("SR")
    if not {rhythm.PREMATURE, rhythm.FUSION} & kinds:
        found.discard("PVC")
    if not any(k == rhythm.ECTOPIC_P and 0 <= t <= seen[-1] for t, k in beats.p):
        found.discard("PAC")
    if not found & {"PAC", "PVC"}:
        found.discard("PRC(S)")
    for code, period in rhythm.PATTERNS.items():
        if code in found and not shows_pattern(beats, period, seen[0], seen[-1]):
            found.discard(code)
    if "QWAVE" in found or found & {"WPW", "IVCD"}:
        found.add("ABQRS")
    if not case.codes - rate_codes and not found - rate_codes - _HARMLESS:
        found.add("NORM")
    return tuple(sorted(found, key=_PLACES.__getitem__))


def _rates(case, beats, rate, seen) -> tuple[float, float]:
    """The slower and the faster of all beats' rate and the sinus node's. Where beats are ectopic, a bradycardia or
    tachycardia is one of both; without ectopic beats they are one."""
    if not case.codes & ECTOPY:
        return rate, rate
    of_sinus = sinus_rate(beats, 0.0, seen[-1])
    of_sinus = of_sinus if of_sinus == of_sinus else case.rate  # every second beat is an atrial one: no cycle shows
    return min(rate, of_sinus), max(rate, of_sinus)
