"""Does a caption decoder look at the ECG? Each text foretold from its own ECG and from a foreign one."""

import numpy as np
import torch
import torch.nn.functional as F

from ecglib.chapters.pretraining import Trained
from ecglib.metrics import EVALUATOR_VERSION, patient_weights
from ecglib.mixtures import partners
from ecglib.train import TrainingData

_BATCH = 64


@torch.inference_mode()
def own_and_foreign(trained: Trained, data: TrainingData, dataset: str, repeats: int = 1000, seed: int = 0) -> list:
    """Negative log-likelihood per word of every text, from its own ECG and from another record's, in evaluation mode.

    The model has ``ecg_tokens(ecg)`` and ``caption_logits(tokens, texts)``, which gives logits (N, V) of all words,
    their columns (N,) and the text each belongs to (N,). Rows of a run record, with intervals over patients; ``n``
    counts texts.
    """
    model = trained.model.eval()
    device = next(model.parameters()).device
    rows = np.arange(len(data.reports))
    weights = patient_weights(data.store.records["patient"].to_numpy(), repeats, seed)
    found = []
    for setting, source in (
        ("caption from its own ECG", rows),
        ("caption from another's ECG", partners(len(rows), seed)),
    ):
        parts = []
        for start in range(0, len(rows), _BATCH):
            at = rows[start : start + _BATCH]
            tokens = model.ecg_tokens(data.batch(source[at], device)["ecg"])
            logits, words, owner = model.caption_logits(tokens, [data.reports[row] for row in at])
            nll = F.cross_entropy(logits, words, reduction="none").cpu().numpy()
            parts.append((np.bincount(owner.cpu(), nll, len(at)), np.bincount(owner.cpu(), minlength=len(at))))
        nll, words = (np.concatenate(part) for part in zip(*parts, strict=True))  # (N,) each
        low, high = np.percentile((weights @ nll) / (weights @ words), [2.5, 97.5])
        row = {"method": trained.name, "dataset": dataset, "data_kind": trained.kind, "setting": setting}
        row |= {"metric": "caption_nll", "value": nll.sum() / words.sum(), "ci_low": low, "ci_high": high}
        found.append(row | {"n": len(rows), "evaluator_version": EVALUATOR_VERSION})
    return found
