"""An ECG as a table of text: one column per lead, named in the first row in any order and case, time beside them.

``lead_I``, ``AVR`` and ``V1 (uV)`` name leads, too; ``time``, ``t`` or ``ms`` is the optional column of times.
"""

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.data.wfdb_io import Order
from ecglib.errors import SignalError
from ecglib.signals import LEADS, canonical_lead, order_leads, to_millivolt

_UNIT = r"nV|[uµμ]V|mV|V"
_LEAD = re.compile(
    rf"(?:lead|ecg)?[\s_]*(?P<lead>I{{1,3}}|aV[RLF]|V[1-6])[\s_]*[(\[]?\s*(?P<unit>{_UNIT})?\s*[)\]]?", re.IGNORECASE
)
_TIME = re.compile(r"(?:time|t|seconds|sec|s|milliseconds|ms)[\s_]*[(\[]?\s*(?:ms|sec|s)?\s*[)\]]?", re.IGNORECASE)
_PLAUSIBLE_HZ = (50.0, 4000.0)
_SEPARATORS = ("\t", ";", ",")


def read_table(
    path: Path, sampling_rate_hz: float | None, unit: str, order: Order = order_leads
) -> tuple[np.ndarray, float]:
    """(12, T) millivolts in the order of LEADS, empty cells NaN, and the rate from the times or as given.

    Without a unit in header or argument the numbers are taken for millivolts; whoever calls checks the amplitude.
    ``order`` brings the leads of the file into order.

    Raises:
        SignalError: no header, leads missing, doubled or unknown, cells that are no numbers, times that do not run
            evenly, no rate, or two units.
    """
    table = _cells(path)
    leads, times = _columns(list(table.columns), path)
    units = {u.replace("µ", "u").replace("μ", "u") for _, _, u in leads if u}
    if len({u.lower() for u in units}) > 1:
        raise SignalError(f"its columns have the units {', '.join(sorted(units))}; write one unit for all leads")
    own = next(iter(units), "")
    if own and unit and own.lower() != unit.lower():
        raise SignalError(f"its header says {own}, unit = {unit!r}; leave it out or mend the header")
    ecg = np.stack([_numbers(table.iloc[:, column], name) for column, name, _ in leads])
    ecg_mv = to_millivolt(order(ecg, [name for _, name, _ in leads]), own or unit or "mV")
    if times is not None:
        column, name = times
        return ecg_mv, _rate(_numbers(table.iloc[:, column], name), name)
    if sampling_rate_hz is None:
        raise SignalError("no column of times and no sampling rate; give sampling_rate_hz")
    if not np.isfinite(sampling_rate_hz) or sampling_rate_hz <= 0:
        raise SignalError(f"sampling_rate_hz = {sampling_rate_hz}: it must be a positive number")
    return ecg_mv, float(sampling_rate_hz)


def _cells(path: Path) -> pd.DataFrame:
    """The table as text, header in ``columns``; the separator is that of the first row."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SignalError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SignalError(f"is no text in UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from error
    lines = text.lstrip("\n").splitlines()
    if len(lines) < 2:
        raise SignalError("is empty; expected a first row with the names of twelve leads and a row per sample")
    separator = next((s for s in _SEPARATORS if s in lines[0]), r"\s+")
    decimal = "," if separator in (";", "\t") and "," in lines[1] and "." not in lines[1] else "."
    try:
        table = pd.read_csv(io.StringIO("\n".join(lines)), sep=separator, dtype=str, header=None, engine="python",
                            skipinitialspace=True, keep_default_na=False)  # fmt: skip
    except pd.errors.ParserError as error:
        raise SignalError(f"its rows differ in length ({error}); each needs one cell per column") from error
    names = table.iloc[0].fillna("").astype(str).str.strip().tolist()
    cells = table.iloc[1:].fillna("")
    if decimal == ",":
        cells = cells.map(lambda cell: cell.replace(",", "."))
    cells.columns = names
    return cells.reset_index(drop=True)


def _columns(names: list[str], path: Path) -> tuple[list[tuple[int, str, str]], tuple[int, str] | None]:
    """(column, lead, unit) of every lead and (column, name) of the times; any other column is refused."""
    leads, times, other = [], [], []
    for column, name in enumerate(names):
        lead, time = _LEAD.fullmatch(name), _TIME.fullmatch(name)
        if lead:
            leads.append((column, canonical_lead(lead["lead"]), lead["unit"] or ""))
        elif time:
            times.append((column, name))
        else:
            other.append(name)
    if not leads:
        raise SignalError(f"its first row is {', '.join(names)[:60]!r}; it must name the leads {', '.join(LEADS)}")
    if len(other) > len(names) / 2:
        raise SignalError(
            f"its first row names {len(leads)} of the twelve leads and {len(other)} other columns, such as "
            f"{other[0][:20]!r}; a table has one column per lead and their names in the first row: turn it over"
        )
    if other or len(times) > 1:
        odd = [repr(name[:20]) if name else "one without a name" for name in other or [name for _, name in times]]
        more = f" and {len(odd) - 5} more" if len(odd) > 5 else ""
        raise SignalError(
            f"columns {', '.join(odd[:5])}{more}; a table has the twelve leads, at most one column of times and "
            "nothing else: remove the others"
        )
    return leads, (times[0] if times else None)


def _numbers(cells: pd.Series, name: str) -> np.ndarray:
    """Cells of one column as float64, empty ones and NaN as NaN."""
    stripped = cells.str.strip()
    values = pd.to_numeric(stripped.replace("", "nan"), errors="coerce")
    bad = values.isna() & ~stripped.str.lower().isin(["", "nan", "na", "-"])
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise SignalError(
            f"row {row + 2} of column {name} is {stripped[row]!r}, which is no number; leave missing samples empty"
        )
    return values.to_numpy(dtype=float)


def _rate(times: np.ndarray, name: str) -> float:
    """Samples a second of a column of times in s or ms, which the name says or the step makes plain."""
    if len(times) < 2 or not np.isfinite(times).all():
        raise SignalError(f"column {name!r} of times has gaps; number all samples, or drop it and give the rate")
    step = (times[-1] - times[0]) / (len(times) - 1)
    even = times[0] + step * np.arange(len(times))
    if step <= 0 or np.abs(times - even).max() > max(step, 1e-12):
        raise SignalError(
            f"the times of column {name!r} do not run evenly; resample the record, or drop the column and give "
            "sampling_rate_hz"
        )
    said = _said_unit(name)
    low, high = _PLAUSIBLE_HZ
    rates = {"s": 1.0 / step, "ms": 1000.0 / step}
    fitting = [hz for unit, hz in rates.items() if (not said or unit == said) and low <= 1.001 * hz <= 1.002 * high]
    if len(fitting) != 1:
        raise SignalError(
            f"column {name!r} has a step of {step:g}, which as {said or 's or ms'} is no sampling rate between "
            f"{low:g} and {high:g} Hz; write times in s or ms, or drop the column and give sampling_rate_hz"
        )
    hz = fitting[0]
    return float(round(hz)) if abs(hz - round(hz)) < 1e-3 * hz else hz


def _said_unit(name: str) -> str:
    """``s``, ``ms`` or "" as the name of a column of times says."""
    found = re.search(r"(ms|milliseconds|seconds|sec|(?<![a-z])s)\W*$", name.strip(), re.IGNORECASE)
    return "" if not found else "ms" if found[1].lower().startswith("m") else "s"
