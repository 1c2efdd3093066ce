"""Which files a paper's trained model depends on, and their fingerprint: a checkpoint of other code is made again."""

import ast
from pathlib import Path

from ecglib.paths import sha256_of

# What decides how any model is trained; what a paper's own model is made of follows from the imports of its file.
_TRAINING = ("datasets", "launch", "pretrain", "train")


def source_files(stem: str) -> list[Path]:
    """The files of this package that a paper's file imports, directly or not, and the data of packages among them."""
    package = Path(__file__).parent
    found: set[Path] = set()
    waiting = [package / "papers" / f"{stem}.py"]
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
    return sorted(found | {package / f"{name}.py" for name in _TRAINING})


def code_fingerprint(stem: str) -> str:
    """Short SHA-256 over the source files that decide what training a paper's model gives."""
    return sha256_of([sha256_of(file, 16) for file in source_files(stem)], 16)
