"""Worker processes that start from a plain interpreter, whatever script or notebook asked for them."""

import multiprocessing
import os
import sys
import threading
import time
import types
import weakref
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def main_module_hidden() -> Iterator[None]:
    """While this is open, new processes do not import the caller's main module.

    multiprocessing runs that module again in every worker, so that a script without ``if __name__ == "__main__"``, as
    one made from a notebook is, would start itself once more in each. The workers here need nothing from it.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def end_with_parent() -> None:
    """Worker start: leave when the parent is gone, even killed; a pool's workers would wait for ever."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def die_with_parent() -> None:
    """For a started program, before it begins (``preexec_fn``): end it when the process that started it is gone.

    A notebook's kernel that is killed would otherwise leave a training running. Linux only; elsewhere nothing happens.
    """
    if sys.platform == "linux":
        import ctypes
        import signal

        set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGTERM)


class WorkerPool(ProcessPoolExecutor):
    """Worker processes that end with their parent, and whose loss is always noticed.

    When a worker is killed in the middle of an answer, CPython's pool waits for the rest of it for ever. Here the pool
    is broken then as after any other kill: BrokenProcessPool for all that is under way.

    Args:
        workers: how many processes, each started when it is first needed.
        context: how they start. Not by fork: torch and notebooks run threads, and a lock that one of them held would
            stay locked.
    """

    def __init__(self, workers: int, context: multiprocessing.context.BaseContext | None = None):
        context = context or multiprocessing.get_context("spawn")
        super().__init__(workers, context, initializer=end_with_parent)
        threading.Thread(target=_watch, args=(weakref.ref(self),), daemon=True).start()


def _watch(pool_of: weakref.ref, every_s: float = 0.5, grace_s: float = 1.0) -> None:
    while True:
        time.sleep(every_s)
        pool = pool_of()
        if pool is None or pool._broken or pool._processes is None:
            return
        if any(process.exitcode for process in list(pool._processes.values())):
            time.sleep(grace_s)  # in which the pool notices by itself, but for an answer that was begun
            processes, answers = pool._processes, pool._result_queue  # which a shutdown meanwhile takes from the pool
            if pool._broken or processes is None or answers is None:
                return
            for process in list(processes.values()):
                process.kill()
                process.join()
            writer = answers._writer  # the last one open: once it is closed, who waits reads the end
            handle, writer._handle = writer._handle, None  # in this order, since the pool closes it too
            if handle is not None:
                os.close(handle)
            return
        del pool
