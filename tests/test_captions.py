"""The words of captions: columns of a small vocabulary, against the ids they came from."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from ecglib.captions import caption_words

texts = st.lists(st.lists(st.integers(0, 50), min_size=1, max_size=12), min_size=1, max_size=5)


@given(texts, st.sets(st.integers(0, 60)), st.integers(1, 14))
def test_columns_lead_back_to_the_ids(ids, known, limit):
    vocabulary = np.array(sorted(known), dtype=np.int64)
    chosen, words, real = caption_words([np.array(t) for t in ids], vocabulary, limit, torch.device("cpu"))
    cut = [t[: limit + 1] for t in ids]
    assert chosen.tolist() == sorted(known | {i for t in cut for i in t})
    assert words.shape == (len(ids), max(map(len, cut)))
    assert real.shape == (len(ids), words.shape[1] - 1)
    for row, text in enumerate(cut):
        assert chosen[words[row, : len(text)]].tolist() == text
        assert real[row].sum() == len(text) - 1  # the first word is foretold by nothing
        assert real[row, : len(text) - 1].all()
