"""The chapter on the simulator: its sides, its figures, its rows."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from ecglib import realism
from ecglib.chapters import realism as gap
from ecglib.chapters import realism_figures as drawn
from ecglib.realism_features import GROUPS, WHOLES
from ecglib.run import Run


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))


def a_run(tmp_path, **given):
    usual = {"profile": "demo", "seed": 0, "n_bootstrap": 20, "n_simulated": 70, "data_root": ""}
    usual |= {"results_dir": str(tmp_path / "results"), "dataset": "simulated"}
    return Run("simulator_realism", usual | given)


def test_two_cohorts_are_the_demonstration(tmp_path, monkeypatch):
    shown = []
    monkeypatch.setattr(gap, "display", shown.append)
    run = a_run(tmp_path)
    sides = gap.sides(run)
    assert (sides.names, sides.kind) == (("simulated PTB-XL", "simulated CSN"), "simulated")
    table = gap.what_is_compared(sides)
    assert "stands in for the real side" in shown[0].data
    assert table.loc["records"].tolist() == ["70", "70"]
    of_first = sides.stores[0].records["labels/ptbxl-super"]
    norm = 100 * np.mean(["NORM" in some for some in of_first])
    assert table.loc["NORM, % of records", "simulated PTB-XL"] == f"{norm:.0f}"
    distances = gap.distributions(run, sides)
    assert {"intervals.svg", "amplitudes.svg", "spectra.svg", "distances.csv"} <= {p.name for p in run.folder.iterdir()}
    shown = gap.farthest(distances, sides.names).data
    assert list(shown) == ["measurement", "distance", *sides.names]
    assert len(shown) == 12

    found = [
        (population, realism.two_sample_auc(sides.tables[0], table, group, repeats=20))
        for population, table in sides.populations.items()
        for group in ("axes", "P", *WHOLES)
    ]
    by = gap.told_by(run, found)
    assert set(by["group"]) == {"axes", "P"}
    metrics = gap.rows(sides, found)
    run.record(metrics, data=gap.used_data(sides))
    whole = next(m["value"] for m in metrics if "everything" in m["setting"])
    said = gap.in_words(sides, found, distances)
    assert f"**{whole:.1f}**" in said
    assert "aim" not in said  # it is for real records
    judged = gap.in_words(replace(sides, kind="subset"), found, distances)
    assert "of 2 groups stay" in judged
    assert f"{'at or below' if whole <= gap.AIM_TOLD else 'above'} the aim of 75" in judged
    quartiles = distances.set_index("feature")
    real, simulated = (quartiles[f"{side} 75 %"] - quartiles[f"{side} 25 %"] for side in ("real", "simulated"))
    least = np.where(quartiles.index.str.contains("_mv_"), 0.05, 1e-9)
    ratio = (simulated / real)[real >= least].dropna()
    assert f"{realism.spoken(ratio.idxmax())} ({ratio.max():.2f} times)" in said
    assert f"{realism.spoken(ratio.idxmin())} ({ratio.min():.2f} times)" in said
    assert all(f"{r.group} {r.auc:.1f}" in said for p, r in found if p == gap.AS_IT_IS and r.group in WHOLES[:-1])
    assert gap.told_table(found)["n real"].tolist()[0] == (sides.tables[0]["failed"] == "").sum()


def test_real_records_are_one_side_and_weights_give_their_mixture(tmp_path, real_data):
    run = a_run(tmp_path, dataset="ptb-xl", data_root=str(real_data("ptbxl_subset")), n_simulated=200)
    sides = gap.sides(run)
    assert (sides.names, sides.kind) == (("real PTB-XL", "simulated PTB-XL"), "subset")
    assert len(sides.stores[0]) == 333
    assert 0 <= sides.beyond < 0.2

    def share(store, weights, cls):
        return np.average([cls in some for some in store.records["labels/ptbxl-super"]], weights=weights)

    real = share(sides.stores[0], None, "NORM")
    # Real records without a simulated counterpart are not in the mixture.
    assert share(sides.stores[1], sides.weighted["weight"], "NORM") == pytest.approx(real, abs=sides.beyond)
    assert sides.tables[1]["weight"].eq(1).all()


def test_figures_name_what_they_show_with_units():
    rng = np.random.default_rng(0)
    names = [*GROUPS["everything"], "axis_deg", "p_axis_deg", "t_axis_deg"]
    tables = tuple(pd.DataFrame(rng.normal(size=(40, len(names))), columns=names) for _ in range(2))
    tables[1]["power_V5_100_150"] = np.nan  # a set of 100 Hz
    densities = drawn.densities(tables, ("real", "simulated"))
    assert [ax.get_xlabel() for ax in densities.axes][:3] == ["rate (1/min)", "SD of RR (ms)", "PR (ms)"]
    assert [text.get_text() for text in densities.legends[0].get_texts()] == ["real", "simulated"]
    assert drawn.amplitudes(tables, ("a", "b")).axes[0].get_ylabel() == "Q (mV)"
    assert drawn.spectra(tables, ("a", "b")).axes[3].get_xlabel() == "band (Hz)"
    table = pd.DataFrame({"group": ["P", "P"], "population": ["a", "b"], "auc": [60, 70], "ci_low": [50, 60],
                          "ci_high": [70, 80]})  # fmt: skip
    (ax,) = drawn.auc_by_group(table, aim=75).axes
    assert "(%)" in ax.get_xlabel()
    assert [line.get_xdata()[0] for line in ax.lines[:2]] == [50, 75]
    (ax,) = drawn.auc_by_group(table).axes
    assert "aim" not in {text.get_text() for text in ax.texts}
