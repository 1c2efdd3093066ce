"""Simulated records one after another, made by several processes and held only until they are taken."""

import math
from collections import deque
from collections.abc import Iterator
from concurrent.futures.process import BrokenProcessPool
from itertools import islice

import numpy as np

from ecglib.data.synthetic.cohorts import cohort_named
from ecglib.data.synthetic.generate import SimulatedRecord, record_steps
from ecglib.data.synthetic.recording import Disturbance
from ecglib.data.synthetic.stages import side_by_side
from ecglib.data.workers import WorkerPool, main_module_hidden
from ecglib.errors import ParameterError
from ecglib.signals import LEADS

CHUNK_BYTES = 4 << 20  # of signal that a worker hands over at once
CHUNK_RECORDS = 32  # at most, however short: of 64, the allocator gives the memory back and asks for it again
AHEAD = 2  # chunks per worker that are being made or wait to be taken


def stream(
    cohort: str,
    seed: int,
    *,
    sampling_rate_hz: float,
    start: int = 0,
    count: int | None = None,
    workers: int = 2,
    duration_s: float = 10.0,
) -> Iterator[SimulatedRecord]:
    """Records ``start``, ``start + 1``, ... of a simulated cohort; ``count`` of them, or without end if it is None.

    The same records as ``simulate_record`` gives, in the same order, for any number of workers; one worker is the
    calling process itself. Memory does not grow: each worker is at most two chunks of about 4 MB of signal ahead.
    The workers end when the iterator is exhausted, closed or no longer referred to, and when a record fails.

    Raises ParameterError at once on arguments that no record has; while iterating, RuntimeError that names cohort,
    seed and record where making one fails or a worker is lost.
    """
    cohort_named(cohort)
    whole = {"seed": seed, "start": start, "workers": workers} | ({} if count is None else {"count": count})
    right = (
        all(isinstance(value, int | np.integer) and value >= 0 for value in whole.values())
        and all(isinstance(value, int | float | np.number) for value in (duration_s, sampling_rate_hz))
        and workers >= 1
        and 2 <= duration_s < math.inf
        and 50 <= sampling_rate_hz <= 2000
    )
    if not right:
        raise ParameterError(
            f"a stream takes whole numbers seed >= 0, start >= 0, count >= 0 (or None), workers >= 1, and "
            f"duration_s >= 2, sampling_rate_hz from 50 to 2000; got seed={seed!r}, start={start!r}, "
            f"count={count!r}, workers={workers!r}, duration_s={duration_s!r}, sampling_rate_hz={sampling_rate_hz!r}"
        )
    end = math.inf if count is None else int(start) + int(count)
    jobs = _jobs(cohort, int(seed), int(start), end, sampling_rate_hz, duration_s)
    return _alone(jobs) if workers == 1 else _together(jobs, workers)


def _jobs(cohort, seed, first, end, hz, duration_s):
    """(cohort, seed, first record, one past the last, hz, seconds) of each chunk."""
    record_bytes = 4 * len(LEADS) * round(duration_s * hz)
    size = min(max(CHUNK_BYTES // record_bytes, 1), CHUNK_RECORDS)
    while first < end:
        yield cohort, seed, first, min(first + size, end), hz, duration_s
        first += size


def _alone(jobs):
    for job in jobs:
        yield from _made(job)


def _together(jobs, workers):
    ahead = list(islice(jobs, AHEAD * workers))
    if not ahead:
        return
    pool = WorkerPool(min(workers, len(ahead)))
    try:
        with main_module_hidden():  # all processes start with the first job
            waiting = deque((job, pool.submit(_chunk, job)) for job in ahead)
        while waiting:
            (_, _, first, *_), future = waiting.popleft()
            try:
                signals, others = future.result()
                waiting.extend((job, pool.submit(_chunk, job)) for job in islice(jobs, 1))
            except BrokenProcessPool as error:
                named = _named(*ahead[0][:2], first)
                raise RuntimeError(f"a worker was killed or ran out of memory at or after {named}") from error
            # A copy of each signal, so that who keeps one record does not keep its chunk.
            for ecg_mv, (disturbance, *fields) in zip(signals, others, strict=True):
                yield SimulatedRecord(ecg_mv.copy(), *fields, Disturbance(*disturbance))
            del signals, others
    finally:
        pool.shutdown(cancel_futures=True)


def _chunk(job):
    """Signals in one array and the rest in plain tuples, which go through the pipe in a third of the time."""
    records = list(_made(job))
    others = [(_values(record.disturbance), *_values(record)[1:-1]) for record in records]
    return np.stack([record.ecg_mv for record in records]), others


def _values(item) -> tuple:
    return tuple([getattr(item, name) for name in item.__slots__])


def _made(job):
    cohort, seed, begin, end, hz, duration_s = job
    return side_by_side(_steps(cohort, seed, index, hz, duration_s) for index in range(begin, end))


def _steps(cohort, seed, index, hz, duration_s):
    try:
        return (yield from record_steps(cohort, seed, index, hz, duration_s))
    except Exception as error:
        raise RuntimeError(f"{_named(cohort, seed, index)} cannot be made: {error}") from error


def _named(cohort, seed, index) -> str:
    return f"record {index} of {cohort!r}, seed {seed},"
