"""The training loop: schedule, resumption bit for bit, and what happens when things go wrong."""

import dataclasses
import errno
import itertools
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib import train
from ecglib.checkpoint import TRAINING_STATE, save_pretrained
from ecglib.data.store import write_store
from ecglib.errors import CheckpointError
from ecglib.papers import deri
from ecglib.paths import sha256_of
from ecglib.train import Schedule, TrainingData, fit, learning_rate, order_of_epoch

SCHEDULE = Schedule(epochs=3, batch_size=8, lr=1e-3, checkpoint_every_s=0.0)
REPORTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block", "normal ecg"]


def tiny_model():
    torch.manual_seed(0)
    return deri.demo_model(width=16, stage_widths=(8, 8, 8, 8), decoder_heads=2, decoder_depth=1)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    rng = np.random.default_rng(0)
    records = pd.DataFrame({"id": [f"r{i}" for i in range(40)], "report": [REPORTS[i % 4] for i in range(40)]})
    folder = tmp_path_factory.mktemp("data") / "store"
    return TrainingData.of(write_store(folder, 100, rng.normal(size=(40, 12, 200)).astype(np.float32), records))


def weights_hash(model):
    return sha256_of(b"".join(v.numpy().tobytes() for _, v in sorted(model.state_dict().items())))


def test_learning_rate_warms_up_and_falls_to_zero():
    schedule = dataclasses.replace(SCHEDULE, lr=2.0, warmup_fraction=0.1)
    rates = [learning_rate(step, 100, schedule) for step in range(100)]
    assert rates[:10] == pytest.approx([0.2 * (i + 1) for i in range(10)])
    assert rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1.0)
    assert all(a >= b for a, b in itertools.pairwise(rates[9:]))
    assert 0 < rates[-1] < 0.001


def test_every_epoch_has_an_order_of_its_own():
    orders = [tuple(order_of_epoch(50, epoch, 0)) for epoch in range(3)]
    assert len(set(orders)) == 3
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert orders[0] == tuple(order_of_epoch(50, 0, 0)) != tuple(order_of_epoch(50, 0, 1))


def test_history_names_every_term_and_training_learns(data, tmp_path):
    lines = []
    model = tiny_model()
    history = fit(model, data, dataclasses.replace(SCHEDULE, epochs=6), tmp_path, report=lines.append)
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4, 5, 6]
    assert set(deri.TERMS) < set(history[0])
    assert history[-1]["total"] < history[0]["total"]
    assert history[0]["total"] == pytest.approx(sum(history[0][term] for term in deri.TERMS), rel=1e-5)
    assert len(lines) == 6
    assert "records/s" in lines[0]


def test_a_finished_run_is_not_lost_before_the_model_is_saved(data, tmp_path, monkeypatch):
    """Killed, or out of disk, between training and saving: calling fit again gives the same weights without a step."""
    model = tiny_model()
    history = fit(model, data, SCHEDULE, tmp_path, report=None)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match="cannot be written"):
            save_pretrained(model, tmp_path)
    again = tiny_model()
    monkeypatch.setattr(train._Run, "_step", None)  # nothing may be trained a second time
    assert fit(again, data, SCHEDULE, tmp_path, report=None) == history
    assert weights_hash(again) == weights_hash(model)
    save_pretrained(again, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]


def test_a_damaged_state_is_named(data, tmp_path):
    (tmp_path / TRAINING_STATE).write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match=r"training\.safetensors is damaged"):
        fit(tiny_model(), data, SCHEDULE, tmp_path, report=None)


def test_accumulation_sees_the_same_records_and_half_precision_trains(data, tmp_path):
    seen = []
    model = tiny_model()
    original = TrainingData.batch
    data_seen = TrainingData(data.store, data.reports)
    data_seen.batch = lambda rows, device: seen.append(list(rows)) or original(data, rows, device)
    schedule = dataclasses.replace(SCHEDULE, epochs=1, accumulation=2, precision="bf16")
    history = fit(model, data_seen, schedule, tmp_path, report=None)
    assert np.isfinite(history[0]["total"])
    assert [len(rows) for rows in seen] == [4] * 10
    assert sorted(itertools.chain(*seen)) == list(range(40))
    assert all(p.dtype == torch.float32 for p in model.parameters())


CHILD = """
import sys
import torch
sys.path.insert(0, {tests!r})
from test_train import SCHEDULE, tiny_model, weights_hash
from ecglib.data.store import RecordStore
from ecglib.train import TrainingData, fit
torch.set_num_threads(1)
model = tiny_model()
fit(model, TrainingData.of(RecordStore.open({store!r})), SCHEDULE, sys.argv[1], report=None)
print(weights_hash(model))
"""


def test_killed_at_any_moment_it_ends_with_the_same_bits(data, tmp_path):
    code = CHILD.format(tests=os.path.dirname(__file__), store=str(data.store.folder))

    def start(folder):
        return subprocess.Popen([sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole")
    broken = tmp_path / "broken"
    kills = 0
    while True:
        child = start(broken)
        # Let it come a little further than the checkpoint it started from, then kill it without warning.
        before = (broken / TRAINING_STATE).stat().st_mtime_ns if (broken / TRAINING_STATE).exists() else 0
        while child.poll() is None and kills < 3:
            state = broken / TRAINING_STATE
            if state.exists() and state.stat().st_mtime_ns > before:
                time.sleep(0.03 * kills)
                child.send_signal(signal.SIGKILL)
                kills += 1
                break
            time.sleep(0.002)
        output, _ = child.communicate(timeout=120)
        if child.returncode == 0:
            break
        assert child.returncode == -signal.SIGKILL
    expected, _ = whole.communicate(timeout=120)
    assert kills == 3
    assert output == expected != ""


def test_a_terminal_sees_progress_and_a_pipe_does_not():
    code = "from ecglib.train import terminal_line; terminal_line('epoch 1/4  step 2/9')"
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True)
    assert b"epoch 1/4  step 2/9" in os.read(ours, 1000)
    piped = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=True)
    assert piped.stderr == b""


def test_state_of_another_run_is_refused(data, tmp_path):
    model = tiny_model()
    run = train._Run(model, data, SCHEDULE, tmp_path, train.Accelerator())
    run.save()
    with pytest.raises(CheckpointError, match=r"training\.safetensors is the state of another run"):
        fit(tiny_model(), data, dataclasses.replace(SCHEDULE, lr=1e-2), tmp_path, report=None)


def test_a_full_disk_leaves_the_checkpoint_before(data, tmp_path, monkeypatch):
    run = train._Run(tiny_model(), data, SCHEDULE, tmp_path, train.Accelerator())
    run.save()
    before = (tmp_path / TRAINING_STATE).read_bytes()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot be written \(No space left on device\); free space"):
        run.save()
    assert (tmp_path / TRAINING_STATE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [TRAINING_STATE]


def test_a_really_full_disk(data, tmp_path):
    """The same on a file system of 64 KiB, where this machine lets us mount one."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("no right to mount a small file system here")
    try:
        with pytest.raises(CheckpointError, match="No space left on device"):
            fit(tiny_model(), data, SCHEDULE, small, report=None)
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_records_without_report_and_too_few_records_are_refused(data, tmp_path):
    records = data.store.records[["id"]].assign(report=[""] * 40)
    store = write_store(tmp_path / "store", 100, np.zeros((40, 12, 50), np.int16), records)
    with pytest.raises(ValueError, match="record r0 has no report"):
        TrainingData.of(store)
    with pytest.raises(ValueError, match="a batch of 8 cannot be shared by 1 processes with 3"):
        fit(tiny_model(), data, dataclasses.replace(SCHEDULE, accumulation=3), tmp_path, report=None)
    with pytest.raises(ValueError, match="40 records do not fill one batch of 64"):
        fit(tiny_model(), data, dataclasses.replace(SCHEDULE, batch_size=64), tmp_path, report=None)


def test_a_loss_that_is_not_finite_stops_the_run(data, tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.down.weight.fill_(float("nan"))
    with pytest.raises(ValueError, match=r"step 0: the loss is nan \(align nan"):
        fit(model, data, SCHEDULE, tmp_path, report=None)
