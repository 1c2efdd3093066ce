"""Charts of a reader: how far its probabilities hold, and what it says of one record."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ecglib.figures import COLORS, GREY, INK, WIDTH_IN
from ecglib.probability import Reliability

_COLOR = COLORS["deri"]  # the same in all charts of a reader, which belongs to no paper


def reliability_diagram(panels: Mapping[str, Reliability]) -> Figure:
    """Observed share against mean prediction per bin, one panel each: on the dotted line every probability holds.

    Bars are 95 % over patients; the number of predictions stands below each point.
    """
    fig = Figure(figsize=(WIDTH_IN, 3.5), layout="constrained")
    axes = fig.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for ax, (title, found) in zip(axes, panels.items(), strict=True):
        ax.plot([0, 1], [0, 1], color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        some = found.counts > 0
        x, y = found.predicted[some], found.observed[some]
        ax.vlines(x, found.low[some], found.high[some], color=INK, linewidth=1.1)
        ax.plot(x, y, "o", color=_COLOR, clip_on=False, zorder=3)
        for at, n in zip(x, found.counts[some], strict=True):
            ax.text(at, -0.055, f"{n:,}", ha="center", va="top", fontsize=6.5, color=GREY, rotation=45)
        ax.set(xlim=(-0.05, 1.03), ylim=(-0.16, 1.04), xlabel="mean prediction", xticks=np.arange(0, 1.1, 0.2),
               yticks=np.arange(0, 1.1, 0.2), title=f"{title}: ECE {found.ece:.1f} points")  # fmt: skip
    axes[0].set_ylabel("share that shows it")
    return fig


def probability_bars(names: Sequence[str], probabilities: np.ndarray, usual: np.ndarray) -> Figure:
    """One bar per name, probabilities (S,) from 0 to 1; a tick marks ``usual`` (S,), how common each is."""
    fig = Figure(figsize=(WIDTH_IN, 0.75 + 0.34 * len(names)), layout="constrained")
    ax = fig.subplots()
    y = np.arange(len(names))
    ax.barh(y, 100 * np.asarray(probabilities), height=0.6, color=_COLOR, linewidth=0)
    for at, value, tick in zip(y, 100 * np.asarray(probabilities), 100 * np.asarray(usual), strict=True):
        beyond = tick if value < tick < value + 9 else value  # the words stand behind their bar, not on a tick
        ax.text(beyond + 1, at, f"{value:.0f} %", va="center", fontsize=9)
    ax.vlines(100 * np.asarray(usual), y - 0.38, y + 0.38, color=INK, linewidth=1.4)
    label = "probability (%); the tick is the share in the calibrating population"
    ax.set(yticks=y, yticklabels=names, xlim=(0, 108), ylim=(len(names) - 0.5, -0.5), xlabel=label)
    ax.grid(axis="y", visible=False)
    return fig
