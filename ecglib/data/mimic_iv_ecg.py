"""MIMIC-IV-ECG: about 800,000 ten-second ECGs of about 160,000 patients with the cart's report statements.

Gow et al. 2023, doi 10.13026/4nqg-sb35 (ODbL). Each record has up to 18 statements, columns ``report_0`` to
``report_17`` of machine_measurements.csv. Its files store aVF before aVL; leads go by name here.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ecglib.data.originals import download_wfdb, file_id, hash_fold, need_columns, need_file, read_csv
from ecglib.data.wfdb_io import read_record
from ecglib.reports import MIN_WORDS, clean_statements, is_usable

if TYPE_CHECKING:
    import pandas as pd

_REPORTS, _LIST = "machine_measurements.csv", "record_list.csv"
_HOW = (
    f"MIMIC-IV-ECG is the folder with {_REPORTS}, {_LIST} and files/; ecglib.data.mimic_iv_ecg.download(folder) gets it"
)
_STATEMENTS = tuple(f"report_{i}" for i in range(18))


class MimicIvEcg:
    """Reader of the original folder.

    Left out, and counted in the card: records whose cleaned report has fewer than four words (as MERL and the
    papers after it do), and records without a row of statements. The fold comes from a hash of the patient's
    number, so all records of a patient share it. Age and sex are not part of this set.
    """

    name = "mimic-iv-ecg"
    version = 2  # 2: reports cleaned by ecglib.reports

    def __init__(self, root: str | Path, sampling_rate_hz: float = 500.0):
        self.root = Path(root)
        self._left_out: dict[str, int] = {}
        for name in (_REPORTS, _LIST):
            need_file(self.root, name, _HOW)

    def listing(self) -> list[str]:
        """What the prepared store depends on, cheap to tell."""
        return [file_id(self.root / name) for name in (_REPORTS, _LIST)]

    def rows(self) -> "pd.DataFrame":
        """One row per record of record_list.csv that has a report."""
        import pandas as pd

        files = read_csv(self.root / _LIST)
        need_columns(files, ("subject_id", "study_id", "path"), self.root / _LIST)
        wanted = ("study_id", *_STATEMENTS)
        texts = read_csv(self.root / _REPORTS, usecols=lambda column: column in wanted)
        need_columns(texts, wanted, self.root / _REPORTS)
        statements = texts[list(_STATEMENTS)].itertuples(index=False, name=None)
        # Case and letters stay: a tokenizer that wants neither changes them itself.
        reports = [clean_statements(row, lower=False, ascii_only=False) for row in statements]
        report_of = dict(zip(texts["study_id"], reports, strict=True))
        found = [report_of.get(study) for study in files["study_id"]]
        long_enough = np.array([text is not None and is_usable(text) for text in found], bool)
        self._left_out = {
            "no row of statements": sum(text is None for text in found),
            f"report of fewer than {MIN_WORDS} words": int(
                sum(text is not None for text in found) - long_enough.sum()
            ),
        }
        files = files[long_enough]
        return pd.DataFrame(
            {
                "id": files["study_id"].to_numpy(),
                "patient": files["subject_id"].to_numpy(),
                "report": [text for text, keep in zip(found, long_enough, strict=True) if keep],
                "fold": [hash_fold(subject) for subject in files["subject_id"]],
                "source": [f"{path}.hea" for path in files["path"]],
            }
        )

    def read(self, row: dict[str, Any]) -> tuple[np.ndarray, float]:
        """(12, T) millivolts and the rate in Hz; SignalError as ``wfdb_io.read_record``."""
        return read_record(self.root / row["source"])

    def card(self) -> dict[str, Any]:
        return {
            "licence": "ODbL 1.0",
            "citation": "Gow et al. 2023, doi 10.13026/4nqg-sb35",
            "folds": "SHA-256 of the patient's number",
            "left_out": self._left_out,
        }


def download(root: str | Path) -> None:
    """Fetch MIMIC-IV-ECG (90 GB) from PhysioNet with wfdb; DataError where there is no network."""
    download_wfdb("mimic-iv-ecg", root, (_REPORTS, _LIST))
