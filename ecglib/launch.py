"""Training on several processes: one per GPU, started by Accelerate's launcher as a subprocess of the notebook.

A subprocess, since a notebook's kernel cannot become several. Rank 0 prints the lines of the history and leaves the
trained weights behind; the notebook loads them.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from ecglib.checkpoint import from_pretrained, load_weights, save_pretrained
from ecglib.data.store import RecordStore
from ecglib.data.workers import die_with_parent
from ecglib.errors import CheckpointError
from ecglib.paths import atomic_write
from ecglib.train import Schedule, TrainingData, fit

JOB, START, RESULT = "job.json", "start", "trained"


def fit_on(
    processes: int,
    model: nn.Module,
    data: TrainingData,
    schedule: Schedule,
    folder: str | Path,
    report: Callable[[str], None] | None = print,
) -> list[dict]:
    """``fit``, on so many processes; with one, in this very process. Trains ``model`` in place, returns the history.

    The batch is divided among the processes and its negatives are shared, so the result is that of one process up to
    the normalisation of batches, whose statistics are each process's own.

    Raises:
        CheckpointError: a process failed; the message ends with its last lines.
    """
    if processes == 1:
        return fit(model, data, schedule, folder, report)
    folder = Path(folder)
    model.prepare(data.reports)
    save_pretrained(model, folder / START)
    rows = None if data.store._rows is None else data.store._rows.tolist()
    job = {"store": str(data.store.folder), "rows": rows, "reports": data.reports, "schedule": vars(schedule)}
    atomic_write(folder / JOB, json.dumps(job))
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes)]
    launcher += ["--num_machines", "1", "--mixed_precision", schedule.precision, "--dynamo_backend", "no"]
    launcher += ["--main_process_port", "0"] if torch.cuda.is_available() else ["--cpu", "--main_process_port", "0"]
    command = [*launcher, "-m", "ecglib.launch", str(folder)]
    lines = []
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, preexec_fn=die_with_parent, **pipes) as process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if report is not None and line.startswith("epoch"):
                report(line.rstrip())
    if process.returncode:
        raise CheckpointError(f"training on {processes} processes failed:\n" + "\n".join(lines[-15:]))
    load_weights(model, folder / RESULT / "model.safetensors")
    history = json.loads((folder / RESULT / "config.json").read_text(encoding="utf-8"))["history"]
    (folder / JOB).unlink()
    for left in (START, RESULT):
        shutil.rmtree(folder / left)
    return history


def _work(folder: Path) -> None:
    """One rank: the job from disk, ``fit``, and on rank 0 the result."""
    job = json.loads((folder / JOB).read_text(encoding="utf-8"))
    store = RecordStore.open(job["store"])
    store = store if job["rows"] is None else store.select(job["rows"])
    model = from_pretrained(folder / START)
    model.prepare(job["reports"])  # from disk, where the notebook has left the states
    history = fit(model, TrainingData(store, job["reports"]), Schedule(**job["schedule"]), folder)
    from accelerate import PartialState

    if PartialState().is_main_process:
        save_pretrained(model, folder / RESULT, history=history)


if __name__ == "__main__":
    _work(Path(sys.argv[1]))
