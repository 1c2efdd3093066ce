"""Wording and evidence for simulated reports: the phrase file, random draws, what the features bear out."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from ecglib.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np

STYLES = ("mimic", "ptb-xl", "cpsc", "csn", "ptb-xl-german")
P_OMIT_NONSPECIFIC, P_OMIT_OTHER, P_OMIT_OFTEN, P_OMIT_SOMETIMES = 0.12, 0.02, 0.8, 0.35

# ST and T limits (mV) beyond which a lead counts for a territory; V2-V3 are allowed more ST elevation.
T_LOW_MV, ST_LOW_MV, ST_HIGH_MV, ST_HIGH_CHEST_MV = -0.1, -0.05, 0.1, 0.2
TERRITORIES = {"inferior": ("II", "III", "aVF"), "anterior": ("V2", "V3", "V4"), "lateral": ("I", "aVL", "V5", "V6")}


class Statement(NamedTuple):
    """One statement of a report and the findings it speaks of."""

    codes: tuple[str, ...]
    text: str


class Draw:
    """Uniform numbers from ``rng``, fetched in blocks: scalar calls would cost most of the run time."""

    def __init__(self, rng: "np.random.Generator"):
        self._rng, self._left = rng, []

    def __call__(self) -> float:
        if not self._left:
            self._left = self._rng.random(48).tolist()
        return self._left.pop()

    def of(self, options: Sequence):
        return options[int(self() * len(options))]


@cache
def phrases() -> dict:
    """The content of ``phrases.json``: wording per finding, combinations, concepts, summaries."""
    return json.loads(files("ecglib.data.synthetic").joinpath("phrases.json").read_text(encoding="utf-8"))


def check(findings: Iterable[str], style: str) -> list[str]:
    book = phrases()
    codes = list(dict.fromkeys(findings))
    unknown = [code for code in codes if code not in book["findings"]]
    if unknown:
        raise ParameterError(f"findings {unknown} are not in the vocabulary; it is {', '.join(book['findings'])}")
    said = set(codes)
    for group in book["excludes"]:
        if said.issuperset(group):
            raise ParameterError(f"findings {' and '.join(group)} exclude each other; keep one of them")
    if style not in STYLES:
        raise ParameterError(f"style {style!r} is not known; it takes {', '.join(STYLES)}")
    return codes


def number(features: Mapping[str, float], key: str) -> float | None:
    value = features.get(key)
    return None if value is None or not math.isfinite(value) else value


def shows(features: Mapping[str, float], kind: str, lead: str) -> bool:
    """Whether a lead has ST depression (``st_low``), ST elevation (``st_high``) or T inversion (``t_low``)."""
    value = number(features, f"{'t_amp' if kind == 't_low' else 'st'}_mv_{lead}")
    if value is None:
        return False
    if kind == "st_high":
        return value >= (ST_HIGH_CHEST_MV if lead in ("V2", "V3") else ST_HIGH_MV)
    return value <= (T_LOW_MV if kind == "t_low" else ST_LOW_MV)


def territory(features: Mapping[str, float], kind: str) -> str:
    """The lead groups with at least two leads that show ``kind``, as an adjective; "" for none."""
    groups = [g for g, leads in TERRITORIES.items() if sum(shows(features, kind, lead) for lead in leads) >= 2]
    if len(groups) == 3:
        return "diffuse"
    return {"anterior lateral": "anterolateral", "inferior lateral": "inferolateral"}.get(
        " ".join(groups), " and ".join(groups)
    )


def site_kind(slot: str, site: str, present: Iterable[str], features: Mapping[str, float]) -> str:
    """Which templates fit a finding with a site: two leads of the site must show what a template speaks of."""
    leads = phrases()["site_leads"].get(site, ())
    for of_slot, code, kind, templates in (
        ("infarct", "STE", "st_high", "infarct_acute"),
        ("ischemia", "STD", "st_low", "ischemia_st"),
        ("ischemia", "INVT", "t_low", "ischemia_t"),
    ):
        fits = slot == of_slot and code in present and not (slot == "infarct" and "ANEUR" in present)
        if fits and sum(shows(features, kind, lead) for lead in leads) >= 2:
            return templates
    return slot


def meets(needs: Mapping[str, Sequence[float | None]], features: Mapping[str, float]) -> bool:
    for key, (low, high) in needs.items():
        value = number(features, key)
        if value is None or (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


def drop_covered(codes: list[str]) -> list[str]:
    """Without what a more specific finding says already: no «sinus rhythm» beside «sinus tachycardia»."""
    covered = phrases()["covered_by"]
    return [c for c in codes if not set(covered.get(c, ())).intersection(codes)]


def drop_implied(codes: list[str], draw: Draw) -> list[str]:
    """Without most of what another finding usually implies: Q waves beside an infarct, ST depression in ischaemia."""
    kept = list(codes)
    for rule, chance in (("often_covered_by", P_OMIT_OFTEN), ("sometimes_covered_by", P_OMIT_SOMETIMES)):
        implied = phrases()[rule]
        kept = [c for c in kept if not (set(implied.get(c, ())).intersection(codes) and draw() < chance)]
    return kept


def omit(codes: list[str], draw: Draw) -> list[str]:
    """Leave out some nonspecific and a few other findings, never a rhythm, never the last one."""
    book = phrases()
    spare = [c for c in codes if book["findings"][c]["slot"] not in ("rhythm", "normal")]
    kept = list(codes)
    for code in spare[:]:
        chance = P_OMIT_NONSPECIFIC if code in book["nonspecific"] else P_OMIT_OTHER
        if draw() < chance and len(spare) > 1:
            spare.remove(code)
            kept.remove(code)
    return kept


def chosen(codes: list[str], draw: Draw) -> list[str]:
    """The findings that a report speaks of: without what others cover, most of what they imply, and a few omissions."""
    return omit(drop_implied(drop_covered(codes), draw), draw)


def abnormal(codes: Iterable[str]) -> list[str]:
    return [c for c in codes if c not in ("NORM", "SR")]


def physician_words(code: str, present: Iterable[str], features: Mapping[str, float], draw: Draw) -> str:
    """A finding as PTB-XL's translated reports word it, at its site if it has one."""
    book = phrases()
    entry = book["findings"][code]
    if "site" not in entry:
        return draw.of(entry["physician"])
    kind = site_kind(entry["slot"], entry["site"], present, features)
    return draw.of(book["site_templates_physician"][kind]).format(s=entry["site"])


@cache
def _ranks() -> dict[str, int]:
    return {key: rank for rank, keys in enumerate(phrases()["gravity"]) for key in keys}


def gravity(code: str) -> int:
    """How serious a finding is, 0 the most: its own rank in the phrase file, or that of its slot."""
    ranks = _ranks()
    return ranks[code] if code in ranks else ranks[phrases()["findings"][code]["slot"]]


def lower_first(text: str) -> str:
    """«Atrial fibrillation» -> «atrial fibrillation», but «AFib» and «SVT» stay."""
    return text if text[:2].isupper() or text[1:2] in ("-", "V") else text[:1].lower() + text[1:]
