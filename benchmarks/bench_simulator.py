"""Simulator speed: records with report per second, of one process and of a whole stream with its workers.

    python benchmarks/bench_simulator.py [--seconds 8] [--records 8000] [--workers 2] [--record]
    python benchmarks/bench_simulator.py --hz 100 --records 1000000 --repeats 1 --record million.json

The yardstick of one process shapes white noise of twelve leads in the frequency domain, the least that any generator
of coloured signals does; the ratio says how many of those a whole record with its report costs.

The stream is timed by the clock from a sixteenth of its records to the last, so that the start of the workers does not
count; beside it stand the seconds of the processor that parent and workers took in that time: where they fall
short of the clock's times the cores, other work held the machine. Memory of each process, now and at its largest, is
read from /proc at every sixteenth of the records (Linux), and printed while a stream of more than 100,000 runs. All
rates take part in every round; the file has them all, and the book shows their median and their range.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import time
from itertools import count, islice
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from ecglib.data.synthetic import simulate_records, stream
from ecglib.machine import commit, cores, describe, versions
from ecglib.paths import atomic_write, project_root

COHORT = "mimic-iv-ecg"
RATES_HZ = (100, 500)
CHECKPOINTS = 16
TELL_FROM = 100_000  # records from which a stream prints its memory while it runs
WRITTEN = Path("results/benchmarks/bench_simulator.json")


def shaped_noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """(12, samples) float32 noise with a falling spectrum."""
    spectrum = np.fft.rfft(rng.standard_normal((12, samples)))
    spectrum /= 1 + np.arange(spectrum.shape[1]) / 50
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def per_second(make, seconds: float) -> float:
    """Calls of ``make(i)`` per second of processor time, after a warm-up."""
    for i in range(10):
        make(i)
    done, begin = 0, time.process_time()
    while (spent := time.process_time() - begin) < seconds:
        make(done)
        done += 1
    return done / spent


def one_process(hz: int, seconds: float) -> dict[str, float]:
    """Records and shaped noises per second of processor time."""
    rng = np.random.default_rng(0)
    endless = simulate_records(COHORT, 0, count(), hz)
    records = per_second(lambda _: next(endless), seconds)
    return {"records_per_cpu_s": records, "noises_per_cpu_s": per_second(lambda i: shaped_noise(rng, 10 * hz), seconds)}


def digest(records) -> str:
    """SHA-256 of signals, reports and true measurements."""
    total = hashlib.sha256()
    for record in records:
        said = (record.report, record.findings, sorted(record.features.items()), record.patient)
        total.update(record.ecg_mv.tobytes() + repr(said).encode())
    return total.hexdigest()


def processes() -> list[int]:
    """This process and its workers, the parent first."""
    return [os.getpid(), *sorted(child.pid for child in multiprocessing.active_children())]


def memory_mb() -> dict[str, list[float] | None]:
    """Resident memory in MiB of each process: ``resident_mb`` now, ``peak_mb`` the largest so far."""
    try:
        found = [Path(f"/proc/{pid}/status").read_text() for pid in processes()]
    except OSError:
        return {"resident_mb": None, "peak_mb": None}
    return {
        name: [round(int(text.partition(f"{key}:")[2].split()[0]) / 1024, 1) for text in found]
        for name, key in (("resident_mb", "VmRSS"), ("peak_mb", "VmHWM"))
    }


def cpu_s() -> float | None:
    """Seconds of the processor that parent and workers have taken."""
    try:
        found = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in processes()]
    except OSError:
        return None
    return sum(int(ticks) for fields in found for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def whole_stream(hz: int, number: int, workers: int) -> dict:
    """Time and memory of one stream of ``number`` records, memory after each sixteenth of them."""
    begin = time.perf_counter()
    records = stream(COHORT, 0, count=number, sampling_rate_hz=hz, workers=workers)
    next(records)
    first_s = time.perf_counter() - begin
    # Workers are gone after the last record, so memory and processor time are read before it is taken.
    stops = [number * k // CHECKPOINTS for k in range(1, CHECKPOINTS)] + [number - 1]
    warm, taken, memory = stops[0], 1, []
    for stop in stops:
        for _ in islice(records, stop - taken):
            pass
        taken = stop
        memory.append({"records": stop, **memory_mb()})
        if number >= TELL_FROM:
            print(f"{hz} Hz, {stop} of {number} records: {memory[-1]['peak_mb']} MB at most", flush=True)
        if stop == warm:
            begin, cpu = time.perf_counter(), cpu_s()
    clock, spent = time.perf_counter() - begin, cpu_s()
    left = sum(1 for _ in records)
    if left != 1:
        raise RuntimeError(f"the stream of {number} records ended with {left} left, not 1")
    return {
        "records": number - warm - 1,
        "first_record_s": first_s,
        "clock_s": clock,
        "cpu_s": None if cpu is None else spent - cpu,
        "peak_mb_quarter": memory[CHECKPOINTS // 4 - 1]["peak_mb"],
        "peak_mb_end": memory[-1]["peak_mb"],
        "memory": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=8.0, help="for all measurements of one process")
    parser.add_argument("--records", type=int, default=8000, help="of each stream at 100 Hz; a fifth at 500 Hz")
    parser.add_argument("--hz", type=int, nargs="+", choices=RATES_HZ, default=RATES_HZ, help="sampling rates")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3, help="of the streams")
    parser.add_argument("--record", type=Path, nargs="?", const=WRITTEN, help=f"write this file, or {WRITTEN}")
    asked = parser.parse_args()
    if asked.records * 100 // max(asked.hz) < 2 * CHECKPOINTS:
        parser.error(f"--records {asked.records} is too few at {max(asked.hz)} Hz to read memory {CHECKPOINTS} times")

    rows = []
    for repeat in range(asked.repeats):
        for hz in asked.hz:
            row = whole_stream(hz, asked.records * 100 // hz, asked.workers)
            rows.append({"hz": hz, "workers": asked.workers, "repeat": repeat, **row})
    alone = {hz: one_process(hz, asked.seconds / 2 / len(asked.hz)) for hz in asked.hz}
    sample = {
        workers: digest(stream(COHORT, 0, count=400, sampling_rate_hz=100, workers=workers)) for workers in (1, 2, 3)
    }
    same = len(set(sample.values())) == 1

    print(f"{cores()} cores, {asked.workers} workers")
    for hz in asked.hz:
        one, mine = alone[hz], [row for row in rows if row["hz"] == hz]
        speeds = sorted(row["records"] / row["clock_s"] for row in mine)
        best = min(mine, key=lambda row: row["clock_s"])
        ratio = one["noises_per_cpu_s"] / one["records_per_cpu_s"]
        print(
            f"{hz} Hz, 12 x {10 * hz}: {median(speeds):.0f} ({speeds[0]:.0f} to {speeds[-1]:.0f}) records/s by the "
            f"clock; at best {best['cpu_s'] or float('nan'):.1f} s of the processors in {best['clock_s']:.1f} s; one "
            f"process {one['records_per_cpu_s']:.0f} per processor second, each {ratio:.1f} x shaped noise\n"
            f"  peak MB of parent and workers: {best['peak_mb_quarter']} at a quarter, {best['peak_mb_end']} at the end"
        )
    print(f"400 records are {'the same' if same else 'NOT THE SAME'} for 1, 2 and 3 workers")
    if not same:
        raise SystemExit(1)
    if asked.record:
        head, changed = commit()
        about = {"commit": head, "uncommitted_changes": changed, "machine": describe(), "versions": versions()}
        one = [{"hz": hz, **values} for hz, values in alone.items()]
        written = about | {"cohort": COHORT, "sample_sha256": sample[1], "one_process": one, "rows": rows}
        atomic_write(project_root() / asked.record, json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
