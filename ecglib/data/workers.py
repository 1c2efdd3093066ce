"""Worker processes that start from a plain interpreter, whatever script or notebook asked for them."""

import sys
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
