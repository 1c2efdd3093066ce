"""Reports by the grammar of cart statements: one rhythm line with what hangs on to it, then hedged findings."""

from collections.abc import Mapping

from ecglib.data.synthetic.cart import MAX_SLOW_BPM, MIN_RAPID_BPM, Cart
from ecglib.data.synthetic.cart_grammar import Scene, grammar
from ecglib.data.synthetic.wording import Draw, Statement, abnormal, lower_first, number, site_kind

# Probabilities per report or per statement, chosen for variety (tests hold the balance).
P_HANG = 0.85
P_COMBINE = 0.7
P_ASIDE = 0.25
P_SWAP = 0.08
P_PAC_FIRST = 0.15
_ABERRANT = frozenset(("SR", "STACH", "SBRAD", "SARRH", "AFIB"))


class FreeCart(Cart):
    """A cart whose statements come from the grammar; what the grammar lacks is worded as by :class:`Cart`."""

    def __init__(self, features: Mapping[str, float], draw: Draw, events: Mapping[str, int | str] | None, sex: str):
        super().__init__(features, draw)
        self.mixed, self.events, self.sex, self.grammar = True, events, sex, grammar()
        self.scene = Scene((), features)

    def report(self, codes):
        self.scene = Scene(codes, self.features, self.events, self.sex)
        return super().report(codes)

    def words(self, code: str) -> str:
        entry = self.book["findings"][code]
        key, site = code, ""
        if "site" in entry:
            key, site = site_kind(entry["slot"], entry["site"], self.present, self.features), entry["site"]
            key = "ischemia" if key.startswith("ischemia") else key
        said = self._say(key, site)
        return said if said else super().words(code)

    def _say(self, key: str, site: str = "") -> str:
        productions = self.grammar.statements.get(key)
        said = self.grammar.say(productions, self.scene, self.draw, site) if productions else None
        return said.texts[0][:1].upper() + said.texts[0][1:] if said else ""

    def combine(self, codes):
        """Pairs of findings that one statement says together, where the grammar or the phrase file has one."""
        left, out = list(codes), []
        for pair in self.grammar.pairs:
            if pair[0] in left and pair[1] in left and self.draw() < P_COMBINE:
                left = [code for code in left if code not in pair]
                slot = self.book["findings"][pair[0]]["slot"]
                out.append((slot, Statement(tuple(pair), self._say("+".join(pair))), ""))
        return left, out

    def statements(self, codes):
        entries = self.book["findings"]
        rhythms = [c for c in codes if entries[c]["slot"] == "rhythm"]
        rest = [c for c in codes if entries[c]["slot"] not in ("rhythm", "normal")]
        out, said = self.rhythm_line(rhythms, rest)
        left, parts = self.combine([c for c in rest if c not in said])
        parts = [(slot, statement) for slot, statement, _ in parts]
        parts += [(entries[c]["slot"], Statement((c,), self.words(c))) for c in left]
        order = self.book["slots"].index
        parts.sort(key=lambda p: order(p[0]))
        for k in range(1, len(parts)):
            if self.draw() < P_SWAP:
                parts[k - 1], parts[k] = parts[k], parts[k - 1]
        return out + [statement for _, statement in parts]

    def extras(self, codes):
        out = self._asides(codes) if self.draw() < P_ASIDE else []
        return out + super().extras(codes)

    def rhythm_line(self, rhythms: list[str], rest: list[str]) -> tuple[list[Statement], set[str]]:
        """The rhythm with its rate and all that hangs on to it, further rhythms, and the findings said so."""
        if not rhythms:
            return [], set()
        base, *others = sorted(rhythms, key=self.book["rhythm_order"].index)
        pair = f"{base}+SARRH"
        text, said = self.words(base), [base]
        if "SARRH" in others and pair in self.grammar.statements and self.draw() < 0.3:
            text, said = self._say(pair), [base, "SARRH"]
        text += self._rate(base)
        hung: set[str] = set()
        if self.draw() < P_HANG and base != "PACE":
            order = list(self.grammar.hang_order)
            if self.draw() < P_PAC_FIRST:
                order[2:4] = order[3], order[2]
            for key in order:
                for code, words in self._hanger(key, base, {*others, *rest} - set(said)):
                    text += f" with {words}"
                    said += [c for c in code if c not in said]
                    hung |= set(code)
        tail = [c for c in others if c not in said]
        lines = [Statement(tuple(said), text)]
        for other in tail:
            words = self.words(other)
            lines.append(Statement((other,), f"Underlying rhythm: {lower_first(words)}" if base == "PACE" else words))
        return lines, hung

    def _hanger(self, key: str, base: str, codes: set[str]) -> list[tuple[tuple[str, ...], str]]:
        """What of ``key`` can be hung on to the rhythm, given the findings still to be said."""
        if key == "SARRH" and ("SARRH" not in codes or base not in ("STACH", "SBRAD")):
            return []
        if key in ("PVC", "PAC") and key not in codes:
            return []
        if key == "ABER" and (base not in _ABERRANT or self.draw() < 0.3):
            return []
        said = self.grammar.say(self.grammar.hang[key], self.scene, self.draw)
        if said is None:
            return []
        if key == "ABER":  # says how beats are conducted, not that they are premature
            return [((), said.texts[0])]
        of = tuple(code for code in said.of or () if code in codes)
        return [(of, said.texts[0])] if of or not said.of else []

    def _rate(self, base: str) -> str:
        rate = number(self.features, "rate_bpm")
        if base not in self.grammar.rates or rate is None:
            return ""
        pace = "fast" if rate > MIN_RAPID_BPM else "slow" if rate < MAX_SLOW_BPM else ""
        return f" {self.draw.of(self.grammar.rates[base][pace])}" if pace else ""

    def _asides(self, codes: list[str]) -> list[Statement]:
        said = self.grammar.say(self.grammar.asides, self.scene, self.draw)
        if said is None:
            return []
        return [Statement(tuple(c for c in said.of or () if c in codes), said.texts[0])]

    def summary(self, codes):
        book, wrong = self.grammar.summary, abnormal(codes)
        if "NORM" in codes and not wrong:
            return [Statement(("NORM",), self.words("NORM"))]
        if "NORM" in codes:
            kind = "except_rate" if set(wrong) <= {"STACH", "SBRAD"} else "otherwise_normal"
            return [Statement(("NORM",), self.draw.of(book[kind]))]
        if not wrong:
            return []
        text = self.draw.of(book["borderline" if set(wrong) <= set(self.book["nonspecific"]) else "abnormal"])
        return [Statement((), text)] if text else []
