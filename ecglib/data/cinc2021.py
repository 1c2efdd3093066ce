"""PhysioNet/CinC Challenges 2020 and 2021: 88,253 public 12-lead ECGs of eight sources with SNOMED CT codes.

Perez Alday et al. 2020, doi 10.1088/1361-6579/abc960; Reyna et al. 2021, doi 10.23919/CinC53138.2021.9662687; files
doi 10.13026/34va-7q14, CC BY 4.0. One ``.mat`` (MATLAB version 4, int16) and one ``.hea`` a record; 257 to 1000 Hz, 5 s
to 30 min. The sources used different vocabularies, so that a statement which a record lacks may be one that its
hospital never wrote: score a statement among the records of sources that use it.

The Challenge holds other data sets again. ``part`` names a record's source (`PARTS`); whoever has scored PTB-XL,
CPSC2018 or CSN themselves leaves these parts out, or counts the same tracings twice.
"""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecglib.data.labels import FINDINGS, findings_to_labels
from ecglib.data.originals import download_wfdb, file_state, hash_fold, header_facts, need_folder
from ecglib.data.wfdb_io import read_record
from ecglib.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from ecglib.knowledge.vocabulary import Entity

_HOW = (
    "The Challenge is a folder with A0001.hea, A0001.mat, E00001.hea ... in any sub-folders; "
    "ecglib.data.cinc2021.download(folder) gets it"
)
# First letters of a record's name -> where it comes from.
_PART_OF = {
    "A": "cpsc2018",
    "Q": "cpsc2018-extra",
    "I": "incart",
    "S": "ptb",
    "HR": "ptb-xl",
    "E": "georgia",
    "JS": "csn",
}
PARTS = tuple(_PART_OF.values())
_NAME = re.compile(r"(HR|JS|[AQISE])\d{4,5}")
_SINUS = "SR"
# What names no SCP statement because it leaves out place or kind still tells the superclass.
_SUPERCLASS_ONLY = {
    "myocardial infarction": "MI",
    "ventricular hypertrophy": "HYP",
    "bundle branch block": "CD",
    "atrioventricular conduction disturbance": "CD",
}


class Cinc2021:
    """Reader of the Challenge's folder, or of any of its parts. Patients are not known: each record is its own.

    ``findings``: SCP codes and findings beyond them (``ecglib.data.labels.FINDINGS``), by the exact SNOMED code; a code
    without a counterpart is counted in the card. ``labels/ptbxl-super``: what the findings amount to, an infarction
    without a place counting as MI, a block without a kind as CD. A record whose one
    code is sinus rhythm has NORM: the Challenge has no code for a normal ECG and wrote the normal ones so. Folds come
    from a hash of the name.
    """

    name = "cinc2021"
    version = 1

    def __init__(self, root: str | Path, sampling_rate_hz: float = 500.0):
        self.root = need_folder(root, _HOW)
        self._unmapped: Counter[str] = Counter()
        self._files = sorted(path for path in self.root.rglob("*.hea") if _NAME.fullmatch(path.stem))
        if not self._files:
            raise DataError(f"the folder {root} holds no header of the Challenge (A0001.hea, E00001.hea ...). {_HOW}")

    def listing(self) -> list[str]:
        """What the prepared store depends on, cheap to tell."""
        return [file_state(self.root, path) for path in self._files]

    def rows(self) -> "pd.DataFrame":
        """One row per header, with the Challenge's own SNOMED codes in ``snomed`` (separated by blanks)."""
        rows = header_facts(self._files)
        codes = rows.pop("codes")
        self._unmapped = Counter(code for some in codes for code in unmapped(some))
        rows["patient"] = rows["id"]
        rows["part"] = [part_of(name) for name in rows["id"]]
        rows["source"] = [str(path.relative_to(self.root)) for path in self._files]
        rows["fold"] = [hash_fold(name) for name in rows["id"]]
        rows["snomed"] = [" ".join(some) for some in codes]
        rows["findings"] = [snomed_to_findings(some) for some in codes]
        rows["labels/ptbxl-super"] = [_superclasses(some) for some in codes]
        return rows

    def read(self, row: dict[str, Any]) -> tuple[np.ndarray, float]:
        """(12, T) millivolts and the rate in Hz; SignalError as ``wfdb_io.read_record``."""
        return read_record(self.root / row["source"])

    def card(self) -> dict[str, Any]:
        return {
            "licence": "CC BY 4.0 (PTB: ODC-By 1.0)",
            "citation": "Reyna et al. 2021, doi 10.23919/CinC53138.2021.9662687; files doi 10.13026/34va-7q14",
            "folds": "SHA-256 of the file name",
            "unmapped_snomed_codes": dict(sorted(self._unmapped.items())),
        }


def part_of(record: str) -> str:
    """Source of a record by its name: ``HR00001`` -> ``ptb-xl``; DataError for a name the Challenge does not use."""
    match = _NAME.fullmatch(record)
    if match is None:
        raise DataError(f"{record!r} is no record of the Challenge; names are like A0001, E00001, HR00001, JS00001")
    return _PART_OF[match[1]]


def snomed_to_findings(codes: list[str]) -> list[str]:
    """Findings of a header's SNOMED codes, sorted; a code that names none adds nothing."""
    return sorted({finding for entity in _entities(codes) if (finding := _finding(entity))})


def unmapped(codes: list[str]) -> list[str]:
    """The codes that neither a finding nor a superclass stands for, sorted."""
    return sorted({code for code in codes if not snomed_to_findings([code]) and not _superclass_alone([code])})


def _superclasses(codes: list[str]) -> list[str]:
    findings = snomed_to_findings(codes)
    if findings == [_SINUS] and len(codes) == 1:
        return ["NORM"]
    return sorted({*findings_to_labels(findings)["ptbxl-super"], *_superclass_alone(codes)})


def _superclass_alone(codes: list[str]) -> set[str]:
    vague = [entity for entity in _entities(codes) if not _finding(entity)]
    return {_SUPERCLASS_ONLY[entity.superclass] for entity in vague if entity.superclass in _SUPERCLASS_ONLY}


def _finding(entity: "Entity") -> str:
    return entity.code if entity.code in FINDINGS else entity.scp


def _entities(codes: list[str]) -> list["Entity"]:
    from ecglib.knowledge.vocabulary import codes as code_set
    from ecglib.knowledge.vocabulary import table

    known = code_set("snomed")
    return [table()[known[code]["entity"]] for code in map(str.strip, codes) if code in known]


def download(root: str | Path) -> None:
    """Fetch the training set of 2021 (6 GB) from PhysioNet with wfdb; DataError where there is no network."""
    download_wfdb("challenge-2021", root, inside=["training/"])
