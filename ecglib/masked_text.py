"""Reports with some words masked, encoded anew: what masked language modelling reads (C-MELT section 3.1)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ecglib.masking import mask_tokens
from ecglib.paths import sha256_of
from ecglib.text import TextEncoder


class MaskedTexts:
    """Masks words of texts and encodes what is left.

    A masked text goes through the whole tower: the states of the unmasked text with gaps in them would tell what stood
    there, for every state has read every word. With frozen layers that is affordable only once per sequence, so a small
    number of maskings per text is drawn from the text itself and their states are kept like those of any text.

    Args:
        tower: the text encoder.
        mask_ratio: part of a text's words that is masked.
        kept: how many maskings each text has; 0 draws a new one at every call, for a tower that learns whole.
    """

    def __init__(self, tower: TextEncoder, mask_ratio: float, kept: int = 0):
        self.tower, self.mask_ratio, self.kept = tower, mask_ratio, kept

    def prepare(self, texts: Sequence[str]) -> int:
        """Compute or load the frozen states of all kept maskings, once. Returns how many were computed."""
        distinct = sorted(set(texts))
        return self.tower.prepare_ids([self.masked(t, number)[0] for t in distinct for number in range(self.kept)])

    def masked(self, text: str, number: int | None) -> tuple[np.ndarray, np.ndarray]:
        """Ids with masked words, and where, both (L,): kept masking ``number`` of this text, or one drawn by torch."""
        ids = self.tower.tokenize([text])[0]
        if number is None:
            draws = torch.rand(len(ids)).numpy()
        else:
            draws = np.random.default_rng([number, int(sha256_of([text], 16), 16)]).random(len(ids))
        return mask_tokens(ids, self.mask_ratio, self.tower.mask_id, self.tower.special_ids, draws)

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """States of the masked texts (B, L, D); real tokens, masked words and unmasked ids, each (B, L).

        Each distinct text of a batch is masked and encoded once.
        """
        distinct = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        numbers = torch.randint(self.kept, (len(distinct),)).tolist() if self.kept else [None] * len(distinct)
        masked = [self.masked(text, number) for text, number in zip(distinct, numbers, strict=True)]
        states, real = self.tower.states_of_ids([ids for ids, _ in masked])
        where, words = np.zeros(real.shape, dtype=bool), np.zeros(real.shape, dtype=np.int64)
        for row, (ids, (_, hidden)) in enumerate(zip(self.tower.tokenize(list(distinct)), masked, strict=True)):
            where[row, : len(ids)], words[row, : len(ids)] = hidden, ids
        rows = [distinct[text] for text in texts]
        device = states.device
        return (
            states[rows],
            real[rows],
            torch.from_numpy(where).to(device)[rows],
            torch.from_numpy(words).to(device)[rows],
        )
