"""The frame of a notebook run: parameters checked, everything seeded, figures and tables kept, the run recorded.

In a notebook, in the first code cell after the parameters, and in the last one::

    run = start("deri_pretrain", globals())
    ...
    run.record(metrics, data=..., model=..., training=...)

``python -m ecglib.run`` is the command line of `ecglib.execute`.
"""

import io
import random
import re
import secrets
import sys
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ecglib import machine, parameters
from ecglib._papermill_argv import aside, home
from ecglib.errors import ParameterError, ResultError
from ecglib.paths import atomic_write, expand
from ecglib.plain import plain
from ecglib.scrub import scrub_text, scrub_value, without_path

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SVG_LIMIT_BYTES = 500_000  # above it a figure is kept as png: executed chapters in git stay below 1 MB
_current: "Run | None" = None


class Run:
    """One run of one notebook. Made by `start`.

    Attributes: ``params`` (name -> checked value), ``profile``, ``seed``, ``results_dir`` and ``folder`` (Path,
    ``results_dir/<stem>`` and what `aside` adds; exists), ``run_id``. With a parameter ``path``, a record of one's own,
    ``results_dir`` is the part of it that git ignores (`home`).
    """

    def __init__(self, stem: str, params: dict[str, Any]):
        self.stem = stem
        self.params = params
        self.profile: str | None = params.get("profile")
        self.seed: int | None = params.get("seed")
        self.results_dir = Path(home(str(expand(params.get("results_dir", "results"))), params.get("path", "")))
        self.folder = self.results_dir.joinpath(stem, *aside(params))
        self.run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"
        self.commit, self.dirty = machine.commit()
        self.recorded = False
        self._started = time.monotonic()
        try:
            # Found out now and not after hours of training.
            atomic_write(self.folder / ".writable", "").unlink()
        except OSError as error:
            raise ParameterError(
                f"results_dir = {params.get('results_dir', 'results')!r} cannot be written ({error.strerror}): name "
                "another folder with -p results_dir"
            ) from None

    def save_figure(self, fig: "Figure", name: str) -> Path:
        """Keep a figure as ``<folder>/<name>.svg``, or as png when the svg is larger than 500 kB.

        The same figure gives the same bytes: no date, fixed ids.
        """
        path = self._path(name)
        buffer = io.BytesIO()
        fig.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
        suffix, other = ".svg", ".png"
        if buffer.tell() > SVG_LIMIT_BYTES:
            buffer = io.BytesIO()
            fig.savefig(buffer, format="png", dpi=200, metadata={"Software": None})
            suffix, other = other, suffix
        path.with_suffix(other).unlink(missing_ok=True)  # of an earlier run, when the figure had another size
        return atomic_write(path.with_suffix(suffix), buffer.getvalue())

    def save_table(self, table: "pd.DataFrame", name: str) -> Path:
        """Keep a table as ``<folder>/<name>.csv``: six digits, without the index unless it has a name."""
        named = any(n is not None for n in table.index.names)
        text = table.to_csv(index=named, float_format="%.6g", lineterminator="\n")
        return atomic_write(self._path(name).with_suffix(".csv"), text)

    def record(
        self,
        metrics: Iterable[Mapping[str, Any]],
        *,
        data: Mapping[str, Mapping[str, Any]] | None = None,
        model: Any = None,
        training: Any = None,
        checkpoint_choice: str | None = None,
        predictions: str | Path | None = None,
        notes: str = "",
    ) -> Path:
        """Write the run record, whole, as the notebook's last act; returns its path.

        Args:
            metrics: entries with the keys of `ecglib.results.METRIC_KEYS`; an interval that is NaN becomes none.
            data: per data set ``{"kind", "fingerprint", "counts", "role"}`` (`data_entry`), those of the pre-training
                included: what a model was trained on decides whether its numbers compare.
            model, training: resolved configurations (dict or dataclass). ``effective_batch``, ``steps`` and
                ``precision`` are read from ``training`` when they are there.
            predictions: file with the scores, in the results folder.

        Raises ResultError naming the field that is wrong; nothing is written then.
        """
        from ecglib.results import write_record

        settings = plain(training) or {}
        record = self._finished(metrics, data) | {
            "config": scrub_value({"model": plain(model), "training": plain(training)}),
            "effective_batch": settings.get("effective_batch"),
            "steps": settings.get("steps"),
            "checkpoint_choice": checkpoint_choice,
            "machine": machine.describe(str(settings.get("precision") or "float32")),
            "predictions": None if predictions is None else self._relative(predictions),
            "notes": scrub_text(notes),
        }
        path = write_record(record, self.results_dir)
        self.recorded = True
        print(f"run record: runs/{self.stem}/{path.name}")
        return path

    def as_runs(
        self, metrics: Iterable[Mapping[str, Any]], data: Mapping[str, Mapping[str, Any]] | None = None
    ) -> "pd.DataFrame":
        """These metrics as `ecglib.results.compare` takes them, before the run is recorded."""
        from ecglib.results import as_runs

        return as_runs(self._finished(metrics, data))

    def _finished(self, metrics, data) -> dict[str, Any]:
        done = {"status": "ok", "error": None, "data": plain(data) or {}, "metrics": [_metric(m) for m in metrics]}
        return self._base() | done

    def record_failure(self, error: BaseException) -> Path | None:
        """Write a record of status ``failed`` with the scrubbed error, once, unless the run is recorded already."""
        from ecglib.results import write_record

        if self.recorded:
            return None
        self.recorded = True
        message = scrub_text(str(error))[:2000]
        return write_record(
            self._base() | {"status": "failed", "error": {"type": type(error).__name__, "message": message}},
            self.results_dir,
        )

    def _base(self) -> dict[str, Any]:
        return {
            "schema_version": 1,
            "run_id": self.run_id,
            "notebook": self.stem,
            "status": "failed",
            "error": None,
            "parameters": {name: scrub_value(plain(without_path(v))) for name, v in self.params.items()},
            "config": {},
            "profile": self.profile,
            "data": {},
            "seed": self.seed,
            "effective_batch": None,
            "steps": None,
            "commit": self.commit,
            "dirty": self.dirty,
            "versions": machine.versions(),
            "checkpoint_choice": None,
            "machine": machine.describe(),
            "wall_s": round(time.monotonic() - self._started, 1),
            "peak_memory_mb": machine.peak_memory_mb(),
            "metrics": [],
            "predictions": None,
            "notes": "",
            "created": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }

    def _path(self, name: str) -> Path:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
            raise ResultError(f"{name!r} is no name for a figure or table: letters, digits, _ and -, no suffix")
        return self.folder / name

    def _relative(self, path: str | Path) -> str:
        path = Path(path)
        if path.is_absolute():
            try:
                path = path.relative_to(self.results_dir)
            except ValueError:
                raise ResultError(f"predictions {path.name} must lie in the results folder") from None
        return path.as_posix()


def start(stem: str, namespace: dict[str, Any], *, choices: Mapping[str, Iterable[Any]] | None = None) -> Run:
    """Check the parameters, seed random, numpy and torch, set the figures' style, print what runs, return the Run.

    Args:
        stem: name of the notebook without suffix.
        namespace: ``globals()`` of the notebook (or of the script made from it).
        choices: values that this notebook takes for some parameters, when it takes fewer than the common table says.

    Raises ParameterError (papermill then exits with 1). An exception in any later cell leaves a failed run record.
    """
    global _current
    _current = None
    try:
        cells = namespace.get("In")
        if isinstance(cells, list):
            declared, injected = parameters.find(map(str, cells))
        else:  # run as a script: nothing was injected, the annotations are Python's own
            declared, injected = dict(namespace.get("__annotations__", {})), []
        if not declared:
            raise ParameterError(
                "no parameters found: their cell must come first, each as `name: type = value  # help`"
            )
        run = Run(stem, parameters.check(declared, injected, namespace, choices))
    except ParameterError as error:
        line = f"ParameterError: {error}"
        error._render_traceback_ = lambda: [line]  # IPython then shows this line alone
        raise
    _seed(run.seed or 0)
    from ecglib.figures import use_style

    use_style()
    _watch_for_failure(run)
    _current = run
    print(_banner(run))
    return run


def _seed(seed: int) -> None:
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 (for libraries that draw from the global state)
    if machine.has_torch():
        import torch

        torch.manual_seed(seed)


def _banner(run: Run) -> str:
    versions = machine.versions()
    commit = "no commit" if run.commit is None else f"commit {run.commit[:10]}"
    threads = machine.threads()
    return "\n".join(
        (
            f"{run.stem}: profile {run.profile or '-'}, seed {run.seed if run.seed is not None else '-'}",
            commit + (" with uncommitted changes" if run.dirty else ""),
            ", ".join(f"{p} {versions[p]}" for p in ("python", "torch", "transformers") if p in versions),
            f"device {machine.device()}" + ("" if threads is None else f", {threads} CPU thread{'s' * (threads != 1)}"),
        )
    )


def _watch_for_failure(run: Run) -> None:
    """From now on the first exception that ends a cell (or the script) writes a failed record."""
    shell = None
    if "IPython" in sys.modules:
        from IPython import get_ipython

        shell = get_ipython()
    if shell is None:
        previous = sys.excepthook

        def hook(kind, error, traceback):
            if _current is run:
                run.record_failure(error)
            previous(kind, error, traceback)

        sys.excepthook = hook
        return
    # One callback for the kernel's life, so that a second start() in JupyterLab does not add another.
    if not getattr(shell, "_ecg_watched", False):
        shell.events.register("post_run_cell", _after_cell)
        shell._ecg_watched = True


def _after_cell(result: Any) -> None:
    error = result.error_before_exec or result.error_in_exec
    if error is not None and _current is not None:
        _current.record_failure(error)


def data_entry(kind: str, store: Any, role: str | None = None, **counts: Any) -> dict[str, Any]:
    """The entry of one record store in a run record's ``data``: kind (simulated, subset, paper), print, counts."""
    entry = {"kind": kind, "fingerprint": store.fingerprint, "counts": {"records": len(store), **counts}}
    return entry | ({} if role is None else {"role": role})


def _metric(entry: Mapping[str, Any]) -> dict[str, Any]:
    metric = plain(entry)
    if metric.get("ci_low") is None or metric.get("ci_high") is None:
        metric |= {"ci_low": None, "ci_high": None}
    return metric


if __name__ == "__main__":
    from ecglib.execute import main

    sys.exit(main())
