"""The steps of the chapter on the simulator: two sets of records, their distributions, whether trees can tell them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from ecglib import datasets, figures, realism, statements
from ecglib.chapters import realism_figures as drawn
from ecglib.data import open_dataset
from ecglib.data.store import RecordStore
from ecglib.metrics import EVALUATOR_VERSION
from ecglib.realism_features import GROUPS, WHOLES
from ecglib.run import Run, data_entry
from ecglib.tables import set_out

HZ = 500.0  # the spectrum above 50 Hz is part of the comparison
SET = "ptb-xl"
# What is compared with the real set, with its published counts; and with each other where there is no real set
COUNTERPART, DEMONSTRATION = "ptb-xl as counted", ("ptb-xl", "csn")
_SHOWN_AS = {COUNTERPART: "simulated PTB-XL", "ptb-xl": "simulated PTB-XL", "csn": "simulated CSN"}
COMPARABLE = ("simulated", "ptb-xl")
AS_IT_IS, WEIGHTED = "cohort as it is", "weighted to the scored superclasses"
SUPERCLASSES = "ptbxl-super"
AIM_TOLD = 75.0  # AUC in percent below which the simulator's aim is met; 50 is what two halves of one set have
_GROUP_NAMES = {"intervals": "intervals and rate", "axes": "axes", "spectrum": "spectrum and noise"}


@dataclass(frozen=True)
class Sides:
    """The two sets that a chapter compares, with their measurements.

    ``weighted``: the simulated table with the other side's mixture of superclasses; ``beyond``: the share of that side
    whose combination of superclasses no simulated record has.
    """

    stores: tuple[RecordStore, RecordStore]
    names: tuple[str, str]
    kind: str  # of the first: simulated, subset or paper
    cohort: str  # of the second
    tables: tuple[pd.DataFrame, pd.DataFrame]
    weighted: pd.DataFrame
    beyond: float

    @property
    def populations(self) -> dict[str, pd.DataFrame]:
        return {AS_IT_IS: self.tables[1], WEIGHTED: self.weighted}


def sides(run: Run) -> Sides:
    """The sets that the run's parameters name, at 500 Hz: PTB-XL and its simulated counterpart, or two cohorts.

    Of the whole PTB-XL the test fold is compared, of a subset all records. Simulated records are ones that no training
    of that seed saw.
    """
    p = run.params
    if p["dataset"] == "simulated":
        stores = tuple(_simulated(cohort, p) for cohort in DEMONSTRATION)
        names, kind = tuple(_SHOWN_AS[cohort] for cohort in DEMONSTRATION), "simulated"
    else:
        whole = open_dataset(p["dataset"], p["data_root"], sampling_rate_hz=HZ)
        kind = datasets.data_kind(whole, p["dataset"])
        real = whole.fold_in(datasets.TEST_FOLD) if kind == "paper" else whole
        stores, names = (real, _simulated(COUNTERPART, p)), ("real PTB-XL", _SHOWN_AS[COUNTERPART])
    tables = tuple(realism.measurements(store) for store in stores)
    classes = [store.records[f"labels/{SUPERCLASSES}"].tolist() for store in reversed(stores)]
    weighted, beyond = realism.weigh(tables[1], *classes)
    cohort = DEMONSTRATION[1] if p["dataset"] == "simulated" else COUNTERPART
    return Sides(stores, names, kind, cohort, tables, weighted, beyond)


def _simulated(cohort: str, p: dict[str, Any]) -> RecordStore:
    seed = p["seed"] + datasets.HELD_OUT_SEED
    return open_dataset("simulated", cohort=cohort, n=p["n_simulated"], seed=seed, sampling_rate_hz=HZ)


def what_is_compared(of: Sides) -> pd.DataFrame:
    """Records, patients, measured records and superclasses of both sides."""
    columns = {}
    for name, store, table in zip(of.names, of.stores, of.tables, strict=True):
        classes = store.records[f"labels/{SUPERCLASSES}"]
        shares = {f"{c}, % of records": 100 * np.mean([c in some for some in classes]) for c in statements.SUPERCLASSES}
        columns[name] = {
            "records": f"{len(store):,}",
            "patients": f"{store.records['patient'].nunique():,}",
            "waves not measurable": f"{int((table['failed'] != '').sum())}",
            "mean age": f"{store.records['age'].mean():.0f}",
            "women, % of records": f"{100 * (store.records['sex'] == 'F').mean():.0f}",
        } | {name: f"{share:.0f}" for name, share in shares.items()}
    if of.kind == "simulated":
        text = (
            f"No real records were named: **{of.names[0]}** stands in for the real side, as a demonstration of the "
            "method. The cohorts differ by their mixture of diagnoses and by their recorders."
        )
        display(Markdown(text))
    return pd.DataFrame(columns)


def distributions(run: Run, of: Sides) -> pd.DataFrame:
    """Draw intervals, axes, amplitudes and spectra of both sides; returns the distances, farthest first."""
    for name, fig in (
        ("intervals", drawn.densities(of.tables, of.names)),
        ("amplitudes", drawn.amplitudes(of.tables, of.names)),
        ("spectra", drawn.spectra(of.tables, of.names)),
    ):
        run.save_figure(fig, name)
        display(figures.show(fig))
    table = realism.distances(*of.tables)
    run.save_table(table, "distances")
    return table


def farthest(table: pd.DataFrame, names: tuple[str, str], n: int = 12) -> Any:
    """The measurements that are farthest apart, with median and 5 to 95 % on both sides, ``names``."""

    def told(row: dict, side: str) -> str:
        median, low, high = (row[f"{side} {q} %"] for q in (50, 5, 95))
        digits = 0 if max(abs(low), abs(high)) >= 20 else 2
        return f"{median:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

    rows = [
        {
            "measurement": realism.spoken(row["feature"]),
            "distance": f"{row['distance']:.2f}",
            names[0]: told(row, "real"),
            names[1]: told(row, "simulated"),
        }
        for row in table.head(n).to_dict("records")
    ]
    return set_out(pd.DataFrame(rows), ["measurement"])


Told = tuple[str, realism.TwoSample]  # population, result


def told_apart(run: Run, of: Sides) -> list[Told]:
    """Trees tell the sides apart by every group of measurements and by all, for both populations; drawn."""
    repeats, seed = run.params["n_bootstrap"], run.params["seed"]
    found = [
        (population, realism.two_sample_auc(of.tables[0], table, group, repeats=repeats, seed=seed))
        for population, table in of.populations.items()
        for group in GROUPS
    ]
    table = told_table(found)
    run.save_table(table, "two_sample_auc")
    fig = drawn.auc_by_group(table, aim=None if of.kind == "simulated" else AIM_TOLD)
    run.save_figure(fig, "two_sample_auc")
    display(figures.show(fig))
    return found


def told_table(found: Sequence[Told]) -> pd.DataFrame:
    """One row per population and group: AUC in percent, its interval, records, records left out as not measurable."""
    return pd.DataFrame(
        [
            {
                "population": population,
                "group": _GROUP_NAMES.get(result.group, result.group),
                "auc": result.auc,
                "ci_low": result.ci_low,
                "ci_high": result.ci_high,
                "n real": result.n_real,
                "n simulated": result.n_simulated,
                "left out real": result.failed_real if result.group != "spectrum" else 0,
                "left out simulated": result.failed_simulated if result.group != "spectrum" else 0,
            }
            for population, result in found
        ]
    )


def told_by(run: Run, found: Sequence[Told], n: int = 12) -> pd.DataFrame:
    """What the trees go by: the ``n`` most telling measurements of every group, drawn for all waves together."""
    tables = [
        result.importances.assign(population=population, group=result.group)
        for population, result in found
        if result.group not in WHOLES
    ]
    table = pd.concat(tables, ignore_index=True)
    run.save_table(table, "importances")
    first = table[table["population"] == AS_IT_IS].sort_values("single", ascending=False, kind="stable").head(n)
    fig = drawn.most_telling(first.assign(name=first["feature"].map(realism.spoken)))
    run.save_figure(fig, "most_telling")
    display(figures.show(fig))
    return table


def rows(of: Sides, found: Sequence[Told]) -> list[dict]:
    """The AUCs as entries of a run record's ``metrics``: method ``simulator``, 50 is the aim."""
    return [
        {
            "method": "simulator",
            "dataset": SET,
            "data_kind": of.kind,
            "setting": f"told from {of.names[0]} by {result.group}; {population}",
            "metric": "two_sample_auc",
            "value": result.auc,
            "ci_low": result.ci_low,
            "ci_high": result.ci_high,
            "n": result.n_real + result.n_simulated,
            "evaluator_version": EVALUATOR_VERSION,
        }
        for population, result in found
    ]


def used_data(of: Sides) -> dict[str, dict]:
    """The entries of a run record's ``data``."""
    return {
        SET: data_entry(of.kind, of.stores[0], "test"),
        f"simulated {of.cohort}": data_entry("simulated", of.stores[1], "test"),
    }


def in_words(of: Sides, found: Sequence[Told], distances: pd.DataFrame) -> str:
    """The comparison in words, every number computed."""
    by = {(population, result.group): result for population, result in found}
    whole, weighted = by[AS_IT_IS, "everything"], by[WEIGHTED, "everything"]
    parts = [result for (population, group), result in by.items() if population == AS_IT_IS and group not in WHOLES]
    order = sorted(parts, key=lambda result: result.auc)
    alone = max((result.importances.nlargest(1, "single").iloc[0] for result in parts), key=lambda row: row["single"])
    jointly = ", ".join(f"{group} {by[AS_IT_IS, group].auc:.1f}" for group in WHOLES[:-1])
    met = [_GROUP_NAMES.get(r.group, r.group) for r in order if r.auc <= AIM_TOLD]
    best, worst = (_GROUP_NAMES.get(r.group, r.group) for r in (order[0], order[-1]))
    far = distances.dropna(subset="distance").iloc[0]
    narrow, wide = _spreads(distances)
    against = f" That is {'at or below' if whole.auc <= AIM_TOLD else 'above'} the aim of {AIM_TOLD:g}."
    groups = f" {len(met)} of {len(order)} groups stay at or below {AIM_TOLD:g}{': ' + ', '.join(met) if met else ''}."
    if of.kind == "simulated":  # the aim is for real records
        against = groups = ""
    lacking = f" (but for the {100 * of.beyond:.1f} % whose combination it lacks)" if of.beyond else ""
    return (
        f"By all measurements together, trees tell {of.names[1]} from {of.names[0]} with an AUC of **{whole.auc:.1f}** "
        f"({whole.ci_low:.1f} to {whole.ci_high:.1f}); 50 would be alike.{against} Weighted to the other side's "
        f"mixture of superclasses{lacking} it is {weighted.auc:.1f} ({weighted.ci_low:.1f} to {weighted.ci_high:.1f}). "
        f"The nearest group is {best} ({order[0].auc:.1f}), the farthest {worst} ({order[-1].auc:.1f}).{groups} No "
        f"measurement alone reaches more than {alone['single']:.0f} ({realism.spoken(alone['feature'])}); how they go "
        f"together tells more: {jointly}. In the unit of the table above, farthest apart is "
        f"{realism.spoken(far['feature'])}, {far['distance']:.1f}. Beside those of {of.names[0]}, quartiles lie "
        f"farthest apart for {wide} and closest together for {narrow}."
    )


def _spreads(distances: pd.DataFrame) -> tuple[str, str]:
    """The measurements whose second quartile range is narrowest and widest beside the first, with the ratio.

    Amplitudes that hardly spread on the first side are left out: most records have no Q in most leads.
    """
    real, simulated = (distances[f"{side} 75 %"] - distances[f"{side} 25 %"] for side in ("real", "simulated"))
    least = np.where(distances["feature"].str.contains("_mv_"), realism.LEAST_SPREAD_MV, 1e-9)
    ratio = (simulated / real)[real >= least].dropna().sort_values()
    ends = [(distances.loc[at, "feature"], ratio.loc[at]) for at in (ratio.index[0], ratio.index[-1])]
    return tuple(f"{realism.spoken(name)} ({value:.2f} times)" for name, value in ends)
