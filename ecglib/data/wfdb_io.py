"""Reading a 12-lead WFDB record with every check that its header allows.

``wfdb`` reads every form of WFDB record, but parsing one header costs it about 3.6 ms (look-ups in data
frames), nine tenths of the time of a 10-second record. Nearly all files of the data sets here have one plain
form: one segment, one file, format 16, one sample per frame. That form is read here directly; any other
form goes to ``wfdb``. A test holds both to the same result on every real record.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ecglib.errors import SignalError
from ecglib.signals import LEADS, order_leads, unit_per_millivolt

_RECORD_LINE = re.compile(r"(?P<name>[^\s/]+)\s+(?P<n_sig>\d+)\s+(?P<hz>\d+(?:\.\d+)?)\s+(?P<samples>\d+)(?:\s.*)?")
_SIGNAL_LINE = re.compile(
    r"(?P<file>\S+)\s+16(?:x1)?(?:\+(?P<offset>\d+))?"
    r"\s+(?P<gain>-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)(?:\((?P<baseline>-?\d+)\))?(?:/(?P<unit>\S+))?"
    r"\s+(?P<resolution>\d+)\s+(?P<zero>-?\d+)\s+(?P<first>-?\d+)\s+(?P<checksum>-?\d+)\s+(?P<block>\d+)"
    r"\s+(?P<lead>\S.*)"
)
_MISSING = -32768  # WFDB's mark of a missing sample in format 16
_COPY = "copy header and data again, both from one place"


@dataclass(frozen=True)
class Header:
    """What a header says; ``signals`` is None when the form is not plain, and wfdb has to read it."""

    path: Path
    n_sig: int
    hz: float
    samples: int
    signals: tuple[dict[str, str | None], ...] | None
    comments: tuple[str, ...]

    def comment(self, key: str) -> str:
        """The value of a comment line ``# key: value`` (any case, blanks ignored), or "" when there is none."""
        for line in self.comments:
            name, colon, value = line.partition(":")
            if colon and name.strip().lower() == key.lower():
                return value.strip()
        return ""


def read_header(path: Path) -> Header:
    """Parse ``path`` (ending in .hea). SignalError when it is missing or no header at all."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SignalError(f"{path.name} cannot be read: {error.strerror}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    comments = tuple(line.lstrip("# ").strip() for line in lines if line.startswith("#"))
    lines = [line for line in lines if not line.startswith("#")]
    if not lines:
        raise SignalError(f"{path.name} is empty: no WFDB header; {_COPY}")
    # Some Challenge files name the record «A0001.mat» in the first line, which wfdb refuses to parse.
    record = _RECORD_LINE.fullmatch(lines[0])
    if record is None:
        return Header(path, 0, 0.0, 0, None, comments)
    n_sig = int(record["n_sig"])
    if len(lines) - 1 != n_sig:
        raise SignalError(f"{path.name} announces {n_sig} signals and describes {len(lines) - 1}; {_COPY}")
    found = [_SIGNAL_LINE.fullmatch(line) for line in lines[1:]]
    plain = all(found) and len({(m["file"], m["offset"]) for m in found}) == 1
    signals = tuple(m.groupdict() for m in found) if plain and found else None
    return Header(path, n_sig, float(record["hz"]), int(record["samples"]), signals, comments)


Order = Callable[[np.ndarray, Sequence[str]], np.ndarray]  # (S, T) and its lead names -> (12, T), as `order_leads`


def read_record(path: Path, order: Order = order_leads) -> tuple[np.ndarray, float]:
    """(12, T) float32 millivolts in the order of LEADS, and the sampling rate, of the record with header ``path``.

    Missing samples are NaN. ``order`` brings the leads of the file into order. SignalError says what is wrong: no such
    file, data shorter or longer than the header says, first sample or checksum that do not fit (the data are not those
    of this header), lead missing, doubled or unknown, unknown unit, no gain.
    """
    header = read_header(path)
    if header.signals is None:
        return _read_with_wfdb(path, order)
    leads = [s["lead"] for s in header.signals]
    _check_leads(path.name, leads, order)
    digital = _plain_samples(header)
    _check_samples(
        path.name,
        digital,
        [int(s["first"]) for s in header.signals],
        [int(s["checksum"]) for s in header.signals],
        leads,
    )
    ecg_mv = _physical(
        path.name,
        digital,
        leads,
        [float(s["gain"]) for s in header.signals],
        [int(s["baseline"] if s["baseline"] is not None else s["zero"]) for s in header.signals],
        [s["unit"] or "mV" for s in header.signals],
        digital.T == _MISSING,
    )
    return order(ecg_mv, leads), header.hz


def _check_leads(name: str, leads: list[str], order: Order) -> None:
    """Refuse what ``order`` would, before the data are looked at; of too few leads say that it takes twelve."""
    try:
        order(np.empty((len(leads), 0), np.float32), leads)
    except SignalError as error:
        if len(leads) >= len(LEADS):
            raise
        raise SignalError(
            f"{name} has the leads {', '.join(map(str, leads))}, and a record needs twelve: {error}"
        ) from error


def _plain_samples(header: Header) -> np.ndarray:
    """(T, S) int16 as the file holds them, after comparing its size with the header."""
    data = header.path.with_name(header.signals[0]["file"])
    offset = int(header.signals[0]["offset"] or 0)
    try:
        found = data.stat().st_size
        raw = np.fromfile(data, dtype="<i2", offset=offset)
    except OSError as error:
        raise SignalError(f"{data.name} cannot be read: {error.strerror or error}") from error
    expected = offset + 2 * header.n_sig * header.samples
    if found != expected:
        what = "cut short" if found < expected else "longer than its header says"
        raise SignalError(
            f"{data.name} is {what}: {found} bytes, but {header.path.name} describes {header.n_sig} signals of "
            f"{header.samples} samples ({expected} bytes); {_COPY}"
        )
    return raw.reshape(header.samples, header.n_sig)


def _check_samples(name: str, digital: np.ndarray, first: list[int], checksums: list[int], leads: list[str]) -> None:
    """Refuse data that are not those of this header, as far as it says anything of them.

    Some programs leave the checksums of all leads at 0, and the first samples too: nothing can be compared then.
    """
    sums = digital.sum(axis=0, dtype=np.int64)
    for s, lead in enumerate(leads):
        if any(checksums) and (int(sums[s]) - checksums[s]) % 65536:
            raise SignalError(f"checksum of lead {lead} does not fit: {name} and its data disagree; {_COPY}")
        if (any(checksums) or any(first)) and len(digital) and int(digital[0, s]) != first[s]:
            raise SignalError(f"first sample of lead {lead} does not fit: {name} and its data disagree; {_COPY}")


def _physical(
    name: str,
    digital: np.ndarray,
    leads: list[str],
    gains: list[float],
    baselines: list[int],
    units: list[str],
    missing: np.ndarray,
) -> np.ndarray:
    """(S, T) float32 millivolts of (T, S) digital values, ``missing`` (S, T) ones NaN."""
    if min(gains) <= 0:
        lead = leads[gains.index(min(gains))]
        raise SignalError(f"{name} gives lead {lead} a gain of {min(gains):g}: not calibrated in volts")
    gain_per_mv = np.array(gains) * [unit_per_millivolt(unit) for unit in units]
    ecg_mv = digital.T.astype(np.float32, order="C")
    if any(baselines):
        ecg_mv -= np.array(baselines, dtype=np.float32)[:, None]
    ecg_mv *= (1.0 / gain_per_mv).astype(np.float32)[:, None]
    if missing.any():
        ecg_mv[missing] = np.nan
    return ecg_mv


def _read_with_wfdb(path: Path, order: Order) -> tuple[np.ndarray, float]:
    import wfdb

    try:
        # wfdb marks a missing sample of any format as the smallest int32 or int64 only in physical units.
        record = wfdb.rdrecord(str(path.with_suffix("")), physical=False)
        missing = np.isnan(wfdb.rdrecord(str(path.with_suffix(""))).p_signal)
    except FileNotFoundError as error:
        missed = Path(error.filename or "").name
        raise SignalError(f"{missed} cannot be read: {error.strerror}; {path.name} needs it beside it") from error
    except Exception as error:
        # wfdb raises whatever its parsing runs into; the record is unreadable either way.
        raise SignalError(
            f"{path.name} is no header of WFDB, or its data are damaged: wfdb cannot read it "
            f"({type(error).__name__}: {error}); {_COPY}"
        ) from error
    _check_leads(path.name, record.sig_name, order)
    digital = np.asarray(record.d_signal)
    if record.sig_len is not None and len(digital) != record.sig_len:
        raise SignalError(f"{path.name} announces {record.sig_len} samples and has {len(digital)}; {_COPY}")
    if len(digital) and record.checksum is not None and None not in record.checksum:
        _check_samples(path.name, digital, list(digital[0]), list(record.checksum), record.sig_name)
    scales = record.adc_gain, record.baseline, record.units
    ecg_mv = _physical(path.name, digital, record.sig_name, *scales, missing.T)
    return order(ecg_mv, record.sig_name), float(record.fs)
