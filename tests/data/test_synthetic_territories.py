"""Injury, ischaemia and scars show in the leads in which textbooks find them, and the opposite leads answer.

ST: Wagner et al., Circulation 2009;119:e262-e270. Scars: Bayes de Luna et al., Circulation 2006;114:1755-1760.
"""

from functools import cache

import numpy as np
import pytest

from ecglib.data.synthetic.generate import simulate_heart
from ecglib.signals import LEADS

RECORDS = 1000  # of which one in twelve is acute

# Of an acute infarct: leads raised, leads reciprocal or flat at most, leads with next to no change
ACUTE = {
    "ASMI": ("V1 V2 V3", "", "I II V6"),
    "AMI": ("V2 V3 V4", "", "I II III aVF V6"),
    "ALMI": ("I aVL V3 V4 V5 V6", "III", "V1"),
    "LMI": ("I aVL V5 V6", "III aVF", "V2 V3"),
    "IMI": ("II III aVF", "I aVL V2", "V1 V3 V4 V5 V6"),
    "ILMI": ("II III aVF V5 V6", "aVL V2", "V1 V3"),
    "IPMI": ("II III aVF", "I aVL V2 V3", "V4 V5 V6"),
    "IPLMI": ("II III aVF V5 V6", "aVL V1 V2 V3", "V4"),
    "PMI": ("", "V1 V2 V3", "I II III aVF V6"),
}
# Of ischaemia: leads whose T turns over, and leads whose T stays up
TURNED = {
    "ISCAS": ("V1 V2", "I II V4 V5 V6"),
    "ISCAN": ("V2 V3", "I II V5 V6"),
    "ISCAL": ("I aVL V4 V5 V6", "II III aVF"),
    "ISCLA": ("I aVL V6", "III aVF V2 V3"),
    "ISCIN": ("II III aVF", "I aVL V2 V3 V4 V5"),
    "ISCIL": ("II III aVF", "I aVL V2 V3"),
}


@cache
def hearts(code: str) -> list:
    codes = [code] if code else []
    return [simulate_heart("ptb-xl", 77, index, 100, 2.5, codes=codes) for index in range(RECORDS)]


def median(code: str, wave: str, stage: str | None = None) -> dict[str, float]:
    """Median over records (mV) of each lead."""
    chosen = [h.features for h in hearts(code) if stage in (None, h.case.stage)]
    assert len(chosen) > 50
    return {lead: float(np.median([f[f"{wave}_mv_{lead}"] for f in chosen])) for lead in LEADS}


@pytest.mark.parametrize("code", ACUTE)
def test_an_acute_infarct_raises_st_where_it_is_and_nowhere_else(code):
    raised, reciprocal, still = (leads.split() for leads in ACUTE[code])
    acute, healthy = median(code, "st", "acute"), median("", "st")
    change = {lead: acute[lead] - healthy[lead] for lead in LEADS if lead != "aVR"}
    largest = max(map(abs, change.values()))
    assert largest > 0.15
    for lead in raised:
        assert change[lead] > 0.25 * largest, (lead, change)
    for lead in reciprocal:
        assert change[lead] < -0.1 * largest, (lead, change)
    for lead in still:
        assert abs(change[lead]) < 0.4 * largest, (lead, change)


def test_the_right_coronary_artery_raises_lead_iii_more_than_ii_and_the_side_less_than_the_lower_wall():
    inferior, lateral_too = median("IMI", "st", "acute"), median("ILMI", "st", "acute")
    assert inferior["III"] > inferior["II"]
    assert max(lateral_too["V5"], lateral_too["V6"]) < lateral_too["aVF"]
    assert lateral_too["V6"] > inferior["V6"]


@pytest.mark.parametrize("code", TURNED)
def test_ischaemia_turns_t_where_it_is_and_nowhere_else(code):
    turned, upright = (leads.split() for leads in TURNED[code])
    t = median(code, "t_amp")
    assert max(t[lead] for lead in turned) < 0, t
    assert min(t[lead] for lead in upright) > 0.05, t


def test_an_old_inferior_scar_shows_in_about_half_and_spares_the_front():
    """Q in two of II, III and aVF in half of them (R of V3 and V4 stays)."""
    old = [h for h in hearts("IMI") if h.case.stage == "old"]
    assert 0.4 < np.mean(["QWAVE" in h.findings for h in old]) < 0.65
    r, healthy = median("IMI", "r_amp", "old"), median("", "r_amp")
    for lead in ("V3", "V4"):
        assert r[lead] > 0.7 * healthy[lead]
    assert r["aVF"] < 0.6 * healthy["aVF"]
