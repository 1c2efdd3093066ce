"""A stream of simulated records: the same for any number of workers, flat in memory, and gone when it is closed."""

import multiprocessing
import os
import signal
import time
from dataclasses import fields
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from ecglib.data.synthetic import SimulatedRecord, simulate_record, stream
from ecglib.data.synthetic.stream import AHEAD, CHUNK_RECORDS, _jobs, _together
from ecglib.errors import ParameterError

SHORT = {"sampling_rate_hz": 50, "duration_s": 2.0}
FLAT_MB = 4  # that a process may grow between a quarter and the end of a stream; keeping the records takes 11 and more


def assert_same(one: SimulatedRecord, other: SimulatedRecord) -> None:
    assert one.ecg_mv.dtype == other.ecg_mv.dtype
    assert one.ecg_mv.tobytes() == other.ecg_mv.tobytes()
    np.testing.assert_equal(one.features, other.features)
    for field in fields(SimulatedRecord):
        if field.name not in ("ecg_mv", "features"):
            assert getattr(one, field.name) == getattr(other, field.name)


def assert_no_children(seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while multiprocessing.active_children() and time.monotonic() < until:
        time.sleep(0.05)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_a_stream_is_the_records_one_by_one(workers):
    number = CHUNK_RECORDS * (AHEAD * workers + 1) + 5  # more chunks than are in flight at once
    made = list(stream("ptb-xl", 4, count=number, workers=workers, **SHORT))
    assert len(made) == number
    for index, record in enumerate(made):
        assert_same(record, simulate_record("ptb-xl", 4, index, 50, 2.0))
    assert_no_children()


def test_a_stream_begins_and_ends_where_it_is_told():
    whole = {"sampling_rate_hz": 100, "workers": 2}
    for index, record in zip(range(70, 75), stream("csn", 1, start=70, count=5, **whole), strict=True):
        assert_same(record, simulate_record("csn", 1, index, 100))
    assert list(stream("csn", 1, start=70, count=0, **whole)) == []
    assert_no_children()


def test_without_a_count_it_goes_on():
    records = stream("csn", 1, start=10**9, workers=1, **SHORT)
    (*_, last) = islice(records, CHUNK_RECORDS + 1)
    assert_same(last, simulate_record("csn", 1, 10**9 + CHUNK_RECORDS, 50, 2.0))


def test_chunks_are_bounded_in_records_and_in_bytes():
    assert [j[2:4] for j in _jobs("csn", 0, 5, 103, 50, 2.0)] == [(5, 37), (37, 69), (69, 101), (101, 103)]
    (_, _, first, end, *_) = next(_jobs("csn", 0, 0, float("inf"), 500, 10.0))
    assert (end - first) * 12 * 5000 * 4 <= 4 << 20
    assert next(_jobs("csn", 0, 0, 9, 2000, 600.0))[2:4] == (0, 1)


@pytest.mark.parametrize("end", ["close", "forget"])
def test_an_early_end_leaves_no_process(end):
    records = stream("csn", 1, workers=2, **SHORT)
    next(records)
    assert len(multiprocessing.active_children()) == 2
    if end == "close":
        records.close()
    del records
    assert_no_children(0 if end == "close" else 10)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_record_that_fails_is_named(workers):
    if workers == 1:
        from ecglib.data.synthetic.stream import _alone as run
    else:
        run = lambda jobs: _together(jobs, 2)  # noqa: E731
    with pytest.raises(RuntimeError, match="record 7 of 'nowhere', seed 3, cannot be made: no simulated cohort"):
        next(run(_jobs("nowhere", 3, 7, 9, 100, 10.0)))
    assert_no_children()


def test_a_killed_worker_ends_the_stream():
    records = stream("csn", 1, workers=2, **SHORT)
    next(records)
    os.kill(multiprocessing.active_children()[0].pid, signal.SIGKILL)
    with pytest.raises(RuntimeError, match=r"a worker was killed .* record \d+ of 'csn', seed 1"):
        for _ in islice(records, 5000):
            pass
    assert_no_children()


@pytest.mark.parametrize(
    "bad",
    [
        {"workers": 0},
        {"start": -1},
        {"count": -1},
        {"count": 2.5},
        {"seed": -1},
        {"duration_s": 1},
        {"duration_s": float("inf")},
        {"sampling_rate_hz": 20},
        {"sampling_rate_hz": float("nan")},
        {"sampling_rate_hz": None},
        {"cohort": "nowhere"},
    ],
)
def test_bad_arguments_are_named_at_once(bad):
    ((name, value),) = bad.items()
    with pytest.raises(ParameterError, match=f"{name}={value}" if name != "cohort" else value):
        stream(**({"cohort": "csn", "seed": 0, "sampling_rate_hz": 100} | bad))


def resident_mb() -> dict[int, float]:
    """Memory of this process and its workers, by process."""
    pids = [os.getpid(), *(child.pid for child in multiprocessing.active_children())]
    page = os.sysconf("SC_PAGE_SIZE")
    return {pid: int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * page / 2**20 for pid in pids}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
@pytest.mark.parametrize("number", [1200, pytest.param(4000, marks=pytest.mark.slow)])
def test_memory_stays_flat(number):
    records = stream("mimic-iv-ecg", 0, count=number, workers=2, **SHORT)
    for _ in islice(records, number // 4):
        pass
    early = resident_mb()
    for _ in islice(records, number - number // 4 - CHUNK_RECORDS):
        pass
    late = resident_mb()
    assert len(late) == 3
    assert early.keys() == late.keys()
    assert max(late[pid] - early[pid] for pid in late) < FLAT_MB
    records.close()
