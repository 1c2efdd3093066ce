"""The printed numbers against each other: within a paper and between papers, with every known contradiction by name."""

from decimal import Decimal
from statistics import mean, stdev

import pytest

from ecglib import results

KEY = ("paper", "exhibit", "method", "dataset", "setting", "metric")
SIX = list(results.TASKS)
PTBXL = SIX[:4]
SHARES = ["linear-probe 1%", "linear-probe 10%", "linear-probe 100%"]
NAMES, PROBE = "zero-shot, class names", "linear-probe 1%"
PROBING = {"deri": "table-1", "fg_clep": "table-3", "k_merl": "table-1", "c_melt": "table-2"}
SIGNAL_ONLY = {"SimCLR", "BYOL", "BarlowTwins", "MoCo-v3", "SimSiam", "TS-TCC", "CLOCS", "ASTCL", "CRT", "ST-MEM"}


@pytest.fixture(scope="module")
def rows():
    return results.reported().to_dict("records")


@pytest.fixture(scope="module")
def cell(rows):
    table = {tuple(r[c] for c in KEY): r["value"] for r in rows}
    return lambda *key: table[key]


@pytest.fixture(scope="module")
def row_of(cell):
    """The six cells of one method of one table, as numbers."""
    return lambda paper, exhibit, method, setting: [
        float(cell(paper, exhibit, method, d, setting, "macro_auc")) for d in SIX
    ]


# Inside a paper


FULL_MODEL = [
    ("deri", {"table-4": "DERI", "table-5": "DERI (RME-Module)", "table-6": "DERI (mask ratio 0.1)", "table-7": "DERI"},
     [("average", "zero-shot", "macro_auc", "78.73"), ("average", PROBE, "macro_auc", "74.05")]),
    ("fg_clep", {"table-4": "FG-CLEP", "table-5": "FG-CLEP (Llama3-8B-Instruct)",
                 "table-6": "FG-CLEP (BioClinicalBERT)", "table-7": "FG-CLEP (resnet50)"},
     [("average", NAMES, "macro_auc", "82.27")]),
    ("k_merl", {"table-2a": "K-MERL", "table-2b": "K-MERL", "table-2c": "K-MERL", "table-2d": "K-MERL",
                "table-2e": "K-MERL (Med-CPT)", "table-6a": "K-MERL (Llama3.1-70B-Instruct)",
                "table-6b": "K-MERL (4 layers)", "table-6c": "K-MERL (4 heads)"},
     [("average", NAMES + ", 1 lead", "macro_auc", "71.61"), ("average", NAMES, "macro_auc", "76.52")]),
    ("c_melt", {"table-6": "C-MELT", "table-7": "C-MELT (Flan-T5)", "table-8": "C-MELT (8 layers)"},
     [("cinc2021", "fine-tune diagnosis, mean of five lead sets", "cinc_score", "81.88"),
      ("cinc2021", "fine-tune diagnosis, mean of five lead sets", "cinc_score_sd", "3.52"),
      ("average", PROBE, "macro_auc", "80.52"), ("average", PROBE, "macro_auc_sd", "6.08"),
      ("average", NAMES, "macro_auc", "72.50"), ("average", NAMES, "macro_auc_sd", "9.01")]),
    ("esi", {"table-5a": "ESI-tiny", "table-5b": "ESI (ConvNeXt-tiny)", "table-6": "ESI-tiny"},
     [("ptbxl-super", "linear-probe 100%", "macro_auc", "0.928"),
      ("ptb-xl", "linear-probe identification", "auc", "0.923")]),
]  # fmt: skip


@pytest.mark.parametrize(("paper", "tables", "cells"), FULL_MODEL, ids=[f[0] for f in FULL_MODEL])
def test_the_full_model_is_the_same_everywhere(cell, rows, paper, tables, cells):
    for exhibit, method in tables.items():
        for *key, value in cells:
            assert cell(paper, exhibit, method, *key) == value
    marked = {(r["exhibit"], r["method"]) for r in rows if r["paper"] == paper and "the full model" in r["note"]}
    assert marked <= set(tables.items())


def test_printed_averages_are_the_means_of_their_cells(cell, row_of):
    average = ("average", NAMES, "macro_auc")
    clep = row_of("fg_clep", "table-2", "CLEP", NAMES)
    for cells, printed in [
        (row_of("deri", "table-1", "DERI", PROBE), "74.05"),
        (row_of("fg_clep", "table-2", "FG-CLEP", NAMES), cell("fg_clep", "table-4", "FG-CLEP", *average)),
        (clep, cell("fg_clep", "table-4", "FG-CLEP (without fine-grained reports)", *average)),
        (clep, cell("fg_clep", "table-6", "CLEP (BioClinicalBERT)", *average)),
        (clep, cell("fg_clep", "table-7", "CLEP (resnet50)", *average)),
        (row_of("fg_clep", "table-2", "MERL", "zero-shot"),
         cell("deri", "figure-3", "MERL", "average", "zero-shot", "macro_auc")),
        (row_of("c_melt", "table-2", "C-MELT", PROBE),
         cell("c_melt", "table-6", "C-MELT", "average", PROBE, "macro_auc")),
        (row_of("c_melt", "table-3", "MERL", "zero-shot"),
         cell("c_melt", "table-3", "MERL", "average", "zero-shot", "macro_auc")),
    ]:  # fmt: skip
        assert abs(mean(cells) - float(printed)) <= 0.5 * 10 ** -len(printed.partition(".")[2]) + 1e-9, printed
    # C-MELT's own average in table 3 is the one that is not the mean of its cells
    assert cell("c_melt", "table-3", "C-MELT", "average", "zero-shot", "macro_auc") == "77.1"
    assert f"{mean(row_of('c_melt', 'table-3', 'C-MELT', 'zero-shot')):.1f}" == "77.2"


def test_gains_that_c_melt_claims_beside_its_tables(cell):
    """Notes say what the tables give; two claims in the text are not what stands there."""
    leads = "fine-tune diagnosis, mean of five lead sets"

    def apart(exhibit, one, other, dataset, setting, metric="macro_auc"):
        cells = (Decimal(cell("c_melt", exhibit, m, dataset, setting, metric)) for m in (one, other))
        return str(next(cells) - next(cells))

    base = ("table-6", "C-MELT (without N3S)")
    assert apart("table-2", "C-MELT", "MERL", "csn", PROBE) == "13.44"
    assert apart("table-2", "C-MELT", "MERL", "ptbxl-rhythm", PROBE) == "33.28"
    assert apart("table-2", "C-MELT", "MERL", "ptbxl-rhythm", "linear-probe 10%") == "9.95"
    assert apart(*base, "C-MELT (without N3S, Siglep, Flan-T5)", "average", PROBE) == "14.79"
    assert apart(*base, "C-MELT (without N3S, Siglep)", "average", PROBE) == "11.10"
    assert apart("table-6", "C-MELT (without N3S, Siglep)", "C-MELT (without N3S, Siglep, Flan-T5)", "average",
                 PROBE) == "3.69"  # fmt: skip
    assert apart("table-6", "C-MELT", "C-MELT (without N3S)", "average", NAMES) == "1.89"
    eight, one = "C-MELT (8 layers)", "C-MELT (1 layer)"
    assert apart("table-8", eight, one, "cinc2021", leads, "cinc_score") == "12.48"
    assert apart("table-8", eight, one, "average", PROBE) == "13.69"
    assert apart("table-8", eight, one, "average", NAMES) == "3.07"
    assert apart("table-8", eight, "C-MELT (4 layers)", "average", NAMES) == "1.86"
    readers = [Decimal(cell("c_melt", "table-5", m, "code-test", "human reader", "auc"))
               for m in ("Cardio Resident", "Emergency Resident", "Medical Student")]  # fmt: skip
    ours = Decimal(cell("c_melt", "table-5", "C-MELT", "code-test", "zero-shot", "auc"))
    assert [str(ours - f(readers)) for f in (max, min)] == ["3.18", "6.27"]


def test_gains_that_esi_claims_match_no_pair_of_cells(rows):
    """1.6 and 3.5 over self-supervised methods, 12.0 and 12.2 over the supervised ConvNeXt: in points, on no set."""
    claims = {Decimal(r["value"]) for r in rows if (r["paper"], r["exhibit"], r["unit"]) == ("esi", "prose", "percent")}
    assert claims == {Decimal(c) for c in ("1.6", "3.5", "12.0", "12.2")}
    gains = set()
    for exhibit in ("table-2", "table-4"):
        cells = [r for r in rows if (r["paper"], r["exhibit"]) == ("esi", exhibit)]
        rivals = ("SimCLR", "BYOL", "CLOCS", "LEAVES", "CRT", "ConvNeXt-Tiny", "ConvNeXt-Base")
        for ours in (r for r in cells if r["method"] == "ESI" and r["setting"].startswith("fine-tune")):
            for other in (r for r in cells if r["method"] in rivals and r["metric"] == ours["metric"]):
                if other["dataset"] == ours["dataset"] and not other["setting"].startswith("linear-probe"):
                    gains.add(100 * (Decimal(ours["value"]) - Decimal(other["value"])))
    assert {Decimal("1.2"), Decimal("11.4"), Decimal("12.8")} <= gains  # PTB-XL: LEAVES, ConvNeXt-Base and -Tiny
    assert not gains & claims


def test_spreads_of_c_melts_ablations_are_over_data_sets_and_lead_sets(cell, row_of):
    assert f"{stdev(row_of('c_melt', 'table-2', 'C-MELT', PROBE)):.2f}" == "6.08"
    leads = [float(cell("c_melt", "table-1", "C-MELT", "cinc2021", f"fine-tune diagnosis, {n}", "cinc_score"))
             for n in ("12 leads", "6 leads", "3 leads", "2 leads", "1 lead")]  # fmt: skip
    assert (f"{mean(leads):.2f}", f"{stdev(leads):.2f}") == ("81.88", "3.52")


def test_differences_that_esi_prints_are_those_of_its_cells(rows, cell):
    drops = [r for r in rows if r["paper"] == "esi" and r["exhibit"] == "table-6" and r["metric"].endswith("_drop")]
    assert len(drops) == 6
    for r in drops:
        key = (r["dataset"], r["setting"], r["metric"].removesuffix("_drop"))
        both, mimic = (Decimal(cell("esi", "table-6", m, *key)) for m in ("ESI-tiny", "ESI-tiny (MIMIC only)"))
        assert both - mimic == Decimal(r["value"]), key


def test_cells_that_esi_prints_differently_in_two_tables(cell):
    for exhibit, method, dataset, setting, metric, value in [
        ("table-2", "ESI-tiny", "ptbxl-super", "linear-probe 100%", "macro_auc", "0.927"),
        ("table-6", "ESI-tiny", "ptbxl-super", "linear-probe 100%", "macro_auc", "0.928"),
        ("table-2", "ESI-tiny", "cpsc2018", "linear-probe 100%", "macro_auc", "0.975"),
        ("table-6", "ESI-tiny", "cpsc2018", "linear-probe 100%", "macro_auc", "0.976"),
        ("table-2", "ESI", "ptbxl-super", "linear-probe 100%", "macro_auc", "0.931"),
        ("table-5b", "ESI (ConvNeXt-base)", "ptbxl-super", "linear-probe 100%", "macro_auc", "0.932"),
        ("table-4", "ESI", "ptb-xl", "linear-probe identification", "auc", "0.927"),
        ("table-5b", "ESI (ConvNeXt-base)", "ptb-xl", "linear-probe identification", "auc", "0.926"),
    ]:
        assert cell("esi", exhibit, method, dataset, setting, metric) == value
    for key in (("ptb-xl", "auc"), ("cpsc2018", "auc")):
        where = (key[0], "linear-probe identification", key[1])
        assert cell("esi", "table-4", "ESI-tiny", *where) == cell("esi", "table-6", "ESI-tiny", *where)


def test_bertscore_is_at_most_the_harmonic_mean(rows):
    """An average of harmonic means cannot exceed the harmonic mean of the averages; one printed row does."""
    groups = {}
    for r in rows:
        if r["metric"].startswith("bertscore") and r["exhibit"].startswith("table"):
            groups.setdefault((r["exhibit"], r["method"]), {})[r["metric"]] = r["value"], r["spread"]
    assert len(groups) == 5 + 4
    assert groups["table-7", "CQA (top-k 2)"] == groups["table-8", "CQA (both textbooks)"]
    above = set()
    for key, g in groups.items():
        precision, recall, f1 = (float(g[f"bertscore_{m}"][0]) for m in ("precision", "recall", "f1"))
        if f1 > 2 * precision * recall / (precision + recall) + 1e-4:
            above.add(key)
    assert above == {("table-8", "CQA (no textbook)")}


def test_table_3_of_deri_is_the_first_block_of_table_12(rows):
    blocks = [
        {(r["method"], r["metric"]): r["value"] for r in rows
         if r["paper"] == "deri" and r["exhibit"] == exhibit and r["setting"] == "report-generation DistilGPT2"}
        for exhibit in ("table-3", "table-12")
    ]  # fmt: skip
    assert len(blocks[0]) == 24
    assert blocks[0] == blocks[1]


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


def test_counts_of_entities(cell):
    count = {k: int(cell("k_merl", "figure-3", "data", "mimic-iv-ecg", "entity mining", k))
             for k in ("n_entities_extracted", "n_entities_merged", "n_superclasses", "n_entities")}  # fmt: skip
    assert count["n_entities_merged"] + count["n_superclasses"] == count["n_entities"] == 277
    assert count["n_entities_extracted"] == 341
    seen = cell("k_merl", "figure-5", "data", "mimic-iv-ecg", "entity mining", "n_entities_seen")
    assert f"{100 * int(seen) / 277:.1f}" == "12.6"
    assert cell("k_merl", "figure-5", "data", "mimic-iv-ecg", "entity mining", "entities_seen_percent") == "12.7"


# Between papers


def test_shared_probing_cells_agree(rows):
    tables = {p: {(r["method"], r["dataset"], r["setting"]): r["value"] for r in rows
                  if r["paper"] == p and r["exhibit"] == t} for p, t in PROBING.items()}  # fmt: skip
    keys = {(m, d, s) for m in SIGNAL_ONLY | {"MERL"} for d in SIX for s in SHARES}
    assert all(keys <= set(t) for t in tables.values())
    apart = {k: {p: t[k] for p, t in tables.items()} for k in keys if len({t[k] for t in tables.values()}) > 1}
    assert apart == {("CLOCS", "ptbxl-form", "linear-probe 10%"): {
        "deri": "57.96", "fg_clep": "57.96", "k_merl": "57.96", "c_melt": "57.79"}}  # fmt: skip
    random = {k for k in tables["k_merl"] if k[0] == "Random Init (CNN)"}
    assert len(random) == 18
    assert all(tables["fg_clep"][k] == tables["k_merl"][k] for k in random)
    # the same name, another thing: DERI's row is its own framework trained with labels
    assert all(k not in tables["deri"] for k in random)
    assert tables["deri"]["Random Init", "ptbxl-super", PROBE] == "78.10"


def test_shared_cells_of_the_distribution_shift_agree(rows):
    deri, c_melt = (
        {(r["method"], r["dataset"], r["setting"]): r["value"] for r in rows if (r["paper"], r["exhibit"]) == table}
        for table in (("deri", "table-2"), ("c_melt", "table-4"))
    )
    shared = set(deri) & set(c_melt)
    assert len(shared) == 11 * 6
    assert {k: (deri[k], c_melt[k]) for k in shared if deri[k] != c_melt[k]} == {
        ("SimCLR", "ptbxl-super", "shift from csn, linear-probe 100%"): ("59.67", "59.74"),
        ("BYOL", "csn", "shift from cpsc2018, linear-probe 100%"): ("67.54", "67.56"),
    }
    assert c_melt["SimCLR", "ptbxl-super", "shift from csn, linear-probe 100%"] == (
        c_melt["ASTCL", "ptbxl-super", "shift from csn, linear-probe 100%"])  # fmt: skip


def test_merls_zero_shot_scores_agree_but_for_what_is_listed(cell, row_of):
    one, two = (row_of(p, t, "MERL", "zero-shot") for p, t in (("fg_clep", "table-2"), ("c_melt", "table-3")))
    assert one == two
    super_ = ("ptbxl-super", "linear-probe 100%", "macro_auc")
    probed = float(cell("fg_clep", "table-3", "MERL", *super_))
    assert f"{probed / 100:.3f}" == cell("esi", "table-2", "MERL", *super_)
    printed = cell("esi", "table-3", "MERL", "ptbxl-super", "zero-shot", "macro_auc")
    assert f"{one[SIX.index('ptbxl-sub')] / 100:.3f}" == printed != f"{one[0] / 100:.3f}"
    by_report = [float(cell("deri", "table-14", "MERL", d, "report-classification multi-label", "auc")) for d in PTBXL]
    assert by_report == [75.7, 71.1, 62.9, 71.1]
    assert one[:4] == [74.2, 75.7, 65.9, 78.5]


def test_splits(cell):
    parts = ("n_train", "n_valid", "n_test")
    where = {"deri": "table-8", "fg_clep": "table-1", "k_merl": "table-3", "c_melt": "table-9"}
    split = {p: {d: [int(cell(p, t, "data", d, "data", k)) for k in ("n_classes", *parts)] for d in SIX}
             for p, t in where.items()}  # fmt: skip
    assert split["deri"] == split["k_merl"] == split["c_melt"]
    assert {d for d in SIX if split["fg_clep"][d] != split["deri"][d]} == {"cpsc2018", "csn"}
    for dataset in SIX:
        assert int(cell("deri", "table-8", "data", dataset, "data", "n_records")) == sum(split["deri"][dataset][1:])
    for dataset in ("cpsc2018", "csn"):
        for key in ("n_records", "n_classes"):
            for paper in ("k_merl", "c_melt"):
                assert cell(paper, "prose", "data", dataset, "data", key) == (
                    cell("deri", "table-8", "data", dataset, "data", key))  # fmt: skip
    assert split["fg_clep"]["csn"][0] == 51
    assert sum(split["fg_clep"]["csn"][1:]) == 45152 == int(cell("deri", "prose", "data", "csn", "data",
                                                                 "n_records_source"))  # fmt: skip
    assert sum(split["fg_clep"]["cpsc2018"][1:]) == 6877 - 10
    assert int(cell("esi", "prose", "data", "cpsc2018", "data", "n_train")) == 6877
    assert sum(int(cell("esi", "prose", "data", "cpsc2018", "data", k)) for k in ("n_train", "n_test")) == 9831


def test_sizes_of_the_pretraining_set(rows):
    sizes = {r["paper"]: int(r["value"]) for r in rows
             if (r["method"], r["dataset"], r["metric"]) == ("data", "mimic-iv-ecg", "n_records")}  # fmt: skip
    assert sizes == {"deri": 771693, "fg_clep": 773268, "k_merl": 771693, "c_melt": 779891, "esi": 600000}
