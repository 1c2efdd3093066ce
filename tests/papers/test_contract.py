"""What every paper's file must offer and how its model must behave. A new paper is tested here without a new line."""

import dataclasses

import pytest
import torch

from ecglib import papers
from ecglib.checkpoint import from_pretrained, load_weights, read_config, save_pretrained
from ecglib.errors import CheckpointError, ParameterError
from ecglib.paths import project_root
from ecglib.profiles import PROFILES
from ecglib.train import Schedule, weighted_total

REPORTS = ["Sinus rhythm. Normal ECG", "Atrial fibrillation", "Sinus rhythm. Normal ECG", "Left bundle branch block"]


@pytest.fixture(scope="module", params=papers.stems())
def paper(request):
    return papers.load(request.param)


@pytest.fixture(scope="module")
def model(paper):
    torch.manual_seed(0)
    return paper.demo_model()


def ecg(batch=4, leads=12, samples=1000, seed=0):
    return torch.randn(batch, leads, samples, generator=torch.Generator().manual_seed(seed))


def test_file_has_its_record(paper):
    stem = paper.__name__.rsplit(".", 1)[1]
    assert paper.CARD.stem == stem
    assert paper.DEVIATIONS
    assert dataclasses.fields(paper.Config)
    known = {f.name for f in dataclasses.fields(Schedule)}
    assert {"epochs", "batch_size", "lr", "weight_decay"} <= set(paper.SCHEDULES["paper"])
    assert all(set(changes) <= known and name in PROFILES for name, changes in paper.SCHEDULES.items())
    with pytest.raises(dataclasses.FrozenInstanceError):
        paper.Config().width = 1
    root = project_root()
    for field in ("method", "loss", "ecg_encoder", "text_encoder"):
        for path in getattr(paper.CARD, field).split(", "):
            assert (root / path).is_file(), f"{stem}: CARD.{field} names {path}"
    for notebook in paper.CARD.notebooks:
        assert (root / "notebooks" / f"{notebook}.ipynb").is_file()
    for deviation in paper.DEVIATIONS:
        known = {f.name for f in dataclasses.fields(paper.Config)} | {"", "profile"}
        assert deviation.switch in known, f"{deviation.where}: no argument '{deviation.switch}'"


def test_shapes_and_unit_free_contract(model):
    model.eval()
    with torch.inference_mode():
        vectors, words = model.encode_ecg(ecg()), model.encode_text(REPORTS)
        assert vectors.shape[0] == words.shape[0] == 4
        assert vectors.shape[1] == words.shape[1]
        assert torch.equal(words[0], words[2])
        scores = model.score(ecg(), [["normal ecg"], ["left bundle branch block", "lbbb"]])
        assert scores.shape == (4, 2)
        assert torch.isfinite(scores).all()
        three = model.encode_ecg(ecg(leads=3), leads=("I", "II", "V5"))
        assert three.shape == vectors.shape
        assert model.encode_ecg(ecg(samples=5000)).shape == vectors.shape


def test_scores_do_not_depend_on_the_batch(model):
    model.eval()
    with torch.inference_mode():
        prompts = [["normal ecg"], ["a much longer prompt about complete left bundle branch block"]]
        together = model.score(ecg(), prompts)
        alone = torch.cat([model.score(row[None], prompts) for row in ecg()])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(model.score(ecg(), prompts[:1]), together[:, :1], atol=1e-5, rtol=1e-4)


def test_leads_go_by_name(model):
    model.eval()
    with torch.inference_mode():
        x = ecg(leads=2)
        forward = model.encode_ecg(x, leads=("II", "V1"))
        torch.testing.assert_close(model.encode_ecg(x.flip(1), leads=("V1", "II")), forward)
    with pytest.raises(ValueError, match="need"):
        model.encode_ecg(x)


def test_losses_are_named_scalars_with_weights_and_gradients(model):
    model.prepare(REPORTS)
    model.train()
    model.zero_grad()
    terms = model.losses({"ecg": ecg(), "report": REPORTS})
    assert all(value.ndim == 0 and torch.isfinite(value) for value in terms.values())
    weighted_total(terms, model.loss_weights).backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # a bias before a normalisation or before a softmax over keys has no gradient by construction
    assert [name for name in missing if "weight" in name and "norm" not in name] == []


def test_checkpoint_round_trip(model, paper, tmp_path):
    folder = save_pretrained(model, tmp_path / "model", note="round trip")
    again = from_pretrained(folder, paper=model.stem)
    assert read_config(folder)["note"] == "round trip"
    assert all(torch.equal(v, again.state_dict()[k]) for k, v in model.state_dict().items())
    model.eval()
    with torch.inference_mode():
        torch.testing.assert_close(again.encode_ecg(ecg()), model.encode_ecg(ecg()), atol=0, rtol=0)
    with pytest.raises(CheckpointError, match=f"checkpoint of '{model.stem}', not of 'other'"):
        from_pretrained(folder, paper="other")


def test_checkpoint_is_strict(model, tmp_path):
    folder = save_pretrained(model, tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        from_pretrained(tmp_path)
    config = folder / "config.json"
    text = config.read_text()
    config.write_text(text.replace('"format": 1', '"format": 99'))
    with pytest.raises(CheckpointError, match="format 99"):
        from_pretrained(folder)
    config.write_text(text.replace('"width"', '"widht"'))
    with pytest.raises(CheckpointError, match="differ in"):
        from_pretrained(folder)
    config.write_text(text)
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-100])
    with pytest.raises(CheckpointError, match="damaged"):
        from_pretrained(folder)
    weights.write_bytes(whole)
    with pytest.raises(CheckpointError, match="does not fit the model"):
        load_weights(torch.nn.Linear(2, 2), weights)
    weights.unlink()
    with pytest.raises(CheckpointError, match="is missing"):
        from_pretrained(folder)


def test_unknown_paper_is_refused():
    with pytest.raises(ParameterError, match="no paper 'derri'; there are: "):
        papers.load("derri")
