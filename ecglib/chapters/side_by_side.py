"""The steps of the comparison chapter: records of all methods and seeds, equal terms, tables, record."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from ecglib import comparison, papers, pretrain
from ecglib.chapters.zero_shot import SETTINGS
from ecglib.data.labels import TASKS
from ecglib.errors import ParameterError, ResultError
from ecglib.execute import run_notebook
from ecglib.markdown import paper_name
from ecglib.metrics import EVALUATOR_VERSION
from ecglib.profiles import get_profile
from ecglib.run import Run
from ecglib.tables import set_out

REAL = "ptb-xl"  # the labelled real set that is scored beside the simulated ones
KINDS = {"simulated": "simulated", REAL: "real PTB-XL"}
Records = dict[str, dict[tuple[str, int], dict]]  # data set -> (notebook, seed) -> run record


def records(run: Run, stems: Sequence[str]) -> Records:
    """The zero-shot records of every method, seed and data set; what is missing is run, or named with its command.

    The real set takes part when every method and seed has a record on it, or when ``data_root`` says where it is.

    Raises:
        ParameterError: fewer than three seeds, or seeds that are no whole numbers.
        ResultError: records are missing and ``run_missing`` is not set; methods that are not on equal terms, among them
            demo networks whose ECG encoders differ in size. In the other profiles that is printed.
    """
    p = run.params
    check_sizes(stems, p["profile"])
    try:
        seeds = sorted({int(seed) for seed in p["seeds"].split(",")})
    except ValueError:
        raise ParameterError(f"seeds = {p['seeds']!r}: whole numbers with commas between, as in 0,1,2") from None
    if len(seeds) < 3 or min(seeds) < 0:
        raise ParameterError(f"seeds = {p['seeds']!r}: three or more, none negative; two cannot tell noise from news")
    notebooks = [f"{stem}_zero_shot" for stem in stems]
    found: Records = {}
    for dataset in KINDS:
        had = {"profile": p["profile"], "dataset": dataset, "checkpoint": "", "leads": "all"}
        of_set = comparison.find_records(notebooks, seeds, p["results_dir"], **had)
        missing = [(n, s) for n in notebooks for s in seeds if (n, s) not in of_set]
        if missing and dataset == REAL and not (p["data_root"] and p["run_missing"]):
            continue
        if missing and not p["run_missing"]:
            commands = [f"papermill notebooks/{n}.ipynb -p profile {p['profile']} -p seed {s}" for n, s in missing]
            raise ResultError(
                f"{len(missing)} of {len(notebooks) * len(seeds)} runs have no record; give -p run_missing True, or "
                "run\n  " + "\n  ".join(commands)
            )
        for number, (notebook, seed) in enumerate(missing, 1):
            print(f"{notebook}, seed {seed}, {KINDS[dataset]}: run {number} of {len(missing)}", flush=True)
            given = {"profile": p["profile"], "seed": seed, "results_dir": p["results_dir"], "dataset": dataset}
            run_notebook(notebook, given | ({"data_root": p["data_root"]} if dataset == REAL else {}))
        of_set = comparison.find_records(notebooks, seeds, p["results_dir"], **had)
        comparison.check_equal(of_set)
        found[dataset] = of_set
    return found


def check_sizes(stems: Sequence[str], profile: str) -> None:
    """Compare the ECG encoders' parameters before anything is run.

    The reduced networks of a demo profile are made for the comparison, so a difference is refused. Other profiles have
    the papers' own networks, whose sizes differ: there it is said and goes on.

    Raises ResultError naming the largest and the smallest, where their difference is refused.
    """
    sizes = {paper_name(stem): _size(pretrain.build_model(stem, profile, seed=0).ecg_encoder) for stem in stems}
    problem = comparison.unequal_sizes(sizes)
    if problem and get_profile(profile).demo_size:
        raise ResultError(f"profile {profile}: {problem}. Change the widths in demo_config() of ecglib/papers.")
    if problem:
        print(f"Profile {profile} compares the papers' own networks, not networks of one size: {problem}.")


def _size(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def terms_table(run: Run, stems: Sequence[str], found: Records) -> pd.DataFrame:
    """What is equal and what is not: parameters, pairs seen, learning rate, and whether the code has changed since."""
    rows = {}
    for stem in stems:
        model = pretrain.build_model(stem, run.params["profile"], seed=0)
        made = [record for (notebook, _), record in found["simulated"].items() if notebook == f"{stem}_zero_shot"]
        training = made[0]["config"]["training"]
        steps = training["steps"] + training.get("steps_before", 0)
        today = pretrain.recipe(stem, run.params["profile"])
        rows[paper_name(stem)] = {
            "parameters, ECG encoder": f"{_size(model.ecg_encoder):,}",
            "parameters, all that learns": f"{sum(p.numel() for p in model.parameters() if p.requires_grad):,}",
            "report encoder": model.text_encoder.name,
            "pairs seen": f"{steps * training['effective_batch']:,}",
            "peak learning rate": f"{training['lr']:g}",
            "seeds": len(made),
            "code": "as here" if all(r["config"]["training"].get("recipe") == today for r in made) else "older",
        }
    return pd.DataFrame(rows).T


def scores(found: Records) -> dict[str, pd.DataFrame]:
    """Panel -> `comparison.scores`, a panel for every data set and kind of prompt."""
    panels = {}
    for dataset, of_set in found.items():
        for setting in SETTINGS:
            name = f"{KINDS[dataset]}, {setting.split(', ')[1]}"
            panels[name] = comparison.scores(of_set, dict.fromkeys((notebook for notebook, _ in of_set), setting))
    return panels


def metric_rows(means: dict[str, pd.DataFrame], found: Records) -> list[dict]:
    """The means over seeds as entries of a run record, their intervals over seeds."""
    kinds = {KINDS[name]: _kind(of_set) for name, of_set in found.items()}
    rows = []
    for panel, table in means.items():
        data, prompts = panel.split(", ")
        for entry in table.to_dict("records"):
            shared = {"data_kind": kinds[data], "setting": f"zero-shot, {prompts}, mean over seeds"}
            rows.append(entry | shared | {"metric": "macro_auc", "evaluator_version": EVALUATOR_VERSION})
    return rows


def _kind(of_set: dict[tuple[str, int], dict]) -> str:
    return next(iter(of_set.values()))["metrics"][0]["data_kind"]


def in_order(stems: Sequence[str], means: dict[str, pd.DataFrame]) -> dict[str, str]:
    """Method -> name, the best mean of the first panel on top, what knows nothing at the foot."""
    first = next(iter(means.values())).query("dataset == @comparison.AVERAGE").set_index("method")["value"]
    ordered = sorted(stems, key=lambda stem: -first[stem])
    return {stem: paper_name(stem) for stem in ordered} | {"random-encoder": "random encoder"}


def panels(scored: dict[str, pd.DataFrame], means: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The averages of every panel as `figures.seed_dots` takes them."""
    drawn = {}
    for name, table in scored.items():
        mean = means[name].query("dataset == @comparison.AVERAGE").rename(columns={"value": "mean"})
        average = table.query("dataset == @comparison.AVERAGE")
        drawn[name] = average.merge(mean[["method", "mean", "ci_low", "ci_high"]], on="method")
    return drawn


def as_scores(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """Means over seeds as `figures.score_table` takes them, in the order of ``names``, chance last."""
    order = {task: place for place, task in enumerate((*TASKS, comparison.AVERAGE))}
    place = {method: i for i, method in enumerate([*names, "chance"])}
    return table.assign(
        setting="", a=table["method"].map(place), b=table["dataset"].map(order)
    ).sort_values(["a", "b"])  # fmt: skip


def difference_table(found: pd.DataFrame, names: dict[str, str]) -> Any:
    """All pairs as text."""
    shown = pd.DataFrame(
        {
            "method": found["method"].map(names),
            "beside": found["beside"].map(names),
            "difference": [f"{r.difference:+.1f} ({r.ci_low:+.1f} to {r.ci_high:+.1f})" for r in found.itertuples()],
            "p, Holm": found["p_holm"].map("{:.3f}".format),
            "verdict": found["verdict"],
        }
    )
    return set_out(shown, ["method", "beside", "verdict"])


def against_baseline(scored: pd.DataFrame, baseline: str, names: dict[str, str]) -> pd.DataFrame:
    """Per task: the method with the largest mean difference from the baseline, with its interval over seeds."""
    rows = {}
    for task in (*TASKS, comparison.AVERAGE):
        wide = scored[scored["dataset"] == task].pivot(index="seed", columns="method", values="value")
        methods = [m for m in names if m in wide and m not in (baseline, *comparison.BASELINES)]
        if baseline not in wide or not methods:
            continue
        gaps = wide[methods].sub(wide[baseline], axis=0)
        most = gaps.mean().abs().idxmax()
        interval = comparison.interval(gaps[most].to_numpy())
        steady = np.sign(interval["ci_low"]) == np.sign(interval["ci_high"])
        rows[task] = {
            "largest difference": f"{names[most]} {interval['value']:+.1f}",
            "95 % interval over seeds": f"{interval['ci_low']:+.1f} to {interval['ci_high']:+.1f}",
            "holds 0": "no" if steady else "yes",
        }
    return pd.DataFrame(rows).T


def record(run: Run, rows: list[dict], found: Records) -> None:
    """The run record: means over seeds, and the ids of the runs they come from."""
    data, training = {}, {}
    for of_set in found.values():
        for (notebook, seed), of_run in sorted(of_set.items()):
            for name, entry in of_run["data"].items():
                data[f"{name}, seed {seed}"] = entry
            training.setdefault("runs", {}).setdefault(notebook, []).append(of_run["run_id"])
    run.record(rows, data=data, training=training, notes=f"papers {', '.join(papers.stems())}")
