"""MERL: both encoders, both alignments, their switches, and a planted truth."""

import functools
import math

import pytest
import torch

from ecglib.losses import info_nce
from ecglib.papers import merl
from ecglib.text import TextEncoder

REPORTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block", "inferior infarct", "normal", "pacing"]
ENCODERS = ("resnet18", "vit_tiny")


@functools.cache
def tower():
    return TextEncoder("minilm")


def small(**changes):
    sizes = {"width": 32, "stage_widths": (8, 8, 16, 16), "vit_width": 24, "vit_depth": 2}
    config = merl.demo_config(**(sizes | changes))
    text_encoder = tower()
    torch.manual_seed(0)
    return merl.build(config, text_encoder)


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": torch.randn(n, 12, 400, generator=generator), "report": REPORTS[:n]}


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_released_values():
    config = merl.Config()
    assert (config.width, config.temperature, config.dropout, config.pool_heads) == (256, 0.07, 0.1, 4)
    assert merl.SCHEDULES["paper"] == {"epochs": 20, "batch_size": 1024, "lr": 1e-3, "weight_decay": 1e-8}


def test_paper_model_with_a_resnet():
    """3,853,962 in the released network, of which 5,130 are a head that nothing uses."""
    model = merl.paper_model(text_encoder="random:medcpt")
    assert count(model.ecg_encoder) == 3_853_962 - 5_130
    assert count(model.down) == 512 * 256 + 256
    assert count(model.project_e) == 256 + 4 * (256 * 256 + 256)  # the query, and four square matrices
    assert count(model.project_t) == (768 * 256 + 256) + (256 * 256 + 256)
    assert model.ecg_tokens(torch.zeros(1, 12, 5000)).shape == (1, 313, 256)


def test_paper_model_with_a_vit():
    """5.47 million in the released network; the projector goes 192 to 256 to 256."""
    model = merl.paper_model(text_encoder="random:medcpt", ecg_encoder="vit_tiny")
    assert round(count(model.ecg_encoder) / 1e6, 2) == 5.47
    assert count(model.project_e) == (192 * 256 + 256) + 2 * 256 + (256 * 256 + 256)
    assert model.ecg_tokens(torch.zeros(1, 12, 5000)).shape == (1, 100, 192)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_demo_encoders_have_the_size_of_every_demo(encoder):
    assert count(merl.demo_model(ecg_encoder=encoder).ecg_encoder) == pytest.approx(970_000, rel=0.15)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_terms_are_the_two_alignments(encoder, monkeypatch):
    """Recomputed from the public encodings, row by row in float64."""
    model = small(dropout=0.0, ecg_encoder=encoder).double().eval()
    vectors = model.text_encoder.vectors
    monkeypatch.setattr(model.text_encoder, "vectors", lambda texts: vectors(texts).double())
    b = batch()
    b["ecg"] = b["ecg"].double()
    terms = model.losses(b)
    assert tuple(terms) == ("cma", "uma")
    assert model.loss_weights == {"cma": 1.0, "uma": 1.0}

    def naive(x, y):
        total = 0.0
        for i in range(6):
            row = [torch.cosine_similarity(x[i], y[k], dim=0) / 0.07 for k in range(6)]
            column = [torch.cosine_similarity(x[k], y[i], dim=0) / 0.07 for k in range(6)]
            total += (torch.logsumexp(torch.stack(row), 0) - row[i]) / 12
            total += (torch.logsumexp(torch.stack(column), 0) - column[i]) / 12
        return total

    e, t = model.encode_ecg(b["ecg"]), model.encode_text(b["report"])
    torch.testing.assert_close(terms["cma"], naive(e, t), atol=1e-9, rtol=1e-9)
    latent = model.ecg_tokens(b["ecg"]).mean(dim=1)
    torch.testing.assert_close(terms["uma"], naive(latent, latent), atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("left_out", merl.TERMS)
@pytest.mark.parametrize("uma_views", merl.CHOICES["uma_views"])
def test_each_term_can_be_left_out(left_out, uma_views):
    """The other keeps its value, and what served only the one left out gets no gradient."""
    kept = tuple(term for term in merl.TERMS if term != left_out)
    whole = small(dropout=0.0, uma_views=uma_views)
    part = small(dropout=0.0, uma_views=uma_views, terms=kept)
    found = part.losses(batch())
    assert tuple(found) == kept
    torch.testing.assert_close(found[kept[0]], whole.losses(batch())[kept[0]])
    found[kept[0]].backward()
    reached = {name.split(".")[0] for name, p in part.named_parameters() if p.grad is not None}
    for_views = {"views"} if uma_views == "linear" else set()
    expected = {"cma": {"ecg_encoder", "down"} | for_views, "uma": {"ecg_encoder", "down", "project_e", "project_t"}}
    assert reached == expected[left_out]


def test_views_differ_by_dropout_alone_or_by_a_layer_each():
    z_e = torch.randn(3, 10, 32)
    model = small()
    first, second = model.latent_views(z_e)
    assert first.shape == (3, 32)
    assert not torch.equal(first, second)
    kept = first != 0
    torch.testing.assert_close(first[kept], (z_e.mean(1) / 0.9)[kept])  # dropout scales what it keeps
    plain = small(dropout=0.0)
    assert count(plain.views) == 0
    assert torch.equal(*plain.latent_views(z_e))
    released = small(dropout=0.0, uma_views="linear")
    assert count(released.views) == 2 * (32 * 32 + 32)
    assert not torch.allclose(*released.latent_views(z_e))
    released = small(dropout=0.5, uma_views="linear")
    dropped = (released.latent_views(torch.randn(500, 1, 32))[0] == 0).float().mean().item()
    assert dropped == pytest.approx(0.5, abs=0.02)


def test_vit_views_have_the_width_of_the_encoder():
    model = small(ecg_encoder="vit_tiny", uma_views="linear")
    assert model.latent_views(model.ecg_tokens(batch()["ecg"]))[0].shape == (6, 24)


def test_released_sum_is_twice_the_mean_and_learns_alike():
    """The factor that print and code differ by does not change a step of AdamW."""
    ours, released = small(dropout=0.0), small(dropout=0.0)
    for model, factor in ((ours, 1.0), (released, 2.0)):
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, eps=1e-30)
        (factor * torch.stack(list(model.losses(batch()).values())).sum()).backward()
        optimizer.step()
    torch.testing.assert_close(ours.project_t[0].weight, released.project_t[0].weight, atol=1e-6, rtol=1e-4)


def test_same_report_is_encoded_once_and_alike(monkeypatch):
    model = small()
    vectors = model.encode_text(["sinus rhythm", "pacing", "sinus rhythm"])
    torch.testing.assert_close(vectors[0], vectors[2])
    asked, new = [], [f"a sentence that is asked for here alone, number {i}" for i in range(2)]
    states = model.text_encoder.states_of_ids
    monkeypatch.setattr(model.text_encoder, "states_of_ids", lambda ids: asked.append(len(ids)) or states(ids))
    for _ in range(2):
        model.losses(batch(4) | {"report": [new[0], new[0], new[1], new[0]]})
    assert sum(asked) == 2


def test_prepared_reports_are_not_computed_again(monkeypatch):
    """Preparing twice, with more texts, is allowed; texts that were never prepared work too."""
    texts = [f"a sentence that no other test asks for, number {i}" for i in range(6)]
    model = small()
    model.prepare(texts[:3])
    model.prepare(texts[:5])
    computed, compute = [], model.text_encoder._compute
    monkeypatch.setattr(model.text_encoder, "_compute", lambda ids: computed.append(len(ids)) or compute(ids))
    prepared = model.losses(batch(5) | {"report": texts[:5]})["cma"]
    assert computed == []
    assert torch.isfinite(prepared)
    model.losses(batch(6) | {"report": texts})
    assert computed == [1]


@pytest.mark.parametrize("encoder", ENCODERS)
def test_frozen_parts_do_not_move_and_learning_ones_do(encoder):
    model = small(ecg_encoder=encoder, uma_views="linear")
    tower = {k: v.clone() for k, v in model.text_encoder._frozen[1].state_dict().items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    torch.stack(list(model.losses(batch()).values())).sum().backward()
    optimizer.step()
    assert all(torch.equal(tower[k], v) for k, v in model.text_encoder._frozen[1].state_dict().items())
    assert not any("text_encoder" in name for name in before)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(before[k], v)}
    assert {k for k in before if k.endswith("weight") and "norm" not in k and "shortcut" not in k} <= moved
    assert ("project_e.query" in moved) == (encoder == "resnet18")


@pytest.mark.parametrize("encoder", ENCODERS)
def test_evaluation_moves_no_buffer(encoder):
    """Scoring leaves the batch statistics alone; a training step moves them."""
    model = small(ecg_encoder=encoder)
    buffers = {k: v.clone() for k, v in model.named_buffers()}
    model.eval()
    model.score(batch()["ecg"], [["normal"], ["pacing"]])
    assert all(torch.equal(buffers[k], v) for k, v in model.named_buffers())
    model.train()
    model.losses(batch())
    assert any(not torch.equal(buffers[k], v) for k, v in model.named_buffers())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_initial_alignment_is_near_chance(encoder):
    """With a flat temperature both losses are log B; views of embeddings at right angles are told apart at once."""
    flat = small(temperature=1e6, ecg_encoder=encoder).losses(batch())
    for value in flat.values():
        assert value.item() == pytest.approx(math.log(6), abs=1e-3)
    sharp = small(ecg_encoder=encoder, dropout=0.0).eval()
    z = torch.eye(6).unsqueeze(1)  # embeddings at right angles
    first, second = sharp.latent_views(z)
    expected = math.log(1 + 5 * math.exp(-1 / 0.07))
    assert info_nce(first, second, 0.07).item() == pytest.approx(expected, abs=1e-6)


def test_two_masks_leave_the_cosine_that_theory_gives():
    """1 - p between the views of one embedding, (1 - p) s between those of two whose cosine is s."""
    z = torch.randn(2, 1, 20_000)
    s = torch.cosine_similarity(z[0, 0], z[1, 0], dim=0).item()
    first, second = small(dropout=0.3).latent_views(z)
    found = torch.nn.functional.normalize(first, dim=1) @ torch.nn.functional.normalize(second, dim=1).T
    assert found.diagonal().tolist() == pytest.approx([0.7, 0.7], abs=0.03)
    assert found[0, 1].item() == pytest.approx(0.7 * s, abs=0.03)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_planted_truth_is_found(encoder):
    """Four waveforms, four reports: after a few steps each new ECG is closest to its own report."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(400) / 100

    def ecgs(kinds):
        waves = torch.stack([torch.sin(2 * math.pi * (1 + 2 * k) * t) for k in kinds])
        return waves[:, None] + 0.5 * torch.randn(len(kinds), 12, 400, generator=generator)

    model = small(ecg_encoder=encoder)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        order = torch.randperm(4, generator=generator).tolist()
        terms = model.losses({"ecg": ecgs(order), "report": [REPORTS[k] for k in order]})
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    model.eval()
    kinds = [0, 1, 2, 3] * 8
    with torch.inference_mode():
        found = model.score(ecgs(kinds), [[REPORTS[k]] for k in range(4)]).argmax(dim=1)
    assert (found == torch.tensor(kinds)).float().mean() >= 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ecg_encoder": "resnet50"}, "ecg_encoder is one of resnet18, vit_tiny, not 'resnet50'"),
        ({"uma_views": "masks"}, "uma_views is one of dropout, linear"),
        ({"terms": ("cma", "align")}, "terms are some of cma, uma"),
        ({"terms": ()}, "each once"),
        ({"terms": ("uma", "uma")}, "each once"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"dropout": 1.0}, "dropout lies in"),
        ({"width": 30}, "width must be a multiple of pool_heads"),
        ({"ecg_encoder": "vit_tiny", "vit_width": 25}, "vit_width must be a multiple of vit_heads, not 25 of 3"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
