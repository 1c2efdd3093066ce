"""A script without a main guard, as a notebook exported to Python is, may simulate in parallel."""

import os
import signal
import struct
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import pytest

from ecglib.data.workers import WorkerPool, main_module_hidden


def test_a_script_without_a_guard_starts_once(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "print('started')\n"
        "from ecglib.data.synthetic import simulate_store\n"
        f"store = simulate_store({str(tmp_path / 'store')!r}, 'csn', 400, seed=0, sampling_rate_hz=100, workers=2)\n"
        "print(len(store))\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["started", "400"]


def _killed_while_answering(_):
    """Begin an answer of a thousand bytes on the pool's own pipe, then be killed, as by the system short of memory."""
    frame = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    queue = frame.f_locals["result_queue"]
    queue._wlock.acquire()
    queue._writer._send(struct.pack("!i", 1000) + b"half")
    os.kill(os.getpid(), signal.SIGKILL)


def _killed(_):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("how", [_killed, _killed_while_answering])
def test_a_killed_worker_is_noticed_whatever_it_was_doing(how):
    with main_module_hidden(), WorkerPool(2) as pool:
        assert list(pool.map(abs, [-1, -2])) == [1, 2]
        with pytest.raises(BrokenProcessPool):
            list(pool.map(how, range(4)))
        with pytest.raises(BrokenProcessPool):
            pool.submit(abs, -3)
