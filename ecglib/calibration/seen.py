"""What a recording shows of the heart as a dipole, seen alike in real and in simulated ones; no label is read."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from ecglib.data.synthetic.population import FRONT_AT, FRONT_WIDTH, FRONTS
from ecglib.data.wfdb_io import read_header, read_record
from ecglib.delineate import WORK_HZ, p_wave, usual_beat
from ecglib.errors import DataError, EcgError
from ecglib.signals import LEADS

EIGHT = [LEADS.index(lead) for lead in ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")]
ANCHORS = [0, 1, 3]  # I, II and V2 among the eight: three leads as different as leads can be
WEIGHT = np.array([2.5, 2.5, 1, 1, 1, 1, 1, 1])  # six chest leads would outvote the limbs about x and y
HZ = 500.0
SAMPLES = 40  # of a QRS, whatever its length
P_PARTS = (0.3, 0.7)  # the right atrium and the left one
ST_S, T_FROM_S, T_TO_S = 0.06, 0.10, 0.40  # after the QRS


def recordings(folder: str | Path) -> Iterable[tuple[np.ndarray, float]]:
    """The signals (12, T) in mV and rates of the WFDB records of 12 leads and 500 Hz below ``folder``, in the order of
    their names.

    Slower copies of the same records, as PTB-XL has them, and records of other leads are left out.

    Raises:
        DataError: there is none.
    """
    found = {path: read_header(path) for path in sorted(Path(folder).rglob("*.hea"))}
    headers = [path for path, header in found.items() if header.hz == HZ and header.n_sig == len(LEADS)]
    if not headers:
        raise DataError(f"{folder} holds no WFDB record (.hea) of {HZ:g} Hz; name a folder of recordings of 12 leads")
    for header in headers:
        yield read_record(header)


def hearts(records: Iterable[tuple[np.ndarray, float]]) -> dict[str, np.ndarray]:
    """QRS (N, 8, SAMPLES), ST (N, 8), T (N, 8), P early and late (N, 2, 8) in mV of the median beats that can be
    measured; P is NaN where there is none to see."""
    found: dict[str, list] = {"qrs": [], "st": [], "t": [], "p": []}
    for ecg_mv, hz in records:
        try:
            beat, _, (begin, end) = usual_beat(ecg_mv, hz)
        except EcgError:
            continue
        wave = beat.ecg_mv[EIGHT]
        at = np.linspace(begin, end, SAMPLES)
        found["qrs"].append(np.stack([np.interp(at, np.arange(wave.shape[1]), lead) for lead in wave]))
        st, first, last = (end + round(s * WORK_HZ) for s in (ST_S, T_FROM_S, T_TO_S))
        found["st"].append(wave[:, st - 3 : st + 4].mean(axis=1))
        later = wave[:, first:last]
        found["t"].append(later[:, int((later**2).sum(axis=0).argmax())])
        p = p_wave(beat, begin)
        found["p"].append(np.full((2, 8), np.nan) if p is None else _at_parts(p[0][EIGHT], p[1], p[3]))
    return {name: np.array(values) for name, values in found.items()}


def _at_parts(leads: np.ndarray, onset: int, offset: int) -> np.ndarray:
    """(8, T) -> (2, 8): a wave early and late between its onset and offset."""
    at = [onset + round(part * (offset - onset)) for part in P_PARTS]
    return leads[:, at].T


def basis() -> np.ndarray:
    """The wavefronts over a QRS: (SAMPLES, FRONTS)."""
    at = np.linspace(0.0, 1.0, SAMPLES)[:, None]
    return np.exp(-0.5 * ((at - FRONT_AT) / FRONT_WIDTH) ** 2)


def dipoles(leads: np.ndarray, field: np.ndarray) -> np.ndarray:
    """(..., 8) millivolts -> (..., 3) through the lead vectors (8, 3), by weighted least squares."""
    return (leads * WEIGHT) @ np.linalg.pinv(field * WEIGHT[:, None]).T


def fronts(qrs: np.ndarray, field: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, 8, SAMPLES) -> (N, 3 * FRONTS) the dipole of every wavefront, by ridge regression, and (N, 6 * FRONTS) what
    V1-V6 show of each beyond it."""
    b = basis()
    inverse = np.linalg.solve(b.T @ b + 0.02 * SAMPLES / FRONTS * np.eye(FRONTS), b.T)  # (FRONTS, SAMPLES)
    leads = np.einsum("fs,nas->nfa", inverse, qrs)
    moving = dipoles(leads, field)
    beyond = (leads - moving @ field.T)[..., 2:]
    return moving.reshape(len(qrs), -1), beyond.reshape(len(qrs), -1)
