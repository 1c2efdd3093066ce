"""From prompts to class scores: an ensemble of prompt embeddings per class, raw cosine against the ECG."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def class_embeddings(model, prompts: Sequence[Sequence[str]]) -> Tensor:
    """One unit vector per class, the mean of its prompts' unit vectors: C lists of strings -> (C, D)."""
    flat = [prompt for of_class in prompts for prompt in of_class]
    if not all(len(of_class) for of_class in prompts):
        raise ValueError("every class needs at least one prompt")
    vectors = torch.split(model.encode_text(flat), [len(of_class) for of_class in prompts])
    return F.normalize(torch.stack([F.normalize(v, dim=-1).mean(dim=0) for v in vectors]), dim=-1)


def score_by_cosine(model, ecg: Tensor, prompts: Sequence[Sequence[str]], leads=None) -> Tensor:
    """Raw cosine, no temperature and no softmax over classes: (B, S, T), C lists -> (B, C)."""
    return F.normalize(model.encode_ecg(ecg, leads), dim=-1) @ class_embeddings(model, prompts).T
