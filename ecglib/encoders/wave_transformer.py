"""Convolutions that cut an ECG into patches, and a transformer over them: the encoder of C-MELT, section 3.1.

The convolutions are those of wav2vec-like ECG models (Oh et al. 2022): kernel and stride agree, so that neighbouring
tokens share no sample and a token that is left out is not seen through another. Each is followed by GELU and group
normalisation, in the printed order. After four of them a token is a patch of 16 samples of all leads.
"""

from torch import Tensor, nn

from ecglib.fusion import sinusoidal_positions


class WaveTransformer(nn.Module):
    """Patches of all leads in, contextualised tokens out.

    Args:
        width: C, of tokens and transformer.
        layers: transformer layers; C-MELT has 8, and 4 and 1 in its table 8.
        heads: attention heads.
        conv_widths: channels of the convolutions, one each.
        taps: kernel and stride of every convolution.
        n_leads: input channels S.
        norm_groups: groups of each group normalisation.

    ``forward``: (B, S, T) -> (B, L, C) with L = floor(T / patch), patch = ``taps`` to the power of the convolutions.
    `embed` and `contextualise` are its two halves, for those who leave tokens out in between.
    """

    def __init__(
        self,
        width: int = 768,
        layers: int = 8,
        heads: int = 12,
        conv_widths: tuple[int, ...] = (256, 256, 256, 256),
        taps: int = 2,
        n_leads: int = 12,
        norm_groups: int = 16,
        dropout: float = 0.1,
    ):
        super().__init__()
        self.width, self.patch = width, taps ** len(conv_widths)
        stages, c_in = [], n_leads
        for c_out in conv_widths:
            stages += [nn.Conv1d(c_in, c_out, taps, taps, bias=False), nn.GELU(), nn.GroupNorm(norm_groups, c_out)]
            c_in = c_out
        self.front = nn.Sequential(*stages)
        self.project = nn.Linear(c_in, width)
        layer = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, layers, norm=nn.LayerNorm(width), enable_nested_tensor=False)
        self.feed_forward = nn.Linear(width, width)

    def embed(self, ecg: Tensor) -> Tensor:
        """Patches with their positions, not yet aware of each other: (B, S, T) -> (B, L, C)."""
        if ecg.shape[-1] < self.patch:
            raise ValueError(f"an ECG of {ecg.shape[-1]} samples is shorter than one patch of {self.patch}")
        tokens = self.project(self.front(ecg).transpose(1, 2))  # (B, L, C)
        return tokens + sinusoidal_positions(tokens.shape[1], self.width, tokens.device)

    def contextualise(self, tokens: Tensor) -> Tensor:
        """Any of a record's tokens in the light of each other: (B, K, C) -> (B, K, C)."""
        return self.feed_forward(self.blocks(tokens))

    def forward(self, ecg: Tensor) -> Tensor:
        return self.contextualise(self.embed(ecg))

    def patches(self, ecg: Tensor) -> Tensor:
        """The samples behind each token, lead after lead: (B, S, T) -> (B, L, S * patch)."""
        length = ecg.shape[-1] // self.patch
        cut = ecg[..., : length * self.patch].unflatten(-1, (length, self.patch))  # (B, S, L, patch)
        return cut.transpose(1, 2).flatten(2)
