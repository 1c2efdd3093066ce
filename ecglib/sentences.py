"""Long texts read sentence by sentence, so that a frozen tower encodes each of the few distinct sentences once."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ecglib.text import TextEncoder


def sentences(text: str) -> list[str]:
    """The sentences of one text, at least one."""
    return text.split(". ")


def prepare(tower: TextEncoder, texts: Iterable[str]) -> int:
    """`TextEncoder.prepare` for the sentences of all texts."""
    return tower.prepare(sentence for text in texts for sentence in sentences(text))


def vectors(tower: TextEncoder, texts: Sequence[str]) -> Tensor:
    """`TextEncoder.vectors`, a text being the mean of its sentences: B strings -> (B, D)."""
    parts = [sentences(text) for text in texts]
    pooled = tower.vectors([part for of_text in parts for part in of_text])  # (N, D)
    return torch.stack([of_text.mean(dim=0) for of_text in pooled.split([len(of_text) for of_text in parts])])
