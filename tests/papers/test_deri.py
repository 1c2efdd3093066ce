"""DERI: the composition, its switches, and a planted truth."""

import math

import pytest
import torch

from ecglib.losses import info_nce
from ecglib.papers import deri

REPORTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block", "inferior infarct", "normal", "pacing"]


def small(**changes):
    torch.manual_seed(0)
    return deri.demo_model(**({"width": 32, "stage_widths": (8, 8, 16, 16), "decoder_heads": 4} | changes))


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": torch.randn(n, 12, 400, generator=generator), "report": REPORTS[:n]}


def test_paper_values():
    """Section 4.2 and the encoder's size: 3,848,832 parameters, the released ResNet18 without its unused head."""
    config = deri.Config()
    assert (config.width, config.decoder_depth, config.decoder_heads, config.mask_ratio) == (256, 2, 8, 0.1)
    model = deri.paper_model(text_encoder="minilm")
    assert sum(p.numel() for p in model.ecg_encoder.parameters()) == 3_848_832
    assert model.ecg_tokens(torch.zeros(1, 12, 5000)).shape == (1, 313, 256)


def test_total_is_the_sum_of_equation_9():
    model = small()
    terms = model.losses(batch())
    assert tuple(terms) == ("align", "mixed", "dec_e", "dec_t", "rme")
    assert set(model.loss_weights.values()) == {1.0}


@pytest.mark.parametrize("left_out", deri.TERMS)
def test_each_term_can_be_left_out(left_out):
    """Table 4: the other terms keep their values, and parameters that only served the term get no gradient."""
    kept = tuple(term for term in deri.TERMS if term != left_out)
    whole, part = small(dropout=0.0), small(dropout=0.0, terms=kept)
    torch.manual_seed(1)
    expected = whole.losses(batch())
    torch.manual_seed(1)
    found = part.losses(batch())
    assert tuple(found) == kept
    for term in kept:
        torch.testing.assert_close(found[term], expected[term])
    torch.stack(list(found.values())).sum().backward()
    untouched = {"dec_t": part.to_text, "rme": part.enhance}.get(left_out)
    if untouched is not None:
        assert all(p.grad is None for p in untouched.parameters())


def test_terms_are_the_equations():
    """Each term recomputed from the public encodings, equation by equation."""
    model = small(dropout=0.0, mask_ratio=0.0).eval()
    b = batch()
    z_e = model.ecg_tokens(b["ecg"])
    a_e, d_t = model.ecg_encodings(z_e)
    z_t, a_t, d_e = model.text_encodings(b["report"])
    terms = model.losses(b)
    torch.testing.assert_close(terms["align"], info_nce(a_e, a_t, 0.07))
    torch.testing.assert_close(terms["mixed"], info_nce(a_e + d_t, a_t + d_e, 0.07))
    torch.testing.assert_close(terms["dec_e"], info_nce(z_e.mean(1), d_e, 0.07))
    torch.testing.assert_close(terms["dec_t"], info_nce(z_t, model.to_text(d_t), 0.07))
    pooled = model.enhance(z_e)
    torch.testing.assert_close(terms["rme"], info_nce(pooled, pooled, 0.07))


@pytest.mark.parametrize("rme", ["attention", "linear", "dropout"])
def test_rme_variants(rme):
    """Table 5: two views differ by their random masks alone."""
    model = small(rme=rme)
    z_e = torch.randn(3, 10, 32)
    first, second = model.enhanced_views(z_e)
    assert first.shape == (3, 32)
    assert not torch.equal(first, second)
    if rme != "dropout":
        model = small(rme=rme, mask_ratio=0.0)
        first, second = model.enhanced_views(z_e)
        torch.testing.assert_close(first, second)


def test_more_masking_makes_the_views_less_alike():
    """Table 6: the argument does what its name says."""
    z_e = torch.randn(64, 40, 32)
    distance = []
    for ratio in (0.1, 0.3, 0.5):
        model = small(mask_ratio=ratio)
        torch.manual_seed(0)
        first, second = model.enhanced_views(z_e)
        distance.append((first - second).norm().item())
    assert distance == sorted(distance)


def test_shared_embedding_and_scoring_switches():
    """Table 7."""
    assert small().decode_t.shared.shape == (1, 32)
    assert small(shared_embedding=False).decode_t.shared is None
    assert small().decode_e.shared is None
    mixed, aligned = small().eval(), small(score_with="aligned").eval()
    x = batch()["ecg"]
    a_e, d_t = mixed.ecg_encodings(mixed.ecg_tokens(x))
    normalise = torch.nn.functional.normalize
    torch.testing.assert_close(mixed.encode_ecg(x), normalise(a_e + d_t, dim=-1))
    torch.testing.assert_close(aligned.encode_ecg(x), normalise(a_e, dim=-1))


def test_same_report_is_encoded_once_and_alike():
    model = small()
    z_t, a_t, d_e = model.text_encodings(["sinus rhythm", "pacing", "sinus rhythm"])
    for rows in (z_t, a_t, d_e):  # in training mode: with dropout, a second pass would differ
        assert torch.equal(rows[0], rows[2])


def test_frozen_parts_do_not_move_and_learning_ones_do():
    model = small()
    tower = {k: v.clone() for k, v in model.text_encoder._frozen[1].state_dict().items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    torch.stack(list(model.losses(batch()).values())).sum().backward()
    optimizer.step()
    assert all(torch.equal(tower[k], v) for k, v in model.text_encoder._frozen[1].state_dict().items())
    moved = {k for k, v in model.state_dict().items() if not torch.equal(before[k], v)}
    assert {"down.weight", "project_e.weight", "project_t.weight", "to_text.weight", "decode_t.shared"} <= moved


def test_initial_alignment_is_near_chance():
    """Untrained encodings know nothing of their pairs: with a flat temperature the loss is log B."""
    terms = small(temperature=1e6).losses(batch())
    assert terms["align"].item() == pytest.approx(math.log(6), abs=1e-3)


def test_planted_truth_is_found():
    """Four waveforms, four reports: after a few steps each new ECG is closest to its own report."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(400) / 100

    def ecgs(kinds):
        waves = torch.stack([torch.sin(2 * math.pi * (1 + 2 * k) * t) for k in kinds])
        return waves[:, None] + 0.5 * torch.randn(len(kinds), 12, 400, generator=generator)

    model = small()
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
        ({"rme": "atention"}, "rme is one of attention, linear, dropout"),
        ({"score_with": "both"}, "score_with is one of"),
        ({"terms": ("align", "cma")}, "terms are some of align"),
        ({"terms": ()}, "each once"),
        ({"terms": ("align", "align")}, "each once"),
        ({"mask_ratio": 1.5}, "mask_ratio lies in"),
        ({"temperature": float("nan")}, "must be positive"),
        ({"temperature": 0.0}, "must be positive"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
