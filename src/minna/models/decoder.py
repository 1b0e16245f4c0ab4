"""Every causal language model here, in one file, by a small config.

GPT-2, GPT-NeoX, Llama and Qwen differ in a handful of choices (norm, positions, activation, gate,
residual, biases, grouped queries, query-key norm, tied head), so one decoder with those choices as
data serves training, the cache, quantisation and export alike; `models/weights/` maps it to Hugging
Face names and parity with transformers on the same weights is its test (tests/models).

Shape letters: B rows (or slots), S tokens of a row, T tokens of the attended past and present, H
query heads, K key-value heads, R rotated features of a head, D width, V vocabulary.

The trunk returns hidden states, never logits: a [B, S, V] tensor is the largest of a step (8,192
tokens x 32,000 words in fp32 is 1 GB), so the objective and the engine take only the positions they
need through `logits`.
"""

from __future__ import annotations

import math
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.errors import UsageError
from minna.models import checkpointing
from minna.models.attention import Attention, AttentionKind, choose_attention
from minna.models.checkpointing import Checkpointing


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class RotaryBands:
    """How Llama 3.1 lengthens a context: only slow features turn more slowly (rope_type "llama3").

    A feature that turns fewer than `low` times in `context` tokens is slowed by the whole
    `rotary_scaling`, one that turns more than `high` times is left alone, others are blended.

    Attributes:
        low, high: turns within `context`.
        context: tokens of the context before it was lengthened.
    """

    low: float = Field(gt=0)
    high: float = Field(gt=0)
    context: int = Field(gt=0)

    def __post_init__(self) -> None:
        """Check that there is something to blend between."""
        if self.high <= self.low:
            raise UsageError(
                f"rotary_bands.high {self.high} is not above rotary_bands.low {self.low}",
                remedy="Llama 3.1 has low 1 and high 4",
            )


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DecoderConfig:
    """The shape of a decoder; every field is a choice that some released model makes.

    `attention_bias` is of queries, keys and values, and of the output unless `attention_out_bias`
    says otherwise (Qwen 1 and 2 have biases on the first three alone).
    """

    vocab: int
    context: int
    layers: int
    width: int
    heads: int
    ffn: int
    kv_heads: int | None = None
    head_dim: int | None = None
    norm: Literal["layer", "rms"] = "layer"
    norm_eps: float = 1e-5
    positions: Literal["learned", "rotary"] = "rotary"
    rotary_fraction: float = 1.0
    rotary_base: float = 10000.0
    rotary_scaling: float = 1.0
    rotary_bands: RotaryBands | None = None
    activation: Literal["gelu", "gelu_tanh", "silu"] = "gelu"
    mlp: Literal["plain", "gated"] = "plain"
    residual: Literal["sequential", "parallel"] = "sequential"
    attention_bias: bool = True
    attention_out_bias: bool | None = None
    mlp_bias: bool = True
    query_key_norm: bool = False
    tied: bool = False
    dropout: float = 0.0
    init_std: float = 0.02
    residual_init: Literal["plain", "by_depth", "zero"] = "by_depth"
    embed_init_std: float | None = None

    def __post_init__(self) -> None:
        """Check what would otherwise fail deep inside, or silently give another model."""
        if self.head_dim is None and self.width % self.heads:
            raise UsageError(
                f"width {self.width} is not a multiple of heads {self.heads}",
                remedy=f"nearest widths are {self.width // self.heads * self.heads} "
                f"and {(self.width // self.heads + 1) * self.heads}",
            )
        if self.heads % self.key_value_heads:
            raise UsageError(
                f"heads {self.heads} is not a multiple of kv_heads {self.kv_heads}",
                remedy="give as many key-value heads as divide the query heads",
            )
        if self.positions == "rotary" and self.rotary_width % 2:
            raise UsageError(
                f"rotary_fraction {self.rotary_fraction} rotates {self.rotary_width} of "
                f"{self.head_width} features of a head, an odd number",
                remedy="choose a fraction that gives an even number",
            )

    @property
    def head_width(self) -> int:
        """Features of one head: an equal share of the width, unless `head_dim` frees it."""
        return self.head_dim or self.width // self.heads

    @property
    def attention_width(self) -> int:
        """Features of all query heads: what attention hands to its output matrix."""
        return self.heads * self.head_width

    @property
    def key_value_heads(self) -> int:
        """Key-value heads (equal to the query heads unless grouped)."""
        return self.kv_heads or self.heads

    @property
    def out_bias(self) -> bool:
        """Whether attention's output matrix has a bias."""
        return self.attention_bias if self.attention_out_bias is None else self.attention_out_bias

    @property
    def rotary_width(self) -> int:
        """Rotated features of one head."""
        return int(self.head_width * self.rotary_fraction)


class LayerCache(Protocol):
    """What a layer needs of a key-value cache: put the new, get everything up to now."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Take [B, K, S, head] keys and values; return all [B, K, T, head] so far."""
        ...


class FusedLinear(nn.Linear):
    """Several matrices of one input in one, so that one product does them all.

    `heights` are their rows: what treats a matrix as a whole (Muon) takes them one by one.
    """

    def __init__(self, width: int, heights: tuple[int, ...], *, bias: bool) -> None:
        super().__init__(width, sum(heights), bias=bias)
        self.heights = heights


class RmsNorm(nn.RMSNorm):
    """RMS norm computed in fp32, whatever comes in; torch's has no kernel for bf16 beside fp32."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x / rms(x) * weight over the last dimension, in the type of `x`."""
        normed = F.rms_norm(x.float(), self.normalized_shape, self.weight.float(), self.eps)
        return normed.to(x.dtype)


class Attend(nn.Module):
    """Self-attention of one layer, with queries, keys and values in one matrix [q; k; v]."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        queries, keys = config.attention_width, config.key_value_heads * config.head_width
        heights = (queries, keys, keys)
        self.qkv = FusedLinear(config.width, heights, bias=config.attention_bias)
        self.out = nn.Linear(queries, config.width, bias=config.out_bias)
        self.q_norm = self.k_norm = None
        if config.query_key_norm:
            self.q_norm = RmsNorm(config.head_width, eps=config.norm_eps)
            self.k_norm = RmsNorm(config.head_width, eps=config.norm_eps)

    def forward(
        self,
        x_BSD: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        attend: Attention,
        cache: LayerCache | None,
    ) -> Tensor:
        """Attend within each row (and its cache), in the way `attend` does it."""
        config = self.config
        B, S, _ = x_BSD.shape
        K, head, inner = config.key_value_heads, config.head_width, config.attention_width
        q, k, v = self.qkv(x_BSD).split([inner, K * head, K * head], dim=-1)
        q = q.view(B, S, config.heads, head).transpose(1, 2)
        k = k.view(B, S, K, head).transpose(1, 2)
        v = v.view(B, S, K, head).transpose(1, 2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotation is not None:
            q, k = rotate(q, rotation), rotate(k, rotation)
        if cache is not None:
            k, v = cache.append(k, v)
            q = q.to(k.dtype)  # a cache may keep more precision than the weights
        attended = attend(q, k, v)
        out = self.out(attended.transpose(1, 2).reshape(B, S, inner).to(x_BSD.dtype))
        return F.dropout(out, config.dropout, self.training)


class FeedForward(nn.Module):
    """The two (or, gated, three) matrices that act on each position alone."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.up = nn.Linear(config.width, config.ffn, bias=config.mlp_bias)
        self.gate = (
            nn.Linear(config.width, config.ffn, bias=config.mlp_bias)
            if config.mlp == "gated"
            else None
        )
        self.down = nn.Linear(config.ffn, config.width, bias=config.mlp_bias)

    def forward(self, x_BSD: Tensor) -> Tensor:
        """Apply the matrices; dropout on what enters the residual stream."""
        up = self.up(x_BSD)
        act = activate(self.config.activation, up if self.gate is None else self.gate(x_BSD))
        out = self.down(act if self.gate is None else act * up)
        return F.dropout(out, self.config.dropout, self.training)


class Layer(nn.Module):
    """Attention and feed-forward on a residual stream, one after the other or side by side."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.parallel = config.residual == "parallel"
        self.attention_norm = make_norm(config)
        self.attention = Attend(config)
        self.mlp_norm = make_norm(config)
        self.mlp = FeedForward(config)

    def forward(
        self,
        x_BSD: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        attend: Attention,
        cache: LayerCache | None,
        keep: Checkpointing = "none",
    ) -> Tensor:
        """Add what attention and feed-forward say to the stream; `keep` for the backward pass."""
        return checkpointing.run(keep, self._add, x_BSD, rotation, attend, cache)

    def _add(
        self,
        x_BSD: Tensor,
        rotation: tuple[Tensor, Tensor] | None,
        attend: Attention,
        cache: LayerCache | None,
    ) -> Tensor:
        attended = self.attention(self.attention_norm(x_BSD), rotation, attend, cache)
        if self.parallel:
            return x_BSD + attended + self.mlp(self.mlp_norm(x_BSD))
        x_BSD = x_BSD + attended
        return x_BSD + self.mlp(self.mlp_norm(x_BSD))


class Decoder(nn.Module):
    """A causal language model: embed, layers, final norm, head."""

    cos: Tensor
    sin: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.attention_kind: AttentionKind = "fused"
        self.checkpointing: Checkpointing = "none"
        self.embed = nn.Embedding(config.vocab, config.width)
        self.positions = (
            nn.Embedding(config.context, config.width) if config.positions == "learned" else None
        )
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.final_norm = make_norm(config)
        self.head = None if config.tied else nn.Linear(config.width, config.vocab, bias=False)
        cos, sin = rotary_table(config)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)

    @property
    def head_weight(self) -> Tensor:
        """The [V, D] matrix that turns hidden states into logits."""
        return self.embed.weight if self.head is None else self.head.weight

    def forward(
        self,
        tokens_BS: Tensor,
        *,
        positions_BS: Tensor | None = None,
        mask: Tensor | None = None,
        segments_BS: Tensor | None = None,
        caches: list[LayerCache] | None = None,
    ) -> Tensor:
        """Return the hidden states [B, S, D] after the final norm.

        Args:
            tokens_BS: token ids.
            positions_BS: the place of each token in its document; 0, 1, 2, ... when None.
            mask: boolean, broadcastable to [B, H, S, T], True where a token may look; None is
                causal.
            segments_BS: the document of each token, when documents of a row must not see each
                other (causal within each); not beside a mask or caches.
            caches: one per layer; then T counts what they already hold.
        """
        S = tokens_BS.shape[1]
        x_BSD = self.embed(tokens_BS)
        if self.positions is not None:
            if positions_BS is None:
                x_BSD = x_BSD + self.positions.weight[:S]
            else:
                x_BSD = x_BSD + self.positions(positions_BS)
        x_BSD = F.dropout(x_BSD, self.config.dropout, self.training)
        rotation = self._rotation(S, positions_BS)
        attend = choose_attention(
            self.attention_kind if caches is None else "fused",
            mask=mask,
            segments_BS=segments_BS,
            dropout=self.config.dropout if self.training else 0.0,
        )
        keep = self.checkpointing if self.training else "none"
        for index, layer in enumerate(self.layers):
            cache = None if caches is None else caches[index]
            x_BSD = layer(x_BSD, rotation, attend, cache, keep)
        return self.final_norm(x_BSD)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits [..., V] of hidden states [..., D]."""
        if self.head is not None:
            return self.head(hidden)
        # frozen rows may be stored in bf16 beside a stream in fp32
        return F.linear(hidden.to(self.embed.weight.dtype), self.embed.weight)

    def _rotation(self, S: int, positions_BS: Tensor | None) -> tuple[Tensor, Tensor] | None:
        """Cosines and sines [S, R] or [B, 1, S, R] (one for all heads)."""
        if self.config.positions != "rotary":
            return None
        if positions_BS is None:
            return self.cos[:S], self.sin[:S]
        return self.cos[positions_BS].unsqueeze(1), self.sin[positions_BS].unsqueeze(1)

    @torch.no_grad()
    def initialise(self, *, seed: int) -> None:
        """Draw fresh weights: normal(0, init_std), biases 0, norms 1.

        Matrices that write into the residual stream are scaled by 1 / sqrt(2 layers), so that its
        variance does not grow with depth (GPT-2, Radford et al. 2019, section 2.3), or begin at 0
        (`residual_init = "zero"`: every layer starts as the identity).
        """
        generator = torch.Generator().manual_seed(seed)
        by_depth = self.config.init_std
        if self.config.residual_init == "by_depth":
            by_depth /= math.sqrt(2 * self.config.layers)
        elif self.config.residual_init == "zero":
            by_depth = 0.0
        for name, parameter in self.named_parameters():
            if "norm" in name:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
            elif name.endswith("bias"):
                parameter.zero_()
            else:
                writes = name.endswith(("attention.out.weight", "mlp.down.weight"))
                std = by_depth if writes else self.config.init_std
                if name == "embed.weight" and self.config.embed_init_std is not None:
                    std = self.config.embed_init_std
                parameter.normal_(0.0, std, generator=generator)

    def flops_per_token(self, *, row_tokens: int, learns: bool = True) -> int:
        """Floating-point operations of one trained token: forward and backward, 6 per weight.

        Of weights that do not learn (`learns`) 4: no gradient is made for them.
        Counts the matrices (embedding look-ups are free, the head is not) and causal attention at
        half of its [S, S] scores (PaLM, Chowdhery et al. 2022, appendix B).
        """
        weights = sum(p.numel() for p in self.layers.parameters() if p.ndim > 1)
        weights += self.head_weight.numel()
        attention = 6 * self.config.layers * self.config.attention_width * row_tokens
        return (6 if learns else 4) * weights + attention


def make_norm(config: DecoderConfig) -> nn.Module:
    """Return the norm that the config names."""
    if config.norm == "rms":
        return RmsNorm(config.width, eps=config.norm_eps)
    return nn.LayerNorm(config.width, eps=config.norm_eps)


def activate(kind: Literal["gelu", "gelu_tanh", "silu"], x: Tensor) -> Tensor:
    """Apply the named activation."""
    if kind == "silu":
        return F.silu(x)
    return F.gelu(x, approximate="tanh" if kind == "gelu_tanh" else "none")


def rotary_table(config: DecoderConfig) -> tuple[Tensor, Tensor]:
    """Cosines and sines [context, R] of RoFormer (Su et al. 2021), halves laid side by side.

    A context lengthened by position interpolation (Chen et al. 2023, arXiv:2306.15595) turns
    `rotary_scaling` times more slowly, so that its last position has an angle training has seen;
    with `rotary_bands` only its slow features do.
    """
    if config.positions != "rotary":
        return torch.empty(0), torch.empty(0)
    R = config.rotary_width
    frequency = config.rotary_base ** -(torch.arange(0, R, 2, dtype=torch.float32) / R)
    slowed = frequency / config.rotary_scaling
    bands = config.rotary_bands
    if bands is None:
        frequency = slowed
    else:
        turns = frequency * bands.context / (2 * math.pi)
        kept = ((turns - bands.low) / (bands.high - bands.low)).clamp(0, 1)
        frequency = torch.lerp(slowed, frequency, kept)
    angle = torch.outer(torch.arange(config.context, dtype=torch.float32), frequency)
    angle = torch.cat((angle, angle), dim=-1)
    return angle.cos(), angle.sin()


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate the first R features of each head; in fp32, since bf16 angles blur long contexts.

    In halves, each put in its place by the last line: with a (-right, left) to multiply, the
    compiler writes that out in fp32 first, and the whole takes 1.7 times as long on a CPU.
    """
    cos, sin = rotation
    half = cos.shape[-1] // 2
    left, right, rest = x.split([half, half, x.shape[-1] - 2 * half], dim=-1)
    left, right = left.float(), right.float()
    turned = (
        left * cos[..., :half] - right * sin[..., :half],
        right * cos[..., half:] + left * sin[..., half:],
    )
    return torch.cat((*(part.to(x.dtype) for part in turned), rest), dim=-1)
