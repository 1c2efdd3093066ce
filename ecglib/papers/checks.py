"""What the papers' ``check`` functions share. Each refuses a value of a Config by its name, with a ParameterError."""

import math
from collections.abc import Collection, Mapping
from typing import Any

from ecglib.errors import ParameterError


def choices(paper: str, config: Any, allowed: Mapping[str, Collection[str]]) -> None:
    """Fields that take one of a few words."""
    for field, words in allowed.items():
        if getattr(config, field) not in words:
            raise ParameterError(f"{paper}: {field} is one of {', '.join(words)}, not '{getattr(config, field)}'")


def some_of(paper: str, config: Any, field: str, allowed: Collection[str], fewest: int = 1) -> None:
    """A field that takes some of a few words, each once."""
    given = getattr(config, field)
    if len(given) < fewest or set(given) - set(allowed) or len(set(given)) < len(given):
        raise ParameterError(f"{paper}: {field} are some of {', '.join(allowed)}, each once, not '{','.join(given)}'")


def positive(paper: str, config: Any, *fields: str) -> None:
    """Finite numbers above zero."""
    for field in fields:
        if not 0 < getattr(config, field) < math.inf:
            raise ParameterError(f"{paper}: {field} must be positive, not {getattr(config, field)}")


def fractions(paper: str, config: Any, *fields: str) -> None:
    """Parts of something that never is the whole."""
    for field in fields:
        if not 0 <= getattr(config, field) < 1:
            raise ParameterError(f"{paper}: {field} lies in [0, 1), not {getattr(config, field)}")


def within(paper: str, config: Any, limits: Mapping[str, tuple[float, float]]) -> None:
    """Numbers between two that are allowed themselves."""
    for field, (lowest, highest) in limits.items():
        if not lowest <= getattr(config, field) <= highest:
            raise ParameterError(f"{paper}: {field} goes from {lowest} to {highest}, not {getattr(config, field)}")
