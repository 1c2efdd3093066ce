"""ESI: sizes, losses, a decoder that cannot cheat, and a planted truth."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib.chapters.captions import own_and_foreign
from ecglib.data.store import write_store
from ecglib.losses import captioning, info_nce
from ecglib.papers import esi
from ecglib.train import TrainingData

ENCODERS = dict(esi.ECG_ENCODERS)  # before a fixture takes a smaller demo
REPORTS = ["sinus rhythm", "atrial fibrillation with rapid response", "left bundle branch block", "inferior infarct"]


@pytest.fixture(autouse=True)
def small_encoder(monkeypatch):
    """A ConvNeXt of a few thousand weights in the place of the demo's; everything else is the demo's."""
    monkeypatch.setitem(esi.ECG_ENCODERS, "convnext-demo", lambda: esi.ConvNext1d((1, 1, 1, 1), (8, 8, 16, 16)))


def small(**changes):
    torch.manual_seed(0)
    return esi.demo_model(**({"width": 32, "decoder_depth": 1} | changes))


def batch(n=4, seed=0, samples=400):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": torch.randn(n, 12, samples, generator=generator), "report": REPORTS[:n]}


def total(model, terms):
    return sum(model.loss_weights[name] * value for name, value in terms.items())


def test_paper_values():
    config = esi.paper_config()
    assert (config.ecg_encoder, config.text_encoder) == ("convnext-base", "biolinkbert")
    assert config.trainable_text_layers == -1
    assert (config.contrastive_weight, config.caption_weight, config.caption_vocabulary) == (1.0, 1.0, "all")
    assert esi.SCHEDULES["paper"]["batch_size"] == 192


@pytest.mark.parametrize(
    ("name", "printed_millions", "within"),
    [
        ("vit-base", 84.92, 0.01),
        ("xresnet101", 1.80, 0.005),
        ("convnext-tiny", 26.81, 0.001),
        ("convnext-base", 85.56, 0.001),
        ("convnext-demo", 0.97, 0.15),  # the demo's own budget, not the paper's
        ("vit-demo", 0.97, 0.15),
    ],
)
def test_signal_encoders_have_the_sizes_of_table_5b(name, printed_millions, within):
    encoder = ENCODERS[name]()
    assert sum(p.numel() for p in encoder.parameters()) / 1e6 == pytest.approx(printed_millions, rel=within)


def test_paper_size_runs_on_500_hz_ecgs_and_the_whole_tower_learns():
    """ESI-tiny with a tower of BioLinkBERT's shape: 108 M weights, all of which get a gradient."""
    torch.manual_seed(0)
    model = esi.paper_model(ecg_encoder="convnext-tiny", text_encoder="random:biolinkbert", decoder_depth=1)
    tower = sum(p.numel() for p in model.text_encoder.parameters())
    assert tower == pytest.approx(108e6, rel=0.01)
    assert model.ecg_tokens(torch.zeros(1, 12, 5000)).shape == (1, 156, 768)
    total(model, model.losses({"ecg": torch.randn(2, 12, 5000), "report": REPORTS[:2]})).backward()
    weights = [p for name, p in model.text_encoder.named_parameters() if "weight" in name]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in weights)


def test_terms_are_the_equations():
    """L_Con divides both directions by N, so it is twice their mean; L_Cap recomputed from its logits."""
    model = small(dropout=0.0).eval()
    b = batch()
    terms = model.losses(b)
    assert tuple(terms) == ("contrastive", "caption")
    s, t = model.encode_ecg(b["ecg"]), model.encode_text(b["report"])
    logits = (s @ t.T / 0.07).double()
    printed = (
        -sum(logits[i, i] - logits[i].logsumexp(0) + logits[i, i] - logits[:, i].logsumexp(0) for i in range(4)) / 4
    )
    assert terms["contrastive"].item() == pytest.approx(printed.item(), rel=1e-5)
    torch.testing.assert_close(terms["contrastive"], 2 * info_nce(s, t, 0.07))
    torch.testing.assert_close(
        terms["caption"], captioning(*model.caption_logits(model.ecg_tokens(b["ecg"]), REPORTS)[:2])
    )


def test_caption_mean_per_text_is_the_printed_sum():
    by_token, by_text = small(dropout=0.0), small(dropout=0.0, caption_mean="text")
    words = sum(len(ids) - 1 for ids in by_token.text_encoder.tokenize(REPORTS))
    expected = by_token.losses(batch())["caption"] * words / 4
    torch.testing.assert_close(by_text.losses(batch())["caption"], expected)


def test_an_untrained_model_knows_nothing():
    """Flat similarities: L_Con = 2 log B. No opinion about words: L_Cap near log V."""
    model = small(temperature=1e6)
    model.prepare(REPORTS)
    terms = model.losses(batch())
    assert terms["contrastive"].item() == pytest.approx(2 * math.log(4), abs=1e-3)
    assert terms["caption"].item() == pytest.approx(math.log(len(model.vocabulary)), abs=0.3)
    whole = small(caption_vocabulary="all").losses(batch())["caption"].item()
    assert whole == pytest.approx(math.log(30_522), abs=0.3)


def spread(model, tokens, texts):
    """log P(t_i | ...) of every word of one text, whatever the vocabulary: (N,)."""
    logits, words, _ = model.caption_logits(tokens, texts)
    return logits.log_softmax(-1)[torch.arange(len(words)), words]


def test_no_word_is_foretold_from_itself_or_later_ones():
    """One word of a text is replaced: predictions up to it keep every bit of their distribution, the next one moves."""
    model = small(caption_vocabulary="all").eval()
    ids = model.text_encoder.tokenize(["sinus rhythm with frequent premature atrial complexes and low voltage"])[0]
    tokens = model.ecg_tokens(batch(1)["ecg"])

    def distributions(sequence):
        model.text_encoder._ids["text"] = sequence
        return model.caption_logits(tokens, ["text"])[0].log_softmax(-1)

    before = distributions(ids)
    assert len(before) == len(ids) - 1  # from the first word behind [CLS] to [SEP]
    for j in range(1, len(ids) - 1):
        other = ids.copy()
        other[j] = 2003
        after = distributions(other)
        torch.testing.assert_close(after[:j], before[:j], atol=1e-5, rtol=1e-5)  # words 1 to j
        assert (after[j:] - before[j:]).abs().amax(dim=1).min() > 1e-4  # every later word


def test_captions_depend_on_the_order_and_content_of_ecg_tokens():
    model = small().eval()
    tokens = model.ecg_tokens(batch(1)["ecg"]).detach()
    before = spread(model, tokens, REPORTS[1:2])
    for other in (tokens.flip(1), tokens + torch.randn(1, 1, 16), tokens.mean(1, keepdim=True).expand_as(tokens)):
        assert (spread(model, other, REPORTS[1:2]) - before).abs().max() > 1e-4


def test_padding_and_companions_do_not_change_a_caption():
    model = small().eval()
    model.prepare(REPORTS)
    tokens = model.ecg_tokens(batch()["ecg"])
    together = spread(model, tokens, REPORTS)
    alone = torch.cat([spread(model, tokens[i : i + 1], REPORTS[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


def test_vocabulary_is_what_occurs_and_grows():
    model = small()
    model.prepare(REPORTS[:2])
    words = {int(i) for ids in model.text_encoder.tokenize(REPORTS[:2]) for i in ids}
    assert set(model.vocabulary.tolist()) == words
    model.prepare(REPORTS)
    assert words < set(model.vocabulary.tolist())
    kept = model.vocabulary
    assert torch.isfinite(model.losses(batch() | {"report": ["zebra crossing ahead"] * 4})["caption"])
    assert np.array_equal(model.vocabulary, kept)  # a batch of new words leaves the training's vocabulary alone


def test_a_seen_vocabulary_gives_the_whole_one_s_ranking():
    """The words left out only drop out of the sum: differences of logits stay."""
    seen, whole = small(dropout=0.0).eval(), small(dropout=0.0, caption_vocabulary="all").eval()
    whole.load_state_dict(seen.state_dict())
    seen.prepare(REPORTS)
    tokens = seen.ecg_tokens(batch()["ecg"])
    part, all_of_them = seen.caption_logits(tokens, REPORTS)[0], whole.caption_logits(tokens, REPORTS)[0]
    torch.testing.assert_close(part, all_of_them[:, seen.vocabulary], atol=1e-5, rtol=1e-4)


def test_long_texts_are_captioned_to_their_limit():
    model = small(caption_tokens=3)
    logits, words, owner = model.caption_logits(model.ecg_tokens(batch(2)["ecg"]), REPORTS[:2])
    ids = model.text_encoder.tokenize(REPORTS[:2])
    assert owner.tolist() == [row for row in range(2) for _ in range(min(3, len(ids[row]) - 1))]
    assert len(words) == len(logits) == len(owner)


@pytest.mark.parametrize("kept", esi.TERMS)
def test_each_term_can_be_left_out(kept):
    """Table 5a: the other keeps its value, and parts that only served the term left out get no gradient."""
    whole, part = small(dropout=0.0), small(dropout=0.0, terms=(kept,))
    found = part.losses(batch())
    assert tuple(found) == (kept,) == tuple(part.loss_weights)
    torch.testing.assert_close(found[kept], whole.losses(batch())[kept])
    found[kept].backward()
    untouched = (part.decoder, part.see, part.word) if kept == "contrastive" else (part.project_s, part.project_t)
    assert all(p.grad is None for module in untouched for p in module.parameters())
    assert all(p.grad is not None for p in part.ecg_encoder.parameters())


def test_weights_are_lambda():
    assert small(caption_weight=2.5).loss_weights == {"contrastive": 1.0, "caption": 2.5}


def test_temperature_learns_or_stays_and_has_an_end():
    model, fixed = small(), small(temperature_learns=False)
    assert model.temperature.item() == pytest.approx(0.07) == fixed.temperature.item()
    model.losses(batch())["contrastive"].backward()
    assert model.log_scale.grad.abs() > 0
    assert not fixed.log_scale.requires_grad
    with torch.no_grad():
        model.log_scale.fill_(10.0)
    assert model.temperature.item() == pytest.approx(1 / esi.MAX_SCALE)


def test_same_text_is_encoded_once_and_alike():
    model = small()
    vectors = model.text_vectors(["sinus rhythm", "pacing", "sinus rhythm"])
    assert torch.equal(vectors[0], vectors[2])
    assert not torch.allclose(vectors[0], vectors[1])


def test_a_text_read_by_sentences_is_their_mean():
    model, whole = small(), small(text_reading="whole")
    whole.load_state_dict(model.state_dict())
    first, second, both = model.text_vectors(["sinus rhythm", "pacing", "sinus rhythm. pacing"])
    torch.testing.assert_close(both, (first + second) / 2)
    torch.testing.assert_close(whole.text_vectors(["sinus rhythm"])[0], first)
    assert not torch.allclose(whole.text_vectors(["sinus rhythm. pacing"])[0], both, atol=1e-4)


def test_frozen_parts_do_not_move_and_learning_ones_do():
    model = small()
    tower = {k: v.clone() for k, v in model.text_encoder._frozen[1].state_dict().items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert not any(key.startswith("text_encoder") for key in before)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    total(model, model.losses(batch())).backward()
    optimizer.step()
    assert all(torch.equal(tower[k], v) for k, v in model.text_encoder._frozen[1].state_dict().items())
    still = {k for k, v in model.state_dict().items() if torch.equal(before[k], v)}
    assert not still, still


def planted(kinds, generator):
    t = torch.arange(400) / 100
    waves = torch.stack([torch.sin(2 * math.pi * (1 + 2 * k) * t) for k in kinds])
    return waves[:, None] + 0.5 * torch.randn(len(kinds), 12, 400, generator=generator)


@pytest.mark.parametrize("terms", [esi.TERMS, ("caption",)])
def test_planted_truth_is_found(terms):
    """Four waveforms, four texts: new ECGs find their own by cosine, and by how probable the decoder holds each."""
    generator = torch.Generator().manual_seed(0)
    model = small(terms=terms)
    model.prepare(REPORTS)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        order = torch.randperm(4, generator=generator).tolist() * 2
        terms = model.losses({"ecg": planted(order, generator), "report": [REPORTS[k] for k in order]})
        optimizer.zero_grad()
        total(model, terms).backward()
        optimizer.step()
    model.eval()
    kinds = torch.tensor([0, 1, 2, 3] * 8)
    with torch.inference_mode():
        ecg = planted(kinds.tolist(), generator)
        tokens = model.ecg_tokens(ecg)
        told = torch.stack(  # the mean log P of a word of each text, for each ECG
            [torch.stack([spread(model, row[None], [text]).mean() for row in tokens]) for text in REPORTS], dim=1
        )
        assert (told.argmax(1) == kinds).float().mean() >= 0.9
        if "contrastive" in model.config.terms:
            scores = model.score(ecg, [[text] for text in REPORTS])
            assert (scores.argmax(1) == kinds).float().mean() >= 0.9


def test_a_caption_is_likelier_from_its_own_ecg_than_from_anothers(tmp_path):
    """The check of the pre-training chapter: recounted word by word, and telling after training."""
    generator = torch.Generator().manual_seed(0)
    model = small(terms=("caption",), dropout=0.0)
    model.prepare(REPORTS)
    kinds = [0, 1, 2, 3] * 5
    signals = planted(kinds, generator)
    table = pd.DataFrame({"id": [f"r{i}" for i in range(20)]})
    data = TrainingData(write_store(tmp_path / "s", 100, signals.numpy(), table), [REPORTS[kind] for kind in kinds])
    said = SimpleNamespace(model=model, name="esi", kind="simulated")
    before = own_and_foreign(said, data, "mimic-iv-ecg")
    tokens = model.ecg_tokens(data.batch(range(20), torch.device("cpu"))["ecg"])
    expected = -spread(model, tokens, data.reports).mean().item()
    assert before[0]["value"] == pytest.approx(expected, rel=1e-5)
    assert before[0]["ci_low"] < expected < before[0]["ci_high"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        model.train().losses(data.batch(range(20), torch.device("cpu")))["caption"].backward()
        optimizer.step()
    own, foreign = own_and_foreign(said, data, "mimic-iv-ecg")
    assert own["value"] < 0.5 * before[0]["value"]
    assert own["ci_high"] < foreign["value"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ecg_encoder": "convnext"}, "ecg_encoder is one of convnext-base"),
        ({"caption_mean": "sum"}, "caption_mean is one of token, text"),
        ({"caption_vocabulary": "some"}, "caption_vocabulary is one of all, seen"),
        ({"terms": ("contrastive", "cap")}, "terms are some of contrastive, caption"),
        ({"terms": ()}, "each once"),
        ({"temperature": 0.0}, "temperature must be positive"),
        ({"caption_weight": float("nan")}, "caption_weight must be positive"),
        ({"caption_tokens": 0}, "caption_tokens must be at least 1"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
