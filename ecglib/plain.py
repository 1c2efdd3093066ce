"""Values of a run as JSON: what a record can hold and read back."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ecglib.errors import ResultError


def plain(value: Any) -> Any:
    """``value`` as JSON: dataclasses and mappings become dicts, arrays' scalars numbers, paths text, NaN null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {f.name: getattr(value, f.name) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(v) for v in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Path):
        return value.as_posix()
    if type(value).__module__.startswith("torch"):
        return str(value)  # a device or dtype
    raise ResultError(f"a run record cannot hold a {type(value).__name__}: {str(value)[:80]}")
