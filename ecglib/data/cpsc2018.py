"""CPSC2018: 6,877 ECGs of 6 to 60 s with nine classes; the original files or those of the CinC Challenges.

Liu et al. 2018, doi 10.1166/jmihi.2018.2442. The original is one MATLAB struct a record (``ECG.data``, 500 Hz,
millivolts) with REFERENCE.csv; the Challenges (doi 10.13026/34va-7q14) hold the same records as ``.hea`` and
``.mat``. The file name (A0001) is the key: numbers given to these records elsewhere depend on a directory
listing. Of a longer record the first seconds are kept, a shorter one ends in zeros (``prepare``).
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecglib.data.labels import cpsc_to_classes
from ecglib.data.originals import (
    download_wfdb,
    file_id,
    file_state,
    folds_of,
    header_facts,
    need_columns,
    need_folder,
    read_csv,
    sex_letter,
    years,
)
from ecglib.data.wfdb_io import read_record
from ecglib.errors import DataError, SignalError
from ecglib.signals import LEADS

if TYPE_CHECKING:
    import pandas as pd

_REFERENCE = "REFERENCE.csv"
_HOW = (
    f"CPSC2018 is a folder with A0001.mat ... and {_REFERENCE} (original) or with A0001.hea, A0001.mat ... "
    "(Challenge); ecglib.data.cpsc2018.download(folder) gets the latter"
)
_LABELS = ("First_label", "Second_label", "Third_label")
_ORIGINAL_HZ = 500.0


class Cpsc2018:
    """Reader of either form, told apart by what the folder holds (sub-folders included).

    Folds come from a hash of the file name, or from ``splits``: a folder with ``*_train.csv``, ``*_val.csv`` and
    ``*_test.csv`` that have a column ``filename`` (folds 1, 9 and 10; records in none of them get fold 0).
    """

    name = "cpsc2018"
    version = 1

    def __init__(self, root: str | Path, sampling_rate_hz: float = 500.0, splits: str | Path | None = None):
        self.root = need_folder(root, _HOW)
        self._splits = splits
        self._left_out: dict[str, int] = {}
        headers, structs = sorted(self.root.rglob("A*.hea")), sorted(self.root.rglob("A*.mat"))
        self._files = headers or structs
        self._reference = next(iter(sorted(self.root.rglob(_REFERENCE))), None)
        if not self._files:
            raise DataError(f"the folder {root} holds no record A*.hea or A*.mat. {_HOW}")
        if not headers and self._reference is None:
            raise DataError(f"the folder {root} has records but no {_REFERENCE} with their labels. {_HOW}")

    def listing(self) -> list[str]:
        """What the prepared store depends on, cheap to tell."""
        table = [file_id(self._reference)] if self._reference is not None else []
        return [file_state(self.root, path) for path in self._files] + table

    def rows(self) -> "pd.DataFrame":
        """One row per record file."""
        challenge = self._files[0].suffix == ".hea"
        rows = self._rows_from_headers() if challenge else self._rows_from_reference()
        rows["source"] = [str(path.relative_to(self.root)) for path in self._files]
        rows["patient"] = rows["id"]
        rows["fold"] = folds_of(rows["id"], self._splits, "filename")
        return rows

    def _rows_from_headers(self) -> "pd.DataFrame":
        rows = header_facts(self._files)
        rows["labels/cpsc2018"] = [cpsc_to_classes(codes) for codes in rows.pop("codes")]
        return rows

    def _rows_from_reference(self) -> "pd.DataFrame":
        import pandas as pd

        table = read_csv(self._reference)
        need_columns(table, ("Recording", *_LABELS), self._reference)
        known = {row["Recording"]: row for row in table.to_dict("records")}
        names = [path.stem for path in self._files]
        self._left_out = {
            f"in {_REFERENCE} without a file": len(known.keys() - set(names)),
            f"file without a row in {_REFERENCE} (kept, no labels)": len(set(names) - known.keys()),
        }
        rows = []
        for path in self._files:
            row = known.get(path.stem, {})
            labels = cpsc_to_classes(row.get(column, "").removesuffix(".0") for column in _LABELS)
            facts = row if "sex" in row and "age" in row else _struct_facts(path)
            rows.append(
                {
                    "id": path.stem,
                    "age": years(facts.get("age", "")),
                    "sex": sex_letter(facts.get("sex", "")),
                    "labels/cpsc2018": labels,
                }
            )
        return pd.DataFrame(rows)

    def read(self, row: dict[str, Any]) -> tuple[np.ndarray, float]:
        """(12, T) millivolts and the rate in Hz; SignalError when the file is damaged or not of this form."""
        path = self.root / row["source"]
        if path.suffix == ".hea":
            return read_record(path)
        ecg_mv = np.asarray(_struct(path)["data"])
        if ecg_mv.ndim != 2 or len(ecg_mv) != len(LEADS) or ecg_mv.dtype.kind not in "fiu":
            raise SignalError(f"{path.name}: ECG.data is {ecg_mv.dtype} {ecg_mv.shape}; expected (12, T) numbers")
        return np.ascontiguousarray(ecg_mv, dtype=np.float32), _ORIGINAL_HZ

    def card(self) -> dict[str, Any]:
        return {
            "licence": "CC BY 4.0",
            "citation": "Liu et al. 2018, doi 10.1166/jmihi.2018.2442",
            "folds": "split files" if self._splits else "SHA-256 of the file name",
            "left_out": self._left_out,
        }


def _struct(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    try:
        ecg = loadmat(path)["ECG"][0, 0]
        return {name: ecg[name] for name in ecg.dtype.names}
    except Exception as error:
        # scipy raises whatever a damaged MATLAB file makes it run into.
        raise SignalError(f"{path.name} is no original CPSC2018 file ({type(error).__name__}: {error})") from error


def _struct_facts(path: Path) -> dict[str, str]:
    try:
        ecg = _struct(path)
        return {key: str(np.squeeze(ecg[key])) for key in ("sex", "age")}
    except (SignalError, KeyError):
        return {}  # ``read`` meets the same file and quarantines it with the reason


def download(root: str | Path) -> None:
    """Fetch the Challenge's form from PhysioNet with wfdb; DataError where there is no network."""
    download_wfdb("challenge-2021", root, inside=["training/cpsc_2018/"])
