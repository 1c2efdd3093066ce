"""Simulated populations: one to pre-train on, counterparts of the sets that are scored, one with German reports.

Weights are relative frequencies of conditions among abnormal records. They follow the published label counts of
each set in order of magnitude (Wagner et al. 2020; Liu et al. 2018; Zheng et al. 2020), flattened, with a floor:
a class that life shows once in ten thousand records could be neither learned nor scored here. One cohort is not
flattened: "ptb-xl as counted" plans the published counts, for comparing measurements with real ones. What is a
definition (a rate below 60, ST, Q, rotation) is said wherever a tracing meets it, which those who wrote PTB-XL's
statements did far less often: of a hundred hearts without a condition about thirty are not called normal.
"""

from dataclasses import dataclass

from ecglib.errors import ParameterError


@dataclass(frozen=True, slots=True)
class Cohort:
    """number: part of every record's seed; normal: share of normal records; count: chances of 1, 2, 3
    conditions in the others; weights: condition -> relative frequency; noise, sloppiness: 1 is ordinary."""

    name: str
    number: int
    style: str
    normal: float
    count: tuple[float, float, float]
    weights: dict[str, float]
    mean_age: float
    noise: float
    sloppiness: float
    mains_hz: tuple[float, ...]
    ward: str = ""  # whose noise and recorders it has, where they are not listed under its own name


# condition: weight in mimic-iv-ecg (flat), ptb-xl, cpsc2018, csn
_TABLE = """
SBRAD    2.4  2.5  0.5  9
STACH    2.4  3    0.5  5
SARRH    2.2  3    0.5  2
SVARR    1.3  1.5  0.3  0.5
AFIB     4    5    14   7
AFLT     1.8  1.5  0.3  3
AT       1.3  0.2  0.3  1
SVTAC    1.3  1.5  0.3  2
PSVT     1.2  1.5  0.3  1
PACE     2    1.5  0.3  0.3
JESC     1    0.2  0.3  1
VESC     1    0.2  0.3  1
1AVB     2.4  3    10   2
2AVB1    0.9  0.3  0.2  1
2AVB2    0.7  0.3  0.2  0.6
2AVB     0.5  0.3  0.2  0.4
3AVB     1    1.5  0.2  1
PAC      3    2.2  9    2.5
PVC      3.2  4.5  9.5  2.5
BIGU     1.2  1.5  0.3  1.2
TRIGU    1.1  1.5  0.3  0.4
PRC(S)   0.9  1.5  0.2  0.1
CRBBB    3    2.6  22   2.2
IRBBB    2.4  4    0.5  0.4
CLBBB    2.8  2.6  4.5  1.2
ILBBB    1.5  1.5  0.2  0.2
IVCD     2    3    0.3  0.6
LAFB     3    5.5  0.6  0.8
LPFB     1.2  1.5  0.2  0.2
WPW      1.8  1.5  0.3  1
IMI      3.2  6    0.5  1
ILMI     1.3  2    0.1  0.2
IPMI     0.7  0.6  0.1  0.1
IPLMI    0.7  0.6  0.1  0.1
ASMI     2.8  5.5  0.5  1
AMI      1.7  2    0.3  0.3
ALMI     1.5  1.6  0.2  0.2
LMI      1.5  1.5  0.1  0.2
PMI      1.1  1.5  0.1  0.1
INJAS    0.9  0.9  0.2  0.1
INJAL    0.8  0.8  0.2  0.1
INJIN    0.7  0.6  0.2  0.1
INJIL    0.6  0.5  0.1  0.1
INJLA    0.6  0.5  0.1  0.1
ISC      1.8  2.5  1.5  0.8
ISCAL    1.5  2    1    0.4
ISCAS    1    1.2  0.5  0.3
ISCAN    0.8  0.8  0.4  0.2
ISCLA    0.9  0.9  0.5  0.2
ISCIN    1.4  1.6  0.5  0.4
ISCIL    1.2  1.5  0.5  0.3
NST      2.4  3    1    5
NDT      2.4  4    0.5  2.5
NT       1.6  2    0.5  2
TAB      1.2  1.5  0.3  1
LOWT     1.6  1.8  0.3  1
INVT     1.8  1.8  0.5  2
STD      1.8  2.2  9    2
STE      1.8  1.5  5    1.2
DIG      1.3  1.5  0.3  0.2
EL       1.5  1.5  0.3  1
LNGQT    1.8  1.6  0.3  1.2
ANEUR    0.9  1.5  0.2  0.1
EREPOL   1.2  0.5  0.3  1.2
STTU     0.8  0.1  0.2  1
LVH      3.5  6    0.8  2.5
RVH      1.6  1.5  0.2  1
SEHYP    1.2  1.5  0.1  0.1
LAO/LAE  2    2.2  0.2  0.3
RAO/RAE  1.6  1.5  0.2  0.3
VCLVH    1.3  2    0.2  0.6
HVOLT    1    1.5  0.2  0.4
LVOLT    1.6  1.6  0.3  1
LAXIS    1.4  0.8  0.3  2.2
RAXIS    1.4  0.8  0.3  1.8
CCR      1.1  0.2  0.2  1.2
CR       1.1  0.2  0.2  1.2
UWAVE    1.1  0.2  0.2  1.2
PWC      1    0.3  0.2  1
QWAVE    1.2  1.5  0.3  1.5
ABQRS    1.2  1.8  0.3  1
"""

# Statements of PTB-XL's 21,837 records: Wagner et al., Sci Data 2020;7:154, tables of form, rhythm and diagnosis.
_COUNTED = """
NDT 1829   NST 770    DIG 181    LNGQT 118  ISC 1275   ISCAL 660  ISCIN 219  ISCIL 179  ISCAS 170  ISCLA 142
ISCAN 44   ANEUR 104  EL 97      LVH 2137   LAO/LAE 427  RVH 126  RAO/RAE 99 SEHYP 30   IMI 2685   ASMI 2363
ILMI 479   AMI 354    ALMI 290   INJAS 215  LMI 201    INJAL 148  IPLMI 51   IPMI 33    INJIN 18   PMI 17
INJLA 17   INJIL 15   LAFB 1626  IRBBB 1118 1AVB 797   IVCD 789   CRBBB 542  CLBBB 536  LPFB 177   WPW 80
ILBBB 77   3AVB 16    2AVB 14    ABQRS 3389 PVC 1146   STD 1009   VCLVH 875  QWAVE 548  LOWT 438   NT 424
PAC 398    INVT 294   LVOLT 182  HVOLT 62   TAB 35     STE 28     PRC(S) 10  AFIB 1514  STACH 826  SARRH 772
SBRAD 637  PACE 296   SVARR 157  BIGU 82    AFLT 73    SVTAC 27   PSVT 24    TRIGU 20
"""


def _counted() -> dict[str, float]:
    words = _COUNTED.split()
    counts = dict(zip(words[::2], map(float, words[1::2]), strict=True))
    return {code: counts.get(code, 0.0) for code in _weights(1)}


def _weights(column: int) -> dict[str, float]:
    rows = (line.split() for line in _TABLE.strip().splitlines())
    return {row[0]: float(row[1 + column]) for row in rows}


COHORTS: dict[str, Cohort] = {
    c.name: c
    for c in (
        Cohort("mimic-iv-ecg", 0, "mimic", 0.18, (0.42, 0.36, 0.22), _weights(0), 58, 1.1, 1.2, (60.0, 50.0)),
        Cohort("ptb-xl", 1, "ptb-xl", 0.38, (0.45, 0.35, 0.20), _weights(1), 60, 1.0, 1.0, (50.0,)),
        Cohort("cpsc2018", 2, "cpsc", 0.14, (0.75, 0.20, 0.05), _weights(2), 60, 1.1, 1.0, (50.0,)),
        Cohort("ptb-xl as counted", 4, "ptb-xl", 0.44, (0.50, 0.32, 0.18), _counted(), 60, 1.0, 1.0, (50.0,), "ptb-xl"),
        Cohort("csn", 3, "csn", 0.16, (0.50, 0.34, 0.16), _weights(3), 57, 1.0, 1.0, (50.0,)),
        Cohort("ptb-xl in german", 5, "ptb-xl-german", 0.38, (0.45, 0.35, 0.2), _weights(1), 60, 1, 1, (50,), "ptb-xl"),
    )
}


def cohort_named(name: str) -> Cohort:
    """The cohort called ``name``; ParameterError that lists the known ones otherwise."""
    if name not in COHORTS:
        raise ParameterError(f"no simulated cohort is called {name!r}; choose one of {', '.join(COHORTS)}")
    return COHORTS[name]
