"""Execute a notebook for keeps.

python -m ecglib.run notebooks/<stem>.ipynb [OUTPUT] [-p NAME VALUE ...]
    runs it with papermill (all of papermill's options are taken), insists on a good run record, and scrubs the
    executed notebook, so that it can be committed. Exit code 0 only when all of that went well.
python -m ecglib.run --scrub FILE.ipynb ...
    only scrubs executed notebooks: paths and names of this machine, timings, chatter of the kernel.
"""

import json
import subprocess
import sys
from pathlib import Path

from ecglib import _papermill_argv
from ecglib.errors import EcgError, ParameterError, ResultError
from ecglib.paths import atomic_write, expand
from ecglib.scrub import scrub_notebook


def main(argv: list[str] | None = None) -> int:
    """The command line; returns the exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(__doc__)
        return 0
    try:
        if argv[0] == "--scrub":
            for file in argv[1:]:
                _scrub_file(Path(file))
            return 0
        return _execute(_papermill_argv.complete(argv))
    except EcgError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _execute(args: list[str]) -> int:
    paths, given, seen = _papermill_argv.split(args)
    if len(paths) != 2:
        raise ParameterError("give notebooks/<stem>.ipynb, or another notebook and where to put it")
    notebook, output = Path(args[paths[0]]), Path(args[paths[1]])
    records = expand(given.get("results_dir") or "results") / "runs" / notebook.stem
    before = set(records.glob("*.json"))
    engine = [] if "--engine" in seen else ["--engine", "ecg"]
    done = subprocess.run([sys.executable, "-m", "papermill", *engine, *args], stdin=subprocess.DEVNULL)
    if output.is_file():
        _scrub_file(output)
    if done.returncode:
        return done.returncode if done.returncode > 0 else 128 - done.returncode
    from ecglib.results import read_record

    written = [read_record(path) for path in set(records.glob("*.json")) - before]
    if not any(record["status"] == "ok" for record in written):
        raise ResultError(
            f"papermill ended without an error, but {notebook.stem} wrote no run record: it stopped early, or its last "
            "cell does not call run.record(...)"
        )
    return 0


def _scrub_file(path: Path) -> None:
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ResultError(f"{path.name}: not a notebook that can be read ({error})") from None
    atomic_write(path, json.dumps(scrub_notebook(notebook), indent=1, ensure_ascii=False) + "\n")
