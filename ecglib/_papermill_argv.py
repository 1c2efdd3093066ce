"""Completes ``papermill notebooks/<stem>.ipynb`` with the output path ``results/<stem>/<stem>.ipynb``.

Stock papermill refuses that command in a terminal, and with a pipe on stdin takes the path for the *output*.
Papermill loads this module (through `ecglib.pm`) at every start in this environment, before it reads its
arguments. So: standard library only, nothing at import, and whatever goes wrong leaves the arguments alone.
"""

import os
import sys

# papermill's options and how many values each takes; all others are flags (a test compares with papermill).
VALUES = {
    "-p": 2, "--parameters": 2, "-r": 2, "--parameters_raw": 2,
    "-f": 1, "--parameters_file": 1, "-y": 1, "--parameters_yaml": 1, "-b": 1, "--parameters_base64": 1,
    "--engine": 1, "--autosave-cell-every": 1, "--kernel": 1, "-k": 1, "--language": 1, "-l": 1, "--cwd": 1,
    "--stdout-file": 1, "--stderr-file": 1, "--log-level": 1,
    "--start-timeout": 1, "--start_timeout": 1, "--execution-timeout": 1,
}  # fmt: skip
ONLY_ASKING = {"--help-notebook", "--help", "-h", "--version"}


def is_papermill(argv0: str, orig_argv: list[str]) -> bool:
    """Whether this process is papermill's command line, as a script or as ``python -m papermill``."""
    if argv0 == "-m":  # runpy has not yet replaced it by the file's path while the package is imported
        joined = [b if a == "-m" else a[2:] for a, b in zip(orig_argv, [*orig_argv[1:], ""], strict=True)
                  if a.startswith("-m")]  # fmt: skip
        return bool(joined) and joined[0] in ("papermill", "papermill.__main__")
    name = os.path.basename(argv0)
    if name == "__main__.py":
        return os.path.basename(os.path.dirname(argv0)) == "papermill"
    return name in ("papermill", "papermill.exe", "papermill-script.py", "papermill-script.pyw")


def split(args: list[str]) -> tuple[list[int], dict[str, str], set[str]]:
    """Split arguments as click does: positions of the paths, values given by -p or -r, bare options."""
    paths, given, seen = [], {}, set()
    i = 0
    while i < len(args):
        arg = args[i]
        if arg == "--":
            paths += range(i + 1, len(args))
            break
        if not arg.startswith("-") or arg == "-":
            paths.append(i)
            i += 1
            continue
        if arg.startswith("--"):
            option, _, attached = arg.partition("=")
            values = [attached] if "=" in arg else []
        else:
            option, values = arg[:2], [arg[2:]] if len(arg) > 2 else []
        seen.add(option)
        missing = max(0, VALUES.get(option, 0) - len(values))
        values += args[i + 1 : i + 1 + missing]
        if VALUES.get(option) == 2 and len(values) == 2:
            given[values[0]] = values[1]
        i += 1 + missing
    return paths, given, seen


def aside(params: dict) -> list[str]:
    """Folders below ``results/<stem>`` of a run beside the chapter, which is simulated, seed 0, the demo's reader.

    ``params``: name -> value, as typed or as checked.

    >>> aside({"dataset": "ptb-xl", "seed": 2}), aside({"seed": "0"})
    (['ptb-xl', 'seed-2'], [])
    >>> aside({"recipe": "longer"}), aside({"reader": "results/reader/longer"})
    (['recipe-longer'], ['reader-longer'])
    >>> aside({"reader": "results/checkpoints/reader/demo-seed0-1f2e3d4c/reader"})
    ['reader-demo-seed0-1f2e3d4c']
    """
    seed = str(params.get("seed") or "0")
    parts = {
        os.path.basename(params.get("dataset") or "simulated"): "simulated",
        f"seed-{int(seed) if seed.isdecimal() else 0}": "seed-0",
        f"recipe-{os.path.basename(params.get('recipe') or 'demo')}": "recipe-demo",
        f"reader-{_name_of(params.get('reader') or 'results/reader')}": "reader-reader",
    }
    return [name for name, usual in parts.items() if name != usual]


def _name_of(reader: str) -> str:
    """The last folder of a reader's path; of a changed recipe's, which is called reader too, the one above it."""
    above, name = os.path.split(os.path.normpath(reader))
    above = os.path.basename(above)
    return above if name == "reader" and above not in ("", "results") else name


def home(results: str, path: str) -> str:
    """The results folder, or the part of it that git ignores when a record of one's own, at ``path``, is read.

    >>> home("results", "my.csv")
    'results/local'
    """
    return os.path.join(results, "local") if path else results


def complete(args: list[str]) -> list[str]:
    """``args`` with the output path after a lone ``notebooks/<stem>.ipynb``; makes the output's folder.

    ``-p dataset ptb-xl`` puts it into ``results/<stem>/ptb-xl/``, ``-p seed 1`` into ``results/<stem>/seed-1/``,
    ``-p recipe longer`` into ``results/<stem>/recipe-longer/`` and ``-p path my.csv`` into ``results/local/<stem>/``.
    ``results`` (or ``-p results_dir``) lies in the project's root, as it does for `ecglib.run.start`.
    """
    from ecglib.paths import expand

    paths, given, seen = split(args)
    if seen & ONLY_ASKING or not paths:
        return args
    args = list(args)
    if len(paths) == 1:
        notebook = os.path.abspath(args[paths[0]])
        folder, name = os.path.split(notebook)
        stem, extension = os.path.splitext(name)
        if os.path.basename(folder) != "notebooks" or extension != ".ipynb" or not os.path.isfile(notebook):
            return args
        results = home(os.fspath(expand(given.get("results_dir") or "results")), given.get("path") or "")
        output = os.path.join(results, stem, *aside(given), name)
        short = os.path.relpath(output)
        args.insert(paths[0] + 1, output if short.startswith("..") else short)
        paths.append(paths[0] + 1)
    output = args[paths[1]]
    if output != "-" and "://" not in output and os.path.isfile(args[paths[0]]):
        parent = os.path.dirname(output) or "."
        try:
            os.makedirs(parent, exist_ok=True)
        except OSError as error:
            reason = f"the output folder {parent} cannot be made ({error.strerror}): choose another one"
            print(f"{reason} with -p results_dir, or give an output path", file=sys.stderr)
    return args


def _open_stdin() -> None:
    """papermill looks at file 0 at its start and cannot do without one."""
    try:
        os.fstat(0)
    except OSError:
        os.open(os.devnull, os.O_RDONLY)  # takes the lowest free number, which is 0


def supply_output_path() -> None:
    """Complete ``sys.argv`` in place when this is papermill's command line. Never raises."""
    try:
        if is_papermill(sys.argv[0], getattr(sys, "orig_argv", [])):
            sys.argv[1:] = complete(sys.argv[1:])
            _open_stdin()
    except Exception:  # papermill must start whatever happens here
        pass
