"""Simulated record stores, kept in the cache: made on first use, opened from there afterwards."""

from pathlib import Path

from ecglib.data.store import RecordStore
from ecglib.data.synthetic import COHORTS, simulate_store
from ecglib.errors import ParameterError
from ecglib.paths import cache_dir, sha256_of


def simulated_store(cohort: str, n: int, seed: int, sampling_rate_hz: float, workers: int = 2) -> RecordStore:
    """``n`` simulated records of a cohort; ParameterError on an unknown one. No recording is read."""
    if cohort not in COHORTS:
        raise ParameterError(f"cohort {cohort!r} is not known; choose one of {', '.join(COHORTS)}")
    # The simulator's own files are its version: a store from older code is not taken for a new one.
    package = Path(__file__).parent
    shared = [package / "labels.py", package.parent / "conventions.py"]
    parts = [*shared, *(package / "synthetic").rglob("*"), *(package.parent / "knowledge").rglob("*")]
    code = [sha256_of(path) for path in sorted(parts) if path.suffix in (".py", ".json", ".csv", ".toml")]
    folder = cache_dir() / "simulated" / sha256_of([cohort, n, seed, float(sampling_rate_hz), code], 16)
    if (folder / "card.json").is_file():
        return RecordStore.open(folder)
    return simulate_store(folder, cohort, n, seed=seed, sampling_rate_hz=sampling_rate_hz, workers=workers)
