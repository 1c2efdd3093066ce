"""The transcription of the papers' numbers: form, completeness, and agreement of the tables with each other."""

import csv
import re
from collections import Counter
from pathlib import Path

import pytest

FILE = Path(__file__).parents[1] / "results" / "reported.csv"
COLUMNS = ["paper", "exhibit", "method", "dataset", "setting", "metric", "value", "spread", "origin", "note"]
SIX = ["ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm", "cpsc2018", "csn"]
DATASETS = {*SIX, "mimic-iv-ecg", "ptb-xl", "average", "all"}


@pytest.fixture(scope="module")
def rows():
    with FILE.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


@pytest.fixture(scope="module")
def cell(rows):
    table = {(r["exhibit"], r["method"], r["dataset"], r["setting"], r["metric"]): r["value"] for r in rows}
    return lambda *key: table[key]


def test_form(rows):
    for row in rows:
        assert all(v == v.strip() for v in row.values()), row
        assert row["dataset"] in DATASETS, row
        assert row["origin"] in ("own", "quoted"), row
        assert re.fullmatch(r"(table|figure)-\d+[a-z]?|prose", row["exhibit"]), row
        assert re.fullmatch(r"[a-z][a-z0-9_]*", row["metric"]), row
        if row["value"]:
            float(row["value"])
        else:
            assert "cut off" in row["note"], row


def test_keys_are_unique(rows):
    keys = Counter(tuple(r[c] for c in COLUMNS[:6]) for r in rows)
    assert [k for k, n in keys.items() if n > 1] == []


def test_counts_per_exhibit(rows):
    assert Counter(r["exhibit"] for r in rows if r["paper"] == "deri") == {
        "figure-3": 2,  # the two averages
        "table-1": 13 * 6 * 3,
        "table-2": 12 * 6,
        "table-3": 3 * 8,
        "table-4": 5 * 2,
        "table-5": 3 * 2,
        "table-6": 5 * 2,
        "table-7": 3 * 2,
        "table-8": 6 * 5,
        "table-9": 4,
        "table-12": 4 * 3 * 8,
        "table-13": 17 * 5 - 3 * 2,  # three methods of ECG-Chat have dashes for BLEU-2 and BLEU-3
        "table-14": 3 * 3 * 5,
        "prose": 39,
    }


def test_only_the_cut_cells_are_empty(rows):
    empty = {(r["exhibit"], r["method"], r["dataset"], r["setting"]) for r in rows if not r["value"]}
    assert empty == {("table-1", m, "csn", "linear-probe 100%") for m in ("Random Init", "DERI")}


def test_digits_are_those_of_the_print(rows):
    digits = {f"table-{i}": 2 for i in (1, 2, 3, 4, 5, 6, 7, 12)} | {"figure-3": 2, "table-13": 1, "table-14": 1}
    for row in rows:
        if row["exhibit"] in digits and row["value"]:
            assert len(row["value"].partition(".")[2]) == digits[row["exhibit"]], row
            assert 0 < float(row["value"]) < 100, row


@pytest.mark.parametrize(
    ("exhibit", "method"),
    [("table-4", "DERI"), ("table-5", "DERI (RME-Module)"), ("table-6", "DERI (mask ratio 0.1)"), ("table-7", "DERI")],
)
def test_the_full_model_is_the_same_everywhere(cell, exhibit, method):
    assert cell(exhibit, method, "average", "zero-shot", "macro_auc") == "78.73"
    assert cell(exhibit, method, "average", "zero-shot", "macro_auc") == cell(
        "figure-3", "DERI", "average", "zero-shot", "macro_auc"
    )
    assert cell(exhibit, method, "average", "linear-probe 1%", "macro_auc") == "74.05"


def test_the_ablations_probing_score_is_the_mean_of_table_1(cell):
    mean = sum(float(cell("table-1", "DERI", d, "linear-probe 1%", "macro_auc")) for d in SIX) / 6
    assert f"{mean:.2f}" == "74.05"


def test_table_3_is_the_first_block_of_table_12(rows):
    blocks = [
        {(r["method"], r["metric"]): r["value"] for r in rows
         if r["exhibit"] == exhibit and r["setting"] == "report-generation DistilGPT2"}
        for exhibit in ("table-3", "table-12")
    ]  # fmt: skip
    assert len(blocks[0]) == 24
    assert blocks[0] == blocks[1]


def test_splits_add_up(cell):
    for dataset in SIX:
        n, *parts = (int(cell("table-8", "data", dataset, "data", k))
                     for k in ("n_records", "n_train", "n_valid", "n_test"))  # fmt: skip
        assert n == sum(parts), dataset
    for dataset in ("cpsc2018", "csn"):
        for key in ("n_records", "n_classes"):
            assert cell("prose", "data", dataset, "data", key) == cell("table-8", "data", dataset, "data", key)


def test_bleu_falls_with_the_length_of_the_n_gram(rows):
    """A swapped pair of cells would break the order that BLEU has by construction."""
    groups = {}
    for row in rows:
        if row["metric"].startswith("bleu"):
            key = (row["exhibit"], row["method"], row["dataset"], row["setting"])
            groups.setdefault(key, {})[row["metric"]] = float(row["value"])
    assert len(groups) == 3 + 12 + 17
    for key, scores in groups.items():
        assert [scores[m] for m in sorted(scores)] == sorted(scores.values(), reverse=True), key
