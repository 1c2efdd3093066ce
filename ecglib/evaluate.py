"""Evaluations of any paper's model through its contract alone; none asks which paper it serves."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F

from ecglib.data.labels import TASKS
from ecglib.metrics import (
    EVALUATOR_VERSION,
    MacroAuc,
    between_networks,
    chance_macro_auc,
    macro_auc,
    patient_weights,
)
from ecglib.paths import atomic_write

PromptSet = dict[str, list[str]]  # class -> its prompts


@dataclass(frozen=True)
class ZeroShot:
    """Zero-shot result of one method on one task under one kind of prompt."""

    task: str
    setting: str
    auc: MacroAuc
    scores: np.ndarray  # (N, C)
    labels: np.ndarray  # (N, C) bool
    record_ids: list[str]


@torch.inference_mode()
def score_records(
    model, store, prompts: Sequence[Sequence[str]], leads: Sequence[str] | None = None, batch_size: int = 128
) -> np.ndarray:
    """``model.score`` over a whole store, in evaluation mode, in batches: C lists of prompts -> (N, C) float32."""
    model.eval()
    device = next(model.parameters()).device
    classes = model.encode_classes(prompts)
    parts = []
    for start in range(0, len(store), batch_size):
        rows = np.arange(start, min(start + batch_size, len(store)))
        ecg = torch.from_numpy(store.read(rows, leads)).to(device)
        parts.append(model.score(ecg, classes, leads).float().cpu().numpy())
    return np.concatenate(parts)


def zero_shot(
    model,
    store,
    prompt_sets: dict[str, dict[str, PromptSet]],
    leads: Sequence[str] | None = None,
    *,
    repeats: int = 1000,
    seed: int = 0,
) -> list[ZeroShot]:
    """Score every record once against the prompts of all tasks, then evaluate each task on its own records.

    Args:
        prompt_sets: setting -> task -> class -> prompts, for example ``{"clinical prompts": {"ptbxl-super": ...}}``.
        leads: the leads to use; ``None`` means all twelve.
        repeats, seed: of the bootstrap over patients.

    Records without a label of a task take no part in it. Nothing is fitted and no threshold is chosen.
    """
    columns = [
        (setting, task, name, prompts)
        for setting, tasks in prompt_sets.items()
        for task, classes in tasks.items()
        for name, prompts in classes.items()
    ]
    scores = score_records(model, store, [prompts for *_, prompts in columns], leads)
    position = {record: row for row, record in enumerate(store.records["id"])}
    results = []
    for setting, tasks in prompt_sets.items():
        for task in tasks:
            view, labels, classes = store.task(task)
            if len(view) == 0:
                raise ValueError(f"no record of this data set has a label of task '{task}'")
            ids = list(view.records["id"])
            rows = [position[record] for record in ids]
            at = {name: i for i, (s, t, name, _) in enumerate(columns) if (s, t) == (setting, task)}
            of_task = scores[np.ix_(rows, [at[name] for name in classes])]
            auc = macro_auc(labels, of_task, list(classes), view.records["patient"], repeats=repeats, seed=seed)
            results.append(ZeroShot(task, setting, auc, of_task, labels, ids))
    return results


def zero_shot_sets(
    model,
    stores: dict,
    tasks_of: dict[str, Sequence[str]],
    prompt_sets: dict[str, dict[str, PromptSet]],
    leads: Sequence[str] | None = None,
    **bootstrap,
) -> list[ZeroShot]:
    """`zero_shot` on several data sets, each with those tasks of ``tasks_of`` that ``prompt_sets`` has prompts for."""
    results = []
    for name, store in stores.items():
        own = {
            setting: {task: of[task] for task in tasks_of[name] if task in of} for setting, of in prompt_sets.items()
        }
        results += zero_shot(model, store, own, leads, **bootstrap)
    return results


@dataclass(frozen=True)
class Retrieval:
    """How often an ECG's own report is among the ten nearest, in percent, with a 95 % interval over patients.

    Every distinct report counts once, however many records share it: a ranking by mere frequency is then at chance.
    """

    recall_at_10: float
    ci_low: float
    ci_high: float
    chance: float
    n: int
    distinct: int


@torch.inference_mode()
def encodings(model, store, texts: Sequence[str], batch_size: int = 128) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors of every record of a store (N, D) and of every text (M, D), in evaluation mode."""
    model.eval()
    device = next(model.parameters()).device
    ecgs = [
        model.encode_ecg(torch.from_numpy(store.read(np.arange(start, min(start + batch_size, len(store))))).to(device))
        for start in range(0, len(store), batch_size)
    ]
    words = [model.encode_text(texts[start : start + batch_size]) for start in range(0, len(texts), batch_size)]
    return tuple(F.normalize(torch.cat(parts).float(), dim=-1).cpu().numpy() for parts in (ecgs, words))


def retrieval(model, store, texts: Sequence[str] | None = None, *, repeats: int = 1000, seed: int = 0) -> Retrieval:
    """Search every ECG's own text among all distinct texts by cosine; equal texts count as one.

    ``texts``: one per record of ``store``; ``None`` means its reports.
    """
    texts = list(store.records["report"]) if texts is None else list(texts)
    distinct, own_column, how_often = np.unique(texts, return_inverse=True, return_counts=True)
    vectors, words = encodings(model, store, distinct.tolist())
    scores = vectors @ words.T  # (N, distinct)
    own = scores[np.arange(len(texts)), own_column]
    above = (scores > own[:, None]).sum(axis=1)
    tied = (scores == own[:, None]).sum(axis=1)  # its own among them
    hit = np.clip((10 - above) / tied, 0.0, 1.0)  # the chance to be among the ten when ties are broken by lot
    share = 1.0 / how_often[own_column]
    weights = share * patient_weights(store.records["patient"].to_numpy(), repeats, seed)
    low, high = np.percentile(weights @ hit / weights.sum(axis=1), [2.5, 97.5])
    return Retrieval(
        recall_at_10=100 * float((share * hit).sum() / len(distinct)),
        ci_low=100 * float(low),
        ci_high=100 * float(high),
        chance=100 * min(1.0, 10 / len(distinct)),
        n=len(texts),
        distinct=len(distinct),
    )


def retrieval_rows(method: str, dataset: str, data_kind: str, found: Retrieval) -> list[dict]:
    """A retrieval and its chance level as entries of a run record's ``metrics``."""
    row = {
        "method": method,
        "dataset": dataset,
        "data_kind": data_kind,
        "setting": f"own report among {found.distinct} distinct ones, held-out pairs",
        "metric": "recall_at_10",
        "value": found.recall_at_10,
        "ci_low": found.ci_low,
        "ci_high": found.ci_high,
        "n": found.n,
        "evaluator_version": EVALUATOR_VERSION,
    }
    return [row, row | {"method": "chance", "value": found.chance, "ci_low": None, "ci_high": None}]


def metric_row(method: str, data_kind: str, result: ZeroShot) -> dict:
    """A result as an entry of a run record's ``metrics``."""
    return {
        "method": method,
        "dataset": result.task,
        "data_kind": data_kind,
        "setting": result.setting,
        "metric": "macro_auc",
        "value": result.auc.value,
        "ci_low": result.auc.ci_low,
        "ci_high": result.auc.ci_high,
        "n": result.auc.n,
        "evaluator_version": EVALUATOR_VERSION,
    }


def chance_rows(data_kind: str, results: Sequence[ZeroShot], *, repeats: int = 200, seed: int = 0) -> list[dict]:
    """What random scores reach on the same labels: mean and 95 % range, one row per result."""
    rows = []
    for result in results:
        value, low, high = chance_macro_auc(result.labels, repeats=repeats, seed=seed)
        rows.append(metric_row("chance", data_kind, result) | {"value": value, "ci_low": low, "ci_high": high})
    return rows


def random_encoder_rows(data_kind: str, per_network: Sequence[Sequence[ZeroShot]]) -> list[dict]:
    """Untrained networks of the same shape: the mean over networks and 1.96 standard deviations between them."""
    rows = []
    for same in zip(*per_network, strict=True):
        value, low, high = between_networks([result.auc.value for result in same])
        row = metric_row("random-encoder", data_kind, same[0])
        rows.append(row | {"value": value, "ci_low": low, "ci_high": high})
    return rows


def save_predictions(path, results: Sequence[ZeroShot]):
    """Every score and label in long form, as parquet, so that each metric can be computed again. Returns ``path``."""
    frames = []
    for result in results:
        names = TASKS[result.task]
        n, c = result.scores.shape
        frame = {"task": result.task, "setting": result.setting, "id": np.repeat(result.record_ids, c)}
        frame |= {"class": np.tile(names, n), "score": result.scores.ravel(), "label": result.labels.ravel()}
        frames.append(pd.DataFrame(frame))
    buffer = io.BytesIO()
    pd.concat(frames).to_parquet(buffer, index=False)
    return atomic_write(path, buffer.getvalue())


def class_table(results: Sequence[ZeroShot]) -> pd.DataFrame:
    """One row per task, setting and class: AUC in percent with interval and number of positive records."""
    return pd.DataFrame(
        [
            {"task": result.task, "setting": result.setting, "class": name, **entry}
            for result in results
            for name, entry in result.auc.classes.items()
        ]
    )
