"""Which files a trained model depends on, and their fingerprint: a checkpoint of other code is made again."""

import ast
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ecglib.paths import sha256_of

# What decides how any model is trained; what a paper's own model is made of follows from the imports of its file.
_TRAINING = ("datasets", "launch", "pretrain", "train")


def source_files(stem: str) -> list[Path]:
    """The files of this package that a model's file imports, directly or not, and the data of packages among them.

    ``stem``: a paper's, or the name of a file of the package itself.
    """
    package = Path(__file__).parent
    paper = package / "papers" / f"{stem}.py"
    start = paper if paper.is_file() else package / f"{stem}.py"
    return sorted(imported_files([start]) | {package / f"{name}.py" for name in _TRAINING})


def imported_files(starts: Iterable[Path]) -> set[Path]:
    """The files themselves and those of this package that they import, directly or not, also inside functions.

    With an ``__init__.py`` come the data files beside it. What is imported by a name in a string is not seen.
    """
    package = Path(__file__).parent
    found: set[Path] = set()
    waiting = list(starts)
    while waiting:
        file = waiting.pop()
        if file in found:
            continue
        found.add(file)
        if file.name == "__init__.py":
            found.update(file.parent.glob("*.json"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == package.name:
                module = package.joinpath(*node.module.split(".")[1:])
                named = [module / f"{alias.name}.py" for alias in node.names]
                inside = [module / alias.name / "__init__.py" for alias in node.names]
                candidates = (module.with_suffix(".py"), module / "__init__.py", *named, *inside)
                waiting += [path for path in candidates if path.is_file() and path != package / "__init__.py"]
    return found


def code_fingerprint(stem: str) -> str:
    """Short SHA-256 over the source files that decide what training a model gives.

    Of Python it reads what runs, so that a comment, a docstring or another layout leaves it; of data every byte.
    """
    return sha256_of([sha256_of(content(file), 16) for file in source_files(stem)], 16)


def content(file: Path) -> list | bytes:
    """What of a source file counts: of Python what runs, of anything else every byte."""
    return what_runs(ast.parse(file.read_bytes())) if file.suffix == ".py" else file.read_bytes()


def what_runs(node: Any) -> Any:
    """A syntax tree as JSON values, without places in the file and without what does nothing.

    That is a string that stands alone, such as a docstring, ``pass``, and a field that is empty: Pythons differ in
    which of those they have, and the same source shall look alike to all of them.
    """
    if isinstance(node, list):
        return [what_runs(part) for part in node if not _does_nothing(part)]
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = {name: what_runs(value) for name, value in ast.iter_fields(node) if value is not None}
    return [type(node).__name__, {name: value for name, value in fields.items() if value != []}]


def _does_nothing(node: Any) -> bool:
    stands_alone = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return isinstance(node, ast.Pass) or (stands_alone and isinstance(node.value.value, str))
