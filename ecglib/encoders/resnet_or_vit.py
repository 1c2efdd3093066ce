"""The choice between a ResNet and a vision transformer that several papers offer."""

from typing import Protocol

from torch import nn

from ecglib.encoders.resnet1d import ResNet1d
from ecglib.encoders.vit1d import ViT1d


class Fields(Protocol):
    """What a Config must say of both; samples are those of one patch."""

    ecg_encoder: str  # "resnet18" and other depths, else a vision transformer
    stage_widths: tuple[int, ...]
    stem_stride: int
    vit_width: int
    vit_depth: int
    vit_heads: int
    vit_patch: int


def resnet_or_vit(config: Fields) -> nn.Module:
    """The ECG encoder that ``config`` names, freshly initialised: (B, S, T) -> (B, L, C)."""
    kind, _, depth = config.ecg_encoder.partition("resnet")
    if kind:
        return ViT1d(config.vit_width, config.vit_depth, config.vit_heads, patch=config.vit_patch)
    return ResNet1d(int(depth), config.stage_widths, config.stem_stride)
