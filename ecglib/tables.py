"""Tables of scores for the book, for a terminal and for a phone: rounded, without index, chance last and grey."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from ecglib.paths import sha256_of
from ecglib.results import TASKS, method_key

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

DATASET_NAMES = {
    "ptbxl-super": "PTB-XL Super",
    "ptbxl-sub": "PTB-XL Sub",
    "ptbxl-form": "PTB-XL Form",
    "ptbxl-rhythm": "PTB-XL Rhythm",
    "cpsc2018": "CPSC2018",
    "csn": "CSN",
    "average": "Average",
    "mimic-iv-ecg": "MIMIC-IV-ECG",
    "ptb-xl": "PTB-XL",
    "cinc2021": "Challenge",
    "cpsc2018-extra": "CPSC2018 extra",
    "georgia": "Georgia",
    "ptb": "PTB",
    "incart": "INCART",
}
METHOD_NAMES = {
    "merl": "MERL", "deri": "DERI", "fg_clep": "FG-CLEP", "k_merl": "K-MERL", "c_melt": "C-MELT", "esi": "ESI",
    "deri_align": "DERI-Align", "random_encoder": "random encoder", "chance": "chance",
}  # fmt: skip
_LAST = {"random_encoder": 1, "chance": 2}
_VERDICT_COLORS = {"agrees": "#00694d", "above": "#00527f", "below": "#a04400"}


def score_frame(scores: pd.DataFrame, *, intervals: bool = True) -> pd.DataFrame:
    """Scores as text: one row per method and setting, one column per data set, ``72.3 (70.1–74.4)``.

    Args:
        scores: columns method, dataset, setting, value, ci_low, ci_high, as in run records; or rows of
            `ecglib.results.compare`, which become exhibit, method, data set, setting, printed, here, verdict.

    The setting is left out when there is one only. All six benchmark sets with one value each gain an average.
    """
    if "verdict" in scores:
        return _comparison(scores, intervals)
    table = scores.copy()
    table["cell"] = [_cell(r, intervals) for r in table.to_dict("records")]
    datasets = [d for d in (*TASKS, "average") if d in set(table["dataset"])]
    datasets += [d for d in dict.fromkeys(table["dataset"]) if d not in datasets]
    rows = []
    for (method, setting), group in table.groupby(["method", "setting"], sort=False):
        if group["dataset"].duplicated().any():
            raise ValueError(
                f"{method}, {setting}: two scores on one data set; choose with ecglib.results.latest first"
            )
        cells = dict(zip(group["dataset"], group["cell"], strict=True))
        if set(TASKS) <= set(cells) and "average" not in cells:
            cells["average"] = f"{group.loc[group['dataset'].isin(TASKS), 'value'].mean():.1f}"
        key = method_key(method)
        name = {"method": METHOD_NAMES.get(key, method), "setting": setting}
        rows.append((_LAST.get(key, 0), name | {DATASET_NAMES.get(d, d): c for d, c in cells.items()}))
    rows.sort(key=lambda row: row[0])
    names = [DATASET_NAMES.get(d, d) for d in datasets]
    if "Average" not in names and any("Average" in r for _, r in rows):
        names.insert(len([n for n in names if n in map(DATASET_NAMES.get, TASKS)]), "Average")
    frame = pd.DataFrame([r for _, r in rows], columns=["method", "setting", *names]).fillna("")
    return frame.drop(columns="setting") if frame["setting"].nunique() <= 1 else frame


def _cell(row: dict, intervals: bool) -> str:
    if pd.isna(row["value"]):
        return ""
    text = f"{row['value']:.1f}"
    if intervals and pd.notna(row.get("ci_low")) and pd.notna(row.get("ci_high")):
        text += f" ({row['ci_low']:.1f}–{row['ci_high']:.1f})"
    return text


def _comparison(table: pd.DataFrame, intervals: bool) -> pd.DataFrame:
    here = [
        _cell({"value": r["run_value"], "ci_low": r["ci_low"], "ci_high": r["ci_high"]}, intervals)
        for r in table.to_dict("records")
    ]
    verdict = [v + (f": {w}" if w else "") for v, w in zip(table["verdict"], table["why"], strict=True)]
    frame = pd.DataFrame(
        {
            "exhibit": table["exhibit"].str.replace("-", " "),
            "method": table["method"],
            "data set": [DATASET_NAMES.get(d, d) for d in table["dataset"]],
            "setting": table["setting"],
            "printed": table["value"],
            "here": here,
            "verdict": verdict,
        }
    )
    single = [c for c in ("exhibit", "method", "setting") if frame[c].nunique() == 1 and len(frame) > 1]
    return frame.drop(columns=single).reset_index(drop=True)


def score_table(scores: pd.DataFrame, *, intervals: bool = True, caption: str = "") -> "Styler":
    """`score_frame` for a notebook: `set_out`, with chance grey and verdicts coloured."""
    frame = score_frame(scores, intervals=intervals)

    def shade(row: pd.Series) -> list[str]:
        grey = method_key(str(row.get("method", ""))) in _LAST
        return ["color:#767676" if grey else "" for _ in row]

    def verdict(cell: str) -> str:
        color = _VERDICT_COLORS.get(cell.partition(":")[0], "#767676")
        return f"color:{color}" + (";font-weight:600" if color != "#767676" else "")

    styler = set_out(frame, ("method", "setting", "exhibit", "data set", "verdict"), caption).apply(shade, axis=1)
    return styler.map(verdict, subset=["verdict"]) if "verdict" in frame else styler


def set_out(frame: pd.DataFrame, words: Sequence[str] = (), caption: str = "", precision: int = 1) -> "Styler":
    """A table for a notebook: ``words`` to the left, all else to the right, intervals small below values.

    An interval is what stands in brackets behind a value; a negative number has a minus and no hyphen. The index is
    left out. Equal content gives equal html (pandas' random ids are replaced), and a narrow screen scrolls sideways.
    """
    left = [column for column in frame.columns if column in words]
    numbers = [column for column in frame.columns if column not in words]
    small = "<br><span style='font-size:80%;opacity:.85;white-space:nowrap'>"

    def below(cell: Any) -> str:
        if not isinstance(cell, str):
            cell = f"{cell:.{precision}f}" if isinstance(cell, float) else str(cell)
        value, _, interval = re.sub(r"(?<!\w)-(?=\d)", "\u2212", cell).partition(" (")
        return f"{value}{small}{interval.rstrip(')')}</span>" if interval else cell

    styler = (
        frame.style.hide(axis="index")
        .format(below, subset=numbers)
        .format_index(lambda name: name.replace("-", "\u2011"), axis=1)  # PTB-XL must not break
        .set_properties(subset=numbers, **{"text-align": "right", "font-variant-numeric": "tabular-nums"})
        .set_properties(subset=left, **{"text-align": "left"})
        .set_table_styles(
            [
                {"selector": "", "props": "display:block;overflow-x:auto;border-collapse:collapse;max-width:100%"},
                {"selector": "th", "props": "text-align:right;vertical-align:bottom;padding:.35em .55em"},
                {"selector": "td", "props": "vertical-align:top;padding:.35em .55em;line-height:1.25"},
                {"selector": "caption", "props": "caption-side:top;text-align:left;font-weight:600"},
            ]
        )
        .set_table_styles({c: [{"selector": "th", "props": "text-align:left"}] for c in left}, overwrite=False)
        .set_uuid(sha256_of(frame.to_csv() + caption, 8))
    )
    return styler.set_caption(caption) if caption else styler
