"""The steps of a pre-training chapter: pairs, start, training, held-out retrieval, record."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from IPython.display import display
from torch import nn

from ecglib import chapters, datasets, figures, pretrain
from ecglib.checkpoint import TRAINING_STATE, save_pretrained
from ecglib.data.store import RecordStore
from ecglib.evaluate import retrieval, retrieval_rows
from ecglib.launch import fit_on
from ecglib.run import Run, data_entry
from ecglib.train import Schedule, TrainingData

LEARNABLE = ("simulated", *datasets.SETS_WITH_REPORTS)


@dataclass(frozen=True)
class Pairs:
    """ECGs and texts to learn from, and held-out ones of the same kind.

    ``unusual`` names what of the texts is not the paper's way; a model trained on it has a name of its own.
    """

    dataset: str
    kind: str  # simulated, subset or paper
    data: TrainingData
    held_out: TrainingData
    unusual: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def store(self) -> RecordStore:
        return self.data.store

    def with_texts(self, texts: Sequence[str], held_out: Sequence[str], **unusual: Any) -> "Pairs":
        """The same ECGs with other texts, one per record, for both parts."""
        return dataclasses.replace(
            self,
            data=TrainingData(self.data.store, list(texts)),
            held_out=TrainingData(self.held_out.store, list(held_out)),
            unusual={**self.unusual, **unusual},
        )


def pairs(run: Run) -> Pairs:
    """The pairs that the parameters of the run ask for: profile, dataset, data_root, seed, n_records."""
    p = run.params
    asked = (p["profile"], p["dataset"], p["data_root"], p["seed"])
    store = datasets.pretraining_store(*asked, p.get("n_records", 0))
    kind = datasets.data_kind(store, p["dataset"], folds=len(datasets.TRAINING_FOLDS))
    return Pairs(p["dataset"], kind, TrainingData.of(store), TrainingData.of(datasets.held_out_pairs(*asked)))


def counts(of: Pairs, printed: Mapping[str, str]) -> pd.DataFrame:
    """Size of the training set beside the paper's: ``printed`` may hold records, distinct texts, sampling rate."""
    here = {
        "records": f"{len(of.store):,}",
        "distinct texts": f"{len(set(of.data.reports)):,}",
        "sampling rate": f"{of.store.sampling_rate_hz:g} Hz",
    }
    return pd.DataFrame({"paper": {name: printed.get(name, "not given") for name in here}, "this run": here})


def show_pair(of: Pairs) -> Any:
    """The training pair with the longest text, on clinical paper."""
    row = max(range(len(of.data.reports)), key=lambda i: len(of.data.reports[i]))
    return chapters.show_ecg(of.store, row, "A training pair", of.data.reports[row])


def schedule(run: Run, stem: str, n_records: int) -> Schedule:
    """The schedule of the run's profile; the parameters ``epochs`` and ``processes`` change it."""
    p = run.params
    return pretrain.schedule_for(stem, p["profile"], n_records, p["seed"], p.get("epochs", 0), processes(run))


def processes(run: Run) -> int:
    """As many as asked; one per GPU, or one, when the parameter is 0 or absent."""
    return run.params.get("processes", 0) or max(1, torch.cuda.device_count())


def at_the_start(model: nn.Module, of: Pairs, plan: Schedule, theory: Mapping[str, float]) -> pd.DataFrame:
    """Every loss term on the first batch before any step, beside what theory gives for it.

    A copy with the same weights is looked at, so that looking does not touch the model.
    """
    model.prepare(of.data.reports)
    untrained = pretrain.rebuild(model, plan.seed).train()
    untrained.prepare(of.data.reports)
    with torch.no_grad():
        first = untrained.losses(of.data.batch(range(plan.batch_size), next(model.parameters()).device))
    found = {name: value.item() for name, value in first.items()}
    return pd.DataFrame({"at the start": found, "theory": {name: theory.get(name) for name in found}}).round(2)


@dataclass(frozen=True)
class Trained:
    """A model that a chapter has trained, and what it says about itself."""

    model: nn.Module
    name: str  # the method in every table
    folder: Path
    history: list[dict]
    training: dict
    data: dict
    kind: str
    variant: str


def train(
    run: Run,
    model: nn.Module,
    of: Pairs,
    plan: Schedule,
    *,
    stage: str = "",
    after: Trained | None = None,
    reference: Mapping[str, float] | None = None,
) -> Trained:
    """Train in place, save beside what trained it, draw the curves.

    Args:
        stage: name of a stage that is not the last, for example ``stage-1``; its model is kept in a folder of that
            name. A run that is killed in a later stage finds the earlier one finished.
        after: the stage before, whose steps count too.
        reference: per term the level a model that learned nothing has, drawn dashed.
    """
    p = run.params
    changed = pretrain.variant(model, p["profile"], p.get("epochs", 0), p.get("n_records", 0), of.unusual)
    folder = pretrain.checkpoint_folder(p["results_dir"], model.stem, p["profile"], of.dataset, p["seed"], changed)
    if stage:
        changed, folder = f"{changed}-{stage}".lstrip("-"), folder / stage
    model.prepare(of.data.reports)
    history = fit_on(processes(run), model, of.data, plan, folder)
    steps = plan.steps(len(of.data.reports))
    training = {**vars(plan), "effective_batch": plan.batch_size, "steps": steps}
    if after is not None:
        training["steps_before"] = after.training["steps"] + after.training.get("steps_before", 0)
    entry = data_entry(of.kind, of.store, "pretrain", distinct_texts=len(set(of.data.reports)))
    save_pretrained(
        model,
        folder,
        keep_training_state=bool(stage),
        profile=p["profile"],
        dataset=of.dataset,
        data_kind=of.kind,
        data=entry,
        training=training,
        variant=changed,
        unusual=dict(of.unusual),
        recipe=pretrain.recipe(model.stem, p["profile"]),
        checkpoint_choice="last step",
    )
    ending = f"_{stage.replace('-', '_')}" if stage else ""
    fig = figures.training_curves(history, reference=dict(reference or {}), color=figures.color_of(model.stem))
    run.save_figure(fig, f"training_curves{ending}")
    run.save_table(pd.DataFrame(history), f"history{ending}")
    display(figures.show(fig))
    if not stage:
        for left in folder.glob(f"*/{TRAINING_STATE}"):  # of stages that need not be found again
            left.unlink()
    name = pretrain.method_name(model.stem, changed, of.dataset)
    return Trained(model, name, folder, history, training, entry, of.kind, changed)


def held_out_retrieval(trained: Trained, of: Pairs) -> list[dict]:
    """Is a new ECG's own text among the ten nearest of all distinct ones? Rows of a run record, with chance."""
    named = datasets.PRETRAINING_COHORT if of.dataset == "simulated" else of.dataset
    found = retrieval(trained.model, of.held_out.store, of.held_out.reports)
    return retrieval_rows(trained.name, named, of.kind, found)


def record(run: Run, trained: Trained, of: Pairs, metrics: list[dict], notes: str = "") -> None:
    """The run record, written last, and where the checkpoint is."""
    run.record(
        metrics,
        data={"pretrain": trained.data, "held-out": data_entry(of.kind, of.held_out.store, "test")},
        model=trained.model.config,
        training=trained.training,
        checkpoint_choice="last step",
        notes=f"checkpoint {trained.folder.name}" + (f"; {notes}" if notes else ""),
    )
    print("checkpoint:", pretrain.shown(trained.folder, run.params["results_dir"]))
