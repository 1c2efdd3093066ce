"""What the pre-training notebooks share: model size, schedule, folder, and how a later chapter finds the model."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ecglib import papers
from ecglib.checkpoint import from_pretrained, read_config
from ecglib.data.synthetic.stores import simulator_hash
from ecglib.datasets import PRETRAINING_COHORT
from ecglib.errors import CheckpointError, ParameterError, ResultError
from ecglib.execute import run_notebook
from ecglib.machine import torch_device
from ecglib.paths import expand, sha256_of
from ecglib.profiles import get_profile
from ecglib.sources import code_fingerprint
from ecglib.train import Schedule

MIN_STEPS_PER_EPOCH = 8


def schedule_for(stem: str, profile: str, n_records: int, seed: int, epochs: int = 0, processes: int = 1) -> Schedule:
    """The profile's schedule with the paper's ``SCHEDULES``, at least eight steps an epoch, in a precision it has here.

    The batch is rounded down to what the processes can share evenly. Half precision needs a GPU to be of use; without
    one the run is in float32 and its record says so.
    """
    schedule = planned(stem, profile)
    share = processes * schedule.accumulation
    batch = min(schedule.batch_size, max(8, n_records // MIN_STEPS_PER_EPOCH)) // share * share
    if not 0 < batch <= n_records:
        raise ParameterError(
            f"{n_records} records for processes = {processes}: too few for one batch; give at least "
            f"n_records = {max(8, share) * MIN_STEPS_PER_EPOCH}, or fewer processes"
        )
    precision = schedule.precision if torch.cuda.is_available() else "no"
    return dataclasses.replace(
        schedule, batch_size=batch, precision=precision, seed=seed, epochs=epochs or schedule.epochs
    )


def planned(stem: str, profile: str) -> Schedule:
    """What a paper's chapters plan in a profile: the profile's schedule, changed as the paper's file says."""
    return dataclasses.replace(get_profile(profile).schedule, **papers.load(stem).SCHEDULES.get(profile, {}))


def usual_config(stem: str, profile: str) -> Any:
    """The Config that a paper's chapters have in this profile when nothing is changed."""
    paper, size = papers.load(stem), get_profile(profile)
    tower = {"text_encoder": size.text_encoder} if size.text_encoder else {}
    return (paper.demo_config if size.demo_size else paper.paper_config)(**tower)


def build_model(stem: str, profile: str, seed: int, **changes) -> nn.Module:
    """A paper's model in the size of the profile, on this machine's device, its weights a function of ``seed``."""
    config = dataclasses.replace(usual_config(stem, profile), **changes)
    torch.manual_seed(seed)
    return papers.load(stem).build(config).to(torch_device())


def rebuild(model: nn.Module, seed: int) -> nn.Module:
    """The same composition with fresh weights and the same text tower: a random encoder to compare with."""
    torch.manual_seed(seed)
    fresh = papers.load(model.stem).build(model.config, text_encoder=model.text_encoder)
    return fresh.to(next(model.parameters()).device).eval()


def variant(
    model: nn.Module, profile: str, epochs: int = 0, n_records: int = 0, unusual: Mapping[str, Any] | None = None
) -> str:
    """Empty for the paper's model as the profile trains it; else a short hash of what was changed.

    ``unusual`` names what else is not the paper's way, for example other texts. The hash stands in the name of the
    checkpoint's folder and of the method, so that an ablated or shortened model neither replaces the paper's nor is
    scored under its name.
    """
    size = get_profile(profile)
    epochs = 0 if epochs == planned(model.stem, profile).epochs else epochs
    n_records = 0 if n_records == size.n_pretrain else n_records
    changed = {"config": dataclasses.asdict(model.config), "epochs": epochs, "n_records": n_records}
    usual = {"config": dataclasses.asdict(usual_config(model.stem, profile)), "epochs": 0, "n_records": 0}
    if unusual:
        changed["unusual"] = dict(unusual)
    return "" if changed == usual else sha256_of(changed, 8)


def method_name(stem: str, changed: str, dataset: str) -> str:
    """``deri``; ``deri-1a2b3c4d`` for a variant; ``deri-on-ptb-xl`` when trained on what the papers do not train on."""
    name = f"{stem}-{changed}" if changed else stem
    return name if dataset in ("simulated", PRETRAINING_COHORT) else f"{name}-on-{dataset}"


def checkpoint_folder(
    results_dir: str | Path, stem: str, profile: str, dataset: str, seed: int, changed: str = ""
) -> Path:
    """Where a pre-training run leaves its model; a variant has a folder of its own."""
    name = f"{profile}-{dataset}-seed{seed}" + (f"-{changed}" if changed else "")
    return expand(results_dir) / "checkpoints" / stem / name


def shown(folder: Path, results_dir: str | Path) -> str:
    """A checkpoint's folder as a reader can give it again, without the path of this machine."""
    return f"{Path(results_dir).as_posix()}/{folder.relative_to(expand(results_dir)).as_posix()}"


def recipe(stem: str, profile: str) -> str:
    """Hash of all that decides what a paper's usual model becomes in a profile: settings, simulator and code."""
    size = get_profile(profile)
    described = {
        "config": dataclasses.asdict(usual_config(stem, profile)),
        "schedule": dataclasses.asdict(planned(stem, profile)),
        "data": [size.n_pretrain, size.sampling_rate_hz, simulator_hash()],
        "code": code_fingerprint(stem),
    }
    return sha256_of(described, 16)


def pretrained(stem: str, profile: str, seed: int, checkpoint: str, results_dir: str | Path) -> tuple[nn.Module, dict]:
    """The model an evaluation scores, in evaluation mode on this machine's device, and the record beside its weights.

    ``checkpoint`` empty: the model that ``<stem>_pretrain`` makes in this profile, with this seed, on simulated ECGs.
    If it is not there yet, that notebook is run first, as a reader would run it; the demo's also when it was made by
    other code, settings or another simulator. Hours of training are never replaced unasked.

    Raises:
        CheckpointError: a folder without a checkpoint of this paper, one that does not say what trained it, an
            outdated one of a long profile, or a pre-training that failed.
        ParameterError: a checkpoint trained at another sampling rate than the profile's.
    """
    folder = expand(checkpoint) if checkpoint else checkpoint_folder(results_dir, stem, profile, "simulated", seed)
    if not checkpoint:
        present = (folder / "config.json").is_file()
        if not present or read_config(folder).get("recipe") != recipe(stem, profile):
            if present and profile != "demo":
                raise CheckpointError(
                    f"{shown(folder, results_dir)} was made by other code or settings; give it with -p checkpoint to "
                    "score it all the same, or remove it to train anew"
                )
            why = "the checkpoint was made by other code or settings" if present else "there is no checkpoint yet"
            print(f"{why}: running notebooks/{stem}_pretrain.ipynb first", flush=True)
            _run_pretraining(stem, profile, seed, results_dir)
    model, record = from_pretrained(folder, paper=stem), read_config(folder)
    missing = {"dataset", "data", "data_kind", "training", "variant", "profile"} - set(record)
    if missing:
        raise CheckpointError(
            f"{folder}/config.json does not say what trained the model (no {', '.join(sorted(missing))}); "
            f"give a folder that {stem}_pretrain made"
        )
    trained, here = get_profile(record["profile"]), get_profile(profile)
    if trained.sampling_rate_hz != here.sampling_rate_hz:
        raise ParameterError(
            f"checkpoint {folder.name} was trained at {trained.sampling_rate_hz} Hz (profile {trained.name}) and "
            f"profile {profile} reads {here.sampling_rate_hz} Hz; give -p profile {trained.name}"
        )
    return model.to(torch_device()), record


def _run_pretraining(stem: str, profile: str, seed: int, results_dir: str | Path) -> None:
    """The notebook through papermill, its lines of progress passed on."""
    try:
        run_notebook(f"{stem}_pretrain", {"profile": profile, "seed": seed, "results_dir": str(results_dir)})
    except ResultError as error:
        raise CheckpointError(f"{error}; so there is nothing to score") from None
