"""Reports as ECG carts write them: the pre-training style of the simulator."""

from collections.abc import Mapping, Sequence

from ecglib.data.synthetic.wording import (
    Draw,
    Statement,
    abnormal,
    chosen,
    gravity,
    lower_first,
    meets,
    number,
    phrases,
    site_kind,
    territory,
)

# Probabilities per report, chosen for variety that still repeats (tests hold the balance).
P_MIXED_DIALECT = 0.05
P_TERSE = 0.18
P_CONCEPT = 0.10  # times concept_weights of the phrase file
P_DESCRIBE = 0.05
P_MEASURE = 0.02
MIN_RAPID_BPM, MAX_SLOW_BPM = 100.0, 60.0


class Cart:
    """One report in the style of a cart: the chosen dialect and the statements it makes."""

    def __init__(self, features: Mapping[str, float], draw: Draw):
        self.book, self.features, self.draw = phrases(), features, draw
        self.present: list[str] = []
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
            site = entry["site"]
            kind = site_kind(entry["slot"], site, self.present, self.features)
            return self.pick(self.book["site_templates"][kind]).format(s=site, S=site.capitalize())
        text = self.pick(entry["phrases"])
        if "territory" in entry and self.dialect in self.book["territory_dialects"]:
            where = territory(self.features, entry["territory"])
            text += f" in {where} leads" if where else ""
        return text

    def rhythm(self, codes: list[str], hangers: list[Statement]) -> list[Statement]:
        """Base rhythm with rate descriptor, a second rhythm, and what this dialect hangs on to it."""
        if not codes:
            return []
        codes = sorted(codes, key=self.book["rhythm_order"].index)
        base, *others = codes
        text, said, rest = self.words(base), [base], []
        rate = number(self.features, "rate_bpm")
        if base in self.book["rates"] and rate is not None and self.dialect != 3:
            pace = "fast" if rate > MIN_RAPID_BPM else "slow" if rate < MAX_SLOW_BPM else None
            if pace:
                text += " " + self.pick(self.book["rates"][base][pace])
        for other in others:
            if base == "PACE":
                rest.append(Statement((other,), f"Underlying rhythm: {lower_first(self.words(other))}"))
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

    def concept(self, codes: list[str], luck: float = 0.0) -> list[Statement]:
        """A word for the group of one finding («conduction disturbance»), as zero-shot class names use it.

        Said when ``luck``, uniform up to 1 / P_CONCEPT, lies below the group's weight (1 unless the file says more).
        """
        slots = {c: self.book["findings"][c]["slot"] for c in codes}
        spoken = [c for c in codes if slots[c] in self.book["concepts"] and c != "LPR"]
        if not spoken:
            return []
        code = self.draw.of(spoken)
        if luck >= self.book["concept_weights"].get(slots[code], 1.0):
            return []
        return [Statement((code,), self.pick(self.book["concepts"][slots[code]]))]

    def description(self, codes: list[str]) -> list[Statement]:
        """The waveform behind one finding: part of its definition, or borne out by features and other findings."""
        options = []
        for code in codes:
            for item in self.book["findings"][code].get("describe", ()):
                entry = {"text": item} if isinstance(item, str) else item
                if set(entry.get("with", ())) <= set(self.present) and meets(entry.get("needs", {}), self.features):
                    options.append(Statement((code,), entry["text"]))
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
            value = number(self.features, key)
            if value is not None:
                step, unit = (5, "bpm") if key == "rate_bpm" else (10, "ms")
                return [Statement((), f"{names[key]} {round(value / step) * step:d} {unit}")]
        return []

    def summary(self, codes: list[str]) -> list[Statement]:
        book, wrong = self.book["summary"], abnormal(codes)
        if "NORM" in codes:
            if not wrong:
                return [Statement(("NORM",), self.words("NORM"))]
            kind = "except_rate" if set(wrong) <= {"STACH", "SBRAD"} else "otherwise_normal"
            return [Statement(("NORM",), self.pick(book[kind]))]
        if not wrong:
            return []
        text = self.pick(book["borderline" if set(wrong) <= set(self.book["nonspecific"]) else "abnormal"])
        return [Statement((), text)] if text else []

    def report(self, codes: list[str]) -> list[Statement]:
        self.present, codes = codes, chosen(codes, self.draw)
        body = self.statements(codes)
        if self.draw() < P_TERSE:
            return self.terse(body, codes)
        return [*body, *self.extras(codes), *self.summary(self.present)]

    def extras(self, codes: list[str]) -> list[Statement]:
        """What is said on top of the findings: a waveform, a number, the group of one of them."""
        out: list[Statement] = []
        if self.draw() < P_DESCRIBE:
            out += self.description([c for c in codes if c != "SR" or len(codes) == 1])
        if self.draw() < P_MEASURE:
            out += self.measurement(codes)
        return out + self.concept(codes, self.draw() / P_CONCEPT)

    def terse(self, body: list[Statement], codes: list[str]) -> list[Statement]:
        """The most serious statement, alone or with another one, its waveform or its group.

        So single findings get known. Which of equally serious statements is made is drawn.
        """
        apart = [s for s in body if s.codes != ("SR",)]
        if not apart:
            return self.summary(codes) or body
        ranks = [min(map(gravity, s.codes)) for s in apart]
        main = self.draw.of([k for k, rank in enumerate(ranks) if rank == min(ranks)])
        how = self.draw()
        if how < 0.4 or (how < 0.6 and len(apart) == 1):
            return [apart[main]]
        if how < 0.6:
            other = self.draw.of([k for k in range(len(apart)) if k != main])
            return [apart[k] for k in sorted((main, other))]
        spoken = [c for c in apart[main].codes if c != "SR"]
        return [apart[main], *(self.description(spoken) if how < 0.8 else self.concept(spoken))]
