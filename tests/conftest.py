"""Shared fixtures. Real records are looked for under ``$ECG_DATA``; tests that need them skip with a reason."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # two threads beside another process are slower than one


@pytest.fixture
def real_data():
    """Function name -> folder of a real data set under ``$ECG_DATA``, or skip with the reason."""

    def folder(name: str) -> Path:
        root = os.environ.get("ECG_DATA", "")
        if not root:
            pytest.skip("ECG_DATA is not set: no folder with real records to try")
        path = Path(root) / name
        if not path.is_dir():
            pytest.skip(f"{name} is not in the folder that ECG_DATA names")
        return path

    return folder
