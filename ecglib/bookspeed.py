"""The table of training speeds, from what ``benchmarks/bench_methods.py`` measured last."""

import json
from pathlib import Path

from ecglib.markdown import paper_name, table

MEASURED = Path("results/benchmarks/bench_methods.json")


def speeds(root: Path) -> str:
    """One row per method and number of threads, best of the repeats; a sentence where nothing was measured."""
    path = root / MEASURED
    if not path.is_file():
        return f"`{MEASURED}` is not there: `python benchmarks/bench_methods.py --out {MEASURED}` makes it."
    measured = json.loads(path.read_text(encoding="utf-8"))
    best: dict[tuple[str, int], dict[str, float]] = {}
    for row in measured["rows"]:
        of = best.setdefault((row["stem"], row["threads"]), {})
        of[row["what"]] = min(of.get(row["what"], row["clock_s"]), row["clock_s"])
    rows = [
        [
            paper_name(stem),
            str(threads),
            f"{measured['batch'] / of['step']:.0f}",
            f"{measured['batch'] / of['encoder']:.0f}",
            f"{100 * of['encoder'] / of['step']:.0f} %",
        ]
        for (stem, threads), of in sorted(best.items())
    ]
    header = ["method", "threads", "training, records/s", "bare encoder, records/s", "of the limit"]
    of = measured["machine"]
    machine = f"{of['cpu']}, {of['cores']} cores"
    about = f"Batches of {measured['batch']}, at commit `{measured['commit'][:10]}`, on {machine}."
    return table(header, rows, "lrrrr") + "\n\n" + about
