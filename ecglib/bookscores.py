"""The book's scoreboard and provenance pages: printed numbers beside those of the run records, and the records."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ecglib import results
from ecglib.markdown import (
    DATA_KINDS,
    TASK_NAMES,
    chapter_link,
    duration,
    escape,
    interval,
    paper_name,
    run_link,
    table,
)
from ecglib.papers.card import Card

if TYPE_CHECKING:
    from ecglib.bookpages import Material

METRICS = {"macro_auc": "macro AUC, %"}
BASELINES = ("random-encoder", "chance")  # in this order, at the end of every block


def scoreboard(material: "Material") -> str:
    """Per paper: every block of scores with its printed row on top and the chance row at its foot; then verdicts."""
    parts = [
        "# Scoreboard",
        "Printed numbers beside those that were run here. ○ is a number that a paper prints, ● one that a run in this "
        "repository gave, with its 95 % interval below. A number leads to the record of its run. {doc}`How to read "
        "this book </book/how_to_read>` explains the words.",
    ]
    for stem, card in material.cards.items():
        parts += [f"## {paper_name(card.stem)}", f"{escape(card.title)} {{cite:p}}`{card.citation}`."]
        parts += _blocks(material, stem, card) or ["No run has scored this method yet."]
        parts += _verdicts(material, stem)
    return "\n\n".join(parts)


def _blocks(material: "Material", stem: str, card: Card) -> list[str]:
    rows = results.latest(results.with_averages(material.runs))
    rows = rows[rows.notebook.isin(card.notebooks)]
    keys = ["metric", "notebook", "data_kind", "profile", "leads"]
    blocks = sorted(rows.groupby(keys, sort=False, dropna=False), key=lambda b: (b[0][0] != "macro_auc", b[0][0]))
    parts = []
    for (metric, notebook, kind, profile, leads), block in blocks:
        what = notebook.removeprefix(f"{stem}_").replace("_", "-").replace("pretrain", "pre-training").capitalize()
        title = f"{what}, {DATA_KINDS[kind]}, profile {profile}" + ("" if leads == "all" else f", leads {leads}")
        name = METRICS.get(metric, metric.replace("_", " "))
        newest = next(record for record in material.records if record["run_id"] in set(block.run_id))
        dataset = newest["parameters"].get("dataset", "simulated")
        parts += [
            f"### {title}" if metric == "macro_auc" else f"### {title}: {name}",
            f"Chapter: {chapter_link(notebook, material.chapters, dataset)}. {_trained_on(material, block)} "
            f"Scores are {name}.",
            _block_table(block, stem, card, metric),
        ]
    return parts


def _trained_on(material: "Material", block: pd.DataFrame) -> str:
    by_id = {record["run_id"]: record for record in material.records}
    used = {}
    for run_id in block.run_id.unique():
        for data in by_id[run_id]["data"].values():
            if data.get("role") in ("pretrain", "train"):
                records = data["counts"].get("records")
                used[DATA_KINDS[data["kind"]] + (f" ({records:,} records)" if isinstance(records, int) else "")] = None
    return f"Trained on {', '.join(used)}." if used else ""


def _block_table(block: pd.DataFrame, stem: str, card: Card, metric: str) -> str:
    datasets = [d for d in TASK_NAMES if d in set(block.dataset)]
    datasets += sorted(set(block.dataset) - set(datasets))
    settings = list(dict.fromkeys(block.setting))
    families = {setting.split(", ")[0] for setting in settings}  # of "zero-shot, class names": what papers call it
    printed = results.reported(stem)
    known = families <= set(printed.setting.str.split(", ").str[0])
    of_family = printed.setting.str.split(", ").str[0].isin(families)
    printed = printed[(printed.metric == metric) & of_family & printed.dataset.isin(datasets)]
    printed = printed[printed.exhibit.isin(card.exhibits) | (printed.paper != stem)]
    lines = []
    by = ["paper", "method", "setting", "exhibit", "origin"]
    for (paper, method, setting, exhibit, origin), row in printed.groupby(by, sort=False):
        shown = row.value.where(row.unit != "fraction", row.number.map("{:.1f}".format))
        cells = dict(zip(row.dataset, shown, strict=True))
        where = "" if paper == stem else f"{paper_name(paper)} "
        variant = setting.partition(", ")[2]
        name = f"○ {escape(method)}{f', {variant}' if variant else ''}, {where}{exhibit.replace('-', ' ')}"
        name += ", quoted" if origin == "quoted" else ""
        line = [name, *(cells.get(d) or "–" for d in datasets)]
        lines.append([f'<span class="quoted">{cell}</span>' for cell in line] if origin == "quoted" else line)
    groups = list(block.groupby(["method", "setting"], sort=False))
    groups.sort(key=lambda g: BASELINES.index(g[0][0]) + 1 if g[0][0] in BASELINES else 0)
    for (method, setting), row in groups:
        cells = {
            r.dataset: run_link(f"{r.value:.1f}", r.run_id) + interval(r.ci_low, r.ci_high)
            for r in row.itertuples()
        }
        name = {"random-encoder": "random encoder"}.get(method, paper_name(card.stem) if method == stem else method)
        mark = "" if method in BASELINES else "● "
        variant = setting.partition(", ")[2] if known and len(families) == 1 else setting
        label = f"{mark}{escape(name)}" + (f", {escape(variant)}" if variant else "")
        lines.append([label, *(cells.get(d, "–") for d in datasets)])
    counts = {r.dataset: f"{int(r.n):,}" for r in block.itertuples() if pd.notna(r.n)}
    lines.append(["records scored", *(counts.get(d, "–") for d in datasets)])
    header = ["", *(TASK_NAMES.get(d, f"`{d}`") for d in datasets)]
    return table(header, lines, "l" + "r" * len(datasets))


def _verdicts(material: "Material", stem: str) -> list[str]:
    printed = results.reported(stem).query("kind == 'score'")
    if printed.empty:
        return ["### Verdicts", "No paper prints a score of this method."]
    compared = results.compare(printed, material.runs)
    done = compared[~compared.verdict.isin(["not run"])]
    parts = [
        "### Verdicts",
        f"{len(compared):,} scores are printed; {len(done):,} have a verdict, the others have not been run "
        "({ref}`coverage <coverage>`).",
    ]
    rows = []
    for row in done.itertuples():
        ours = "–"
        if pd.notna(row.run_value):
            ours = run_link(f"{row.run_value:.2f}", row.run_id) + interval(row.ci_low, row.ci_high)
        rows.append([
            row.exhibit.replace("-", " "), escape(row.method), TASK_NAMES.get(row.dataset, row.dataset),
            escape(row.setting), row.value or "unreadable", ours,
            f"**{row.verdict}**" + (f"<br><small>{escape(row.why)}</small>" if row.why else ""),
        ])  # fmt: skip
    header = ["Exhibit", "Method", "Scored on", "Setting", "○ printed", "● here", "Verdict"]
    return [*parts, table(header, rows, "llllrrl")] if rows else parts


def provenance(material: "Material") -> str:
    parts = [
        "# Provenance and coverage",
        "Every run that any number in this book comes from. A record is written once, at the end of its run, checked "
        "against `results/schema.json`, and never edited.",
        "(coverage)=\n## Coverage",
        "How many of the scores that each exhibit prints have a run beside them, whatever the data. An exhibit without "
        "readable numbers counts none.",
    ]
    transcribed = sorted(set(results.reported().paper))
    for stem in transcribed:
        counts = results.coverage(stem, material.runs)
        compared = [v for v in results.VERDICTS if v in counts and v not in ("failed", "not run") and counts[v].any()]
        header = ["Exhibit", "printed", "run", *compared, "failed", "not run"]
        total = {"exhibit": "**all**"} | {c: counts[c].sum() for c in counts.columns if c != "exhibit"}
        rows = [
            [str(row["exhibit"]).replace("-", " "), *(f"{row[c]:,}" for c in
             ("reported", "run", *compared, "failed", "not run"))]
            for row in [*counts.to_dict("records"), total]
        ]  # fmt: skip
        parts += [f"### {paper_name(stem)}", table(header, rows, "l" + "r" * (len(header) - 1))]
    for notebook in dict.fromkeys(record["notebook"] for record in material.records):
        parts += [f"## Runs of {notebook}"]
        parts += [_run(record, material.chapters) for record in material.records if record["notebook"] == notebook]
    return "\n\n".join(parts)


def _run(record: dict, chapters: Mapping[tuple[str, str], str]) -> str:
    run_id, machine = record["run_id"], record["machine"]
    data = "<br>".join(
        f"{d.get('role', 'used')}: `{name}`, {DATA_KINDS[d['kind']]}, {_counts(d['counts'])}, fingerprint "
        f"`{d['fingerprint'] or 'none'}`" for name, d in record["data"].items()
    )  # fmt: skip
    dirty = {True: ", with uncommitted changes", False: "", None: ""}[record["dirty"]]
    memory = f"; peak memory {record['peak_memory_mb']:,.0f} MB" if record["peak_memory_mb"] else ""
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    precision = {"no": "float32"}.get(machine["precision"], machine["precision"])  # accelerate's word for float32
    cores = f"{machine['cores']} cores" + (f", {machine['threads']} threads" if machine.get("threads") else "")
    lines = {
        "Status": "good" if record["status"] == "ok" else f"failed: {escape(record['error']['type'])}, "
        f"{escape(record['error']['message'])}",
        "Chapter": chapter_link(record["notebook"], chapters, record["parameters"].get("dataset", "simulated")),
        "Profile, seed": f"{record['profile'] or 'none'}, {'none' if record['seed'] is None else record['seed']}",
        "Data": data,
        "Commit": f"`{record['commit'][:12]}`{dirty}" if record["commit"] else "",
        "Steps": f"{record['steps']:,}, each on {record['effective_batch'] or 0:,} records" if record["steps"] else "",
        "Checkpoint": escape(record["checkpoint_choice"] or ""),
        "Machine": escape(f"{machine['cpu']}, {cores}; device {machine['device']}, {precision}"),
        "Time": f"{duration(record['wall_s'])}{memory}",
        "Versions": escape(versions),
        "Notes": escape(record["notes"]),
        "Whole record": f"{{download}}`{run_id}.json </results/runs/{record['notebook']}/{run_id}.json>`",
    }
    body = "\n".join(f"{name}\n: {value}\n" for name, value in lines.items() if value)
    settings = json.dumps({k: record[k] for k in ("parameters", "config")}, indent=1, ensure_ascii=False)
    head = f"(run-{run_id.lower()})=\n### {record['created'][:10]} {record['created'][11:16]}, {run_id[-6:]}"
    folded = f"::::{{dropdown}} Parameters and configuration\n```json\n{settings}\n```\n::::"
    return "\n\n".join([head, f":::{{div}} run\n{body}\n:::", folded, _scores(record)])


def _counts(counts: dict) -> str:
    plain = {name: count for name, count in counts.items() if isinstance(count, int)}
    return ", ".join(f"{count:,} {escape(name)}" for name, count in plain.items()) or "no counts"


def _scores(record: dict) -> str:
    if not record["metrics"]:
        return ""
    rows = [
        [escape(m["method"]), TASK_NAMES.get(m["dataset"], m["dataset"]), escape(m["setting"]), m["metric"],
         f"{m['value']:.2f}" + interval(m["ci_low"], m["ci_high"]), f"{m['n']:,}" if m["n"] is not None else "–"]
        for m in record["metrics"]
    ]  # fmt: skip
    scores = table(["Method", "Scored on", "Setting", "Metric", "Value", "Records"], rows, "llllrr")
    return f"::::{{dropdown}} {len(rows)} scores\n{scores}\n::::"
