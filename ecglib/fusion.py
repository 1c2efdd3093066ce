"""Parts that read one token sequence in the light of another: decoders, attention pooling, masked means."""

import math

import torch
from torch import Tensor, nn


def masked_mean(tokens: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over tokens: (B, L, D), mask (B, L) true where a token is real -> (B, D)."""
    if mask is None:
        return tokens.mean(dim=1)
    weight = mask.to(tokens.dtype).unsqueeze(-1)  # (B, L, 1)
    return (tokens * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1.0)


def sinusoidal_positions(length: int, width: int, device: torch.device | None = None) -> Tensor:
    """Fixed positions (L, D) of Vaswani et al. 2017, so that one model reads any length."""
    position = torch.arange(length, device=device, dtype=torch.float32).unsqueeze(1)
    frequency = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10000.0) / width))
    table = torch.zeros(length, width, device=device)
    table[:, 0::2] = torch.sin(position * frequency)
    table[:, 1::2] = torch.cos(position * frequency[: width // 2])
    return table


class FeatureDecoder(nn.Module):
    """Transformer that decodes the tokens of one modality into a feature of the other (DERI eq. 6).

    (B, L, D), mask (B, L) -> (B, D): self-attention blocks with pre-normalisation, then the mean over tokens.

    Args:
        width, depth, heads: DERI uses 256, 2 and 8 (section 4.2).
        shared_tokens: learned embeddings put behind the input tokens; DERI's SE_t is one such token.
    """

    def __init__(self, width: int, depth: int = 2, heads: int = 8, dropout: float = 0.1, shared_tokens: int = 0):
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.shared = nn.Parameter(0.02 * torch.randn(shared_tokens, width)) if shared_tokens else None

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        tokens = tokens + sinusoidal_positions(tokens.shape[1], tokens.shape[2], tokens.device)
        if self.shared is not None:
            batch = len(tokens)
            tokens = torch.cat([tokens, self.shared.expand(batch, -1, -1)], dim=1)  # (B, L + n, D)
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones(batch, len(self.shared))], dim=1)
        decoded = self.blocks(tokens, src_key_padding_mask=None if mask is None else ~mask)
        return masked_mean(decoded, mask)


class AttentionMean(nn.Module):
    """Multi-head self-attention followed by the mean over tokens: (B, L, D) -> (B, D). DERI section 3.4."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        attended, _ = self.attention(tokens, tokens, tokens, need_weights=False)
        return attended.mean(dim=1)


def projector(kind: str, c_in: int, c_out: int) -> nn.Module:
    """Into the shared space: ``linear`` as DERI prints it, or ``mlp``, two layers with GELU as released."""
    if kind == "mlp":
        return nn.Sequential(nn.Linear(c_in, c_out), nn.GELU(), nn.Linear(c_out, c_out))
    return nn.Linear(c_in, c_out)
