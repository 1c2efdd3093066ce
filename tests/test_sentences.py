"""Texts read by sentences: each distinct sentence once, and a text as the mean of its own."""

import torch

from ecglib import sentences
from ecglib.text import TextEncoder

TEXTS = ["sinus rhythm. pacing. sinus rhythm", "pacing", ""]


def test_each_distinct_sentence_is_encoded_once(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path))
    tower = TextEncoder("minilm")
    assert sentences.prepare(tower, TEXTS) == 3  # the empty text is one too
    assert sentences.prepare(tower, TEXTS) == 0


def test_a_text_is_the_mean_of_its_sentences(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path))
    tower = TextEncoder("minilm")
    rhythm, pacing, nothing = tower.vectors(["sinus rhythm", "pacing", ""])
    expected = torch.stack([(2 * rhythm + pacing) / 3, pacing, nothing])
    torch.testing.assert_close(sentences.vectors(tower, TEXTS), expected)
