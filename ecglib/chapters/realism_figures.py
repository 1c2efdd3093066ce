"""Figures that set simulated ECGs beside real ones: small multiples, wide enough to read on a phone."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ecglib.figures import COLORS, GREY, INK, RULE
from ecglib.realism_features import BANDS_HZ, FAST_BANDS_HZ, LEADS, spoken

WIDTH_IN = 4.7  # shown as wide as other figures, so that letters are a third larger
REAL, SIMULATED = COLORS["deri"], COLORS["k_merl"]  # blue and vermilion: told apart with every kind of colour vision
DENSITIES = ("rate_bpm", "rr_std_ms", "pr_ms", "p_ms", "qrs_ms", "qtc_ms", "axis_deg", "p_axis_deg", "t_axis_deg",
             "p_amp_mv")  # fmt: skip
SPECTRUM_LEADS = ("I", "II", "V2", "V5")
Tables = tuple[pd.DataFrame, pd.DataFrame]


def densities(tables: Tables, names: Sequence[str], features: Sequence[str] = DENSITIES) -> Figure:
    """One panel per measurement: the real records as an area, the simulated ones as a line of equal area."""
    rows = -(-len(features) // 2)
    fig = Figure(figsize=(WIDTH_IN, 0.5 + 1.3 * rows), layout="constrained")
    axes = fig.subplots(rows, 2, squeeze=False).ravel()
    for ax, feature in zip(axes, features, strict=False):
        values = [table[feature].dropna().to_numpy() for table in tables]
        pooled = np.concatenate(values)
        if not len(pooled):
            continue
        low, high = np.percentile(pooled, [0.5, 99.5])
        edges = np.linspace(low, high + 1e-9, 25)
        heights = [np.histogram(np.clip(side, low, high), edges)[0] / max(1, len(side)) for side in values]
        ax.stairs(heights[0], edges, fill=True, color=REAL, alpha=0.35)
        ax.stairs(heights[0], edges, color=REAL, linewidth=1)
        ax.stairs(heights[1], edges, color=SIMULATED, linewidth=1.7)
        ax.set(yticks=[], xlabel=spoken(feature), ylim=(0, None))
        ax.xaxis.get_major_locator().set_params(nbins=5)
        ax.grid(visible=False)
    for ax in axes[len(features) :]:
        ax.set_visible(False)
    fig.supylabel("share of records", fontsize=9)
    area = Patch(facecolor=REAL, alpha=0.35, edgecolor=REAL, label=names[0])
    fig.legend(handles=[area, Line2D([], [], color=SIMULATED, label=names[1])], loc="outside upper center", ncols=2)
    return fig


def amplitudes(tables: Tables, names: Sequence[str]) -> Figure:
    """Q, R, S, ST and T lead by lead: median, quartiles and 5 to 95 %, real on the left of each pair."""
    waves = {"q": "Q", "r": "R", "s": "S", "st": "ST", "t": "T"}
    fig = Figure(figsize=(WIDTH_IN, 0.4 + 1.35 * len(waves)), layout="constrained")
    axes = fig.subplots(len(waves), 1, sharex=True)
    for ax, (wave, name) in zip(axes, waves.items(), strict=True):
        _spans(ax, tables, [f"{wave}_mv_{lead}" for lead in LEADS])
        ax.set_ylabel(f"{name} (mV)")
        ax.axhline(0, color=GREY, linewidth=0.7, zorder=1)
    axes[-1].set_xticks(range(len(LEADS)), LEADS, fontsize=8.5)
    _legend(fig, names)
    return fig


def spectra(tables: Tables, names: Sequence[str]) -> Figure:
    """Share of the power in each band, lead by lead: median, quartiles and 5 to 95 %."""
    bands = (*BANDS_HZ, *FAST_BANDS_HZ)
    fig = Figure(figsize=(WIDTH_IN, 5.0), layout="constrained")
    axes = fig.subplots(2, 2, sharex=True, sharey=True).ravel()
    for ax, lead in zip(axes, SPECTRUM_LEADS, strict=True):
        _spans(ax, tables, [f"power_{lead}_{low:g}_{high:g}" for low, high in bands])
        ax.set_title(lead)
    for ax in axes[2:]:
        labels = [f"{low:g}–{high:g}" for low, high in bands]
        ax.set_xticks(range(len(bands)), labels, rotation=90, fontsize=8.5)
        ax.set_xlabel("band (Hz)")
    fig.supylabel("log$_{10}$ of the share of power, 0.05–48 Hz", fontsize=9)
    _legend(fig, names)
    return fig


def _spans(ax: Axes, tables: Tables, features: Sequence[str]) -> None:
    for table, color, shift, marker in ((tables[0], REAL, -0.17, "o"), (tables[1], SIMULATED, 0.17, "s")):
        values = table[list(features)].to_numpy(dtype=float)
        there = [column[np.isfinite(column)] for column in values.T]
        at = np.array([i for i, column in enumerate(there) if len(column)])
        if not len(at):
            continue
        quantiles = np.array([np.percentile(there[i], [5, 25, 50, 75, 95]) for i in at])
        ax.vlines(at + shift, quantiles[:, 0], quantiles[:, 4], color=color, linewidth=1.1)
        ax.vlines(at + shift, quantiles[:, 1], quantiles[:, 3], color=color, linewidth=4, alpha=0.55)
        ax.plot(at + shift, quantiles[:, 2], marker, color=color, markersize=3.4, markeredgewidth=0)
    ax.grid(axis="x", visible=False)


def _legend(fig: Figure, names: Sequence[str]) -> None:
    handles = [
        Line2D([], [], color=color, marker=marker, linewidth=2.5, markersize=4, label=name)
        for name, color, marker in zip(names, (REAL, SIMULATED), "os", strict=True)
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=2)


def auc_by_group(table: pd.DataFrame, *, aim: float | None = None) -> Figure:
    """AUC of the trees per group with its interval, one marker per population; alike and an aim as lines."""
    groups, populations = list(dict.fromkeys(table["group"])), list(dict.fromkeys(table["population"]))
    fig = Figure(figsize=(WIDTH_IN, 0.9 + 0.36 * len(groups)), layout="constrained")
    ax = fig.subplots()
    ax.axvline(50, color=INK, linewidth=1)
    ax.text(50, -0.75, "alike", ha="center", va="bottom", fontsize=8.5)
    if aim is not None:
        ax.axvline(aim, color=GREY, linewidth=1.2, linestyle=(0, (4, 2)))
        ax.text(aim, -0.75, "aim", ha="center", va="bottom", fontsize=8.5, color=GREY)
    handles = []
    for i, (population, color, marker) in enumerate(zip(populations, (SIMULATED, INK), "sD", strict=False)):
        own = table[table["population"] == population].set_index("group").reindex(groups)
        y = np.arange(len(groups)) + 0.26 * (i - (len(populations) - 1) / 2)
        ax.hlines(y, own["ci_low"], own["ci_high"], color=color, linewidth=2, alpha=0.6)
        ax.plot(own["auc"], y, marker, color=color, markersize=5, markeredgewidth=0)
        handles.append(Line2D([], [], color=color, marker=marker, markersize=5, label=population))
    low = min(45.0, 5 * np.floor(table["ci_low"].min() / 5))
    ax.set(yticks=range(len(groups)), yticklabels=groups, ylim=(len(groups) - 0.5, -0.7), xlim=(low, 101),
           xlabel="AUC of telling the two apart (%)")  # fmt: skip
    ax.grid(axis="y", visible=False)
    fig.legend(handles=handles, loc="outside lower center", ncols=1)
    return fig


def most_telling(table: pd.DataFrame) -> Figure:
    """Bars from 50: how well one measurement alone tells. ``table``: columns name, single."""
    fig = Figure(figsize=(WIDTH_IN, 0.7 + 0.27 * len(table)), layout="constrained")
    ax = fig.subplots()
    for y, row in enumerate(table.to_dict("records")):
        ax.barh(y, row["single"] - 50, left=50, height=0.62, color=SIMULATED, linewidth=0)
        ax.text(row["single"] + 0.7, y, f"{row['single']:.0f}", va="center", fontsize=8.5)
    ax.axvline(50, color=INK, linewidth=1)
    ax.set(yticks=range(len(table)), yticklabels=table["name"], ylim=(len(table) - 0.4, -0.6), xlim=(50, 105),
           xlabel="AUC of this measurement alone (%)")  # fmt: skip
    ax.grid(axis="x", color=RULE)
    ax.grid(axis="y", visible=False)
    return fig
