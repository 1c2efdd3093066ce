"""Vision transformer over time for 12-lead ECGs: the second encoder of MERL, also compared by FG-CLEP and ESI.

Dosovitskiy et al. 2021 with patches of time instead of patches of an image: a patch holds all leads, so the tokens are
lead-agnostic. MERL's is ViT-tiny: 50 samples a patch, so 5,000 samples give 100 tokens.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.errors import ParameterError


class DropPath(nn.Module):
    """Leave a residual branch out for whole records, with probability ``rate`` while training (Huang et al. 2016)."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) >= self.rate  # (B, 1, ...)
        return x * kept / (1.0 - self.rate)


class Block(nn.Module):
    """Self-attention and a two-layer perceptron, normalisation first: (B, L, C) -> (B, L, C)."""

    def __init__(self, width: int, heads: int, mlp: int, dropout: float = 0.0, drop_path: float = 0.0):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp), nn.GELU(), nn.Dropout(dropout), nn.Linear(mlp, width))
        self.dropout = nn.Dropout(dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        attended, _ = self.attention(y, y, y, need_weights=False)
        x = x + self.drop_path(self.dropout(attended))
        return x + self.drop_path(self.dropout(self.mlp(self.norm2(x))))


class ViT1d(nn.Module):
    """Transformer over patches of time; the leads are input channels.

    Args:
        width, depth, heads, mlp: ViT-tiny is 192, 12, 3 and 768; ``mlp`` 0 means four times the width.
        patch: samples of one token; 50 at 500 Hz is a tenth of a second.
        positions: learned positions, one per token; 100 serve ten seconds in patches of 50 at 500 Hz.
        dropout: of attention weights, attention output and perceptron, while training.
        drop_path: share of records whose last block is left out while training; it grows linearly from 0 at the first.
        n_leads: input channels S.

    ``forward``: (B, S, T) -> (B, L, C) with C = ``width`` and L = T / patch, rounded up: the last patch is filled with
    zeros. Positions serve any length: a shorter record uses the first L, so that a position keeps its instant; for a
    longer one they are stretched, by linear interpolation, over all of it.
    """

    def __init__(
        self,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        mlp: int = 0,
        patch: int = 50,
        positions: int = 100,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        n_leads: int = 12,
    ):
        super().__init__()
        if width % heads:
            raise ParameterError(f"ViT1d: width {width} is not a multiple of heads {heads}")
        self.width, self.patch = width, patch
        self.embed = nn.Conv1d(n_leads, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn(positions, width))
        rates = [drop_path * i / max(1, depth - 1) for i in range(depth)]
        self.blocks = nn.Sequential(*[Block(width, heads, mlp or 4 * width, dropout, rate) for rate in rates])
        self.norm = nn.LayerNorm(width)

    def positions_for(self, length: int) -> Tensor:
        """Positions of a record of ``length`` tokens: (L, C)."""
        if length <= len(self.positions):
            return self.positions[:length]
        table = self.positions.T.unsqueeze(0)  # (1, C, P)
        return F.interpolate(table, size=length, mode="linear", align_corners=True)[0].T

    def forward(self, ecg: Tensor) -> Tensor:
        whole = F.pad(ecg, (0, -ecg.shape[-1] % self.patch))  # (B, S, L * patch)
        tokens = self.embed(whole).transpose(1, 2)  # (B, L, C)
        return self.norm(self.blocks(tokens + self.positions_for(tokens.shape[1])))
