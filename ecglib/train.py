"""One training loop for every paper, on Hugging Face Accelerate.

The state of a run is a function of (seed, step): the order of the records and every random draw come from them, and
weights, optimizer and history lie in one file that is replaced atomically. A run that was killed at any moment goes on
from that file and, on a CPU, ends with the same bits as one that was never killed.
"""

import dataclasses
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedDataParallelKwargs
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn

from ecglib.checkpoint import TRAINING_STATE
from ecglib.data.store import RecordStore
from ecglib.errors import CheckpointError
from ecglib.paths import atomic_write, sha256_of
from ecglib.sources import code_fingerprint


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: the same fields for every paper and profile."""

    epochs: int
    batch_size: int  # records of one optimizer step, over all processes and accumulation steps
    lr: float = 1e-3
    weight_decay: float = 1e-8
    warmup_fraction: float = 0.1  # of all steps, linear
    clip_norm: float = 1.0
    accumulation: int = 1
    precision: str = "no"  # "no" (float32), "bf16" or "fp16"
    checkpoint_every_s: float = 60.0
    seed: int = 0

    def steps(self, n_records: int) -> int:
        """Optimizer steps of the whole run; the incomplete last batch of an epoch is left out."""
        return self.epochs * (n_records // self.batch_size)


@dataclass
class TrainingData:
    """What a training step reads: a record store and the text of each of its records."""

    store: RecordStore
    reports: list[str]

    @classmethod
    def of(cls, store: RecordStore) -> "TrainingData":
        """A store's own reports. Raises ValueError naming the first record that has none."""
        reports = list(store.records["report"])
        for record, text in zip(store.records["id"], reports, strict=True):
            if not text.strip():
                raise ValueError(f"record {record} has no report; leave such records out with store.select(...)")
        return cls(store, reports)

    @property
    def fingerprint(self) -> str:
        return sha256_of([self.store.fingerprint, sha256_of(self.reports, 16)], 16)

    def batch(self, rows: np.ndarray, device: torch.device) -> dict:
        """``ecg`` (B, 12, T) float32 millivolts on ``device`` and ``report``, B strings.

        Samples travel as int16 and become millivolts on the device.
        """
        raw = torch.from_numpy(self.store.read_int16(rows)).to(device, non_blocking=True)
        return {"ecg": raw.float() / self.store.gain_per_mv, "report": [self.reports[row] for row in rows]}


def learning_rate(step: int, total: int, schedule: Schedule) -> float:
    """Linear warm-up, then half a cosine down to zero, at optimizer step ``step`` of ``total``."""
    warmup = max(1, round(schedule.warmup_fraction * total))
    if step < warmup:
        return schedule.lr * (step + 1) / warmup
    return schedule.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def order_of_epoch(n_records: int, epoch: int, seed: int) -> np.ndarray:
    """The permutation of an epoch: a function of seed and epoch alone."""
    return np.random.default_rng([seed, epoch]).permutation(n_records)


def _run_id(model: nn.Module, data: TrainingData, schedule: Schedule) -> str:
    described = {
        "paper": model.stem,
        "code": code_fingerprint(model.stem),
        "config": dataclasses.asdict(model.config),
        "text": model.text_encoder.fingerprint,
        "schedule": {k: v for k, v in dataclasses.asdict(schedule).items() if k != "checkpoint_every_s"},
        "data": data.fingerprint,
    }
    return sha256_of(described, 16)


def fit(
    model: nn.Module,
    data: TrainingData,
    schedule: Schedule,
    folder: str | Path,
    report: Callable[[str], None] | None = print,
) -> list[dict]:
    """Train ``model`` in place and return its history, one dict per epoch.

    A history entry holds epoch, step, lr, seconds, total and the mean of every loss term. ``folder`` keeps the state
    of the run, also of one that has ended; calling again with the same model, data and schedule goes on from it,
    anything else there is refused. ``save_pretrained`` into that folder removes the state, once the model is safe.

    Raises:
        CheckpointError: the state in ``folder`` belongs to another run, or cannot be written.
        ValueError: fewer records than one batch; a batch that the processes cannot share; a loss that is not finite.
    """
    if len(data.reports) != len(data.store):
        raise ValueError(f"{len(data.store)} records but {len(data.reports)} reports")
    if schedule.steps(len(data.reports)) == 0:
        raise ValueError(f"{len(data.reports)} records do not fill one batch of {schedule.batch_size}")
    # Accelerate keeps the first precision of a process for good; a notebook may ask for another in its second run.
    AcceleratorState._reset_state(reset_partial_state=False)
    # A term that is switched off leaves parameters without a gradient, which several processes must be told.
    several = DistributedDataParallelKwargs(find_unused_parameters=True)
    accelerator = Accelerator(mixed_precision=schedule.precision, kwargs_handlers=[several])
    if schedule.batch_size % (accelerator.num_processes * schedule.accumulation):
        raise ValueError(
            f"a batch of {schedule.batch_size} cannot be shared by {accelerator.num_processes} processes with "
            f"{schedule.accumulation} accumulation steps; choose a multiple of their product"
        )
    run = _Run(model, data, schedule, Path(folder), accelerator)
    run.resume()
    run.train(report if accelerator.is_main_process else None)
    return run.history


class _Run:
    """The state of one call of ``fit``."""

    def __init__(self, model, data: TrainingData, schedule: Schedule, folder: Path, accelerator: Accelerator):
        self.data, self.schedule, self.accelerator = data, schedule, accelerator
        self.path = folder / TRAINING_STATE
        self.id = _run_id(model, data, schedule)
        self.history: list[dict] = []
        self.sums: dict[str, float] = {}
        self.seconds = 0.0  # of the current epoch, over interruptions
        self.step = 0
        parameters = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(parameters, schedule.lr, weight_decay=schedule.weight_decay, fused=True)
        self.bare = model
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        self.model.train()

    def train(self, report: Callable[[str], None] | None) -> None:
        """All remaining steps; one printed line per epoch, so that notebooks stay small."""
        per_epoch = len(self.data.reports) // self.schedule.batch_size
        total = self.schedule.epochs * per_epoch
        saved = shown = started = time.monotonic()
        order, order_epoch = None, -1
        while self.step < total:
            epoch, index = divmod(self.step, per_epoch)
            if epoch != order_epoch:
                order, order_epoch = order_of_epoch(len(self.data.reports), epoch, self.schedule.seed), epoch
            self._step(order[index * self.schedule.batch_size : (index + 1) * self.schedule.batch_size], total)
            self.step += 1
            if report is not None and time.monotonic() - shown >= 1.0:
                shown = time.monotonic()
                terminal_line(f"epoch {epoch + 1}/{self.schedule.epochs}  step {index + 1}/{per_epoch}")
            if index + 1 == per_epoch:
                self._close_epoch(epoch, per_epoch, self.seconds + time.monotonic() - started, report)
                self.seconds, started = 0.0, time.monotonic()
            if time.monotonic() - saved >= self.schedule.checkpoint_every_s and self.step < total:
                self.seconds, started = self.seconds + time.monotonic() - started, time.monotonic()
                self.save()
                saved = time.monotonic()
        self.save()

    def _step(self, rows: np.ndarray, total: int) -> None:
        accelerator, schedule = self.accelerator, self.schedule
        rate = learning_rate(self.step, total, schedule)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        mine = np.array_split(rows, accelerator.num_processes)[accelerator.process_index]
        parts = np.array_split(mine, schedule.accumulation)
        self.optimizer.zero_grad()
        for number, part in enumerate(parts):
            # Every draw of dropout and masks follows from (seed, step, part, process): nothing to store for resuming.
            torch.manual_seed(
                int(
                    np.random.SeedSequence(
                        [schedule.seed, self.step, number, accelerator.process_index]
                    ).generate_state(1)[0]
                )
            )
            with accelerator.autocast():
                terms = self.model(self.data.batch(part, accelerator.device))
            loss = weighted_total(terms, self.bare.loss_weights)
            if not torch.isfinite(loss):
                raise ValueError(
                    f"step {self.step}: the loss is {loss.item()} ("
                    + ", ".join(f"{k} {v.item():.3g}" for k, v in terms.items())
                    + "); lower lr or look at the records of this batch"
                )
            accelerator.backward(loss / len(parts))
            for name, value in {**terms, "total": loss}.items():
                self.sums[name] = self.sums.get(name, 0.0) + value.item() / len(parts)
        if schedule.clip_norm:
            accelerator.clip_grad_norm_(self.model.parameters(), schedule.clip_norm)
        self.optimizer.step()

    def _close_epoch(self, epoch: int, steps: int, seconds: float, report: Callable[[str], None] | None) -> None:
        means = {name: value / steps for name, value in self.sums.items()}
        rate = self.optimizer.param_groups[0]["lr"]
        self.history.append({"epoch": epoch + 1, "step": self.step, "lr": rate, "seconds": seconds, **means})
        self.sums = {}
        if report is not None:
            terms = "  ".join(f"{name} {value:.3f}" for name, value in means.items())
            speed = steps * self.schedule.batch_size / seconds
            terminal_line("")
            report(f"epoch {epoch + 1:>3}/{self.schedule.epochs}  {terms}  {seconds:.0f} s, {speed:.0f} records/s")

    def save(self) -> None:
        """Replace the state file: weights, optimizer moments, and where the run stands."""
        if not self.accelerator.is_main_process:
            return
        tensors = {f"model.{k}": v.detach().cpu().contiguous() for k, v in self.bare.state_dict().items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v.detach().cpu().contiguous() for k, v in state.items()}
        place = {"run": self.id, "step": self.step, "sums": self.sums, "seconds": self.seconds, "history": self.history}
        if self.accelerator.scaler is not None:
            place["scaler"] = self.accelerator.scaler.state_dict()
        try:
            atomic_write(self.path, dump_tensors(tensors, metadata={"place": json.dumps(place)}))
        except OSError as error:
            raise CheckpointError(
                f"{self.path} cannot be written ({error.strerror}); free space and start again: "
                "the run goes on from the checkpoint before this one"
            ) from error

    def resume(self) -> None:
        """Take up the state in the folder, if there is one of this very run."""
        for debris in self.path.parent.glob(f".{self.path.name}.*.partial"):  # of a run killed while it saved
            debris.unlink(missing_ok=True)
        if not self.path.is_file():
            return
        try:
            opened = safe_open(self.path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{self.path} is damaged ({error}); remove it to start afresh") from error
        with opened as file:
            place = json.loads(file.metadata()["place"])
            if place["run"] != self.id:
                raise CheckpointError(
                    f"{self.path} is the state of another run (other data, settings or code); "
                    "remove it to start afresh, or give the same settings to go on"
                )
            tensors: dict[str, Tensor] = {key: file.get_tensor(key) for key in file.keys()}
        self.bare.load_state_dict({k[6:]: v for k, v in tensors.items() if k.startswith("model.")}, strict=True)
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                moments.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(place["scaler"])
        self.step, self.sums, self.seconds = place["step"], place["sums"], place["seconds"]
        self.history = place["history"]


def terminal_line(text: str) -> None:
    """Rewrite one line of the terminal that started this process, if there is one; a notebook does not see it.

    A kernel keeps the stream it replaced; papermill's bar only moves from cell to cell and training is one cell.
    """
    descriptor = getattr(sys.stderr, "_original_stdstream_copy", None)
    try:
        descriptor = sys.__stderr__.fileno() if descriptor is None else descriptor
        if os.isatty(descriptor):
            os.write(descriptor, f"\r\x1b[K{text}".encode())
    except (AttributeError, OSError, ValueError):  # no stream at all, or a closed one
        return


def weighted_total(terms: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The sum of all terms times their weights; a term without a weight, or the reverse, raises KeyError."""
    if terms.keys() != weights.keys():
        raise KeyError(f"loss terms {sorted(terms)} and weights {sorted(weights)} differ")
    return torch.stack([weights[name] * value for name, value in terms.items()]).sum()
