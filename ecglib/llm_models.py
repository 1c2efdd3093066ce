"""The three back ends that answer a task: the knowledge base, a local ``transformers`` chat model, a server.

A back end has ``record()``, what a run record may say of it, and ``replies(task, items, deliver)``, which calls
``deliver(place, Reply)`` once for each item, in any order, from one thread at a time.
"""

import json
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ecglib.errors import CheckpointError, ParameterError
from ecglib.llm_task import Task
from ecglib.paths import expand, sha256_of


@dataclass(frozen=True)
class Reply:
    """What came back for one item: the model's text, or why there is none.

    ``status`` is "" when there is a text, else "refused", "timed out" or "failed"; ``finish`` is the server's word
    on why the text ends ("stop", "length").
    """

    text: str = ""
    finish: str = "stop"
    status: str = ""
    reason: str = ""


Deliver = Callable[[int, Reply], None]


class Backend(Protocol):
    """What :func:`ecglib.llm.ask` needs of a back end."""

    cached: bool  # whether its answers are worth keeping on disk

    def record(self) -> dict: ...

    def replies(self, task: Task, items: Sequence[Hashable], deliver: Deliver) -> None: ...


class KnowledgeBase:
    """The embedded default: the project's own knowledge base answers, by rule, without a model or a network."""

    cached = False

    def record(self) -> dict:
        from ecglib.knowledge import content_hash

        return {"kind": "knowledge", "model": f"knowledge base {content_hash()}"}

    def replies(self, task: Task, items: Sequence[Hashable], deliver: Deliver) -> None:
        for place, item in enumerate(items):
            deliver(place, Reply(json.dumps(task.from_knowledge(item))))


class LocalModel:
    """A chat model of ``transformers`` on this machine: greedy decoding, batches of questions of like length.

    Args:
        name_or_path: a folder, or the name of a model that is already in the Hugging Face cache; nothing is fetched.
        batch_size: questions per forward pass.
        device: "auto" takes a GPU when there is one.

    Raises:
        CheckpointError: the model is not on this disk, is not in safetensors, or has no chat template.
    """

    cached = True

    def __init__(self, name_or_path: str, batch_size: int = 8, device: str = "auto"):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils import logging as hub_logging

        if batch_size < 1:
            raise ParameterError(f"batch_size is at least 1, not {batch_size}")
        folder = expand(name_or_path)
        source = str(folder) if folder.is_dir() else name_or_path
        self.name = Path(name_or_path).name if folder.is_dir() else name_or_path
        self.batch_size = batch_size
        hub_logging.disable_progress_bar()
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, padding_side="left")
            model = AutoModelForCausalLM.from_pretrained(
                source, local_files_only=True, use_safetensors=True, dtype="auto"
            )
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"the chat model '{name_or_path}' cannot be loaded from this disk ({type(error).__name__}: "
                f"{str(error).splitlines()[0][:160]}). Fetch it where there is a network with: hf download "
                f"{self.name}; or choose the back end 'knowledge', which needs no model."
            ) from error
        if not self.tokenizer.chat_template:
            raise CheckpointError(f"'{name_or_path}' has no chat template; choose an instruction-tuned model")
        if self.tokenizer.pad_token_id is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.model = model.to(device).eval()
        self.fingerprint = _weights_hash(Path(model.name_or_path), model)

    def record(self) -> dict:
        return {"kind": "local", "model": self.name, "weights": self.fingerprint, "temperature": 0.0}

    def prompt(self, task: Task, item: Hashable) -> str:
        """The text that the model continues; a template without a system role gets it before the data."""
        from jinja2 import TemplateError

        chat = [{"role": "system", "content": task.system}, {"role": "user", "content": task.message(item)}]
        try:
            return self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
        except TemplateError:
            chat = [{"role": "user", "content": f"{task.system}\n\n{chat[1]['content']}"}]
            return self.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)

    def replies(self, task: Task, items: Sequence[Hashable], deliver: Deliver) -> None:
        tokens = [self.tokenizer(self.prompt(task, item), add_special_tokens=False).input_ids for item in items]
        room = getattr(self.model.config, "max_position_embeddings", None) or 1 << 30
        fitting = []
        for place in sorted(range(len(items)), key=lambda i: len(tokens[i])):
            if len(tokens[place]) < room:
                fitting.append(place)
            else:
                reason = f"the question has {len(tokens[place])} tokens, the model reads {room}"
                deliver(place, Reply(status="failed", reason=reason))
        for start in range(0, len(fitting), self.batch_size):
            places = fitting[start : start + self.batch_size]
            for place, reply in zip(places, self._generate([tokens[p] for p in places], task, room), strict=True):
                deliver(place, reply)

    def _generate(self, tokens: list[list[int]], task: Task, room: int) -> list[Reply]:
        import torch

        batch = self.tokenizer.pad({"input_ids": tokens}, return_tensors="pt").to(self.model.device)
        width = batch["input_ids"].shape[1]
        limit = min(task.max_answer_tokens, room - width)
        with torch.inference_mode():
            output = self.model.generate(
                **batch,
                do_sample=False,
                max_new_tokens=limit,
                pad_token_id=self.tokenizer.pad_token_id,
                temperature=None,
                top_p=None,
                top_k=None,
            )
        ends = self.model.generation_config.eos_token_id
        ends = {ends} if isinstance(ends, int) else set(ends or ())
        replies = []
        for row in output[:, width:].tolist():
            finished = bool(ends & set(row))
            text = self.tokenizer.decode(row, skip_special_tokens=True)
            replies.append(Reply(text, finish="stop" if finished else "length"))
        return replies


def _weights_hash(folder: Path, model) -> str:
    """Twelve hex digits over the weights on disk; of the hub's cache, over the commit that was loaded."""
    files = sorted(folder.glob("*.safetensors")) if folder.is_dir() else []
    if not files:
        return str(getattr(model.config, "_commit_hash", None) or "unknown")[:12]
    return sha256_of([sha256_of(path) for path in files], 12)


def backend(spec: str, **options) -> Backend:
    """The back end that a notebook's parameter names.

    Args:
        spec: "knowledge"; "local:<folder or cached name>"; "http://localhost:8000/v1#<model name>".
        options: passed on to :class:`LocalModel` or :class:`ecglib.llm_server.ServerModel`.

    >>> type(backend("knowledge")).__name__
    'KnowledgeBase'
    """
    if spec == "knowledge" and not options:
        return KnowledgeBase()
    if spec.startswith("local:") and spec.removeprefix("local:").strip():
        return LocalModel(spec.removeprefix("local:").strip(), **options)
    address, _, model = spec.partition("#")
    if address.startswith(("http://", "https://")) and model:
        from ecglib.llm_server import ServerModel

        return ServerModel(address, model, **options)
    shown = "an address without a model" if "://" in spec else f"'{spec}'"  # what an address holds is not repeated
    if spec == "knowledge":
        raise ParameterError(f"the back end 'knowledge' takes no options, not {', '.join(options)}")
    raise ParameterError(
        f"no back end is {shown}; there are 'knowledge', 'local:<folder>' and 'http://<server>/v1#<model>'"
    )
