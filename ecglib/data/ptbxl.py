"""PTB-XL: 21,799 ten-second ECGs of 18,869 patients with SCP statements, reports and official folds.

Wagner et al. 2020, doi 10.1038/s41597-020-0495-6; files doi 10.13026/kfzx-aw45; CC BY 4.0. Reports are mostly
German and are kept as written (blanks tidied). Splits are the official ``strat_fold``: 1-8, 9, 10.
"""

import ast
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecglib.data.labels import PTBXL_TASKS, clean_scp, scp_to_task, unknown_scp
from ecglib.data.originals import download_wfdb, file_id, need_columns, need_file, read_csv, tidy
from ecglib.data.wfdb_io import read_record
from ecglib.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

_TABLE = "ptbxl_database.csv"
_HOW = f"PTB-XL is the folder with {_TABLE}, records100/ and records500/; ecglib.data.ptbxl.download(folder) gets it"
_COLUMNS = (
    "ecg_id", "patient_id", "age", "sex", "report", "scp_codes", "strat_fold", "filename_lr", "filename_hr"
)  # fmt: skip


class PtbXl:
    """Reader of the original folder. At 100 Hz and below the 100 Hz files are read, above it those at 500 Hz."""

    name = "ptb-xl"
    version = 1

    def __init__(self, root: str | Path, sampling_rate_hz: float = 500.0):
        self.root = Path(root)
        self._file_column = "filename_lr" if sampling_rate_hz <= 100 else "filename_hr"
        self._unknown: Counter[str] = Counter()
        need_file(self.root, _TABLE, _HOW)

    def listing(self) -> list[str]:
        """What the prepared store depends on, cheap to tell."""
        return [file_id(self.root / _TABLE), self._file_column]

    def rows(self) -> "pd.DataFrame":
        """One row per record of ptbxl_database.csv. Sex there is 0 for male and 1 for female; age 300 means
        over 89 and becomes 90. All SCP statements count, whatever their likelihood (see labels.py)."""
        import pandas as pd

        table = read_csv(self.root / _TABLE)
        need_columns(table, _COLUMNS, self.root / _TABLE)
        codes = [self._codes(text, record) for text, record in zip(table["scp_codes"], table["ecg_id"], strict=True)]
        self._unknown = Counter(code for some in codes for code in unknown_scp(some))
        age = pd.to_numeric(table["age"], errors="coerce")
        rows = pd.DataFrame(
            {
                "id": table["ecg_id"].astype(str),
                "patient": [text.removesuffix(".0") for text in table["patient_id"]],
                "report": [tidy(text) for text in table["report"]],
                "age": age.where(age < 300, 90.0).where(age.notna()),
                "sex": table["sex"].map({"0": "M", "1": "F", "0.0": "M", "1.0": "F"}).fillna(""),
                "fold": pd.to_numeric(table["strat_fold"], errors="coerce").fillna(0).astype(int),
                "source": [f"{text}.hea" for text in table[self._file_column]],
            }
        )
        for task in PTBXL_TASKS:
            rows[f"labels/{task}"] = [scp_to_task(some, task) for some in codes]
        rows["findings"] = [sorted({clean_scp(c) for c in some} - set(unknown_scp(some))) for some in codes]
        return rows

    def _codes(self, text: str, record: str) -> list[str]:
        try:
            codes = ast.literal_eval(text)
            return [str(code) for code in codes]
        except (ValueError, SyntaxError, TypeError) as error:
            raise DataError(
                f"{self.root / _TABLE}: scp_codes of record {record} is no dictionary of SCP codes: {text!r}"
            ) from error

    def read(self, row: dict[str, Any]) -> tuple[np.ndarray, float]:
        """(12, T) millivolts and the rate in Hz; SignalError as ``wfdb_io.read_record``."""
        return read_record(self.root / row["source"])

    def card(self) -> dict[str, Any]:
        return {
            "licence": "CC BY 4.0",
            "citation": "Wagner et al. 2020, doi 10.1038/s41597-020-0495-6",
            "unknown_scp_codes": dict(sorted(self._unknown.items())),
        }


def download(root: str | Path) -> None:
    """Fetch PTB-XL (3 GB) from PhysioNet with wfdb; DataError with a clear message where there is no network."""
    download_wfdb("ptb-xl", root, (_TABLE, "scp_statements.csv"))
