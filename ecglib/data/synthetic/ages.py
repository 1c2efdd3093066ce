"""At which age one has what: the age of a patient, given the conditions.

Of atrial fibrillation (Go et al., JAMA 2001;285:2370-2375) and of bundle branch block (Eriksson et al., Circulation
1998;98:2494-2500) there are about twice as many with each decade. The order of the others is that of population
studies, their size is assumed. How common a condition is in a cohort does not change with this: ages are drawn for
conditions and not conditions for ages.
"""

import math
from bisect import bisect_right
from itertools import accumulate

# Log odds per decade
_PER_DECADE = {
    0.7: "AFIB PACE",
    0.6: "CLBBB CRBBB 3AVB",
    0.5: "AFLT 1AVB 2AVB1 2AVB2 2AVB DIG PAC PRC(S)",
    0.4: "LAFB LAXIS IMI ASMI AMI ALMI LMI ILMI IPLMI IPMI PMI ANEUR VESC JESC",
    0.3: "LVH VCLVH LAO/LAE IVCD ILBBB LPFB PVC BIGU TRIGU SVARR INJAS INJAL INJIN INJIL INJLA ISCAL ISCIN ISCIL ISCAS "
    "ISCLA ISCAN ISC",
    0.2: "NDT NT NST LOWT INVT STD AT SVTAC",
    0.1: "EL LNGQT QWAVE LVOLT CR",
    -0.2: "STACH HVOLT IRBBB SEHYP PSVT",
    -0.4: "WPW RAXIS EREPOL",
    -0.5: "SARRH",
}
PER_DECADE = {code: odds for odds, codes in _PER_DECADE.items() for code in codes.split()}
NOTHING = -0.25  # of those with a normal tracing
SPREAD_YEARS, YOUNGEST, OLDEST = 17.0, 17.0, 95.0
_DRAWN = 6  # people, of whom one has the conditions


def age_with(codes, mean_years: float, rng) -> float:
    """Whole years of someone with these conditions, in a cohort of this mean age: one of six people, by the odds."""
    draws = rng.standard_normal(_DRAWN).tolist()
    ages = [min(max(round(mean_years + SPREAD_YEARS * z), YOUNGEST), OLDEST) for z in draws]
    odds = sum(PER_DECADE.get(code, 0.0) for code in codes) if codes else NOTHING
    weights = [math.exp(odds * (age - mean_years) / 10) for age in ages]
    edges = list(accumulate(weights))
    return float(ages[min(bisect_right(edges, rng.random() * edges[-1]), _DRAWN - 1)])
