"""What a run ran on: commit, versions, processor, device, memory. No host name, no path."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

from ecglib.paths import project_root

PACKAGES = ("torch", "transformers", "accelerate", "numpy", "scipy", "scikit-learn", "pandas", "wfdb", "papermill")


def commit() -> tuple[str | None, bool | None]:
    """Commit of the project and whether tracked files outside ``results/`` differ from it; (None, None) without git.

    The results folder is left out because every run writes there: it says nothing about the code.
    """
    try:
        git = ["git", "-C", str(project_root())]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=20)
        tracked = ["status", "--porcelain", "--untracked-files=no", "--", ".", ":(exclude)results"]
        status = subprocess.run([*git, *tracked], capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    if head.returncode or status.returncode:
        return None, None
    return head.stdout.strip(), bool(status.stdout.strip())


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a number may depend on; nothing is imported for it."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def torch_device():
    """The ``torch.device`` that models run on here: the first GPU, else the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device() -> str:
    """The accelerator's name as torch gives it, else ``cpu``."""
    if has_torch():
        import torch

        if torch.cuda.is_available():
            count = torch.cuda.device_count()
            return (f"{count} x " if count > 1 else "") + torch.cuda.get_device_name(0)
        if torch.backends.mps.is_available():
            return "mps"
    return "cpu"


def threads() -> int | None:
    """Threads of torch on the processor; None without torch."""
    if not has_torch():
        return None
    import torch

    return torch.get_num_threads()


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """Model of the processor, as in ``/proc/cpuinfo``; else its architecture."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found.group(1).strip() if found else platform.machine()


def memory_gb() -> float | None:
    """Physical memory in GiB, rounded."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None


def peak_memory_mb() -> float | None:
    """Largest resident size of this process so far, in MiB."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def peak_gpu_memory_mb() -> float | None:
    """Largest memory that torch allocated on one GPU so far, in MiB; None without one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return round(max(torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count())) / 2**20, 1)


def describe(precision: str = "float32") -> dict[str, object]:
    """The ``machine`` entry of a run record."""
    return {
        "cpu": cpu(),
        "cores": cores(),
        "threads": threads(),
        "memory_gb": memory_gb(),
        "device": device(),
        "precision": precision,
        "peak_gpu_memory_mb": peak_gpu_memory_mb(),
    }
