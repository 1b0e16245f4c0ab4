"""A bidirectional encoder with a masked-word head: RoBERTa (Liu et al. 2019), in one file.

Ours and not transformers', although other towers are: it is a hundred lines, trains without the
extra, and only the hidden states that are asked for pass the head (15 % of them in training, which
is six times less of its largest product). transformers' RobertaForMaskedLM gives the same logits on
the same weights (tests/models/test_encoder.py).

Positions are 0 .. S - 1 of a table of `position_rows`, as rinna trained: transformers counts from
padding + 1 unless it is given them.

Shape letters: B rows, S tokens of a row, N positions, H heads, D width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import UsageError
from minna.models import checkpointing
from minna.models.checkpointing import Checkpointing

MASKED_SHARE = 0.15
"""Of the tokens of a row, what passes the head in training."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class EncoderConfig:
    """The shape of an encoder. `context` positions are used of `position_rows` in the table."""

    vocab: int
    context: int
    layers: int
    width: int
    heads: int
    ffn: int
    position_rows: int
    types: int = 2
    norm_eps: float = 1e-12
    dropout: float = 0.0
    init_std: float = 0.02

    def __post_init__(self) -> None:
        """Check what would otherwise fail deep inside."""
        if self.width % self.heads:
            raise UsageError(
                f"width {self.width} is not a multiple of heads {self.heads}",
                remedy="choose heads that divide the width",
            )
        if self.context > self.position_rows:
            raise UsageError(
                f"context {self.context} exceeds the {self.position_rows} rows of positions",
                remedy="shorten the context or give more position_rows",
            )

    @property
    def head_width(self) -> int:
        """Features of one head."""
        return self.width // self.heads


class EncoderLayer(nn.Module):
    """Attention both ways and a feed-forward; each is added to its input, and the sum normed."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.attention_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.up = nn.Linear(config.width, config.ffn)
        self.down = nn.Linear(config.ffn, config.width)
        self.mlp_norm = nn.LayerNorm(config.width, eps=config.norm_eps)

    def forward(self, x_BSD: Tensor, keep: Checkpointing) -> Tensor:
        """Return the next hidden states [B, S, D]."""
        return checkpointing.run(keep, self._add, x_BSD)

    def _add(self, x_BSD: Tensor) -> Tensor:
        config = self.config
        B, S, D = x_BSD.shape
        drop = config.dropout if self.training else 0.0
        heads = self.qkv(x_BSD).view(B, S, 3, config.heads, config.head_width)
        q, k, v = (part.transpose(1, 2) for part in heads.unbind(2))
        attended = F.scaled_dot_product_attention(q, k, v, dropout_p=drop)
        added = self.out(attended.transpose(1, 2).reshape(B, S, D))
        x_BSD = self.attention_norm(x_BSD + F.dropout(added, drop))
        added = self.down(F.gelu(self.up(x_BSD)))
        return self.mlp_norm(x_BSD + F.dropout(added, drop))


class Encoder(nn.Module):
    """The encoder and its head, whose last matrix is the embedding's."""

    attention_kind = "fused"  # both ways; our kernel and flex's masks are causal

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.checkpointing: Checkpointing = "none"
        self.embed = nn.Embedding(config.vocab, config.width)
        self.positions = nn.Embedding(config.position_rows, config.width)
        self.types = nn.Embedding(config.types, config.width)
        self.embed_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.transform = nn.Linear(config.width, config.width)
        self.transform_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.head_bias = nn.Parameter(torch.zeros(config.vocab))

    @property
    def head_weight(self) -> Tensor:
        """The head's last matrix [V, D]."""
        return self.embed.weight

    def forward(self, tokens_BS: Tensor) -> Tensor:
        """Return the last hidden states [B, S, D] of rows without padding."""
        config = self.config
        places = torch.arange(tokens_BS.shape[1], device=tokens_BS.device)
        x_BSD = self.embed(tokens_BS) + self.positions(places) + self.types.weight[0]
        x_BSD = F.dropout(self.embed_norm(x_BSD), config.dropout, self.training)
        keep = self.checkpointing if self.training else "none"
        for layer in self.layers:
            x_BSD = layer(x_BSD, keep)
        return x_BSD

    def before_head(self, hidden_ND: Tensor) -> Tensor:
        """Return what the last matrix is multiplied with [N, D]."""
        return self.transform_norm(F.gelu(self.transform(hidden_ND)))

    def logits(self, hidden_ND: Tensor) -> Tensor:
        """Return the logits [..., V] of hidden states [..., D]."""
        return F.linear(self.before_head(hidden_ND), self.head_weight, self.head_bias)

    @torch.no_grad()
    def initialise(self, *, seed: int) -> None:
        """Draw fresh weights: normal(0, init_std), biases 0, norms 1 (Devlin et al. 2019)."""
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if "norm" in name:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                parameter.normal_(0.0, self.config.init_std, generator=generator)

    def flops_per_token(self, *, row_tokens: int) -> int:
        """Floating-point operations of one trained token: forward and backward, 6 per weight.

        Attention sees whole rows (twice a causal one's), and the head `MASKED_SHARE` of them.
        """
        weights = sum(p.numel() for p in self.layers.parameters() if p.ndim > 1)
        head = self.head_weight.numel() + self.transform.weight.numel()
        attention = 12 * self.config.layers * self.config.width * row_tokens
        return 6 * weights + int(6 * head * MASKED_SHARE) + attention
