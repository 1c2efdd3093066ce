"""The grammar of cart statements: what can be said of a finding, and when it is true of the record at hand.

``cart_grammar.json`` holds productions. ``say`` lists texts with alternatives in brackets, «[Possible|Probable] {s}
infarct», expanded once; ``{s}`` and ``{S}`` stand for a site. All other keys are conditions: ``all``, ``any``,
``none`` (findings that are there), ``features`` and ``events`` (name to a range; missing is not true), ``unknown``
(events nobody counted), ``paced`` (chambers stimulated), ``sex``, ``where`` (the site is wherever the leads show this),
``site_shows`` (two leads of the finding's own site show it), ``sited`` (the site is that of one of these findings),
``shows`` (leads that show it). The order of productions and texts is part of every simulated report.

The file's form stands in ``cart_grammar.schema.json``. The tests hold it to that (`check_schema`); the simulator checks
for itself only what it would otherwise overlook, since loading a validator takes longer than a hundred records.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import combinations, product
from typing import NamedTuple

from ecglib.data.synthetic.wording import T_LOW_MV, Draw, meets, number, phrases, shows
from ecglib.errors import ParameterError

T_FLAT_MV = 0.08  # a T wave below this, in a lead that has a taller one in health, is a changed T wave
_TALL_T = frozenset(("I", "II", "V2", "V3", "V4", "V5", "V6"))
_SITED = ("infarct", "infarct_acute", "injury", "ischemia")
_CONDITIONS = frozenset("all any none features events unknown paced sex where site_shows sited shows".split())
_ALTERNATIVES = re.compile(r"\[([^\[\]]*)\]")


class Production(NamedTuple):
    """Texts of one kind, the findings they speak of (() for the one they are looked up for), and their condition."""

    texts: tuple[str, ...]
    weight: float
    of: tuple[str, ...] | None
    when: dict


class Scene:
    """What is true of one record, as far as statements depend on it."""

    def __init__(
        self,
        present: Iterable[str],
        features: Mapping[str, float],
        events: Mapping[str, int | str] | None = None,
        sex: str = "",
    ):
        self.present, self.features, self.events, self.sex = frozenset(present), features, events or {}, sex
        self._where: dict[str, str] = {}

    def where(self, kind: str) -> str:
        """The lead groups that show ``kind``, in alphabetical order joined by «+»; "" when none does."""
        if kind not in self._where:
            shown = [g for g, (leads, need) in groups().items() if sum(self._lead(kind, x) for x in leads) >= need]
            self._where[kind] = "+".join(sorted(shown))
        return self._where[kind]

    def _lead(self, kind: str, lead: str) -> bool:
        if kind != "t_changed":
            return shows(self.features, kind, lead)
        value = number(self.features, f"t_amp_mv_{lead}")
        return value is not None and value <= (T_FLAT_MV if lead in _TALL_T else T_LOW_MV)

    def site_shows(self, kind: str, site: str) -> bool:
        leads = phrases()["site_leads"].get(site, ())
        return sum(shows(self.features, kind, lead) for lead in leads) >= 2

    def holds(self, when: Mapping, site: str) -> bool:
        """Whether a production may be used for a finding at ``site`` ("" for none)."""
        for key, value in when.items():
            if key == "all":
                true = self.present.issuperset(value)
            elif key in ("any", "sited"):
                true = not self.present.isdisjoint(value)
            elif key == "none":
                true = self.present.isdisjoint(value)
            elif key == "features":
                true = meets(value, self.features)
            elif key == "events":
                true = meets(value, self.events)
            elif key == "unknown":
                true = not any(name in self.events for name in value)
            elif key == "sex":
                true = self.sex == value
            elif key == "paced":
                true = self.events.get("paced") == value
            elif key == "where":
                true = bool(self.where(value))
            elif key == "site_shows":
                true = self.site_shows(value, site)
            else:
                true = all(shows(self.features, kind, lead) for lead, kind in value.items())
            if not true:
                return False
        return True


class Productions:
    """A book of productions: how one is chosen, and the names of sites and of lead groups that fill it."""

    def __init__(self, file: str, sites: Mapping[str, list[str]], territories: Mapping[str, list[str]]):
        self.file, self.sites, self.territories, self.leads_only = file, sites, territories, frozenset[str]()
        every = {"+".join(sorted(some)) for k in range(len(groups())) for some in combinations(groups(), k + 1)}
        if difference := sorted(every ^ set(territories)):
            raise ParameterError(f"{file}: territories lack or have too much {', '.join(difference)}")

    def check(self, statements: Mapping[str, list[Production]], others: Iterable[Production] = ()) -> None:
        """ParameterError when a production speaks of what is no finding, or of a site that it cannot know."""
        known = set(phrases()["findings"]) | set(_SITED)
        named = {code for key in statements for code in ([key] if key in known else key.split("+"))}
        for entry in (*others, *(p for productions in statements.values() for p in productions)):
            named |= set(entry.of or ())
            for key in ("all", "any", "none", "sited"):
                named |= set(entry.when.get(key, ()))
        if stray := sorted(named - known):
            raise ParameterError(f"{self.file} speaks of {', '.join(stray)}, which are no findings")
        for key, productions in statements.items():
            for text, when in ((t, p.when) for p in productions for t in p.texts):
                if "{" in text and key not in _SITED and "where" not in when:
                    raise ParameterError(f"{self.file}: «{text}» of {key} has a site but no where")

    def say(self, productions: Sequence[Production], scene: Scene, draw: Draw, site: str = "") -> Production | None:
        """One production of those that hold, its ``texts`` reduced to the one drawn; None when none holds."""
        fitting = [p for p in productions if scene.holds(p.when, site)]
        if not fitting:
            return None
        u = draw() * sum(p.weight for p in fitting)
        chosen = fitting[-1]
        for entry in fitting:
            u -= entry.weight
            if u < 0:
                chosen = entry
                break
        text = draw.of(chosen.texts)
        if "{" in text:
            text = self._fill(text, self._names(text, chosen, scene, site), draw)
        return chosen._replace(texts=(text,))

    def _names(self, text: str, chosen: Production, scene: Scene, site: str) -> list[str]:
        if "where" in chosen.when:
            return self.territories[scene.where(chosen.when["where"])]
        if "sited" in chosen.when:
            entries = phrases()["findings"]
            site = next(entries[code]["site"] for code in chosen.when["sited"] if code in scene.present)
        around = self._around(scene, site) if " changes" in text and "injury" not in text else []
        return [*self.sites[site], *around]

    def _around(self, scene: Scene, site: str) -> list[str]:
        """Where the leads show a change, if that includes the finding's site: changes may reach further."""
        own = next((key for key, names in self.territories.items() if site in names), "")
        shown = [scene.where(kind) for kind in ("t_low", "st_low")]
        return [
            name
            for key in shown
            if own and set(own.split("+")) <= set(key.split("+"))
            for name in self.territories[key]
        ]

    def _fill(self, text: str, names: Sequence[str], draw: Draw) -> str:
        if "{S}" in text and len(names) > 1:  # «Diffuse ST changes» is no cart's; «diffuse leads» is
            names = [name for name in names if name not in self.leads_only] or names
        name = draw.of(names)
        return text.format(s=name, S=name.upper() if text.startswith("***") else name[0].upper() + name[1:])


class Grammar(Productions):
    """The content of ``cart_grammar.json``, expanded; ParameterError names the entry that breaks a rule."""

    def __init__(self, content: Mapping):
        super().__init__("cart_grammar.json", content["sites"], content["territories"])
        self.leads_only, self.rates = frozenset(content["leads_only"]), content["rates"]
        self.hang_order, self.summary, self.remarks = content["hang_order"], content["summary"], content["remarks"]
        self.hang = {key: [production(p) for p in given] for key, given in content["hang"].items()}
        self.statements = {key: [production(p) for p in given] for key, given in content["statements"].items()}
        self.pairs = [key.split("+") for key in self.statements if "+" in key and "SARRH" not in key]
        self.asides = [production(p) for p in content["asides"]]
        self.check(self.statements, [*self.asides, *(p for given in self.hang.values() for p in given)])
        if stray := sorted(set(self.hang_order) ^ set(self.hang)):
            raise ParameterError(f"cart_grammar.json: hang and hang_order differ in {', '.join(stray)}")


def expand(text: str) -> list[str]:
    """«[a|b] c» -> ["a c", "b c"]; an alternative may be empty."""
    parts = [part.split("|") if k % 2 else [part] for k, part in enumerate(_ALTERNATIVES.split(text))]
    return ["".join(chosen) for chosen in product(*parts)]


def production(entry: Mapping) -> Production:
    """An entry of a file, expanded; ParameterError on one without texts, with a condition nobody knows or no weight."""
    if stray := sorted(entry.keys() - _CONDITIONS - {"say", "weight", "of"}):
        raise ParameterError(f"a statement has the conditions {', '.join(stray)}, which nobody knows: {dict(entry)}")
    if not entry.get("say") or entry.get("weight", 1) <= 0:
        raise ParameterError(f"a statement needs say, and a weight above 0 if any: {dict(entry)}")
    texts = tuple(dict.fromkeys(text for given in entry["say"] for text in expand(given)))
    when = {key: value for key, value in entry.items() if key not in ("say", "weight", "of")}
    return Production(texts, float(entry.get("weight", 1)), tuple(entry["of"]) if "of" in entry else None, when)


def read(name: str) -> dict:
    """The content of a data file of the simulator."""
    return json.loads(files("ecglib.data.synthetic").joinpath(f"{name}.json").read_text(encoding="utf-8"))


def check_schema(content: Mapping, name: str) -> None:
    """ParameterError naming the place in ``name``.json that breaks ``name``.schema.json; after edits."""
    from jsonschema import Draft202012Validator

    error = next(iter(Draft202012Validator(read(f"{name}.schema")).iter_errors(content)), None)
    if error:
        place = "/".join(map(str, error.absolute_path)) or "the file"
        raise ParameterError(f"{name}.json: {place}: {error.message}; see {name}.schema.json")


@cache
def groups() -> dict[str, tuple[list[str], int]]:
    """Lead groups: their leads, and in how many of these a change has to be seen."""
    return read("cart_grammar")["groups"]


@cache
def grammar() -> Grammar:
    return Grammar(read("cart_grammar"))
