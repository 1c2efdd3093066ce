"""Fine-grained reports: waveform features proposed from a report, kept where a model finds them in the ECG.

FG-CLEP, "Two-stage Pre-training" and algorithm 1. A back end is asked once per distinct report, each distinct feature
is embedded once and each ECG encoded once; similarities are computed only where a feature was proposed.

    proposals = propose(reports, "knowledge")             # what may be there
    checked = verify(model, store, reports, proposals)    # how likely each is in its ECG
    texts = extend(reports, checked, threshold)           # report + features above the threshold
    print(outcome(proposals.asked))                       # how many answers were of use
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from ecglib.data.store import RecordStore
from ecglib.errors import CheckpointError, ParameterError
from ecglib.llm import ask
from ecglib.llm_models import Backend
from ecglib.paths import atomic_write, sha256_of
from ecglib.report_tasks import FEATURES

_CHUNK = 256  # features embedded at a time
OUTCOMES = ("distinct", "answered", "refused", "malformed", "timed_out", "failed", "dropped")  # counts in ``asked``


@dataclass(frozen=True)
class Proposals:
    """Features proposed for each distinct report; ``of_report`` holds positions in ``features``, without repeats."""

    features: list[str]
    of_report: dict[str, list[int]]
    asked: dict[str, Any] = field(default_factory=dict)  # who was asked what, and how many answers were of use

    @classmethod
    def of(cls, features_of: Mapping[str, Sequence[str]], asked: Mapping[str, Any] | None = None) -> "Proposals":
        """From report -> features. A feature that its report already states, letter case aside, is left out."""
        place: dict[str, int] = {}
        of_report = {}
        for report, features in features_of.items():
            stated = report.casefold()
            tidy = dict.fromkeys(" ".join(feature.split()).strip(" .") for feature in features)
            new = [feature for feature in tidy if feature and feature.casefold() not in stated]
            of_report[report] = [place.setdefault(feature, len(place)) for feature in new]
        return cls(list(place), of_report, dict(asked or {}))

    def pairs(self, reports: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Record and feature of every proposal, both (M,), record by record.

        Raises ParameterError naming a report that was not asked about.
        """
        missing = next((report for report in reports if report not in self.of_report), None)
        if missing is not None:
            raise ParameterError(f"no proposals for the report {missing[:60]!r}; propose over all reports first")
        counts = [len(self.of_report[report]) for report in reports]
        features = [position for report in reports for position in self.of_report[report]]
        return np.repeat(np.arange(len(reports)), counts), np.array(features, dtype=np.int64)


def propose(reports: Sequence[str], backend: Backend | str = "knowledge") -> Proposals:
    """Ask a back end of `ecglib.llm`, or the name of one, for the waveform features behind each distinct report, once.

    A report without a usable answer gets no feature; ``asked`` counts such answers.
    """
    distinct = list(dict.fromkeys(reports))
    answers = ask(FEATURES, distinct, backend)
    features_of = {
        report: [pair["feature"] for pair in value["features"]] if value else []
        for report, value in zip(distinct, answers.values, strict=True)
    }
    return Proposals.of(features_of, answers.summary())


def outcome(asked: Mapping[str, Any]) -> str:
    """What became of the questions, in one line for a reader and a run record; ``asked`` as `Proposals` has it."""
    counts = ", ".join(f"{asked[name]:,} {name.replace('_', ' ')}" for name in OUTCOMES)
    return f"features by {asked['model']['model']}: {counts}"


@dataclass(frozen=True)
class Checked:
    """Every proposal with its probability: ``record``, ``feature`` (positions) and ``probability``, all (M,)."""

    features: list[str]
    record: np.ndarray
    feature: np.ndarray
    probability: np.ndarray

    def kept(self, threshold: float) -> np.ndarray:
        """(M,) bool: the probability is greater than the threshold."""
        return self.probability > threshold


@torch.inference_mode()
def verify(model, store: RecordStore, reports: Sequence[str], proposals: Proposals, batch_size: int = 256) -> Checked:
    """The probability of every proposed feature in its ECG (FG-CLEP eq. 8), by ``model.probability`` of the cosine.

    ``reports`` are those of the records of ``store``, in order. The model is left in evaluation mode.
    """
    if len(reports) != len(store):
        raise ParameterError(f"{len(store)} records but {len(reports)} reports")
    model.eval()
    device = next(model.parameters()).device
    record, feature = proposals.pairs(reports)
    probability = np.empty(len(record), dtype=np.float32)
    chunks = [proposals.features[at : at + _CHUNK] for at in range(0, len(proposals.features), _CHUNK)]
    if not chunks:
        return Checked(proposals.features, record, feature, probability)
    vectors = torch.cat([model.encode_text(chunk) for chunk in chunks])  # (F, D), unit length
    bounds = np.searchsorted(record, np.arange(0, len(store) + batch_size, batch_size))
    for start, begin, end in zip(range(0, len(store), batch_size), bounds[:-1], bounds[1:], strict=True):
        if begin == end:
            continue
        rows = np.arange(start, min(start + batch_size, len(store)))
        ecg = model.encode_ecg(torch.from_numpy(store.read(rows)).to(device))  # (B, D), unit length
        used, column = np.unique(feature[begin:end], return_inverse=True)
        similarity = ecg @ vectors[torch.from_numpy(used).to(device)].T  # (B, features proposed in this batch)
        of_pairs = similarity[torch.from_numpy(record[begin:end] - start), torch.from_numpy(column)]
        probability[begin:end] = model.probability(of_pairs).float().cpu().numpy()
    return Checked(proposals.features, record, feature, probability)


def extend(reports: Sequence[str], checked: Checked, threshold: float) -> list[str]:
    """Fine-grained reports: each report and, as further sentences, its features above the threshold; B strings."""
    kept = checked.kept(threshold)
    added: list[list[str]] = [[] for _ in reports]
    for record, feature in zip(checked.record[kept].tolist(), checked.feature[kept].tolist(), strict=True):
        added[record].append(checked.features[feature])
    return [". ".join([report.rstrip(" ."), *of]) if of else report for report, of in zip(reports, added, strict=True)]


class FineGrained(NamedTuple):
    """Fine-grained reports, B strings, and what became of the questions behind them."""

    texts: list[str]
    asked: dict[str, Any]


def kept_on_disk(path: str | Path, made_from: Any, make: Callable[[], FineGrained]) -> FineGrained:
    """``make()``, or what it gave before: so that a second stage that was interrupted goes on with the very same texts.

    ``made_from`` says what the texts depend on (JSON values); texts of anything else in ``path`` are made again.
    While answers are lost (failed or timed out) nothing is kept and a line says so: the next run asks for them again.
    Raises CheckpointError when the file is there and damaged.
    """
    path, key = Path(path), sha256_of(made_from, 16)
    if path.is_file():
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            if stored["made_from"] == key:
                return FineGrained(stored["texts"], stored["asked"])
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is damaged ({error}); remove it and run again") from error
    made = make()
    if lost := made.asked["failed"] + made.asked["timed_out"]:
        print(f"{lost:,} answers failed or timed out: the texts are not kept, and a run from the start asks again")
    else:
        atomic_write(path, json.dumps({"made_from": key, **made._asdict()}, ensure_ascii=False))
    return made
