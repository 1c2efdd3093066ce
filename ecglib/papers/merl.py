"""MERL: Multimodal ECG Representation Learning, the baseline that the five papers compare with.

Two alignments: of an ECG with its report (CMA), and of an ECG with itself under latent dropout (UMA).

    papermill notebooks/merl_pretrain.ipynb       # demo: one and a half to two minutes on two cores, simulated ECGs
    papermill notebooks/merl_zero_shot.ipynb      # quoted: average macro AUC 75.25 over six tasks (DERI, figure 3)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.encoders.inputs import place_leads
from ecglib.encoders.resnet_or_vit import resnet_or_vit
from ecglib.fusion import AttentionPool, MeanProjector, projector
from ecglib.losses import info_nce
from ecglib.papers import checks
from ecglib.papers.card import read_record
from ecglib.papers.sizes import sizes
from ecglib.prompts import CosineScores
from ecglib.text import TextEncoder

CARD, DEVIATIONS = read_record(__file__)

TERMS = ("cma", "uma")

SCHEDULES = {
    # Released configuration: 20 epochs, 8 processes with 128 pairs each, AdamW 1e-3, weight decay 1e-8.
    "paper": {"epochs": 20, "batch_size": 8 * 128, "lr": 1e-3, "weight_decay": 1e-8},
}


@dataclass(frozen=True)
class Config:
    """The values of the released code, where nothing else is said."""

    ecg_encoder: Literal["resnet18", "vit_tiny"] = "resnet18"  # both were released; K-MERL's table 1 has a row for each
    width: int = 256  # D, the shared space
    terms: tuple[str, ...] = TERMS
    temperature: float = 0.07  # of both terms, never learned
    uma_views: Literal["dropout", "linear"] = "dropout"  # of one embedding, as DERI section 3.4 tells; linear: released
    dropout: float = 0.1  # of the two views
    pool_heads: int = 4  # of the attention pooling behind the ResNet
    stage_widths: tuple[int, ...] = (64, 128, 256, 512)  # ResNet18-1D
    stem_stride: int = 2
    vit_width: int = 192  # ViT-tiny
    vit_depth: int = 12
    vit_heads: int = 3
    vit_patch: int = 50  # samples: a tenth of a second at 500 Hz
    text_encoder: str = "medcpt"
    trainable_text_layers: int = 0  # the released tower is frozen whole


CHOICES = checks.choices_of(Config)


class MERL(CosineScores, nn.Module):
    """Two encoders, two projectors, two alignments. Parts come from outside; ``build`` makes them from a Config."""

    stem = "merl"

    def __init__(self, config: Config, ecg_encoder: nn.Module, text_encoder: TextEncoder):
        super().__init__()
        check(config)
        self.config, self.ecg_encoder, self.text_encoder = config, ecg_encoder, text_encoder
        self.loss_weights = dict.fromkeys(config.terms, 1.0)
        width = config.width
        if config.ecg_encoder == "resnet18":
            self.down: nn.Module = nn.Linear(ecg_encoder.width, width)  # a 1x1 convolution
            self.project_e: nn.Module = AttentionPool(width, config.pool_heads)
        else:
            self.down = nn.Identity()
            self.project_e = MeanProjector(ecg_encoder.width, width)
        self.project_t = projector("mlp", text_encoder.width, width)
        latent = width if config.ecg_encoder == "resnet18" else ecg_encoder.width

        def view() -> nn.Module:
            dropout = nn.Dropout(config.dropout)
            return dropout if config.uma_views == "dropout" else nn.Sequential(nn.Linear(latent, latent), dropout)

        self.views = nn.ModuleList([view(), view()])

    def prepare(self, texts: Iterable[str]) -> None:
        """Frozen states of all reports, once."""
        self.text_encoder.prepare(texts)

    def ecg_tokens(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """z_e: (B, S, T) millivolts -> (B, L, D), or (B, L, C) of the ViT's own width."""
        return self.down(self.ecg_encoder(place_leads(ecg, leads)))

    def latent_views(self, z_e: Tensor) -> tuple[Tensor, Tensor]:
        """Latent dropout: the mean of the tokens twice, each with dropout of its own. (B, L, D) -> two of (B, D)."""
        latent = z_e.mean(dim=1)
        return self.views[0](latent), self.views[1](latent)

    def text_vectors(self, texts: Sequence[str]) -> Tensor:
        """B strings -> (B, D)."""
        return self.project_t(self.text_encoder.vectors(texts))

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """The enabled alignments, each a scalar."""
        z_e = self.ecg_tokens(batch["ecg"])
        pairs = {
            "cma": lambda: (self.project_e(z_e), self.text_vectors(batch["report"])),
            "uma": lambda: self.latent_views(z_e),
        }
        return {term: info_nce(*pairs[term](), self.config.temperature) for term in self.config.terms}

    forward = losses  # wrappers for several processes call the module itself

    def encode_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """(B, S, T) millivolts -> (B, D), unit length."""
        return F.normalize(self.project_e(self.ecg_tokens(ecg, leads)), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """List of B strings -> (B, D), unit length."""
        return F.normalize(self.text_vectors(texts), dim=-1)


def check(config: Config) -> None:
    """Refuse values that no variant of MERL has. Raises ParameterError naming the field."""
    checks.choices("MERL", config)
    checks.some_of("MERL", config, "terms", TERMS)
    checks.positive("MERL", config, "temperature")
    checks.fractions("MERL", config, "dropout")
    checks.splits(
        "MERL", config, ("width", "pool_heads") if config.ecg_encoder == "resnet18" else ("vit_width", "vit_heads")
    )


def build(config: Config, text_encoder: TextEncoder | None = None) -> MERL:
    """The model of a Config, freshly initialised; a text tower that is loaded already can be handed in."""
    check(config)
    tower = text_encoder or TextEncoder(config.text_encoder, config.trainable_text_layers)
    return MERL(config, resnet_or_vit(config), tower)


DEMO = {  # half the width, ECGs at 100 Hz, MiniLM
    "width": 128,
    "stage_widths": (32, 64, 128, 256),
    "stem_stride": 4,
    "text_encoder": "minilm",
    "vit_width": 96,
    "vit_depth": 8,
    "vit_patch": 10,
}
paper_config, demo_config, paper_model, demo_model = sizes(Config, build, DEMO)
