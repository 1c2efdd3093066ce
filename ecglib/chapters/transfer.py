"""How well a reader trained on simulated ECGs reads others, beside chance, untrained readers and simulated records."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ecglib import figures
from ecglib.answers import answers
from ecglib.chapters.zero_shot import UNTRAINED_SEED
from ecglib.checkpoint import weights_named
from ecglib.data.store import RecordStore
from ecglib.errors import ParameterError
from ecglib.metrics import EVALUATOR_VERSION, between_networks, chance_macro_auc
from ecglib.paths import expand
from ecglib.profiles import get_profile
from ecglib.run import Run
from ecglib.statement_scores import (
    SUPERCLASSES,
    Questions,
    Scored,
    class_questions,
    questions,
    save_predictions,
    score,
)

STATEMENTS, CLASSES = "statements", "superclasses"
DEFAULT_READER = "results/reader"
LOW = 70.0  # AUC in percent below which a statement is called weak
# Macro AUC in percent that the simulator is to reach on real PTB-XL records.
AIMS = {CLASSES: 77.0, STATEMENTS: 82.0, "MI": 78.0, "STTC": 76.0, "CD": 80.0, "HYP": 78.0, "NORM": 84.0}


def open_reader(run: Run) -> Any | None:
    """The reader that the run's parameter names, or None, said so, where it names none or the usual is missing.

    Raises ParameterError when another folder than the usual one was named and is not there.
    """
    named = run.params["reader"]
    if not named or not expand(named).is_dir():
        if named not in ("", DEFAULT_READER):
            raise ParameterError(f"reader = {named!r}: no such folder; give one that train_a_reader has written")
        print(f"no reader in {named or 'no folder'}: transfer is left out (train one with notebooks/train_a_reader)")
        return None
    from ecglib.reader import Reader

    return Reader.from_pretrained(expand(named))


@dataclass(frozen=True)
class Transfer:
    """Both questions on both sides, and what untrained readers get on the first."""

    real: dict[str, Scored]  # STATEMENTS, CLASSES
    simulated: dict[str, Scored]
    untrained: list[dict[str, Scored]]
    chance: dict[str, tuple[float, float, float]]  # mean, 2.5th and 97.5th percentile
    kind: str


def transfer(
    run: Run, reader: Any, stores: tuple[RecordStore, RecordStore], names: Sequence[str], kind: str
) -> Transfer:
    """Score a reader on real records and on their simulated counterparts, over the codes that both can score."""
    p = run.params
    boot = {"repeats": p["n_bootstrap"], "seed": p["seed"]}
    asked = [both(name, store, reader.codes) for name, store in zip(names, stores, strict=True)]
    real = answered(reader, asked[0], boot)
    only = {kind: set(found.table["code"]) for kind, found in real.items()}
    simulated = answered(reader, asked[1], boot, only)
    fast = {"repeats": 2, "seed": p["seed"]}
    untrained = [
        answered(reader.untrained(UNTRAINED_SEED + number), asked[0], fast)
        for number in range(get_profile(p["profile"]).random_encoders)
    ]
    chance = {question: _chance(found, p["seed"]) for question, found in real.items()}
    return Transfer(real, simulated, untrained, chance, kind)


def both(name: str, store: RecordStore, codes: Sequence[str], source: str = "") -> dict[str, Questions]:
    return {STATEMENTS: questions(name, store, codes, source), CLASSES: class_questions(name, store, source)}


def answered(reader: Any, asked: Mapping[str, Questions], boot: Mapping[str, int], only=None) -> dict[str, Scored]:
    read = {STATEMENTS: reader.scores, CLASSES: reader.superclasses}
    return {
        kind: score(of, answers(read[kind], of.store), only=(only or {}).get(kind), **boot)
        for kind, of in asked.items()
    }


def _chance(of: Scored, seed: int) -> tuple[float, float, float]:
    codes = set(of.table["code"])
    columns = [c for c, code in enumerate(of.of.codes) if code in codes]
    if not columns:
        return np.nan, np.nan, np.nan
    return chance_macro_auc(of.of.labels[:, columns], known=of.of.known[:, columns], repeats=200, seed=seed)


def transfer_table(found: Transfer) -> pd.DataFrame:
    """What is scored, on real and on simulated records, what knows nothing, and where the first are real the aim.

    Untrained readers stand with the lowest and the highest of them: so few are no sample to derive an interval from.
    """
    untrained = f"{len(found.untrained)} untrained (lowest to highest)"
    rows = []
    for question in (CLASSES, STATEMENTS):
        real, simulated = found.real[question], found.simulated[question]
        rows.append(
            {
                "what": _averaged(question, len(real.table), len(simulated.table)),
                found.real[question].of.name: cell(real.mean, real.ci_low, real.ci_high),
                found.simulated[question].of.name: cell(simulated.mean, simulated.ci_low, simulated.ci_high),
                untrained: cell(*_range([net[question].mean for net in found.untrained])),
                "chance": cell(*found.chance[question]),
                "records": f"{real.n}",
                "aim": f"{AIMS[question]:g}",
            }
        )
    for code in SUPERCLASSES:
        row = {"what": code}
        for side in (found.real, found.simulated):
            own = _row(side[CLASSES], code)
            row[side[CLASSES].of.name] = cell(own["auc"], own["ci_low"], own["ci_high"]) if own else ""
        real = _row(found.real[CLASSES], code)
        row[untrained] = cell(*_range([net["auc"] for n in found.untrained if (net := _row(n[CLASSES], code))]))
        row["chance"] = cell(50.0, real["chance_low"], real["chance_high"]) if real else ""
        row["records"] = f"{real['positives']} of {real['n']}" if real else "too few"
        rows.append(row | {"aim": f"{AIMS[code]:g}"})
    return pd.DataFrame(rows).drop(columns=["aim"] if found.kind == "simulated" else [])


def _averaged(question: str, n: int, n_other: int) -> str:
    return f"{question}, mean of {n}" + (f" (of {n_other} on the other side)" if n != n_other else "")


def _row(of: Scored, code: str) -> dict | None:
    found = of.table[of.table["code"] == code].to_dict("records")
    return found[0] if found else None


def _range(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, lowest and highest of untrained readers."""
    return (float(np.mean(values)), min(values), max(values)) if len(values) else (np.nan,) * 3


def cell(value: float, low: float, high: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:.1f}" + (f" ({low:.1f} to {high:.1f})" if np.isfinite(low) else "")


def statement_figure(of: Scored, title: str) -> Any:
    """AUC of every scored statement with its interval, as `figures.auc_bars`."""
    return figures.auc_bars(of.table.rename(columns={"code": "class"}), title=title)


def rows(found: Transfer) -> list[dict]:
    """The scores as entries of a run record's ``metrics``."""
    out = []
    for question, dataset in ((CLASSES, "ptbxl-super"), (STATEMENTS, "ptb-xl")):
        for side, kind, where in ((found.real, found.kind, ""), (found.simulated, "simulated", ", counterpart")):
            of = side[question]
            setting = f"trained on simulated ECGs, {question}{where}"
            out += side_rows("reader", dataset, kind, setting, of)
        base = f"trained on simulated ECGs, {question}"
        value, low, high = between_networks([net[question].mean for net in found.untrained])
        real = found.real[question]
        out.append(_metric("random-encoder", dataset, found.kind, base, "macro_auc", value, low, high, real.n))
        out.append(_metric("chance", dataset, found.kind, base, "macro_auc", *found.chance[question], real.n))
    return [row for row in out if np.isfinite(row["value"])]


def side_rows(method: str, dataset: str, kind: str, setting: str, of: Scored) -> list[dict]:
    """The mean, then every code."""
    mean = _metric(method, dataset, kind, setting, "macro_auc", of.mean, of.ci_low, of.ci_high, of.n)
    return [mean] + [
        _metric(method, dataset, kind, f"{setting}: {r.code}", "auc", r.auc, r.ci_low, r.ci_high, r.n)
        for r in of.table.itertuples()
    ]


def _metric(method, dataset, kind, setting, metric, value, low, high, n) -> dict:
    row = {"method": method, "dataset": dataset, "data_kind": kind, "setting": setting, "metric": metric}
    return row | {"value": value, "ci_low": low, "ci_high": high, "n": n, "evaluator_version": EVALUATOR_VERSION}


def in_words(found: Transfer) -> str:
    """The transfer in words, every number computed."""
    classes, statements = found.real[CLASSES], found.real[STATEMENTS]
    other = found.simulated[STATEMENTS]
    aims = ""
    if found.kind != "simulated":
        met, not_met, unsure = (", ".join(names) or "none" for names in _met(found))
        worst = found.real[STATEMENTS].table.sort_values("auc").head(5)
        aims = (
            f" Aims of transfer met: {met}; of these the interval reaches below the aim for: {unsure}. Not met: "
            f"{not_met}. The weakest statements: {weakest(worst)}."
        )
    return (
        f"The reader scores {statements.mean:.1f} ({statements.ci_low:.1f} to {statements.ci_high:.1f}) over "
        f"{len(statements.table)} statements on {statements.of.name} and {other.mean:.1f} on {other.of.name} over "
        f"{len(other.table)} of them; over the superclasses {classes.mean:.1f} ({classes.ci_low:.1f} to "
        f"{classes.ci_high:.1f}) and {found.simulated[CLASSES].mean:.1f}."
        f"{aims}{_weak(found)}"
    )


def _weak(found: Transfer) -> str:
    """Statements that are weak on both sides, on the first alone, and on the first where the other has too few."""
    real, other = (side[STATEMENTS] for side in (found.real, found.simulated))
    simulated = {row.code: row.auc for row in other.table.itertuples()}
    pairs = [(r.code, r.auc, simulated[r.code]) for r in real.table.itertuples() if r.code in simulated and r.auc < LOW]

    def listed(chosen: list) -> str:
        return ", ".join(f"{code} {here:.0f}, {other.of.name} {there:.0f}" for code, here, there in chosen) or "none"

    rare = [f"{r.code} {r.auc:.0f}" for r in real.table.itertuples() if r.code not in simulated and r.auc < LOW]
    unscored = f" Below {LOW:g} and too rare to score on the other side: {', '.join(rare)}." if rare else ""
    return (
        f" Below {LOW:g} on both sides: {listed([p for p in pairs if p[2] < LOW])}. Below {LOW:g} on {real.of.name} "
        f"alone: {listed([p for p in pairs if p[2] >= LOW])}.{unscored}"
    )


def weakest(rows: pd.DataFrame) -> str:
    """Statements with their AUC, its interval and their positive records, in words."""
    return ", ".join(
        f"{row.code} {row.auc:.0f} ({row.ci_low:.0f} to {row.ci_high:.0f}, {row.positives} positive)"
        for row in rows.itertuples()
    )


def _met(found: Transfer) -> tuple[list[str], list[str], list[str]]:
    """Whose value reaches its aim, whose does not, and of the first those whose interval begins below it."""
    values = {question: (found.real[question].mean, found.real[question].ci_low) for question in (CLASSES, STATEMENTS)}
    values |= {r.code: (r.auc, r.ci_low) for r in found.real[CLASSES].table.itertuples()}
    met = [name for name, (value, _) in values.items() if value >= AIMS[name]]
    return met, [name for name in values if name not in met], [name for name in met if values[name][1] < AIMS[name]]


def record(
    run: Run, compared: list[dict], sides: Any, found: Transfer | None, elsewhere: Mapping, read: Mapping
) -> None:
    """The run record: the comparison, and where a reader was there its scores; those on real records are kept.

    Args:
        compared: the metrics of the comparisons.
        sides: of `ecglib.chapters.realism`.
        elsewhere, read: stores and scores of `ecglib.chapters.other_hospitals`.
    """
    from ecglib.chapters import other_hospitals, realism

    metrics, kept = list(compared), None
    data = realism.used_data(sides)
    if found is not None:
        metrics += rows(found) + other_hospitals.rows(read, other_hospitals.kinds(elsewhere))
        data |= other_hospitals.used_data(elsewhere)
        real = [*found.real.values()] if found.kind != "simulated" else []
        if real or read:
            kept = save_predictions(run.folder / f"predictions-{run.run_id}.parquet", [*real, *read.values()])
    run.save_table(pd.DataFrame(metrics), "metrics")
    named = run.params["reader"]
    who = f"reader {named}, {weights_named(expand(named))}" if found is not None else "no reader"
    notes = f"{who}; cohort {sides.cohort}; labels for scoring and for the counterpart's mixture"
    run.record(metrics, data=data, predictions=kept, notes=notes)
