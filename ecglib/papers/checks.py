"""What the papers' ``check`` functions share. Each refuses a value of a Config by its name, with a ParameterError."""

import math
from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin

from ecglib.errors import ParameterError


def choices_of(config: type) -> dict[str, tuple[str, ...]]:
    """Field -> words, for the fields of a Config that are declared as ``Literal`` words."""
    return {field.name: get_args(field.type) for field in fields(config) if get_origin(field.type) is Literal}


def choices(paper: str, config: Any) -> None:
    """Fields that take one of the words they are declared with."""
    for field, words in choices_of(type(config)).items():
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


def splits(paper: str, config: Any, *pairs: tuple[str, str]) -> None:
    """Widths that attention splits evenly among its heads: (field of the width, field of the heads)."""
    for width, heads in pairs:
        of, among = getattr(config, width), getattr(config, heads)
        if among < 1 or of < 1 or of % among:
            raise ParameterError(f"{paper}: {width} must be a multiple of {heads}, not {of} of {among}")
