"""CSN, Chapman-Shaoxing and Ningbo: 45,152 ten-second ECGs with SNOMED CT codes, one header and .mat a record.

Zheng et al. 2020 and 2022, doi 10.13026/wgex-er52 (PhysioNet ecg-arrhythmia 1.0.0), CC BY 4.0; also part of the
CinC Challenge 2021. The folder may be flat or ``WFDBRecords/01/010/``. Some Ningbo records have flat leads,
as in the source: such a record is kept and names them in the column ``flat_leads``.
"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecglib.data.labels import snomed_to_csn, unknown_snomed
from ecglib.data.originals import download_wfdb, file_state, folds_of, header_facts, need_folder
from ecglib.data.wfdb_io import read_record
from ecglib.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_HOW = (
    "CSN is a folder with JS00001.hea, JS00001.mat ..., flat or below WFDBRecords/; "
    "ecglib.data.csn.download(folder) gets it"
)


class Csn:
    """Reader of the original folder.

    ``labels="exact"``: a class for its exact SNOMED code, every record kept. ``labels="merl-substring"``: the
    labels of MERL's split files, which come from a substring test and lack every record with a code outside
    CSN's list (left out and counted here too). Patients are not known: each record is its own.
    Folds come from a hash of the name, or from ``splits``: a folder with ``*_train.csv``, ``*_val.csv`` and
    ``*_test.csv`` that have a column ``ecg_path`` (folds 1, 9 and 10; records in none of them get fold 0).
    """

    name = "csn"
    version = 1

    def __init__(
        self,
        root: str | Path,
        sampling_rate_hz: float = 500.0,
        labels: str = "exact",
        splits: str | Path | None = None,
    ):
        self.root = need_folder(root, _HOW)
        snomed_to_csn([], labels)  # an unknown rule shows at once, not after the headers
        self._rule, self._splits = labels, splits
        self._unknown: Counter[str] = Counter()
        self._left_out: dict[str, int] = {}
        self._files = sorted(self.root.rglob("JS*.hea"))
        if not self._files:
            raise DataError(f"the folder {root} holds no header JS*.hea. {_HOW}")

    def listing(self) -> list[str]:
        """What the prepared store depends on, cheap to tell."""
        return [file_state(self.root, path) for path in self._files]

    def rows(self) -> "pd.DataFrame":
        """One row per header."""
        rows = header_facts(self._files)
        codes = rows.pop("codes")
        unknown = [unknown_snomed(some) for some in codes]
        self._unknown = Counter(code for some in unknown for code in some)
        rows["patient"] = rows["id"]
        rows["source"] = [str(path.relative_to(self.root)) for path in self._files]
        rows["labels/csn"] = [snomed_to_csn(some, self._rule) for some in codes]
        rows["fold"] = folds_of(rows["id"], self._splits, "ecg_path")
        if self._rule == "merl-substring":
            known = np.array([not some for some in unknown], dtype=bool)
            self._left_out = {"a code outside CSN's list": int((~known).sum())}
            rows = rows[known].reset_index(drop=True)
        return rows

    def read(self, row: dict[str, Any]) -> tuple[np.ndarray, float]:
        """(12, T) millivolts and the rate in Hz; SignalError as ``wfdb_io.read_record``."""
        return read_record(self.root / row["source"])

    def card(self) -> dict[str, Any]:
        return {
            "licence": "CC BY 4.0",
            "citation": "Zheng et al. 2020, doi 10.1038/s41597-020-0386-x; files doi 10.13026/wgex-er52",
            "labels": self._rule,
            "folds": "split files" if self._splits else "SHA-256 of the file name",
            "left_out": self._left_out,
            "unknown_snomed_codes": dict(sorted(self._unknown.items())),
        }


def download(root: str | Path) -> None:
    """Fetch CSN from PhysioNet with wfdb; DataError where there is no network."""
    download_wfdb("ecg-arrhythmia", root, ("ConditionNames_SNOMED-CT.csv",))
