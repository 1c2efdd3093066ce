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
from collections.abc import Mapping
from pathlib import Path

from ecglib import _papermill_argv
from ecglib.data.workers import die_with_parent
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


def run_notebook(stem: str, parameters: Mapping[str, object]) -> None:
    """``notebooks/<stem>.ipynb`` as a reader runs it, from another notebook; its lines of progress are passed on.

    Raises ResultError: the notebook is not beside the package, or failed (with the last line it printed).
    """
    source = Path(__file__).resolve().parents[1] / "notebooks" / f"{stem}.ipynb"
    if not source.is_file():
        raise ResultError(f"notebooks/{stem}.ipynb is not beside the package; run this from a clone")
    given = []
    for name, value in parameters.items():
        given += ["-r" if isinstance(value, str) else "-p", name, str(value)]
    command = [sys.executable, "-m", "papermill", *_papermill_argv.complete([str(source), *given])]
    command += ["--engine", "ecg", "--no-progress-bar", "--log-output"]
    lines = []
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, text=True, preexec_fn=die_with_parent, **pipes) as process:
        for line in process.stdout:
            lines.append(line.rstrip())
            if line.startswith("epoch"):
                print(line.rstrip(), flush=True)
    if process.returncode:
        raise ResultError(f"notebooks/{stem}.ipynb failed: {lines[-1] if lines else 'it printed nothing'}")


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
