"""The words that a caption decoder reads and foretells."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def caption_words(
    ids: Sequence[np.ndarray], vocabulary: np.ndarray, limit: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Token ids of B texts as columns of a smaller vocabulary, for a decoder whose position i foretells word i + 1.

    Args:
        ids: token ids of every text; its first word and at most ``limit`` more are taken.
        vocabulary: sorted ids of the words to choose from; those of the texts join them.

    Returns the ids chosen from (V,), words (B, L + 1) as columns of them, padded behind their end, and which of the L
    positions foretell a real word (B, L).
    """
    cut = [of_text[: limit + 1] for of_text in ids]
    lengths = torch.tensor([len(of_text) for of_text in cut])
    chosen = np.union1d(vocabulary, np.concatenate(cut))
    columns = [torch.from_numpy(np.searchsorted(chosen, of_text)) for of_text in cut]
    words = nn.utils.rnn.pad_sequence(columns, batch_first=True)  # (B, L + 1)
    real = torch.arange(1, words.shape[1]) < lengths.unsqueeze(1)  # (B, L)
    return torch.from_numpy(chosen).to(device), words.to(device), real.to(device)
