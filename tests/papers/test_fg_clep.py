"""FG-CLEP: the composition, its switches, and a planted truth."""

import dataclasses
import math

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from ecglib.checkpoint import read_config, save_pretrained
from ecglib.data.store import write_store
from ecglib.fine_grained import kept_on_disk
from ecglib.losses import cosine_matrix, false_negative_mitigation, info_nce, pairwise_sigmoid
from ecglib.papers import fg_clep
from ecglib.signals import LEADS
from ecglib.train import Schedule, TrainingData, fit

REPORTS = ["sinus rhythm", "atrial fibrillation", "left bundle branch block", "inferior infarct", "normal", "pacing"]


def small(**changes):
    torch.manual_seed(0)
    return fg_clep.demo_model(**({"width": 32, "stage_widths": (4, 4, 8, 8), "ecg_encoder": "resnet18"} | changes))


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": torch.randn(n, 12, 400, generator=generator), "report": REPORTS[:n]}


def n_parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_paper_values():
    """ "Pre-training Implementation": encoders, t, b and schedule."""
    config = fg_clep.Config()
    assert (config.ecg_encoder, config.text_encoder, config.trainable_text_layers) == (
        "resnet50",
        "bioclinicalbert",
        -1,
    )
    assert fg_clep.SCHEDULES["paper"] == {"epochs": 10, "batch_size": 100, "lr": 2e-5, "weight_decay": 1e-4}
    assert fg_clep.STAGE_2_EPOCHS["paper"] == 3
    model = small()
    assert model.pair_logits.scale().item() == pytest.approx(10.0)
    assert model.pair_logits.b.item() == -10.0


def test_paper_model_has_both_towers():
    """15,959,168 parameters in ResNet50-1D and the 108 M of BERT base with the vocabulary of BioClinicalBERT.

    The paper prints no counts.
    """
    model = fg_clep.paper_model(text_encoder="random:bioclinicalbert")
    assert n_parameters(model.ecg_encoder) == 15_959_168
    assert n_parameters(model.text_encoder) == pytest.approx(108e6, rel=0.01)
    with torch.inference_mode():
        assert model.eval().encode_ecg(torch.zeros(1, 12, 5000)).shape == (1, 256)


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "resnet152", "vit"])
def test_ecg_encoders_of_table_7(name):
    model = fg_clep.demo_model(ecg_encoder=name).eval()
    with torch.inference_mode():
        assert model.encode_ecg(torch.randn(2, 12, 1000)).shape == (2, 128)
    if name in ("resnet18", "vit"):  # the default and its rival have the size of the other papers' demo encoders
        assert n_parameters(model.ecg_encoder) == pytest.approx(0.97e6, rel=0.15)


def test_text_tower_learns_whole_or_not_at_all():
    for layers, learns in ((0, False), (-1, True)):
        model = small(trainable_text_layers=layers, text_encoder="random:minilm" if learns else "minilm")
        towers = [p for p in model.text_encoder.parameters() if p.requires_grad]
        assert bool(towers) == learns
        if learns:
            sum(model.losses(batch()).values()).backward()
            assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in towers)


def test_terms_are_equations_3_to_7():
    """Both terms by naive double loops over the public embeddings, in float64."""
    model = small().double().eval()
    vectors = model.text_encoder.vectors
    model.text_encoder.vectors = lambda texts: vectors(texts).double()
    b = batch()
    b["ecg"] = b["ecg"].double()
    e_p, t_p = model.embed_ecg(b["ecg"]), model.embed_text(b["report"])
    with torch.no_grad():
        sig = fnm = 0.0
        for i in range(6):
            for j in range(6):
                sim = F.cosine_similarity(e_p[i], t_p[j], dim=0).item()
                semantic = F.cosine_similarity(t_p[i], t_p[j], dim=0).item()
                z = 1 if i == j else -1
                exponent = -z * (math.exp(model.pair_logits.t.item()) * sim + model.pair_logits.b.item())
                sig -= math.log(1 / (1 + math.exp(exponent))) / 6
                fnm += abs(sim - semantic) / 6
    terms = model.losses(b)
    assert terms["sig"].item() == pytest.approx(sig, abs=1e-9)
    assert terms["fnm"].item() == pytest.approx(fnm, abs=1e-9)
    assert model.loss_weights == {"sig": 1.0, "fnm": model.config.fnm_weight}


def test_sign_as_printed_pushes_pairs_apart():
    """Equation 5 to the letter: for a matched pair the loss grows with the similarity."""
    similarity = torch.eye(4) * 0.5
    gradient = {}
    for sign in fg_clep.CHOICES["sign"]:
        matched = similarity.clone().requires_grad_()
        pairwise_sigmoid(small(sign=sign).logits(matched)).backward()
        gradient[sign] = matched.grad.diagonal()
    assert (gradient["intended"] < 0).all()
    assert (gradient["printed"] > 0).all()


def test_plain_scale_is_t_itself():
    model = small(scale_form="plain")
    assert model.pair_logits.scale().item() == pytest.approx(math.log(10))
    assert model.logits(torch.tensor(1.0)).item() == pytest.approx(math.log(10) - 10)


def test_start_of_the_sigmoid_loss():
    """Every cosine 0: one positive and B - 1 negatives cost what their biased logits say; with b = 0, B log 2."""
    for bias in (-10.0, 0.0):
        model = small(initial_bias=bias)
        loss = pairwise_sigmoid(model.logits(torch.zeros(8, 8))).item()
        assert loss == pytest.approx(math.log1p(math.exp(-bias)) + 7 * math.log1p(math.exp(bias)), rel=1e-6)
    assert loss == pytest.approx(8 * math.log(2), rel=1e-6)


def test_without_architecture_modification():
    """Table 4: symmetric InfoNCE with the learned scale alone, no bias, no L_fnm."""
    model = small(loss="info_nce", fnm_weight=0.0)
    b = batch()
    terms = model.losses(b)
    assert set(terms) == set(model.loss_weights) == {"nce"}
    expected = info_nce(model.embed_ecg(b["ecg"]), model.embed_text(b["report"]), 0.1)
    torch.testing.assert_close(terms["nce"], expected, rtol=1e-5, atol=1e-6)
    terms["nce"].backward()
    assert model.pair_logits.t.grad.abs() > 0
    assert "pair_logits.b" not in dict(model.named_parameters())


def test_mitigation_can_be_left_out():
    whole, part = small(), small(fnm_weight=0.0)
    assert set(part.losses(batch())) == {"sig"}
    torch.testing.assert_close(part.losses(batch())["sig"], whole.losses(batch())["sig"])


def test_gradient_through_the_semantic_matrix():
    """Without it L_fnm moves the reports only towards the ECGs; the value is the same."""
    values, gradients = {}, {}
    for flows in (False, True):
        model = small(semantic_gradient=flows).eval()
        fnm = model.losses(batch())["fnm"]
        fnm.backward()
        values[flows], gradients[flows] = fnm.item(), model.project_t.weight.grad.clone()
    model = small().eval()
    e_p, t_p = model.embed_ecg(batch()["ecg"]), model.embed_text(batch()["report"])
    constant = cosine_matrix(t_p, t_p).detach()
    false_negative_mitigation(cosine_matrix(e_p, t_p), constant).backward()
    assert values[False] == values[True]
    torch.testing.assert_close(gradients[False], model.project_t.weight.grad)
    assert not torch.allclose(gradients[True], gradients[False])


def test_probability_of_equation_8():
    """As printed it cannot leave 0.27 to 0.73; with t and b it can, and it ranks alike."""
    cosine = torch.linspace(-1, 1, 21)
    printed, learned = small(probability="printed"), small()
    assert printed.probability(cosine).max().item() == pytest.approx(1 / (1 + math.exp(-1)))
    torch.testing.assert_close(learned.probability(cosine), torch.sigmoid(10 * cosine - 10))
    assert (learned.probability(cosine).diff() > 0).all()


def test_prompt_ensemble_takes_the_likeliest_of_thirteen():
    model = small().eval()
    ensemble = model.scored_with(lead_ensemble=True)
    x, classes = batch()["ecg"], [["atrial fibrillation"], ["left bundle branch block", "lbbb"]]
    with torch.inference_mode():
        assert model.encode_classes(classes).shape == (2, 1, 32)
        assert ensemble.encode_classes(classes).shape == (2, 13, 32)
        by_hand = []
        for version in [None, *LEADS]:
            suffix = "" if version is None else f" in lead {version}"
            by_hand.append(model.score(x, [[prompt + suffix for prompt in of] for of in classes]))
        torch.testing.assert_close(ensemble.score(x, classes), torch.stack(by_hand).amax(dim=0))
        plain = model.score(x, classes)
        vectors = torch.stack([model.encode_text(of).mean(dim=0) for of in classes])
        torch.testing.assert_close(plain, model.encode_ecg(x) @ F.normalize(vectors, dim=-1).T)
    assert not torch.equal(plain, ensemble.score(x, classes))
    assert model.config.lead_ensemble is False
    assert next(ensemble.parameters()) is next(model.parameters())
    with pytest.raises(ValueError, match="loss cannot be changed without training again"):
        model.scored_with(loss="info_nce")


def test_frozen_parts_do_not_move_and_learning_ones_do():
    model = small()
    tower = {k: v.clone() for k, v in model.text_encoder._frozen[1].state_dict().items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1.0)
    sum(model.losses(batch()).values()).backward()
    optimizer.step()
    assert all(torch.equal(tower[k], v) for k, v in model.text_encoder._frozen[1].state_dict().items())
    moved = {k for k, v in model.state_dict().items() if not torch.equal(before[k], v)}
    learned = {"pair_logits.t", "pair_logits.b", "project_e.weight", "project_t.weight", "ecg_encoder.stem.0.weight"}
    assert learned <= moved


def test_texts_that_were_not_prepared_are_encoded_all_the_same():
    model = small().eval()
    model.prepare(REPORTS[:3])
    model.prepare([*REPORTS[:3], "sinus rhythm. inverted T waves in V5"])
    fresh = small().eval()
    torch.testing.assert_close(model.losses(batch())["sig"], fresh.losses(batch())["sig"])


@pytest.mark.parametrize("loss", ["sigmoid", "info_nce"])
def test_planted_truth_is_found(loss):
    """Four waveforms, four reports: after a few steps each new ECG is closest to its own report."""
    generator = torch.Generator().manual_seed(0)
    t = torch.arange(400) / 100

    def ecgs(kinds):
        waves = torch.stack([torch.sin(2 * math.pi * (1 + 2 * k) * t) for k in kinds])
        return waves[:, None] + 0.5 * torch.randn(len(kinds), 12, 400, generator=generator)

    model = small(loss=loss)
    weights = model.loss_weights
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(80):
        order = torch.randperm(4, generator=generator).tolist()
        terms = model.losses({"ecg": ecgs(order), "report": [REPORTS[k] for k in order]})
        optimizer.zero_grad()
        sum(weights[name] * value for name, value in terms.items()).backward()
        optimizer.step()
    model.eval()
    kinds = [0, 1, 2, 3] * 8
    with torch.inference_mode():
        found = model.score(ecgs(kinds), [[REPORTS[k]] for k in range(4)]).argmax(dim=1)
    assert (found == torch.tensor(kinds)).float().mean() >= 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"loss": "softmax"}, "loss is one of sigmoid, info_nce"),
        ({"sign": "minus"}, "sign is one of"),
        ({"ecg_encoder": "resnet51"}, "ecg_encoder is one of resnet18"),
        ({"probability": "cosine"}, "probability is one of"),
        ({"fnm_weight": -1.0}, "fnm_weight is zero or positive"),
        ({"threshold": 1.5}, "threshold is a probability"),
        ({"initial_bias": float("nan")}, "initial_bias is a finite number"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)


def test_config_is_plain_values():
    for field in dataclasses.fields(fg_clep.Config):
        assert isinstance(getattr(fg_clep.Config(), field.name), str | int | float | bool | tuple)


class Killed(Exception):
    """Stands for a process that is gone."""


def two_stages(data, folder, killed_in=0):
    """The pre-training chapter in small: stage 1, fine-grained reports, stage 2; killed after an epoch of a stage."""
    schedule = Schedule(epochs=2, batch_size=6, lr=1e-3, checkpoint_every_s=0.0)

    def report(stage):
        def line(text):
            if killed_in == stage and text.startswith("epoch   2"):
                raise Killed

        return line

    model = small(threshold=0.0)
    model.prepare(data.reports)
    fit(model, data, schedule, folder / "stage-1", report(1))
    save_pretrained(model, folder / "stage-1", keep_training_state=True)
    weights = read_config(folder / "stage-1")["weights_sha256"]
    texts, asked = kept_on_disk(
        folder / "stage-1" / "fine_grained.json", [weights], lambda: model.fine_grained(data.store, data.reports)
    )
    assert asked["answered"] == asked["distinct"] == len(set(data.reports))
    model.prepare(texts)
    fit(model, TrainingData(data.store, texts), schedule, folder, report(2))
    return model, texts


@pytest.mark.parametrize("killed_in", [1, 2])
def test_a_run_killed_in_either_stage_ends_with_the_same_bits(tmp_path, monkeypatch, killed_in):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    rng = np.random.default_rng(0)
    records = pd.DataFrame({"id": [f"r{i}" for i in range(12)], "report": [REPORTS[i % 6] for i in range(12)]})
    store = write_store(tmp_path / "store", 100, rng.normal(size=(12, 12, 200)).astype(np.float32), records)
    data = TrainingData.of(store)
    whole, texts = two_stages(data, tmp_path / "whole")
    assert any(text.startswith("left bundle branch block. ") for text in texts)  # threshold 0 keeps every proposal
    with pytest.raises(Killed):
        two_stages(data, tmp_path / "killed", killed_in)
    again, same = two_stages(data, tmp_path / "killed")
    assert same == texts
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in whole.state_dict().items())
