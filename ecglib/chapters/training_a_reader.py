"""The steps of the chapter that trains a reader: recipe, training, fresh records, reliability, AUC, record."""

import dataclasses
import tomllib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display

from ecglib import chapters, figures, knowledge
from ecglib import reader_figures as charts
from ecglib.answers import answers
from ecglib.chapters.zero_shot import UNTRAINED_SEED
from ecglib.data.labels import scp_statements
from ecglib.data.simulated import simulated_store
from ecglib.data.store import RecordStore
from ecglib.data.synthetic import population
from ecglib.errors import ParameterError
from ecglib.metrics import EVALUATOR_VERSION, MacroAuc, between_networks, chance_macro_auc, class_auc, macro_auc
from ecglib.paths import sha256_of
from ecglib.probability import Reliability, reliability
from ecglib.profiles import get_profile
from ecglib.recipes import CHECK_SEED, RECIPES, Recipe, get_recipe
from ecglib.run import Run, data_entry
from ecglib.statements import SUPERCLASSES, shown, superclasses_shown
from ecglib.tables import set_out
from ecglib.train_reader import LEAST_POSITIVES, TrainedReader, train_reader

CHECK_COHORT = "ptb-xl"


def recipe_of(run: Run) -> Recipe:
    """The recipe that the run's parameters name, with what they change: n_records, epochs, n_calibration (0: as is).

    Raises ParameterError, before any record is made, when there are too few for one batch or for any curve.
    """
    recipe = get_recipe(run.params["recipe"])
    changes = {name: run.params[name] for name in ("n_records", "epochs", "n_calibration") if run.params[name]}
    for name, least, why in (
        ("n_records", recipe.batch_size, "one batch"),
        ("n_calibration", 2 * LEAST_POSITIVES, "five that show a statement and five that do not"),
    ):
        if changes.get(name, least) < least:
            usual = getattr(recipe, name)
            raise ParameterError(
                f"{name} = {changes[name]}: at least {least} are needed, {why}; 0 takes the recipe's {usual}"
            )
    return dataclasses.replace(recipe, **changes)


def recipe_table(recipe: Recipe) -> Any:
    """The recipe in words."""
    rows = {
        "learns from": f"{recipe.n_records:,} simulated records of {recipe.cohort}, with their reports",
        "passes": f"{recipe.epochs}",
        "records per step": f"{recipe.batch_size}",
        "peak learning rate": f"{recipe.lr:g}",
        "sampling rate": f"{recipe.sampling_rate_hz} Hz",
        "calibrated on": f"{recipe.n_calibration:,} other simulated records, of {recipe.calibration_cohort}",
        "usual hearts fitted to": tomllib.loads(population.FILE.read_text(encoding="utf-8"))["source"],
        "machine": recipe.machine,
    }
    return chapters.facts(f"recipe {recipe.name}", rows)


def train(run: Run, recipe: Recipe) -> TrainedReader:
    """Train, calibrate, save, draw the curves of the loss. A changed recipe never replaces ``results/reader``."""
    p = run.params
    usual = recipe == RECIPES.get(recipe.name)
    changed = "" if usual else f"-{sha256_of(dataclasses.asdict(recipe), 8)}"
    work = run.results_dir / "checkpoints" / "reader" / f"{recipe.name}-seed{p['seed']}{changed}"
    beside = ([] if recipe.name == "demo" else [recipe.name]) + ([f"seed-{p['seed']}"] if p["seed"] else [])
    folder = run.results_dir.joinpath("reader", *beside) if usual else work / "reader"
    made = train_reader(recipe, p["seed"], work, folder)
    fig = figures.training_curves(made.history, color=figures.color_of("deri"))
    run.save_figure(fig, "training_curves")
    run.save_table(pd.DataFrame(made.history), "history")
    display(figures.show(fig))
    size = sum(path.stat().st_size for path in folder.iterdir()) / 1e6
    print(f"reader: {folder.relative_to(run.results_dir.parent)}, {size:.1f} MB, {len(made.reader.codes)} statements")
    if made.left_out:
        print("without a curve, hardly shown by any calibrating record, so left out:", ", ".join(made.left_out))
    return made


@dataclass(frozen=True)
class Checked:
    """Fresh simulated records and what the reader says of them."""

    store: RecordStore
    truth: np.ndarray  # (N, C) bool
    scores: np.ndarray  # (N, C)
    probabilities: np.ndarray  # (N, C)
    superclasses: np.ndarray  # (N, 5)
    super_truth: np.ndarray  # (N, 5) bool
    super_auc: MacroAuc


def check(run: Run, made: TrainedReader) -> Checked:
    """Score records that neither training nor the curves saw; the profile says how many."""
    p, reader = run.params, made.reader
    n = get_profile(p["profile"]).n_evaluate[CHECK_COHORT]
    store = simulated_store(CHECK_COHORT, n, p["seed"] + CHECK_SEED, int(reader.sampling_rate_hz))
    truth, scores = shown(store.records["findings"], reader.codes), answers(reader.scores, store)
    probabilities = reader.calibrated(scores)
    super_truth = superclasses_shown(store.records["findings"])
    superclasses = reader.of_superclasses(probabilities)
    patients = store.records["patient"].to_numpy()
    over = macro_auc(super_truth, superclasses, list(SUPERCLASSES), patients, repeats=p["n_bootstrap"], seed=p["seed"])
    return Checked(store, truth, scores, probabilities, superclasses, super_truth, over)


def calibration(run: Run, of: Checked) -> dict[str, Reliability]:
    """Reliability of statements and of superclasses, drawn."""
    p, patients = run.params, of.store.records["patient"].to_numpy()
    options = {"repeats": p["n_bootstrap"], "seed": p["seed"]}
    found = {
        "statements": reliability(of.probabilities, of.truth, patients, **options),
        "superclasses": reliability(of.superclasses, of.super_truth, patients, **options),
    }
    fig = charts.reliability_diagram(found)
    run.save_figure(fig, "reliability")
    display(figures.show(fig))
    return found


def superclass_table(run: Run, of: Checked) -> pd.DataFrame:
    """Per superclass: how often it is there, the mean prediction, calibration error and AUC with their intervals."""
    p, patients = run.params, of.store.records["patient"].to_numpy()
    options = {"repeats": p["n_bootstrap"], "seed": p["seed"]}
    rows = {}
    for i, name in enumerate(SUPERCLASSES):
        held = reliability(of.superclasses[:, [i]], of.super_truth[:, [i]], patients, **options)
        scored = of.super_auc.classes.get(name, {"auc": np.nan, "ci_low": np.nan, "ci_high": np.nan})
        rows[name] = {
            "there, %": f"{100 * of.super_truth[:, i].mean():.1f}",
            "mean prediction, %": f"{100 * of.superclasses[:, i].mean():.1f}",
            "ECE, points": f"{held.ece:.1f} ({held.ci_low:.1f}–{held.ci_high:.1f})",
            "AUC, %": f"{scored['auc']:.1f} ({scored['ci_low']:.1f}–{scored['ci_high']:.1f})",
        }
    table = pd.DataFrame(rows).T.rename_axis("superclass")
    run.save_table(table, "superclasses")
    return table


@dataclass(frozen=True)
class Scored:
    """AUCs of the statements, of the reader and of what knows nothing."""

    auc: MacroAuc
    untrained: np.ndarray  # (M, C) of M untrained networks
    table: pd.DataFrame


def statement_aucs(run: Run, made: TrainedReader, of: Checked) -> Scored:
    """AUC per statement with its interval, beside untrained networks and the range of random scores."""
    p, reader = run.params, made.reader
    auc = macro_auc(of.truth, of.scores, list(reader.codes), of.store.records["patient"].to_numpy(),
                    repeats=p["n_bootstrap"], seed=p["seed"])  # fmt: skip
    untrained = []
    for number in range(get_profile(p["profile"]).random_encoders):
        fresh = reader.untrained(UNTRAINED_SEED + number)
        untrained.append(100 * class_auc(of.truth, answers(fresh.scores, of.store)))
    untrained = np.array(untrained)
    positives = of.truth.sum(axis=0)
    with np.errstate(divide="ignore"):
        # Of random scores: the variance of Mann and Whitney's statistic without ties.
        luck = 196 * np.sqrt((len(of.truth) + 1) / (12.0 * positives * (len(of.truth) - positives)))
    rows = []
    for c, code in enumerate(reader.codes):
        found = auc.classes.get(code, {"auc": np.nan, "ci_low": np.nan, "ci_high": np.nan})
        rows.append(
            {
                "statement": code,
                "name": knowledge.finding(code)["name"],
                "superclass": scp_statements()[code]["super"],
                "positives": int(positives[c]),
                "auc": found["auc"],
                "ci_low": found["ci_low"],
                "ci_high": found["ci_high"],
                "random encoder": untrained[:, c].mean(),
                "chance, up to": 50 + luck[c],
            }
        )
    table = pd.DataFrame(rows).sort_values("auc", ascending=False, kind="stable", na_position="last")
    run.save_table(table, "statements")
    return Scored(auc, untrained, table.reset_index(drop=True))


def statement_table(of: Scored) -> Any:
    """All statements, best first; one without a positive record has no AUC."""
    table = of.table.copy()
    table["AUC, %"] = [
        "not scored" if np.isnan(r["auc"]) else f"{r['auc']:.1f} ({r['ci_low']:.1f}–{r['ci_high']:.1f})"
        for r in table.to_dict("records")
    ]
    table = table.drop(columns=["auc", "ci_low", "ci_high"])
    return set_out(table, ["statement", "name", "superclass"])


def metric_rows(run: Run, of: Checked, scored: Scored, held: dict[str, Reliability]) -> list[dict]:
    """The rows of the run record: macro AUC of reader, untrained networks and chance; calibration errors."""
    auc, over = scored.auc, of.super_auc
    chance = chance_macro_auc(of.truth, repeats=200, seed=run.params["seed"])
    chance_super = chance_macro_auc(of.super_truth, repeats=200, seed=run.params["seed"])
    untrained = between_networks(np.nanmean(scored.untrained, axis=1))
    base = {"data_kind": "simulated", "n": len(of.store), "evaluator_version": EVALUATOR_VERSION, "dataset": "ptb-xl"}

    def row(method: str, metric: str, setting: str, value: float, low: float, high: float, **more) -> dict:
        found = {"method": method, "metric": metric, "setting": setting, "value": float(value)}
        return base | found | {"ci_low": float(low), "ci_high": float(high)} | more

    named, anyone = "statements, simulated", "any of its statements, simulated"
    rows = [
        row("reader", "macro_auc", named, auc.value, auc.ci_low, auc.ci_high),
        row("random-encoder", "macro_auc", named, *untrained),
        row("chance", "macro_auc", named, *chance),
        row("reader", "macro_auc", anyone, over.value, over.ci_low, over.ci_high, dataset="ptbxl-super"),
        row("chance", "macro_auc", anyone, *chance_super, dataset="ptbxl-super"),
    ]
    for setting, dataset, found in (
        (named, "ptb-xl", held["statements"]),
        (anyone, "ptbxl-super", held["superclasses"]),
    ):
        rows.append(row("reader", "ece", setting, found.ece, found.ci_low, found.ci_high, dataset=dataset))
    run.save_table(pd.DataFrame(rows), "metrics")
    return rows


def reading(of: Checked, scored: Scored, held: dict[str, Reliability]) -> Markdown:
    """The result in words, every number computed."""
    solid = scored.table[scored.table["positives"] >= 10]

    def listed(rows: pd.DataFrame) -> str:
        return ", ".join(f"{r['name']} ({r['auc']:.1f})" for r in rows.to_dict("records"))

    below = solid[solid["ci_low"] <= 50]
    wrong = (
        f"Not told apart from chance: {', '.join(below['statement'])}."
        if len(below)
        else "None of those with ten positive records is at chance."
    )
    return Markdown(
        f"Macro AUC **{scored.auc.value:.1f}** over {len(scored.auc.classes)} statements of {len(of.store):,} fresh "
        f"simulated records, against {np.nanmean(scored.untrained):.1f} of untrained networks. Best of the statements "
        f"with at least ten positive records: {listed(solid.head(3))}. Weakest: {listed(solid.tail(3))}. {wrong}\n\n"
        f"The probabilities of statements are off by {held['statements'].ece:.1f} points on average, those of "
        f"superclasses, which take statements for independent, by {held['superclasses'].ece:.1f}."
    )


def record(run: Run, made: TrainedReader, of: Checked, rows: list[dict]) -> None:
    """The run record, written last."""
    training = made.reader.about["training"]
    run.record(
        rows,
        data={
            "pretrain": data_entry("simulated", made.pairs, "pretrain"),
            "calibration": data_entry("simulated", made.calibration, "train"),
            "fresh": data_entry("simulated", of.store, "test"),
        },
        model=made.model.config,
        training=training,
        checkpoint_choice="last step",
        notes=f"prompts {knowledge.knowledge_hash()}; curves on simulated {made.reader.about['calibration']['cohort']}",
    )
