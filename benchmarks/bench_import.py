"""Seconds to `import ecglib`, beside an empty interpreter and beside `import torch`; whether torch came along."""

import subprocess
import sys
import time


def seconds(code: str) -> float:
    """Best of five fresh interpreters."""
    times = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return min(times)


empty, ours, torch = seconds(""), seconds("import ecglib"), seconds("import torch")
print(f"import ecglib  {1e3 * (ours - empty):7.1f} ms above an empty interpreter   torch/ecglib {torch / ours:.0f}")
subprocess.run([sys.executable, "-c", "import sys, ecglib; assert 'torch' not in sys.modules"], check=True)
