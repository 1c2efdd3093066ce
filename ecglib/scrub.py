"""Keeps the paths and names of one machine out of what is committed: run records and executed notebooks."""

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ecglib.paths import project_root

# A path from the root of a file system: a drive, a share, a file: address, or a slash with two parts or more,
# not inside a web address or a word (so `ST/T`, `LAFB/LPFB` and `https://host/page` are no paths).
_ABSOLUTE = re.compile(
    r"""(?<![\w:/.~<>…\\%-])(?:file://)?/(?=[^/\s])(?:[^/\s'"<>|:;,)\]}]+/)+[^/\s'"<>|:;,)\]}]*"""
    r"""|(?<!\w)[A-Za-z]:\\[^\s'"<>|]+|\\\\[\w.-]+\\[^\s'"<>|]+"""
)


def host_names() -> list[str]:
    """Names of this machine that must not be published, the longest first."""
    names = {socket.gethostname(), os.uname().nodename if hasattr(os, "uname") else ""}
    names |= {name.partition(".")[0] for name in names}
    return sorted((n for n in names if len(n) > 3 and n.lower() != "localhost"), key=len, reverse=True)


def leaks(value: object, where: str = "record") -> Iterator[tuple[str, str]]:
    """(place, text) of every absolute path or host name in the strings (keys too) of a JSON value."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaks(str(key), where)
            yield from leaks(item, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for i, item in enumerate(value):
            yield from leaks(item, f"{where}[{i}]")
    elif isinstance(value, str):
        for match in _ABSOLUTE.finditer(value):
            yield where, match.group()
        for name in host_names():
            if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", value):
                yield where, name


def scrub_text(text: str) -> str:
    """Paths in the project become relative, those at home start with ``~``, others keep their last part alone.

    >>> scrub_text("cannot open /data/private/hospital/x.npy")
    'cannot open …/x.npy'
    """
    text = re.sub(rf"(?<![\w/.-]){re.escape(str(project_root()))}/(?=[^\s/])", "", text)
    short = {str(project_root()): ".", sys.prefix: "<python>", sys.base_prefix: "<python>", str(Path.home()): "~"}
    for prefix, instead in short.items():
        if len(prefix) > 1:
            text = re.sub(rf"(?<![\w/.-]){re.escape(prefix)}(?=[/\\'\"\s:,;)\]]|$)", instead, text)
    text = _ABSOLUTE.sub(lambda m: "…/" + re.split(r"[/\\]", m.group().rstrip("/\\"))[-1], text)
    for name in host_names():
        text = re.sub(rf"(?<![\w-]){re.escape(name)}(?![\w-])", "<host>", text)
    return text


def scrub_value(value: object) -> object:
    """`scrub_text` for every string in a JSON value."""
    if isinstance(value, dict):
        return {scrub_text(str(key)): scrub_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [scrub_value(item) for item in value]
    return scrub_text(value) if isinstance(value, str) else value


_NOISE = re.compile(r"Kernel is running over TCP|Debugger warning|frozen_modules|PYDEVD_DISABLE|IProgress not found")
_BINARY = ("image/png", "image/jpeg", "application/pdf")


def without_path(value: Any) -> Any:
    """A path outside the project, given as a parameter, keeps its last part alone, blanks in it or not."""
    outside = isinstance(value, str) and Path(value).is_absolute() and not Path(value).is_relative_to(project_root())
    return f"…/{Path(value).name}" if outside else value


def scrub_notebook(notebook: dict) -> dict:
    """An executed notebook (nbformat 4, as parsed JSON) made fit to be committed; changed in place and returned.

    Paths and host names are scrubbed in sources' outputs and metadata; of papermill's timings only the
    parameters, the exception flag and the whole duration in seconds remain; kernel chatter goes, and lines that were
    printed one by one become one output.
    """
    papermill = notebook.get("metadata", {}).pop("papermill", None) or {}
    for value in (papermill.get("parameters") or {}).values():
        if (short := without_path(value)) != value:  # known whole, blanks in it or not
            notebook |= json.loads(json.dumps(notebook).replace(json.dumps(value)[1:-1], json.dumps(short)[1:-1]))
            papermill = json.loads(json.dumps(papermill).replace(json.dumps(value)[1:-1], json.dumps(short)[1:-1]))
    kept = {k: scrub_value(papermill[k]) for k in ("parameters", "exception") if k in papermill}
    if isinstance(papermill.get("duration"), int | float):
        kept["duration"] = round(papermill["duration"], 1)
    metadata = {k: v for k, v in notebook.get("metadata", {}).items() if k in ("kernelspec", "jupytext")}
    notebook["metadata"] = metadata | ({"papermill": kept} if kept else {})
    for cell in notebook.get("cells", []):
        keep = {k: v for k, v in cell.get("metadata", {}).items() if k in ("tags", "editable", "slideshow")}
        cell["metadata"] = keep
        if cell.get("cell_type") != "code":
            continue
        if "injected-parameters" in keep.get("tags", []):
            cell["source"] = _scrub_lines(cell["source"])
        cell["outputs"] = _joined([_scrub_output(o) for o in cell.get("outputs", []) if not _is_noise(o)])
    return notebook


def _joined(outputs: list[dict]) -> list[dict]:
    """Pieces of one stream that came one after the other, a line per epoch for instance, as one output."""
    kept: list[dict] = []
    for output in outputs:
        last = kept[-1] if kept else {}
        if output.get("output_type") == "stream" and last.get("name") == output.get("name", ""):
            last["text"] = [*_lines(last["text"]), *_lines(output["text"])]
        else:
            kept.append(output)
    return kept


def _lines(text: str | list[str]) -> list[str]:
    return text.splitlines(keepends=True) if isinstance(text, str) else text


def _is_noise(output: dict) -> bool:
    text = "".join(output.get("text", []))
    return output.get("name") == "stderr" and bool(_NOISE.search(text)) and len(text.splitlines()) < 12


def _scrub_lines(text: str | list[str]) -> str | list[str]:
    """Multi-line text may be a string or a list of lines in a notebook; it stays what it was."""
    return scrub_text(text) if isinstance(text, str) else [scrub_text(line) for line in text]


def _scrub_output(output: dict) -> dict:
    for key in ("text", "ename", "evalue", "traceback"):
        if key in output:
            output[key] = _scrub_lines(output[key])
    for mime, content in output.get("data", {}).items():
        if mime not in _BINARY:
            output["data"][mime] = scrub_value(content)
    output.get("metadata", {}).pop("execution", None)
    return output
