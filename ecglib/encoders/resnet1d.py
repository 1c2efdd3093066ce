"""ResNet-1D for 12-lead ECGs: the encoder of MERL, DERI and FG-CLEP.

He et al. 2016 (basic and bottleneck blocks) with one-dimensional convolutions. As in the released MERL code the
stem has no max-pooling, so 5,000 samples give 313 tokens.
"""

import torch
from torch import Tensor, nn

STAGE_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}


class BasicBlock(nn.Module):
    """Two 3-tap convolutions and a shortcut: (B, C_in, T) -> (B, C_out, ceil(T / stride))."""

    def __init__(self, c_in: int, c_out: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv1d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm1d(c_out)
        self.conv2 = nn.Conv1d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(c_out)
        self.shortcut = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv1d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm1d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet1d(nn.Module):
    """Residual network over time; the leads are input channels.

    Args:
        depth: 18 or 34.
        stage_widths: channels of the four stages; the paper-scale network has (64, 128, 256, 512).
        stem_stride: stride of the first convolution (7 taps).
        n_leads: input channels S.

    ``forward``: (B, S, T) -> (B, L, C) with C = ``stage_widths[-1]`` and L = T / (8 * stem_stride), rounded up.
    """

    def __init__(
        self,
        depth: int = 18,
        stage_widths: tuple[int, ...] = (64, 128, 256, 512),
        stem_stride: int = 2,
        n_leads: int = 12,
    ):
        super().__init__()
        if depth not in STAGE_BLOCKS:
            raise ValueError(f"ResNet1d has depths {sorted(STAGE_BLOCKS)}, not {depth}")
        self.width = stage_widths[-1]
        self.stem = nn.Sequential(
            nn.Conv1d(n_leads, stage_widths[0], 7, stem_stride, 3, bias=False),
            nn.BatchNorm1d(stage_widths[0]),
            nn.ReLU(),
        )
        blocks, c_in = [], stage_widths[0]
        for stage, (count, c_out) in enumerate(zip(STAGE_BLOCKS[depth], stage_widths, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(BasicBlock(c_in, c_out, stride))
                c_in = c_out
        self.blocks = nn.Sequential(*blocks)

    def forward(self, ecg: Tensor) -> Tensor:
        x = self.blocks(self.stem(ecg))  # (B, C, L)
        return x.transpose(1, 2)  # (B, L, C)
