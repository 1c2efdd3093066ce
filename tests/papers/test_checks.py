"""What papers refuse alike: one message that names paper, field, value and what is allowed."""

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Literal

import pytest

from ecglib.errors import ParameterError
from ecglib.papers import checks


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda c: checks.some_of("X", c, "none", ("a",)), "X: none are some of a, each once, not ''"),
        (lambda c: checks.some_of("X", c, "twice", ("a",)), "X: twice are some of a, each once, not 'a,a'"),
        (lambda c: checks.some_of("X", c, "other", ("a",)), "X: other are some of a, each once, not 'z'"),
        (lambda c: checks.positive("X", c, "zero"), "X: zero must be positive, not 0"),
        (lambda c: checks.positive("X", c, "infinite"), "X: infinite must be positive, not inf"),
        (lambda c: checks.positive("X", c, "missing"), "X: missing must be positive, not nan"),
        (lambda c: checks.fractions("X", c, "one"), r"X: one lies in \[0, 1\), not 1"),
        (lambda c: checks.splits("X", c, ("six", "four")), "X: six must be a multiple of four, not 6 of 4"),
        (lambda c: checks.within("X", c, {"one": (2, 3)}), "X: one goes from 2 to 3, not 1"),
    ],
)
def test_refused(check, message):
    numbers = {"zero": 0, "one": 1, "four": 4, "six": 6, "infinite": float("inf"), "missing": float("nan")}
    config = SimpleNamespace(none=(), twice=("a", "a"), other=("z",), **numbers)
    with pytest.raises(ParameterError, match=f"^{message}$"):
        check(config)


@dataclass
class Words:
    word: Literal["a", "b"] = "a"
    free: str = "c"


def test_words_stand_once_in_the_declaration():
    assert checks.choices_of(Words) == {"word": ("a", "b")}
    checks.choices("X", Words())
    with pytest.raises(ParameterError, match=r"^X: word is one of a, b, not 'c'$"):
        checks.choices("X", Words(word="c"))


def test_allowed():
    config = SimpleNamespace(some=("a",), none=(), half=0.5, zero=0.0)
    checks.some_of("X", config, "some", ("a", "b"))
    checks.some_of("X", config, "none", ("a", "b"), fewest=0)
    checks.positive("X", config, "half")
    checks.fractions("X", config, "zero", "half")
    checks.within("X", config, {"half": (0.5, 0.5)})
    checks.splits("X", SimpleNamespace(six=6, two=2), ("six", "two"))
