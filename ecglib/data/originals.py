"""What the readers of original data sets share: finding files, tidy text, folds by hash, downloading."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ecglib.data.wfdb_io import read_header
from ecglib.errors import DataError, SignalError
from ecglib.paths import sha256_of

if TYPE_CHECKING:
    import pandas as pd

_BLANKS = re.compile(r"\s+")


def need_file(root: Path, name: str, how: str) -> Path:
    """``root / name``, or a DataError that names the folder, what should be in it and how to get it."""
    need_folder(root, how)
    if not (root / name).exists():
        held = ", ".join(sorted(p.name for p in root.iterdir())[:5]) or "nothing"
        raise DataError(f"the folder {root} has no {name} (it holds {held}). {how}")
    return root / name


def need_folder(root: str | Path, how: str) -> Path:
    """``root`` as a path, or a DataError that says how to get the data."""
    if not Path(root).is_dir():
        raise DataError(f"the folder {root} does not exist. {how}")
    return Path(root)


def file_id(path: Path) -> str:
    """Name and hash of a table: any change of it makes another prepared store."""
    return f"{path.name} {sha256_of(path)}"


def file_state(root: Path, path: Path) -> str:
    """Name, size and time of one of very many files, which would take too long to hash."""
    state = path.stat()
    return f"{path.relative_to(root)} {state.st_size} {state.st_mtime_ns}"


def read_csv(path: Path, **options) -> "pd.DataFrame":
    """A CSV with every value as text and empty cells as ""; DataError when it is no CSV."""
    import pandas as pd

    try:
        return pd.read_csv(path, dtype=str, keep_default_na=False, **options)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as a table: {error}") from error


def need_columns(table: "pd.DataFrame", columns: Iterable[str], path: Path) -> None:
    """DataError that names the columns ``path`` lacks."""
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}; is it the original file, unchanged?")


def tidy(text: str) -> str:
    """One blank for every run of blanks and line ends, none at the ends; the words stay as they are."""
    return _BLANKS.sub(" ", text).strip()


def hash_fold(name: str) -> int:
    """Fold 1-10 of a patient (or of a record where patients are unknown) from SHA-256 of its name.

    It depends on nothing but the name: not on the order of files nor on which others are there.
    1-8 train, 9 validation, 10 test.
    """
    return int.from_bytes(hashlib.sha256(name.encode("utf-8")).digest()[:8], "big") % 10 + 1


def sex_letter(text: str) -> str:
    """``Male``, ``m``, ``F``, ``Female`` ... -> "M", "F", or "" for anything else."""
    first = text.strip().lower()
    return {"m": "M", "male": "M", "f": "F", "female": "F"}.get(first, "")


def years(text: str) -> float:
    """An age in years, NaN when there is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def folds_of(names: Iterable[str], splits: str | Path | None, column: str) -> list[int]:
    """Folds of records by name: from their hash, or from the split files in the folder ``splits``.

    Split files are matched by the file name in ``column``, never by position or by a number they give.
    """
    if splits is None:
        return [hash_fold(name) for name in names]
    fold_of: dict[str, int] = {}
    for part, fold in (("train", 1), ("val", 9), ("test", 10)):
        paths = sorted(Path(splits).glob(f"*_{part}.csv"))
        if len(paths) != 1:
            raise DataError(f"the folder {splits} holds {len(paths)} files *_{part}.csv; exactly one is expected")
        table = read_csv(paths[0])
        need_columns(table, [column], paths[0])
        fold_of |= {Path(text).stem: fold for text in table[column]}
    return [fold_of.get(name, 0) for name in names]


def header_facts(paths: Sequence[Path]) -> "pd.DataFrame":
    """id, age, sex and SNOMED ``codes`` from the comments of Challenge headers, one row per file.

    A header that cannot be read gives a row without facts: reading its signal fails too and says why.
    """
    import pandas as pd

    rows = []
    for path in paths:
        try:
            header = read_header(path)
            age, sex, dx = (header.comment(key) for key in ("Age", "Sex", "Dx"))
        except SignalError:
            age, sex, dx = "", "", ""
        codes = [code.strip() for code in dx.split(",") if code.strip()]
        rows.append({"id": path.stem, "age": years(age), "sex": sex_letter(sex), "codes": codes})
    return pd.DataFrame(rows)


def download_wfdb(database: str, root: str | Path, tables: Sequence[str] = (), inside: Sequence[str] = ("",)) -> None:
    """Fetch ``tables`` and the records below the folders ``inside`` of a PhysioNet database into ``root``.

    Files that are there already are not fetched again, so an interrupted download goes on.
    DataError where PhysioNet cannot be reached or does not know a file.
    """
    import wfdb

    root = Path(root)
    try:
        root.mkdir(parents=True, exist_ok=True)
        if tables:
            wfdb.dl_files(database, str(root), list(tables))
        records = [name for name in wfdb.get_record_list(database) if name.startswith(tuple(inside))]
        wfdb.dl_database(database, str(root), records=records, annotators=None)
    except Exception as error:
        # wfdb passes on whatever urllib3, requests or the file system raise.
        raise DataError(
            f"{database} could not be fetched from PhysioNet ({type(error).__name__}: {str(error)[:200]}). Without a "
            f"network here: fetch https://physionet.org/content/{database}/ elsewhere, copy it to {root} and give "
            "that folder as data_root"
        ) from error
