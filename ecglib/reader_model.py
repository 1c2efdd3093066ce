"""The network that becomes a reader: an ECG tower, a frozen text tower, and two terms.

Whole reports are contrasted as in MERL; besides, every entity of the knowledge base is asked for in every record, as in
K-MERL (section 3.5), but by a cosine instead of a query network, so that a reader needs no text afterwards.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.encoders.inputs import place_leads
from ecglib.encoders.resnet1d import ResNet1d
from ecglib.knowledge.entity_table import EntityTable, ReportLabels
from ecglib.losses import PairLogits, entity_bce, info_nce
from ecglib.prompts import CosineScores
from ecglib.text import TextEncoder


@dataclass(frozen=True)
class Config:
    """The small ResNet of the demos, for ECGs at 100 Hz."""

    width: int = 128  # D, the space that ECGs and texts share
    resnet_depth: int = 18
    stage_widths: tuple[int, ...] = (32, 64, 128, 256)
    stem_stride: int = 4
    temperature: float = 0.07  # of the contrast of whole reports
    first_logit: float = -6.0  # of an entity before training; few are in a report
    text_encoder: str = "minilm"


class EcgSide(nn.Module):
    """All that reads an ECG: (B, S, T) millivolts -> (B, D), not of unit length."""

    def __init__(self, config: Config):
        super().__init__()
        self.resnet = ResNet1d(config.resnet_depth, config.stage_widths, config.stem_stride)
        self.project = nn.Linear(2 * self.resnet.width, config.width)

    def forward(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        tokens = self.resnet(place_leads(ecg, leads))  # (B, L, C)
        # The mean tells what all beats share, the largest value what a single one shows.
        return self.project(torch.cat([tokens.mean(dim=1), tokens.amax(dim=1)], dim=-1))


class ReaderModel(CosineScores, nn.Module):
    """Both towers and both terms; `ecglib.reader.Reader` keeps the ECG side alone."""

    stem = "reader_model"

    def __init__(self, config: Config, text_encoder: TextEncoder | None = None):
        super().__init__()
        self.config, self.text_encoder = config, text_encoder or TextEncoder(config.text_encoder)
        self.ecg_side = EcgSide(config)
        self.project_t = nn.Linear(self.text_encoder.width, config.width)
        self.pair_logits = PairLogits(config.first_logit)
        self.usual = nn.Linear(self.text_encoder.width, 1, bias=False)  # how often an entity is named, by its words
        nn.init.zeros_(self.usual.weight)
        self.entities = EntityTable.of_knowledge()
        self._labels = ReportLabels(self.entities)
        self.loss_weights = {"contrast": 1.0, "entities": 1.0}

    def prepare(self, texts: Iterable[str]) -> None:
        """Frozen states of reports and entities, and the entities of every distinct report, once."""
        texts = list(texts)
        self._labels(texts)
        self.text_encoder.prepare([*texts, *self.entities.entities])

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """MERL's cross-modal alignment and the entity term of K-MERL, eq. 3, each a scalar."""
        z_e = self.ecg_side(batch["ecg"])
        z_t = self.project_t(self.text_encoder.vectors(batch["report"]))
        asked = self.text_encoder.vectors(self.entities.entities)  # (Q, D_t)
        logits = self.pair_logits.matrix(z_e, self.project_t(asked)) + self.usual(asked).T  # (B, Q)
        named = torch.from_numpy(self._labels(batch["report"])).to(logits.device)
        return {
            "contrast": info_nce(z_e, z_t, self.config.temperature),
            "entities": entity_bce(logits, named, per_record=True),
        }

    forward = losses

    def encode_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """(B, S, T) millivolts -> (B, D), unit length."""
        return F.normalize(self.ecg_side(ecg, leads), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """List of B strings -> (B, D), unit length."""
        return F.normalize(self.project_t(self.text_encoder.vectors(texts)), dim=-1)
