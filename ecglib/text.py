"""Text encoders from ``transformers``, with the frozen part computed once per distinct text.

A text tower has frozen lower layers and, when asked for, trainable upper ones. The frozen part is a function of the
tokens alone: it runs once per distinct sequence of tokens, in evaluation mode, and its token states are kept in memory
and on disk. Batches are padded to their longest text, never to a fixed length.
"""

import copy
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ecglib.errors import CheckpointError
from ecglib.fusion import masked_mean
from ecglib.paths import cache_dir, sha256_of
from ecglib.text_models import RANDOM, load_tower, text_model

CACHE_VERSION = 2
SMALL_GROUP = 8  # texts that are worth a pass of their own
WHOLE = -1  # ``trainable_layers`` of a tower that learns whole, embeddings included


class _PassThrough(nn.Module):
    """Stands for the embedding layer of the upper half: its input is already embedded."""

    def forward(self, input_ids=None, inputs_embeds=None, **_) -> Tensor:
        return inputs_embeds


class _StateCache:
    """Ragged float16 token states of distinct token sequences, in memory, with whole corpora kept on disk."""

    def __init__(self, key: str):
        self.folder = cache_dir() / "text" / key
        self.states: dict[bytes, np.ndarray] = {}

    def corpus_folder(self, sequences: Sequence[np.ndarray]) -> Path:
        return self.folder / sha256_of([sequence.tolist() for sequence in sequences], 24)

    def load(self, sequences: Sequence[np.ndarray]) -> bool:
        """Map a stored corpus into memory; False when it was never stored whole."""
        folder = self.corpus_folder(sequences)
        if not (folder / "offsets.npy").is_file():
            return False
        try:
            offsets = np.load(folder / "offsets.npy", allow_pickle=False)
            flat = np.load(folder / "states.npy", mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{folder} holds damaged text features ({error}); remove it and run again") from error
        for sequence, start, stop in zip(sequences, offsets[:-1], offsets[1:], strict=True):
            self.states.setdefault(sequence.tobytes(), flat[start:stop])
        return True

    def store(self, sequences: Sequence[np.ndarray]) -> None:
        """Write a corpus whole: into a folder of another name, then renamed."""
        folder = self.corpus_folder(sequences)
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(dir=folder.parent, suffix=".partial"))
        states = [self.states[sequence.tobytes()] for sequence in sequences]
        try:
            offsets = np.concatenate([[0], np.cumsum([len(state) for state in states])]).astype(np.int64)
            shape = (int(offsets[-1]), states[0].shape[1])
            flat = np.lib.format.open_memmap(partial / "states.npy", "w+", np.float16, shape)
            for state, start, stop in zip(states, offsets[:-1], offsets[1:], strict=True):
                flat[start:stop] = state
            flat.flush()
            np.save(partial / "offsets.npy", offsets, allow_pickle=False)
            (partial / "tokens.json").write_text(json.dumps([s.tolist() for s in sequences]), encoding="utf-8")
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
        name: a key of ``TEXT_MODELS``, ``random:<key>`` for its shape with random weights, or a folder of your own
            with config.json, model.safetensors and a tokenizer: ``FOLDER#cls`` or ``FOLDER#mean``, as its tokens pool.
        trainable_layers: how many of the upper transformer layers learn; 0 freezes the whole tower, -1 frees it, the
            embeddings included.
        batch_size: texts per forward pass when frozen states are computed.

    The frozen part is not a submodule: it is neither saved with the model nor seen by an optimizer, and nothing
    can move it. It is found again by name and compared by ``fingerprint``.

    Attributes: ``width`` D, ``vocabulary`` (number of token ids), ``pad_id``, ``mask_id``, ``special_ids``.
    """

    def __init__(self, name: str = "minilm", trainable_layers: int = 0, batch_size: int = 64):
        super().__init__()
        tokenizer, model = load_tower(name)
        spec = text_model(name)
        self.name, self.pooling, self.max_tokens = name, spec.pooling, spec.max_tokens
        self.width: int = model.config.hidden_size
        self.vocabulary: int = model.config.vocab_size
        self.pad_id: int = tokenizer.pad_token_id
        mask_token = tokenizer.mask_token or "<extra_id_0>"  # T5 marks a gap with a sentinel
        self.mask_id: int = tokenizer.convert_tokens_to_ids(mask_token) % self.vocabulary
        self.special_ids = frozenset(i % self.vocabulary for i in tokenizer.all_special_ids)
        self.trainable_layers, self.batch_size = trainable_layers, batch_size
        self.fingerprint = _fingerprint(model)
        self.upper = None
        layers = _layers(model)
        split = len(layers) - trainable_layers
        if trainable_layers == WHOLE:
            self.upper = model if hasattr(model, "embeddings") else model.encoder  # T5 names its embeddings twice
        elif trainable_layers:
            if not 0 < trainable_layers <= len(layers) or model.config.model_type != "bert":
                only = "0 or -1" if model.config.model_type != "bert" else f"-1..{len(layers)}"
                raise ValueError(f"trainable_layers of '{name}' must lie in {only}, not {trainable_layers}")
            self.upper = copy.copy(model)
            self.upper._modules = dict(model._modules)
            self.upper.embeddings, self.upper.pooler = _PassThrough(), None
            self.upper.encoder = copy.copy(model.encoder)
            self.upper.encoder._modules = {"layer": nn.ModuleList(copy.deepcopy(layers[split:]))}
            model.encoder.layer = layers[:split]
        if getattr(model, "pooler", None) is not None:
            model.pooler = None  # nothing here reads it
        if trainable_layers != WHOLE:
            for parameter in model.parameters():
                parameter.requires_grad_(False)
        self._frozen = (tokenizer, model)  # a tuple hides it from nn.Module's registries
        self._ids: dict[str, np.ndarray] = {}
        self._vectors: dict[str, dict[str, np.ndarray]] = {}  # pooling -> text -> (D,)
        key = re.sub(r"[^\w.-]", "-", name)[-80:]  # one folder's name, also of a path
        self._cache = _StateCache(f"v{CACHE_VERSION}-{key}-{self.fingerprint[:12]}-{split}")

    def _apply(self, fn, recurse: bool = True):
        super()._apply(fn, recurse)
        device = fn(torch.zeros(1)).device
        self._frozen[1].to(device)
        return self

    @property
    def device(self) -> torch.device:
        return next(self._frozen[1].parameters()).device

    @property
    def token_embeddings(self) -> Tensor:
        """The tower's input embeddings (V, D): frozen, unless the whole tower learns."""
        return self._frozen[1].get_input_embeddings().weight

    def tokenize(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text as int32, special tokens included, cut at ``max_tokens``; remembered per text."""
        missing = list(dict.fromkeys(text for text in texts if text not in self._ids))
        if missing:
            found = self._frozen[0](missing, truncation=True, max_length=self.max_tokens)["input_ids"]
            if self.name.startswith(RANDOM):  # another vocabulary than the tokenizer's
                found = [[i % self.vocabulary for i in ids] for ids in found]
            self._ids |= {text: np.array(ids, dtype=np.int32) for text, ids in zip(missing, found, strict=True)}
        return [self._ids[text] for text in texts]

    def prepare(self, texts: Iterable[str]) -> int:
        """Compute or load the frozen states of every distinct text, once. Returns how many were computed."""
        return self.prepare_ids(self.tokenize(sorted(set(texts))))

    def prepare_ids(self, sequences: Sequence[np.ndarray]) -> int:
        """`prepare` for token sequences, such as those of masked texts."""
        if self.trainable_layers == WHOLE:
            return 0
        distinct = list({sequence.tobytes(): sequence for sequence in sequences}.values())
        missing = [sequence for sequence in distinct if sequence.tobytes() not in self._cache.states]
        if not missing or self._cache.load(distinct):
            return 0
        self._compute(missing)
        self._cache.store(distinct)
        return len(missing)

    @torch.no_grad()
    def _compute(self, sequences: Sequence[np.ndarray]) -> None:
        by_length = sorted(sequences, key=len)  # sequences of like length share a batch: little padding
        for start in range(0, len(by_length), self.batch_size):
            chunk = by_length[start : start + self.batch_size]
            ids, mask = self._padded(chunk)
            states = self._frozen[1](input_ids=ids, attention_mask=mask.long()).last_hidden_state  # (B, L, D)
            kept = states.to(torch.float16).cpu().numpy()
            for sequence, state in zip(chunk, kept, strict=True):
                self._cache.states[sequence.tobytes()] = state[: len(sequence)].copy()

    def _padded(self, sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """Ids (B, L) and mask (B, L), L the longest of these sequences."""
        lengths = np.array([len(sequence) for sequence in sequences])
        ids = np.full((len(sequences), lengths.max()), self.pad_id, dtype=np.int64)
        for row, sequence in zip(ids, sequences, strict=True):
            row[: len(sequence)] = sequence
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(self.device)
        return torch.from_numpy(ids).to(self.device), mask

    def forward(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Token states (B, L, D) in float32 and mask (B, L), L the longest of these texts."""
        return self.states_of_ids(self.tokenize(texts))

    def states_of_ids(self, sequences: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
        """`forward` for token sequences: B arrays of ids -> (B, L, D) and mask (B, L)."""
        if self.trainable_layers == WHOLE:
            ids, mask = self._padded(sequences)
            return self.upper(input_ids=ids, attention_mask=mask.long()).last_hidden_state, mask
        keys = [sequence.tobytes() for sequence in sequences]
        missing = {key: s for key, s in zip(keys, sequences, strict=True) if key not in self._cache.states}
        if missing:
            self._compute(list(missing.values()))
        states = [self._cache.states[key] for key in keys]
        lengths = np.array([len(state) for state in states])
        padded = np.zeros((len(states), lengths.max(), self.width), dtype=np.float32)
        for row, state in zip(padded, states, strict=True):
            row[: len(state)] = state
        mask = torch.from_numpy(np.arange(lengths.max()) < lengths[:, None]).to(self.device)
        tokens = torch.from_numpy(padded).to(self.device)
        if self.upper is not None:
            tokens = self.upper(inputs_embeds=tokens, attention_mask=mask.long()).last_hidden_state
        return tokens, mask

    def groups(self, texts: Sequence[str]) -> list[list[int]]:
        """Positions of ``texts`` in groups of like length: padding adds at most a quarter, or a group is small."""
        lengths = [len(ids) for ids in self.tokenize(texts)]
        found: list[list[int]] = []
        real = 0  # tokens of the group that is being filled
        for i in sorted(range(len(texts)), key=lengths.__getitem__):
            padded = (len(found[-1]) + 1) * lengths[i] if found else 0
            if not found or (len(found[-1]) >= SMALL_GROUP and padded > 1.25 * (real + lengths[i])):
                found.append([])
                real = 0
            found[-1].append(i)
            real += lengths[i]
        return found

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

    def pool(self, states: Tensor, mask: Tensor, pooling: str = "") -> Tensor:
        """One vector per text: (B, L, D), (B, L) -> (B, D). ``pooling``: "cls" or "mean", by default the card's."""
        return states[:, 0] if (pooling or self.pooling) == "cls" else masked_mean(states, mask)

    def vectors(self, texts: Sequence[str], pooling: str = "") -> Tensor:
        """`pool` of every text: B strings -> (B, D). Each distinct text once; a frozen tower's vectors are kept."""
        if self.trainable_layers:
            return self.each_once(texts, lambda states, mask: (self.pool(states, mask, pooling),))[0]
        kept = self._vectors.setdefault(pooling or self.pooling, {})
        missing = [text for text in dict.fromkeys(texts) if text not in kept]
        if missing:
            (pooled,) = self.each_once(missing, lambda states, mask: (self.pool(states, mask, pooling),))
            kept.update(zip(missing, pooled.cpu().numpy(), strict=True))
        return torch.from_numpy(np.stack([kept[text] for text in texts])).to(self.device)

    @torch.no_grad()
    def pooled(self, texts: Sequence[str]) -> np.ndarray:
        """`vectors` as an array, for a search or a comparison: N strings -> (N, D) float32, without a gradient."""
        return self.vectors(texts).cpu().numpy()


def _layers(model: nn.Module) -> nn.ModuleList:
    """The transformer layers of a tower: ``layer`` of BERT and its kin, ``block`` of T5."""
    return model.encoder.layer if hasattr(model.encoder, "layer") else model.encoder.block


def _fingerprint(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of the weights, so that another model under the same name is noticed."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(f"{key}{tuple(value.shape)}".encode())
        digest.update(value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
