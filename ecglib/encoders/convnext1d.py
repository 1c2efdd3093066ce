"""ConvNeXt V2 over time: the encoder of ESI.

Woo et al. 2023 (section 3 and its figure 5) with one-dimensional convolutions: a patch stem, blocks of a depthwise
7-tap convolution and a two-layer network over channels with global response normalisation between, and halving of the
tokens between stages. With the published depths and widths it has the sizes that ESI prints in table 5b.
"""

import torch
from torch import Tensor, nn

STAGES = {  # depths and widths of the four stages, Woo et al. 2023, table 1
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)),
}


class GlobalResponseNorm(nn.Module):
    """Channels compete by their energy over time (Woo et al. 2023, equations 1 to 3): (B, L, C) -> (B, L, C).

    With G_c = ||x_c||_2 over the L tokens and N_c = G_c / mean over channels of G, the output is
    gamma_c (x_c N_c) + beta_c + x_c; gamma and beta start at zero, so the layer starts as the identity.
    """

    def __init__(self, width: int, eps: float = 1e-6):
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width))
        self.beta = nn.Parameter(torch.zeros(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        energy = torch.linalg.vector_norm(x, dim=1, keepdim=True)  # (B, 1, C)
        share = energy / (energy.mean(dim=-1, keepdim=True) + self.eps)
        return torch.addcmul(self.beta, x, 1 + self.gamma * share)  # one pass over the tokens


class ConvNextBlock(nn.Module):
    """Depthwise convolution, then LayerNorm, 4 x width, GELU, GRN, width; added to its input: (B, L, C) -> same."""

    def __init__(self, width: int):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, 4 * width)
        self.response = GlobalResponseNorm(4 * width)
        self.reduce = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)  # (B, L, C)
        y = nn.functional.gelu(self.expand(self.norm(y)))  # (B, L, 4C)
        return x + self.reduce(self.response(y))


class _Patches(nn.Module):
    """A convolution whose stride is its kernel: (B, L, C_in) -> (B, L // size, C_out), a rest is cut off."""

    def __init__(self, c_in: int, c_out: int, size: int):
        super().__init__()
        self.conv = nn.Conv1d(c_in, c_out, size, stride=size)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.transpose(1, 2)).transpose(1, 2)


class ConvNext1d(nn.Module):
    """ConvNeXt V2 over time; the leads are input channels.

    Args:
        depths, widths: blocks and channels of the four stages; ``STAGES`` has the published ones.
        n_leads: input channels S.

    ``forward``: (B, S, T) -> (B, L, C) with C = ``widths[-1]`` and L = T // 32 (rounded down at each halving): 5,000
    samples give 156 tokens. Without a classification head: ESI reads the tokens.
    """

    def __init__(
        self,
        depths: tuple[int, ...] = STAGES["base"][0],
        widths: tuple[int, ...] = STAGES["base"][1],
        n_leads: int = 12,
    ):
        super().__init__()
        if len(depths) != len(widths):
            raise ValueError(f"ConvNext1d needs as many depths as widths, not {len(depths)} and {len(widths)}")
        self.width = widths[-1]
        layers: list[nn.Module] = [_Patches(n_leads, widths[0], 4), nn.LayerNorm(widths[0], eps=1e-6)]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            if stage:
                layers += [nn.LayerNorm(widths[stage - 1], eps=1e-6), _Patches(widths[stage - 1], width, 2)]
            layers += [ConvNextBlock(width) for _ in range(depth)]
        self.layers = nn.Sequential(*layers, nn.LayerNorm(self.width, eps=1e-6))
        self.apply(_initialise)

    def forward(self, ecg: Tensor) -> Tensor:
        return self.layers(ecg.transpose(1, 2))  # (B, L, C)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv1d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)  # as in Woo et al. 2023
        nn.init.zeros_(module.bias)
