"""`papermill notebooks/x.ipynb` without an output path: the real papermill, wherever people type it."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from ecglib import _papermill_argv as plugin

PAPERMILL = str(Path(sys.executable).with_name("papermill"))


@pytest.fixture
def project(tmp_path):
    """A folder with ``notebooks/tiny.ipynb``: one parameter, one line of output."""
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                'seed: int = 0  # any whole number\nresults_dir: str = "results"  # where it goes',
                metadata={"tags": ["parameters"]},
            ),
            nbformat.v4.new_code_cell("print('seed is', seed)"),
        ],
        metadata={"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}},
    )
    (tmp_path / "notebooks").mkdir()
    nbformat.write(notebook, tmp_path / "notebooks" / "tiny.ipynb")
    return tmp_path


def in_terminal(command: list[str], cwd: Path) -> tuple[int, str]:
    """Run with a pseudo-terminal as stdin, stdout and stderr; returns exit code and what was shown."""
    main, worker = pty.openpty()
    process = subprocess.Popen(command, cwd=cwd, stdin=worker, stdout=worker, stderr=worker, close_fds=True)
    os.close(worker)
    shown = b""
    while True:
        try:
            block = os.read(main, 4096)
        except OSError:  # the other end is closed
            break
        if not block:
            break
        shown += block
    os.close(main)
    return process.wait(), shown.decode(errors="replace")


def printed(path: Path) -> str:
    notebook = nbformat.read(path, as_version=4)
    return "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", []))


def test_in_a_terminal(project):
    code, shown = in_terminal([PAPERMILL, "notebooks/tiny.ipynb"], project)
    assert code == 0, shown
    assert "Output Notebook: results/tiny/tiny.ipynb" in shown
    assert printed(project / "results/tiny/tiny.ipynb") == "seed is 0\n"


def test_in_a_terminal_as_module_with_options_and_engine(project):
    options = ["-p", "seed", "7", "-p", "results_dir", "elsewhere"]
    command = [sys.executable, "-m", "papermill", "--engine", "ecg", "notebooks/tiny.ipynb", *options]
    code, shown = in_terminal(command, project)
    assert code == 0, shown
    assert "TCP" not in shown
    assert printed(project / "elsewhere/tiny/seed-7/tiny.ipynb") == "seed is 7\n"
    assert not (project / "results").exists()


@pytest.mark.parametrize("stdin", ["closed", "piped"])
def test_without_a_terminal(project, stdin):
    source = (project / "notebooks/tiny.ipynb").read_bytes()
    how = {"input": b"not a notebook"} if stdin == "piped" else {"stdin": subprocess.DEVNULL}
    done = subprocess.run([PAPERMILL, "notebooks/tiny.ipynb"], cwd=project, capture_output=True, **how)
    assert done.returncode == 0, done.stderr.decode()
    assert printed(project / "results/tiny/tiny.ipynb") == "seed is 0\n"
    assert (project / "notebooks/tiny.ipynb").read_bytes() == source
    assert b'"cells"' not in done.stdout


def test_stdin_closed_outright(project):
    command = f"exec {PAPERMILL} notebooks/tiny.ipynb <&-"
    done = subprocess.run(command, shell=True, cwd=project, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    assert printed(project / "results/tiny/tiny.ipynb") == "seed is 0\n"


def test_explicit_output_stays_and_its_folder_is_made(project):
    done = subprocess.run([PAPERMILL, "notebooks/tiny.ipynb", "a/b/out.ipynb"], cwd=project,
                          stdin=subprocess.DEVNULL, capture_output=True)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert printed(project / "a/b/out.ipynb") == "seed is 0\n"
    assert not (project / "results").exists()


def test_help_notebook_is_untouched(project):
    code, shown = in_terminal([PAPERMILL, "--help-notebook", "notebooks/tiny.ipynb"], project)
    assert "any whole number" in shown
    assert code == 0
    assert not (project / "results").exists()


def test_import_order_does_not_matter(tmp_path):
    script = ("import ecglib.pm, papermill.engines as e; "
              "assert issubclass(e.papermill_engines.get_engine('ecg'), e.NBClientEngine)")  # fmt: skip
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)


def test_plugin_stays_light(tmp_path):
    script = "import ecglib.pm, sys; print([m for m in ('numpy', 'yaml', 'papermill') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], cwd=tmp_path).strip() == b"[]"


def test_option_table_is_papermills():
    from papermill.cli import papermill

    theirs = {}
    for option in papermill.params:
        if option.param_type_name == "option" and not option.is_flag:
            theirs |= dict.fromkeys((*option.opts, *option.secondary_opts), option.nargs)
    assert theirs == plugin.VALUES


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["notebooks/tiny.ipynb"], ["notebooks/tiny.ipynb", "OUT"]),
        (["-p", "n", "1", "notebooks/tiny.ipynb"], ["-p", "n", "1", "notebooks/tiny.ipynb", "OUT"]),
        (["notebooks/tiny.ipynb", "-pn", "1"], ["notebooks/tiny.ipynb", "OUT", "-pn", "1"]),
        (["--kernel=python3", "notebooks/tiny.ipynb"], ["--kernel=python3", "notebooks/tiny.ipynb", "OUT"]),
        (["notebooks/tiny.ipynb", "--log-output"], ["notebooks/tiny.ipynb", "OUT", "--log-output"]),
        (["--", "notebooks/tiny.ipynb"], ["--", "notebooks/tiny.ipynb", "OUT"]),
    ],
)
def test_where_the_path_goes(project, monkeypatch, args, expected):
    monkeypatch.chdir(project)
    assert plugin.complete(args) == [os.path.join("results", "tiny", "tiny.ipynb") if e == "OUT" else e
                                     for e in expected]  # fmt: skip


def test_a_real_set_lies_beside_the_simulated_chapter(project, monkeypatch):
    monkeypatch.chdir(project)
    args = plugin.complete(["notebooks/tiny.ipynb", "-p", "dataset", "ptb-xl"])
    assert args[1] == os.path.join("results", "tiny", "ptb-xl", "tiny.ipynb")
    args = plugin.complete(["notebooks/tiny.ipynb", "-p", "seed", "3", "-p", "dataset", "ptb-xl"])
    assert args[1] == os.path.join("results", "tiny", "ptb-xl", "seed-3", "tiny.ipynb")
    args = plugin.complete(["notebooks/tiny.ipynb", "-p", "path", "my.csv"])
    assert args[1] == os.path.join("results", "local", "tiny", "tiny.ipynb")
    args = plugin.complete(["notebooks/tiny.ipynb", "-p", "seed", "0"])
    assert args[1] == os.path.join("results", "tiny", "tiny.ipynb")
    args = plugin.complete(["notebooks/tiny.ipynb", "-p", "dataset", "simulated"])
    assert args[1] == os.path.join("results", "tiny", "tiny.ipynb")


@pytest.mark.parametrize(
    "args",
    [[], ["--version"], ["-h"], ["tiny.ipynb"], ["notebooks/none.ipynb"], ["notebooks/tiny.txt"], ["-", "-"],
     ["--nonsense", "notebooks/tiny.ipynb", "-"], ["s3://bucket/notebooks/x.ipynb"]],
)  # fmt: skip
def test_what_is_left_alone(project, monkeypatch, args):
    monkeypatch.chdir(project)
    assert plugin.complete(list(args)) == args
    assert not (project / "results").exists()


def test_inside_the_notebooks_folder(project, monkeypatch):
    monkeypatch.chdir(project / "notebooks")
    assert plugin.complete(["tiny.ipynb"])[1] == os.path.join("results", "tiny", "tiny.ipynb")


def test_only_papermill_is_touched(project, monkeypatch):
    monkeypatch.chdir(project)
    for argv0 in ("/usr/bin/pytest", "other.py", "__main__.py", ""):
        monkeypatch.setattr(sys, "argv", [argv0, "notebooks/tiny.ipynb"])
        plugin.supply_output_path()
        assert sys.argv[1:] == ["notebooks/tiny.ipynb"]
    monkeypatch.setattr(sys, "argv", ["/usr/bin/papermill", "notebooks/tiny.ipynb"])
    plugin.supply_output_path()
    assert len(sys.argv) == 3


def test_a_broken_plugin_breaks_nothing(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["papermill", "notebooks/tiny.ipynb"])
    monkeypatch.setattr(plugin, "complete", lambda args: 1 / 0)
    plugin.supply_output_path()
    assert sys.argv == ["papermill", "notebooks/tiny.ipynb"]


def test_what_lies_beside_a_chapter():
    """As its docstring shows: an unusual run has folders of its own, and typed and checked values agree."""
    import doctest

    from ecglib import _papermill_argv as argv

    assert doctest.testmod(argv).failed == 0
    typed = {"dataset": "ptb-xl", "seed": "3", "recipe": "longer"}
    assert argv.aside(typed) == argv.aside(typed | {"seed": 3}) == ["ptb-xl", "seed-3", "recipe-longer"]
    assert argv.aside({"seed": None, "reader": "results/reader/"}) == []
    assert argv.aside({"recipe": "../longer", "reader": "elsewhere/reader"}) == ["recipe-longer", "reader-elsewhere"]
