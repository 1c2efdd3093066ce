"""From prompts to class scores: an ensemble of prompt embeddings per class, raw cosine against the ECG."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

_CHUNK = 256  # prompts embedded at a time


def class_embeddings(model, prompts: Sequence[Sequence[str]]) -> Tensor:
    """One unit vector per class, the mean of its prompts' unit vectors: C lists of strings -> (C, D)."""
    if not all(len(of_class) for of_class in prompts):
        raise ValueError("every class needs at least one prompt")
    distinct = list(dict.fromkeys(prompt for of_class in prompts for prompt in of_class))
    parts = [model.encode_text(distinct[start : start + _CHUNK]) for start in range(0, len(distinct), _CHUNK)]
    vectors = F.normalize(torch.cat(parts), dim=-1)
    row = {prompt: i for i, prompt in enumerate(distinct)}
    means = [vectors[[row[prompt] for prompt in of_class]].mean(dim=0) for of_class in prompts]
    return F.normalize(torch.stack(means), dim=-1)


def score_by_cosine(model, ecg: Tensor, classes: Sequence[Sequence[str]] | Tensor, leads=None) -> Tensor:
    """Raw cosine, no temperature and no softmax over classes: (B, S, T) and C lists, or their (C, D) -> (B, C)."""
    vectors = classes if isinstance(classes, Tensor) else class_embeddings(model, classes)
    return F.normalize(model.encode_ecg(ecg, leads), dim=-1) @ vectors.T
