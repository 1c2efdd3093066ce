"""From prompts to class scores: an ensemble of prompt embeddings per class, raw cosine against the ECG."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ecglib.signals import LEADS

_CHUNK = 256  # prompts embedded at a time


def class_embeddings(encode: Callable[[Sequence[str]], Tensor], prompts: Sequence[Sequence[str]]) -> Tensor:
    """One unit vector per class, the mean of its prompts' unit vectors: C lists of strings -> (C, D).

    ``encode``: list of N strings -> (N, D); it is called with each distinct prompt once.
    """
    if not all(len(of_class) for of_class in prompts):
        raise ValueError("every class needs at least one prompt")
    distinct = list(dict.fromkeys(prompt for of_class in prompts for prompt in of_class))
    parts = [encode(distinct[start : start + _CHUNK]) for start in range(0, len(distinct), _CHUNK)]
    vectors = F.normalize(torch.cat(parts), dim=-1)
    row = {prompt: i for i, prompt in enumerate(distinct)}
    means = [vectors[[row[prompt] for prompt in of_class]].mean(dim=0) for of_class in prompts]
    return F.normalize(torch.stack(means), dim=-1)


def in_every_lead(prompts: Sequence[Sequence[str]]) -> list[list[list[str]]]:
    """The prompts of all classes anew for each of the twelve leads: C lists of strings -> 12 times C lists."""
    return [[[f"{prompt} in lead {lead}" for prompt in of_class] for of_class in prompts] for lead in LEADS]


class LikeliestScores:
    """As `CosineScores`, for classes of which there are several versions: the likeliest one counts.

    The model also brings ``versions``: C lists of prompts -> V times C lists, those of each version.
    """

    def encode_classes(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """C lists of prompts -> (C, V, D), unit length."""
        vectors = [class_embeddings(self.encode_text, version) for version in self.versions(prompts)]
        return torch.stack(vectors, dim=1)

    def score(
        self, ecg: Tensor, classes: Sequence[Sequence[str]] | Tensor, leads: Sequence[str] | None = None
    ) -> Tensor:
        """(B, S, T) and C lists of prompts, or their (C, V, D) -> (B, C): the cosine of the likeliest version."""
        vectors = classes if isinstance(classes, Tensor) else self.encode_classes(classes)
        return torch.einsum("bd,cvd->bcv", self.encode_ecg(ecg, leads), vectors).amax(dim=2)


class CosineScores:
    """The part of a paper's contract that scores by raw cosine; the model brings ``encode_ecg`` and ``encode_text``."""

    def encode_classes(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """C lists of prompts -> (C, D), unit length."""
        return class_embeddings(self.encode_text, prompts)

    def score(
        self, ecg: Tensor, classes: Sequence[Sequence[str]] | Tensor, leads: Sequence[str] | None = None
    ) -> Tensor:
        """(B, S, T) and C lists of prompts, or their (C, D) -> (B, C); no temperature, no softmax over classes."""
        vectors = classes if isinstance(classes, Tensor) else self.encode_classes(classes)
        return F.normalize(self.encode_ecg(ecg, leads), dim=-1) @ vectors.T
