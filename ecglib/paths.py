"""Where things lie, and how files are written so that none is ever half there."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

PROJECT = "ecg-report-companion"


def project_root() -> Path:
    """The folder of this project's pyproject.toml at or above the working folder, else the working folder."""
    here = Path.cwd()
    for folder in (here, *here.parents):
        candidate = folder / "pyproject.toml"
        if candidate.is_file() and f'name = "{PROJECT}"' in candidate.read_text(encoding="utf-8"):
            return folder
    return here


def cache_dir() -> Path:
    """Prepared stores and text features: ``$ECGLIB_CACHE``, else ``.cache/ecglib`` in the project."""
    return Path(os.environ.get("ECGLIB_CACHE") or project_root() / ".cache" / "ecglib")


def expand(path: str | os.PathLike) -> Path:
    """Expand ``~`` and ``$VARIABLES``; a relative path counts from the project's root."""
    expanded = Path(os.path.expandvars(os.path.expanduser(os.fspath(path))))
    if expanded.is_absolute():
        return expanded
    return project_root() / expanded


def atomic_write(path: str | os.PathLike, content: bytes | str) -> Path:
    """Write ``content`` whole or not at all: temporary file in the same folder, fsync, rename.

    A failure (full disk, read-only folder) leaves the old file untouched and no debris behind.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode("utf-8") if isinstance(content, str) else content
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp makes files private
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return path


def sha256_of(value: bytes | str | dict | list | Path, length: int = 64) -> str:
    """SHA-256 of bytes, text, a JSON value (keys sorted) or a file's content, as hex cut to ``length``."""
    if isinstance(value, Path):
        with value.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:length]
    if isinstance(value, dict | list):
        value = json.dumps(value, sort_keys=True, ensure_ascii=False)
    if isinstance(value, str):
        value = value.encode("utf-8")
    return hashlib.sha256(value).hexdigest()[:length]
