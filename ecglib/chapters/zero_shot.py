"""The steps of a zero-shot chapter: model, records, prompts, scores with what knows nothing, classes, record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from torch import nn

from ecglib import chapters, datasets, figures, knowledge, pretrain, results
from ecglib import evaluate as ev
from ecglib.data.store import RecordStore
from ecglib.paths import expand
from ecglib.profiles import get_profile
from ecglib.run import Run, data_entry
from ecglib.signals import parse_leads
from ecglib.tables import DATASET_NAMES, set_out

SCORABLE = ("simulated", *datasets.TASKS_OF)
SETTINGS = {"zero-shot, clinical prompts": "clinical", "zero-shot, class names": "name"}
UNTRAINED_SEED = 1_000  # the first seed of the untrained networks: no chapter trains with it


@dataclass(frozen=True)
class Subject:
    """A trained model, the record beside its weights, and the records it never saw: what a chapter scores."""

    model: nn.Module
    made_by: dict
    stores: dict[str, RecordStore]
    kind: str  # simulated, subset or paper
    tasks: tuple[str, ...]  # those with a labelled record

    @property
    def name(self) -> str:
        return pretrain.method_name(self.model.stem, self.made_by["variant"], self.made_by["dataset"])

    def described(self) -> pd.DataFrame:
        made = self.made_by
        steps = made["training"]["steps"] + made["training"].get("steps_before", 0)
        return pd.DataFrame(
            {
                "model": {
                    "pre-trained on": f"{made['dataset']} ({made['data_kind']})",
                    "pairs seen": f"{steps * made['training']['effective_batch']:,}",
                    "text encoder": made["text_encoder"]["name"],
                    "weights": made["weights_sha256"][:12],
                }
            }
        )


def subject(run: Run, stem: str) -> Subject:
    """The model that the run's parameters name, trained first if there is none, and the records to score."""
    p = run.params
    stores = datasets.evaluation_stores(p["profile"], p["dataset"], p["data_root"], p["seed"])
    model, made_by = pretrain.pretrained(stem, p["profile"], p["seed"], p["checkpoint"], p["results_dir"])
    stores = datasets.unseen_by(made_by["dataset"], stores)
    (kind,) = {datasets.evaluation_kind(store, p["dataset"]) for store in stores.values()}
    tasks = [task for name, store in stores.items() for task in datasets.TASKS_OF[name] if len(store.task(task)[0])]
    return Subject(model, made_by, stores, kind, tuple(tasks))


def earlier_stage(run: Run, stem: str, stage: str) -> tuple[nn.Module, dict]:
    """The model of a stage before the last, and its record; ``subject`` has seen to it that it was trained."""
    p = run.params
    usual = pretrain.checkpoint_folder(p["results_dir"], stem, p["profile"], "simulated", p["seed"])
    folder = (expand(p["checkpoint"]) if p["checkpoint"] else usual) / stage
    return pretrain.pretrained(stem, p["profile"], p["seed"], str(folder), p["results_dir"])


def task_table(of: Subject, printed_in: str = "deri", exhibit: str = "table-8") -> pd.DataFrame:
    """Classes and records per task here, beside the test records that a paper's table counts."""
    counted = results.reported(printed_in).query("exhibit == @exhibit and metric == 'n_test' and dataset in @of.tasks")
    views = {task: store.task(task) for name, store in of.stores.items() for task in datasets.TASKS_OF[name]}
    empty = [task for task in views if task not in of.tasks]
    print("tasks without a labelled record:", ", ".join(empty) or "none")
    return pd.DataFrame(
        {
            "classes": {task: len(views[task][2]) for task in of.tasks},
            "records here": {task: len(views[task][0]) for task in of.tasks},
            "classes with a record": {task: int(views[task][1].any(axis=0).sum()) for task in of.tasks},
            "test records in the paper": counted.set_index("dataset")["value"].reindex(list(of.tasks)),
        }
    )


def first_record(of: Subject) -> Any:
    """The first record to score, on clinical paper."""
    name, store = next(iter(of.stores.items()))
    what = "simulated" if of.kind == "simulated" else "real"
    return chapters.show_ecg(store, 0, f"First record of {name}, {what}", store.records["report"][0])


def prompt_sets(of: Subject) -> dict[str, dict[str, dict[str, list[str]]]]:
    """Setting -> task -> class -> prompts: clinical prompts and plain class names, both fixed before any scoring."""
    return {
        setting: {task: knowledge.prompt_set(task, kind) for task in of.tasks} for setting, kind in SETTINGS.items()
    }


def prompt_table(task: str, n: int = 6) -> Any:
    """The first classes of a task with their name and some of their clinical prompts."""
    rows = [
        {"class": cls, "name": knowledge.class_name(task, cls), "clinical prompts": "; ".join(prompts[:4]) + " ..."}
        for cls, prompts in knowledge.prompt_set(task, "clinical").items()
    ]
    return set_out(pd.DataFrame(rows[:n]), ["class", "name", "clinical prompts"])


def score(run: Run, of: Subject, prompts: Mapping[str, Any]) -> list[ev.ZeroShot]:
    """Every record once against all prompts; intervals over patients. Leads and repeats are the run's parameters."""
    p = run.params
    leads = None if p["leads"] == "all" else parse_leads(p["leads"])
    found = ev.zero_shot_sets(
        of.model, of.stores, datasets.TASKS_OF, prompts, leads, repeats=p["n_bootstrap"], seed=p["seed"]
    )
    left_out = {result.task: result.auc.left_out for result in found if result.auc.left_out}
    told = "; ".join(f"{DATASET_NAMES.get(task, task)}: {', '.join(classes)}" for task, classes in left_out.items())
    display(Markdown(f"Left out, since no record is positive: {told or 'no class'}."))
    return found


def score_rows(run: Run, of: Subject, prompts: Mapping[str, Any], found: Sequence[ev.ZeroShot]) -> list[dict]:
    """The scores as rows of a run record, followed by those of untrained networks and of chance."""
    p = run.params
    leads = None if p["leads"] == "all" else parse_leads(p["leads"])
    untrained = [
        ev.zero_shot_sets(
            pretrain.rebuild(of.model, UNTRAINED_SEED + number), of.stores, datasets.TASKS_OF, prompts, leads, repeats=2
        )
        for number in range(get_profile(p["profile"]).random_encoders)
    ]
    rows = [ev.metric_row(of.name, of.kind, result) for result in found]
    rows += ev.random_encoder_rows(of.kind, untrained)
    rows += ev.chance_rows(of.kind, found, seed=p["seed"])
    run.save_table(pd.DataFrame(rows), "metrics")
    return rows


def used_data(of: Subject) -> dict[str, dict]:
    """The entries of a run record's ``data``: the records scored, and those that the model was trained on."""
    return {name: data_entry(of.kind, store, "test") for name, store in of.stores.items()} | {
        "pretrain": of.made_by["data"]
    }


def compared(run: Run, of: Subject, rows: list[dict], stem: str, exhibits: Sequence[str]) -> pd.DataFrame:
    """What the paper's exhibits report beside this run, drawn and as a table; the verdict is computed."""
    return beside(run, of, rows, results.reported(stem).query("exhibit in @exhibits"))


def beside(run: Run, of: Subject, rows: list[dict], printed: pd.DataFrame) -> pd.DataFrame:
    """`compared` for any rows of `results.reported`: those of a method that only other papers report."""
    table = results.compare(printed, run.as_runs(rows, used_data(of)))
    fig = figures.reported_vs_reproduced(table)
    run.save_figure(fig, "reported_vs_reproduced")
    display(figures.show(fig))
    return table


def class_figures(run: Run, of: Subject, found: Sequence[ev.ZeroShot]) -> pd.DataFrame:
    """AUC class by class, drawn for every task under the first setting; returns the table of all settings."""
    table = ev.class_table(found)
    run.save_table(table, "per_class")
    for task in of.tasks:
        of_task = table[(table["task"] == task) & (table["setting"] == found[0].setting)]
        fig = figures.auc_bars(of_task, title=task, color=figures.color_of(of.model.stem))
        run.save_figure(fig, f"classes_{task.replace('-', '_')}")
        display(figures.show(fig, dpi=120))
    return table


def reading(of: Subject, found: Sequence[ev.ZeroShot], rows: list[dict], per_class: pd.DataFrame) -> Markdown:
    """The result in words, every number computed."""
    means = {setting: np.mean([r.auc.value for r in found if r.setting == setting]) for setting in SETTINGS}
    spoken = " and ".join(f"**{value:.1f}** with {setting.split(', ')[1]}" for setting, value in means.items())
    chance = max(row["ci_high"] for row in rows if row["method"] == "chance")
    solid = per_class[(per_class["setting"] == found[0].setting) & (per_class["positives"] >= 10)]

    def listed(classes: pd.DataFrame) -> str:
        return ", ".join(f"{r['class']} ({r['task']}) {r['auc']:.1f}" for _, r in classes.iterrows())

    return Markdown(
        f"Mean over the {len(of.tasks)} tasks: {spoken} (data: {of.kind}). Random scores stay below {chance:.1f} in "
        f"97.5 of 100 draws on every task.\n\nStrongest classes with at least ten positive records: "
        f"{listed(solid.nlargest(3, 'auc'))}. Weakest: {listed(solid.nsmallest(3, 'auc'))}.\n\nA class whose whole "
        "interval lies below 50 is ranked the wrong way round: to the model, prompt and finding disagree."
    )


def record(run: Run, of: Subject, found: Sequence[ev.ZeroShot], rows: list[dict], notes: str = "") -> None:
    """The run record. Simulated scores can be made again from the seed; those on real records are kept."""
    path = run.folder / f"predictions-{run.run_id}.parquet"
    p, made = run.params, of.made_by
    about = f"prompts {knowledge.knowledge_hash()}; leads {p['leads']}; weights {made['weights_sha256'][:12]}"
    run.record(
        rows,
        data=used_data(of),
        model=of.model.config,
        training=made["training"] | {"recipe": made.get("recipe")},
        checkpoint_choice=made.get("checkpoint_choice"),
        predictions=ev.save_predictions(path, found) if p["dataset"] != "simulated" else None,
        notes=f"{about}; {notes}" if notes else about,
    )
