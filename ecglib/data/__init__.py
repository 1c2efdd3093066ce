"""Records and their labels: the record store, the readers of the original sets, the simulator."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ecglib.data.store import RecordStore

# Name -> module and class of its reader; "simulated" has none.
READERS = {
    "ptb-xl": ("ptbxl", "PtbXl"),
    "mimic-iv-ecg": ("mimic_iv_ecg", "MimicIvEcg"),
    "cpsc2018": ("cpsc2018", "Cpsc2018"),
    "csn": ("csn", "Csn"),
    "cinc2021": ("cinc2021", "Cinc2021"),
}
DATASETS = ("simulated", *READERS)


def open_dataset(
    name: str,
    data_root: str | Path = "",
    *,
    sampling_rate_hz: float,
    n: int | None = None,
    seed: int = 0,
    workers: int = 2,
    cohort: str | None = None,
    **reader_options: Any,
) -> "RecordStore":
    """The record store of a data set, prepared into the cache on first use and opened from there afterwards.

    ``name``: one of ``DATASETS``. ``data_root``: the folder of the original files (not for "simulated").
    ``n``: so many records only, chosen at random with ``seed``; of simulated ones, how many to simulate.
    ``cohort``: which population to simulate (default "mimic-iv-ecg"). ``reader_options`` go to the reader, such
    as ``labels="merl-substring"`` for CSN. The cached store is named by a hash of what it was made from, so
    other files, another rate or a newer reader make a new one.

    ParameterError on an unknown name or an option that does not fit, DataError when the folder is not that
    data set, StoreError when no record is usable. A UserWarning tells of quarantined records.
    """
    import warnings

    from ecglib.errors import ParameterError
    from ecglib.paths import expand

    if name not in DATASETS:
        raise ParameterError(f"dataset {name!r} is not known; choose one of {', '.join(DATASETS)}")
    if n is not None and n < 1:
        raise ParameterError(f"n={n}: at least one record is needed")
    if not sampling_rate_hz > 0:
        raise ParameterError(f"sampling_rate_hz={sampling_rate_hz}: it must be positive")
    if name == "simulated":
        if data_root or reader_options:
            given = ", ".join(["data_root"] * bool(data_root) + list(reader_options))
            raise ParameterError(f"{given} given with dataset 'simulated', which is made here and has no files")
        if n is None:
            raise ParameterError("simulated ECGs are as many as one asks for: give n")
        from ecglib.data.simulated import simulated_store

        return simulated_store(cohort or "mimic-iv-ecg", n, seed, sampling_rate_hz, workers)
    if cohort is not None:
        raise ParameterError(f"cohort={cohort!r} is for dataset 'simulated', not for {name!r}")
    if not str(data_root):
        raise ParameterError(
            f"dataset {name!r} needs data_root, the folder with its original files; with a network, "
            f"ecglib.data.{READERS[name][0]}.download(folder) gets them"
        )
    store = _original(name, expand(data_root), sampling_rate_hz, n, seed, workers, reader_options)
    bad = store.card["quarantined"]
    if bad:
        warnings.warn(
            f"{len(bad)} records of {name} were left out as unusable, the first: {bad[0]['id']}: "
            f"{bad[0]['reason']}. All are listed in store.card['quarantined']; after mending the files remove "
            f"{store.folder}",
            stacklevel=2,
        )
    return store


def _original(
    name: str, root: Path, hz: float, n: int | None, seed: int, workers: int, options: dict[str, Any]
) -> "RecordStore":
    import inspect
    from importlib import import_module

    from ecglib.data.prepare import PREPARE_VERSION, prepare
    from ecglib.data.store import STORE_VERSION, RecordStore
    from ecglib.errors import ParameterError
    from ecglib.paths import cache_dir, sha256_of

    module, reader = READERS[name]
    reader = getattr(import_module(f"ecglib.data.{module}"), reader)
    known = list(inspect.signature(reader).parameters)[2:]
    if set(options) - set(known):
        odd = ", ".join(sorted(set(options) - set(known)))
        raise ParameterError(f"dataset {name!r} has no option {odd}; it takes {', '.join(known) or 'none'}")
    source = reader(root, hz, **options)
    made_from = [
        [STORE_VERSION, PREPARE_VERSION, source.version, float(hz), n, seed if n is not None else None],
        [str(options[key]) for key in sorted(options)],
        str(root.resolve()),
        source.listing(),
    ]
    folder = cache_dir() / name / sha256_of(made_from, 16)
    if (folder / "card.json").is_file():
        return RecordStore.open(folder)
    return prepare(source, folder, sampling_rate_hz=hz, workers=workers, limit=n, seed=seed)
