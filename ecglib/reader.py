"""A reader: the ECG side of a trained model, one vector per statement, one curve per statement. It needs no text.

    reader = Reader.from_pretrained("results/reader")
    ecg_mv, hz, about = read_ecg("record.csv")
    reader.probabilities(ecg_mv[None], hz)

It is trained and calibrated on simulated ECGs alone, and is no medical device.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save as dump_tensors
from torch import Tensor, nn

from ecglib.checkpoint import load_weights, read_config
from ecglib.data.one_record import MOST_MISSING
from ecglib.errors import CheckpointError, SignalError
from ecglib.paths import atomic_write, sha256_of
from ecglib.probability import sigmoid
from ecglib.reader_model import Config, EcgSide, ReaderModel
from ecglib.signals import LEADS, fill_missing, flat_leads, quality, resample
from ecglib.statements import SUPERCLASSES, any_of_its_statements, prompts_hash, superclass_members

FORMAT = 1
KIND = "ecg reader"
WINDOW_S = 10.0  # as long as the records it learned from; a longer record is read in windows
SHORTEST_S = 2.5  # one column of a clinical print-out: two beats of all but the slowest hearts
_CHUNK = 128  # windows encoded at a time


class Reader(nn.Module):
    """Scores any 12-lead record for the statements of ``prompts``.

    Args:
        config: of the model whose ECG side it has.
        prompts: code -> the prompts whose mean vector stands for the statement.
        sampling_rate_hz: the encoder's; records of another rate are resampled to it.
        about: what made it, JSON values: ``training`` and ``calibration`` when they are known.

    Attributes: ``codes``, the C statements; ``superclass_names``, the five superclasses.
    """

    superclass_names = SUPERCLASSES

    def __init__(
        self, config: Config, prompts: Mapping[str, Sequence[str]], sampling_rate_hz: float, about: dict[str, Any]
    ):
        super().__init__()
        self.config, self.about = config, about
        self.prompts = {code: list(texts) for code, texts in prompts.items()}
        self.codes = tuple(self.prompts)
        self.sampling_rate_hz = float(sampling_rate_hz)
        self.encoder = EcgSide(config)
        self.register_buffer("vectors", torch.zeros(len(self.codes), config.width))
        self.register_buffer("slope", torch.full((len(self.codes),), float("nan")))
        self.register_buffer("intercept", torch.full((len(self.codes),), float("nan")))
        self.eval()

    @classmethod
    @torch.no_grad()
    def of(
        cls, model: ReaderModel, prompts: Mapping[str, Sequence[str]], sampling_rate_hz: float, about: dict[str, Any]
    ) -> "Reader":
        """The reader of a trained model, not calibrated yet. The prompts are embedded here, once and for all.

        Weights are rounded to float16 at once, so that what is calibrated and what is saved are the same.
        """
        reader = cls(model.config, prompts, sampling_rate_hz, about)
        weights = {key: _rounded(value.detach().cpu()) for key, value in model.ecg_side.state_dict().items()}
        reader.encoder.load_state_dict(weights, strict=True)
        training = model.training
        vectors = model.eval().encode_classes(list(reader.prompts.values()))
        model.train(training)
        reader.vectors.copy_(vectors.cpu())
        return reader.to(vectors.device)

    def untrained(self, seed: int) -> "Reader":
        """The same reader with an encoder that learned nothing: what network and vectors alone can do."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            other = Reader(self.config, self.prompts, self.sampling_rate_hz, {})
        for name in ("vectors", "slope", "intercept"):
            getattr(other, name).copy_(getattr(self, name))
        return other.to(self.vectors.device)

    def calibrate(self, slope: np.ndarray, intercept: np.ndarray, about: dict[str, Any]) -> None:
        """Set the curves, (C,) each; ``about`` names the population whose prevalences they carry."""
        self.slope.copy_(torch.as_tensor(slope))
        self.intercept.copy_(torch.as_tensor(intercept))
        self.about = {**self.about, "calibration": about}

    def forward(self, windows_mv: Tensor) -> Tensor:
        """(B, 12, T) millivolts at the encoder's rate -> cosines (B, C)."""
        return F.normalize(self.encoder(windows_mv), dim=-1) @ self.vectors.T

    @torch.inference_mode()
    def scores(self, ecg_mv: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
        """Cosine of every record with every statement: (B, 12, T) millivolts -> (B, C) float32.

        A record of more than ten seconds is cut into windows of ten that cover it evenly, whose cosines are averaged; a
        shorter one is read as it is, down to 2.5 s. Missing samples are interpolated as everywhere in this package.

        Raises:
            SignalError: another shape, too short, more than half of the samples missing, all leads flat, or an
                amplitude that only a wrong unit explains.
        """
        ecg_mv = np.asarray(ecg_mv)
        if ecg_mv.ndim != 3 or ecg_mv.shape[1] != len(LEADS) or len(ecg_mv) == 0:
            raise SignalError(f"an array of shape {ecg_mv.shape}; a reader takes (B, 12, T), so one as ecg_mv[None]")
        usable = np.stack([_usable(record, sampling_rate_hz, row) for row, record in enumerate(ecg_mv)])
        b, s, _ = usable.shape
        at_rate = resample(usable.reshape(b * s, -1), sampling_rate_hz, self.sampling_rate_hz).reshape(b, s, -1)
        cut = windows(at_rate, round(WINDOW_S * self.sampling_rate_hz))  # (B, W, 12, T')
        flat = torch.from_numpy(np.ascontiguousarray(cut.reshape(-1, s, cut.shape[-1]), dtype=np.float32))
        parts = [self(chunk.to(self.vectors.device)).cpu() for chunk in flat.split(_CHUNK)]
        return torch.cat(parts).numpy().reshape(b, cut.shape[1], -1).mean(axis=1)

    def probabilities(self, ecg_mv: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
        """`scores` through the curve of each statement: (B, 12, T) -> (B, C), each alone, not a choice among them."""
        return self.calibrated(self.scores(ecg_mv, sampling_rate_hz))

    def calibrated(self, scores: np.ndarray) -> np.ndarray:
        """Cosines (N, C) -> probabilities (N, C). Raises CheckpointError when there are no curves yet."""
        slope, intercept = self.slope.cpu().numpy(), self.intercept.cpu().numpy()
        if not (np.isfinite(slope).all() and np.isfinite(intercept).all()):
            raise CheckpointError("this reader has not been calibrated; ecglib.train_reader does it after training")
        return sigmoid(slope * np.asarray(scores, dtype=float) + intercept)

    def superclasses(self, ecg_mv: np.ndarray, sampling_rate_hz: float) -> np.ndarray:
        """(B, 12, T) -> (B, 5) in the order of `superclass_names`: the chance of any of its statements.

        1 - product of (1 - p) over the statements of the superclass, as if they were independent. NORM has a statement
        of its own and no other: it is that one's probability, not what the other four leave over.
        """
        return self.of_superclasses(self.probabilities(ecg_mv, sampling_rate_hz))

    def of_superclasses(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities of the statements (N, C) -> of the superclasses (N, 5)."""
        return any_of_its_statements(probabilities, superclass_members(self.codes))

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write ``model.safetensors`` (matrices in float16) and ``config.json``, which comes last.

        Raises:
            CheckpointError: not calibrated, or the folder cannot be written.
        """
        self.calibrated(np.zeros((1, len(self.codes))))
        folder = Path(folder)
        tensors = {key: value.detach().cpu().contiguous() for key, value in self.state_dict().items()}
        halves = {key: value.half() if _is_halved(key, value) else value for key, value in tensors.items()}
        weights = dump_tensors(halves)
        config = {
            "format": FORMAT,
            "kind": KIND,
            "config": dataclasses.asdict(self.config),
            "sampling_rate_hz": self.sampling_rate_hz,
            "weights_sha256": sha256_of(weights),
            "prompts_sha256": prompts_hash(self.prompts),
            "prompts": self.prompts,
            **self.about,
        }
        try:
            atomic_write(folder / "model.safetensors", weights)
            atomic_write(folder / "config.json", json.dumps(config, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise CheckpointError(f"{folder} cannot be written ({error.strerror}); choose another folder") from error
        return folder

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> "Reader":
        """The reader in ``folder``, on the CPU. Neither a text encoder nor a network is needed.

        Raises:
            CheckpointError: no reader there, or one of another version; weights or prompts that are not those recorded;
                keys or shapes that do not match.
        """
        folder = Path(folder)
        stored = read_config(folder)
        if stored.get("kind") != KIND:
            raise CheckpointError(f"{folder} holds no reader but another checkpoint; give a folder that Reader saved")
        needed = {"config", "sampling_rate_hz", "weights_sha256", "prompts_sha256", "prompts", "calibration"}
        known = {field.name for field in dataclasses.fields(Config)}
        if (missing := needed - stored.keys()) or set(stored["config"]) != known:
            why = f"lacks {', '.join(sorted(missing))}" if missing else "describes another network"
            raise CheckpointError(f"{folder}/config.json {why}: it was made by another version; train a reader again")
        if prompts_hash(stored["prompts"]) != stored["prompts_sha256"]:
            raise CheckpointError(f"{folder}/config.json was changed: its prompts are not those of the vectors")
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in stored["config"].items()}
        made_of = (needed | {"format", "kind"}) - {"calibration"}
        about = {key: value for key, value in stored.items() if key not in made_of}
        reader = cls(Config(**values), stored["prompts"], stored["sampling_rate_hz"], about)
        load_weights(reader, folder / "model.safetensors", stored["weights_sha256"])
        return reader


def windows(ecg: np.ndarray, length: int) -> np.ndarray:
    """(B, S, T) -> (B, W, S, ``length``): as few as cover the record, evenly spread from its start to its end.

    What is no longer than a window stays as it is, (B, 1, S, T).
    """
    samples = ecg.shape[-1]
    if samples <= length:
        return ecg[:, None]
    starts = np.round(np.linspace(0, samples - length, math.ceil(samples / length))).astype(int)
    return np.stack([ecg[..., start : start + length] for start in starts], axis=1)


def _usable(ecg_mv: np.ndarray, hz: float, row: int) -> np.ndarray:
    """One record with its gaps filled, or SignalError by the rules by which stores refuse records."""
    if not np.isfinite(hz) or hz <= 0:
        raise SignalError(f"sampling rate {hz} Hz; it must be a positive number")
    filled, missing = fill_missing(ecg_mv)
    problems = [p for p in quality(filled, hz, shortest_s=SHORTEST_S) if p.startswith(("short", "absurd"))]
    if missing > MOST_MISSING * ecg_mv.size:
        problems = [f"{missing} of {ecg_mv.size} samples are missing"]
    elif not problems and len(flat_leads(filled)) == len(LEADS):
        problems = ["all leads are flat: no signal"]
    if problems:
        raise SignalError(f"record {row} cannot be read: {'; '.join(problems)}; leave it out or mend it")
    return filled


def _is_halved(key: str, value: Tensor) -> bool:
    """Matrices of the encoder: nearly all of the weights. Running statistics and curves keep every digit."""
    return key.startswith("encoder.") and value.is_floating_point() and value.ndim > 1


def _rounded(value: Tensor) -> Tensor:
    return value.half().float() if value.is_floating_point() and value.ndim > 1 else value
