"""Answers of a language model on disk, so that a run that was cut off asks only what is missing.

One folder per task, model and server; in it, each run appends to a file of its own, one JSON object a line, so that
no lock is needed however many processes ask at once, on whatever file system. A process that dies can damage only the
last line of its own file; such a line is left out, and its report is asked again. What is kept is the model's text as
it came, under a hash of the question: checks are applied anew on every reading, and no report lies in the cache.
"""

import json
import os
import re
import secrets
import time
from pathlib import Path
from typing import IO

from ecglib.paths import cache_dir, sha256_of


class AnswerCache:
    """The answers of one model to one task.

    Args:
        task: name of the task, for the folder's name.
        fingerprint: of all else in the question: instructions, schema, limits.
        model: what identifies the model, its server and its settings, JSON values.
    """

    def __init__(self, task: str, fingerprint: str, model: dict):
        name = re.sub(r"[^\w.-]+", "-", str(model.get("model", "model")))[-60:].strip(".-") or "model"
        self.folder: Path = cache_dir() / "llm" / f"{task}-{fingerprint}" / f"{name}-{sha256_of(model, 12)}"
        self.damaged = 0  # lines that could not be read
        self._answers: dict[str, dict] = {}
        self._file: IO[bytes] | None = None
        for path in sorted(self.folder.glob("*.jsonl")):  # names begin with the time: later answers win
            self._read(path)

    def _read(self, path: Path) -> None:
        for line in path.read_bytes().split(b"\n"):
            if not line:
                continue
            try:
                entry = json.loads(line)
                self._answers[str(entry["key"])] = {"text": str(entry["text"]), "finish": str(entry["finish"])}
            except (ValueError, TypeError, KeyError, RecursionError):
                self.damaged += 1

    def __len__(self) -> int:
        return len(self._answers)

    @staticmethod
    def key(message: str) -> str:
        """What an answer is filed under: a hash of the user message."""
        return sha256_of(message, 32)

    def get(self, message: str) -> tuple[str, str] | None:
        """(text, why the model stopped) of an answer that is there, else None."""
        entry = self._answers.get(self.key(message))
        return (entry["text"], entry["finish"]) if entry else None

    def put(self, message: str, text: str, finish: str) -> None:
        """Keep an answer: in one write, at once with the operating system, so a killed process loses nothing."""
        if self._file is None:
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"{time.time_ns():020d}-{os.getpid()}-{secrets.token_hex(4)}.jsonl"
            self._file = (self.folder / name).open("xb", buffering=0)
        key = self.key(message)
        self._file.write(json.dumps({"key": key, "text": text, "finish": finish}).encode("ascii") + b"\n")
        self._answers[key] = {"text": text, "finish": finish}

    def close(self) -> None:
        """Force what was written to the disk."""
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
