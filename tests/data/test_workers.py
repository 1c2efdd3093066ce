"""A script without a main guard, as a notebook exported to Python is, may simulate in parallel."""

import subprocess
import sys


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
