"""One file per paper. A file composes shared parts and keeps this contract, which a test holds for every paper:

``model.encode_ecg(ecg, leads=None)``
    (B, S, T) millivolts -> (B, D)
``model.encode_text(texts)``
    list of B strings -> (B, D)
``model.losses(batch)``
    dict of named scalar terms; the total is their sum weighted by ``model.loss_weights``.
    ``batch`` is a plain dict with ``ecg`` (B, 12, T) in millivolts and ``report``, a list of B strings.
``model.prepare(texts)``
    called with all reports before training, as often as there are more: computes what depends on them alone (frozen
    states, label vectors, negatives). ``losses`` also takes reports that it has not seen.
``model.encode_classes(prompts)``
    one list of prompts per class, C lists -> (C, D), whatever ``score`` takes for a class
``model.score(ecg, classes, leads=None)``
    (B, S, T) and C lists of prompts, or what ``encode_classes`` made of them -> (B, C); the larger, the more likely.

A file also holds ``CARD``, a frozen ``Config`` with the paper's values, ``DEVIATIONS``, ``build(config)``,
``paper_config()``, ``demo_config()`` and the models of both, ``paper_model()`` and ``demo_model()`` (see `sizes`), and
``SCHEDULES``, what the paper changes in the `Schedule` of a profile. A new paper is one file here, its card and its
notebooks.
"""

import importlib
import pkgutil
from types import ModuleType

from ecglib.errors import ParameterError
from ecglib.papers.card import Card, Deviation, read_record

_SHARED = {"card", "checks", "sizes"}


def stems() -> list[str]:
    """The papers that have a file here, for example ``["deri"]``."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _SHARED)


def load(stem: str) -> ModuleType:
    """The module of a paper. Raises ParameterError for a stem that has no file."""
    if stem not in stems():
        raise ParameterError(f"no paper '{stem}'; there are: {', '.join(stems())}")
    return importlib.import_module(f"{__name__}.{stem}")


def records() -> dict[str, tuple[Card, tuple[Deviation, ...]]]:
    """Card and deviations of every paper, without importing its model."""
    folder = next(iter(__path__))
    return {stem: read_record(f"{folder}/{stem}.py") for stem in stems()}
