"""ESI: ECG Semantic Integrator.

Adds to contrastive alignment a captioning loss, a decoder that writes the text word by word from the ECG's tokens, and
texts enriched by retrieval and a language model (``ecglib/cqa.py``).

    papermill notebooks/esi_cqa.ipynb             # the texts: statements -> retrieval -> description, demographics
    papermill notebooks/esi_pretrain.ipynb        # demo: two and a half to four minutes on two cores, simulated ECGs
    papermill notebooks/esi_zero_shot.ipynb       # paper: macro AUC 81.2 on PTB-XL (table 3)
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib import cqa, sentences
from ecglib.captions import caption_words
from ecglib.encoders.convnext1d import STAGES, ConvNext1d
from ecglib.encoders.inputs import place_leads
from ecglib.encoders.vit1d import ViT1d
from ecglib.encoders.xresnet1d import XResNet1d101
from ecglib.errors import ParameterError
from ecglib.fusion import CaptionDecoder
from ecglib.losses import captioning, info_nce
from ecglib.papers import checks
from ecglib.papers.card import read_record
from ecglib.papers.sizes import sizes
from ecglib.prompts import CosineScores
from ecglib.text import TextEncoder

CARD, DEVIATIONS = read_record(__file__)

descriptions_for, texts = cqa.descriptions_for, cqa.texts  # section 3.1: what ESI reads instead of reports
TERMS = ("contrastive", "caption")  # table 5a leaves one out at a time
ECG_ENCODERS: dict[str, Callable[[], nn.Module]] = {  # table 5b; "demo" is for ECGs at 100 Hz and two cores
    "convnext-base": lambda: ConvNext1d(*STAGES["base"]),
    "convnext-tiny": lambda: ConvNext1d(*STAGES["tiny"]),
    "vit-base": lambda: ViT1d(width=768, depth=12, heads=12),
    "xresnet101": lambda: XResNet1d101(),
    "convnext-demo": lambda: ConvNext1d((1, 1, 4, 2), (16, 32, 96, 192)),
    "vit-demo": lambda: ViT1d(width=128, depth=5, heads=4, patch=20, positions=50),
}
MAX_SCALE = 100.0  # of 1 / sigma while it learns, as in CLIP


@dataclass(frozen=True)
class Config:
    """The paper's values; each field names its source. Where it is silent, ``DEVIATIONS`` says so."""

    ecg_encoder: Literal[*ECG_ENCODERS] = "convnext-base"  # section 4.1; "convnext-tiny" is ESI-tiny
    width: int = 512  # D, of the shared space and the decoder; open in the paper
    decoder_depth: int = 4  # open in the paper
    decoder_heads: int = 8  # open in the paper
    dropout: float = 0.1  # of the decoder; open in the paper
    terms: tuple[str, ...] = TERMS  # section 3.2.1
    contrastive_weight: float = 1.0  # lambda_Con, section 3.2.1
    caption_weight: float = 1.0  # lambda_Cap, section 3.2.1
    caption_mean: Literal["token", "text"] = "token"  # "text": the printed sum over a text
    caption_tokens: int = 255  # words of a text that are captioned; open in the paper
    caption_vocabulary: Literal["all", "seen"] = "all"  # words to choose from; "seen" in the texts of this training
    temperature: float = 0.07  # sigma at the start; open in the paper
    temperature_learns: bool = True  # open in the paper; the released one learns
    text_encoder: str = "biolinkbert"  # section 4.1
    trainable_text_layers: int = -1  # "the two encoders are jointly optimized", section 3.2.1
    text_reading: Literal["whole", "sentences"] = "whole"  # "sentences": a text is the mean of its sentences


CHOICES = checks.choices_of(Config)


class ESI(CosineScores, nn.Module):
    """The composition of figure 3. Parts come from outside; ``build`` makes them from a Config."""

    stem = "esi"

    def __init__(self, config: Config, ecg_encoder: nn.Module, text_encoder: TextEncoder):
        super().__init__()
        check(config)
        self.config, self.ecg_encoder, self.text_encoder = config, ecg_encoder, text_encoder
        weights = {"contrastive": config.contrastive_weight, "caption": config.caption_weight}
        self.loss_weights = {term: weights[term] for term in config.terms}
        width = config.width
        self.project_s = nn.Linear(ecg_encoder.width, width)
        self.project_t = nn.Linear(text_encoder.width, width)
        scale = torch.tensor(-math.log(config.temperature))  # log of 1 / sigma
        self.log_scale = nn.Parameter(scale, requires_grad=config.temperature_learns)
        self.see = nn.Linear(ecg_encoder.width, width)  # ECG tokens as the decoder reads them
        self.word = nn.Linear(text_encoder.width, width, bias=False)  # input embeddings -> words in and words out
        self.word_bias = nn.Parameter(torch.zeros(text_encoder.vocabulary))
        self.decoder = CaptionDecoder(width, config.decoder_depth, config.decoder_heads, config.dropout)
        everything = np.arange(text_encoder.vocabulary) if config.caption_vocabulary == "all" else np.arange(0)
        self.vocabulary = everything  # sorted ids of the words that a caption chooses from

    def prepare(self, texts: Sequence[str]) -> None:
        """Everything that follows from the texts alone: frozen states, and the words that occur."""
        prepare = sentences.prepare if self.config.text_reading == "sentences" else TextEncoder.prepare
        prepare(self.text_encoder, texts)
        self.vocabulary = np.union1d(self.vocabulary, np.concatenate(self.text_encoder.tokenize(sorted(set(texts)))))

    @property
    def temperature(self) -> Tensor:
        """sigma, a scalar."""
        return 1 / self.log_scale.exp().clamp(max=MAX_SCALE)

    def ecg_tokens(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """(B, S, T) millivolts -> (B, M, C)."""
        return self.ecg_encoder(place_leads(ecg, leads))

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """T_i, not yet of unit length: B strings -> (B, D)."""
        vectors = sentences.vectors if self.config.text_reading == "sentences" else TextEncoder.vectors
        return self.project_t(vectors(self.text_encoder, texts))

    def caption_logits(self, tokens: Tensor, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """log P(t_i | t_<i, S) but for a constant: ECG tokens (B, M, C), B texts -> (N, V), N words of all texts.

        Also the columns of the words t_i (N,) and the text each belongs to (N,). The decoder reads input embeddings,
        never the states of the bidirectional tower, in which each word has already seen the others.
        """
        ids = self.text_encoder.tokenize(texts)
        chosen, words, real = caption_words(ids, self.vocabulary, self.config.caption_tokens, tokens.device)
        table = self.word(self.text_encoder.token_embeddings[chosen])  # (V, D)
        embedded = table[words[:, :-1]] * math.sqrt(self.config.width)  # scaled like the positions
        states = self.decoder(embedded, self.see(tokens))[real]  # (N, D)
        return states @ table.T + self.word_bias[chosen], words[:, 1:][real], real.nonzero()[:, 0]

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """L_Con and L_Cap of section 3.2.1, those that ``terms`` names, each a scalar."""
        tokens, texts = self.ecg_tokens(batch["ecg"]), batch["report"]
        found = {}
        if "contrastive" in self.config.terms:  # 1/N of both directions is twice their mean
            s, t = self.project_s(tokens.mean(dim=1)), self.text_vectors(texts)
            found["contrastive"] = 2 * info_nce(s, t, self.temperature)
        if "caption" in self.config.terms:
            logits, words, _ = self.caption_logits(tokens, texts)
            found["caption"] = captioning(logits, words, len(texts) if self.config.caption_mean == "text" else 0)
        return {term: found[term] for term in self.config.terms}

    forward = losses  # wrappers for several processes call the module itself

    def encode_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """S_i: (B, S, T) millivolts -> (B, D), unit length."""
        return F.normalize(self.project_s(self.ecg_tokens(ecg, leads).mean(dim=1)), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """T_i: list of B strings -> (B, D), unit length."""
        return F.normalize(self.text_vectors(texts), dim=-1)


def check(config: Config) -> None:
    """Refuse values that make no model. Raises ParameterError naming the field."""
    checks.choices("ESI", config)
    checks.some_of("ESI", config, "terms", TERMS)
    checks.positive("ESI", config, "temperature", "contrastive_weight", "caption_weight")
    checks.splits("ESI", config, ("width", "decoder_heads"))
    if config.caption_tokens < 1:
        raise ParameterError(f"ESI: caption_tokens must be at least 1, not {config.caption_tokens}")


def build(config: Config, text_encoder: TextEncoder | None = None) -> ESI:
    """The model of a Config, freshly initialised; a text tower that is loaded already can be handed in."""
    check(config)
    text_encoder = text_encoder or TextEncoder(config.text_encoder, config.trainable_text_layers)
    return ESI(config, ECG_ENCODERS[config.ecg_encoder](), text_encoder)


DEMO = {  # a small ConvNeXt, MiniLM frozen, captions over the words that occur
    "ecg_encoder": "convnext-demo",
    "width": 128,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "caption_vocabulary": "seen",
    "caption_tokens": 64,
    "text_encoder": "minilm",
    "trainable_text_layers": 0,
    "text_reading": "sentences",
}
paper_config, demo_config, paper_model, demo_model = sizes(Config, build, DEMO)


SCHEDULES = {
    "paper": {  # section 4.1; weight decay is not given: AdamW's own default
        "epochs": 30,
        "batch_size": 4 * 48,
        "lr": 5e-5,
        "weight_decay": 1e-2,
        "warmup_fraction": 5 / 30,
    }
}
