"""One ECG from a file of whatever common form: WFDB, MATLAB files of the Challenges and of CPSC2018, tables of text.

The form is told by the file's name and content, never guessed from the tracing. What a file does not say itself (the
sampling rate of a table without times, its unit) is asked for and not assumed, unless millivolts are plainly meant.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ecglib.data.ecg_table import read_table
from ecglib.data.wfdb_io import read_header, read_record
from ecglib.errors import DataError, SignalError
from ecglib.paths import expand
from ecglib.signals import LEADS, canonical_lead, order_leads, to_millivolt, unit_per_millivolt

LOWEST_HZ, HIGHEST_HZ = 50.0, 4000.0  # what cardiographs record at, with room on either side
LEAST_SPAN_MV, MOST_SPAN_MV = 0.1, 20.0  # of the lead with the largest one, between the 0.5th and 99.5th percentile
CPSC2018_HZ = 500.0  # the same in all of its files, which do not say it
TABLES = (".csv", ".txt", ".tsv")
FORMS = (
    "WFDB (.hea beside .dat or .mat), MATLAB files of the Challenges (.mat with val) or of CPSC2018 (.mat with ECG), "
    "and tables of text (.csv, .tsv, .txt) with one column per lead"
)
FOLLOWING = ("III", "aVR", "aVL", "aVF")  # from I and II
FRANK = ("vx", "vy", "vz")  # recorded beside the twelve in the PTB Diagnostic ECG Database


class Leads:
    """`order_leads`, which makes III, aVR, aVL and aVF where a file has none of them; ``derived`` says that it did.

    Frank's leads are left out; ``left_out`` names them.
    """

    def __init__(self) -> None:
        self.derived, self.left_out = False, ()

    def __call__(self, ecg: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """(S, T) with its lead names -> (12, T), in the order of LEADS; SignalError as `order_leads`."""
        kept = [row for row, name in enumerate(names) if str(name).strip().lower() not in FRANK]
        if len(kept) < len(names) == len(ecg):
            self.left_out = tuple(name for row, name in enumerate(names) if row not in kept)
            ecg, names = ecg[kept], [names[row] for row in kept]
        own = [canonical_lead(name) for name in names]
        self.derived = len(own) == len(ecg) and sorted(own) == sorted(set(LEADS) - set(FOLLOWING))
        if not self.derived:
            return order_leads(ecg, names)
        one, two = ecg[own.index("I")], ecg[own.index("II")]
        # Einthoven 1913: II = I + III; Goldberger 1942: each limb against the mean of the other two
        following = np.stack([two - one, -(one + two) / 2, one - two / 2, two - one / 2])
        return order_leads(np.concatenate([ecg, following]), [*own, *FOLLOWING])


def read_ecg(
    path: str | os.PathLike, *, sampling_rate_hz: float | None = None, unit: str = ""
) -> tuple[np.ndarray, float, dict[str, Any]]:
    """One 12-lead record of any form in ``FORMS``; of WFDB and of tables also one of eight leads, I, II and V1 to V6.

    Args:
        path: the file; for WFDB the header, the data or the name of both without suffix. ``~`` and ``$NAMES`` are
            expanded, a relative path counts from the project's root.
        sampling_rate_hz: for files that do not say it; where one does, it must agree.
        unit: nV, uV, mV or V, likewise.

    Returns:
        (12, T) float32 millivolts in the order of LEADS, missing samples NaN; the sampling rate in Hz; and ``about``:
        ``file`` (name alone), ``form``, ``samples``, ``duration_s``, ``age`` and ``sex`` ("" where unknown), and
        ``derived``, the leads that were made from I and II because the file has none of the four, and ``left_out``,
        Frank's leads if it has them.

    Raises:
        DataError: no such file, or a form that is not known.
        SignalError: a file of a known form whose content cannot be used, or which leaves open what ``sampling_rate_hz``
            or ``unit`` must then say; also an amplitude that no heart has. The message names the file and the remedy.
    """
    _check_given(sampling_rate_hz, unit)
    found, leads = _find(path), Leads()
    try:
        ecg_mv, hz, form, facts = _read(found, sampling_rate_hz, unit, leads)
        _check(ecg_mv, hz, sampling_rate_hz, unit)
    except SignalError as error:
        said = str(error)
        raise SignalError(said if said.startswith(found.name) else f"{found.name}: {said}") from error
    about = {"file": found.name, "form": form, "samples": ecg_mv.shape[1], "duration_s": ecg_mv.shape[1] / hz,
             "derived": FOLLOWING if leads.derived else (), "left_out": leads.left_out}  # fmt: skip
    return ecg_mv.astype(np.float32, copy=False), float(hz), about | {"age": "", "sex": ""} | facts


def _find(path: str | os.PathLike) -> Path:
    """The file that says what the record is: a header goes before its data."""
    if not str(path).strip():
        raise DataError(f"no file named; give the path of a record: {FORMS}")
    given = expand(path)
    header = given.with_suffix(".hea") if given.suffix in (".dat", ".mat") else given.with_name(given.name + ".hea")
    if header.is_file() and given.suffix != ".hea" and given.suffix not in TABLES:
        return header
    if not given.is_file():
        what = "is a folder" if given.is_dir() else "does not exist"
        raise DataError(f"{path}: this file {what}; give the path of one record, from the project's folder: {FORMS}")
    if given.suffix == ".dat":
        raise DataError(f"{given.name}: a .dat needs its header {given.stem}.hea beside it, which says what it holds")
    if given.suffix.lower() not in (".hea", ".mat", *TABLES):
        raise DataError(f"{given.name}: a file of unknown form; known are {FORMS}")
    return given


def _read(path: Path, hz: float | None, unit: str, leads: Leads) -> tuple[np.ndarray, float, str, dict[str, str]]:
    suffix = path.suffix.lower()
    if suffix == ".hea":
        ecg_mv, own_hz = read_record(path, leads)
        if unit and to_millivolt(1.0, unit) != 1.0:
            raise SignalError(f"its header gives the units; leave unit = {unit!r} out")
        header = read_header(path)
        age, sex = header.comment("age"), header.comment("sex")
        return ecg_mv, own_hz, "WFDB", {"age": "" if age.lower() == "nan" else age, "sex": sex}
    if suffix == ".mat":
        return _read_matlab(path, hz, unit)
    ecg_mv, own_hz = read_table(path, hz, unit, leads)
    return ecg_mv, own_hz, "table of text", {}


def _read_matlab(path: Path, hz: float | None, unit: str) -> tuple[np.ndarray, float, str, dict[str, str]]:
    from scipy.io import loadmat

    try:
        held = {name: value for name, value in loadmat(path).items() if not name.startswith("__")}
    except Exception as error:
        # scipy raises whatever a damaged MATLAB file makes it run into.
        raise SignalError(
            f"no MATLAB file that can be read ({type(error).__name__}: {error}); copy it again, or save it with "
            "version 7 or older"
        ) from error
    if "ECG" in held and held["ECG"].dtype.names and "data" in held["ECG"].dtype.names:
        ecg = held["ECG"].flat[0]
        facts = {key: str(np.squeeze(ecg[key])) for key in ("age", "sex") if key in ecg.dtype.names}
        return to_millivolt(_twelve(ecg["data"], "ECG.data"), unit or "mV"), CPSC2018_HZ, "CPSC2018", facts
    if "val" not in held:
        raise SignalError(
            f"a MATLAB file with {', '.join(held) or 'nothing'} in it, not val (Challenge) or ECG (CPSC2018); write "
            "the tracing to a .csv with one column per lead"
        )
    if hz is None or not unit:
        raise SignalError(
            f"a Challenge's file without its header {path.stem}.hea; put it there, or give sampling_rate_hz and unit "
            "(the Challenges store uV)"
        )
    return to_millivolt(_twelve(held["val"], "val"), unit), hz, "MATLAB", {}


def _twelve(x: Any, name: str) -> np.ndarray:
    """(12, T) float32 of numbers in the order of LEADS, or SignalError."""
    x = np.asarray(x)
    if x.ndim != 2 or len(x) != len(LEADS) or x.dtype.kind not in "fiu":
        raise SignalError(f"{name} is {x.dtype} {x.shape}; expected (12, T) numbers, leads {', '.join(LEADS)}")
    return np.ascontiguousarray(x, dtype=np.float32)


def _check_given(hz: float | None, unit: str) -> None:
    """Refuse what no file can have, by the name and the value that it was given."""
    if hz is not None and not LOWEST_HZ <= hz <= HIGHEST_HZ:
        raise SignalError(
            f"sampling_rate_hz = {hz:g}: an ECG has {LOWEST_HZ:g} to {HIGHEST_HZ:g} samples a second; give the rate at "
            "which the file was recorded"
        )
    try:
        unit_per_millivolt(unit or "mV")
    except SignalError as error:
        raise SignalError(f"unit = {unit!r}: unknown unit; give nV, uV, mV or V") from error


def _check(ecg_mv: np.ndarray, hz: float, asked_hz: float | None, unit: str) -> None:
    """Refuse a rate or an amplitude that no cardiograph gives."""
    if asked_hz is not None and abs(asked_hz - hz) > 0.01 * hz:
        raise SignalError(f"the file says {hz:g} Hz, sampling_rate_hz says {asked_hz:g}; leave it out or mend the file")
    if not LOWEST_HZ <= hz <= HIGHEST_HZ:
        raise SignalError(f"the file says {hz:g} Hz, where an ECG has {LOWEST_HZ:g} to {HIGHEST_HZ:g}: mend the file")
    if ecg_mv.shape[1] == 0 or not np.isfinite(ecg_mv).any():
        raise SignalError("there is no sample in it; copy it again, or export it anew")
    spans = [np.subtract(*np.percentile(lead[np.isfinite(lead)], [99.5, 0.5])) for lead in ecg_mv
             if np.isfinite(lead).any()]  # fmt: skip
    widest_mv = float(max(spans))
    if not LEAST_SPAN_MV <= widest_mv <= MOST_SPAN_MV:
        remedy = f"unit = {unit!r} is wrong, give another one" if unit else "name the unit"
        raise SignalError(
            f"the largest lead spans {widest_mv:.3g} mV, where an ECG spans {LEAST_SPAN_MV:g} to {MOST_SPAN_MV:g}: "
            f"another unit is meant, or this is no ECG; {remedy} (uV, mV or V)"
        )
