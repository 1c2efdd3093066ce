"""C-MELT: Contrastive Enhanced Masked Auto-Encoders for ECG-Language Pre-Training.

Joins masked modelling of both modalities, behind a cross-attention fusion, with a pairwise sigmoid loss between the two
encoders and with negative reports searched for in the space of a text encoder (N3S).

    papermill notebooks/c_melt_pretrain.ipynb     # demo: about four minutes on two cores, simulated ECGs
    papermill notebooks/c_melt_zero_shot.ipynb    # paper: average macro AUC 77.1 over six sets (table 3)
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.encoders.inputs import place_leads, standardised
from ecglib.encoders.wave_transformer import WaveTransformer
from ecglib.errors import ParameterError
from ecglib.fusion import CrossAttentionFusion, PatchDecoder, masked_mean
from ecglib.losses import PairLogits, dot_matrix, gather_batch, masked_ecg, masked_language, matching, pairwise_sigmoid
from ecglib.masked_ecg import MaskedEcgs, unseen
from ecglib.masked_text import MaskedTexts
from ecglib.papers import checks
from ecglib.papers.card import read_record
from ecglib.papers.sizes import sizes
from ecglib.prompts import CosineScores
from ecglib.retrieval import ReportNegatives
from ecglib.text import WHOLE, TextEncoder
from ecglib.text_models import RANDOM

CARD, DEVIATIONS = read_record(__file__)

TERMS = ("mlm", "mem", "etm", "siglep")  # equations 1 to 4


@dataclass(frozen=True)
class Config:
    """The paper's values; each field names its source."""

    width: int = 768  # D, of ECG encoder, fusion and heads (section 3.1)
    layers: int = 8  # transformer layers of the ECG encoder; 4 and 1 in table 8
    heads: int = 12  # of ECG encoder and fusion (released)
    conv_widths: tuple[int, ...] = (256, 256, 256, 256)  # front end, kernel and stride 2 (released)
    fusion_depth: int = 6  # released
    decoder_width: int = 384  # section 3.1
    decoder_depth: int = 4  # released
    decoder_heads: int = 6  # released
    terms: tuple[str, ...] = TERMS  # table 6 leaves out siglep
    negatives: Literal[*ReportNegatives.HOW] = "farthest"  # N3S, section 3.2; random in table 6 without N3S
    negative_pool: int = 64  # section 3.2
    replaced: float = 0.5  # part of a batch whose report becomes a negative (section 3.2)
    replaced_pair: Literal["negative", "left-out"] = "negative"  # what an ECG and its negative are for siglep
    lead_mask: float = 0.5  # probability that a lead is zeroed (section 3.1 after Oh et al. 2022; released value)
    ecg_mask: float = 0.75  # part of the patches that the encoder does not see (released)
    text_mask: float = 0.25  # part of the words that are masked (released)
    maskings: int = 0  # how many maskings of a report are drawn once and kept; 0 draws a new one every step
    contrast: Literal["masked", "whole"] = "masked"  # the inputs that siglep reads; masked: the one pass of figure 1
    siglep: Literal["dot", "siglip"] = "dot"  # equation 4, or cosine with learned scale and bias (Zhai et al. 2023)
    per_record: tuple[str, ...] = ("siglep",)  # terms summed over a record's words, samples or pairs; others are means
    mem_over: Literal["masked", "all"] = "masked"  # patches that equation 2 counts (released)
    mem_target: Literal["standardised", "millivolts"] = "standardised"  # each lead to deviation 1 (released)
    dropout: float = 0.1  # released
    text_encoder: str = "flan-t5-base"  # section 3.1; medcpt, deberta and bert in table 7
    trainable_text_layers: int = WHOLE  # released; print does not say that it is frozen
    negatives_encoder: str = ""  # N3S: flan-t5-small beside a Flan-T5 (section 3.2), else the text encoder, both frozen


CHOICES = checks.choices_of(Config)


class CMELT(CosineScores, nn.Module):
    """The composition of figure 1. Parts come from outside; ``build`` makes them from a Config."""

    stem = "c_melt"

    def __init__(
        self, config: Config, ecg_encoder: nn.Module, text_encoder: TextEncoder, negatives_encoder: TextEncoder
    ):
        super().__init__()
        check(config)
        self.pair_logits = PairLogits() if config.siglep == "siglip" else None
        self.config, self.ecg_encoder, self.text_encoder = config, ecg_encoder, text_encoder
        self.loss_weights = dict.fromkeys(config.terms, 1.0)  # print gives no weights
        width, dropout = config.width, config.dropout
        self.fusion = CrossAttentionFusion(
            ecg_encoder.width, text_encoder.width, width, config.fusion_depth, config.heads, dropout
        )
        self.mlm_head = nn.Linear(width, text_encoder.vocabulary)
        self.mem_head = PatchDecoder(
            width, 12 * ecg_encoder.patch, config.decoder_width, config.decoder_depth, config.decoder_heads, dropout
        )
        self.etm_head = nn.Linear(2 * width, 1)
        self.g_x = nn.Sequential(nn.Tanh(), nn.Linear(ecg_encoder.width, width))  # behind the pooling, section 3.2
        self.g_t = nn.Sequential(nn.Tanh(), nn.Linear(text_encoder.width, width))
        self.negatives_encoder = negatives_encoder
        self.negatives = ReportNegatives(negatives_encoder.pooled, config.negatives, config.negative_pool)
        self.masked_ecgs = MaskedEcgs(ecg_encoder, config.lead_mask, config.ecg_mask)
        self.masked_texts = MaskedTexts(text_encoder, config.text_mask, config.maskings)

    def prepare(self, texts: Sequence[str]) -> None:
        """Token states, kept maskings and farthest reports of the training reports, each computed once."""
        self.text_encoder.prepare(texts)
        self.masked_texts.prepare(texts)
        if self.negatives.searches:
            self.negatives_encoder.prepare(texts)
        self.negatives.prepare(texts)

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """The enabled terms of equations 1 to 4, each a scalar. Negatives replace reports before anything is masked."""
        config, ecg = self.config, place_leads(batch["ecg"])
        texts, matched = self.negatives.replace(batch["report"], config.replaced)
        h_x, seen, patches = self.masked_ecgs(ecg)  # (B, K, D), (B, K), (B, L, D)
        h_t, real, where, words = self.masked_texts(texts)  # (B, W, D_t), three of (B, W)
        size, length = patches.shape[:2]
        f_x, f_t = self.fusion(h_x, h_t, real)

        def mem() -> Tensor:
            target = self.ecg_encoder.patches(standardised(ecg) if config.mem_target == "standardised" else ecg)
            counted = unseen(seen, length) if config.mem_over == "masked" else None
            return masked_ecg(self.mem_head(f_x, seen, length), target, counted, "mem" in config.per_record)

        def siglep() -> Tensor:
            whole = config.contrast == "whole"
            x = self.g_x((self.ecg_encoder.contextualise(patches) if whole else h_x).mean(dim=1))
            t = self.embed_text(texts) if whole else self.g_t(masked_mean(h_t, real))
            return self.siglep(x, t, matched.to(x.device))

        terms = {
            "mlm": lambda: masked_language(
                self.mlm_head(f_t[where]), words[where], size * ("mlm" in config.per_record)
            ),
            "mem": mem,
            "etm": lambda: matching(
                self.etm_head(torch.cat([f_x.mean(dim=1), masked_mean(f_t, real)], dim=-1)).squeeze(-1),
                matched.to(f_x.device),
            ),
            "siglep": siglep,
        }
        return {term: terms[term]() for term in config.terms}

    forward = losses  # wrappers for several processes call the module itself

    def siglep(self, x: Tensor, t: Tensor, matched: Tensor) -> Tensor:
        """Equation 4 over all pairs of a batch, shared over processes: (B, D), (B, D), (B,) -> scalar."""
        x, t, matched = gather_batch(x), gather_batch(t), gather_batch(matched.float())
        logits = dot_matrix(x, t) if self.pair_logits is None else self.pair_logits.matrix(x, t)  # (B, B)
        diagonal = matched if self.config.replaced_pair == "left-out" else 2 * matched - 1  # sign 0: no gradient
        return pairwise_sigmoid(logits, diagonal) / (1 if "siglep" in self.config.per_record else len(logits))

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """t': list of B strings -> (B, D)."""
        return self.g_t(self.text_encoder.vectors(texts, "mean"))

    def encode_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """x': (B, S, T) millivolts -> (B, D), unit length; nothing is masked."""
        return F.normalize(self.g_x(self.ecg_encoder(place_leads(ecg, leads)).mean(dim=1)), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """List of B strings -> (B, D), unit length; nothing is masked."""
        return F.normalize(self.embed_text(texts), dim=-1)


def check(config: Config) -> None:
    """Refuse values that have no meaning or that no row of the paper's tables has. Raises ParameterError."""
    checks.choices("C-MELT", config)
    checks.some_of("C-MELT", config, "terms", TERMS)
    checks.some_of("C-MELT", config, "per_record", TERMS, fewest=0)
    if config.negatives == "none" and "etm" in config.terms:
        raise ParameterError("C-MELT: without negatives every pair matches: leave etm out of terms too")
    checks.fractions("C-MELT", config, "replaced", "lead_mask", "ecg_mask", "text_mask")
    checks.within("C-MELT", config, {"layers": (1, 48), "fusion_depth": (1, 48), "decoder_depth": (1, 48)})
    checks.splits("C-MELT", config, ("width", "heads"), ("decoder_width", "decoder_heads"))
    if (config.maskings < 1) != (config.trainable_text_layers == WHOLE):
        raise ParameterError(
            f"C-MELT: maskings = {config.maskings} with trainable_text_layers = {config.trainable_text_layers}: frozen "
            "layers need maskings of 1 or more, which are computed once; a tower that learns whole needs 0"
        )


def build(config: Config, text_encoder: TextEncoder | None = None) -> CMELT:
    """The model of a Config, freshly initialised; a text tower that is loaded already can be handed in."""
    check(config)
    ecg_encoder = WaveTransformer(config.width, config.layers, config.heads, config.conv_widths, dropout=config.dropout)
    tower = text_encoder or TextEncoder(config.text_encoder, config.trainable_text_layers)
    name = config.negatives_encoder or re.sub(f"^({RANDOM})?flan-t5.*", r"\1flan-t5-small", config.text_encoder)
    shared = name == config.text_encoder and not config.trainable_text_layers
    return CMELT(config, ecg_encoder, tower, tower if shared else TextEncoder(name))


DEMO = {  # ECGs at 100 Hz, MiniLM frozen, two kept maskings per report
    "width": 96,
    "heads": 4,
    "conv_widths": (32, 48, 64, 80),
    "decoder_width": 48,
    "decoder_depth": 2,
    "decoder_heads": 4,
    "fusion_depth": 1,
    # In 800 steps the bare product does not leave its start behind, and a quarter of the patches of half of the leads
    # teaches the contrast little.
    "lead_mask": 0.1,
    "siglep": "siglip",
    "contrast": "whole",
    "text_encoder": "minilm",
    "trainable_text_layers": 0,
    "maskings": 2,
    "dropout": 0.0,
}
paper_config, demo_config, paper_model, demo_model = sizes(Config, build, DEMO)


SCHEDULES = {
    # Section 4.1.1: 300,000 steps of 128 are 49.2 passes over 779,891 pairs; Adam 5e-5, weight decay 0.01.
    "paper": {"epochs": 49, "batch_size": 128, "lr": 5e-5, "weight_decay": 0.01},
}
