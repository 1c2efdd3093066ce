"""Small WFDB folders for tests: made with wfdb itself, and broken on purpose."""

from pathlib import Path

import numpy as np

from ecglib.signals import LEADS

MIMIC_LEADS = ("I", "II", "III", "aVR", "aVF", "aVL", "V1", "V2", "V3", "V4", "V5", "V6")


def heartbeat(hz: float = 500, seconds: float = 10.0, seed: int = 0) -> np.ndarray:
    """(12, T) millivolts with a spike a second and consistent limb leads; different for each seed."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(hz * seconds)) / hz
    beat = np.exp(-0.5 * (((t + 0.3 * seed) % 1.0 - 0.5) / 0.02) ** 2)
    i, ii = 0.5 * beat, 1.2 * beat + 0.05 * np.sin(2 * np.pi * 0.3 * t)
    chest = np.outer(rng.uniform(0.5, 1.5, 6), beat)
    limbs = [i, ii, ii - i, -(i + ii) / 2, i - ii / 2, ii - i / 2]
    return np.vstack([*limbs, *chest]) + 0.0


def write_record(
    folder: Path,
    name: str,
    ecg_mv: np.ndarray | None = None,
    *,
    hz: float = 500,
    leads: tuple[str, ...] = LEADS,
    unit: str = "mV",
    gain: float = 1000.0,
    comments: list[str] | None = None,
    fmt: str = "16",
) -> Path:
    """Write a record in the lead order given (rows of ``ecg_mv`` are in canonical order); its header's path."""
    import wfdb

    ecg_mv = heartbeat(hz) if ecg_mv is None else ecg_mv
    rows = ecg_mv[[LEADS.index(lead) for lead in leads]]
    folder.mkdir(parents=True, exist_ok=True)
    wfdb.wrsamp(
        name,
        fs=hz,
        units=[unit] * len(leads),
        sig_name=list(leads),
        p_signal=np.ascontiguousarray(rows.T),
        fmt=[fmt] * len(leads),
        adc_gain=[gain] * len(leads),
        baseline=[0] * len(leads),
        comments=comments or [],
        write_dir=str(folder),
    )
    return folder / f"{name}.hea"


def edit(path: Path, old: str, new: str, count: int = -1) -> None:
    """Replace text in a header; fail when it is not there."""
    text = path.read_text()
    assert old in text, (old, text)
    path.write_text(text.replace(old, new, count))


def prepare_here(source, folder: Path, hz: float = 500):
    """Prepare in this process."""
    from ecglib.data.prepare import prepare

    return prepare(source, folder, sampling_rate_hz=hz, workers=1)
