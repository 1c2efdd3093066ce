"""Worker processes that start from a plain interpreter, whatever script or notebook asked for them."""

import multiprocessing
import os
import sys
import threading
import types
from collections.abc import Iterator
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
