"""The transcription of the papers' numbers: its form, that it is complete, and how it is read."""

import csv
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from ecglib import results

FOLDER = Path(__file__).parents[1] / "results"
COLUMNS = ["paper", "exhibit", "method", "dataset", "setting", "metric", "value", "spread", "unit", "origin", "note"]
SIX = list(results.TASKS)
DATASETS = {*SIX, "mimic-iv-ecg", "ptb-xl", "cinc2021", "code", "code-test", "torch-ecg", "average", "all"}

# rows of a table times its columns of numbers; a cell printed as a dash is subtracted
COUNTS = {
    "deri": {
        "figure-3": 2, "figure-4": 1, "figure-8": 1, "table-1": 13 * 6 * 3, "table-2": 12 * 6, "table-3": 3 * 8,
        "table-4": 5 * 2, "table-5": 3 * 2, "table-6": 5 * 2, "table-7": 3 * 2, "table-8": 6 * 5, "table-9": 4,
        "table-12": 4 * 3 * 8, "table-13": 17 * 5 - 3 * 2, "table-14": 3 * 3 * 5, "prose": 37,
    },
    "fg_clep": {
        "figure-5": 1, "figure-6": 2, "figure-7": 2, "table-1": 2 + 6 * 4, "table-2": 5 * 6, "table-3": 14 * 6 * 3,
        "table-4": 3, "table-5": 6, "table-6": 4 * 2, "table-7": 4 * 2, "prose": 18,
    },
    "k_merl": {
        "figure-3": 4, "figure-5": 3, "figure-6": 1, "figure-7": 8, "table-1": 15 * 6 * 3, "table-2a": 3 * 2,
        "table-2b": 4 * 2, "table-2c": 3 * 2, "table-2d": 5 * 2, "table-2e": 3 * 2, "table-3": 6 * 4,
        "table-4": 4 * 6, "table-6a": 4 * 2, "table-6b": 5 * 2, "table-6c": 5 * 2, "prose": 28,
    },
    "c_melt": {
        "figure-3": 1, "figure-5": 1, "table-1": 7 * 2 * 5, "table-2": 12 * 6 * 3, "table-3": 2 * 7,
        "table-4": 12 * 6, "table-5": 5, "table-6": 2 * (4 * 3 - 2), "table-7": 2 * 4 * 3, "table-8": 2 * 3 * 3,
        "table-9": 9 * 4 - 2, "table-10": 8 * 3, "prose": 70,
    },
    "esi": {
        "figure-7": 1, "table-1": 3 * 3, "table-2": 22 * 2 - 4, "table-3": 7 * 2 - 2, "table-4": 18 * 4,
        "table-5a": 4 * 2, "table-5b": 4 * 3, "table-6": 3 * 6, "table-7": 5 * 3, "table-8": 4 * 3,
        "appendix-a3": 2, "prose": 32,
    },
}  # fmt: skip

# every figure and table of the papers, readable or not: last number, and the tables that have parts
FIGURES = {"deri": 8, "fg_clep": 7, "k_merl": 8, "c_melt": 6, "esi": 7}
TABLES = {"deri": 14, "fg_clep": 7, "k_merl": 6, "c_melt": 11, "esi": 8}
PARTS = {("k_merl", 2): "abcde", ("k_merl", 6): "abc", ("esi", 5): "ab"}

# sums of all numbers of a table, spreads included, taken from the papers' text by a program that knows no rows
SUMS = {
    "fg_clep": {"table-1": "1671458", "table-2": "2398.69", "table-3": "17702.45", "table-4": "242.97",
                "table-5": "492.50", "table-6": "641.81", "table-7": "640.80"},
    "k_merl": {"table-1": "18680.64", "table-2": "2590.89", "table-3": "102793", "table-4": "726.006",
               "table-6": "2032.38"},
    "c_melt": {"table-1": "3584.0", "table-2": "15058.15", "table-3": "1067.1", "table-4": "4885.78",
               "table-5": "469.58", "table-6": "808.08", "table-7": "998.03", "table-8": "719.56",
               "table-9": "313818", "table-10": "2680.00615"},
    "esi": {"table-2": "37.025", "table-3": "8.097", "table-4": "52.638", "table-5": "213.600", "table-6": "10.826",
            "table-7": "12.6581", "table-8": "9.9835"},
}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    with (FOLDER / "reported.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == COLUMNS
        return list(reader)


@pytest.fixture(scope="module")
def listed():
    with (FOLDER / "exhibits.csv").open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        assert reader.fieldnames == ["paper", "exhibit", "kind", "title", "has_numbers", "needs", "note"]
        return list(reader)


def test_form(rows):
    for row in rows:
        assert all(v == v.strip() for v in row.values()), row
        assert row["dataset"] in DATASETS, row
        assert row["origin"] in ("own", "quoted"), row
        assert re.fullmatch(r"(table|figure)-\d+[a-z]?|appendix-a3|prose", row["exhibit"]), row
        assert re.fullmatch(r"[a-z][a-z0-9_]*", row["metric"]), row
        if row["value"]:
            float(row["value"])
        else:
            assert "cut off" in row["note"], row
        if row["spread"]:
            assert 0 <= float(row["spread"]) < float(row["value"]), row
        if row["exhibit"] == "prose":
            assert re.match(r"(section|abstract|appendix)", row["note"]), row


def test_a_unit_stands_with_scores_and_only_there(rows):
    per_unit = {}
    for row in rows:
        per_unit.setdefault(row["unit"], set()).add(row["metric"])
        limit = {"fraction": 1.0, "percent": 100.0}.get(row["unit"])
        if limit and row["value"]:
            assert 0 < float(row["value"]) < limit, row
    assert set(per_unit) == {"", "percent", "fraction"}
    assert not per_unit[""] & (per_unit["percent"] | per_unit["fraction"])
    assert {r["unit"] for r in rows if r["paper"] == "esi" and r["exhibit"] in COUNTS["esi"] and
            r["exhibit"] != "prose"} == {"", "fraction"}  # fmt: skip


def test_keys_are_unique(rows):
    keys = Counter(tuple(r[c] for c in COLUMNS[:6]) for r in rows)
    assert [k for k, n in keys.items() if n > 1] == []


@pytest.mark.parametrize("paper", COUNTS)
def test_counts_per_exhibit(rows, paper):
    assert Counter(r["exhibit"] for r in rows if r["paper"] == paper) == COUNTS[paper]
    assert {r["paper"] for r in rows} == set(COUNTS)


@pytest.mark.parametrize(("paper", "table"), [(p, t) for p, tables in SUMS.items() for t in tables])
def test_control_sums(rows, paper, table):
    cells = [r for r in rows if r["paper"] == paper and re.fullmatch(table + "[a-z]?", r["exhibit"])]
    assert sum(Decimal(r[c]) for r in cells for c in ("value", "spread") if r[c]) == Decimal(SUMS[paper][table])


@pytest.mark.parametrize("paper", COUNTS)
def test_every_exhibit_is_listed_once(listed, rows, paper):
    mine = [r for r in listed if r["paper"] == paper]
    expected = [f"figure-{i}" for i in range(1, FIGURES[paper] + 1)]
    for i in range(1, TABLES[paper] + 1):
        expected += [f"table-{i}{part}" for part in PARTS.get((paper, i), [""])]
    expected += [*{"fg_clep": ["algorithm-1"], "esi": ["appendix-a3"]}.get(paper, []), "prose"]
    assert sorted(r["exhibit"] for r in mine) == sorted(expected)
    printed = {r["exhibit"] for r in rows if r["paper"] == paper}
    for row in mine:
        assert row["has_numbers"] == ("yes" if row["exhibit"] in printed else "no"), row
        assert row["kind"] == {"appendix": "prose"}.get(kind := row["exhibit"].split("-")[0], kind), row
        assert row["title"], row
        if row["has_numbers"] == "no":
            assert row["title"].startswith("drawing") or row["note"] or row["kind"] == "algorithm", row


def test_only_the_cut_cells_are_empty(rows):
    empty = {(r["paper"], r["exhibit"], r["method"], r["dataset"], r["setting"]) for r in rows if not r["value"]}
    assert empty == {("deri", "table-1", m, "csn", "linear-probe 100%") for m in ("Random Init", "DERI")}


def test_digits_are_those_of_the_print(rows):
    digits = {
        "deri": {f"table-{i}": 2 for i in (1, 2, 3, 4, 5, 6, 7, 12)} | {"figure-3": 2, "table-13": 1, "table-14": 1},
        "fg_clep": {f"table-{i}": 2 for i in range(2, 8)},
        "k_merl": {"table-1": 2} | {f"table-{t}": 2 for t in ("2a", "2b", "2c", "2d", "2e", "6a", "6b", "6c")},
        "c_melt": {f"table-{i}": 2 for i in (2, 4, 5, 6, 7, 8)} | {"table-1": 1, "table-3": 1},
        "esi": {"table-2": 3, "table-3": 3, "table-4": 3, "table-5a": 3, "table-6": 3, "table-7": 4, "table-8": 4},
    }
    odd = []
    for row in rows:
        expected = digits[row["paper"]].get(row["exhibit"])
        if expected is not None and row["value"]:
            numbers = [row["value"]] + [row["spread"]] * bool(row["spread"])
            if any(len(n.partition(".")[2]) != expected for n in numbers):
                odd.append((row["paper"], row["method"], row["dataset"], row["setting"], row["value"]))
    assert odd == [("k_merl", "Random Init (Transformer)", "cpsc2018", "linear-probe 10%", "68.0")]


# What the reader makes of it


def test_fractions_are_read_in_percent_and_keep_their_print():
    table = results.reported("esi")
    row = table[(table.exhibit == "table-2") & (table.method == "ESI") & (table.dataset == "ptbxl-super")].iloc[0]
    assert (row.value, row.number, row.kind) == ("0.931", 93.1, "score")
    other = results.reported("c_melt").query("exhibit == 'table-2' and method == 'C-MELT'").iloc[0]
    assert (other.value, other.number) == ("80.04", 80.04)
    # 0.931 plus or minus 0.008, half a unit of the last digit more: 92.25 to 93.95
    for ours, verdict in ((92.2, "below"), (92.3, "agrees"), (93.9, "agrees"), (94.0, "above")):
        run = {"data_kind": "paper", "furthest_data": "paper", "profile": "paper", "leads": "all", "value": ours,
               "evaluator_version": "1", "metric": "macro_auc", "ci_low": None, "ci_high": None}  # fmt: skip
        assert results._verdict(row.to_dict(), run, set(), pd.Series({"macro_auc": "1"}))[0] == verdict


def test_a_baseline_has_what_the_papers_print_of_it():
    table = results.reported("merl")
    assert set(table.method) == {"MERL"}
    assert set(table.paper) == set(COUNTS)
    assert set(table.loc[table.exhibit == "figure-3", "value"]) == {"75.25"}


def test_kinds():
    counts = results.reported().groupby(["paper", "kind"]).size().unstack(fill_value=0)
    assert counts.score.to_dict() == {"deri": 584, "fg_clep": 308, "k_merl": 334, "c_melt": 442, "esi": 180}
    assert counts.difference.to_dict() == {"deri": 0, "fg_clep": 0, "k_merl": 1, "c_melt": 15, "esi": 11}
    table = results.reported()
    assert set(table.loc[table.kind == "count", "method"]) == {"data"}


@pytest.mark.parametrize("paper", COUNTS)
def test_coverage_has_a_row_for_every_exhibit(tmp_path, paper):
    table = results.coverage(paper, results.read_runs(tmp_path))
    assert table.exhibit.tolist() == results.exhibits(paper).exhibit.tolist()
    assert table.reported.sum() == (results.reported(paper).kind == "score").sum() == table["not run"].sum()
    assert table.set_index("exhibit").reported["figure-1"] == 0
    assert table.title.str.len().gt(0).all()
