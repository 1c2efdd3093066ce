"""Run records, the papers' printed numbers, and how the two compare. results/README.md describes the files."""

import json
import math
import re
from functools import cache
from pathlib import Path

import pandas as pd

from ecglib import papers
from ecglib.errors import ResultError
from ecglib.paths import atomic_write, expand, project_root
from ecglib.scrub import leaks

TASKS = ("ptbxl-super", "ptbxl-sub", "ptbxl-form", "ptbxl-rhythm", "cpsc2018", "csn")
VERDICTS = ("agrees", "above", "below", "not comparable", "failed", "not run")
METRIC_KEYS = ("method", "dataset", "data_kind", "setting", "metric", "value", "ci_low", "ci_high", "n",
               "evaluator_version")  # fmt: skip
RUN_KEYS = ("run_id", "notebook", "status", "profile", "seed", "commit", "dirty", "wall_s", "created")
_TIDY = [*METRIC_KEYS, *RUN_KEYS, "leads", "furthest_data", "file"]
_NEAREST = {"paper": 0, "subset": 1, "simulated": 2}
_PROFILES = {"paper": 0, "gpu": 1, "demo": 2}
# Papers that print "zero-shot" alone used clinical descriptions (CKEPE) as prompts; ours are of that kind, not theirs.
_PRINTED_SETTING = {"zero-shot, clinical prompts": "zero-shot"}
_TO_PERCENT = {"fraction": 100.0}


def _home(name: str) -> Path:
    """A file of the results folder that belongs to the project: beside the package, or in the project's root."""
    for root in (Path(__file__).resolve().parents[1], project_root()):
        if (root / "results" / name).is_file():
            return root / "results" / name
    raise ResultError(f"results/{name} not found: run this from a clone of the project")


@cache
def _validator():
    from jsonschema import Draft202012Validator

    return Draft202012Validator(json.loads(_home("schema.json").read_text(encoding="utf-8")))


def check_record(record: dict) -> None:
    """Raise ResultError naming the field when ``record`` breaks the schema, the rules below, or privacy.

    Beyond the schema: a good run has no error and a failed one has; intervals have both ends;
    numbers are finite; no string holds an absolute path or this machine's name.
    """
    broken = sorted(_validator().iter_errors(record), key=lambda e: list(map(str, e.absolute_path)))
    if broken:
        first = broken[0]
        field = re.sub(r"\.?\[(\d+)\]", r"[\1]", ".".join(
            f"[{p}]" if isinstance(p, int) else p for p in first.absolute_path)) or "the record"  # fmt: skip
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        raise ResultError(f"run record: {field}: {first.message}{more}; see results/schema.json")
    if (record["status"] == "failed") != (record["error"] is not None):
        raise ResultError("run record: error: a failed run needs one, a good run has none")
    for i, m in enumerate(record["metrics"]):
        numbers = [m[k] for k in ("value", "ci_low", "ci_high") if m[k] is not None]
        if not all(map(math.isfinite, numbers)):
            raise ResultError(f"run record: metrics[{i}] ({m['metric']} on {m['dataset']}): a number is not finite")
        low, high = m["ci_low"], m["ci_high"]
        # The value itself may lie outside: a bootstrap interval of a mean over rare classes need not hold it.
        if (low is None) != (high is None) or (low is not None and low > high):
            raise ResultError(f"run record: metrics[{i}]: {low} to {high} is no interval; both ends, or none")
    keys = [tuple(m[k] for k in ("method", "dataset", "data_kind", "setting", "metric")) for m in record["metrics"]]
    twice = next((k for k in keys if keys.count(k) > 1), None)
    if twice:
        raise ResultError(f"run record: metrics: {' / '.join(twice)} stands there twice")
    for where, text in leaks(record):
        raise ResultError(f"run record: {where} holds {text!r}, an absolute path or a host name; write it relative")


def write_record(record: dict, results_dir: str | Path = "results") -> Path:
    """Check a record and write it, whole or not at all, to ``<results_dir>/runs/<notebook>/<run_id>.json``.

    Records are immutable: ResultError when a good record of that run is already there.
    """
    check_record(record)
    path = expand(results_dir) / "runs" / record["notebook"] / f"{record['run_id']}.json"
    if path.exists() and read_record(path)["status"] == "ok":
        raise ResultError(f"run record {path.name} exists already and is never changed; start the run anew")
    return atomic_write(path, json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def read_record(path: str | Path) -> dict:
    """One checked record; ResultError naming the file when it is unreadable or breaks the schema."""
    path = Path(path)
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        check_record(record)
    except (OSError, ValueError) as error:
        raise ResultError(f"{path.parent.name}/{path.name}: {error}") from error
    return record


def read_runs(results_dir: str | Path = "results", status: str | None = None) -> pd.DataFrame:
    """All run records, one row per metric: METRIC_KEYS, RUN_KEYS, leads, furthest_data, file.

    A run without metrics (failed, or one that only draws) has one row without them. ``furthest_data`` is the
    kind farthest from the paper's among all data that had a part: pre-training on simulated ECGs counts.
    """
    folder = expand(results_dir)
    rows = []
    for path in sorted((folder / "runs").glob("*/*.json")):
        record = read_record(path)
        if status in (None, record["status"]):
            rows += _tidy(record, path.relative_to(folder).as_posix())
    return pd.DataFrame(rows, columns=_TIDY)


def as_runs(record: dict) -> pd.DataFrame:
    """One record, written or about to be, in the form of `read_runs`: a chapter compares its own numbers with it."""
    return pd.DataFrame(_tidy(record, ""), columns=_TIDY)


def _tidy(record: dict, file: str) -> list[dict]:
    kinds = [d["kind"] for d in record["data"].values()]
    run = {k: record[k] for k in RUN_KEYS} | {
        "leads": record["parameters"].get("leads", "all"),
        "furthest_data": max(kinds, key=_NEAREST.get) if kinds else None,
        "file": file,
    }
    return [m | run for m in record["metrics"]] or [run]


def latest(runs: pd.DataFrame) -> pd.DataFrame:
    """The newest good run's row for each notebook, profile, kind of data, data set, method, setting and metric.

    Runs with seed 0, which are the chapters, come before runs with other seeds; then newest by time, never best by
    value.
    """
    keys = ["notebook", "profile", "data_kind", "dataset", "method", "setting", "metric", "leads"]
    good = runs[(runs.status == "ok") & runs.metric.notna()].assign(chapter=lambda r: r.seed.fillna(0) == 0)
    good = good.sort_values(["chapter", "created", "run_id"], kind="stable").drop(columns="chapter")
    return good.drop_duplicates(keys, keep="last").reset_index(drop=True)


def with_averages(runs: pd.DataFrame) -> pd.DataFrame:
    """Adds, where one run scored all six sets, their mean as data set ``average``.

    Its interval is the mean of the six lower and of the six upper bounds. That is wider than the interval of
    the mean, as if all six erred together; the four PTB-XL tasks share their records, so less is not safe.
    """
    keys = ["run_id", "method", "setting", "metric", "data_kind", "evaluator_version"]
    six = runs[runs.dataset.isin(TASKS)]
    rows = []
    for _, group in six.groupby(keys, sort=False):
        known = runs[(runs.run_id == group.run_id.iloc[0]) & (runs.method == group.method.iloc[0])
                     & (runs.setting == group.setting.iloc[0]) & (runs.dataset == "average")]  # fmt: skip
        if set(group.dataset) == set(TASKS) and known.empty:
            means = {k: group[k].astype(float).mean(skipna=False) for k in ("value", "ci_low", "ci_high")}
            rows.append(group.iloc[0].to_dict() | means | {"dataset": "average", "n": None})
    return pd.concat([runs, pd.DataFrame(rows)], ignore_index=True) if rows else runs


def reported(paper: str | None = None) -> pd.DataFrame:
    """results/reported.csv (of one paper): its columns as text, plus ``number`` (float) and ``kind``.

    ``number`` is the value on the scale of the runs: what is printed as a fraction (0.812) is in percent (81.2).
    ``kind`` is ``score`` for results, ``difference`` for gains and drops between two of them, ``count`` for sizes
    of data sets, ``configuration`` for settings. A baseline whose own paper was not transcribed (``merl``) has the
    rows that the papers print of it; a method here that nobody has printed has none.
    """
    table = pd.read_csv(_home("reported.csv"), dtype=str, keep_default_na=False)
    if paper is not None:
        mine = table.paper == paper
        if not mine.any():
            mine = table.method.map(method_key) == paper
        if not mine.any() and paper not in papers.stems():
            raise ResultError(f"no reported numbers of {paper!r}; there are {', '.join(sorted(set(table.paper)))}")
        table = table[mine].reset_index(drop=True)
    scale = table.unit.map(_TO_PERCENT).fillna(1.0)
    table["number"] = (pd.to_numeric(table.value.replace("", None)) * scale).round(10)  # 100 * 0.57 is not 57
    table["kind"] = "configuration"
    table.loc[table.unit != "", "kind"] = "score"
    table.loc[table.metric.str.endswith(("_gain", "_drop")), "kind"] = "difference"
    table.loc[table.method == "data", "kind"] = "count"
    return table


def exhibits(paper: str | None = None) -> pd.DataFrame:
    """results/exhibits.csv (of one paper): every figure and table, also those without a readable number."""
    table = pd.read_csv(_home("exhibits.csv"), dtype=str, keep_default_na=False)
    if paper is not None:
        if paper not in set(table.paper):
            raise ResultError(f"no exhibits of {paper!r}; there are {', '.join(sorted(set(table.paper)))}")
        table = table[table.paper == paper].reset_index(drop=True)
    return table


def method_key(name: str) -> str:
    """One key for one method: ``FG-CLEP`` and ``fg_clep``, ``DERI-Align`` and ``deri-align`` are the same."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def compare(reported: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Beside each reported number the newest fitting run, its difference, ``verdict`` and ``why``.

    Joins on method_key, dataset, setting and metric. Of several runs the one on data nearest to the paper's,
    then in the profile nearest to it, then the newest is taken. The verdicts are defined in results/README.md.
    """
    newest = latest(with_averages(runs))
    runs_by_key: dict[tuple, list[dict]] = {}
    for row in newest.to_dict("records"):
        setting = _PRINTED_SETTING.get(row["setting"], row["setting"])
        key = (method_key(row["method"]), row["dataset"], setting, row["metric"])
        runs_by_key.setdefault(key, []).append(row)
    evaluators = newest.sort_values("created").groupby("metric").evaluator_version.last()
    last = runs.sort_values(["created", "run_id"]).drop_duplicates("notebook", keep="last")
    failed = set(last[last.status == "failed"].notebook)
    rows = []
    for row in reported.to_dict("records"):
        found = runs_by_key.get((method_key(row["method"]), row["dataset"], row["setting"], row["metric"]), [])
        found = sorted(found, key=lambda r: r["created"], reverse=True)
        run = min(found, key=_distance, default=None)
        verdict, why = _verdict(row, run, failed, evaluators)
        ours = {f"run_{k}" if k in ("value", "n") else k: (run or {}).get(k) for k in (
            "value", "ci_low", "ci_high", "n", "data_kind", "profile", "seed", "evaluator_version", "notebook",
            "run_id", "commit")}  # fmt: skip
        difference = run["value"] - row["number"] if run else None
        rows.append(row | ours | {"difference": difference, "verdict": verdict, "why": why})
    return pd.DataFrame(rows)


def _distance(run: dict) -> tuple:
    kinds = {run["data_kind"], run["furthest_data"] or "paper"}
    return run["leads"] != "all", max(map(_NEAREST.get, kinds)), _PROFILES.get(run["profile"], 3)


def _verdict(row: dict, run: dict | None, failed: set[str], evaluators: pd.Series) -> tuple[str, str]:
    if run is None:
        notebook = f"{row['paper']}_{re.split(r'[ ,]', row['setting'])[0].replace('-', '_')}"
        if notebook in failed:
            return "failed", f"the newest run of {notebook} stopped with an error"
        return "not run", ""
    reasons = []
    if run["data_kind"] != "paper":
        reasons.append({"simulated": "simulated ECGs", "subset": "a part of the data"}[run["data_kind"]])
    elif run["furthest_data"] not in ("paper", None):
        reasons.append(
            f"trained on {'simulated ECGs' if run['furthest_data'] == 'simulated' else 'a part of the data'}"
        )
    if run["profile"] != "paper":
        reasons.append(f"profile {run['profile']}")
    if run["leads"] != "all":
        reasons.append(f"leads {run['leads']}")
    if run["evaluator_version"] != evaluators[run["metric"]]:
        reasons.append(f"evaluator {run['evaluator_version']}, now {evaluators[run['metric']]}")
    if pd.isna(row["number"]):
        reasons.append("the printed value is unreadable")
    if reasons:
        return "not comparable", "; ".join(reasons)
    decimals = len(row["value"].partition(".")[2])
    slack = 0.5 * 10**-decimals + (float(row["spread"]) if row["spread"] else 0.0)
    slack = slack * _TO_PERCENT.get(row.get("unit"), 1.0) + 1e-9
    low, high = (run[k] if pd.notna(run[k]) else run["value"] for k in ("ci_low", "ci_high"))
    if row["number"] < low - slack:
        return "above", f"by {run['value'] - row['number']:.2f}"
    if row["number"] > high + slack:
        return "below", f"by {row['number'] - run['value']:.2f}"
    return "agrees", ""


def coverage(paper: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Per exhibit of a paper: how many scores it prints, and how many of them have each verdict.

    Every exhibit has its row, in the order of results/exhibits.csv, whose ``kind``, ``title`` and ``needs`` stand
    at the end: a drawing, a table of settings or a figure without readable values prints 0 scores.
    """
    table = compare(reported(paper).query("kind == 'score'"), runs)
    listed = exhibits(paper).set_index("exhibit")
    counts = table.groupby("exhibit").verdict.value_counts().unstack(fill_value=0)
    counts = counts.reindex(index=listed.index, columns=list(VERDICTS), fill_value=0)
    counts.insert(0, "reported", counts.sum(axis=1))
    counts.insert(1, "run", counts.reported - counts["not run"] - counts.failed)
    counts.columns.name = None
    return counts.join(listed[["kind", "title", "needs"]]).reset_index()
