"""K-MERL: the composition, its switches, subsets of leads, and planted truths."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from ecglib.checkpoint import from_pretrained, save_pretrained
from ecglib.encoders.inputs import place_leads
from ecglib.errors import ParameterError, SignalError
from ecglib.knowledge.entity_table import EntityTable, ReportLabels
from ecglib.losses import entity_bce, info_nce, one_way_nce
from ecglib.papers import k_merl
from ecglib.signals import LEADS

REPORTS = ["Sinus rhythm", "Atrial fibrillation", "Left bundle branch block", "Inferior infarct", "Normal ECG", "PVCs"]


def small(table=None, **changes):
    torch.manual_seed(0)
    less = {"query_width": 32, "width": 32, "query_layers": 2, "dropout": 0.0}
    return k_merl.build(k_merl.demo_config(**(less | changes)), entities=table)


def batch(n=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"ecg": torch.randn(n, 12, 1000, generator=generator), "report": REPORTS[:n]}


@pytest.fixture(scope="module")
def model():
    return small().eval()


def count(module):
    return sum(p.numel() for p in module.parameters())


# The paper's values


def test_paper_values():
    """Sections 3.2 to 4.1. The paper counts no parameters; the blocks are those of a ViT-tiny, 5.3 million."""
    c = k_merl.Config()
    assert (c.ecg_encoder, c.token_samples, c.record_samples // c.token_samples) == ("tiny", 100, 50)
    assert (c.min_masked_leads, c.segment_mask_ratio, c.temperature) == (9, 0.25, 0.07)
    assert (c.query_layers, c.query_heads, c.text_encoder) == (4, 4, "medcpt")
    assert k_merl.SCHEDULES["paper"] == {"epochs": 50, "batch_size": 4096, "lr": 2e-4, "weight_decay": 1e-5}
    model = k_merl.paper_model(text_encoder="minilm")
    assert count(model.ecg_encoder.blocks) == 5_338_368
    assert count(model.ecg_encoder) == 5_369_856
    with torch.no_grad():
        assert model.ecg_tokens(torch.zeros(1, 12, 5000)).shape == (1, 600, 192)


@pytest.mark.parametrize(("encoder", "millions"), [("small", 21.3), ("middle", 37.8), ("base", 85.1)])
def test_sizes_of_figure_8(encoder, millions):
    assert count(k_merl.paper_model(ecg_encoder=encoder, text_encoder="minilm").ecg_encoder.blocks) == pytest.approx(
        millions * 1e6, rel=2e-3
    )


def test_demo_has_the_common_budget():
    assert count(k_merl.demo_model().ecg_encoder) == pytest.approx(970_000, rel=0.15)


# Subsets of leads


def test_order_of_leads_does_not_matter(model):
    x, names = batch()["ecg"][:, :4], ("V3", "II", "aVR", "I")
    classes = model.encode_classes([["atrial fibrillation"], ["normal ECG"]])
    with torch.inference_mode():
        for turn in (torch.tensor([3, 1, 0, 2]), torch.tensor([1, 0, 3, 2])):
            turned = [names[i] for i in turn]
            assert torch.equal(model.encode_ecg(x[:, turn], turned), model.encode_ecg(x, names))
            assert torch.equal(model.score(x[:, turn], classes, turned), model.score(x, classes, names))


def test_absent_leads_have_no_effect_and_no_tokens(model):
    """Nothing stands in for an absent lead: its tokens are not there, and zeros in its place change the scores."""
    x, names = batch()["ecg"], ("I", "II", "V5")
    rows = [LEADS.index(name) for name in names]
    zero_filled = torch.zeros_like(x)
    zero_filled[:, rows] = x[:, rows]
    with torch.inference_mode():
        assert model.ecg_tokens(x[:, rows], names).shape[1] == 3 * 20
        alone = model.score(x[:, rows], [["atrial fibrillation"]], names)
        padded = model.score(zero_filled, [["atrial fibrillation"]])
    assert not torch.allclose(alone, padded, atol=1e-3)


@pytest.mark.parametrize("n", range(1, 13))
def test_any_number_of_leads(model, n):
    x = batch(2)["ecg"]
    with torch.inference_mode():
        scores = model.score(x[:, :n], [["normal ECG"]], LEADS[:n])
        torch.testing.assert_close(model.score(x, [["normal ECG"]], LEADS), model.score(x, [["normal ECG"]]))
    assert scores.shape == (2, 1)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize(
    ("leads", "message"),
    [
        ((), 'no leads given; write "all" or some of I,II'),
        (("I", "II", "I"), "lead I given twice"),
        (("I", "II", "V7"), "unknown lead 'V7'; the twelve leads are I, II"),
        (("I", "II"), "2 leads are named, the ECG has 3"),
    ],
)
def test_impossible_subsets_are_refused(model, leads, message):
    for call in (model.encode_ecg, lambda x, names: model.score(x, [["normal ECG"]], names)):
        with pytest.raises((SignalError, ValueError), match=message):
            call(batch()["ecg"][:, :3], leads)


# Masks


def groups(model, n=300, seed=0):
    torch.manual_seed(seed)
    seen = list(model.masks(n, model.ecg_encoder.segments(1000)))
    assert sorted(torch.cat([rows for rows, _, _ in seen]).tolist()) == list(range(n))  # every record once
    return seen


def test_only_what_is_visible_enters_the_encoder(model):
    """One masked batch: every group with its own leads, in their places, and no token more than kept."""
    given = []
    hook = model.ecg_encoder.register_forward_hook(lambda _, inputs, tokens: given.append((*inputs, tokens)))
    torch.manual_seed(3)
    b = batch()
    with torch.no_grad():
        model.losses(b)
    hook.remove()
    torch.manual_seed(3)
    placed = place_leads(b["ecg"])
    for (rows, leads, keep), (ecg, same, kept, tokens) in zip(model.masks(6, 20), given, strict=True):
        assert torch.equal(leads, same)
        assert torch.equal(keep, kept)
        assert all(torch.equal(ecg[i], placed[row, leads[i]]) for i, row in enumerate(rows))
        assert tokens.shape == (len(rows), 15 * leads.shape[1], 160)


def test_training_sees_one_to_three_leads_and_three_quarters_of_each(model):
    """Section 3.3: 9, 10 or 11 leads masked, each number as often, and of every visible lead 5 of 20 segments."""
    seen = groups(model, 1200)
    assert [leads.shape[1] for _, leads, _ in seen] == [1, 2, 3]
    for rows, leads, keep in seen:
        assert len(rows) == pytest.approx(400, abs=60)  # binomial, 3.7 standard deviations
        assert keep.shape == (len(rows), leads.shape[1] * 15)
        per_lead = torch.nn.functional.one_hot(keep // 20, leads.shape[1]).sum(dim=1)
        assert (per_lead == 15).all()
    counted = torch.cat([leads.flatten() for _, leads, _ in seen]).bincount(minlength=12)
    assert (counted - counted.float().mean()).abs().max() < 5 * counted.float().mean().sqrt()


@pytest.mark.parametrize(
    ("changes", "leads"),
    [
        ({"lead_masking": "fixed"}, [2]),
        ({"lead_masking": "none"}, [12]),
        ({"min_masked_leads": 11}, [1]),
        ({"min_masked_leads": 6}, [1, 2, 3, 4, 5, 6]),
    ],
)
def test_lead_masking_of_table_2d_and_figure_7(changes, leads):
    assert [given.shape[1] for _, given, _ in groups(small(**changes), 200)] == leads


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({"segment_masking": "none"}, 20),
        ({"segment_masking": "joint"}, 15),
        ({"segment_mask_ratio": 0.75}, 5),
        ({"token_samples": 25}, 30),
        ({"lead_tokens": False}, None),
    ],
)
def test_segment_masking_of_table_2d_and_figure_7(changes, kept):
    for _, leads, keep in groups(small(**changes), 60):
        assert keep.shape[1] == (15 if kept is None else kept * leads.shape[1])
        if changes.get("segment_masking") == "joint" and leads.shape[1] > 1:
            assert (torch.nn.functional.one_hot(keep // 20).sum(dim=1) != 15).any()


# Losses


def by_hand(model, b):
    """Both terms from the public parts, with no masking, in float64."""
    z_e = model.ecg_encoder(place_leads(b["ecg"]))
    logits = model.query_network(model.queries(model.entities.entities), z_e)
    pooled, words = model.project_e(z_e.mean(dim=1)), model.project_t(model.text_vectors(b["report"]))
    return {"query": entity_bce(logits, model.labels(b["report"])), "pair": (pooled, words)}


def test_terms_are_the_equations():
    """Equations 2 and 3 with nothing masked, and the printed reading of equation 2 by its switches."""
    changes = {"lead_masking": "none", "segment_masking": "none"}
    b = batch()
    model = small(**changes)
    expected, terms = by_hand(model, b), model.losses(b)
    assert tuple(terms) == ("contrast", "query")
    assert model.loss_weights == {"contrast": 1.0, "query": 1.0}
    torch.testing.assert_close(terms["query"], expected["query"] * len(model.entities.entities))  # only B divides
    torch.testing.assert_close(small(**changes, query_sum=False).losses(b)["query"], expected["query"])
    torch.testing.assert_close(terms["contrast"], info_nce(*expected["pair"], 0.07))
    printed = small(**changes, direction="ecg_to_text", positive_in_denominator=False)
    torch.testing.assert_close(
        printed.losses(b)["contrast"], one_way_nce(*expected["pair"], 0.07, positive_in_denominator=False)
    )


def test_labels_and_features_stay_with_their_records():
    """The batch is encoded in groups; turning the batch round turns nothing but the order."""
    model = small(lead_masking="none", segment_masking="none")
    b = batch()
    turned = {"ecg": b["ecg"].flip(0), "report": b["report"][::-1]}
    for term, value in model.losses(b).items():
        torch.testing.assert_close(model.losses(turned)[term], value)
    wrong = {"ecg": b["ecg"], "report": b["report"][::-1]}
    assert not torch.allclose(model.losses(wrong)["contrast"], model.losses(b)["contrast"], atol=1e-4)


def test_untrained_losses():
    """Log B for the pairs with a flat temperature; the entities cost what one answer to all of them costs."""
    model = small(temperature=1e6)
    terms, entities = model.losses(batch()), len(model.entities.entities)
    named = model.labels(batch()["report"]).sum(dim=1).float().mean().item()
    assert terms["contrast"].item() == pytest.approx(math.log(6), abs=1e-3)
    assert terms["query"].item() == pytest.approx(entities * math.log1p(math.exp(-4)) + 4 * named, rel=0.05)
    half = small(first_logit=0.0, query_sum=False).losses(batch())
    assert half["query"].item() == pytest.approx(math.log(2), abs=0.05)


@pytest.mark.parametrize(
    ("term", "scorer", "silent"), [("contrast", "cosine", "query_network"), ("query", "query", "project_t")]
)
def test_one_term_alone(term, scorer, silent):
    """Table 2a: parameters that only served the other term get no gradient."""
    model = small(terms=(term,), score_with=scorer)
    terms = model.losses(batch())
    assert tuple(terms) == (term,)
    terms[term].backward()
    assert all(p.grad is None for p in getattr(model, silent).parameters())
    assert model.ecg_encoder.embed.weight.grad.abs().sum() > 0


def test_frozen_parts_do_not_move_and_learning_ones_do():
    model = small()
    tower = {k: v.clone() for k, v in model.text_encoder._frozen[1].state_dict().items()}
    before = {k: v.clone() for k, v in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    torch.stack(list(model.losses(batch()).values())).sum().backward()
    optimizer.step()
    assert all(torch.equal(tower[k], v) for k, v in model.text_encoder._frozen[1].state_dict().items())
    still = {k for k, v in model.state_dict().items() if torch.equal(before[k], v)}
    assert still == set()


# Entities


def test_labels_are_those_of_the_table():
    """Section 3.4: y of a report, once per distinct report, also for one that was not prepared."""
    model = small()
    model.prepare(["Sinus rhythm", "Atrial fibrillation", "Sinus rhythm"])
    reports = ["Atrial fibrillation", "No atrial fibrillation", "Left bundle branch block", "Atrial fibrillation"]
    found = model.labels(reports)
    table = EntityTable.of_knowledge()
    assert np.array_equal(found.numpy(), table.labels(reports))
    place = table.entities.index("atrial fibrillation")
    assert found[:, place].tolist() == [True, False, False, True]
    assert len(model._labels) == 4


def test_no_report_has_no_label_vectors():
    assert ReportLabels(EntityTable(("pacing", "atrial fibrillation"), {}))([]).shape == (0, 2)


def test_entity_names_are_encoded_once(monkeypatch):
    model = small()
    model.prepare(REPORTS)
    monkeypatch.setattr(model.text_encoder, "_compute", lambda *_: pytest.fail("a frozen text was encoded again"))
    model.losses(batch())


@pytest.fixture
def mined(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    return EntityTable(("atrial fibrillation", "left bundle branch block"), {}, source="corpus")


def test_a_mined_table_comes_with_the_model_and_is_found_again(mined, tmp_path):
    model = k_merl.build(k_merl.demo_config(), entities=mined)
    assert model.config.entities == mined.hash
    assert model.labels(REPORTS).shape == (6, 2)
    assert k_merl.build(model.config, model.text_encoder).entities == mined
    folder = save_pretrained(model, tmp_path / "model")
    again = from_pretrained(folder, paper="k_merl")
    assert set(again.losses(batch())) == {"contrast", "query"}


def test_without_its_table_a_checkpoint_scores_but_does_not_train(mined, tmp_path, monkeypatch):
    model = k_merl.build(k_merl.demo_config(), entities=mined).eval()
    folder = save_pretrained(model, tmp_path / "model")
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "elsewhere"))
    again = from_pretrained(folder, paper="k_merl")
    x, classes = batch()["ecg"], [["atrial fibrillation"], ["sinus rhythm"]]
    with torch.inference_mode():
        assert torch.equal(again.score(x, classes), model.score(x, classes))
    for call in (lambda: again.losses(batch()), lambda: again.prepare(REPORTS), lambda: again.prepare([])):
        with pytest.raises(ParameterError, match=f"entity table {mined.hash} is not in this machine's store"):
            call()


# Scores


def test_score_is_the_query_network_on_class_names(model):
    """Section 4.2.1: the plain name is the query; of several prompts, the mean of their unit vectors is."""
    x, name, other = batch()["ecg"], "atrial fibrillation", "AF"
    with torch.inference_mode():
        logits = model.query_network(model.queries([name]), model.ecg_tokens(x))
        torch.testing.assert_close(model.score(x, [[name]]), logits)
        mean = torch.nn.functional.normalize(model.queries([name, other]).mean(dim=0, keepdim=True), dim=-1)
        torch.testing.assert_close(model.encode_classes([[name, other]]), mean)


def test_cosine_scores_for_the_row_without_queries():
    model = small(terms=("contrast",), score_with="cosine").eval()
    x, names = batch()["ecg"], ["atrial fibrillation", "normal ECG"]
    with torch.inference_mode():
        expected = model.encode_ecg(x) @ model.encode_text(names).T
        torch.testing.assert_close(model.score(x, [[name] for name in names]), expected)


def test_queries_see_one_another_only_when_asked_to():
    """With self-attention among queries the score of a class depends on its neighbours, which is why it is off."""
    x, classes = batch(2)["ecg"], [["atrial fibrillation"], ["normal ECG"]]
    for seeing in (False, True):
        model = small(query_self_attention=seeing).eval()
        with torch.inference_mode():
            alone, beside = model.score(x, classes[:1]), model.score(x, classes)[:, :1]
        assert torch.allclose(alone, beside, atol=1e-5) is not seeing


@pytest.mark.parametrize("number", [1, 2, 3, 4, 5])
def test_layers_and_heads_of_tables_6b_and_6c(number):
    """Heads keep their width, so any number of them fits."""
    x = batch(2)["ecg"]
    layers, heads = small(query_layers=number), small(query_heads=number)
    assert len(layers.query_network.layers) == number
    assert heads.query_network.layers[0].attention.to_query.out_features == 8 * number
    for model in (layers, heads):
        assert model.score(x, [["normal ECG"]]).shape == (2, 1)


# Planted truths


def test_planted_truth_is_found_with_any_lead(tmp_path, monkeypatch):
    """Three waveforms, three findings: after a few steps one lead is enough to name each, by both kinds of score."""
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path / "cache"))
    generator = torch.Generator().manual_seed(0)
    names = ["atrial fibrillation", "sinus tachycardia", "sinus bradycardia"]
    t = torch.arange(400) / 100

    def ecgs(kinds):
        waves = torch.stack([torch.sin(2 * math.pi * (1 + 2 * k) * t) for k in kinds])
        return waves[:, None] + 0.3 * torch.randn(len(kinds), 12, 400, generator=generator)

    model = small(EntityTable(tuple(names), {}), record_samples=400, first_logit=0.0)  # a third of them is there
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(80):
        kinds = torch.arange(3).repeat(4)
        terms = model.losses({"ecg": ecgs(kinds), "report": [names[k] for k in kinds]})
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()
        optimizer.step()
    model.eval()
    kinds = torch.arange(3).repeat(10)
    with torch.inference_mode():
        for leads in (("V2",), ("I", "II", "V5"), LEADS):
            logits = model.score(ecgs(kinds)[:, : len(leads)], [[name] for name in names], leads)
            assert (logits.argmax(dim=1) == kinds).float().mean() >= 0.9
            assert (logits.sigmoid().max(dim=1).values > 0.5).float().mean() >= 0.8  # probabilities, not mere ranks
        model.config = dataclasses.replace(model.config, score_with="cosine")
        assert (model.score(ecgs(kinds), [[name] for name in names]).argmax(dim=1) == kinds).float().mean() >= 0.9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ecg_encoder": "huge"}, "ecg_encoder is one of tiny, small, middle, base"),
        ({"lead_masking": "dynamc"}, "lead_masking is one of dynamic, fixed, none"),
        ({"segment_masking": "all"}, "segment_masking is one of"),
        ({"direction": "text_to_ecg"}, "direction is one of"),
        ({"terms": ("contrast", "bce")}, "terms are some of contrast, query"),
        ({"terms": ("contrast",)}, "without the term query, score_with is cosine, not 'query'"),
        ({"terms": ("query",), "score_with": "cosine"}, "without the term contrast, score_with is query"),
        ({"min_masked_leads": 12}, "min_masked_leads goes from 0 to 11, not 12"),
        ({"token_samples": 2000}, "token_samples goes from 1 to 1000"),
        ({"segment_mask_ratio": 1.0}, "segment_mask_ratio goes from"),
        ({"query_heads": 0}, "query_heads goes from 1"),
        ({"temperature": float("inf")}, "must be positive"),
        ({"entities": "mine.json"}, "entities is knowledge or the hash of a table"),
    ],
)
def test_impossible_values_are_refused(changes, message):
    with pytest.raises(ParameterError, match=message):
        small(**changes)
