"""What the pre-training notebooks share: model size, schedule, folder, and how a later chapter finds the model."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import torch
from torch import nn

from ecglib import papers
from ecglib.checkpoint import from_pretrained, read_config
from ecglib.errors import CheckpointError
from ecglib.paths import expand, project_root, sha256_of
from ecglib.profiles import get_profile
from ecglib.train import Schedule

MIN_STEPS_PER_EPOCH = 8


def schedule_for(profile: str, n_records: int, seed: int, epochs: int = 0) -> Schedule:
    """The profile's schedule, with a batch that leaves at least eight steps an epoch and a precision this machine has.

    Half precision needs a GPU to be of use; without one the run is in float32 and its record says so.
    """
    schedule = get_profile(profile).schedule
    batch = min(schedule.batch_size, max(8, n_records // MIN_STEPS_PER_EPOCH))
    precision = schedule.precision if torch.cuda.is_available() else "no"
    return dataclasses.replace(
        schedule, batch_size=batch, precision=precision, seed=seed, epochs=epochs or schedule.epochs
    )


def build_model(stem: str, profile: str, seed: int, **changes) -> nn.Module:
    """A paper's model in the size of the profile, its weights a function of ``seed``."""
    paper, size = papers.load(stem), get_profile(profile)
    torch.manual_seed(seed)
    make = paper.demo_model if size.demo_size else paper.paper_model
    return make(**({"text_encoder": size.text_encoder} | changes))


def rebuild(model: nn.Module, seed: int) -> nn.Module:
    """The same composition with fresh weights and the same text tower: a random encoder to compare with."""
    torch.manual_seed(seed)
    return papers.load(model.stem).build(model.config, text_encoder=model.text_encoder).eval()


def checkpoint_folder(results_dir: str | Path, model: nn.Module, profile: str, dataset: str, seed: int) -> Path:
    """Where a pre-training run leaves its model; a changed configuration has a folder of its own."""
    size = get_profile(profile)
    paper = papers.load(model.stem)
    usual = (paper.demo_config if size.demo_size else paper.paper_config)(text_encoder=size.text_encoder)
    name = f"{profile}-{dataset}-seed{seed}"
    if model.config != usual:
        name += "-" + sha256_of(dataclasses.asdict(model.config), 8)
    return expand(results_dir) / "checkpoints" / model.stem / name


def pretrained(stem: str, profile: str, seed: int, checkpoint: str, results_dir: str | Path) -> tuple[nn.Module, dict]:
    """The model an evaluation scores, in evaluation mode, and the record beside its weights.

    ``checkpoint`` empty: the model that ``<stem>_pretrain`` makes in this profile, with this seed, on simulated ECGs.
    If it is not there yet, that notebook is run first, as a reader would run it.

    Raises:
        CheckpointError: a folder without a checkpoint of this paper, or a pre-training that failed.
    """
    if checkpoint:
        folder = expand(checkpoint)
        return from_pretrained(folder, paper=stem), read_config(folder)
    folder = expand(results_dir) / "checkpoints" / stem / f"{profile}-simulated-seed{seed}"
    if not (folder / "config.json").is_file():
        _run_pretraining(stem, profile, seed, results_dir)
    return from_pretrained(folder, paper=stem), read_config(folder)


def _run_pretraining(stem: str, profile: str, seed: int, results_dir: str | Path) -> None:
    notebook = f"{stem}_pretrain"
    print(f"no checkpoint yet: running notebooks/{notebook}.ipynb first", flush=True)
    output = expand(results_dir) / notebook / f"{notebook}.ipynb"
    output.parent.mkdir(parents=True, exist_ok=True)
    parameters = {"profile": profile, "seed": seed, "results_dir": str(results_dir)}
    command = [sys.executable, "-m", "papermill", f"notebooks/{notebook}.ipynb", str(output), "--no-progress-bar"]
    for name, value in parameters.items():
        command += ["-p", name, str(value)]
    done = subprocess.run(command, cwd=project_root(), stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr.strip() or "no message").splitlines()
        raise CheckpointError(f"notebooks/{notebook}.ipynb failed, so there is nothing to score: {lines[-1]}")
