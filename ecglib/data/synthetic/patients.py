"""Sizes of everything in one patient: normal variation first, then each condition's own range.

Normal limits: Rijnbeek et al., J Electrocardiol 2014;47:914-921 (amplitudes, axis, intervals by age and sex);
Mason et al., J Electrocardiol 2007;40:228-234 (79,743 ECGs); Macfarlane, Comprehensive Electrocardiology.
"""

import math

import numpy as np

from ecglib.data.synthetic.ages import age_with
from ecglib.data.synthetic.cases import INFARCTS, INJURIES, ISCHAEMIAS, Case, one_of
from ecglib.data.synthetic.population import usual


def sample_person(cohort, rng, codes=frozenset()) -> tuple[float, str, float]:
    """Age (years), sex, habitus (about -2 thin to 3 obese) of someone with these conditions."""
    age = age_with(codes, cohort.mean_age, rng)
    return age, ("F" if rng.random() < 0.48 else "M"), float(0.3 + 0.9 * rng.standard_normal())


def sample_case(person, codes: set[str], rng) -> Case:
    """A case with every size drawn; ``codes`` from ``cases.choose_conditions``."""
    age, sex, habitus = person
    female = sex == "F"
    case = Case(age, sex, habitus, frozenset(codes))
    z = rng.standard_normal(10)
    u = rng.random(12)
    old = (age - 50) / 40

    # Timing
    case.rate = float(_within(69 + 3 * female + 10.5 * z[0], 51, 98))
    case.pr_ms = float(_within(162 + 12 * old + 20 * z[1], 120, 196))
    case.qrs_ms = float(_within(91 - 6 * female + 8 * z[2], 73, 110))
    case.qtc_ms = float(_within(387 + 8 * female + 7 * old + 18 * z[3], 345, 440))
    case.rsa = float(_within(0.042 * np.exp(-0.9 * old + 0.7 * z[4]), 0.003, 0.10))
    case.hrv = float(0.012 * np.exp(-0.3 * old + 0.5 * z[5]))
    case.resp_hz, case.resp_phase = 0.16 + 0.17 * u[0], float(u[1])
    case.resp_tilt = 0.03 + 0.07 * u[2]

    # Direction and size
    of = usual()
    axis_deg = of.axis[0] - 26 * old - 9 * (habitus - 0.3) + of.axis[1] * z[6]
    case.axis_deg = float(_within(axis_deg, -28, 84))
    case.rotation_deg = float(_within(5 * z[7] - 3 * old, -15, 15))
    case.voltage = float(np.exp(0.10 * (not female) - 0.10 * old - 0.07 * habitus + of.voltage_spread * z[8]))
    own, beyond = (rng.standard_normal(len(m)) @ m for m in (of.recovery_modes, of.recovery_beyond))
    by_axis = of.t_by_axis * (case.axis_deg - 30) / 40
    t, case.t_beyond = of.t_vector + by_axis[:3] + own[:3], by_axis[3:] + beyond[:6]
    t[2] -= 0.06 * female + 0.08 * old
    size = (0.88 if female else 1.12) * of.t_mv * np.exp(-0.15 * old + of.t_spread * z[9]) * case.voltage**0.4
    case.t_vector = size * t / math.sqrt(t @ t)
    if not codes and age < 35 and u[3] < 0.15:  # juvenile T, inverted in V1-V3
        case.t_vector[2] -= 0.14
    # The healthy ST: a little of the T vector, more so in young men, and a little of anything
    case.st_vector = of.st_mv + of.st_of_t * case.t_vector + own[3:]
    case.st_beyond_mv = beyond[6:]
    case.st_vector[2] += 0.03 * (not female and age < 60) * u[5]
    case.u_mv = 0.055 * (0.4 + 0.6 * u[6]) * float(np.clip((100 - case.rate) / 30, 0.0, 1.0))

    _set_rhythm(case, codes, rng)
    # A faster heart has lower lateral ST: the recovery of the atria reaches into it
    case.st_vector[0] -= 0.03 * float(np.clip((case.rate - 70) / 30, -0.5, 2.0))
    _set_conduction(case, codes, rng)
    _set_muscle(case, codes, rng)
    _set_recovery(case, codes, rng)
    return case


def _set_rhythm(case, codes, rng):
    has = codes.__contains__
    rhythm = next((c for c in sorted(codes) if c in _RATES), "SINUS")
    case.rhythm = rhythm
    if rhythm in _RATES:
        low, high = _RATES[rhythm]
        case.rate = float(rng.uniform(low, high))
        if rhythm == "AFIB" and rng.random() < 0.25:
            case.rate = float(rng.uniform(105, 160))
    if rhythm == "SARRH":
        case.rsa, case.hrv = float(rng.uniform(0.12, 0.26)), 0.03
    if rhythm in ("SBRAD", "STACH"):
        case.rsa *= 0.6
        case.hrv *= 0.6
    if case.rate > 100:
        case.pr_ms = max(case.pr_ms - 0.25 * (case.rate - 100), 112)
    if has("1AVB"):
        case.pr_ms = float(rng.uniform(210, 330))
        case.rate = min(case.rate, 92.0)
    if has("LAO/LAE"):  # P lasts longer, and ends before the QRS
        case.pr_ms = max(case.pr_ms, float(rng.uniform(158, 188)))
    if has("WPW"):
        case.pr_ms = float(rng.uniform(78, 116))
    if rhythm == "2AVB1":
        case.pr_ms = float(rng.uniform(165, 260))


def _within(value, low, high):
    return min(max(value, low), high)  # ``np.clip`` of one number takes thirty times as long


_RATES = {
    "SBRAD": (40, 57.5), "STACH": (103, 150), "SARRH": (54, 92), "SVARR": (65, 110), "AFIB": (52, 105),
    "AFLT": (60, 155), "AT": (80, 175), "SVTAC": (140, 215), "PSVT": (140, 205), "PACE": (58, 78),
    "JESC": (50, 75), "VESC": (52, 80), "1AVB": (52, 90), "2AVB1": (62, 98), "2AVB2": (60, 95),
    "2AVB": (66, 100), "3AVB": (29, 52),
}  # fmt: skip


def _set_conduction(case, codes, rng):
    for code, low, high in (
        ("LVH", 86, 108), ("LAFB", 86, 106), ("LPFB", 88, 108), ("IRBBB", 100, 118), ("ILBBB", 104, 119),
        ("IVCD", 111, 136), ("WPW", 112, 155), ("CRBBB", 123, 162), ("CLBBB", 126, 178),
    ):  # fmt: skip
        if code in codes:
            case.qrs_ms = float(rng.uniform(low, high))
    if "LAFB" in codes:
        case.axis_deg = float(-46 - 28 * rng.random() ** 1.6)
    elif "LPFB" in codes:
        case.axis_deg = float(rng.uniform(100, 140))
    elif "LAXIS" in codes:
        case.axis_deg = float(rng.uniform(-62, -35))
    elif "RAXIS" in codes:
        case.axis_deg = float(rng.uniform(100, 140))
    elif "CLBBB" in codes:
        case.axis_deg = float(_within(8 + 30 * rng.standard_normal(), -55, 70))
    elif "LVH" in codes:
        case.axis_deg -= 15
    elif "RVH" in codes:
        case.axis_deg = float(rng.uniform(98, 150))
    if "CCR" in codes:
        case.rotation_deg = float(rng.uniform(20, 35))
    elif "CR" in codes:
        case.rotation_deg = float(rng.uniform(-35, -20))
        if not codes & {"LAXIS", "RAXIS", "LAFB", "LPFB"}:  # goes with a heart that lies flat: median -25 in recordings
            case.axis_deg = _within(0.5 * case.axis_deg - 30, -28, 84)


_DEEPER = {"P": 0.45, "AS": 0.25, "A": 0.25, "I": 0.05, "IL": 0.05, "IP": 0.15, "IPL": 0.15}  # so that it shows


def _set_muscle(case, codes, rng):
    if "LVH" in codes:
        case.hypertrophy = float(rng.uniform(1.45, 2.2))
        case.strain = float(rng.uniform(0.3, 1.2)) if rng.random() < 0.4 else 0.0
    if "RVH" in codes:
        case.strain = float(rng.uniform(0.5, 1.5)) if rng.random() < 0.6 else 0.0
    if "LVOLT" in codes:
        case.voltage *= 0.35
        case.t_scale = 0.5
    else:
        case.voltage = max(case.voltage, 0.72)
    for code, territory in INFARCTS.items():
        if code in codes:
            case.infarct = territory
            case.stage = one_of(rng, ["acute", "recent", "old"], [0.08, 0.12, 0.80])
            if "ANEUR" in codes:
                case.stage = "aneurysm"
            low, high = {"acute": (0.2, 0.9), "recent": (0.4, 1.1), "old": (0.38, 1.2), "aneurysm": (0.9, 1.5)}[
                case.stage
            ]
            # Small scars are commoner than large ones, most of all in the lower wall
            rarer = 2.0 if territory.startswith("I") else 1.4
            case.scar = low + (high - low) * rng.random() ** rarer
            case.scar += _DEEPER.get(territory, 0.0)
    if "QWAVE" in codes:
        case.infarct = one_of(rng, ["I", "L", "AS", "IL"])
        case.scar = float(rng.uniform(0.75, 1.15)) + _DEEPER.get(case.infarct, 0.0)


def _set_recovery(case, codes, rng):
    """ST and T of every condition that changes recovery itself."""
    u = rng.uniform

    def some(low, high):  # small changes are commoner than large ones
        return low + (high - low) * rng.random() ** 1.6

    near = 0.6 if case.infarct in ("AS", "A", "AL") else 1.0  # chest electrodes see the front wall closely
    if case.stage == "acute":
        case.injury.append((case.infarct, near * some(0.14, 0.45), near * u(0.0, 0.25), u(1.0, 1.5)))
    elif case.stage == "recent":
        case.injury.append((case.infarct, near * some(0.03, 0.18), -near * some(0.25, 0.70), u(0.9, 1.2)))
    elif case.stage == "old":
        case.injury.append((case.infarct, u(-0.02, 0.03), -near * some(0.0, 0.35), 1.0))
    elif case.stage == "aneurysm":
        case.injury.append((case.infarct, near * u(0.18, 0.40), -near * u(0.10, 0.40), u(0.9, 1.1)))
    for code, territory in INJURIES.items():
        if code in codes:
            if rng.random() < 0.35:
                case.injury.append((territory, some(0.12, 0.28), u(-0.1, 0.1), u(1.0, 1.3)))
            else:
                case.injury.append((territory, -some(0.12, 0.30), -some(0.0, 0.25), u(0.9, 1.3)))
    for code, territory in ISCHAEMIAS.items():
        if code in codes:
            deep = some(0.08, 0.45) if code == "ISC" else some(0.16, 0.58)  # without a place it is seldom severe
            case.injury.append((territory, -some(0.02, 0.12), -deep, u(0.9, 1.4)))
            if code == "ISC":
                case.t_scale *= u(0.5, 1.0)
    if "LOWT" in codes:
        case.t_scale *= u(0.08, 0.28)
    if "NDT" in codes:
        case.t_scale *= u(0.25, 0.6)
        case.injury.append(("AL" if rng.random() < 0.6 else "IL", u(-0.02, 0.01), -u(0.03, 0.15), 1.0))
    if "NT" in codes:
        case.t_scale *= u(0.35, 0.7)
        case.injury.append((one_of(rng, ["I", "L", "A"]), 0.0, -u(0.08, 0.22), 1.0))
    if "TAB" in codes:
        case.t_scale *= u(0.3, 0.8)
        case.t_vector = case.t_vector + 0.22 * rng.standard_normal(3)
        case.injury.append((one_of(rng, ["A", "AL", "I"]), u(-0.04, 0.04), -u(0.12, 0.35), 1.0))
    if "INVT" in codes:
        place = one_of(rng, ["AS", "A", "AL", "L", "I", "IL"])
        case.injury.append((place, u(-0.03, 0.02), -some(0.32, 0.85), 1.0))
    if "NST" in codes:
        case.t_scale *= u(0.45, 0.9)
        case.injury.append((one_of(rng, ["AL", "IL", "L", "I"]), -u(0.06, 0.12), 0.0, u(0.8, 1.3)))
    if "STD" in codes:
        place = one_of(rng, ["AL", "IL"], [0.65, 0.35])
        case.injury.append((place, -some(0.12, 0.32), -some(0.0, 0.25), u(0.8, 1.4)))
    if "STE" in codes:
        place = one_of(rng, ["AS", "A", "AL", "I", "IL"])
        case.injury.append((place, some(0.13, 0.28), u(0.0, 0.12), u(1.0, 1.4)))
    if "EREPOL" in codes:
        case.early_mv = float(u(0.12, 0.25))
        case.t_vector = case.t_vector * u(1.2, 1.6)
    if "EL" in codes:
        case.electrolyte = one_of(rng, ["potassium low", "potassium high", "calcium low"], [0.5, 0.3, 0.2])
        if case.electrolyte == "potassium low":
            case.u_mv = float(u(0.08, 0.16))
        elif case.electrolyte == "calcium low":
            case.qtc_ms = float(u(475, 530))
        else:
            case.qrs_ms = max(case.qrs_ms, float(u(95, 125)))
    if "UWAVE" in codes:
        case.u_mv = float(u(0.10, 0.19))
        case.rate = min(case.rate, 78.0)
    if "LNGQT" in codes:
        case.qtc_ms = float(u(478, 560))
    if "DIG" in codes:
        case.qtc_ms = float(u(345, 380))


__all__ = ["sample_case", "sample_person"]
