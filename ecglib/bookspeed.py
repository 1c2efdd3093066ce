"""Tables of speeds, from what ``benchmarks/bench_methods.py`` and ``bench_simulator.py`` measured last."""

import json
from pathlib import Path

from ecglib.markdown import paper_name, table

MEASURED = Path("results/benchmarks/bench_methods.json")
SIMULATOR = Path("results/benchmarks/bench_simulator.json")
LONG_STREAM = Path("results/benchmarks/bench_simulator_million.json")


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
    return table(header, rows, "lrrrr") + f"\n\nBatches of {measured['batch']}, {_made_on(measured)}."


def simulator_speed(root: Path) -> str:
    """One row per sampling rate, the best stream of the repeats; a sentence where nothing was measured."""
    path = root / SIMULATOR
    if not path.is_file():
        return f"`{SIMULATOR}` is not there: `python benchmarks/bench_simulator.py --record` makes it."
    measured = json.loads(path.read_text(encoding="utf-8"))
    best: dict[int, dict] = {}
    for row in measured["rows"]:
        best[row["hz"]] = min(best.get(row["hz"], row), row, key=lambda r: r["clock_s"] / r["records"])
    one = {row["hz"]: row["records_per_cpu_s"] for row in measured["one_process"]}
    rows = [
        [
            f"{hz} Hz",
            str(of["workers"]),
            f"{of['records'] / of['clock_s']:.0f}",
            f"{of['cpu_s'] / of['clock_s']:.1f}" if of["cpu_s"] else "",
            f"{one[hz]:.0f}",
            " + ".join(f"{mb:.0f}" for mb in of["peak_mb_end"] or ()),
        ]
        for hz, of in sorted(best.items())
    ]
    header = ["sampling rate", "workers", "stream, records/s", "cores it had", "one process, records/s", "largest, MB"]
    made = f"Whole records of 10 s with their reports, {_made_on(measured)}."
    return table(header, rows, "lrrrrr") + f"\n\n{made}{_long_stream(root / LONG_STREAM)}"


def _long_stream(path: Path) -> str:
    """Memory of one long stream at its first sixteenth and at its end; nothing where none was measured."""
    if not path.is_file():
        return ""
    measured = json.loads(path.read_text(encoding="utf-8"))
    (row,) = measured["rows"]
    first, last = row["memory"][0], row["memory"][-1]

    def held(at: dict) -> str:
        return " + ".join(f"{mb:.0f}" for mb in at["resident_mb"] or ())

    return (
        f" One stream of {last['records'] + 1:,} records at {row['hz']} Hz held {held(first)} MB in all after "
        f"{first['records']:,} records and {held(last)} MB at its end, {_made_on(measured)}."
    )


def _made_on(measured: dict) -> str:
    machine = measured["machine"]
    return f"at commit `{measured['commit'][:10]}`, on {machine['cpu']}, {machine['cores']} cores"
