"""A further method is one file, its card and its notebooks: a copy of the project gains one, nothing else changes."""

import os
import shutil
import subprocess
import sys

import pytest

from ecglib.paths import project_root

ROOT = project_root()

CHECK = """
from pathlib import Path
import re
from ecglib import bibliography, bookbuild, bookchapters, bookpages, comparison
from ecglib import figures, papers, pretrain, results, sources
root = Path.cwd()
assert Path(papers.__file__).is_relative_to(root), papers.__file__
assert "seventh" in papers.stems()
model = pretrain.build_model("seventh", "demo", seed=0)
assert pretrain.variant(model, "demo") == "" and pretrain.recipe("seventh", "demo")
assert root / "ecglib/papers/seventh.py" in sources.source_files("seventh")
assert pretrain.schedule_for("seventh", "paper", 100_000, 0).epochs == 3
assert results.reported("seventh").empty
assert "seventh_pretrain" in bookchapters.not_run(root)
page = root / "results/seventh_pretrain/seventh_pretrain.ipynb"
page.parent.mkdir()
page.write_text("{}")
assert "results/seventh_pretrain/seventh_pretrain" in bookchapters.toc_pages(root)
page.unlink()
assert "seventh.py" in bookbuild.finder_for_readme()
pages = bookpages.pages(bookpages.collect(root, bookchapters.page_names(root)))
assert figures.color_of("seventh") in figures.FURTHER
bookbuild.generate(root)
entries = bibliography.keys((root / bookbuild.REFERENCES).read_text())
assert "seventh" in entries and "merl" in entries
text = "".join(path.read_text() for path in (root / "book").rglob("*.md"))
text += "".join(path.read_text() for path in (root / "notebooks").glob("*.py"))
cited = {key for several in re.findall(r"\\{cite:\\w+\\}`([^`]+)`", text) for key in several.split(",")}
assert "seventh" in cited and cited <= set(entries), cited - set(entries)
assert "## SEVENTH" in pages["scoreboard.md"] and "SEVENTH" in pages["deviations.md"]
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project with a seventh method, made from MERL's files under another name."""
    root = tmp_path_factory.mktemp("seventh")
    skip = shutil.ignore_patterns("__pycache__", "checkpoints", "seed-*", "*.parquet", "generated")
    for name in ("ecglib", "tests", "notebooks", "results", "book"):
        shutil.copytree(ROOT / name, root / name, ignore=skip)
    for name in ("pyproject.toml", "_toc.yml", "README.md", "_config.yml"):
        shutil.copy(ROOT / name, root / name)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    for source in [*(root / "ecglib/papers").glob("merl.*"), *(root / "notebooks").glob("merl_*.*")]:
        text = source.read_text(encoding="utf-8").replace("merl", "seventh").replace("MERL", "SEVENTH")
        if source.suffix == ".py" and source.parent.name == "papers":
            start = text.index("SCHEDULES")
            end = text.index("\n\n", start)
            settings = '"epochs": 3, "batch_size": 64, "lr": 1e-3, "weight_decay": 0.0'
            text = f'{text[:start]}SCHEDULES = {{"paper": {{{settings}}}}}{text[end:]}'
        source.with_name(source.name.replace("merl", "seventh")).write_text(text, encoding="utf-8")
    assert all(path.read_bytes() == content for path, content in before.items())  # nothing else was touched
    return root


def run(project, *arguments: str) -> subprocess.CompletedProcess:
    here = os.environ | {"PYTHONPATH": str(project)}  # before any other copy that the environment names
    return subprocess.run([sys.executable, *arguments], cwd=project, capture_output=True, text=True, env=here)


def test_everything_finds_it(project):
    done = run(project, "-c", CHECK)
    assert done.returncode == 0, done.stderr


def test_the_contract_is_tested_of_it(project):
    done = run(project, "-m", "pytest", "tests/papers/test_contract.py", "-k", "seventh", "-p", "no:cacheprovider")
    assert done.returncode == 0, done.stdout
    assert "passed" in done.stdout


def test_its_notebook_trains_it(project):
    """A short run through papermill, as a reader would start it."""
    command = ["-m", "papermill", "notebooks/seventh_pretrain.ipynb", "--no-progress-bar"]
    done = run(project, *command, "-p", "n_records", "160", "-p", "epochs", "1", "--engine", "ecg")
    assert done.returncode == 0, done.stderr[-2000:]
    (record,) = (project / "results/runs/seventh_pretrain").glob("*.json")
    assert '"method": "seventh-' in record.read_text(encoding="utf-8")  # shortened: it has a name of its own
