"""XResNet1d101: the supervised encoder of Strodthoff et al. 2020 on PTB-XL, one row of ESI's table 5b.

A ResNet with the tweaks of He et al. 2019 (three convolutions in the stem, average pooling in the shortcut, last
normalisation of a block starts at zero), five taps instead of three, and 64 channels in every stage, which is why 101
layers have 1.8 million parameters only.
"""

import torch
from torch import Tensor, nn


def _conv(c_in: int, c_out: int, taps: int, stride: int = 1, *, zero: bool = False, act: bool = True) -> nn.Sequential:
    """Convolution, batch normalisation and, if ``act``, ReLU: (B, C_in, T) -> (B, C_out, ceil(T / stride))."""
    conv = nn.Conv1d(c_in, c_out, taps, stride, taps // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight)
    norm = nn.BatchNorm1d(c_out)
    if zero:
        nn.init.zeros_(norm.weight)
    return nn.Sequential(conv, norm, *([nn.ReLU()] if act else []))


class Bottleneck(nn.Module):
    """1, ``taps`` and 1 taps with a shortcut: (B, C_in, T) -> (B, 4 * width, ceil(T / stride)).

    At the start a block passes its shortcut alone, since its last normalisation is zero.
    """

    def __init__(self, c_in: int, width: int, taps: int, stride: int):
        super().__init__()
        c_out = 4 * width
        self.path = nn.Sequential(
            _conv(c_in, width, 1), _conv(width, width, taps, stride), _conv(width, c_out, 1, zero=True, act=False)
        )
        shortcut: list[nn.Module] = [nn.AvgPool1d(2, stride, ceil_mode=True)] if stride != 1 else []
        shortcut += [_conv(c_in, c_out, 1, act=False)] if c_in != c_out else []
        self.shortcut = nn.Sequential(*shortcut)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.path(x) + self.shortcut(x))


class XResNet1d101(nn.Module):
    """101 layers over time; the leads are input channels.

    Args:
        width: channels inside the blocks of every stage; they give 4 times as many.
        taps: of every convolution that is longer than one sample.
        n_leads: input channels S.

    ``forward``: (B, S, T) -> (B, L, C) with C = 4 * width and L = T / 32, rounded up: 5,000 samples give 157 tokens.
    """

    def __init__(self, width: int = 64, taps: int = 5, n_leads: int = 12):
        super().__init__()
        self.width = 4 * width
        half = width // 2
        layers: list[nn.Module] = [
            _conv(n_leads, half, taps, 2),
            _conv(half, half, taps),
            _conv(half, width, taps),
            nn.MaxPool1d(3, 2, 1),
        ]
        c_in = width
        for stage, blocks in enumerate((3, 4, 23, 3)):
            for block in range(blocks):
                layers.append(Bottleneck(c_in, width, taps, 2 if stage and not block else 1))
                c_in = self.width
        self.layers = nn.Sequential(*layers)

    def forward(self, ecg: Tensor) -> Tensor:
        return self.layers(ecg).transpose(1, 2)  # (B, L, C)
