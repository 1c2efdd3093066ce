"""No real record and no real label has a part in making a reader: by what is imported, and by what is opened.

What the simulator takes for usual was fitted beforehand, by ``ecglib.calibration``, to recordings without labels; that
is a file of numbers by now, and the fitting itself is as far from here as the loaders are.
"""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ecglib.paths import project_root
from ecglib.sources import imported_files

PACKAGE = project_root() / "ecglib"
LOADERS = {
    "ptbxl", "mimic_iv_ecg", "cpsc2018", "csn", "originals", "prepare", "wfdb_io", "any_file", "ecg_table", "mixture",
}  # fmt: skip
DOORS = {"open_dataset", "READERS"}  # through which a loader can be had by its name alone


MAKERS = [PACKAGE / "train_reader.py", PACKAGE / "recipes.py"]


def names(file: Path) -> set[str]:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    found |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}


def leaks(starts: list[Path]) -> set[str]:
    files = {file for file in imported_files(starts) if file.suffix == ".py"}
    loaders = {file.stem for file in files if file.parent.name == "data"} & LOADERS
    loaders |= {"calibration" for file in files if file.parent == PACKAGE / "calibration"}
    return loaders | {name for file in files for name in names(file) & DOORS}


def test_no_loader_is_imported():
    assert all((PACKAGE / f"data/{name}.py").is_file() for name in LOADERS)
    assert leaks(MAKERS) == set()
    by_name = {file for file in imported_files(MAKERS) if file.suffix == ".py" and "import_module" in names(file)}
    assert by_name == {PACKAGE / "papers/__init__.py"}


def test_that_check_can_fail(tmp_path):
    """One import is enough, wherever it stands."""
    planted = tmp_path / "planted.py"
    planted.write_text("def f():\n    from ecglib.data.ptbxl import PtbXl\n")
    assert "ptbxl" in leaks([planted])
    planted.write_text("from ecglib.calibration import seen\n")
    assert "calibration" in leaks([planted])
    planted.write_text("from ecglib.data import open_dataset\n")
    assert "open_dataset" in leaks([planted])
    planted.write_text("from ecglib.chapters import zero_shot\n")
    assert leaks([planted]) & LOADERS


# Every Python that is started below here loads this first, the workers of the simulator included.
WATCH = """
import os, sys

def watch(event, arguments, folder=os.environ["ECG_DATA"], log=os.environ["WATCH_LOG"]):
    if event not in ("open", "os.listdir", "os.scandir") or not isinstance(arguments[0], (str, bytes, os.PathLike)):
        return
    path = os.path.abspath(os.fsdecode(arguments[0]))
    if path == folder or path.startswith(folder + os.sep):
        handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, (path + "\\n").encode())
        os.close(handle)

sys.addaudithook(watch)
"""
TRAIN = """
import dataclasses, os, subprocess, sys
from pathlib import Path

from ecglib import train_reader
from ecglib.recipes import RECIPES

if __name__ == "__main__":
    if "plant" in sys.argv:
        here, below = sorted(Path(os.environ["ECG_DATA"]).rglob("*.csv"))
        simulated = train_reader.simulated_store
        train_reader.simulated_store = lambda *given: (here.read_bytes(), simulated(*given))[1]
        subprocess.run([sys.executable, "-c", f"open({str(below)!r})"], check=True)
    recipe = dataclasses.replace(RECIPES["demo"], n_records=160, epochs=1, n_calibration=160)
    train_reader.train_reader(recipe, 0, "work", "reader", text_encoder="random:minilm", report=None)
    print("modules", *(name for name in sys.modules if name.startswith(("ecglib.data.", "ecglib.calibration"))))
"""


def train_watched(tmp_path: Path, folder: Path, *arguments: str) -> tuple[list[str], set[str]]:
    """Paths below ``folder`` that a tiny training opened or listed, in any process, and the data modules it loaded."""
    (tmp_path / "hook").mkdir()
    (tmp_path / "hook/sitecustomize.py").write_text(WATCH)
    (tmp_path / "train.py").write_text(TRAIN)
    log = tmp_path / "log"
    log.write_text("")
    environment = os.environ | {
        "ECG_DATA": str(folder.resolve()), "WATCH_LOG": str(log), "ECGLIB_CACHE": str(tmp_path / "cache"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "hook"), str(PACKAGE.parent)]),
    }  # fmt: skip
    done = subprocess.run([sys.executable, str(tmp_path / "train.py"), *arguments], env=environment, cwd=tmp_path,
                          capture_output=True, text=True, timeout=600)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert (tmp_path / "reader/model.safetensors").is_file()
    loaded = next(line for line in done.stdout.splitlines() if line.startswith("modules "))
    return log.read_text().splitlines(), {name.removeprefix("ecglib.data.") for name in loaded.split()[1:]}


@pytest.fixture
def planted(tmp_path):
    folder = tmp_path / "real"
    (folder / "planted").mkdir(parents=True)
    for name in ("one.csv", "two.csv"):
        (folder / "planted" / name).write_text("I,II\n0,0\n")
    return folder


def test_training_opens_no_real_file(tmp_path, planted):
    """With the real records of ``$ECG_DATA`` where there are some. 160 records take two workers, which are watched too.

    Python tells of what Python opens: all loaders here read headers and tables that way, whatever reads the samples.
    """
    folder = Path(os.environ.get("ECG_DATA") or planted)
    opened, modules = train_watched(tmp_path, folder)
    assert opened == []
    assert "simulated" in modules
    assert not modules & LOADERS
    assert "ecglib.calibration" not in modules


def test_that_watch_can_fail(tmp_path, planted):
    """One file is opened by the process that trains, one by a process that it starts."""
    opened, _ = train_watched(tmp_path, planted, "plant")
    assert {str(planted / "planted/one.csv"), str(planted / "planted/two.csv")} <= set(opened)
