"""Several methods side by side, from run records alone: equal data and steps, scores seed by seed, what is noise."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from ecglib import results
from ecglib.errors import ResultError
from ecglib.paths import expand

BASELINES = ("random-encoder", "chance")
AVERAGE = "average"
LEVEL = 0.05  # of the family of all pairwise differences
SIZE_WITHIN = 0.15  # how much more than the smallest ECG encoder the largest may have on equal terms


def find_records(
    notebooks: Sequence[str], seeds: Sequence[int], results_dir: str | Path, **parameters: object
) -> dict[tuple[str, int], dict]:
    """The newest good record of every notebook and seed whose other parameters are as given; absent ones are not there.

    ``parameters``: name -> value that the run must have had, for example ``profile="demo", dataset="simulated"``.
    """
    found: dict[tuple[str, int], dict] = {}
    for notebook in notebooks:
        for path in (expand(results_dir) / "runs" / notebook).glob("*.json"):
            record = results.read_record(path)
            had = record["parameters"]
            key = (notebook, had.get("seed"))
            fits = record["status"] == "ok" and key[1] in seeds and all(had.get(k) == v for k, v in parameters.items())
            if fits and (key not in found or found[key]["created"] < record["created"]):
                found[key] = record
    return found


def check_equal(records: dict[tuple[str, int], dict]) -> None:
    """Methods compare only on equal terms: per seed the same records to learn from and to score, and as many steps.

    Raises ResultError naming notebook, seed and what differs.
    """
    for seed in {seed for _, seed in records}:
        terms = {name: _terms(record) for (name, s), record in records.items() if s == seed}
        first, expected = next(iter(terms.items()))
        for name, found in terms.items():
            different = [what for what in expected if found.get(what) != expected[what]]
            if different or found.keys() != expected.keys():
                what = ", ".join(different) or "the data sets"
                raise ResultError(f"seed {seed}: {name} and {first} are not on equal terms, they differ in {what}")


def _terms(record: dict) -> dict:
    training = record["config"]["training"]
    steps = training["steps"] + training.get("steps_before", 0)
    data = {f"data of {name}": entry["fingerprint"] for name, entry in record["data"].items()}
    return data | {"pairs seen": steps * training["effective_batch"], "steps": steps}


def unequal_sizes(parameters: Mapping[str, int]) -> str:
    """What is wrong when ECG encoders differ in parameters by more than ``SIZE_WITHIN``, or "" when they do not.

    ``parameters``: method -> number of parameters of its ECG encoder.
    """
    largest, smallest = max(parameters, key=parameters.get), min(parameters, key=parameters.get)
    more = parameters[largest] / parameters[smallest] - 1
    if more <= SIZE_WITHIN:
        return ""
    return (
        f"the ECG encoder of {largest} has {parameters[largest]:,} parameters, {100 * more:,.0f} % more than that of "
        f"{smallest} with {parameters[smallest]:,}; on equal terms it is at most {100 * SIZE_WITHIN:.0f} %"
    )


def scores(records: dict[tuple[str, int], dict], settings: dict[str, str], metric: str = "macro_auc") -> pd.DataFrame:
    """One row per method, seed and task, and their mean as task ``average``: method, seed, dataset, value.

    ``settings``: notebook -> the setting in which it is compared. Baselines of all records stand once per seed each,
    as the mean over the methods whose record holds them.
    """
    rows = []
    for (notebook, seed), record in records.items():
        own = notebook.removesuffix("_zero_shot")
        for entry in record["metrics"]:
            if entry["metric"] == metric and entry["setting"] == settings[notebook]:
                if entry["method"] in (own, *BASELINES):
                    rows.append({k: entry[k] for k in ("method", "dataset", "value")} | {"seed": seed})
    table = pd.DataFrame(rows, columns=["method", "seed", "dataset", "value"])
    table = table.groupby(["method", "seed", "dataset"], as_index=False, sort=False)["value"].mean()
    means = table.groupby(["method", "seed"], as_index=False, sort=False)["value"].mean().assign(dataset=AVERAGE)
    return pd.concat([table, means], ignore_index=True)


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Mean over seeds with a 95 % t interval, one row per method and task: value, ci_low, ci_high, n (seeds)."""
    rows = []
    for (method, dataset), group in table.groupby(["method", "dataset"], sort=False):
        rows.append({"method": method, "dataset": dataset, **interval(group["value"].to_numpy())})
    return pd.DataFrame(rows)


def interval(values: np.ndarray, confidence: float = 0.95) -> dict:
    n, mean = len(values), float(values.mean())
    if n < 2:
        return {"value": mean, "ci_low": np.nan, "ci_high": np.nan, "n": n}
    half = stats.t.ppf(0.5 + confidence / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return {"value": mean, "ci_low": mean - half, "ci_high": mean + half, "n": n}


def differences(table: pd.DataFrame, dataset: str = AVERAGE) -> pd.DataFrame:
    """All pairs of methods on one task, paired by seed: difference, 95 % interval, p (paired t), Holm's p, verdict.

    Every seed has its own simulated records, initial weights and order, the same for all methods, so a pair shares
    what the seed draws. ``verdict`` is ``not significant`` unless Holm's p over all pairs is below 0.05.
    """
    wide = table[(table["dataset"] == dataset) & ~table["method"].isin(BASELINES)]
    wide = wide.pivot(index="seed", columns="method", values="value").dropna()
    if len(wide) < 3:
        raise ResultError(f"{len(wide)} seeds have all methods; three are the least that tell a difference from noise")
    order = wide.mean().sort_values(ascending=False).index
    rows = []
    for better, worse in itertools.combinations(order, 2):
        gap = (wide[better] - wide[worse]).to_numpy()
        same = bool(np.allclose(gap, gap[0]))  # the t test divides by their spread
        p = float(gap[0] == 0) if same else float(stats.ttest_1samp(gap, 0.0).pvalue)
        rows.append({"method": better, "beside": worse, **interval(gap), "p": p})
    found = pd.DataFrame(rows).rename(columns={"value": "difference"})
    found["p_holm"] = holm(found["p"].to_numpy())
    found["verdict"] = np.where(found["p_holm"] < LEVEL, "above", "not significant")
    return found


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's step-down adjustment of a family of p values (Holm 1979)."""
    order = np.argsort(p, kind="stable")
    scaled = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.maximum.accumulate(scaled)
    return adjusted


def in_words(found: pd.DataFrame, names: dict[str, str]) -> str:
    """Which differences are significant, as sentences."""
    real = found[found["verdict"] == "above"]
    told = [
        f"{names[r.method]} is above {names[r.beside]} by {r.difference:.1f} ({r.ci_low:.1f} to {r.ci_high:.1f})"
        for r in real.itertuples()
    ]
    sentence = "; ".join(told) + "." if told else "No method is shown to be above another."
    return (
        f"{sentence} {len(found) - len(real)} of {len(found)} differences are not significant at 5 % (paired by seed, "
        "Holm over all pairs)."
    )
