"""Whether a simulated record truly shows a waveform feature that is stated in words.

The simulator keeps what it measured on the noise-free main beat (``feature/...`` columns of its stores): rate, PR, QRS,
QTc, axis, P in lead II, and ST, T, R and S lead by lead. A feature that these decide gets a verdict for every record;
one that they do not (Q waves, notches, regularity, ectopic beats) gets none, instead of a guess.
"""

import itertools
import re
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from ecglib.data.synthetic.wording import ST_HIGH_CHEST_MV, ST_HIGH_MV, ST_LOW_MV, T_LOW_MV
from ecglib.errors import ParameterError
from ecglib.fine_grained import Checked
from ecglib.metrics import patient_weights
from ecglib.signals import LEADS

MARKED_ST_MV = -0.1
FLAT_T_MV = 0.1
LIMB, CHEST = LEADS[:6], LEADS[6:]
# Leads that look at neighbouring walls, in which a change must be seen twice to count.
NEIGHBOURS = (("I", "aVL"), ("II", "aVF"), ("III", "aVF"), ("I", "V6"), *itertools.pairwise(CHEST))


def truth(feature: str, records: pd.DataFrame) -> np.ndarray | None:
    """(N,) bool, or None where the true measurements do not decide.

    A change in named leads holds when at least two of them show it (the one, if one is named; all, if all are asked).
    Raises ParameterError when the records carry no true measurements, as real ones do not.
    """
    if "feature/rate_bpm" not in records:
        raise ParameterError("these records have no true measurements (feature/... columns): only simulated ones do")
    text = " ".join(feature.split())
    for pattern, decide in _NUMBERS:
        if found := re.fullmatch(pattern, text, re.IGNORECASE):
            return decide(records, *(float(group) for group in found.groups()))
    for pattern, decide in _IN_LEADS:
        if (found := re.fullmatch(f"{pattern} in (.+)", text, re.IGNORECASE)) and found[1]:
            return _in_leads(found[1], lambda lead, decide=decide: decide(records, lead))
    return None


def _in_leads(where: str, shows: Callable[[str], np.ndarray]) -> np.ndarray | None:
    """``shows`` over the leads that ``where`` names, or None when it names none."""
    if where in ("two neighbouring leads", "several leads"):
        seen = {lead: shows(lead) for lead in LEADS if lead != "aVR"}  # upside down by nature
        return np.any([seen[a] & seen[b] for a, b in NEIGHBOURS], axis=0)
    every = {"all leads": LEADS, "all limb leads": LIMB, "all chest leads": CHEST}.get(where)
    leads = every or named_leads(where)
    if not leads:
        return None
    seen = np.stack([shows(lead) for lead in leads])  # (S, N)
    return seen.all(axis=0) if every else seen.sum(axis=0) >= min(2, len(leads))


def named_leads(where: str) -> list[str]:
    """Leads of «II, III and aVF», «V3 to V6, I and aVL»; empty when something else is said as well."""
    ranged = re.sub(
        r"V([1-6]) to V([1-6])", lambda m: ", ".join(f"V{i}" for i in range(int(m[1]), int(m[2]) + 1)), where
    )
    parts = [part.strip() for part in re.split(r",|\band\b|\bor\b", ranged) if part.strip()]
    return parts if parts and all(part in LEADS for part in parts) else []


def _value(name: str) -> Callable[[pd.DataFrame], np.ndarray]:
    return lambda records: records[f"feature/{name}"].to_numpy(dtype=float)


def _amplitude(records: pd.DataFrame, wave: str, lead: str) -> np.ndarray:
    return records[f"feature/{wave}_mv_{lead}"].to_numpy(dtype=float)


_rate, _pr, _qrs, _qtc = _value("rate_bpm"), _value("pr_ms"), _value("qrs_ms"), _value("qtc_ms")
_axis, _p = _value("axis_deg"), _value("p_amp_mv")
_NUMBER = r"(-?\d+(?:\.\d+)?)"

_NUMBERS: Sequence[tuple[str, Callable[..., np.ndarray]]] = (
    (rf"PR interval above {_NUMBER} ms", lambda r, x: _pr(r) > x),
    (rf"PR interval below {_NUMBER} ms", lambda r, x: _pr(r) < x),
    (rf"QRS duration of {_NUMBER} ms or more", lambda r, x: _qrs(r) >= x),
    (rf"QRS duration above {_NUMBER} ms", lambda r, x: _qrs(r) > x),
    (rf"QRS duration of {_NUMBER} to {_NUMBER} ms", lambda r, x, y: (_qrs(r) >= x) & (_qrs(r) <= y)),
    (r"narrow QRS complexes in all leads", lambda r: _qrs(r) < 120),
    (rf"QTc above {_NUMBER} ms", lambda r, x: _qtc(r) > x),
    (rf"RR intervals above {_NUMBER} ms", lambda r, x: _rate(r) < 60_000 / x),
    (rf"RR intervals below {_NUMBER} ms", lambda r, x: _rate(r) > 60_000 / x),
    (rf"left axis beyond {_NUMBER} degrees", lambda r, x: (_axis(r) < x) & (_axis(r) > -90)),
    (rf"right axis beyond {_NUMBER} degrees", lambda r, x: _axis(r) > x),
    (r"right axis deviation", lambda r: _axis(r) > 90),
    (r"left axis deviation", lambda r: (_axis(r) < -30) & (_axis(r) > -90)),
    (rf"peaked P wave above {_NUMBER} mV in II, III and aVF", lambda r, x: _p(r) > x),
    (rf"QRS amplitude below {_NUMBER} mV in all limb leads", lambda r, x: _height(r, LIMB) < x),
    (rf"QRS amplitude below {_NUMBER} mV in all chest leads", lambda r, x: _height(r, CHEST) < x),
)


def _height(records: pd.DataFrame, leads: Sequence[str]) -> np.ndarray:
    return np.max([_amplitude(records, "r_amp", lead) + _amplitude(records, "s_amp", lead) for lead in leads], axis=0)


def _st_low(records: pd.DataFrame, lead: str) -> np.ndarray:
    return _amplitude(records, "st", lead) < ST_LOW_MV


def _st_marked(records: pd.DataFrame, lead: str) -> np.ndarray:
    return _amplitude(records, "st", lead) < MARKED_ST_MV


def _st_high(records: pd.DataFrame, lead: str) -> np.ndarray:
    return _amplitude(records, "st", lead) > (ST_HIGH_CHEST_MV if lead in ("V2", "V3") else ST_HIGH_MV)


def _st_level(records: pd.DataFrame, lead: str) -> np.ndarray:
    return ~_st_low(records, lead) & ~_st_high(records, lead)


def _t_low(records: pd.DataFrame, lead: str) -> np.ndarray:
    return _amplitude(records, "t_amp", lead) < T_LOW_MV


def _positive(records: pd.DataFrame, lead: str) -> np.ndarray:
    return _amplitude(records, "r_amp", lead) > _amplitude(records, "s_amp", lead)


_IN_LEADS: Sequence[tuple[str, Callable[[pd.DataFrame, str], np.ndarray]]] = (
    (r"(?:ST segment below the baseline|ST depression)", _st_low),
    (r"marked ST depression", _st_marked),
    (r"(?:ST segment above the baseline|ST elevation)", _st_high),
    (r"isoelectric ST segment", _st_level),
    (r"ST elevation or marked ST depression", lambda r, lead: _st_high(r, lead) | _st_marked(r, lead)),
    (r"ST depression or T wave inversion", lambda r, lead: _st_low(r, lead) | _t_low(r, lead)),
    (r"ST depression and T wave inversion", lambda r, lead: _st_low(r, lead) & _t_low(r, lead)),
    (r"inverted T waves?", _t_low),
    (r"upright T waves?", lambda r, lead: _amplitude(r, "t_amp", lead) > 0),
    (r"flat T waves?", lambda r, lead: np.abs(_amplitude(r, "t_amp", lead)) < FLAT_T_MV),
    (r"(?:positive QRS complex|dominant R wave|R wave larger than S wave already)", _positive),
    (r"(?:negative QRS complex|S wave larger than R wave still)", lambda r, lead: ~_positive(r, lead)),
)


def agreement(
    checked: Checked, records: pd.DataFrame, threshold: float, *, repeats: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """How many features are true, in percent: of all that were proposed, of those kept, of those dropped.

    Rows ``proposed``, ``kept``, ``dropped``, ``kept by lot`` and ``kept above lot``; columns ``pairs``, ``true``,
    ``ci_low``, ``ci_high``. By lot keeps as many of every feature as the filter does, but from records drawn at random:
    what a filter reaches that knows which features are common and nothing of the ECG. The difference is what it has
    seen. Only features that the measurements decide are counted; intervals resample whole patients.
    """
    verdicts = [truth(feature, records) for feature in checked.features]
    decided = np.array([verdict is not None for verdict in verdicts], dtype=bool)[checked.feature]
    record, feature = checked.record[decided], checked.feature[decided]
    is_true = np.array([verdicts[f][r] for r, f in zip(record, feature, strict=True)], dtype=float)  # (M,)
    kept = checked.kept(threshold)[decided]
    names, member = np.unique(feature, return_inverse=True)
    of_feature = np.eye(len(names))[member]  # (M, F)
    patients = records["patient"].to_numpy()
    once = np.ones((1, len(records)), dtype=np.float32)
    draws = np.concatenate([once, patient_weights(patients, repeats, seed)])[:, record]  # (1 + R, M), first as it is

    def share(chosen: np.ndarray) -> np.ndarray:
        return _ratio(draws @ (is_true * chosen), draws @ chosen.astype(float))

    rate = _ratio((draws * is_true) @ of_feature, draws @ of_feature)  # (1 + R, F)
    of_kept = (draws * kept) @ of_feature
    by_lot = _ratio((np.nan_to_num(rate) * of_kept).sum(axis=1), of_kept.sum(axis=1))
    of_rows = {"proposed": share(np.ones_like(kept)), "kept": share(kept), "dropped": share(~kept)}
    of_rows |= {"kept by lot": by_lot, "kept above lot": of_rows["kept"] - by_lot}
    n = {"proposed": len(kept), "dropped": int((~kept).sum())}
    rows = []
    for name, values in of_rows.items():
        low, high = np.nanpercentile(values[1:], [2.5, 97.5]) if np.isfinite(values[1:]).any() else (np.nan, np.nan)
        rows.append([n.get(name, int(kept.sum())), *(100 * np.array([values[0], low, high]))])
    return pd.DataFrame(rows, index=list(of_rows), columns=["pairs", "true", "ci_low", "ci_high"])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """``part / whole``, NaN where there is nothing to divide by."""
    return np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)


def decided(features: Sequence[str], records: pd.DataFrame, at_least: int = 10) -> tuple[list[str], np.ndarray]:
    """The features that the measurements decide, with at least so many records on either side, and (N, F) bool."""
    verdicts = {feature: truth(feature, records) for feature in dict.fromkeys(features)}
    usable = {f: v for f, v in verdicts.items() if v is not None and at_least <= v.sum() <= len(v) - at_least}
    return list(usable), np.stack(list(usable.values()), axis=1) if usable else np.empty((len(records), 0), dtype=bool)
