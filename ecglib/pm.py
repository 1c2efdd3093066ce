"""The papermill plug-in: an output path for ``papermill notebooks/x.ipynb``, and the engine ``ecg``.

Papermill imports this module while its own `engines` module is half loaded, so nothing of papermill may be
imported at the top: `EcgEngine` is made when it is first asked for.
"""

import os
import tempfile

from ecglib import _papermill_argv

_papermill_argv.supply_output_path()


def _make_engine() -> type:
    from papermill.engines import NBClientEngine

    class EcgEngine(NBClientEngine):
        """papermill's own engine, speaking to the kernel through files and not TCP ports.

        Many notebooks started at once then cannot race for a port, and ipykernel does not warn of unencrypted
        TCP. Use: ``papermill --engine ecg ...``; without it papermill's default engine runs, which is as good
        for one notebook.
        """

        @classmethod
        def execute_managed_notebook(cls, nb_man, kernel_name, **kwargs):
            if os.name != "posix":
                return super().execute_managed_notebook(nb_man, kernel_name, **kwargs)
            from traitlets.config import Config

            # Each kernel has a folder of its own: with the default socket name concurrent kernels share one.
            with tempfile.TemporaryDirectory(prefix="ecg", dir=_short_folder()) as folder:
                config = Config({"KernelManager": {"transport": "ipc", "ip": f"{folder}/k"}})
                return super().execute_managed_notebook(nb_man, kernel_name, config=config, **kwargs)

    EcgEngine.__module__ = __name__
    return EcgEngine


def _short_folder() -> str | None:
    """None (the default), unless a socket's path would pass the limit of about 100 characters."""
    return "/tmp" if len(tempfile.gettempdir()) > 70 and os.access("/tmp", os.W_OK) else None


def __getattr__(name: str):
    if name != "EcgEngine":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = _make_engine()
    return globals()[name]
