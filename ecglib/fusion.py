"""Parts that read one token sequence in the light of another: decoders, attention pooling, masked means."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.masking import put


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


def learned_positions(table: Tensor, length: int) -> Tensor:
    """Learned positions (P, D) for a sequence of another length: (L, D).

    A shorter one uses the first L, so that a position keeps its instant; for a longer one the table is stretched over
    all of it by linear interpolation.
    """
    if length <= len(table):
        return table[:length]
    stretched = F.interpolate(table.T.unsqueeze(0), size=length, mode="linear", align_corners=True)  # (1, D, L)
    return stretched[0].T


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


class AttentionPool(nn.Module):
    """One learned query reads all tokens: (B, L, D) -> (B, D). The pooling of MERL's released ResNet.

    Fixed sinusoidal positions enter the keys alone: the query can prefer a moment, the vector it gets is a weighted
    mean of what stands there, and any length is read.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.query = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)

    def forward(self, tokens: Tensor) -> Tensor:
        keys = tokens + sinusoidal_positions(tokens.shape[1], tokens.shape[2], tokens.device)
        pooled, _ = self.attention(self.query.expand(len(tokens), -1, -1), keys, tokens, need_weights=False)
        return pooled.squeeze(1)


class CaptionDecoder(nn.Module):
    """Causal transformer that writes a text while looking at an ECG (CoCa; ESI section 3.2.1).

    Words (B, L, D), ECG tokens (B, M, D) -> (B, L, D). Position j sees words 0 to j and every ECG token, nothing else,
    so what it gives may predict word j + 1. Texts are padded behind their end: no mask is needed for the padding.
    """

    def __init__(self, width: int, depth: int, heads: int, dropout: float = 0.1):
        super().__init__()
        layer = nn.TransformerDecoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerDecoder(layer, depth, norm=nn.LayerNorm(width))

    def forward(self, words: Tensor, ecg_tokens: Tensor) -> Tensor:
        words = words + sinusoidal_positions(words.shape[1], words.shape[2], words.device)
        ecg_tokens = ecg_tokens + sinusoidal_positions(ecg_tokens.shape[1], ecg_tokens.shape[2], ecg_tokens.device)
        later = nn.Transformer.generate_square_subsequent_mask(words.shape[1], device=words.device)  # (L, L)
        return self.blocks(words, ecg_tokens, tgt_mask=later, tgt_is_causal=True)


def projector(kind: str, c_in: int, c_out: int) -> nn.Module:
    """Into the shared space: ``linear`` as DERI prints it, or ``mlp``, two layers with GELU as released."""
    if kind == "mlp":
        return nn.Sequential(nn.Linear(c_in, c_out), nn.GELU(), nn.Linear(c_out, c_out))
    return nn.Linear(c_in, c_out)


class MeanProjector(nn.Sequential):
    """The mean of the tokens through two layers with normalisation: (B, L, C) -> (B, D). Behind MERL's released ViT."""

    def __init__(self, c_in: int, width: int):
        super().__init__(nn.Linear(c_in, width), nn.BatchNorm1d(width), nn.GELU(), nn.Linear(width, width))

    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens.mean(dim=1))


class Attention(nn.Module):
    """Multi-head attention with a head width of its own, so that any number of heads goes with any width.

    (B, Q, D) reads (B, L, D) -> (B, Q, D).
    """

    def __init__(self, width: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        self.to_query = nn.Linear(width, heads * head_width)
        self.to_key_value = nn.Linear(width, 2 * heads * head_width)
        self.merge = nn.Linear(heads * head_width, width)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        def split(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # (B, heads, L, D / heads)

        key, value = self.to_key_value(tokens).chunk(2, dim=-1)
        attended = F.scaled_dot_product_attention(split(self.to_query(queries)), split(key), split(value))
        return self.merge(attended.transpose(1, 2).flatten(2))  # (B, Q, D)


class QueryLayer(nn.Module):
    """Queries read tokens: cross-attention and a perceptron, normalisation first. (B, Q, D), (B, L, D) -> (B, Q, D)."""

    def __init__(self, width: int, heads: int, head_width: int, dropout: float = 0.0, self_attention: bool = False):
        super().__init__()
        self.self_norm = nn.LayerNorm(width) if self_attention else None
        self.self_attention = Attention(width, heads, head_width) if self_attention else None
        self.norm1 = nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        if self.self_attention is not None:
            x = self.self_norm(queries)
            queries = queries + self.dropout(self.self_attention(x, x))
        queries = queries + self.dropout(self.attention(self.norm1(queries), tokens))
        return queries + self.dropout(self.mlp(self.norm2(queries)))


class QueryNetwork(nn.Module):
    """Is what a query names in these tokens? (Q, D_q) queries, (B, L, D_t) tokens -> (B, Q) logits. K-MERL section 3.5.

    Transformer layers whose queries are text vectors and whose keys and values are tokens of another modality, then
    one linear classifier for all queries, so that a query that was never trained on can be asked.

    Args:
        query_width, token_width: D_q and D_t; both are mapped to ``width`` first.
        depth, heads: K-MERL uses 4 and 4 (tables 6b and 6c); ``head_width`` 0 means a quarter of ``width``.
        self_attention: let queries see one another. The answer to one then depends on which others are asked.
        first_logit: what an untrained network answers to everything; 0 is a probability of one half.
    """

    def __init__(
        self,
        query_width: int,
        token_width: int,
        width: int = 256,
        depth: int = 4,
        heads: int = 4,
        head_width: int = 0,
        dropout: float = 0.0,
        self_attention: bool = False,
        first_logit: float = 0.0,
    ):
        super().__init__()
        # Normalised, so that what a query names is not drowned by what the first layer adds to it.
        self.read_query = nn.Sequential(nn.Linear(query_width, width), nn.LayerNorm(width))
        self.read_tokens = nn.Linear(token_width, width)
        layer = (width, heads, head_width or width // 4, dropout, self_attention)
        self.layers = nn.ModuleList([QueryLayer(*layer) for _ in range(depth)])
        self.norm = nn.LayerNorm(width)
        self.classify = nn.Linear(width, 1)
        nn.init.normal_(self.classify.weight, std=0.002)  # an untrained network says the same to everything
        nn.init.constant_(self.classify.bias, first_logit)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        tokens = self.read_tokens(tokens)  # (B, L, D)
        x = self.read_query(queries).expand(len(tokens), -1, -1)  # (B, Q, D)
        for layer in self.layers:
            x = layer(x, tokens)
        return self.classify(self.norm(x)).squeeze(-1)


class CrossAttentionFusion(nn.Module):
    """Two modalities that read each other, C-MELT section 3.1: linear projections, a learned embedding per modality,
    and in every layer, for each, self-attention, attention to the other, and a feed-forward network.

    (B, L_x, D_x), (B, L_t, D_t), mask of the second (B, L_t) -> (B, L_x, D) and (B, L_t, D).
    """

    def __init__(self, width_x: int, width_t: int, width: int = 768, depth: int = 6, heads: int = 12, dropout=0.1):
        super().__init__()
        self.project_x, self.project_t = nn.Linear(width_x, width), nn.Linear(width_t, width)
        self.modality_x = nn.Parameter(0.02 * torch.randn(width))
        self.modality_t = nn.Parameter(0.02 * torch.randn(width))

        def layers() -> nn.ModuleList:
            return nn.ModuleList(
                nn.TransformerDecoderLayer(
                    width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
                )
                for _ in range(depth)
            )

        self.layers_x, self.layers_t = layers(), layers()
        self.norm_x, self.norm_t = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor, t: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        x, t = self.project_x(x) + self.modality_x, self.project_t(t) + self.modality_t
        padding = ~mask
        for layer_x, layer_t in zip(self.layers_x, self.layers_t, strict=True):
            x, t = (
                layer_x(x, t, memory_key_padding_mask=padding),
                layer_t(t, x, tgt_key_padding_mask=padding),
            )
        return self.norm_x(x), self.norm_t(t)


class PatchDecoder(nn.Module):
    """Rebuilds masked patches from the tokens that were seen, C-MELT section 3.1 and MAE (He et al. 2022).

    A linear layer to a smaller width, a learned token in every masked place, positions, a transformer, a linear layer:
    (B, K, D), places (B, K) of the seen tokens among L -> (B, L, P).
    """

    def __init__(self, c_in: int, c_out: int, width: int = 384, depth: int = 4, heads: int = 6, dropout: float = 0.1):
        super().__init__()
        self.narrow = nn.Linear(c_in, width)
        self.mask_token = nn.Parameter(0.02 * torch.randn(width))
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.predict = nn.Linear(width, c_out)

    def forward(self, seen: Tensor, places: Tensor, length: int) -> Tensor:
        tokens = put(self.narrow(seen), places, length, self.mask_token)  # (B, L, D)
        tokens = tokens + sinusoidal_positions(length, tokens.shape[-1], tokens.device)
        return self.predict(self.blocks(tokens))
