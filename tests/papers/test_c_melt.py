"""C-MELT: the composition, its switches, negatives that survive masking, and a planted truth."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ecglib.losses import masked_ecg, masked_language, matching, pairwise_sigmoid
from ecglib.papers import c_melt
from ecglib.text import WHOLE, TextEncoder

REPORTS = [
    "sinus rhythm with first degree block",
    "atrial fibrillation, rapid response",
    "left bundle branch block",
    "old inferior infarct, lateral ischemia",
    "normal tracing of a young man",
    "ventricular pacing, no further analysis",
]


@pytest.fixture(scope="module")
def tower():
    return TextEncoder("minilm")


@pytest.fixture
def small(tower):
    def make(**changes):
        tiny = {"width": 32, "heads": 4, "layers": 2, "conv_widths": (16, 32), "decoder_width": 16, "decoder_heads": 2}
        printed = {"decoder_depth": 1, "fusion_depth": 1, "contrast": "masked", "siglep": "dot"}
        torch.manual_seed(0)
        return c_melt.build(c_melt.demo_config(**(tiny | printed | changes)), tower)

    return make


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": torch.randn(n, 12, 200, generator=generator), "report": REPORTS[:n]}


def seeded(model, seed=1, n=6):
    torch.manual_seed(seed)
    return model.losses(batch(n))


def test_paper_values():
    """Sections 3 and 4.1.1; the paper prints no parameter counts. The tower is Flan-T5-base's encoder, which learns."""
    config = c_melt.paper_config()
    assert (config.width, config.layers, config.decoder_width, config.negative_pool) == (768, 8, 384, 64)
    assert (config.replaced, config.negatives, config.text_encoder) == (0.5, "farthest", "flan-t5-base")
    schedule = c_melt.SCHEDULES["paper"]
    steps = schedule["epochs"] * (779_891 // schedule["batch_size"])
    assert abs(steps - 300_000) < 0.01 * 300_000
    model = c_melt.build(
        c_melt.paper_config(text_encoder="random:flan-t5-base", negatives_encoder="minilm"),
    )
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.named_children()}
    assert sizes["ecg_encoder"] == 57_893_888
    assert sizes["text_encoder"] == 109_628_544
    assert sizes["mlm_head"] == 769 * 32_128
    assert sizes["negatives_encoder"] == 0  # frozen
    assert model.g_x[-1].out_features == model.g_t[-1].out_features == 768
    assert model.mem_head.narrow.out_features == 384


@pytest.mark.parametrize("name", ["bert", "deberta", "flan-t5-small"])
def test_text_encoders_of_table_7(name):
    """Any tower, whole and learning, random weights of its shape: losses and gradients."""
    tiny = {"width": 32, "heads": 4, "layers": 1, "conv_widths": (16, 32), "decoder_width": 16, "decoder_heads": 2}
    model = c_melt.build(
        c_melt.paper_config(**tiny, text_encoder=f"random:{name}", negatives_encoder="minilm", fusion_depth=1)
    )
    terms = model.losses(batch(2))
    torch.stack(list(terms.values())).sum().backward()
    assert model.text_encoder.trainable_layers == WHOLE
    assert model.text_encoder.token_embeddings.grad.abs().sum() > 0


@pytest.mark.parametrize("layers", [1, 4, 8])
def test_layers_of_table_8(small, layers):
    model = small(layers=layers)
    assert len(model.ecg_encoder.blocks.layers) == layers
    assert all(torch.isfinite(value) for value in model.losses(batch()).values())


# --- negatives ----------------------------------------------------------------------------------------------------


def test_negatives_survive_masking(small):
    """What is masked, fused and matched is the replaced report, and it is labelled as such (lost in released code)."""
    model = small(negatives="farthest", replaced=0.5)
    model.prepare(REPORTS)
    seen = {}
    masked, replace = model.masked_texts, model.negatives.replace
    model.masked_texts = lambda texts: seen.setdefault("masked", (texts, masked(texts)))[1]
    model.negatives.replace = lambda texts, part: seen.setdefault("replaced", replace(texts, part))
    seeded(model)
    texts, matched = seen["replaced"]
    assert matched.sum() == 3
    assert [text == report for text, report in zip(texts, REPORTS, strict=True)] == matched.tolist()
    encoded, (_, real, where, words) = seen["masked"]
    assert encoded == texts
    for row, text in enumerate(texts):
        assert words[row][real[row]].tolist() == model.text_encoder.tokenize([text])[0].tolist()
        assert where[row].any()


def test_matching_learns_from_negatives_alone(small):
    """An ECG that says nothing: only the report can tell a negative, here the one report that is never matched."""
    model = small(terms=("etm",), lead_mask=0.0)
    model.negatives.replace = lambda texts, part: (
        ["ventricular pacing" if row % 2 else text for row, text in enumerate(texts)],
        torch.tensor([row % 2 == 0 for row in range(len(texts))]),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(40):
        loss = seeded(model, step)["etm"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


@pytest.mark.parametrize("how", ["farthest", "nearest", "random", "none"])
def test_negatives_can_be_chosen(small, how):
    """Table 6 without N3S draws at random; without any, every report stays and matching has nothing to tell."""
    model = small(negatives=how, terms=("mlm", "siglep") if how == "none" else c_melt.TERMS)
    model.prepare(REPORTS)
    assert all(torch.isfinite(value) for value in seeded(model).values())
    if how == "none":
        assert model.negatives.texts == []


def test_farthest_is_farther_than_nearest(small):
    vectors = None
    similarity = {}
    for how in ("farthest", "nearest"):
        model = small(negatives=how, negative_pool=2)
        model.prepare(REPORTS)
        vectors = F.normalize(model.text_encoder.pool(*model.text_encoder(REPORTS)), dim=-1)
        drawn = model.negatives.draw(REPORTS)
        similarity[how] = np.mean([(vectors[i] @ vectors[REPORTS.index(t)]).item() for i, t in enumerate(drawn)])
    assert similarity["farthest"] < similarity["nearest"] - 0.1


def test_reports_that_were_not_prepared_have_losses_too(small):
    model = small()
    assert all(torch.isfinite(value) for value in seeded(model).values())  # the batch is its own corpus
    model.prepare(REPORTS[:3])
    assert all(torch.isfinite(value) for value in seeded(model).values())
    model.prepare(REPORTS)
    assert model.negatives.texts == sorted(REPORTS)


def test_a_step_follows_from_torchs_random_state(small):
    model = small()
    model.prepare(REPORTS)
    first, again, other = seeded(model, 1), seeded(model, 1), seeded(model, 2)
    assert all(torch.equal(first[term], again[term]) for term in first)
    assert any(not torch.equal(first[term], other[term]) for term in first)


def test_frozen_text_is_encoded_once(small, monkeypatch):
    model = small(contrast="whole", maskings=2)
    model.prepare(REPORTS)
    monkeypatch.setattr(model.text_encoder, "_compute", lambda sequences: pytest.fail("frozen text was encoded again"))
    for step in range(8):
        seeded(model, step)


# --- terms --------------------------------------------------------------------------------------------------------


def test_terms_and_weights(small):
    model = small()
    assert tuple(seeded(model)) == c_melt.TERMS
    assert set(model.loss_weights.values()) == {1.0}


@pytest.mark.parametrize("left_out", c_melt.TERMS)
def test_each_term_can_be_left_out(small, left_out):
    """The other terms keep their values, and a head that only served the term gets no gradient (table 6: siglep)."""
    kept = tuple(term for term in c_melt.TERMS if term != left_out)
    expected, part = seeded(small()), small(terms=kept)
    found = seeded(part)
    assert tuple(found) == kept
    for term in kept:
        torch.testing.assert_close(found[term], expected[term])
    torch.stack(list(found.values())).sum().backward()
    heads = {"mlm": part.mlm_head, "mem": part.mem_head, "etm": part.etm_head, "siglep": part.g_x}
    for term, head in heads.items():
        assert all((p.grad is None) == (term == left_out) for p in head.parameters())


def test_terms_are_the_equations(small):
    """With nothing hidden and nothing replaced, each term recomputed from the parts, equation by equation."""
    model = small(lead_mask=0.0, ecg_mask=0.0, text_mask=0.25, replaced=0.0, maskings=1, mem_over="all").eval()
    terms, b = seeded(model), batch()
    centred = b["ecg"] - b["ecg"].mean(dim=-1, keepdim=True)
    h_x = model.ecg_encoder(centred)
    h_t, real, where, words = model.masked_texts(b["report"])
    f_x, f_t = model.fusion(h_x, h_t, real)
    torch.testing.assert_close(terms["mlm"], masked_language(model.mlm_head(f_t[where]), words[where]))
    everything = torch.arange(50).expand(6, 50)
    target = model.ecg_encoder.patches(centred / centred.std(dim=-1, keepdim=True))
    torch.testing.assert_close(terms["mem"], masked_ecg(model.mem_head(f_x, everything, 50), target))
    length = real.sum(dim=1, keepdim=True)
    pooled = torch.cat([f_x.mean(dim=1), (f_t * real.unsqueeze(-1)).sum(dim=1) / length], dim=1)
    torch.testing.assert_close(terms["etm"], matching(model.etm_head(pooled)[:, 0], torch.ones(6)))
    x = model.g_x(h_x.mean(dim=1))
    t = model.g_t((h_t * real.unsqueeze(-1)).sum(dim=1) / length)
    torch.testing.assert_close(terms["siglep"], pairwise_sigmoid(x @ t.T))


def test_start_of_heads_that_know_nothing(small):
    """Zero heads: log V words, deviation 1, two answers, B pairs at log 2 each."""
    model = small(per_record=("siglep",))
    with torch.no_grad():
        for head in (model.mlm_head, model.mem_head.predict, model.etm_head, model.g_x[-1]):
            head.weight.zero_()
            head.bias.zero_()
    terms = seeded(model)
    assert terms["mlm"].item() == pytest.approx(math.log(model.text_encoder.vocabulary), rel=1e-5)
    assert terms["mem"].item() == pytest.approx(1.0, abs=0.05)  # the seen patches are left out
    assert terms["etm"].item() == pytest.approx(math.log(2), rel=1e-5)
    assert terms["siglep"].item() == pytest.approx(6 * math.log(2), rel=1e-5)


def test_sums_per_record_are_means_times_their_number(small):
    """Equations 1, 2 and 4 as printed against the released means."""
    means, sums = seeded(small(per_record=())), seeded(small(per_record=("mlm", "mem", "siglep")))
    assert sums["siglep"].item() == pytest.approx(6 * means["siglep"].item(), rel=1e-5)
    hidden = 50 - max(1, round(0.25 * 50))
    assert sums["mem"].item() == pytest.approx(12 * 4 * hidden * means["mem"].item(), rel=1e-5)
    assert sums["mlm"].item() / means["mlm"].item() == pytest.approx(
        round(sums["mlm"].item() / means["mlm"].item() * 6) / 6
    )
    assert sums["mlm"] > means["mlm"]
    assert sums["etm"].item() == means["etm"].item()


@pytest.mark.parametrize("replaced_pair", ["negative", "left-out"])
def test_replaced_pairs_in_equation_4(small, replaced_pair):
    """A naive double loop over pairs; a pair that is left out moves nothing."""
    model = small(replaced_pair=replaced_pair)
    x, t = torch.randn(3, 4, requires_grad=True), torch.randn(3, 4)
    matched = torch.tensor([True, False, True])
    expected = 0.0
    for i in range(3):
        for j in range(3):
            sign = -1.0 if i != j else 1.0 if matched[i] else -1.0 if replaced_pair == "negative" else 0.0
            expected -= math.log(1 / (1 + math.exp(-sign * (x[i] @ t[j]).item()))) / 3
    loss = model.siglep(x, t, matched)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    others = sum(torch.sigmoid(x[1] @ t[j]).item() * t[j] for j in (0, 2)) / 3
    own = torch.sigmoid(x[1] @ t[1]).item() * t[1] / 3 if replaced_pair == "negative" else 0.0
    torch.testing.assert_close(x.grad[1], others + own)


def test_siglip_scale_and_bias(small):
    model = small(siglep="siglip")
    x, t = torch.randn(4, 8), torch.randn(4, 8)
    logits = 10 * F.normalize(x, dim=-1) @ F.normalize(t, dim=-1).T - 10
    torch.testing.assert_close(model.siglep(x, t, torch.ones(4, dtype=torch.bool)), pairwise_sigmoid(logits))
    seeded(model)["siglep"].backward()
    assert model.pair_logits.t.grad.abs() > 0
    assert model.pair_logits.b.grad.abs() > 0
    assert small().pair_logits is None


def test_whole_inputs_for_the_contrast(small):
    """Then the Siglep term is that of the encodings in use, whatever is masked for the other terms."""
    model = small(contrast="whole", lead_mask=0.0, replaced=0.0).eval()
    x = model.g_x(model.ecg_encoder(batch()["ecg"] - batch()["ecg"].mean(dim=-1, keepdim=True)).mean(dim=1))
    expected = pairwise_sigmoid(x @ model.embed_text(REPORTS).T)
    torch.testing.assert_close(seeded(model, 1)["siglep"], expected)
    torch.testing.assert_close(seeded(model, 2)["siglep"], expected)
    torch.testing.assert_close(model.encode_ecg(batch()["ecg"]), F.normalize(x, dim=-1))


def test_leads_are_masked_in_training_only(small):
    model = small(lead_mask=0.5).eval()
    torch.testing.assert_close(model.encode_ecg(batch()["ecg"]), model.encode_ecg(batch()["ecg"]))
    seen = []
    embed = model.ecg_encoder.embed
    model.ecg_encoder.embed = lambda ecg: seen.append(ecg) or embed(ecg)
    for step in range(20):
        seeded(model, step)
    gone = torch.stack([(ecg == 0).all(dim=-1) for ecg in seen]).float()
    assert gone.mean().item() == pytest.approx(0.5, abs=0.05)
    assert 0 < gone.mean(dim=(0, 1)).min() < gone.mean(dim=(0, 1)).max() < 1


def test_flat_leads_and_empty_words_are_no_accident(small):
    model = small()
    ecg = torch.zeros(2, 12, 200)
    terms = model.losses({"ecg": ecg, "report": ["", "sinus"]})
    assert all(torch.isfinite(value) for value in terms.values())


def test_frozen_parts_do_not_move_and_learning_ones_do(small):
    model = small()
    tower = {k: v.clone() for k, v in model.text_encoder._frozen[1].state_dict().items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-2)
    torch.stack(list(seeded(model).values())).sum().backward()
    optimizer.step()
    assert all(torch.equal(tower[k], v) for k, v in model.text_encoder._frozen[1].state_dict().items())
    moved = {k for k, v in model.state_dict().items() if not torch.equal(before[k], v)}
    assert {"mlm_head.weight", "mem_head.mask_token", "etm_head.weight", "g_x.1.weight", "g_t.1.weight"} <= moved
    assert {"ecg_encoder.project.weight", "fusion.modality_x", "fusion.modality_t"} <= moved


def test_demo_size_and_shared_tower():
    model = c_melt.demo_model()
    assert sum(p.numel() for p in model.ecg_encoder.parameters()) == 932_672
    assert model.negatives_encoder is model.text_encoder
    with_layer = c_melt.demo_model(trainable_text_layers=1)
    assert with_layer.negatives_encoder is not with_layer.text_encoder
    assert with_layer.negatives_encoder.trainable_layers == 0


def test_random_weights_keep_the_shape_of_the_negatives_encoder():
    """Beside a Flan-T5 base of random weights stands a small one of random weights, as section 3.2 has it."""
    config = c_melt.demo_config(text_encoder="random:flan-t5-base", width=32, layers=1, decoder_depth=1)
    model = c_melt.build(config, TextEncoder("random:flan-t5-base"))
    assert (model.negatives_encoder.name, model.negatives_encoder.width) == ("random:flan-t5-small", 512)


def test_planted_truth_is_found(small):
    """Four territories of leads, four reports: after some steps each new ECG is closest to its own report."""
    generator = torch.Generator().manual_seed(0)
    wave = 2 * torch.sin(10 * math.pi * torch.arange(200) / 100)

    def ecgs(kinds):
        ecg = 0.5 * torch.randn(len(kinds), 12, 200, generator=generator)
        for row, kind in enumerate(kinds):
            ecg[row, 3 * kind : 3 * kind + 3] += wave
        return ecg

    model = small(contrast="whole", siglep="siglip")  # as in the demo; as printed, 250 steps do not always suffice
    model.prepare(REPORTS[:4])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    history = []
    for step in range(250):
        kinds = 2 * torch.randperm(4, generator=generator).tolist()
        torch.manual_seed(step)
        terms = model.losses({"ecg": ecgs(kinds), "report": [REPORTS[k] for k in kinds]})
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
        history.append({name: value.item() for name, value in terms.items()})
    model.eval()
    kinds = [0, 1, 2, 3] * 8
    with torch.inference_mode():
        found = model.score(ecgs(kinds), [[REPORTS[k]] for k in range(4)]).argmax(dim=1)
    assert (found == torch.tensor(kinds)).float().mean() >= 0.9
    for term in c_melt.TERMS:
        first, last = (np.mean([row[term] for row in part]) for part in (history[:10], history[-10:]))
        assert last < first, term


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"negatives": "far"}, "negatives is one of farthest, nearest, random, none"),
        ({"siglep": "dots"}, "siglep is one of dot, siglip"),
        ({"contrast": "both"}, "contrast is one of"),
        ({"terms": ("mlm", "cma")}, "terms are some of mlm"),
        ({"terms": ()}, "each once"),
        ({"terms": ("mlm", "mlm")}, "each once"),
        ({"per_record": ("mlm", "all")}, "per_record are some of"),
        ({"negatives": "none"}, "without negatives every pair matches"),
        ({"ecg_mask": 1.0}, "ecg_mask lies in"),
        ({"replaced": -0.1}, "replaced lies in"),
        ({"maskings": 0}, "need maskings of 1 or more"),
        ({"trainable_text_layers": WHOLE}, "a tower that learns whole needs 0"),
        ({"negative_pool": 0}, "at least one report"),
        ({"layers": 0}, "layers goes from 1 to 48, not 0"),
        ({"heads": 5}, "width must be a multiple of heads, not 32 of 5"),
        ({"decoder_heads": 0}, "decoder_width must be a multiple of decoder_heads, not 16 of 0"),
    ],
)
def test_impossible_values_are_refused(small, changes, message):
    with pytest.raises(ValueError, match=message):
        small(**changes)
