"""ResNet-1D for 12-lead ECGs: the encoder of MERL, DERI and FG-CLEP.

He et al. 2016 (basic and bottleneck blocks) with one-dimensional convolutions. As in the released MERL code the
stem has no max-pooling, so 5,000 samples give 313 tokens.
"""

import torch
from torch import Tensor, nn

STAGE_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BOTTLENECK_FROM = 50  # He et al. 2016, table 1: from this depth on a block is a bottleneck


class BasicBlock(nn.Module):
    """Two 3-tap convolutions and a shortcut: (B, C_in, T) -> (B, C_out, ceil(T / stride))."""

    expansion = 1

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


class Bottleneck(nn.Module):
    """1-tap, 3-tap and 1-tap convolution around a narrow middle: (B, C_in, T) -> (B, 4 * C, ceil(T / stride)).

    The stride is that of the 3-tap convolution, so that no sample is skipped unread.
    """

    expansion = 4

    def __init__(self, c_in: int, c_middle: int, stride: int):
        super().__init__()
        c_out = self.expansion * c_middle
        self.conv1 = nn.Conv1d(c_in, c_middle, 1, bias=False)
        self.bn1 = nn.BatchNorm1d(c_middle)
        self.conv2 = nn.Conv1d(c_middle, c_middle, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm1d(c_middle)
        self.conv3 = nn.Conv1d(c_middle, c_out, 1, bias=False)
        self.bn3 = nn.BatchNorm1d(c_out)
        self.shortcut = nn.Identity()
        if stride != 1 or c_in != c_out:
            self.shortcut = nn.Sequential(nn.Conv1d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm1d(c_out))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class ResNet1d(nn.Module):
    """Residual network over time; the leads are input channels.

    Args:
        depth: 18 or 34 with basic blocks; 50, 101 or 152 with bottlenecks, which give four times the channels.
        stage_widths: channels of the four stages before that expansion; the paper-scale network has
            (64, 128, 256, 512).
        stem_stride: stride of the first convolution (7 taps).
        n_leads: input channels S.

    ``forward``: (B, S, T) -> (B, L, C) with C = ``width``, the last of ``stage_widths`` times the expansion of the
    block, and L = T / (8 * stem_stride), rounded up.
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
        block_type = BasicBlock if depth < BOTTLENECK_FROM else Bottleneck
        self.width = stage_widths[-1] * block_type.expansion
        self.stem = nn.Sequential(
            nn.Conv1d(n_leads, stage_widths[0], 7, stem_stride, 3, bias=False),
            nn.BatchNorm1d(stage_widths[0]),
            nn.ReLU(),
        )
        blocks, c_in = [], stage_widths[0]
        for stage, (count, channels) in enumerate(zip(STAGE_BLOCKS[depth], stage_widths, strict=True)):
            for block in range(count):
                stride = 2 if stage > 0 and block == 0 else 1
                blocks.append(block_type(c_in, channels, stride))
                c_in = channels * block_type.expansion
        self.blocks = nn.Sequential(*blocks)

    def forward(self, ecg: Tensor) -> Tensor:
        x = self.blocks(self.stem(ecg))  # (B, C, L)
        return x.transpose(1, 2)  # (B, L, C)
