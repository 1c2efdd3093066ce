"""How well entities are found: precision and recall against real reports, with bootstrap intervals and failures.

Two references, of different kinds:

* statements of MIMIC-IV-ECG, labelled by hand for this project (``mimic_reference.json`` says how). This measures the
  reading of the text: entity *and* status must agree.
* the SCP codes of PTB-XL beside its reports. A code is a cardiologist's statement about the ECG, not a transcript of
  the report that a cart or an earlier reader wrote, so disagreement bounds what any reading of the report could reach:
  many reports with «periphere Niederspannung», for example, do not carry the code of low voltage. Whatever the report
  states or suspects counts here, because PTB-XL gives suspected statements a code with a low likelihood.

Only ids and codes are kept of a failure; texts stay where they are.
"""

import ast
import hashlib
import json
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.data.labels import clean_scp, scp_statements
from ecglib.errors import DataError, ParameterError
from ecglib.knowledge.extract import extract
from ecglib.knowledge.files import load
from ecglib.knowledge.vocabulary import table
from ecglib.metrics import EVALUATOR_VERSION
from ecglib.paths import expand

STATEMENTS = "esi_statement_descriptions.json"
REPLICATES = 1000
_MARKS = {"present": "", "uncertain": "?", "negated": "-"}
_GERMAN = re.compile(
    r"\b(sinus(rhythmus|rhytmus|tachykardie|bradykardie| arrhythmie)|lagetyp|\w*typ\b|\w*infarkt|vorhof\w*|nicht|ekg"
    r"|und|isch(ä|ae)mie|\w*block i\b|abnorm(es|e|er)?|unbest\w*|schrittmacher|keine?|grenzbefund)\b",
    re.IGNORECASE,
)
_OTHER = re.compile(r"\b(sinusrytm|avvikande|förlopp|hjärt\w*|måste|kan ej|misstänkt|såsom|och)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Measured:
    """Counts of one comparison: ids of N documents, K entities, and what was right, extra and missed, (N, K) bool."""

    what: str
    ids: tuple[str, ...]
    entities: tuple[str, ...]
    right: np.ndarray
    extra: np.ndarray
    missed: np.ndarray

    @classmethod
    def of(cls, what: str, documents: Iterable[tuple[str, set[str], set[str]]]) -> "Measured":
        """From (id, found, wanted) of each document; ParameterError when there is none."""
        documents = list(documents)
        if not documents:
            raise ParameterError(f"{what}: no document to measure on")
        names = sorted({name for _, found, wanted in documents for name in found | wanted})
        place = {name: k for k, name in enumerate(names)}
        right, extra, missed = np.zeros((3, len(documents), len(names)), dtype=bool)
        for n, (_, found, wanted) in enumerate(documents):
            for matrix, hits in ((right, found & wanted), (extra, found - wanted), (missed, wanted - found)):
                matrix[n, [place[name] for name in hits]] = True
        return cls(what, tuple(i for i, _, _ in documents), tuple(names), right, extra, missed)

    def scores(self, seed: int = 0, replicates: int = REPLICATES) -> pd.DataFrame:
        """Rows «micro», «macro» and each entity: precision, recall and F1 in percent with 95 % intervals, counts.

        Intervals are percentiles over resampled documents; ``macro`` is the mean over entities that the reference
        holds at least once. A ratio without a denominator is nan.
        """
        rng = np.random.default_rng(seed)
        n = len(self.ids)
        weights = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), size=replicates)])  # (1 + R, N)
        right, extra, missed = (weights @ m.astype(np.float64) for m in (self.right, self.extra, self.missed))
        held = (self.right | self.missed).any(0)
        parts = {"micro": tuple(m.sum(1, keepdims=True) for m in (right, extra, missed))}
        parts |= {name: (right[:, [k]], extra[:, [k]], missed[:, [k]]) for k, name in enumerate(self.entities)}
        rows = {name: _row(*(_ratios(*part)[:, :, 0])) for name, part in parts.items()}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a resample may hold no entity: nan
            macro = np.nanmean(_ratios(right, extra, missed)[:, :, held], axis=2)
        rows["macro"] = _row(*macro)
        frame = pd.DataFrame(rows).T
        counted = {
            name: [int(m[:, k].sum()) for m in (self.right, self.extra, self.missed)]
            for k, name in enumerate(self.entities)
        }
        counted["micro"] = counted["macro"] = [int(m.sum()) for m in (self.right, self.extra, self.missed)]
        for j, column in enumerate(("right", "extra", "missed")):
            frame[column] = [counted[name][j] for name in frame.index]
        order = [
            "micro",
            "macro",
            *sorted(self.entities, key=lambda name: (-counted[name][0] - counted[name][2], name)),
        ]
        return frame.loc[order].rename_axis("entity").reset_index()

    def failures(self) -> pd.DataFrame:
        """One row per document that does not agree: id, what was found too much, what was missed."""
        rows = []
        for n in np.flatnonzero((self.extra | self.missed).any(1)):
            names = [[self.entities[k] for k in np.flatnonzero(m[n])] for m in (self.extra, self.missed)]
            rows.append({"id": self.ids[n], "extra": " ".join(names[0]), "missed": " ".join(names[1])})
        return pd.DataFrame(rows, columns=["id", "extra", "missed"])


def _ratios(right: np.ndarray, extra: np.ndarray, missed: np.ndarray) -> np.ndarray:
    """(3, R, K): precision, recall, F1."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack([right / (right + extra), right / (right + missed), 2 * right / (2 * right + extra + missed)])


def _row(precision: np.ndarray, recall: np.ndarray, f1: np.ndarray) -> dict[str, float]:
    row = {}
    for name, values in (("precision", precision), ("recall", recall), ("f1", f1)):
        rest = values[1:][np.isfinite(values[1:])]
        low, high = np.percentile(rest, [2.5, 97.5]) if len(rest) else (np.nan, np.nan)
        row |= {name: 100 * values[0], f"{name}_low": 100 * low, f"{name}_high": 100 * high}
    return row


def statement_id(text: str) -> str:
    """The name under which mimic_reference.json knows a statement: 16 hex digits of its SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_statements(root: str | Path) -> list[str]:
    """The distinct statements of MIMIC-IV-ECG that ESI published; DataError when the file is not in ``root``."""
    path = Path(root) / STATEMENTS
    try:
        return list(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: {error}; it is rag/mimic_waveform_dict.json of comp-well-org/ESI, saved under this name"
        ) from error


def mimic_statements(root: str | Path, sample: str, status: bool = True) -> Measured:
    """Entities of the hand-labelled statements against the labels; ``sample`` is "first" or "second".

    status: entity and status must agree; otherwise the entity alone. DataError when statements of the sample are
    missing in ``root``.
    """
    reference = load("mimic_reference")["statements"]
    wanted = {i: set(entry["entities"]) for i, entry in reference.items() if entry["sample"] == sample}
    if not wanted:
        raise ParameterError(f"no sample is called {sample!r}; mimic_reference.json has first and second")
    texts = {statement_id(text): text for text in read_statements(root)}
    if missing := sorted(wanted.keys() - texts.keys()):
        raise DataError(
            f"{root}/{STATEMENTS} lacks {len(missing)} of {len(wanted)} labelled statements, e.g. {missing[0]}"
        )
    documents = []
    for i, labels in wanted.items():
        found = {mention.code + _MARKS[mention.status] for mention in extract(texts[i])}
        documents.append((i, found, labels) if status else (i, _plain(found), _plain(labels)))
    return Measured.of(f"MIMIC-IV-ECG statements, {sample} sample", documents)


def _plain(names: set[str]) -> set[str]:
    return {name.rstrip("?-") for name in names}


def language(report: str) -> str:
    """ "german", "other" (Swedish, in PTB-XL) or "english", by a few words that only one of them has."""
    return "other" if _OTHER.search(report) else "german" if _GERMAN.search(report) else "english"


def read_ptbxl(path: str | Path) -> pd.DataFrame:
    """Columns ecg_id, patient_id, report, scp (set of codes) of a PTB-XL metadata file; DataError naming a defect."""
    try:
        frame = pd.read_csv(path, usecols=["ecg_id", "patient_id", "report", "scp_codes"])
        codes = frame["scp_codes"].map(ast.literal_eval)
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(f"{path}: {error}; it should have columns ecg_id, patient_id, report, scp_codes") from error
    known = scp_statements()
    frame["scp"] = [{code for code in map(clean_scp, given) if code in known} for given in codes]
    return frame.assign(report=frame["report"].fillna("")).drop(columns="scp_codes")


def held_out(patients: Sequence[float]) -> np.ndarray:
    """(N,) bool: the half of the patients that extraction was not written with in view."""
    return np.array([int(hashlib.sha256(str(int(p)).encode()).hexdigest(), 16) % 2 == 1 for p in patients], dtype=bool)


def ptbxl_reports(frame: pd.DataFrame, what: str) -> Measured:
    """Entities of reports, as the SCP codes they are filed under, against the record's codes; see the module's head."""
    filed = {entity.code: entity.scp for entity in table().values()}
    documents = []
    for ecg_id, report, codes in zip(frame["ecg_id"], frame["report"], frame["scp"], strict=True):
        found = {filed.get(m.code, "") for m in extract(report) if m.status != "negated"} - {""}
        documents.append((str(ecg_id), found, codes))
    return Measured.of(what, documents)


def _tables(given: str) -> Iterator[Path]:
    for path in filter(None, (part.strip() for part in given.split(","))):
        found = sorted(expand(path).glob("ptbxl_*.csv")) if expand(path).is_dir() else [expand(path)]
        if not found:
            raise ParameterError(f"{path} holds no ptbxl_*.csv: give PTB-XL metadata files or folders with them")
        yield from found


def real_references(statements_root: str = "", ptbxl_files: str = "") -> list[tuple[str, Measured]]:
    """(data set, comparison) for the references that are there: both samples of statements, PTB-XL by language.

    statements_root: folder with MIMIC-IV-ECG statements, or ""; ptbxl_files: PTB-XL metadata files, or folders of such
    (``ptbxl_*.csv``), joined by commas, of which the half of the patients counts that extraction was not written with
    in view, or "". A comparison goes by its file's name; a file that is named as in PTB-XL itself, like that of
    ptbxl_subset, by its folder's. ParameterError for a folder without such a file.
    """
    out = []
    if statements_root:
        out += [("mimic-iv-ecg", mimic_statements(expand(statements_root), sample)) for sample in ("first", "second")]
    for file in _tables(ptbxl_files):
        called = file.parent.name if file.stem == "ptbxl_database" else file.stem
        frame = read_ptbxl(file)
        frame = frame[held_out(frame["patient_id"])]
        spoken = frame["report"].map(language)
        for name in ("german", "english"):
            if (spoken == name).any():
                what = f"PTB-XL reports, {name}, {called}"
                out.append(("ptb-xl", ptbxl_reports(frame[spoken == name], what)))
    return out


def metrics(dataset: str, measured: Measured, scores: pd.DataFrame) -> list[dict]:
    """Micro and macro precision, recall and F1 as entries of a run record."""
    entries = []
    for average in ("micro", "macro"):
        row = scores.set_index("entity").loc[average]
        for name in ("precision", "recall", "f1"):
            entry = {"method": "knowledge", "dataset": dataset, "data_kind": "subset", "setting": measured.what}
            entry |= {"metric": f"{average}_{name}", "value": row[name], "n": len(measured.ids)}
            entry |= {"ci_low": row[f"{name}_low"], "ci_high": row[f"{name}_high"]}
            entries.append(entry | {"evaluator_version": EVALUATOR_VERSION})
    return entries
