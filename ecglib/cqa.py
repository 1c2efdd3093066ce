"""Cardio Query Assistant, ESI section 3.1: from terse statements to texts that describe the waveform.

For every distinct statement the knowledge base is searched with the paper's question, and a language model writes a
description from the passages found. A record's text is its demographics, its statements and their descriptions:

    "67-year-old woman. atrial fibrillation. Waveform features of atrial fibrillation: no P waves in any lead, ..."

A statement that says nothing about the heart is dropped, one that the knowledge base cannot explain keeps its own
words alone: nothing is described that was not found.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ecglib import knowledge, llm, report_tasks
from ecglib.data.mixture import SOURCE_SET
from ecglib.data.store import RecordStore
from ecglib.data.table import LABELS
from ecglib.errors import DataError, ParameterError
from ecglib.knowledge.corpus import ASPECTS
from ecglib.knowledge.extract import extract
from ecglib.paths import atomic_write, expand, sha256_of
from ecglib.reports import clean
from ecglib.retrieval import Index
from ecglib.text import TextEncoder
from ecglib.text_models import OFFLINE

QUESTION = "How is {condition} reflected in a 12-lead ECG?"  # section 3.1.2
REPHRASED = (  # the two of appendix A.3 that the paper prints
    "Describe how {condition} appears in a 12-lead ECG.",
    "What are the ECG findings associated with {condition} in a 12-lead setup?",
)
TOP_K = 2  # appendix A.1
READ = "features"  # the aspect of a section that describes the waveform
# Table 1: these sets bring labels, not reports; the label spaces that stand for PTB-XL's SCP codes and CSN's diagnoses.
LABEL_TASKS = {"ptb-xl": ("ptbxl-sub", "ptbxl-form", "ptbxl-rhythm"), "csn": ("csn",)}
FORMAT = 1


@dataclass(frozen=True)
class Description:
    """What became of one statement: ``text`` "" when nothing is described, ``status`` says why."""

    statement: str
    text: str
    passages: tuple[str, ...]  # ids of those read, best first
    status: str  # of `ecglib.llm.Answer`; "unexplained": no passage, or nothing in the answer; "denied": denies it all


@dataclass(frozen=True)
class Descriptions:
    """Statement -> its description, and how they came about: question, k, hashes, the language model's own record."""

    entries: Mapping[str, Description]
    about: dict

    @property
    def fingerprint(self) -> str:
        """Twelve hex digits of all that is described, whatever described it."""
        return sha256_of({entry.statement: entry.text for entry in self.entries.values()}, 12)

    def text(self, statements: Sequence[str], age: float = math.nan, sex: str = "") -> str:
        """The text of one record: demographics, statements, descriptions, each statement and description once.

        Raises DataError for a statement that was never asked about.
        """
        if missing := [statement for statement in statements if statement not in self.entries]:
            raise DataError(
                f"no description was asked for '{missing[0]}' (and {len(missing) - 1} more statements of this record): "
                "run esi_cqa with the same dataset, mixture, n_records and seed"
            )
        described = [self.entries[statement].text for statement in statements]
        parts = [demographics(age, sex), *statements, *described]
        return ". ".join(dict.fromkeys(part.strip(" .") for part in parts if part))

    def save(self, path: Path) -> Path:
        """As JSON lines: what they are and their hash, then one line per statement."""
        head = {"format": FORMAT, "fingerprint": self.fingerprint, "about": self.about}
        lines = [json.dumps(line, ensure_ascii=False) for line in (head, *map(asdict, self.entries.values()))]
        return atomic_write(path, "\n".join(lines) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "Descriptions":
        """What `save` wrote. Raises DataError for a file that is missing, of another format or changed since."""
        path = expand(path)
        if not path.is_file():
            raise DataError(f"{path} is not there; give descriptions.jsonl of a run of esi_cqa")
        try:
            head, *lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            described = [Description(**line | {"passages": tuple(line["passages"])}) for line in lines]
            found = cls({entry.statement: entry for entry in described}, head["about"])
            sound = head["format"] == FORMAT and head["fingerprint"] == found.fingerprint
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"{path} is not a file of descriptions ({error}); run esi_cqa again") from error
        if not sound:
            raise DataError(f"{path} is of another format or was changed by hand; run esi_cqa again")
        return found


class Assistant:
    """Retrieval over the knowledge base, then a language model.

    What is retrieved is a section, all that the knowledge base says of one finding: a section is as near to a question
    as the nearest of its passages. What is read of it is the passage on the waveform.

    Args:
        encoder: gives the vectors of questions and passages.
        k: sections retrieved per statement.
        question: with ``{condition}`` where the statement goes.
        model: back end of `ecglib.llm`, or its name; the default is the knowledge base itself.
        aspects: the passages of a section that are searched.
    """

    def __init__(
        self,
        encoder: TextEncoder,
        k: int = TOP_K,
        question: str = QUESTION,
        model: llm.Backend | str = "knowledge",
        aspects: Sequence[str] = ASPECTS,
    ):
        if "{condition}" not in question:
            raise ParameterError(f"question needs {{condition}} where the statement goes, not '{question}'")
        everything = knowledge.passages()
        self.read = {p.code: p for p in everything if aspect(p) == READ}  # sections that speak of a waveform
        self.searched = [p for p in everything if aspect(p) in aspects]
        self.sections = sorted({passage.code for passage in self.searched})
        if not 1 <= k <= len(self.sections):
            raise ParameterError(f"top_k lies in 1..{len(self.sections)}, the number of sections, not {k}")
        self.encoder, self.k, self.question, self.model = encoder, k, question, model
        self.index = Index(encoder.pooled([f"{p.title}. {p.text}" for p in self.searched]))

    def retrieve(self, statements: Sequence[str], k: int = 0) -> list[list[str]]:
        """The ``k`` (default: the assistant's) sections nearest to the question about each statement, best first."""
        if not statements:
            return []
        k = k or self.k
        most = Counter(passage.code for passage in self.searched).most_common(1)[0][1]
        enough = min(len(self.searched), most * (k - 1) + 1)  # so many passages hold k sections for certain
        questions = [self.question.format(condition=statement) for statement in statements]
        _, rows = self.index.nearest(self.encoder.pooled(questions), enough)
        return [list(dict.fromkeys(self.searched[row].code for row in best))[:k] for best in rows]

    def describe(self, statements: Iterable[str]) -> "Descriptions":
        """Every distinct statement described once.

        Where a statement names findings that are known, sections on others are put aside: the nearest section to
        «sinus rhythm» may well be that of a normal ECG. A statement that denies all it names is not asked about.
        """
        distinct = sorted(set(statements))
        named = {statement: findings(statement) for statement in distinct}
        asked = [statement for statement in distinct if named[statement] != set()]
        passages: dict[str, list[knowledge.Passage]] = {}
        for statement, best in zip(asked, self.retrieve(asked), strict=True):
            own = [code for code in best if named[statement] is None or code in named[statement]]
            passages[statement] = [self.read[code] for code in own if code in self.read]
        items = {
            statement: (self.question.format(condition=statement), tuple(passage.text for passage in found))
            for statement, found in passages.items()
            if found
        }
        answers = llm.ask(report_tasks.DESCRIPTION, items.values(), self.model)
        answered = dict(zip(items, answers.answers, strict=True))
        entries = {s: _described(s, passages.get(s), answered.get(s)) for s in distinct}
        about = {"question": self.question, "k": self.k, "encoder": self.encoder.fingerprint[:12]}
        return Descriptions(entries, about | {"knowledge": knowledge.content_hash(), "answers": answers.summary()})


def aspect(passage: "knowledge.Passage") -> str:
    """What of a finding a passage tells: definition, criteria, features, names or differential."""
    return passage.id.rsplit("/", 1)[1]


def _described(statement: str, passages: list | None, answer: llm.Answer | None) -> Description:
    text = ((answer and answer.value) or {}).get("description", "").strip()
    status = "denied" if passages is None else "unexplained"
    if answer is not None and (text or answer.value is None):
        status = answer.status
    return Description(statement, text, tuple(passage.id for passage in passages or ()), status)


def findings(statement: str) -> set[str] | None:
    """Codes of the findings that a statement asserts or suspects; None when it names none, empty when it denies all."""
    mentions = extract(statement)
    return {mention.code for mention in mentions if mention.status != "negated"} if mentions else None


def statements_of(store: RecordStore, dataset: str) -> list[list[str]]:
    """What is known of each record before CQA, as a list of statements in lower case.

    Cart and cardiologists' reports give their sentences, without those about the machine. Sets that ESI uses with
    labels (PTB-XL's SCP codes, CSN's diagnoses) give the names of their labels. ``dataset`` names the set, unless the
    records say themselves, as those of a mixture do.
    """
    table = store.records
    sets = table[SOURCE_SET] if SOURCE_SET in table.columns else [dataset] * len(table)
    rows = []
    for place, name in enumerate(sets):
        if name in LABEL_TASKS:
            labels = [(task, cls) for task in LABEL_TASKS[name] for cls in table[LABELS + task][place]]
            found = [knowledge.class_name(task, cls).lower() for task, cls in labels]
        else:
            found = clean(table["report"][place]).split(". ")
        rows.append(list(dict.fromkeys(statement for statement in found if statement)))
    return rows


def demographics(age: float, sex: str) -> str:
    """In words, as far as known: (67.0, "F") -> «67-year-old woman»; "" when neither age nor sex is known."""
    person = {"F": "woman", "M": "man"}.get(sex, "")
    if not math.isfinite(age):
        return person
    if age < 18:
        person = {"F": "girl", "M": "boy"}.get(sex, "child")
    return f"{age:.0f}-year-old {person or 'person'}"


def texts(store: RecordStore, dataset: str, descriptions: Descriptions | None) -> list[str]:
    """The text of every record; without ``descriptions`` its statements alone, as in the row «w/o CQA» of table 5a.

    Raises DataError for a record of which nothing at all is known.
    """
    people = zip(store.records["age"], store.records["sex"], strict=True)
    rows = []
    for statements, (age, sex) in zip(statements_of(store, dataset), people, strict=True):
        rows.append(". ".join(statements) if descriptions is None else descriptions.text(statements, age, sex))
    if "" in rows:
        record = store.records["id"][rows.index("")]
        raise DataError(f"record {record} has no statement to learn from; leave it out with store.select(...)")
    return rows


def descriptions_for(source: str, stores: Iterable[RecordStore], dataset: str) -> Descriptions | None:
    """Where the texts of ``stores`` come from: ``cqa`` the default assistant, ``report`` none, else a file's."""
    if source == "report":
        return None
    if source != "cqa":
        return Descriptions.read(source)
    named = [statement for store in stores for row in statements_of(store, dataset) for statement in row]
    return Assistant(TextEncoder(OFFLINE)).describe(named)
