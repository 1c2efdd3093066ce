"""What two sets of ECGs are compared by: measurements of the waves, and the spectrum, record by record, in groups.

Nothing here reads a label. The waves are measured by `ecglib.delineate.measure_ecg`, which treats simulated and real
records alike; the spectrum is that of the record as it was stored, unfiltered.
"""

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.signal import butter, sosfiltfilt

from ecglib import conventions, delineate, signals
from ecglib.data.store import RecordStore
from ecglib.data.workers import WorkerPool, main_module_hidden
from ecglib.delineate import find_beats, measure_ecg
from ecglib.errors import ParameterError, SignalError
from ecglib.paths import atomic_write, cache_dir, sha256_of
from ecglib.signals import LEADS

INTERVALS = ("rate_bpm", "rr_std_ms", "pr_ms", "p_ms", "qrs_ms", "qt_ms", "qtc_ms")
AXES = ("axis_deg", "p_axis_deg", "t_axis_deg")
SPECTRUM_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")  # the other four follow from I and II
BANDS_HZ = ((0.05, 0.5), (0.5, 1), (1, 3), (3, 8), (8, 20), (20, 40), (40, 48))
FAST_BANDS_HZ = ((52, 62), (70, 100), (100, 150))  # only records of 400 Hz and more hold them
_WHOLE_HZ = (0.05, 48.0)  # what a band's power is relative to; below the mains of Europe
_WAVES = ("q", "r", "s", "st", "t")
_CHUNK = 32
_ALONE = 100  # records that one process has measured before workers would have started


def _bands(hz: float) -> tuple[tuple[float, float], ...]:
    return (*BANDS_HZ, *(FAST_BANDS_HZ if hz >= 400 else ()))


def _band_name(lead: str, band: tuple[float, float]) -> str:
    return f"power_{lead}_{band[0]:g}_{band[1]:g}"


GROUPS: dict[str, tuple[str, ...]] = {
    "intervals": INTERVALS,
    "axes": tuple(f"{part}_{axis}" for axis in AXES for part in ("sin", "cos")),
    "P": ("p_amp_mv",),
    **{wave.upper(): tuple(f"{wave}_mv_{lead}" for lead in LEADS) for wave in _WAVES},
    "spectrum": (
        *(_band_name(lead, band) for lead in SPECTRUM_LEADS for band in (*BANDS_HZ, *FAST_BANDS_HZ)),
        "noise_limb",
        "noise_chest",
    ),
}
# Groups of groups: a wave can be right by itself and wrong beside the others
_WHOLES = {
    "Q, R and S": ("Q", "R", "S"),
    "ST and T": ("ST", "T"),
    "all but the spectrum": tuple(name for name in GROUPS if name != "spectrum"),
    "everything": tuple(GROUPS),
}
WHOLES = tuple(_WHOLES)
GROUPS |= {whole: tuple(name for group in parts for name in GROUPS[group]) for whole, parts in _WHOLES.items()}


def features_of(group: str) -> tuple[str, ...]:
    """Names of a group's measurements; ParameterError with the known groups when there is none of that name."""
    if group not in GROUPS:
        raise ParameterError(f"no group of measurements is called {group!r}; choose one of {', '.join(GROUPS)}")
    return GROUPS[group]


def spoken(feature: str) -> str:
    """A measurement as a reader says it: ``r_mv_V5`` -> «R in V5 (mV)»."""
    if feature.startswith("power_"):
        _, lead, low, high = feature.split("_")
        return f"power {low} to {high} Hz in {lead}"
    if feature.startswith("noise_"):
        return f"noise between beats, {feature.removeprefix('noise_')} leads"
    wave, _, lead = feature.partition("_mv_")
    if lead:
        return f"{wave.upper()} in {lead} (mV)"
    for part in ("sin", "cos"):
        if feature.startswith(part + "_"):
            return f"{part} of {spoken(feature.removeprefix(part + '_'))}"
    return _SPOKEN.get(feature, feature)


_SPOKEN = {
    "rate_bpm": "rate (1/min)",
    "rr_std_ms": "SD of RR (ms)",
    "pr_ms": "PR (ms)",
    "p_ms": "P duration (ms)",
    "qrs_ms": "QRS (ms)",
    "qt_ms": "QT (ms)",
    "qtc_ms": "QTc (ms)",
    "axis_deg": "QRS axis (degrees)",
    "p_axis_deg": "P axis (degrees)",
    "t_axis_deg": "T axis (degrees)",
    "p_amp_mv": "P in II (mV)",
}


def measurements(ecgs: RecordStore | np.ndarray, hz: float | None = None, *, workers: int = 2) -> pd.DataFrame:
    """One row per record: ``id``, ``patient``, ``failed``, ``weight`` (1) and every measurement of `GROUPS`, NaN where
    a wave is not to be told; axes also in degrees.

    A record that cannot be measured stays in the table: ``failed`` says why (else ""), its waves are NaN and its
    spectrum is there. The zeros after the end of a short record are not measured. A store's table is kept in the cache
    under its fingerprint and this code's hash.

    Args:
        ecgs: a store, or (N, 12, T) millivolts, whose records count as one patient each.
        hz: sampling rate of an array; a store knows its own.

    Raises:
        ParameterError: an array without ``hz`` or of another shape.
    """
    if isinstance(ecgs, RecordStore):
        kept = cache_dir() / "measurements" / f"{ecgs.fingerprint}-{_code_hash()}.parquet"
        if not kept.is_file():
            buffer = io.BytesIO()
            _measured(ecgs, workers).to_parquet(buffer, index=False)
            atomic_write(kept, buffer.getvalue())
        return pd.read_parquet(kept)
    ecgs = np.asarray(ecgs)
    if ecgs.ndim != 3 or ecgs.shape[1] != len(LEADS) or not hz:
        raise ParameterError(f"measurements take a store, or (N, 12, T) millivolts with hz; got {ecgs.shape}, hz={hz}")
    names = [f"record-{row}" for row in range(len(ecgs))]
    rows = [_one(ecg, hz) for ecg in ecgs]
    return _table(names, names, rows)


def _measured(store: RecordStore, workers: int) -> pd.DataFrame:
    jobs = [(store, start, min(start + _CHUNK, len(store))) for start in range(0, len(store), _CHUNK)]
    workers = min(workers, os.cpu_count() or 1)
    if workers == 1 or len(store) < _ALONE:
        parts = list(map(_chunk, jobs))
    else:
        with main_module_hidden(), WorkerPool(workers) as pool:
            parts = list(pool.map(_chunk, jobs))
    records = store.records
    return _table(records["id"], records["patient"], [row for part in parts for row in part])


def _table(ids, patients, rows: list[dict]) -> pd.DataFrame:
    table = pd.DataFrame(rows).reindex(columns=["failed", *AXES, *GROUPS["everything"]])
    table.insert(0, "weight", 1.0)
    table.insert(0, "patient", [str(patient) for patient in patients])
    table.insert(0, "id", [str(record) for record in ids])
    return table


def _chunk(job: tuple[RecordStore, int, int]) -> list[dict]:
    store, start, stop = job
    rows, hz = np.arange(start, stop), store.sampling_rate_hz
    long_s = store.records.get("duration_s", pd.Series(np.inf, index=store.records.index)).to_numpy()[rows]
    return [_one(ecg[:, : _samples(s, hz, store.samples)], hz) for ecg, s in zip(store.read(rows), long_s, strict=True)]


def _samples(duration_s: float, hz: float, most: int) -> int:
    return most if not duration_s * hz < most else int(duration_s * hz)


def _one(ecg_mv: np.ndarray, hz: float) -> dict:
    row = dict(_spectrum(ecg_mv, hz))
    try:
        waves = measure_ecg(ecg_mv, hz)
    except SignalError as error:
        return row | {"failed": str(error)}
    for axis in AXES:
        angle = np.radians(waves[axis])
        row |= {f"sin_{axis}": np.sin(angle), f"cos_{axis}": np.cos(angle)}
    return row | waves | {"failed": ""}


def _spectrum(ecg_mv: np.ndarray, hz: float) -> Iterator[tuple[str, float]]:
    """Log10 of each band's share of the power from 0.05 to 48 Hz, and of the noise between beats in mV."""
    ecg_mv, _ = signals.fill_missing(np.asarray(ecg_mv, dtype=np.float64))
    ecg_mv = ecg_mv[[LEADS.index(lead) for lead in SPECTRUM_LEADS]]
    ecg_mv = ecg_mv - ecg_mv.mean(axis=1, keepdims=True)
    power = np.abs(np.fft.rfft(ecg_mv * np.hanning(ecg_mv.shape[1]), axis=1)) ** 2
    at_hz = np.fft.rfftfreq(ecg_mv.shape[1], 1.0 / hz)

    def total(low: float, high: float) -> np.ndarray:
        return power[:, (at_hz >= low) & (at_hz < high)].sum(axis=1)

    whole = total(*_WHOLE_HZ)
    with np.errstate(divide="ignore", invalid="ignore"):
        for band in _bands(hz):
            share = np.log10(total(*band) / whole)  # a flat lead has none
            yield from zip(
                (_band_name(lead, band) for lead in SPECTRUM_LEADS),
                np.where(np.isfinite(share), share, np.nan).tolist(),
                strict=True,
            )
        noise = np.log10(_between_beats(ecg_mv, hz))
    noise = np.where(np.isfinite(noise), noise, np.nan)
    for name, rows in (("noise_limb", noise[:2]), ("noise_chest", noise[2:])):
        yield name, float(np.nanmean(rows)) if np.isfinite(rows).any() else np.nan


def _between_beats(ecg_mv: np.ndarray, hz: float) -> np.ndarray:
    """Robust standard deviation above 20 Hz, lead by lead (S,), outside of 120 ms on either side of every QRS."""
    band = butter(2, (20.0, min(100.0, 0.45 * hz)), "band", fs=hz, output="sos")
    fast = sosfiltfilt(band, ecg_mv, axis=-1)
    quiet = np.ones(ecg_mv.shape[1], dtype=bool)
    for peak in find_beats(ecg_mv, hz):
        quiet[max(0, peak - round(0.12 * hz)) : peak + round(0.12 * hz)] = False
    if not quiet.any():
        return np.full(len(ecg_mv), np.nan)
    return 1.4826 * np.median(np.abs(fast[:, quiet]), axis=1)


def _code_hash() -> str:
    """Of all code that a measurement depends on: a table from older code is not taken for a new one."""
    files = [Path(of.__file__) for of in (delineate, conventions, signals)]
    return sha256_of([sha256_of(path) for path in (*files, Path(__file__))], 16)
