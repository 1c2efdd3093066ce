"""The table of records beside the signals of a store: columns, checks, parquet."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ecglib.data.labels import TASKS
from ecglib.errors import StoreError

if TYPE_CHECKING:
    import pandas as pd

LABELS = "labels/"  # column prefix: one list of classes per record and task
TEXT_COLUMNS = ("id", "patient", "report", "sex", "source")
LIST_COLUMNS = ("findings", "flat_leads")


def check_records(records: "pd.DataFrame") -> "pd.DataFrame":
    """A copy with all columns of a store in their types; columns of its own are kept.

    Only ``id`` must be there. Defaults: patient = id (each record its own patient, also where the patient is
    empty), report, sex and source empty, age NaN, fold 0. StoreError on a missing, empty or doubled id, on a sex
    other than F, M and "", and on a label that its task does not know.
    """
    import pandas as pd

    if "id" not in records.columns:
        raise StoreError("the table of records has no column 'id'")
    records = records.reset_index(drop=True).copy()
    for column in TEXT_COLUMNS:
        if column not in records.columns:
            records[column] = records["id"] if column == "patient" else ""
        values = [str(v) if isinstance(v, str) or not pd.isna(v) else "" for v in records[column]]
        records[column] = pd.Series(values, dtype=object)
    _check_ids(records["id"])
    records["patient"] = records["patient"].where(records["patient"] != "", records["id"])
    odd = sorted(set(records["sex"]) - {"F", "M", ""})
    if odd:
        raise StoreError(f"sex {odd[0]!r} in the table of records; write F, M or nothing")
    if "age" not in records.columns:
        records["age"] = np.nan
    records["age"] = pd.to_numeric(records["age"], errors="coerce").astype("float64")
    if "fold" not in records.columns:
        records["fold"] = 0
    records["fold"] = pd.to_numeric(records["fold"], errors="coerce").fillna(0).astype("int64")
    for column in records.columns:
        if column.startswith(LABELS) or column in LIST_COLUMNS:
            records[column] = _checked_lists(records, column)
    first = ["id", "patient", "report", "age", "sex", "fold", "source"]
    return records[first + [c for c in records.columns if c not in first]]


def _check_ids(ids: "pd.Series") -> None:
    if (ids == "").any():
        raise StoreError(f"record {int((ids == '').argmax())} has no id")
    twice = ids[ids.duplicated()]
    if len(twice):
        raise StoreError(
            f"record id {twice.iloc[0]!r} occurs more than once ({len(twice)} doubles); ids must be unique: "
            "remove the double rows from the source's table"
        )


def _checked_lists(records: "pd.DataFrame", column: str) -> "pd.Series":
    import pandas as pd

    lists = [[] if v is None or isinstance(v, float) else [str(x) for x in v] for v in records[column]]
    if column.startswith(LABELS):
        task = column.removeprefix(LABELS)
        if task not in TASKS:
            raise StoreError(f"labels for {task!r}, which is no task; the tasks are {', '.join(TASKS)}")
        odd = sorted({cls for classes in lists for cls in classes} - set(TASKS[task]))
        if odd:
            raise StoreError(f"label {odd[0]!r} is no class of {task}")
    return pd.Series(lists, dtype=object)


def write_table(records: "pd.DataFrame", path: Path) -> None:
    """Write a checked table as parquet; the same table gives the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    arrays = {}
    for column in records.columns:
        values = records[column]
        if column.startswith(LABELS) or column in LIST_COLUMNS:
            arrays[column] = pa.array(values.tolist(), type=pa.list_(pa.string()))
        elif column in TEXT_COLUMNS:
            arrays[column] = pa.array(values.tolist(), type=pa.string())
        else:
            arrays[column] = pa.Array.from_pandas(values)
    pq.write_table(pa.table(arrays), path, compression="zstd")


def read_table(path: Path) -> "pd.DataFrame":
    """The table of a store; list columns hold Python lists, text columns Python strings."""
    import pandas as pd
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    columns = {}
    for name in table.column_names:
        is_object = name.startswith(LABELS) or name in LIST_COLUMNS or name in TEXT_COLUMNS
        columns[name] = pd.Series(table[name].to_pylist(), dtype=object) if is_object else table[name].to_pandas()
    return pd.DataFrame(columns)
