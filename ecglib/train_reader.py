"""Training and calibrating a reader. Everything it learns from, and everything that is chosen, is simulated.

``tests/test_boundary.py`` holds this file and all that it imports to that: no file of a real data set is opened. What
the simulator takes for usual in adults was fitted beforehand to unlabelled recordings; a reader names their ``source``.
"""

import dataclasses
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from ecglib.answers import answers
from ecglib.checkpoint import TRAINING_STATE
from ecglib.data.simulated import simulated_store
from ecglib.data.store import RecordStore
from ecglib.data.synthetic import population
from ecglib.data.synthetic.stores import simulator_hash
from ecglib.errors import ParameterError
from ecglib.machine import torch_device
from ecglib.probability import platt_curves
from ecglib.reader import Reader
from ecglib.reader_model import Config, ReaderModel
from ecglib.recipes import CALIBRATION_SEED, Recipe
from ecglib.sources import code_fingerprint
from ecglib.statements import SUPERCLASSES, shown, statement_prompts, superclasses_shown
from ecglib.train import TrainingData, fit

LEAST_POSITIVES = 5  # records that show a statement, fewer give no curve


@dataclass(frozen=True)
class TrainedReader:
    """A reader with the whole model it was cut from, and the simulated records that made both."""

    reader: Reader
    model: ReaderModel
    history: list[dict]
    pairs: RecordStore
    calibration: RecordStore
    left_out: tuple[str, ...]  # statements that too few calibrating records show


def train_reader(
    recipe: Recipe,
    seed: int,
    work: str | Path,
    folder: str | Path,
    *,
    text_encoder: str = "minilm",
    report: Callable[[str], None] | None = print,
) -> TrainedReader:
    """Train, calibrate and save a reader into ``folder``; a function of recipe and seed alone.

    ``work`` keeps the state of the run: one that was killed goes on from there when called again in the same way. It is
    removed once the reader is saved. The last step of training is taken: nothing is chosen among several.

    Raises:
        ParameterError: too few records for one batch, or too few calibrating ones to see any statement.
        CheckpointError: the state in ``work`` belongs to another run, or ``folder`` cannot be written.
    """
    schedule = recipe.schedule(seed)
    if recipe.n_records < recipe.batch_size:
        raise ParameterError(f"{recipe.n_records} records do not fill one batch of {recipe.batch_size}")
    pairs = simulated_store(recipe.cohort, recipe.n_records, seed, recipe.sampling_rate_hz)
    torch.manual_seed(seed)
    model = ReaderModel(Config(text_encoder=text_encoder)).to(torch_device())
    data = TrainingData.of(pairs)
    model.prepare(data.reports)
    history = fit(model, data, schedule, work, report)
    model.eval()
    calibration = simulated_store(
        recipe.calibration_cohort, recipe.n_calibration, seed + CALIBRATION_SEED, recipe.sampling_rate_hz
    )
    prompts, left_out = _shown_often_enough(calibration)
    training = {
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "data_kind": "simulated",
        "data": pairs.fingerprint,
        "simulator": simulator_hash(),
        "population": tomllib.loads(population.FILE.read_text(encoding="utf-8"))["source"],
        "code": code_fingerprint(model.stem),
        "text_encoder": {"name": model.text_encoder.name, "fingerprint": model.text_encoder.fingerprint},
        "steps": schedule.steps(len(pairs)),
        "effective_batch": schedule.batch_size,
        "precision": schedule.precision,
        "checkpoint_choice": "last step",
    }
    reader = Reader.of(model, prompts, recipe.sampling_rate_hz, {"training": training})
    calibrate(reader, calibration, recipe, seed)
    reader.save_pretrained(folder)
    (Path(work) / TRAINING_STATE).unlink(missing_ok=True)
    return TrainedReader(reader, model, history, pairs, calibration, left_out)


def calibrate(reader: Reader, store: RecordStore, recipe: Recipe, seed: int) -> None:
    """Fit the curve of every statement on simulated records that training did not see, and name their population."""
    truth = shown(store.records["findings"], reader.codes)
    slope, intercept = platt_curves(answers(reader.scores, store), truth)
    any_shown = superclasses_shown(store.records["findings"])
    of_whom = {
        "data_kind": "simulated",
        "cohort": recipe.calibration_cohort,
        "n": len(store),
        "seed": seed + CALIBRATION_SEED,
        "data": store.fingerprint,
        "prevalence": dict(zip(reader.codes, truth.mean(axis=0).round(6).tolist(), strict=True)),
        "superclasses": dict(zip(SUPERCLASSES, any_shown.mean(axis=0).round(6).tolist(), strict=True)),
    }
    reader.calibrate(slope, intercept, of_whom)


def _shown_often_enough(store: RecordStore) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Prompts of the statements that at least ``LEAST_POSITIVES`` records show, and the codes of the others."""
    prompts = statement_prompts()
    often = shown(store.records["findings"], tuple(prompts)).sum(axis=0)
    kept = {code: texts for (code, texts), n in zip(prompts.items(), often, strict=True)
            if LEAST_POSITIVES <= n <= len(store) - LEAST_POSITIVES}  # fmt: skip
    if not kept:
        raise ParameterError(f"{len(store)} calibrating records show no statement {LEAST_POSITIVES} times: take more")
    return kept, tuple(code for code in prompts if code not in kept)
