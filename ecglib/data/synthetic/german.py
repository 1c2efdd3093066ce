"""German reports in the manner of PTB-XL: short phrases of a cart in lower case, now and then mixed with English.

Umlauts are written out («ueberdrehter linkstyp»), as :func:`ecglib.reports.to_ascii` gives them for real reports.
"""

from collections.abc import Mapping
from functools import cache

from ecglib.data.synthetic.cart_grammar import Productions, Scene, production, read
from ecglib.data.synthetic.wording import Draw, Statement, abnormal, chosen, number, phrases, physician_words, site_kind
from ecglib.errors import ParameterError

P_ECTOPY_LATE, P_AXIS, P_FOOTER, P_UPPER = 0.2, 0.8, 0.35, 0.06
P_MIXED, P_ENGLISH = 0.1, 0.4  # reports that mix languages, and their share of English statements
_NORMAL_AXIS_DEG = (-30, 90)


class German(Productions):
    """The content of ``german.json``; ParameterError names the entry that breaks a rule."""

    def __init__(self, content: Mapping):
        super().__init__("german.json", content["sites"], content["territories"])
        self.order, self.axis = content["order"], content["axis"]
        self.footer, self.abnormal = content["footer"], content["abnormal"]
        self.findings = {key: [production(entry) for entry in given] for key, given in content["findings"].items()}
        self.check(self.findings)
        if stray := sorted({e["slot"] for e in phrases()["findings"].values()} - {*self.order, "normal"}):
            raise ParameterError(f"german.json: order lacks {', '.join(stray)}")


@cache
def german() -> German:
    return German(read("german"))


def german_report(
    codes: list[str], features: Mapping[str, float], draw: Draw, events: Mapping[str, int | str] | None, sex: str
) -> list[Statement]:
    """Statements about ``codes``: ectopy, rhythm, conduction, axis, QRS, ST-T, in the order of PTB-XL."""
    book, entries = german(), phrases()["findings"]
    scene = Scene(codes, features, events, sex)
    codes = chosen(codes, draw)
    order = [*book.order[1:3], book.order[0], *book.order[3:]] if draw() < P_ECTOPY_LATE else book.order
    mixed = draw() < P_MIXED
    out: list[Statement] = []
    spoken = sorted((c for c in codes if c != "NORM"), key=lambda c: order.index(entries[c]["slot"]))
    axis = _axis(codes, features, draw)
    for code in spoken:
        if axis and order.index(entries[code]["slot"]) > order.index("axis"):
            out, axis = [*out, Statement((), axis)], ""
        out.append(Statement((code,), _words(code, scene, draw, mixed and draw() < P_ENGLISH)))
    out += [Statement((), axis)] if axis else []
    wrong = abnormal(codes)
    if "NORM" in codes:
        text = book.say(book.findings["NORM"], scene, draw).texts[0]
        out.append(Statement(("NORM",), f"sonst {text}" if wrong and text == "normales ekg" else text))
    elif wrong and draw() < 0.25:
        text = draw.of(book.abnormal)
        out += [Statement((), text)] if text else []
    if draw() < P_UPPER:
        out = [Statement(s.codes, s.text.upper()) for s in out]
    return [*out, Statement((), draw.of(book.footer))] if draw() < P_FOOTER else out


def _axis(codes: list[str], features: Mapping[str, float], draw: Draw) -> str:
    axis, (low, high) = number(features, "axis_deg"), _NORMAL_AXIS_DEG
    known = axis is not None and low <= axis <= high and not {"LAXIS", "RAXIS"} & set(codes)
    return draw.of(german().axis) if known and draw() < P_AXIS else ""


def _words(code: str, scene: Scene, draw: Draw, english: bool) -> str:
    """The German words for a finding; English ones as in the translated reports where German has none."""
    entry = phrases()["findings"][code]
    site = entry.get("site", "")
    key = site_kind(entry["slot"], site, scene.present, scene.features) if site else code
    if key.startswith("ischemia"):
        key = "ischemia"
    book = german()
    if not english and key in book.findings and (not site or site in book.sites):
        said = book.say(book.findings[key], scene, draw, site)
        if said:
            return said.texts[0]
    return physician_words(code, scene.present, scene.features, draw)
