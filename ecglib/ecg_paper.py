"""Twelve-lead ECGs on clinical paper: 25 mm/s, 10 mm/mV, in true millimetres when printed at 100 %."""

import math
import textwrap

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ecglib.errors import SignalError
from ecglib.signals import LEADS

MM_PER_S, MM_PER_MV = 25.0, 10.0
PAPER, FINE, BOLD, INK = "#fffaf8", "#f7d9d6", "#eaa8a2", "#16161d"
COLUMNS = (("I", "II", "III"), ("aVR", "aVL", "aVF"), ("V1", "V2", "V3"), ("V4", "V5", "V6"))
RHYTHM_LEAD = "II"
LEFT_MM = 12.0  # room for the calibration pulse
RIGHT_MM = 3.0
TEXT_PT = 12.0
# With serifs: without them I, II and III are mere strokes.
LABEL = {"fontsize": 13, "fontweight": "bold", "fontfamily": "DejaVu Serif", "color": "#16161d", "va": "bottom"}
LINE_MM = 0.4


def plot_ecg(
    ecg_mv: np.ndarray,
    sampling_rate_hz: float,
    *,
    title: str = "",
    report: str = "",
    layout: str = "3x4+rhythm",
    duration_s: float = 10.0,
) -> Figure:
    """Draw a record as a cart prints it.

    Args:
        ecg_mv: (12, T) millivolts, leads in the order of `ecglib.signals.LEADS`.
        sampling_rate_hz: of ``ecg_mv``.
        title, report: printed above the paper, the report wrapped.
        layout: ``3x4+rhythm`` (four columns in time order with lead II below) or ``12x1`` (each lead in full).
        duration_s: seconds shown from the start; a shorter record is shown whole.

    Each strip is drawn about its median. Raises SignalError for another shape, layout or non-finite samples.
    """
    ecg = np.asarray(ecg_mv, dtype=float)
    if ecg.ndim != 2 or ecg.shape[0] != len(LEADS):
        raise SignalError(f"an ECG plot needs (12, T) millivolts, not an array of shape {ecg.shape}")
    if not np.isfinite(ecg).all():
        raise SignalError("an ECG plot needs finite samples; fill missing ones first (ecglib.signals.fill_missing)")
    shown_s = min(duration_s, ecg.shape[1] / sampling_rate_hz)
    rows = _rows(layout, shown_s)
    strips = [[_strip(ecg, sampling_rate_hz, *cell) for cell in row] for row in rows]
    baselines, height = _baselines(rows, strips)
    width = LEFT_MM + 5 * math.ceil(shown_s * MM_PER_S / 5) + RIGHT_MM
    lines = textwrap.wrap(" ".join(report.split()), int(width / 2.15))
    head = (7.0 if title else 0.0) + 5.6 * len(lines) + (2.5 if title or lines else 0.0)
    ax = _paper(width, height, head)
    _write_head(ax, title, lines, height + head)
    for row, row_strips, baseline in zip(rows, strips, baselines, strict=True):
        _pulse(ax, baseline)
        for i, ((lead, start_s, _), (x, y)) in enumerate(zip(row, row_strips, strict=True)):
            ax.plot(x, y + baseline, color=INK, linewidth=_pt(LINE_MM), solid_joinstyle="round", zorder=3)
            at = LEFT_MM + start_s * MM_PER_S
            if i:
                ax.plot([at, at], [baseline - 3, baseline + 3], color=INK, linewidth=_pt(0.25), zorder=3)
            ax.text(at + 1, baseline + _lift(lead, x, y), lead, **LABEL, path_effects=_halo(), zorder=4)
    caption = f"{MM_PER_S:g} mm/s    {MM_PER_MV:g} mm/mV    sampled at {sampling_rate_hz:g} Hz"
    if ecg.shape[1] / sampling_rate_hz > shown_s + 0.5:
        caption += f"    first {shown_s:g} of {ecg.shape[1] / sampling_rate_hz:.0f} s"
    ax.text(LEFT_MM, 1.6, caption, fontsize=10.5, color=INK, va="bottom", path_effects=_halo(), zorder=4)
    return ax.figure


def _rows(layout: str, shown_s: float) -> list[list[tuple[str, float, float]]]:
    """Rows of (lead, from, to) in seconds."""
    if layout == "12x1":
        return [[(lead, 0.0, shown_s)] for lead in LEADS]
    if layout != "3x4+rhythm":
        raise SignalError(f"unknown ECG layout {layout!r}; there are 3x4+rhythm and 12x1")
    part = shown_s / len(COLUMNS)
    rows = [[(leads[r], c * part, (c + 1) * part) for c, leads in enumerate(COLUMNS)] for r in range(3)]
    return [*rows, [(RHYTHM_LEAD, 0.0, shown_s)]]


def _strip(ecg: np.ndarray, hz: float, lead: str, start_s: float, stop_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres across the paper and above the baseline; up to and with the first sample of the next column."""
    whole = ecg[LEADS.index(lead)]
    first, last = round(start_s * hz), min(round(stop_s * hz) + 1, len(whole))
    x = LEFT_MM + np.arange(first, last) / hz * MM_PER_S
    return x, (whole[first:last] - np.median(whole)) * MM_PER_MV


def _baselines(
    rows: list[list[tuple[str, float, float]]], strips: list[list[tuple[np.ndarray, np.ndarray]]]
) -> tuple[list[float], float]:
    """Baselines on bold lines, as far apart as the traces need within limits, and the height of the paper in mm.

    A row leaves 8 to 22 mm above its baseline and 6 to 16 mm below; giants cross their neighbours, as on paper.
    """
    up = [
        max(max(y.max(), _lift(cell[0], x, y) + 4) for cell, (x, y) in zip(row, pieces, strict=True))
        for row, pieces in zip(rows, strips, strict=True)
    ]
    down = [max(max(-y.min() for _, y in row), 0) for row in strips]
    baselines = [0.0]
    for r in range(1, len(strips)):
        pitch = np.clip(down[r - 1], 6, 16) + np.clip(up[r], 8, 22) + 2
        baselines.append(baselines[-1] - 5 * math.ceil(pitch / 5))
    bottom = baselines[-1] - 5 * math.ceil((min(down[-1], 40) + 8) / 5)
    top = 5 * math.ceil((max(min(up[0], 40), 10) + 3) / 5)
    return [b - bottom for b in baselines], float(top - bottom)


def _paper(width: float, height: float, head: float) -> Axes:
    """A figure of ``width`` x (``height`` + ``head``) mm whose data units are millimetres, with the grid drawn."""
    figure = Figure(figsize=(width / 25.4, (height + head) / 25.4), facecolor="white")
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height + head))
    ax.set_axis_off()
    ax.add_patch(_rectangle(width, height))
    for step, color, line_mm in ((1, FINE, 0.12), (5, BOLD, 0.22)):
        # One line object with gaps: hundreds of separate ones would fill the file.
        points = [((x, 0), (x, height), (np.nan, np.nan)) for x in np.arange(LEFT_MM % 5, width + 0.01, step)]
        points += [((x, 0), (x, height), (np.nan, np.nan)) for x in np.arange(LEFT_MM % 5 - step, -0.01, -step)]
        points += [((0, y), (width, y), (np.nan, np.nan)) for y in np.arange(0, height + 0.01, step)]
        xy = np.array(points).reshape(-1, 2)
        ax.plot(xy[:, 0], xy[:, 1], color=color, linewidth=_pt(line_mm), zorder=1 + step / 10, snap=False)
    return ax


def _rectangle(width: float, height: float):
    from matplotlib.patches import Rectangle

    return Rectangle((0, 0), width, height, facecolor=PAPER, edgecolor="none", zorder=0)


def _write_head(ax: Axes, title: str, lines: list[str], top: float) -> None:
    y = top - 0.5
    if title:
        ax.text(0.5, y, title, fontsize=TEXT_PT + 1.5, fontweight="bold", va="top", color=INK)
        y -= 7.0
    for line in lines:
        ax.text(0.5, y, line, fontsize=TEXT_PT, va="top", color=INK)
        y -= 5.6


def _pulse(ax: Axes, baseline: float) -> None:
    """The calibration pulse: 1 mV for 0.2 s."""
    x = LEFT_MM - 8.0 + np.array([0, 1.0, 1.0, 6.0, 6.0, 7.0])
    y = baseline + MM_PER_MV * np.array([0, 0, 1, 1, 0, 0])
    ax.plot(x, y, color=INK, linewidth=_pt(LINE_MM), zorder=3)


def _lift(lead: str, x: np.ndarray, y: np.ndarray) -> float:
    """Height of a strip's label above its baseline: clear of what the trace does under it, if that is not too high."""
    under = y[x <= x[0] + 3.0 + 3.0 * len(lead)]
    return float(np.clip(under.max(initial=0.0) + 1.8, 4.5, 20.0))


def _halo() -> list:
    return [patheffects.withStroke(linewidth=2.5, foreground=PAPER)]


def _pt(mm: float) -> float:
    return mm / 25.4 * 72
