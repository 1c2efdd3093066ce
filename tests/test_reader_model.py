"""The network of a reader: both terms against naive loops, and a planted sign that it must learn from reports."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F

from ecglib.reader_model import Config, ReaderModel
from ecglib.text import TextEncoder

REPORTS = [
    "Sinus rhythm. Left bundle branch block",
    "Atrial fibrillation",
    "Sinus rhythm. No atrial fibrillation",
    "Sinus rhythm. Possible left ventricular hypertrophy",
]


@functools.cache
def tower():
    return TextEncoder("minilm")


def small():
    torch.manual_seed(0)
    return ReaderModel(Config(width=32, stage_widths=(8, 8, 16, 16)), tower())


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": 0.3 * torch.randn(4, 12, 400, generator=generator), "report": REPORTS}


def test_its_terms_by_naive_loops():
    model = small().eval()
    with torch.no_grad():
        model.usual.weight.normal_(0, 0.1)
        found = model.losses(batch())
        z_e, z_t = model.encode_ecg(batch()["ecg"]), model.encode_text(REPORTS)
        names = list(model.entities.entities)
        z_q, u_q = model.encode_text(names), model.usual(model.text_encoder.vectors(names))[:, 0]
    contrast = entities = 0.0
    labels = model.entities.labels(REPORTS)
    for i in range(4):
        for one, other in ((z_e, z_t), (z_t, z_e)):
            exponents = [float(one[i] @ other[k]) / 0.07 for k in range(4)]
            contrast += (math.log(sum(map(math.exp, exponents))) - exponents[i]) / 8
        for q in range(len(names)):
            logit = 10.0 * float(z_e[i] @ z_q[q]) - 6.0 + float(u_q[q])
            entities += math.log1p(math.exp(-logit if labels[i, q] else logit)) / 4
    assert float(found["contrast"]) == pytest.approx(contrast, rel=1e-4)
    assert float(found["entities"]) == pytest.approx(entities, rel=1e-4)


def test_an_entity_counts_as_there_when_its_report_says_so():
    """Neither what is denied nor what is left open, as K-MERL reads «present and positive»."""
    model = small()
    model.prepare(REPORTS)
    labels = dict(zip(model.entities.entities, model._labels(REPORTS).T, strict=True))
    assert labels["atrial fibrillation"].tolist() == [False, True, False, False]
    assert labels["complete left bundle branch block"].tolist() == [True, False, False, False]
    assert not labels["left ventricular hypertrophy"].any()


def test_it_learns_a_planted_sign():
    """A spike in one lead where the report names the block: new records are told apart, untrained ones are not."""
    words = {True: "Left bundle branch block", False: "Sinus bradycardia"}

    def records(n, seed):
        generator = torch.Generator().manual_seed(seed)
        there = torch.rand(n, generator=generator) < 0.5
        ecg = 0.1 * torch.randn(n, 12, 200, generator=generator)
        ecg[there, 6, 100:104] += 1.0
        return {"ecg": ecg, "report": [words[bool(value)] for value in there]}, there

    def auc(model):
        new, there = records(200, 99)
        with torch.inference_mode():
            score = model.eval().score(new["ecg"], [["left bundle branch block"]])[:, 0]
        model.train()
        return float((score[there][:, None] > score[~there][None]).float().mean())

    model = small()
    before = auc(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    for step in range(40):
        optimizer.zero_grad()
        sum(model.losses(records(32, step)[0]).values()).backward()
        optimizer.step()
    assert before < 0.8 < 0.95 < auc(model)


def test_both_sides_get_unit_vectors_and_any_length():
    model = small().eval()
    with torch.inference_mode():
        assert model.encode_ecg(torch.zeros(2, 12, 250)).shape == (2, 32)
        vectors = model.encode_classes([["atrial flutter", "flutter"], ["normal ECG"]])
    assert torch.allclose(vectors.norm(dim=1), torch.ones(2))
    assert torch.allclose(F.normalize(vectors, dim=-1), vectors)


def test_every_weight_of_it_learns():
    model = small()
    sum(model.losses(batch()).values()).backward()
    silent = [name for name, p in model.named_parameters() if p.requires_grad and (p.grad is None or not p.grad.any())]
    assert silent == []
