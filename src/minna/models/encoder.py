"""A bidirectional encoder with a masked-word head: RoBERTa (Liu et al. 2019), in one file.

Ours and not transformers', although other towers are: it is a hundred lines, trains without the
extra, and only the hidden states that are asked for pass the head (15 % of them in training, which
is six times less of its largest product). transformers' RobertaForMaskedLM gives the same logits on
the same weights (tests/models/test_encoder.py).

Positions are 0 .. S - 1 of a table of `position_rows`, as rinna trained: transformers counts from
padding + 1 unless it is given them. Rows of a masked-LM batch are full; captions are not, so a
forward pass may be told their lengths. A text tower has no head: weights that nothing learns would
still be counted, sharded and saved.

Shape letters: B rows, S tokens of a row, N positions, H heads, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import UsageError
from minna.models import checkpointing
from minna.models.checkpointing import Checkpointing
from minna.models.unpadded import Unpadded, seen

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

    def forward(self, x: Tensor, keep: Checkpointing, rows: Unpadded | Tensor | None) -> Tensor:
        """Return the next hidden states.

        Args:
            x: [B, S, D], or without padding [T, D].
            keep: for the backward pass.
            rows: where the tokens of [T, D] lie; of [B, S, D] which are seen, [B, S], or None: all.
        """
        return checkpointing.run(keep, self._add, x, rows)

    def _add(self, x: Tensor, rows: Unpadded | Tensor | None) -> Tensor:
        drop = self.config.dropout if self.training else 0.0
        added = self.out(self._attended(self.qkv(x), rows, drop=drop))
        x = self.attention_norm(x + F.dropout(added, drop))
        added = self.down(F.gelu(self.up(x)))
        return self.mlp_norm(x + F.dropout(added, drop))

    def _attended(self, qkv: Tensor, rows: Unpadded | Tensor | None, *, drop: float) -> Tensor:
        """What each token takes from the others: [B, S, D] or [T, D], as it came."""
        config = self.config
        heads = rows.spread(qkv) if isinstance(rows, Unpadded) else qkv
        heads = heads.unflatten(2, (3, config.heads, config.head_width))
        q, k, v = (part.transpose(1, 2) for part in heads.unbind(2))
        if isinstance(rows, Unpadded):
            attended = rows.attend(q, k, v, dropout=drop)
            return rows.laid(attended.transpose(1, 2)).flatten(1)
        mask = None if rows is None else rows[:, None, None]
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, dropout_p=drop)
        return attended.transpose(1, 2).flatten(2)


class Encoder(nn.Module):
    """The encoder and its head, whose last matrix is the embedding's.

    Args:
        config: its shape.
        head: "words" for masked-word prediction, "none" for the text tower of a dual encoder.
    """

    attention_kind = "fused"  # both ways; our kernel and flex's masks are causal

    def __init__(self, config: EncoderConfig, *, head: Literal["words", "none"] = "words") -> None:
        super().__init__()
        self.config = config
        self.head: Literal["words", "none"] = head
        self.checkpointing: Checkpointing = "none"
        self.embed = nn.Embedding(config.vocab, config.width)
        self.positions = nn.Embedding(config.position_rows, config.width)
        self.types = nn.Embedding(config.types, config.width)
        self.embed_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        if head == "words":
            self.transform = nn.Linear(config.width, config.width)
            self.transform_norm = nn.LayerNorm(config.width, eps=config.norm_eps)
            self.head_bias = nn.Parameter(torch.zeros(config.vocab))

    @property
    def head_weight(self) -> Tensor:
        """The head's last matrix [V, D]."""
        return self.embed.weight

    def forward(self, tokens_BS: Tensor, lengths_B: Tensor | None = None) -> Tensor:
        """Return the last hidden states [B, S, D].

        Args:
            tokens_BS: ids, int64.
            lengths_B: tokens of each row, at least 1; what lies behind is not attended to, and its
                own hidden states mean nothing. None: rows without padding.
        """
        config = self.config
        S = tokens_BS.shape[1]
        places = torch.arange(S, device=tokens_BS.device)
        rows: Unpadded | Tensor | None = None
        if lengths_B is not None:
            on_cpu = tokens_BS.device.type == "cpu"
            rows = (Unpadded if on_cpu else seen)(lengths_B, row_tokens=S)
        x = self.embed(tokens_BS) + self.positions(places) + self.types.weight[0]
        if isinstance(rows, Unpadded):
            x = rows.laid(x)
        x = F.dropout(self.embed_norm(x), config.dropout, self.training)
        keep = self.checkpointing if self.training else "none"
        for layer in self.layers:
            x = layer(x, keep, rows)
        return rows.spread(x) if isinstance(rows, Unpadded) else x

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
        head = 0
        if self.head == "words":
            head = self.head_weight.numel() + self.transform.weight.numel()
        attention = 12 * self.config.layers * self.config.width * row_tokens
        return 6 * weights + int(6 * head * MASKED_SHARE) + attention
