"""K-MERL: Knowledge-enhanced Multimodal ECG Representation Learning.

Adds to contrastive alignment the cardiac entities that reports name, learned by a query network, and an encoder whose
tokens belong to single leads, so that any subset of leads is an input.

    papermill notebooks/k_merl_pretrain.ipynb     # demo: two and a half to four minutes on two cores, simulated ECGs
    papermill notebooks/k_merl_zero_shot.ipynb    # paper: average macro AUC 76.52 with 12 leads, 71.61 with one
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.encoders.inputs import place_leads
from ecglib.encoders.lead_vit import N_LEADS, SIZES, LeadViT
from ecglib.errors import ParameterError
from ecglib.fusion import QueryNetwork, projector
from ecglib.knowledge import entity_table
from ecglib.losses import entity_bce, info_nce, one_way_nce
from ecglib.masking import visible_groups
from ecglib.papers import checks
from ecglib.papers.card import read_record
from ecglib.papers.sizes import sizes
from ecglib.prompts import CosineScores, class_embeddings
from ecglib.signals import lead_indices
from ecglib.text import TextEncoder

CARD, DEVIATIONS = read_record(__file__)

Entities = entity_table.EntityTable | None
TERMS = ("contrast", "query")  # L_contrast and L_CQ: table 2a leaves one out at a time

SCHEDULES = {
    # Appendix A: AdamW, cosine, 50 epochs, eight processes with 512 pairs each.
    "paper": {"epochs": 50, "batch_size": 8 * 512, "lr": 2e-4, "weight_decay": 1e-5},
}


@dataclass(frozen=True)
class Config:
    """The paper's values; each field names its source."""

    ecg_encoder: Literal[*SIZES] = "tiny"  # ViT-tiny (section 4.1); figure 8 goes to "small", "middle", "base"
    token_samples: int = 100  # p (section 5); figure 7 goes from 25 to 200
    record_samples: int = 5000  # ten seconds at 500 Hz, so M = 50 segments
    lead_tokens: bool = True  # table 2b removes one of these three at a time
    lead_positions: bool = True
    time_positions: bool = True
    lead_masking: Literal["dynamic", "fixed", "none"] = "dynamic"  # table 2d
    min_masked_leads: int = 9  # 9, 10 or 11 are masked (section 3.3); figure 7
    segment_masking: Literal["per_lead", "joint", "none"] = "per_lead"  # table 2d
    segment_mask_ratio: float = 0.25  # section 3.3; figure 7 goes to 0.75
    entities: str = "knowledge"  # the knowledge base's, or the hash of a mined table (section 3.4, tables 2c and 6a)
    query_layers: int = 4  # section 3.5; table 6b goes from 1 to 5
    query_heads: int = 4  # table 6c goes from 1 to 5
    query_width: int = 256
    first_logit: float = -4.0  # of the query network before training: about 2 % of the entities are in a report
    query_sum: bool = True  # equation 3 divides by the batch alone; False: by the entities too
    query_self_attention: bool = False  # True: the score of a class depends on which others are asked
    dropout: float = 0.1  # of the query network
    width: int = 256  # D, the shared space
    terms: tuple[str, ...] = TERMS  # equation 3; table 2a
    temperature: float = 0.07  # section 3.5
    direction: Literal["both", "ecg_to_text"] = "both"  # one way as equation 2 prints it
    positive_in_denominator: bool = True  # the indicator of equation 2 would drop it
    score_with: Literal["query", "cosine"] = "query"  # the query network; without its term, a cosine is left
    text_encoder: str = "medcpt"  # section 4.1; table 2e
    trainable_text_layers: int = 0  # the tower of MERL, whose settings are inherited, is frozen whole


CHOICES = checks.choices_of(Config)


class KMERL(CosineScores, nn.Module):
    """The composition of figure 1b. Parts come from outside; ``build`` makes them from a Config."""

    stem = "k_merl"

    def __init__(self, config: Config, ecg_encoder: LeadViT, text_encoder: TextEncoder, entities: Entities = None):
        super().__init__()
        check(config)
        self.config, self.ecg_encoder, self.text_encoder = config, ecg_encoder, text_encoder
        self.entities = entities  # Q of section 3.4; needed to train, not to score
        self.loss_weights = dict.fromkeys(config.terms, 1.0)  # equation 3 is a plain sum
        self.project_e = projector("mlp", ecg_encoder.width, config.width)  # P_e
        self.project_t = projector("mlp", text_encoder.width, config.width)  # P_t
        self.query_network = QueryNetwork(  # F_CQ
            text_encoder.width,
            ecg_encoder.width,
            width=config.query_width,
            depth=config.query_layers,
            heads=config.query_heads,
            dropout=config.dropout,
            self_attention=config.query_self_attention,
            first_logit=config.first_logit,
        )
        self._labels = entity_table.ReportLabels(entities, config.entities)

    def prepare(self, texts: Iterable[str]) -> None:
        """Frozen states of reports and entity names, and a label vector for every distinct report, once."""
        texts = list(texts)
        if "query" in self.config.terms:
            self.labels(texts)
            texts += self.entities.entities
        self.text_encoder.prepare(texts)

    def labels(self, reports: Sequence[str]) -> Tensor:
        """y of section 3.4: B reports -> (B, Q), 1 where an entity is present and positive."""
        return torch.from_numpy(self._labels(reports)).to(self.text_encoder.device)

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """AvgPool(z_t): B strings -> (B, D_t)."""
        return self.text_encoder.vectors(texts, "mean")

    def queries(self, names: Sequence[str]) -> Tensor:
        """q = F_T(q) of section 3.5, what the query network is asked: Q names -> (Q, D_t), unit length."""
        return F.normalize(self.text_vectors(names), dim=-1)

    def masks(self, batch: int, segments: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """What stays visible of B records of M segments, section 3.3: see `visible_groups`."""
        config, rows = self.config, self.ecg_encoder.rows
        ratio = 0.0 if config.segment_masking == "none" else config.segment_mask_ratio
        how = {"per_lead": config.segment_masking != "joint", "device": self.text_encoder.device}
        return visible_groups(batch, segments, masked_range(config), ratio, rows, **how)

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """The enabled terms of equations 2 and 3, each a scalar."""
        config, reports, found = self.config, batch["report"], {}
        labels = self.labels(reports) if "query" in config.terms else None  # (B, Q)
        asked = self.queries(self.entities.entities) if labels is not None else None  # (Q, D_t)
        ecg, order, pooled, logits = place_leads(batch["ecg"]), [], [], []
        for rows, leads, keep in self.masks(len(ecg), self.ecg_encoder.segments(ecg.shape[-1])):
            z_e = self.ecg_encoder(ecg[rows.unsqueeze(1), leads], leads, keep)  # (B', L, C)
            order.append(rows)
            pooled.append(z_e.mean(dim=1))
            logits.append(None if asked is None else self.query_network(asked, z_e))
        order = torch.cat(order)  # the batch, group after group
        if "contrast" in config.terms:
            info = info_nce if config.direction == "both" else one_way_nce
            z_e, z_t = self.project_e(torch.cat(pooled)), self.project_t(self.text_vectors(reports))[order]
            options = {"positive_in_denominator": config.positive_in_denominator}
            found["contrast"] = info(z_e, z_t, config.temperature, **options)  # equation 2
        if "query" in config.terms:
            found["query"] = entity_bce(torch.cat(logits), labels[order], config.query_sum)  # equation 3
        return found

    forward = losses  # wrappers for several processes call the module itself

    def ecg_tokens(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """z_e of the leads that are there, in their usual order: (B, S, T) millivolts -> (B, L, C)."""
        present = list(range(N_LEADS)) if leads is None else sorted(lead_indices(leads))
        return self.ecg_encoder(place_leads(ecg, leads)[:, present], torch.tensor(present, device=ecg.device))

    def encode_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """(B, S, T) millivolts -> (B, D), unit length."""
        return F.normalize(self.project_e(self.ecg_tokens(ecg, leads).mean(dim=1)), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """List of B strings -> (B, D), unit length."""
        return F.normalize(self.project_t(self.text_vectors(texts)), dim=-1)

    def encode_classes(self, prompts: Sequence[Sequence[str]]) -> Tensor:
        """C lists of prompts -> (C, D_t) queries; of several prompts, the mean of their unit vectors is asked."""
        if self.config.score_with == "cosine":
            return super().encode_classes(prompts)
        return class_embeddings(self.queries, prompts)

    def score(
        self, ecg: Tensor, classes: Sequence[Sequence[str]] | Tensor, leads: Sequence[str] | None = None
    ) -> Tensor:
        """(B, S, T) and C lists of prompts, or their (C, D_t) -> (B, C) logits; their sigmoid is the probability."""
        if self.config.score_with == "cosine":
            return super().score(ecg, classes, leads)
        asked = classes if isinstance(classes, Tensor) else self.encode_classes(classes)
        return self.query_network(asked, self.ecg_tokens(ecg, leads))


LIMITS = {
    "min_masked_leads": (0, N_LEADS - 1),
    "query_layers": (1, 48),
    "query_heads": (1, 48),
    "segment_mask_ratio": (0, 0.95),
    "dropout": (0, 0.95),
}


def masked_range(config: Config) -> tuple[int, int]:
    """Fewest and most masked leads: up to eleven, or the middle of that range always, or none (table 2d)."""
    fewest, most = config.min_masked_leads, N_LEADS - 1
    middle = (fewest + most) // 2
    return {"dynamic": (fewest, most), "fixed": (middle, middle), "none": (0, 0)}[config.lead_masking]


def check(config: Config) -> None:
    """Refuse values that no row of the paper's tables has. Raises ParameterError naming the field."""
    checks.choices("K-MERL", config)
    checks.some_of("K-MERL", config, "terms", TERMS)
    scorer = {"query": "query", "cosine": "contrast"}[config.score_with]
    if scorer not in config.terms:
        other = {"query": "cosine", "cosine": "query"}[config.score_with]
        raise ParameterError(f"K-MERL: without the term {scorer}, score_with is {other}, not '{config.score_with}'")
    checks.within("K-MERL", config, LIMITS | {"token_samples": (1, config.record_samples)})
    checks.positive("K-MERL", config, "temperature")
    entity_table.check_name(config.entities)


def build(config: Config, text_encoder: TextEncoder | None = None, entities: Entities = None) -> KMERL:
    """The model of a Config, freshly initialised; a text tower or a mined entity table can be handed in."""
    check(config)
    if entities is not None:
        config = replace(config, entities=entity_table.store(entities))
    segments = math.ceil(config.record_samples / config.token_samples)  # M
    shown = config.lead_tokens, config.lead_positions, config.time_positions
    ecg_encoder = LeadViT(config.ecg_encoder, config.token_samples, segments, *shown)
    tower = text_encoder or TextEncoder(config.text_encoder, config.trainable_text_layers)
    return KMERL(config, ecg_encoder, tower, entities or entity_table.find(config.entities))


DEMO = {  # a small encoder, ECGs at 100 Hz, MiniLM
    "ecg_encoder": "demo",
    "token_samples": 50,
    "record_samples": 1000,
    "query_width": 64,
    "width": 128,
    "text_encoder": "minilm",
}
paper_config, demo_config, paper_model, demo_model = sizes(Config, build, DEMO)
