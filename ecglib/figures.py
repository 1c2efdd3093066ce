"""The book's one style, and its charts. ECGs on clinical paper are in `ecglib.ecg_paper`, tables in `ecglib.tables`."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ecglib import papers
from ecglib.ecg_paper import plot_ecg
from ecglib.paths import sha256_of
from ecglib.results import TASKS, method_key
from ecglib.tables import DATASET_NAMES, score_frame, score_table

__all__ = ["COLORS", "auc_bars", "color_of", "plot_ecg", "png_bytes", "reported_vs_reproduced", "score_frame",
           "score_table", "show", "training_curves", "use_style"]  # fmt: skip

# One colour per paper in the whole book (Okabe and Ito: told apart with every kind of colour blindness).
COLORS = {
    "merl": "#E69F00",
    "deri": "#0072B2",
    "fg_clep": "#009E73",
    "k_merl": "#D55E00",
    "c_melt": "#CC79A7",
    "esi": "#56B4E9",
}
# For methods without a colour of their own, chosen by name: dark ones, which the six are not.
FURTHER = ("#332288", "#882255", "#999933", "#6B4C2A")
GREY, INK, RULE = "#767676", "#22242a", "#d9d9de"
WIDTH_IN = 6.3  # one column of the book: 700 pixels, 16 cm in print
NOT_TERMS = ("epoch", "step", "lr", "seconds")


def use_style() -> None:
    """Set matplotlib's defaults: sizes in print, a font that it ships with, files without dates or random ids."""
    mpl.rcParams.update(
        {
            "figure.figsize": (WIDTH_IN, 3.4),
            "figure.dpi": 110,
            "savefig.dpi": 200,
            "savefig.bbox": "tight",
            "savefig.pad_inches": 0.04,
            "figure.facecolor": "white",
            "svg.hashsalt": "ecglib",
            "svg.fonttype": "path",
            "font.family": "DejaVu Sans",
            "font.size": 9.5,
            "axes.titlesize": 10,
            "axes.titleweight": "bold",
            "axes.titlelocation": "left",
            "axes.labelsize": 9.5,
            "axes.labelcolor": INK,
            "axes.edgecolor": "#85868c",
            "axes.linewidth": 0.7,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.axisbelow": True,
            "axes.grid": True,
            "axes.prop_cycle": mpl.cycler(color=[COLORS["deri"], COLORS["k_merl"], COLORS["fg_clep"], COLORS["merl"],
                                                 COLORS["c_melt"], COLORS["esi"], "#000000"]),
            "grid.color": RULE,
            "grid.linewidth": 0.6,
            "text.color": INK,
            "xtick.color": INK,
            "ytick.color": INK,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
            "xtick.major.size": 3,
            "ytick.major.size": 0,
            "legend.frameon": False,
            "legend.fontsize": 9,
            "lines.linewidth": 1.6,
            "lines.markersize": 4.5,
        }
    )  # fmt: skip


def color_of(method: str) -> str:
    """The colour of a method: its paper's, also for variants such as ``deri-align``.

    A paper that is not in ``COLORS`` has one of ``FURTHER``, always the same one; what has no file in `ecglib.papers`
    (quoted methods, the random encoder, chance) is grey.
    """
    key = method_key(method)
    found = [paper for paper in {*COLORS, *papers.stems()} if key == paper or key.startswith(paper + "_")]
    if not found:
        return GREY
    paper = max(found, key=len)
    return COLORS.get(paper) or FURTHER[int(sha256_of(paper, 8), 16) % len(FURTHER)]


def png_bytes(fig: Figure, *, dpi: int = 150, colors: int = 64) -> bytes:
    """A figure as a png with a palette: a few colours suffice for line art and take a third of the space."""
    from PIL import Image

    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    image = Image.open(buffer).convert("RGB").quantize(colors, dither=Image.Dither.NONE)
    packed = io.BytesIO()
    image.save(packed, format="png", optimize=True)
    return packed.getvalue()


def show(fig: Figure, *, dpi: int = 150, colors: int = 64) -> Any:
    """A figure for display in a notebook that is to stay small: the image of `png_bytes`, as wide as the column."""
    from IPython.display import Image

    return Image(data=png_bytes(fig, dpi=dpi, colors=colors), format="png", width=700)


def training_curves(
    history: Sequence[Mapping[str, float]],
    *,
    labels: Mapping[str, str] | None = None,
    reference: Mapping[str, float] | None = None,
    color: str = COLORS["deri"],
) -> Figure:
    """One small panel per loss term, the total first.

    Args:
        history: what ``fit`` returns, one dict per epoch: ``epoch``, ``step``, ``lr``, ``seconds`` and the terms.
        labels: term -> title of its panel.
        reference: term -> value drawn as a dotted line, for example log B, the loss of guessing.
    """
    table = pd.DataFrame(history)
    terms = sorted((c for c in table if c not in NOT_TERMS), key=lambda c: c != "total")
    n_columns = min(3, max(1, len(terms)))
    n_rows = -(-len(terms) // n_columns)
    fig = Figure(figsize=(WIDTH_IN, 1.75 * n_rows + 0.35), layout="constrained")
    axes = np.atleast_1d(fig.subplots(n_rows, n_columns, sharex=True, squeeze=False)).ravel()
    x = table["epoch"] if "epoch" in table else table["step"]
    for ax, term in zip(axes, terms, strict=False):
        strong = term == "total"
        ax.plot(x, table[term], color=INK if strong else color, marker="o" if len(x) <= 12 else None, clip_on=False)
        ax.set_title((labels or {}).get(term, term))
        if reference and term in reference:
            ax.axhline(reference[term], color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        last = (x.iloc[-1], table[term].iloc[-1])
        ax.annotate(f" {last[1]:.2f}", last, xytext=(4, 0), textcoords="offset points", va="center", fontsize=8.5)
        ax.margins(y=0.12)
        span = max(x.iloc[-1] - x.iloc[0], 1)
        ax.set_xlim(x.iloc[0] - 0.03 * span, x.iloc[-1] + 0.24 * span)  # room for the last value
        ax.xaxis.get_major_locator().set_params(integer=True, nbins=6)
        ax.yaxis.get_major_locator().set_params(nbins=4)
    for ax in axes[len(terms) :]:
        ax.set_visible(False)
    for i in range(len(terms)):
        if i + n_columns >= len(terms):  # the lowest panel of its column
            axes[i].tick_params(labelbottom=True)
            axes[i].set_xlabel("epoch" if "epoch" in table else "step")
    fig.supylabel("mean loss", fontsize=9.5)
    return fig


def reported_vs_reproduced(table: pd.DataFrame, *, unit: str = "macro AUC (%)") -> Figure:
    """Printed numbers as open markers, ours as filled ones with their interval; pale where the two do not compare.

    Args:
        table: rows of `ecglib.results.compare`, preferably of one exhibit and few methods.
    """
    several = table["setting"].nunique() > 1
    order = {d: i for i, d in enumerate((*TASKS, "average"))}
    cells = sorted(
        {(r.dataset, r.setting) for r in table.itertuples()}, key=lambda c: (c[1], order.get(c[0], 99), c[0])
    )
    methods = list(dict.fromkeys(table["method"]))
    step = min(0.26, 0.7 / max(1, len(methods)))
    fig = Figure(figsize=(WIDTH_IN, 1.3 + len(cells) * max(0.34, 0.17 * len(methods) + 0.12)), layout="constrained")
    ax = fig.subplots()
    for row in table.itertuples():
        y = cells.index((row.dataset, row.setting)) + (methods.index(row.method) - (len(methods) - 1) / 2) * step
        color = GREY if row.origin == "quoted" else color_of(row.method)
        if pd.notna(row.number):
            ax.plot(row.number, y, "o", markerfacecolor="white", markeredgecolor=color, markeredgewidth=1.5,
                    markersize=6.5, zorder=3)  # fmt: skip
        if pd.notna(row.run_value):
            alpha = 0.45 if row.verdict == "not comparable" else 1.0
            if pd.notna(row.ci_low) and pd.notna(row.ci_high):
                ax.plot([row.ci_low, row.ci_high], [y, y], color=color, alpha=alpha, linewidth=2.2,
                        solid_capstyle="butt", zorder=2)  # fmt: skip
            ax.plot(row.run_value, y, "D", color=color, alpha=alpha, markersize=5.5, markeredgewidth=0, zorder=4)
    names = [DATASET_NAMES.get(d, d) + (f", {s}" if several else "") for d, s in cells]
    ax.set(yticks=range(len(cells)), yticklabels=names, xlabel=unit, ylim=(len(cells) - 0.5, -0.5))
    ax.grid(axis="y", visible=False)
    for y in np.arange(0.5, len(cells) - 1):
        ax.axhline(y, color=RULE, linewidth=0.6)
    _legend(fig, table, methods)
    return fig


def _legend(fig: Figure, table: pd.DataFrame, methods: list[str]) -> None:
    handles = [Line2D([], [], marker="o", linestyle="", markerfacecolor="white", markeredgecolor=INK,
                      markeredgewidth=1.5, markersize=6.5, label="printed")]  # fmt: skip
    ours = table[table["run_value"].notna()]
    if len(ours):
        handles.append(
            Line2D([], [], marker="D", color=INK, markersize=5.5, linewidth=2.2, label="here, 95 % interval")
        )
    if (ours["verdict"] == "not comparable").any():
        pale = "not comparable: " + "; ".join(sorted({w for w in ours["why"] if w}))
        handles.append(Line2D([], [], marker="D", color=INK, alpha=0.45, markersize=5.5, linewidth=2.2,
                              label=pale if len(pale) < 60 else "here, not comparable"))  # fmt: skip
    if len(methods) > 1:
        for method in methods:
            quoted = (table.loc[table["method"] == method, "origin"] == "quoted").all()
            color = GREY if quoted else color_of(method)
            handles.append(Line2D([], [], color=color, linewidth=5, label=method + (" (quoted)" if quoted else "")))
    fig.legend(
        handles=handles, loc="outside upper left", ncols=min(3, len(handles)), handlelength=1.6, columnspacing=1.4
    )


def seed_dots(panels: Mapping[str, pd.DataFrame], names: Mapping[str, str], *, unit: str = "macro AUC (%)") -> Figure:
    """One panel per table, one line per method: a small dot per seed, the mean with its interval as a diamond.

    Args:
        panels: title -> columns ``method``, ``seed``, ``value``, ``mean``, ``ci_low``, ``ci_high``.
        names: method -> what stands beside its line, in this order from top to bottom.
    """
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    fig = Figure(figsize=(WIDTH_IN, 0.4 + rows * (0.85 + 0.27 * len(names))), layout="constrained")
    axes = fig.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, (title, table) in zip(axes, panels.items(), strict=False):
        for y, method in enumerate(names):
            own, color = table[table["method"] == method], color_of(method)
            ax.plot(own["value"], [y] * len(own), "o", markerfacecolor="white", markeredgecolor=color, markersize=4.5)
            if len(own):
                row = own.iloc[0]
                ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=color, linewidth=2, alpha=0.6, zorder=1)
                ax.plot(row["mean"], y, "D", color=color, markersize=6, markeredgewidth=0, zorder=4)
        ax.axvline(50, color=GREY, linewidth=1, linestyle=(0, (1, 2)))
        ax.set(yticks=range(len(names)), yticklabels=names.values(), ylim=(len(names) - 0.4, -0.6), title=title)
        ax.grid(axis="y", visible=False)
    for ax in axes[len(panels) :]:
        ax.set_visible(False)
    for ax in axes[max(0, len(panels) - columns) : len(panels)]:
        ax.tick_params(labelbottom=True)
        ax.set_xlabel(unit)
    return fig


def auc_bars(table: pd.DataFrame, *, title: str = "", chance: float = 50.0, color: str = COLORS["deri"]) -> Figure:
    """AUC per class as bars from the chance line, best on top, with interval and number of positive records.

    Args:
        table: columns ``class``, ``auc`` (percent), ``ci_low``, ``ci_high``, ``positives``; classes without an AUC
            (NaN) stand at the bottom and are called not scored.
    """
    table = table.sort_values("auc", ascending=False, na_position="last", kind="stable").reset_index(drop=True)
    fig = Figure(figsize=(WIDTH_IN, 0.85 + 0.23 * len(table)), layout="constrained")
    ax = fig.subplots()
    for y, row in enumerate(table.to_dict("records")):
        if pd.isna(row["auc"]):
            ax.text(chance + 0.5, y, "not scored", va="center", fontsize=8.5, color=GREY)
        else:
            ax.barh(y, row["auc"] - chance, left=chance, height=0.62, color=color, linewidth=0,
                    alpha=1.0 if row["auc"] >= chance else 0.45)  # fmt: skip
            if pd.notna(row["ci_low"]) and pd.notna(row["ci_high"]):
                ax.plot([row["ci_low"], row["ci_high"]], [y, y], color=INK, linewidth=1.1, zorder=3)
        ax.text(1.015, y, f"{row['positives']:,.0f}", transform=ax.get_yaxis_transform(), va="center", fontsize=8.5)
    ax.text(1.015, -1.0, "positives", transform=ax.get_yaxis_transform(), va="center", fontsize=8.5, color=GREY)
    ax.axvline(chance, color=INK, linewidth=1)
    lows = pd.concat([table["auc"], table["ci_low"]]).dropna()
    low = min(40.0, 10 * np.floor(lows.min() / 10)) if len(lows) and lows.min() < chance else chance - 3
    ax.set(yticks=range(len(table)), yticklabels=table["class"], ylim=(len(table) - 0.4, -0.6), xlim=(max(0, low), 100),
           xlabel=f"AUC (%), bars start at chance ({chance:g})", title=title)  # fmt: skip
    ax.grid(axis="y", visible=False)
    return fig
