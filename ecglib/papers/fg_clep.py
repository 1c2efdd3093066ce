"""FG-CLEP: fine-grained contrastive language ECG pre-training.

Adds to contrastive alignment a sigmoid loss for several findings at once, a semantic similarity matrix against false
negatives, and a second stage on reports that waveform features were added to, each checked by the first stage.

    papermill notebooks/fg_clep_pretrain.ipynb    # demo: one and a half to two minutes on two cores, simulated ECGs
    papermill notebooks/fg_clep_reports.ipynb     # what was proposed, kept and true
    papermill notebooks/fg_clep_zero_shot.ipynb   # paper: average macro AUC 82.27 over six tasks (tables 2 and 4)
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.data.store import RecordStore
from ecglib.encoders.inputs import place_leads
from ecglib.encoders.resnet_or_vit import resnet_or_vit
from ecglib.errors import ParameterError
from ecglib.fine_grained import FineGrained, extend, propose, verify
from ecglib.fusion import projector
from ecglib.losses import PairLogits, cosine_matrix, false_negative_mitigation, gather_batch, info_nce, pairwise_sigmoid
from ecglib.papers import checks
from ecglib.papers.card import read_record
from ecglib.papers.sizes import sizes
from ecglib.prompts import LikeliestScores, in_every_lead
from ecglib.text import TextEncoder

CARD, DEVIATIONS = read_record(__file__)


@dataclass(frozen=True)
class Config:
    """The paper's values; each field names its source. "Open" is what the paper does not say."""

    width: int = 256  # P of equations 1b and 2b; open
    projector: Literal["linear", "mlp"] = "linear"  # f_e and f_t; open
    loss: Literal["sigmoid", "info_nce"] = "sigmoid"  # equation 5; table 4, "w/o architecture modification"
    sign: Literal["intended", "printed"] = "intended"  # of the similarity in equation 5; "printed" pushes pairs apart
    scale_form: Literal["exp", "plain"] = "exp"  # the factor is e^t with t = log 10, as in SigLIP; "plain": t itself
    initial_bias: float = -10.0  # b, "Pre-training Implementation"
    fnm_weight: float = 0.03  # lambda of equation 7; open; 0 leaves L_fnm out
    semantic_gradient: bool = True  # whether S of equation 3 passes a gradient; open
    probability: Literal["learned", "printed"] = "learned"  # equation 8 with t and b of equation 5; sigma(sim) alone
    threshold: float = 0.02  # above it a feature enters the report (algorithm 1, line 8); open
    lead_ensemble: bool = False  # the rows ENS of table 2; tables 4 to 7 average the rows without
    ecg_encoder: Literal["resnet18", "resnet50", "resnet152", "vit"] = "resnet50"  # table 7
    stage_widths: tuple[int, ...] = (64, 128, 256, 512)  # He et al. 2016
    stem_stride: int = 2
    vit_width: int = 192  # ViT-tiny; which ViT table 7 has is open
    vit_depth: int = 12
    vit_heads: int = 3
    vit_patch: int = 50
    text_encoder: str = "bioclinicalbert"  # table 6 has others
    trainable_text_layers: int = -1  # the whole tower learns; open


CHOICES = checks.choices_of(Config)


SCHEDULES = {
    # "Pre-training Implementation": 10 epochs in stage 1, batches of 100, AdamW 2e-5, weight decay 1e-4, cosine with
    # warm-up over the first tenth.
    "paper": {"epochs": 10, "batch_size": 100, "lr": 2e-5, "weight_decay": 1e-4},
    "gpu": {"epochs": 4, "lr": 2e-4},  # a text tower that learns whole does not bear the profile's 1e-3; not measured
    "demo": {"epochs": 2},
}
STAGE_2_EPOCHS = {"paper": 3, "gpu": 2, "demo": 2}  # both stages of gpu and demo last as long as one of another method


class FGCLEP(LikeliestScores, nn.Module):
    """The composition of figure 4. Parts come from outside; ``build`` makes them from a Config."""

    stem = "fg_clep"

    def __init__(self, config: Config, ecg_encoder: nn.Module, text_encoder: TextEncoder):
        super().__init__()
        check(config)
        self.pair_logits = PairLogits(  # t and b of equation 5
            config.initial_bias if config.loss == "sigmoid" else None,
            torch.exp if config.scale_form == "exp" else nn.Identity(),
        )
        self.config, self.ecg_encoder, self.text_encoder = config, ecg_encoder, text_encoder
        contrast = "sig" if config.loss == "sigmoid" else "nce"
        self.loss_weights = {contrast: 1.0} | ({"fnm": config.fnm_weight} if config.fnm_weight else {})  # equation 7
        self.project_e = projector(config.projector, ecg_encoder.width, config.width)  # f_e
        self.project_t = projector(config.projector, text_encoder.width, config.width)  # f_t

    def prepare(self, texts: Sequence[str]) -> None:
        """Compute what depends on the texts alone, once: the frozen states of each distinct one."""
        self.text_encoder.prepare(texts)

    def embed_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """e_p = f_e(E_ecg(x)), equation 1: (B, S, T) millivolts -> (B, D)."""
        tokens = self.ecg_encoder(place_leads(ecg, leads))  # (B, L, C)
        return self.project_e(tokens.mean(dim=1))

    def embed_text(self, texts: Sequence[str]) -> Tensor:
        """t_p = f_t(E_txt(x)), equation 2: B strings -> (B, D)."""
        return self.project_t(self.text_encoder.vectors(texts))

    def logits(self, similarity: Tensor) -> Tensor:
        """What z_ij multiplies in the exponent of equation 5; the shape stays."""
        return self.pair_logits(similarity if self.config.sign == "intended" else -similarity)

    def probability(self, similarity: Tensor) -> Tensor:
        """P that an ECG and a text of this cosine similarity match, equation 8; the shape stays."""
        return torch.sigmoid(self.logits(similarity) if self.config.probability == "learned" else similarity)

    def losses(self, batch: dict) -> dict[str, Tensor]:
        """L_sig of equation 5, or its InfoNCE variant, and L_fnm of equation 6, each a scalar."""
        e_p, t_p = self.embed_ecg(batch["ecg"]), self.embed_text(batch["report"])
        everyone = gather_batch(t_p)
        similarity = cosine_matrix(gather_batch(e_p), everyone)  # (B, B)
        if self.config.loss == "sigmoid":
            terms = {"sig": pairwise_sigmoid(self.logits(similarity))}
        else:
            terms = {"nce": info_nce(e_p, t_p, 1 / self.pair_logits.scale())}
        if self.config.fnm_weight:
            of_text = everyone if self.config.semantic_gradient else everyone.detach()
            terms["fnm"] = false_negative_mitigation(similarity, cosine_matrix(of_text, of_text))  # S of equation 3
        return terms

    forward = losses  # wrappers for several processes call the module itself

    def encode_ecg(self, ecg: Tensor, leads: Sequence[str] | None = None) -> Tensor:
        """(B, S, T) millivolts -> (B, D), unit length."""
        return F.normalize(self.embed_ecg(ecg, leads), dim=-1)

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """List of B strings -> (B, D), unit length."""
        return F.normalize(self.embed_text(texts), dim=-1)

    def fine_grained(self, store: RecordStore, reports: Sequence[str], backend: str = "knowledge") -> FineGrained:
        """Algorithm 1, part 2: every report with those proposed waveform features that this model finds in its ECG."""
        checked = verify(self, store, reports, proposals := propose(reports, backend))
        return FineGrained(extend(reports, checked, self.config.threshold), proposals.asked)

    def versions(self, prompts: Sequence[Sequence[str]]) -> list[Sequence[Sequence[str]]]:
        """Each class itself and, with the ensemble, in each of 12 leads.

        The cosine decides: the probability of equation 8 grows with it, so both rank alike, and it does not saturate.
        """
        return [prompts, *(in_every_lead(prompts) if self.config.lead_ensemble else ())]

    def scored_with(self, **changes) -> "FGCLEP":
        """The same weights under other values of ``lead_ensemble``, ``probability`` or ``threshold``."""
        if training := set(changes) - {"lead_ensemble", "probability", "threshold"}:
            raise ParameterError(f"FG-CLEP: {', '.join(sorted(training))} cannot be changed without training again")
        other = copy.copy(self)
        other.config = dataclasses.replace(self.config, **changes)
        check(other.config)
        return other


def check(config: Config) -> None:
    """Refuse values that no row of the paper's tables has. Raises ParameterError naming the field."""
    checks.choices("FG-CLEP", config)
    if not 0 <= config.fnm_weight < math.inf:
        raise ParameterError(f"FG-CLEP: fnm_weight is zero or positive, not {config.fnm_weight}")
    if not 0 <= config.threshold <= 1:
        raise ParameterError(f"FG-CLEP: threshold is a probability, 0 to 1, not {config.threshold}")
    if not math.isfinite(config.initial_bias):
        raise ParameterError(f"FG-CLEP: initial_bias is a finite number, not {config.initial_bias}")


def build(config: Config, text_encoder: TextEncoder | None = None) -> FGCLEP:
    """The model of a Config, freshly initialised; a text tower that is loaded already can be handed in."""
    check(config)
    tower = text_encoder or TextEncoder(config.text_encoder, config.trainable_text_layers)
    return FGCLEP(config, resnet_or_vit(config), tower)


DEMO = {  # half the width, ECGs at 100 Hz, MiniLM frozen
    "width": 128,
    "ecg_encoder": "resnet18",  # of equal size, ResNet50's bottlenecks take longer
    "stage_widths": (32, 64, 128, 256),
    "stem_stride": 4,
    "vit_width": 128,
    "vit_depth": 5,
    "vit_heads": 4,
    "vit_patch": 10,
    "text_encoder": "minilm",
    "trainable_text_layers": 0,
}
paper_config, demo_config, paper_model, demo_model = sizes(Config, build, DEMO)
