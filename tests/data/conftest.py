"""Fixtures of the data tests."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of its own for every test."""
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
