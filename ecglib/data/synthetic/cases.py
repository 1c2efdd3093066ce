"""Who the patient is and what is wrong: demographics, conditions that fit together, and their sizes."""

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import accumulate, combinations

import numpy as np

RHYTHMS = frozenset("SBRAD STACH SARRH SVARR AFIB AFLT AT SVTAC PSVT PACE JESC VESC 1AVB 2AVB1 2AVB2 2AVB 3AVB".split())
ECTOPY = frozenset("PAC PVC BIGU TRIGU PRC(S)".split())
BLOCKS = frozenset("CRBBB IRBBB CLBBB ILBBB IVCD WPW".split())
FASCICLES = frozenset("LAFB LPFB".split())
INFARCTS = {
    "IMI": "I", "ILMI": "IL", "IPMI": "IP", "IPLMI": "IPL", "ASMI": "AS", "AMI": "A", "ALMI": "AL",
    "LMI": "L", "PMI": "P",
}  # fmt: skip
INJURIES = {"INJAS": "AS", "INJAL": "AL", "INJIN": "I", "INJIL": "IL", "INJLA": "L"}
ISCHAEMIAS = {
    "ISC": "AL", "ISCAL": "AL", "ISCAS": "AS", "ISCAN": "A", "ISCLA": "L", "ISCIN": "I", "ISCIL": "IL",
}  # fmt: skip
UNSPECIFIC = frozenset("NST NDT NT TAB LOWT INVT STD STE STTU EREPOL ANEUR DIG EL".split())
NO_P_WAVE = frozenset("SVARR AFIB AFLT AT SVTAC PSVT PACE JESC 3AVB".split())

# Groups of which a record has at most one.
_ALONE = (
    RHYTHMS,
    ECTOPY - {"PRC(S)"},
    BLOCKS,
    FASCICLES,
    frozenset(INFARCTS) | frozenset(INJURIES) | {"ANEUR"},
    frozenset(ISCHAEMIAS) | UNSPECIFIC | frozenset(INJURIES),
    frozenset("LVH RVH SEHYP VCLVH HVOLT LVOLT".split()),
    frozenset("LAO/LAE RAO/RAE PWC".split()),
    frozenset("LAXIS RAXIS".split()),
    frozenset("CCR CR".split()),
    frozenset("QWAVE ABQRS".split()),
)
_RECOVERY = frozenset(ISCHAEMIAS) | UNSPECIFIC | frozenset(INFARCTS) | frozenset(INJURIES)
# What shows in beats that come down the conduction system and in no others
SHAPE = BLOCKS | FASCICLES | _RECOVERY | frozenset(
    "LVH RVH SEHYP VCLVH HVOLT LVOLT LAXIS RAXIS CCR CR QWAVE ABQRS UWAVE LNGQT".split()
)  # fmt: skip
# Pairs that one tracing cannot show, or whose signs hide each other.
_EXCLUDES = {
    "PACE": SHAPE | ECTOPY | frozenset("LAO/LAE RAO/RAE PWC".split()),
    "CLBBB": _RECOVERY | FASCICLES | frozenset("LVH RVH SEHYP VCLVH HVOLT LAXIS RAXIS CCR CR QWAVE ABQRS".split()),
    "WPW": _RECOVERY
    | FASCICLES
    | NO_P_WAVE
    | frozenset("1AVB 2AVB1 2AVB2 2AVB LVH RVH SEHYP VCLVH HVOLT QWAVE LAXIS RAXIS CCR CR".split()),
    "CRBBB": frozenset("RVH RAXIS CCR CR PMI VCLVH INVT NT".split()),
    "IRBBB": frozenset("PMI CCR".split()),
    "RVH": FASCICLES | frozenset("CLBBB ILBBB LAXIS PMI ASMI AMI ALMI ANEUR CCR CR ISCAS ISCAN".split()),
    "LAFB": frozenset("RAXIS IMI ILMI IPMI IPLMI CCR".split()),
    "LPFB": frozenset("LAXIS LMI ALMI IMI ILMI IPMI IPLMI".split()),
    "RAXIS": frozenset("LVH".split()),
    "SEHYP": frozenset(INFARCTS) | frozenset("QWAVE LVOLT CRBBB IRBBB ANEUR".split()),
    "LVOLT": frozenset("HVOLT VCLVH".split()),
    "QWAVE": frozenset(INFARCTS) | {"ANEUR"},
    "CR": frozenset("ASMI AMI ANEUR".split()),
    "CCR": frozenset("PMI IPMI IPLMI".split()),
    "EREPOL": frozenset(INFARCTS) | frozenset("LVH STACH AFIB AFLT LNGQT".split()),
    "STTU": frozenset(INFARCTS) | {"CRBBB"},
    "LNGQT": frozenset("DIG SVTAC AT PSVT STACH AFLT".split()),
    "LVH": frozenset("NDT NT STD STE INVT LOWT TAB".split()),
    "UWAVE": frozenset("STACH AFLT AT SVTAC PSVT AFIB".split()),
}
_NEEDS_SINUS = frozenset("LAO/LAE RAO/RAE PWC PAC BIGU TRIGU PRC(S)".split())
_ODD = frozenset("SVARR AT SVTAC PSVT JESC VESC 2AVB1 2AVB2 2AVB 3AVB AFLT SARRH".split())

# What is drawn one by one and shown together (in the order of the alphabet): extrasystoles of two kinds, their pattern,
# an aneurysm with its scar
_TOGETHER = (
    ({"BIGU"}, {"PAC", "PVC"}),
    ({"PAC"}, {"PVC", "TRIGU"}),
    ({"PVC"}, {"TRIGU"}),
    ({"ANEUR"}, frozenset(INFARCTS)),
    ({"ALMI", "AMI"}, {"ANEUR"}),
)


def compatible(code: str, chosen: set[str]) -> bool:
    """Whether ``code`` can be added to conditions already ``chosen``."""
    for group in _ALONE:
        if code in group and chosen & group:
            return False
    if chosen & _EXCLUDES.get(code, frozenset()) or any(code in _EXCLUDES.get(c, ()) for c in chosen):
        return False
    if (code in _NEEDS_SINUS and chosen & NO_P_WAVE) or (code in NO_P_WAVE and chosen & _NEEDS_SINUS):
        return False
    return not ((code in ECTOPY and chosen & _ODD) or (code in _ODD and chosen & ECTOPY))


def clashing(codes: set[str]) -> tuple[str, str] | None:
    """Two of ``codes`` that one tracing cannot show together, the first in the alphabet; None when all go together."""
    for a, b in combinations(sorted(codes), 2):
        if not compatible(a, {b}) and not any(a in one and b in other for one, other in _TOGETHER):
            return a, b
    return None


@dataclass(slots=True)
class Case:
    """One patient at one moment: everything the physiology needs, before chance shapes single waves."""

    age: float
    sex: str
    habitus: float
    codes: frozenset
    rhythm: str = "SINUS"
    rate: float = 70.0
    pr_ms: float = 158.0
    qrs_ms: float = 90.0
    qtc_ms: float = 410.0
    rsa: float = 0.03
    hrv: float = 0.02
    resp_hz: float = 0.25
    resp_phase: float = 0.0
    resp_tilt: float = 0.05
    axis_deg: float = 45.0
    rotation_deg: float = 0.0
    voltage: float = 1.0
    hypertrophy: float = 1.0
    strain: float = 0.0
    infarct: str = ""
    stage: str = ""
    scar: float = 0.0
    injury: list = field(default_factory=list)  # (territory, ST mV, T mV, late/early ST)
    t_vector: np.ndarray = field(default_factory=lambda: np.zeros(3))
    st_vector: np.ndarray = field(default_factory=lambda: np.zeros(3))
    t_beyond: np.ndarray = field(default_factory=lambda: np.zeros(6))  # of V1-V6, in parts of the T vector
    st_beyond_mv: np.ndarray = field(default_factory=lambda: np.zeros(6))
    t_scale: float = 1.0
    early_mv: float = 0.0
    u_mv: float = 0.0
    electrolyte: str = ""
    events: dict = field(default_factory=dict)  # counted once the beats are there, for the report

    def calm(self) -> "Case":
        """The same patient in plain sinus rhythm, for the part of a strip outside an attack."""
        return replace(self, codes=self.codes - ECTOPY, rhythm="SINUS")


def one_of(rng, options, chances=None):
    """One of a few options: the same draw as ``rng.choice``, which takes twenty times as long over them."""
    if chances is None:
        return options[int(rng.integers(len(options)))]
    return options[bisect_right(_edges(tuple(chances)), rng.random())]


@cache
def _edges(weights: tuple[float, ...]) -> list[float]:
    """Where each one's part of the numbers from 0 to 1 ends."""
    edges = np.cumsum(weights)
    return (edges / edges[-1]).tolist()


def choose_conditions(cohort, rng) -> set[str]:
    """Conditions of one record: none (normal), or one to three that fit together and what comes with them."""
    if rng.random() < cohort.normal:
        return set()
    names = list(cohort.weights)
    edges, counts = _edges(tuple(cohort.weights.values())), accumulate(cohort.count)
    want = 1 + bisect_left(list(counts), rng.random())
    chosen: set[str] = set()
    for _ in range(12):
        code = names[min(bisect_left(edges, rng.random()), len(names) - 1)]
        if code not in chosen and compatible(code, chosen):
            chosen.add(code)
        if len(chosen) >= want:
            break
    for cause, effect, chance in (
        ("LVH", "LAO/LAE", 0.20),
        ("RVH", "RAO/RAE", 0.30),
        ("CRBBB", "LAFB", 0.15),
        ("AFIB", "PVC", 0.08),
        ("DIG", "AFIB", 0.35),
        ("TRIGU", "PVC", 0.7),
        ("BIGU", "PVC", 0.75),
        ("ANEUR", "ASMI", 1.0),
    ):
        if cause in chosen and rng.random() < chance:
            alone = {cause} if cause in ("BIGU", "TRIGU", "ANEUR") else set()
            if compatible(effect, chosen - alone):
                chosen.add(effect)
    return completed(chosen)


def completed(codes: set[str]) -> set[str]:
    """``codes`` with what they cannot be without: extrasystoles for a pattern of them, a scar for an aneurysm."""
    chosen = set(codes)
    if chosen & {"BIGU", "TRIGU"} and not chosen & {"PVC", "PAC"}:
        chosen.add("PAC")
    if "PRC(S)" in chosen:
        chosen |= {"PAC", "PVC"}
    if "ANEUR" in chosen and not chosen & set(INFARCTS):
        chosen.add("ASMI")
    return chosen
