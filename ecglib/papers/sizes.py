"""The two sizes every paper has: the paper's own, and one for two cores."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn


def sizes(config: type, build: Callable[[Any], nn.Module], demo: Mapping[str, Any]) -> tuple[Callable, ...]:
    """``paper_config``, ``demo_config`` and the untrained models of both, ``paper_model`` and ``demo_model``.

    ``config`` is the paper's Config, whose defaults are the paper's values; ``demo`` holds what the demo has otherwise.
    Each of the four takes further changes by name: ``demo_model(width=32)``.
    """

    def paper_config(**changes) -> Any:
        """The values of the paper, but for ``changes``."""
        return config(**changes)

    def demo_config(**changes) -> Any:
        """The same composition for two cores, but for ``changes``."""
        return config(**{**demo, **changes})

    def paper_model(**changes) -> nn.Module:
        """The model of ``paper_config``, untrained."""
        return build(paper_config(**changes))

    def demo_model(**changes) -> nn.Module:
        """The model of ``demo_config``, untrained."""
        return build(demo_config(**changes))

    return paper_config, demo_config, paper_model, demo_model
