"""What changes the fingerprint of a paper's code, and what does not."""

import ast
import shutil

import pytest

from ecglib import papers, sources
from ecglib.data.synthetic import stores
from ecglib.paths import project_root

SOURCE = '''
"""A module."""
SCALE = 10.0  # at the start


class Loss:
    """A loss."""

    name: str = "sig"
    """What it is called."""

    def prepare(self):
        """Nothing to do."""

    async def later(self):
        return None

    def __call__(self, x, *rest, keep=None):
        """Scaled."""
        return f"{SCALE * x:.1f}" if keep is None else (x, True, 1, b"1", ...)
'''
ALIKE = {
    "a comment": ("SCALE = 10.0  # at the start", "# SigLIP\nSCALE = 10.0"),
    "a better docstring": ('"""Scaled."""', '"""Scaled by ten.\n\n        Always.\n        """'),
    "no docstring": ('"""A module."""\n', ""),
    "another docstring of an empty body": ('"""Nothing to do."""', '"""There is nothing to prepare."""'),
    "an empty body": ('"""Nothing to do."""', "pass"),
    "an attribute's docstring": ('"""What it is called."""', '"""Its name."""'),
    "another layout": (
        "(self, x, *rest, keep=None)",
        "(self, x,\n        *rest, keep = None)",
    ),
    "other quotes": ('"sig"', "'sig'"),
}
OTHER = {
    "a number": ("SCALE = 10.0", "SCALE = 11.0"),
    "the type of a number": ("SCALE = 10.0", "SCALE = 10"),
    "a sign": ("SCALE = 10.0", "SCALE = -10.0"),
    "a word that is used": ('"sig"', '"siglip"'),
    "a name": ("def prepare", "def prepared"),
    "a format": (":.1f", ":.2f"),
    "a default": ("keep=None", "keep=False"),
    "what is returned": ("return None", "return"),
    "True for 1": ("True, 1", "1, 1"),
    "a string for bytes": ('b"1"', '"1"'),
    "a string where nothing ran": ('"""Nothing to do."""', 'return "Nothing to do."'),
    "an order": ("SCALE * x", "x * SCALE"),
    "an operator": ("SCALE * x", "SCALE + x"),
}


def seen(source):
    return sources.what_runs(ast.parse(source))


def changed(old, new):
    assert SOURCE.count(old) == 1
    return SOURCE.replace(old, new)


@pytest.mark.parametrize("change", ALIKE.values(), ids=ALIKE)
def test_words_and_layout_change_nothing(change):
    assert seen(changed(*change)) == seen(SOURCE)


@pytest.mark.parametrize("change", OTHER.values(), ids=OTHER)
def test_what_runs_counts(change):
    assert seen(changed(*change)) != seen(SOURCE)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A copy of this package that may be edited; its files are found from where ``sources`` lies."""
    root = tmp_path / "ecglib"
    shutil.copytree(project_root() / "ecglib", root, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(sources, "__file__", str(root / "sources.py"))
    return root


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def test_a_better_docstring_does_not_make_a_run_older_but_a_number_does(package):
    """In the paper's own file, in one it imports, and in the data that its knowledge is made of."""
    before = {stem: sources.code_fingerprint(stem) for stem in papers.stems()}
    assert len(set(before.values())) == len(before)

    def touched():
        return {stem for stem, was in before.items() if sources.code_fingerprint(stem) != was}

    edit(package / "losses.py", '"""Loss terms', '"""The loss terms')
    edit(package / "papers/k_merl.py", "@dataclass", "# The values.\n@dataclass")
    assert touched() == set()
    edit(package / "papers/k_merl.py", "temperature: float = 0.07", "temperature: float = 0.08")
    assert touched() == {"k_merl"}
    edit(package / "knowledge/vocabulary.json", "{", "{ ")
    assert "k_merl" in touched()
    edit(package / "losses.py", "0.5 * (forward", "0.4 * (forward")
    assert touched() == set(before)


def test_the_simulator_is_the_same_but_for_what_runs_and_what_it_reads(package, monkeypatch):
    folder = package / "data/synthetic"
    monkeypatch.setattr(stores, "__file__", str(folder / "stores.py"))
    before = stores.simulator_hash.__wrapped__()
    edit(folder / "body.py", '"""The torso', '"""A torso')
    assert stores.simulator_hash.__wrapped__() == before
    hashes = {before}
    for file, old, new in (("body.py", "NEAREST_CM = 4.0", "NEAREST_CM = 4.5"), ("noise.toml", "uv = ", "uv =  ")):
        edit(folder / file, old, new)
        hashes.add(stores.simulator_hash.__wrapped__())
    assert len(hashes) == 3
