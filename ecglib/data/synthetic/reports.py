"""Reports for simulated ECGs, in the manner of ECG carts, of physicians, in German, and of two data sets.

The pre-training style ``mimic`` follows what machine reports do: remarks on the recording, rhythm first, ectopy and AV
block hung on to it, then axis, conduction, hypertrophy, infarction, ST-T, QT, and a summary line; synonyms, hedges,
omissions, redundancy. A real cart runs one program version, so many reports draw one *dialect* that settles every
synonym (:mod:`.cart`, ``phrases.json``); that keeps common patterns repeating, as they do in real sets. The others come
from a grammar of cart statements (:mod:`.free_cart`, ``cart_grammar.json``), which hedges, places and counts.

Nothing false is said: a statement names a finding that is there, a lead group, a number, an event or a disturbance only
when the findings, features, events or the recording bear it out. A hedged cause is one of those that are there.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ecglib.data.synthetic.cart import Cart
from ecglib.data.synthetic.free_cart import FreeCart
from ecglib.data.synthetic.german import german_report
from ecglib.data.synthetic.remarks import Disturbance, remarks
from ecglib.data.synthetic.wording import (
    STYLES,
    Draw,
    Statement,
    abnormal,
    check,
    chosen,
    drop_covered,
    number,
    phrases,
    physician_words,
)

if TYPE_CHECKING:
    import numpy as np

_JOINTS = {"cpsc": ", ", "csn": ", ", "ptb-xl-german": " "}
P_FREE = 0.55  # of the reports in cart style: made by the grammar, not by a dialect of the phrase file
P_NOT_ENTERED = 0.015  # at the cart, whatever the hospital knows of the patient
__all__ = ["STYLES", "Statement", "compose", "phrases", "write_report"]


def _physician(codes: list[str], features: Mapping[str, float], draw: Draw) -> list[Statement]:
    """Short statements in lower case, ectopy before or after the rhythm, as PTB-XL's translated reports."""
    book = phrases()
    entries = book["findings"]
    present, codes = codes, chosen(codes, draw)
    order = ["ectopy", *book["slots"]] if draw() < 0.4 else book["slots"]
    out: list[Statement] = []
    for code in sorted((c for c in codes if c != "NORM"), key=lambda c: order.index(entries[c]["slot"])):
        out.append(Statement((code,), physician_words(code, present, features, draw)))
    axis = number(features, "axis_deg")
    if axis is not None and 0 <= axis <= 90 and not {"LAXIS", "RAXIS"} & set(codes) and draw() < 0.3:
        out.insert(1, Statement((), "normal axis"))
    wrong = abnormal(codes)
    if "NORM" in codes:
        options = book["summary"]["physician_otherwise"] if wrong else entries["NORM"]["physician"]
        out.append(Statement(("NORM",), draw.of(options)))
    elif wrong and not set(wrong) <= set(book["nonspecific"]):
        summary = draw.of(book["summary"]["physician_abnormal"])
        out += [Statement((), summary)] if summary else []
    return out


def _listed(codes: list[str], style: str, draw: Draw) -> list[Statement]:
    """Labels alone: class words (CPSC2018 has no reports) or CSN's acronyms or full names."""
    entries = phrases()["findings"]
    codes = drop_covered(codes)
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
    disturbance: Disturbance | None = None,
    events: Mapping[str, int | str] | None = None,
) -> list[Statement]:
    """The statements of one report with the findings each speaks of; see :func:`write_report`."""
    codes = check(findings, style)
    draw = Draw(rng)
    if style == "ptb-xl":
        return _physician(codes, features, draw)
    if style == "ptb-xl-german":
        return german_report(codes, features, draw, events, sex)
    if style != "mimic":
        return _listed(codes, style, draw)
    if draw() < P_NOT_ENTERED:
        age, sex = None, ""
    cart = FreeCart(features, draw, events, sex) if draw() < P_FREE else Cart(features, draw)
    statements = remarks(disturbance, age, sex, draw) + cart.report(codes)
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
    disturbance: Disturbance | None = None,
    events: Mapping[str, int | str] | None = None,
) -> str:
    """One report about ``findings``, determined by ``rng``; "" when there is nothing to say.

    ``findings`` are codes of :data:`ecglib.data.labels.FINDINGS`; ``features`` may hold ``rate_bpm``, ``pr_ms``,
    ``qrs_ms``, ``qtc_ms``, ``axis_deg`` and ``st_mv_<lead>``, ``t_amp_mv_<lead>``, ``r_amp_mv_<lead>``,
    ``s_amp_mv_<lead>`` (missing or NaN: not spoken of); ``style`` is one of :data:`STYLES`. ``disturbance`` says
    how the recording was disturbed (see :class:`.remarks.Disturbance`), ``events`` what was counted beat by beat (see
    :func:`.events.count_events`); None: not spoken of. Carts speak of both, German reports of events.
    ParameterError on an unknown finding or style and on findings that exclude each other.
    """
    statements = compose(
        findings, features, age=age, sex=sex, style=style, rng=rng, disturbance=disturbance, events=events
    )
    texts = list(dict.fromkeys(s.text for s in statements))
    return _JOINTS.get(style, ". ").join(texts)
