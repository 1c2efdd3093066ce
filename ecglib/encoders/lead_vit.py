"""Lead-aware vision transformer: every token belongs to one lead, so any subset of leads is an input (K-MERL).

K-MERL section 3.2: each lead is cut into segments of its own and each segment becomes a token, which is told its lead
(lead-specific spatial position) and its time (temporal position, shared by all leads). A lead that is not there has no
tokens; nothing stands in for it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ecglib.encoders.vit1d import Block
from ecglib.errors import ParameterError, SignalError
from ecglib.fusion import learned_positions
from ecglib.masking import take

N_LEADS = 12
# Width, depth and heads of the four sizes (K-MERL section 5, "Scalability"), as in the released MERL code, and the
# demo's: fewer and wider layers, since attention over all twelve leads is what costs on a CPU.
SIZES = {
    "tiny": (192, 12, 3),
    "small": (384, 12, 6),
    "middle": (512, 12, 8),
    "base": (768, 12, 12),
    "demo": (160, 3, 4),
}


class LeadViT(nn.Module):
    """Transformer over tokens of single leads.

    Args:
        size: a key of ``SIZES``.
        token_samples: p, samples of one token; 100 at 500 Hz (section 5, figure 7).
        segments: M, learned temporal positions; ten seconds at 500 Hz are 50 tokens of 100 samples.
        lead_tokens: False makes one token of all leads of a segment, as MERL does; absent leads are then zero
            (table 2b).
        lead_positions, time_positions: whether tokens are told their lead and their time (table 2b).

    ``forward``: (B, S, T) -> (B, L, C) with C = ``width``. Without ``keep``, L = S * M for single-lead tokens and M
    otherwise, M = T / p rounded up: the last segment is filled with zeros.
    """

    def __init__(
        self,
        size: str = "tiny",
        token_samples: int = 100,
        segments: int = 50,
        lead_tokens: bool = True,
        lead_positions: bool = True,
        time_positions: bool = True,
    ):
        super().__init__()
        if size not in SIZES:
            raise ParameterError(f"LeadViT has sizes {', '.join(SIZES)}, not '{size}'")
        self.width, depth, heads = SIZES[size]
        self.token_samples, self.lead_tokens = token_samples, lead_tokens
        # W of section 3.2, one for all leads; the lead embedding serves as its bias.
        self.embed = nn.Linear(token_samples * (1 if lead_tokens else N_LEADS), self.width, bias=False)
        spatial = lead_tokens and lead_positions
        self.lead = nn.Parameter(0.02 * torch.randn(N_LEADS, self.width)) if spatial else None
        self.time = nn.Parameter(0.02 * torch.randn(segments, self.width)) if time_positions else None
        self.blocks = nn.Sequential(*[Block(self.width, heads, 4 * self.width) for _ in range(depth)])
        self.norm = nn.LayerNorm(self.width)

    def rows(self, n_leads: int) -> int:
        """How many rows of M tokens an ECG of so many leads has: one per lead, or a single one."""
        return n_leads if self.lead_tokens else 1

    def segments(self, samples: int) -> int:
        """M: how many segments a signal of so many samples has."""
        return -(-samples // self.token_samples)

    def tokens(self, ecg: Tensor, leads: Tensor) -> Tensor:
        """Tokens with their positions, before the first block: (B, S, T), leads (B, S) -> (B, S, M, C)."""
        if not self.lead_tokens:  # one token needs all leads: the absent ones are zero, as in MERL
            absent = ecg.new_zeros(len(ecg), N_LEADS, ecg.shape[-1])
            ecg = absent.scatter(1, leads.unsqueeze(-1).expand_as(ecg), ecg)  # (B, 12, T)
        whole = F.pad(ecg, (0, -ecg.shape[-1] % self.token_samples))
        segments = whole.unflatten(-1, (-1, self.token_samples))  # (B, S, M, p)
        if not self.lead_tokens:
            segments = segments.transpose(1, 2).flatten(2).unsqueeze(1)  # (B, 1, M, 12 p)
        tokens = self.embed(segments)  # (B, S, M, C)
        if self.lead is not None:
            tokens = tokens + self.lead[leads].unsqueeze(2)  # lead_l, the same at all times
        if self.time is not None:
            tokens = tokens + learned_positions(self.time, tokens.shape[2])  # temp_m, the same in all leads
        return tokens

    def forward(self, ecg: Tensor, leads: Tensor | None = None, keep: Tensor | None = None) -> Tensor:
        """(B, S, T) millivolts -> (B, L, C).

        Args:
            leads: which of the twelve each row is, (S,) or (B, S) indices; ``None`` for all twelve in order.
            keep: (B, L) places of the tokens to read among the S * M, lead after lead; the others cost nothing.
        """
        if leads is None:
            leads = torch.arange(N_LEADS, device=ecg.device)
        if leads.shape[-1] != ecg.shape[1]:
            raise SignalError(f"{leads.shape[-1]} leads are named, the ECG has {ecg.shape[1]}")
        tokens = self.tokens(ecg, leads.expand(len(ecg), -1)).flatten(1, 2)  # (B, S * M, C)
        if keep is not None:
            tokens = take(tokens, keep)  # (B, L, C)
        return self.norm(self.blocks(tokens))
