"""DERI: Deep ECG-Report Interaction.

Adds to contrastive alignment a cross-modal reconstruction of features, a second alignment of mixed encodings and a
masked enhancement of the ECG tokens (RME).

    papermill notebooks/deri_pretrain.ipynb       # demo: two and a half to four minutes on two cores, simulated ECGs
    papermill notebooks/deri_zero_shot.ipynb      # paper: average macro AUC 78.73 over six tasks (figure 3)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.encoders.inputs import place_leads
from ecglib.encoders.resnet1d import ResNet1d
from ecglib.fusion import AttentionMean, FeatureDecoder, projector
from ecglib.losses import info_nce
from ecglib.masking import keep_mask
from ecglib.papers import checks
from ecglib.papers.card import read_record
from ecglib.papers.sizes import sizes
from ecglib.prompts import CosineScores
from ecglib.text import TextEncoder

CARD, DEVIATIONS = read_record(__file__)

TERMS = ("align", "mixed", "dec_e", "dec_t", "rme")  # the columns of table 4


@dataclass(frozen=True)
class Config:
    """The paper's values; each field names its source."""

    width: int = 256  # D, hidden size of the decoders (section 4.2)
    decoder_depth: int = 2  # section 4.2
    decoder_heads: int = 8  # section 4.2
    terms: tuple[str, ...] = TERMS  # equation 9; table 4 leaves one out at a time
    temperature: float = 0.07  # released code; 0.7 in section 3.2
    positive_in_denominator: bool = True  # the indicator of equation 2 would drop it
    rme: Literal["attention", "linear", "dropout"] = "attention"  # the rows of table 5
    mask_ratio: float = 0.1  # section 3.4; table 6 goes to 0.5
    shared_embedding: bool = True  # SE_t of equation 6; table 7 removes it
    score_with: Literal["mixed", "aligned"] = "mixed"  # table 7
    projector: Literal["linear", "mlp"] = "linear"  # section 3.2; "mlp" as released
    dropout: float = 0.1  # of decoders and of the latent-dropout variant
    resnet_depth: int = 18  # section 4.2
    stage_widths: tuple[int, ...] = (64, 128, 256, 512)
    stem_stride: int = 2
    text_encoder: str = "medcpt"  # section 4.2
    trainable_text_layers: int = 0  # the released tower is frozen whole


CHOICES = checks.choices_of(Config)


SCHEDULES = {"paper": {"epochs": 50, "batch_size": 4 * 512, "lr": 1e-3, "weight_decay": 1e-8}}  # section 4.2


class DERI(CosineScores, nn.Module):
    """The composition of figure 1. Parts come from outside; ``build`` makes them from a Config."""

    stem = "deri"

    def __init__(self, config: Config, ecg_encoder: nn.Module, text_encoder: TextEncoder):
        super().__init__()
        check(config)
        self.config, self.ecg_encoder, self.text_encoder = config, ecg_encoder, text_encoder
        self.loss_weights = dict.fromkeys(config.terms, 1.0)  # equation 9 is a plain sum
        width, dropout = config.width, config.dropout
        self.down = nn.Linear(ecg_encoder.width, width)  # encoder channels -> z_e
        self.project_e = projector(config.projector, width, width)  # P_e
        self.project_t = projector(config.projector, text_encoder.width, width)  # P_t
        depth, heads = config.decoder_depth, config.decoder_heads
        self.decode_e = FeatureDecoder(width, depth, heads, dropout)  # D_e: text -> ECG
        self.decode_t = FeatureDecoder(width, depth, heads, dropout, shared_tokens=int(config.shared_embedding))
        self.to_text = nn.Linear(width, text_encoder.width)  # decoded text feature -> space of z_t
        self.enhance = {
            "attention": lambda: AttentionMean(width, heads),
            "linear": lambda: nn.Linear(width, width),
            "dropout": lambda: nn.Dropout(dropout),
        }[config.rme]()

    def prepare(self, texts: Sequence[str]) -> None:
        """What of the reports alone can be computed before training: the frozen states."""
        self.text_encoder.prepare(texts)

    def ecg_tokens(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """z_e: (B, S, T) millivolts -> (B, L, D)."""
        return self.down(self.ecg_encoder(place_leads(ecg, leads)))

    def ecg_encodings(self, z_e: Tensor) -> tuple[Tensor, Tensor]:
        """Aligned A_e and decoded text D_t = D_t(Concat[A_e, SE_t]), equation 6: (B, L, D) -> two of (B, D)."""
        aligned = self.project_e(z_e)  # (B, L, D)
        return aligned.mean(dim=1), self.decode_t(aligned)

    def text_encodings(self, texts: Sequence[str]) -> tuple[Tensor, Tensor, Tensor]:
        """z_t (B, D_text), A_t (B, D), D_e(A_t) (B, D); each distinct text is encoded once."""
        pool = self.text_encoder.pool

        def encode(states: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            aligned = self.project_t(states)  # (B', L, D)
            return pool(states, mask), pool(aligned, mask), self.decode_e(aligned, mask)

        return self.text_encoder.each_once(texts, encode)

    def enhanced_views(self, z_e: Tensor) -> tuple[Tensor, Tensor]:
        """Two views of the ECG tokens for the RME term, equation 8 and table 5: (B, L, D) -> two of (B, D)."""
        if self.config.rme == "dropout":
            return self.enhance(z_e.mean(dim=1)), self.enhance(z_e.mean(dim=1))
        views = []
        for _ in range(2):
            masked = z_e * keep_mask(z_e.shape[:2], self.config.mask_ratio, z_e.device).unsqueeze(-1)
            views.append(self.enhance(masked if self.config.rme == "attention" else masked.mean(dim=1)))
        return views[0], views[1]

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """The enabled terms of equations 5, 7 and 8, each a scalar."""
        config = self.config
        z_e = self.ecg_tokens(batch["ecg"])
        a_e, d_t = self.ecg_encodings(z_e)
        z_t, a_t, d_e = self.text_encodings(batch["report"])
        pairs = {
            "align": lambda: (a_e, a_t),  # equation 1
            "mixed": lambda: (a_e + d_t, a_t + d_e),  # equation 4
            "dec_e": lambda: (z_e.mean(dim=1), d_e),  # equation 7, ECG side
            "dec_t": lambda: (z_t, self.to_text(d_t)),  # equation 7, report side
            "rme": lambda: self.enhanced_views(z_e),  # equation 8
        }
        return {
            term: info_nce(*pairs[term](), config.temperature, positive_in_denominator=config.positive_in_denominator)
            for term in config.terms
        }

    forward = losses  # wrappers for several processes call the module itself

    def encode_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """(B, S, T) millivolts -> (B, D), unit length: the mixed encoding, or the aligned one (table 7)."""
        aligned, decoded = self.ecg_encodings(self.ecg_tokens(ecg, leads))
        return F.normalize(aligned + decoded if self.config.score_with == "mixed" else aligned, dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """List of B strings -> (B, D), unit length: encoder and projector, section 3.5."""
        states, mask = self.text_encoder(texts)
        return F.normalize(self.text_encoder.pool(self.project_t(states), mask), dim=-1)


def check(config: Config) -> None:
    """Refuse values that no row of the paper's tables has. Raises ParameterError naming the field."""
    checks.choices("DERI", config)
    checks.some_of("DERI", config, "terms", TERMS)
    checks.positive("DERI", config, "temperature")
    checks.fractions("DERI", config, "mask_ratio")
    checks.splits("DERI", config, ("width", "decoder_heads"))


def build(config: Config, text_encoder: TextEncoder | None = None) -> DERI:
    """The model of a Config, freshly initialised; a text tower that is loaded already can be handed in."""
    ecg_encoder = ResNet1d(config.resnet_depth, config.stage_widths, config.stem_stride)
    return DERI(config, ecg_encoder, text_encoder or TextEncoder(config.text_encoder, config.trainable_text_layers))


# Half the width, ECGs at 100 Hz, MiniLM.
DEMO = {"width": 128, "stage_widths": (32, 64, 128, 256), "stem_stride": 4, "text_encoder": "minilm"}
paper_config, demo_config, paper_model, demo_model = sizes(Config, build, DEMO)
