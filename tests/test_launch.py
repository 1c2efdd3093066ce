"""Several processes, here on the CPU over gloo: the losses share their negatives, and training comes back whole."""

import subprocess
import sys

import numpy as np
import pandas as pd
import torch

from ecglib.data.store import write_store
from ecglib.launch import fit_on
from ecglib.papers import deri
from ecglib.train import Schedule, TrainingData

GATHER = """
import os, sys, torch
import torch.distributed as dist
from ecglib.losses import info_nce
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
torch.manual_seed(0)
whole = [torch.randn(8, 5, dtype=torch.float64, requires_grad=True) for _ in range(2)]
mine = [x.detach()[4 * rank : 4 * rank + 4].requires_grad_() for x in whole]
shared = info_nce(*mine, 0.1)
shared.backward()
expected_grad = []
dist.destroy_process_group()
alone = info_nce(*whole, 0.1)
alone.backward()
assert abs(shared.item() - alone.item()) < 1e-12, (shared, alone)
for part, x in zip(mine, whole):
    # The launcher averages gradients over processes: the sum over ranks divided by their number.
    torch.testing.assert_close(part.grad / 2, x.grad[4 * rank : 4 * rank + 4])
print("same")
"""


def test_loss_and_gradient_over_two_processes_are_those_of_one(tmp_path):
    children = [
        subprocess.Popen(
            [sys.executable, "-c", GATHER, str(rank), str(tmp_path / "meet")], stdout=subprocess.PIPE, text=True
        )
        for rank in (0, 1)
    ]
    assert [child.communicate(timeout=120)[0].strip() for child in children] == ["same", "same"]


def test_training_on_two_processes(tmp_path):
    rng = np.random.default_rng(0)
    texts = ["sinus rhythm", "atrial fibrillation", "left bundle branch block", "normal ecg"]
    records = pd.DataFrame({"id": [f"r{i}" for i in range(40)], "report": [texts[i % 4] for i in range(40)]})
    signals = rng.normal(size=(40, 12, 200)).astype(np.float32)
    store = write_store(tmp_path / "store", 100, signals, records).select(range(32))
    torch.manual_seed(0)
    small = {"width": 16, "stage_widths": (8, 8, 8, 8), "decoder_heads": 2, "decoder_depth": 1}
    model = deri.demo_model(**small, terms=("align", "rme"))  # parameters without a gradient must not stop it
    before = {k: v.clone() for k, v in model.state_dict().items()}
    lines = []
    schedule = Schedule(epochs=2, batch_size=8)
    history = fit_on(2, model, TrainingData.of(store), schedule, tmp_path / "run", report=lines.append)
    assert [entry["step"] for entry in history] == [4, 8]
    assert len(lines) == 2
    assert any(not torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert np.isfinite(history[-1]["total"])
