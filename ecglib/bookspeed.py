"""Tables of speeds, from what ``benchmarks/bench_methods.py`` and ``bench_simulator.py`` measured last."""

import json
from itertools import zip_longest
from pathlib import Path
from statistics import median

from ecglib.markdown import paper_name, table

MEASURED = Path("results/benchmarks/bench_methods.json")
SIMULATOR = Path("results/benchmarks/bench_simulator.json")
LONG_STREAM = Path("results/benchmarks/bench_simulator_million.json")


def speeds(root: Path) -> str:
    """One row per method and number of threads, over all repeats; a sentence where nothing was measured."""
    path = root / MEASURED
    if not path.is_file():
        return f"`{MEASURED}` is not there: `python benchmarks/bench_methods.py --out {MEASURED}` makes it."
    measured = json.loads(path.read_text(encoding="utf-8"))
    found: dict[tuple[str, int], dict[str, list[float]]] = {}
    for row in measured["rows"]:
        of = found.setdefault((row["stem"], row["threads"]), {"step": [], "encoder": []})
        of[row["what"]].append(measured["batch"] / row["clock_s"])
    rows = [
        [
            paper_name(stem),
            str(threads),
            _with_range(of["step"]),
            _with_range(of["encoder"]),
            f"{100 * median(of['step']) / median(of['encoder']):.0f} %",
        ]
        for (stem, threads), of in sorted(found.items())
    ]
    header = ["method", "threads", "training, records/s", "bare encoder, records/s", "of the limit"]
    repeats = _repeats([of["step"] for of in found.values()])
    return table(header, rows, "lrrrr") + f"\n\nBatches of {measured['batch']}, {repeats}, {_made_on(measured)}."


def simulator_speed(root: Path) -> str:
    """One row per sampling rate, over all its streams; a sentence where nothing was measured."""
    path = root / SIMULATOR
    if not path.is_file():
        return f"`{SIMULATOR}` is not there: `python benchmarks/bench_simulator.py --record` makes it."
    measured = json.loads(path.read_text(encoding="utf-8"))
    streams: dict[int, list[dict]] = {}
    for row in measured["rows"]:
        streams.setdefault(row["hz"], []).append(row)
    speed = {hz: [row["records"] / row["clock_s"] for row in of] for hz, of in streams.items()}
    one = {row["hz"]: row["records_per_cpu_s"] for row in measured["one_process"]}
    rows = [
        [
            f"{hz} Hz",
            str(of[0]["workers"]),
            _with_range(speed[hz]),
            f"{median(row['cpu_s'] / row['clock_s'] for row in of):.1f}" if all(row["cpu_s"] for row in of) else "",
            f"{one[hz]:.0f}",
            " + ".join(f"{max(mb):.0f}" for mb in zip_longest(*(row["peak_mb_end"] or () for row in of), fillvalue=0)),
        ]
        for hz, of in sorted(streams.items())
    ]
    header = ["sampling rate", "workers", "stream, records/s", "cores it had", "one process, records/s", "largest, MB"]
    made = f"Whole records of 10 s with their reports, {_repeats(list(speed.values()))}, {_made_on(measured)}."
    return table(header, rows, "lrrrrr") + f"\n\n{made}{_long_stream(root / LONG_STREAM)}"


def _with_range(speeds: list[float]) -> str:
    """The median of the repeats, and the lowest and the highest where there are more than one."""
    middle = f"{median(speeds):.0f}"
    return f"{middle} ({min(speeds):.0f} to {max(speeds):.0f})" if len(speeds) > 1 else middle


def _repeats(of: list[list[float]]) -> str:
    counts = sorted({len(speeds) for speeds in of})
    several = f"the median of {' or '.join(map(str, counts))} repeats, in brackets the lowest and the highest"
    return several if counts != [1] else "one repeat"


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
