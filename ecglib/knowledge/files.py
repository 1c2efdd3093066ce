"""The data files of the knowledge base, read once."""

import json
from functools import cache
from importlib.resources import files


@cache
def load(name: str) -> dict:
    """Content of ``ecglib/knowledge/<name>.json``; every caller gets the same object and must not change it."""
    return json.loads(files("ecglib.knowledge").joinpath(f"{name}.json").read_text(encoding="utf-8"))
