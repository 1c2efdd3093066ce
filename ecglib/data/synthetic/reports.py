"""Reports for simulated ECGs, in the manner of ECG carts, of physicians and of two data sets.

The pre-training style ``mimic`` follows what machine reports do: rhythm first, ectopy and AV block hung on to
it, then axis, conduction, hypertrophy, infarction, ST-T, QT, and a summary line; synonyms, hedges, omissions,
redundancy. A real cart runs one program version, so most reports draw one *dialect* that settles every
synonym; the rest mix. That keeps common patterns repeating, as they do in real sets, where about a quarter of
the reports are distinct. All wording lies in ``phrases.json``; here is only grammar.

Nothing false is said: a statement names a finding that is there, a lead group or a number only when the
features bear it out.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from ecglib.errors import ParameterError

if TYPE_CHECKING:
    import numpy as np

STYLES = ("mimic", "ptb-xl", "cpsc", "csn")

# Probabilities per report of style mimic, chosen for variety that still repeats (tests hold the balance).
P_MIXED_DIALECT = 0.12
P_TERSE = 0.10
P_CONCEPT = 0.12
P_DESCRIBE = 0.10
P_MEASURE = 0.03
P_OMIT_NONSPECIFIC, P_OMIT_OTHER, P_OMIT_COVERED = 0.12, 0.02, 0.8
MIN_RAPID_BPM, MAX_SLOW_BPM = 100.0, 60.0

# ST and T limits (mV) beyond which a lead counts for a territory; V2-V3 are allowed more ST elevation.
_T_LOW_MV, _ST_LOW_MV, _ST_HIGH_MV, _ST_HIGH_CHEST_MV = -0.1, -0.05, 0.1, 0.2
_TERRITORIES = {"inferior": ("II", "III", "aVF"), "anterior": ("V2", "V3", "V4"), "lateral": ("I", "aVL", "V5", "V6")}


class Statement(NamedTuple):
    """One statement of a report and the findings it speaks of."""

    codes: tuple[str, ...]
    text: str


class _Draw:
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


def _check(findings: Iterable[str], style: str) -> list[str]:
    book = phrases()
    codes = list(dict.fromkeys(findings))
    unknown = [code for code in codes if code not in book["findings"]]
    if unknown:
        raise ParameterError(f"findings {unknown} are not in the vocabulary; it is {', '.join(book['findings'])}")
    for group in book["excludes"]:
        if set(group) <= set(codes):
            raise ParameterError(f"findings {' and '.join(group)} exclude each other; keep one of them")
    if style not in STYLES:
        raise ParameterError(f"style {style!r} is not known; it takes {', '.join(STYLES)}")
    return codes


def _number(features: Mapping[str, float], key: str) -> float | None:
    value = features.get(key)
    return None if value is None or not math.isfinite(value) else value


def _territory(features: Mapping[str, float], kind: str) -> str:
    """The lead groups with at least two leads beyond the limit of ``kind``, as an adjective; "" for none."""

    def beyond(lead: str) -> bool:
        value = _number(features, f"{'t_amp' if kind == 't_low' else 'st'}_mv_{lead}")
        if value is None:
            return False
        if kind == "st_high":
            return value >= (_ST_HIGH_CHEST_MV if lead in ("V2", "V3") else _ST_HIGH_MV)
        return value <= (_T_LOW_MV if kind == "t_low" else _ST_LOW_MV)

    groups = [name for name, leads in _TERRITORIES.items() if sum(map(beyond, leads)) >= 2]
    if len(groups) == 3:
        return "diffuse"
    return {"anterior lateral": "anterolateral", "inferior lateral": "inferolateral"}.get(
        " ".join(groups), " and ".join(groups)
    )


def _acute(features: Mapping[str, float], site: str) -> bool:
    """ST elevation in at least two leads of the site: the infarct may be called acute."""
    limits = ((lead, _ST_HIGH_CHEST_MV if lead in ("V2", "V3") else _ST_HIGH_MV) for lead in _leads_of(site))
    return sum((_number(features, f"st_mv_{lead}") or 0.0) >= limit for lead, limit in limits) >= 2


def _leads_of(site: str) -> Sequence[str]:
    return phrases()["site_leads"].get(site, ())


def _meets(needs: Mapping[str, Sequence[float | None]], features: Mapping[str, float]) -> bool:
    for key, (low, high) in needs.items():
        value = _number(features, key)
        if value is None or (low is not None and value < low) or (high is not None and value > high):
            return False
    return True


def _drop_covered(codes: list[str]) -> list[str]:
    """Without what a more specific finding says already: no «sinus rhythm» beside «sinus tachycardia»."""
    covered = phrases()["covered_by"]
    return [c for c in codes if not set(covered.get(c, ())).intersection(codes)]


def _drop_implied(codes: list[str], draw: _Draw) -> list[str]:
    """Without most of what another finding usually implies: Q waves beside an infarct."""
    implied = phrases()["often_covered_by"]
    return [c for c in codes if not (set(implied.get(c, ())).intersection(codes) and draw() < P_OMIT_COVERED)]


def _omit(codes: list[str], draw: _Draw) -> list[str]:
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


class _Cart:
    """One report in the style of a cart: the chosen dialect and the statements it makes."""

    def __init__(self, features: Mapping[str, float], draw: _Draw):
        self.book, self.features, self.draw = phrases(), features, draw
        self.dialect = self._draw_dialect()
        self.mixed = draw() < P_MIXED_DIALECT
        self.attaches = self.dialect in self.book["attaching_dialects"]

    def _draw_dialect(self) -> int:
        u, weights = self.draw(), self.book["dialect_weights"]
        for dialect, weight in enumerate(weights):
            u -= weight
            if u < 0:
                return dialect
        return 0

    def pick(self, options: Sequence):
        return self.draw.of(options) if self.mixed else options[self.dialect % len(options)]

    def words(self, code: str) -> str:
        entry = self.book["findings"][code]
        if "site" in entry:
            kind = entry["slot"]
            if kind == "infarct" and _acute(self.features, entry["site"]):
                kind = "infarct_acute"
            site = entry["site"]
            return self.pick(self.book["site_templates"][kind]).format(s=site, S=site.capitalize())
        text = self.pick(entry["phrases"])
        if "territory" in entry and (self.dialect % 2 == 0):
            where = _territory(self.features, entry["territory"])
            text += f" in {where} leads" if where else ""
        return text

    def rhythm(self, codes: list[str], hangers: list[Statement]) -> list[Statement]:
        """Base rhythm with rate descriptor, a second rhythm, and what this dialect hangs on to it."""
        if not codes:
            return []
        codes = sorted(codes, key=self.book["rhythm_order"].index)
        base, *others = codes
        text, said, rest = self.words(base), [base], []
        rate = _number(self.features, "rate_bpm")
        if base in self.book["rates"] and rate is not None and self.dialect != 3:
            pace = "fast" if rate > MIN_RAPID_BPM else "slow" if rate < MAX_SLOW_BPM else None
            if pace:
                text += " " + self.pick(self.book["rates"][base][pace])
        for other in others:
            if base == "PACE":
                rest.append(Statement((other,), f"Underlying rhythm: {_lower_first(self.words(other))}"))
            elif other == "SARRH" and base in ("STACH", "SBRAD"):
                text, said = f"{text} with sinus arrhythmia", [*said, other]
            else:
                rest.append(Statement((other,), self.words(other)))
        for codes_hung, hung in hangers:
            text, said = f"{text} with {hung}", [*said, *codes_hung]
        return [Statement(tuple(said), text), *rest]

    def combine(self, codes: list[str]) -> tuple[list[str], list[tuple[str, Statement, str]]]:
        """(codes left, [(slot, statement, text to hang on a rhythm or "")]) after applying combinations."""
        left, out = list(codes), []
        for combo in self.book["combos"]:
            if all(code in left for code in combo["codes"]) and (combo.get("always") or self.dialect % 2 == 0):
                left = [code for code in left if code not in combo["codes"]]
                hang = self.pick(combo["attach"]) if "attach" in combo else ""
                out.append((combo["slot"], Statement(tuple(combo["codes"]), self.pick(combo["phrases"])), hang))
        return left, out

    def statements(self, codes: list[str]) -> list[Statement]:
        """All statements but summary and extras, in the order of a cart."""
        entries = self.book["findings"]
        left, parts = self.combine([c for c in codes if entries[c]["slot"] not in ("rhythm", "normal")])
        for code in left:
            attach = entries[code].get("attach")
            hang = self.pick(attach) if attach else ""
            parts.append((entries[code]["slot"], Statement((code,), self.words(code)), hang))
        rhythms = [c for c in codes if entries[c]["slot"] == "rhythm"]
        hung = [p for p in parts if p[2]] if self.attaches and rhythms else []
        hung.sort(key=lambda p: self.book["slots"].index(p[0]))
        out = self.rhythm(rhythms, [Statement(p[1].codes, p[2]) for p in hung])
        parts = [p for p in parts if p not in hung]
        parts.sort(key=lambda p: self.book["slots"].index(p[0]))
        return out + [p[1] for p in parts]

    def concept(self, codes: list[str]) -> list[Statement]:
        """A word for the group of one finding («conduction disturbance»), as zero-shot class names use it."""
        slots = {c: self.book["findings"][c]["slot"] for c in codes}
        spoken = [c for c in codes if slots[c] in self.book["concepts"] and c != "LPR"]
        if not spoken:
            return []
        code = self.draw.of(spoken)
        return [Statement((code,), self.pick(self.book["concepts"][slots[code]]))]

    def description(self, codes: list[str]) -> list[Statement]:
        """The waveform behind one finding, when the features do not speak against it."""
        options = []
        for code in codes:
            for item in self.book["findings"][code].get("describe", ()):
                if isinstance(item, str):
                    options.append(Statement((code,), item))
                elif _meets(item["needs"], self.features):
                    options.append(Statement((code,), item["text"]))
        if not options:
            return []
        chosen = self.draw.of(options)
        return [Statement(chosen.codes, chosen.text[0].upper() + chosen.text[1:])]

    def measurement(self, codes: list[str]) -> list[Statement]:
        """One number, rounded as far as 10 ms or 5 bpm so that texts still repeat."""
        slots = {self.book["findings"][c]["slot"] for c in codes}
        wanted = ["pr_ms"] if "av" in slots else ["qtc_ms"] if "LNGQT" in codes else []
        wanted += ["qrs_ms"] if "conduction" in slots else ["rate_bpm"]
        names = {"pr_ms": "PR interval", "qtc_ms": "QTc", "qrs_ms": "QRS duration", "rate_bpm": "Ventricular rate"}
        for key in wanted:
            value = _number(self.features, key)
            if value is not None:
                step, unit = (5, "bpm") if key == "rate_bpm" else (10, "ms")
                return [Statement((), f"{names[key]} {round(value / step) * step:d} {unit}")]
        return []

    def summary(self, codes: list[str]) -> list[Statement]:
        book, abnormal = self.book["summary"], [c for c in codes if c not in ("NORM", "SR")]
        if "NORM" in codes:
            if not abnormal:
                return [Statement(("NORM",), self.words("NORM"))]
            kind = "except_rate" if set(abnormal) <= {"STACH", "SBRAD"} else "otherwise_normal"
            return [Statement(("NORM",), self.pick(book[kind]))]
        if not abnormal:
            return []
        text = self.pick(book["borderline" if set(abnormal) <= set(self.book["nonspecific"]) else "abnormal"])
        return [Statement((), text)] if text else []

    def report(self, codes: list[str], age: float | None, sex: str) -> list[Statement]:
        present, codes = codes, _omit(_drop_implied(_drop_covered(codes), self.draw), self.draw)
        body = self.statements(codes)
        if self.draw() < P_TERSE:
            apart = [s for s in body if not self._is_rhythm(s)] or body
            if "NORM" in codes and len(apart) == len(body):
                return self.summary(codes)
            first = int(self.draw() * len(apart))
            return apart[first : first + 2]
        out = list(body)
        if self.draw() < P_DESCRIBE:
            out += self.description([c for c in codes if c != "SR" or len(codes) == 1])
        if self.draw() < P_MEASURE:
            out += self.measurement(codes)
        if self.draw() < P_CONCEPT:
            out += self.concept(codes)
        missing = [] if sex else ["no_sex"]
        missing += ["no_age"] if age is None or not math.isfinite(age) else []
        if missing and self.draw() < 0.5:
            out = [Statement((), self.book["banners"][missing[0]]), *out]
        return out + self.summary(present)

    def _is_rhythm(self, statement: Statement) -> bool:
        return bool(statement.codes) and self.book["findings"][statement.codes[0]]["slot"] == "rhythm"


def _lower_first(text: str) -> str:
    """«Atrial fibrillation» -> «atrial fibrillation», but «AFib» and «SVT» stay."""
    return text if text[:2].isupper() or text[1:2] in ("-", "V") else text[:1].lower() + text[1:]


def _physician(codes: list[str], features: Mapping[str, float], draw: _Draw) -> list[Statement]:
    """Short statements in lower case, ectopy before or after the rhythm, as PTB-XL's translated reports."""
    book = phrases()
    entries = book["findings"]
    codes = _omit(_drop_implied(_drop_covered(codes), draw), draw)
    order = ["ectopy", *book["slots"]] if draw() < 0.4 else book["slots"]
    out: list[Statement] = []
    for code in sorted((c for c in codes if c != "NORM"), key=lambda c: order.index(entries[c]["slot"])):
        entry = entries[code]
        kind = entry["slot"]
        if kind == "infarct" and _acute(features, entry["site"]):
            kind = "infarct_acute"
        options = entry["physician"] if "site" not in entry else book["site_templates_physician"][kind]
        out.append(Statement((code,), draw.of(options).format(s=entry.get("site", ""))))
    axis = _number(features, "axis_deg")
    if axis is not None and 0 <= axis <= 90 and not {"LAXIS", "RAXIS"} & set(codes) and draw() < 0.3:
        out.insert(1, Statement((), "normal axis"))
    abnormal = [c for c in codes if c not in ("NORM", "SR")]
    if "NORM" in codes:
        options = book["summary"]["physician_otherwise"] if abnormal else entries["NORM"]["physician"]
        out.append(Statement(("NORM",), draw.of(options)))
    elif abnormal and not set(abnormal) <= set(book["nonspecific"]):
        summary = draw.of(book["summary"]["physician_abnormal"])
        out += [Statement((), summary)] if summary else []
    return out


def _listed(codes: list[str], style: str, draw: _Draw) -> list[Statement]:
    """Labels alone: class words (CPSC2018 has no reports) or CSN's acronyms or full names."""
    entries = phrases()["findings"]
    codes = _drop_covered(codes)
    if style == "cpsc":
        named = [Statement((c,), entries[c]["cpsc"]) for c in codes if "cpsc" in entries[c]]
        if named:
            return named
    which = 1 if style == "cpsc" else int(draw() < 0.7)
    if len(codes) > 1:
        codes = [c for c in codes if c != "NORM"]
    return [Statement((c,), entries[c]["csn"][which]) for c in codes]


def compose(
    findings: Iterable[str],
    features: Mapping[str, float],
    *,
    age: float | None,
    sex: str,
    style: str,
    rng: "np.random.Generator",
) -> list[Statement]:
    """The statements of one report with the findings each speaks of; see :func:`write_report`."""
    codes = _check(findings, style)
    draw = _Draw(rng)
    if style == "ptb-xl":
        return _physician(codes, features, draw)
    if style != "mimic":
        return _listed(codes, style, draw)
    cart = _Cart(features, draw)
    statements = cart.report(codes, age, sex)
    if cart.dialect in cart.book["upper_case_dialects"] and not cart.mixed:
        statements = [Statement(s.codes, s.text.upper()) for s in statements]
    return statements


def write_report(
    findings: Iterable[str],
    features: Mapping[str, float],
    *,
    age: float | None,
    sex: str,
    style: str,
    rng: "np.random.Generator",
) -> str:
    """One report about ``findings``, determined by ``rng``; "" when there is nothing to say.

    ``findings`` are codes of :data:`ecglib.data.labels.FINDINGS`; ``features`` may hold ``rate_bpm``, ``pr_ms``,
    ``qrs_ms``, ``qtc_ms``, ``axis_deg`` and ``st_mv_<lead>``, ``t_amp_mv_<lead>``, ``r_amp_mv_<lead>``,
    ``s_amp_mv_<lead>`` (missing or NaN: not spoken of); ``style`` is one of :data:`STYLES`.
    ParameterError on an unknown finding or style and on findings that exclude each other.
    """
    statements = compose(findings, features, age=age, sex=sex, style=style, rng=rng)
    texts = list(dict.fromkeys(s.text for s in statements))
    return (", " if style in ("cpsc", "csn") else ". ").join(texts)
