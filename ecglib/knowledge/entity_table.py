"""A fixed list of cardiac entities, and the label vectors of reports in it (K-MERL, section 3.4)."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ecglib.errors import DataError, ParameterError
from ecglib.knowledge.extract import extract
from ecglib.knowledge.files import load
from ecglib.knowledge.lexicon import tokens
from ecglib.knowledge.vocabulary import superclasses, table
from ecglib.paths import atomic_write, cache_dir, sha256_of

UNCERTAIN = ("absent", "present")
NOT_CARDIAC = ("RECORDING",)  # superclasses of the vocabulary that say nothing about a heart


@dataclass(frozen=True)
class EntityTable:
    """A fixed list of entities, subclasses first and superclasses last, and how reports are labelled with it.

    superclasses: superclass -> its members; spellings: phrase as written in reports, or name of the knowledge
    base -> the entity of the table it was merged into; uncertain: whether «possible X» counts as X. The paper's
    reading, «present and positive», leaves it out ("absent"); stages: how many names each step of the mining left.
    """

    entities: tuple[str, ...]
    superclasses: dict[str, tuple[str, ...]]
    source: str = "knowledge"
    uncertain: str = "absent"
    spellings: dict[str, str] = field(default_factory=dict)
    stages: dict[str, int] = field(default_factory=dict)
    merged: bool = True  # False: synonyms are entities of their own, found by the words of the report

    def __post_init__(self) -> None:
        if self.uncertain not in UNCERTAIN:
            raise ParameterError(f"uncertain is {self.uncertain!r}; it takes {', '.join(UNCERTAIN)}")
        if len(set(self.entities)) != len(self.entities):
            twice = [name for name, n in Counter(self.entities).items() if n > 1]
            raise ParameterError(f"entities are named twice: {', '.join(twice)}; each name may stand once")
        strays = {n for k, v in self.superclasses.items() for n in (k, *v)} | set(self.spellings.values())
        if strays := sorted(strays - set(self.entities)):
            raise ParameterError(
                f"superclasses or spellings name {', '.join(strays)}, which are no entities of the table"
            )

    @classmethod
    def of_knowledge(cls, uncertain: str = "absent") -> "EntityTable":
        """The whole vocabulary of the knowledge base, without what concerns the recording; needs no corpus."""
        left_out = {load("vocabulary")["superclasses"][code] for code in NOT_CARDIAC}
        names = {entity.name: entity.superclass for entity in table().values() if entity.superclass not in left_out}
        return with_superclasses(names, "knowledge", uncertain=uncertain)

    @property
    def hash(self) -> str:
        """Twelve hex digits over everything that decides labels: this table and the phrases that find its names."""
        content = {k: v for k, v in self._content().items() if k not in ("stages", "source")}
        return sha256_of(content | {name: load(name) for name in ("vocabulary", "grammar", "statements")}, 12)

    def labels(self, reports: Sequence[str], uncertain: str | None = None) -> np.ndarray:
        """(N, E) float32: 1 where a report states the entity, or a member of the superclass, as present.

        Negated entities count as 0, like those not mentioned; an entity that a report both states and denies counts
        as stated, and of findings that exclude one another all that are stated count. ``uncertain`` overrides the
        table's own reading of «possible X».
        """
        counted = {"present"} | ({"uncertain"} if (uncertain or self.uncertain) == "present" else set())
        if uncertain not in (None, *UNCERTAIN):
            raise ParameterError(f"uncertain is {uncertain!r}; it takes {', '.join(UNCERTAIN)}")
        columns, extra = self._columns(), tuple(self.spellings.items())
        as_written = {} if self.merged else {_words(name): name for name in self.entities}
        rows: dict[str, list[int]] = {}
        out = np.zeros((len(reports), len(self.entities)), dtype=np.float32)
        for n, report in enumerate(reports):
            if report not in rows:
                stated = [mention for mention in extract(report, extra) if mention.status in counted]
                names = {as_written.get(_words(mention.text), mention.name) for mention in stated}
                names = {self.spellings.get(name, name) for name in names}
                rows[report] = sorted({column for name in names for column in columns.get(name, ())})
            out[n, rows[report]] = 1.0
        return out

    def _columns(self) -> dict[str, list[int]]:
        """Name -> its own column and those of its superclasses."""
        place = {name: k for k, name in enumerate(self.entities)}
        columns = {name: [k] for name, k in place.items()}
        for superclass, members in self.superclasses.items():
            for member in members:
                columns[member].append(place[superclass])
        return columns

    def _content(self) -> dict:
        return {
            "version": 1,
            "source": self.source,
            "uncertain": self.uncertain,
            "entities": list(self.entities),
            "superclasses": {name: list(members) for name, members in self.superclasses.items()},
            "spellings": dict(self.spellings),
            "stages": dict(self.stages),
            "merged": self.merged,
        }

    def save(self, path: str | Path) -> Path:
        """Write the table as JSON, whole or not at all."""
        return atomic_write(path, json.dumps(self._content(), indent=1, ensure_ascii=False) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "EntityTable":
        """A saved table; DataError naming the file and the defect when it is none."""
        import jsonschema

        try:
            content = json.loads(Path(path).read_text(encoding="utf-8"))
            jsonschema.validate(content, load("entities.schema"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} is no entity table: {error}; write one with EntityTable.save") from error
        except jsonschema.ValidationError as error:
            raise DataError(f"{path} at {error.json_path}: {error.message}; write it with EntityTable.save") from error
        members = {name: tuple(found) for name, found in content["superclasses"].items()}
        rest = {name: content[name] for name in ("source", "uncertain", "spellings", "stages", "merged")}
        return cls(tuple(content["entities"]), members, **rest)


class ReportLabels:
    """Label vectors of reports by a table, each distinct report's computed once: B reports -> (B, E) bool.

    Args:
        of: the table; ``None`` where `find` knows none of that name, as for a model that only scores.
        name: what `find` was asked for.

    Called without a table it raises ParameterError, which says how to come by it.
    """

    def __init__(self, of: EntityTable | None, name: str = "knowledge"):
        self.table, self.name = of, name
        self._known: dict[str, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._known)

    def __call__(self, reports: Sequence[str]) -> np.ndarray:
        if self.table is None:
            raise ParameterError(
                f"entity table {self.name} is not in this machine's store, so no report can be labelled with it; read "
                "it with EntityTable.read(path of its entities.json) and hand it in as entities"
            )
        if missing := [text for text in dict.fromkeys(reports) if text not in self._known]:
            self._known |= dict(zip(missing, self.table.labels(missing).astype(bool), strict=True))
        return np.array([self._known[text] for text in reports], dtype=bool).reshape(-1, len(self.table.entities))


def store(table: EntityTable) -> str:
    """Keep a table on this machine, where its hash finds it. Returns the hash."""
    table.save(_stored(table.hash))
    return table.hash


def check_name(name: str) -> None:
    """Refuse what `find` could never find. Raises ParameterError."""
    if not re.fullmatch("knowledge|[0-9a-f]{12}", name):
        raise ParameterError(f"entities is knowledge or the hash of a table, not '{name}'")


def find(name: str) -> EntityTable | None:
    """The table of that hash, or «knowledge» for the vocabulary's own; None when it is not on this machine.

    None also when the knowledge base has changed since, so that the table would label otherwise than it did.
    """
    if name == "knowledge":
        return EntityTable.of_knowledge()
    found = EntityTable.read(_stored(name)) if _stored(name).is_file() else None
    return found if found is not None and found.hash == name else None


def _stored(name: str) -> Path:
    return cache_dir() / "entities" / f"{name}.json"


def _words(text: str) -> tuple[str, ...]:
    """Folded words: upper and lower case, plurals and endings do not tell names apart."""
    return tuple(token.text for token in tokens(text))


def with_superclasses(parents: dict[str, str], source: str, **rest) -> EntityTable:
    """A table from name -> superclass ("" for none); what a superclass is called too has one column."""
    names = [name for name, parent in parents.items() if name != parent and name not in parents.values()]
    members: dict[str, tuple[str, ...]] = {}
    order = [name for name in superclasses() if name in parents.values()]
    for parent in dict.fromkeys([*order, *filter(None, parents.values())]):
        members[parent] = tuple(name for name in names if parents[name] == parent)
    found = {parent: kept for parent, kept in members.items() if kept}
    alone = [parent for parent, kept in members.items() if not kept]
    return EntityTable((*names, *alone, *found), found, source, **rest)
