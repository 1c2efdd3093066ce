"""What a training step of each method costs beside its bare ECG encoder, which is the limit.

    python benchmarks/bench_methods.py [--stems deri merl] [--repeats 5] [--out FILE.json]

A step is what ``fit`` does with a batch: losses, gradients, clipping, AdamW; frozen text states are there already. The
encoder alone is forward and backward of a mean square, on the same batch, whole and unmasked, as ``encode_ecg`` calls
it: a method that masks its input can be faster than that. Demo size and batch, records of 12 x 1000 samples.

Methods, thread counts and both measurements take turns, so that a noisy minute hits all of them; the file has all
repeats, and the book shows their median and their range. Seconds of the clock are given beside those of the processor:
where they differ with one thread, other work held the machine, and the ratio of processor seconds is the one to read.
Two threads on a busy machine wait for each other; their row then says nothing.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ecglib import papers
from ecglib.datasets import pretraining_store
from ecglib.machine import commit, describe, versions
from ecglib.pretrain import build_model, planned
from ecglib.profiles import get_profile
from ecglib.train import TrainingData, weighted_total

BATCH = get_profile("demo").schedule.batch_size


def encoder_call(model: nn.Module, ecg: Tensor) -> Callable[[], Tensor]:
    """The call of its ECG encoder by which a model encodes this batch. Raises RuntimeError if it makes none."""
    calls = []
    hook = model.ecg_encoder.register_forward_pre_hook(
        lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True
    )
    with torch.no_grad():
        model.encode_ecg(ecg)
    hook.remove()
    if len(calls) != 1:
        raise RuntimeError(f"{model.stem}: encode_ecg calls the ECG encoder {len(calls)} times, not once")
    (args, kwargs) = calls[0]
    return lambda: model.ecg_encoder(*args, **kwargs)


class Measured:
    """One method at demo size and the two things that are timed of it."""

    def __init__(self, stem: str, data: TrainingData):
        self.model = build_model(stem, "demo", seed=0).train()
        self.model.prepare(data.reports)
        self.batch = data.batch(range(BATCH), torch.device("cpu"))
        schedule = planned(stem, "demo")
        self.clip_norm = schedule.clip_norm
        learning = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(learning, lr=schedule.lr, weight_decay=schedule.weight_decay)
        self.encode = encoder_call(self.model, self.batch["ecg"])

    def step(self) -> None:
        self.optimizer.zero_grad()
        weighted_total(self.model.losses(self.batch), self.model.loss_weights).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()

    def encoder(self) -> None:
        self.model.ecg_encoder.zero_grad()
        self.encode().square().mean().backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--stems", nargs="+", choices=papers.stems(), default=papers.stems(), help="methods")
    parser.add_argument("--repeats", type=int, default=5, help="of every measurement, after one to warm up")
    parser.add_argument("--out", type=Path, help="JSON file for all seconds")
    asked = parser.parse_args()

    data = TrainingData.of(pretraining_store("demo", "simulated", "", seed=0, n_records=512))
    methods = {stem: Measured(stem, data) for stem in asked.stems}
    threads = sorted({1, os.cpu_count() or 1})
    taken: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    for repeat in range(asked.repeats + 1):
        for count in threads:
            torch.set_num_threads(count)
            for stem, method in methods.items():
                for what in ("step", "encoder"):
                    begin = time.perf_counter(), time.process_time()
                    getattr(method, what)()
                    if repeat:
                        spent = time.perf_counter() - begin[0], time.process_time() - begin[1]
                        taken.setdefault((stem, count, what), []).append(spent)
        print(f"{repeat} of {asked.repeats}", flush=True)

    print(f"{'':10}{'':>8}{'seconds':>22}{'step / encoder':>18}{'records/s':>18}")
    print(f"{'':10}{'threads':>8}{'step':>11}{'encoder':>11}{'clock':>9}{'cpu':>9}{'step':>10}{'limit':>8}")
    for count in threads:
        for stem in methods:
            step, step_cpu = map(min, zip(*taken[stem, count, "step"], strict=True))
            encoder, encoder_cpu = map(min, zip(*taken[stem, count, "encoder"], strict=True))
            print(
                f"{stem:10}{count:>8}{step:>11.3f}{encoder:>11.3f}{step / encoder:>9.2f}"
                f"{step_cpu / encoder_cpu:>9.2f}{BATCH / step:>10.0f}{BATCH / encoder:>8.0f}"
            )
    if asked.out:
        rows = [
            {"stem": stem, "threads": count, "what": what, "clock_s": clock, "cpu_s": cpu}
            for (stem, count, what), times in taken.items()
            for clock, cpu in times
        ]
        about = {"commit": commit()[0], "machine": describe(), "versions": versions(), "batch": BATCH}
        written = about | {"rows": rows}
        asked.out.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
