"""Models on disk: a folder with ``model.safetensors`` and ``config.json``. Strict both ways, nothing is unpickled."""

import dataclasses
import json
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as dump_tensors
from torch import nn

from ecglib import papers
from ecglib.errors import CheckpointError
from ecglib.paths import atomic_write, sha256_of

FORMAT = 1
TRAINING_STATE = "training.safetensors"  # what `fit` leaves until the model is saved beside it


def save_pretrained(model: nn.Module, folder: str | Path, *, keep_training_state: bool = False, **record) -> Path:
    """Write a paper's model into ``folder``: weights, Config, and ``record`` (what trained it, JSON values).

    The weights of a frozen text tower are not written; its name and fingerprint are. ``config.json`` comes last and
    holds the hash of the weights, so a folder that was interrupted is recognised. The state that ``fit`` left in the
    folder is removed last: until then nothing that was trained can be lost. ``keep_training_state`` leaves it there,
    for a stage that a later stage builds on.

    Raises:
        CheckpointError: the folder cannot be written (read-only, full disk); the training state in it stays.
    """
    folder = Path(folder)
    weights = dump_tensors({key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()})
    config = {
        "format": FORMAT,
        "paper": model.stem,
        "config": dataclasses.asdict(model.config),
        "text_encoder": {"name": model.text_encoder.name, "fingerprint": model.text_encoder.fingerprint},
        "weights_sha256": sha256_of(weights),
        **record,
    }
    try:
        atomic_write(folder / "model.safetensors", weights)
        atomic_write(folder / "config.json", json.dumps(config, indent=2, ensure_ascii=False) + "\n")
        if not keep_training_state:
            (folder / TRAINING_STATE).unlink(missing_ok=True)
    except OSError as error:
        raise CheckpointError(f"{folder} cannot be written ({error.strerror}); free space or choose another") from error
    return folder


def read_config(folder: str | Path) -> dict:
    """The ``config.json`` of a checkpoint folder. Raises CheckpointError when it is none."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        raise CheckpointError(f"{folder} holds no checkpoint (no config.json); give a folder made by save_pretrained")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON ({error}); train or copy the checkpoint again") from error
    if config.get("format") != FORMAT:
        raise CheckpointError(f"{path} has format {config.get('format')}, this version reads {FORMAT}; train it again")
    return config


def weights_named(folder: str | Path) -> str:
    """Which weights lie in ``folder``, for notes: ``weights`` and the first digits of their hash."""
    return f"weights {read_config(folder)['weights_sha256'][:12]}"


def from_pretrained(folder: str | Path, paper: str | None = None) -> nn.Module:
    """The model in ``folder``, in evaluation mode.

    Args:
        paper: the stem that is expected, for example ``"deri"``; another one in the folder is refused.

    Raises:
        CheckpointError: no checkpoint, another paper's, damaged weights, keys or shapes that do not match, or a text
            encoder whose weights differ from those it was trained with.
    """
    folder = Path(folder)
    stored = read_config(folder)
    if paper is not None and stored["paper"] != paper:
        raise CheckpointError(f"{folder} holds a checkpoint of '{stored['paper']}', not of '{paper}'; give one of it")
    module = papers.load(stored["paper"])
    known = {field.name for field in dataclasses.fields(module.Config)}
    if set(stored["config"]) != known:
        raise CheckpointError(
            f"{folder}/config.json and {stored['paper']}.Config differ in {sorted(set(stored['config']) ^ known)}; "
            "it was made by another version: train it again"
        )
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in stored["config"].items()}
    model = module.build(module.Config(**values))
    if model.text_encoder.fingerprint != stored["text_encoder"]["fingerprint"]:
        raise CheckpointError(
            f"{folder} was trained with other weights of text encoder '{model.text_encoder.name}' "
            f"(sha256 {stored['text_encoder']['fingerprint'][:12]}, here {model.text_encoder.fingerprint[:12]})"
        )
    load_weights(model, folder / "model.safetensors", stored["weights_sha256"])
    return model.eval()


def load_weights(model: nn.Module, path: Path, expected_sha256: str | None = None) -> None:
    """Load a safetensors file into ``model``, every key and every shape matched. Raises CheckpointError."""
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; copy the whole folder or train it again")
    content = path.read_bytes()
    if expected_sha256 and sha256_of(content) != expected_sha256:
        raise CheckpointError(f"{path} is damaged (its sha256 is not the recorded one); copy or train it again")
    try:
        tensors = load_tensors(content)
        model.load_state_dict(tensors, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{path} does not fit the model: {' '.join(str(error).split())[:500]}") from error
