"""What makes a family: a frozen record, looked up by name. No base class, no registry magic.

A recipe's `[model]` section names a family and gives its shape in the words of that family; the
record turns it into a decoder, and says which names its weights have on disk. Adding one is a
config class, a weights file and a line in `FAMILIES` (docs/adding-a-family.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass as plain_dataclass
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.errors import UsageError, nearest
from minna.models.decoder import Decoder, DecoderConfig
from minna.models.weights import gpt2, gpt_neox, qwen3

_FORBID = ConfigDict(extra="forbid")
Size = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Gpt2Shape:
    """GPT-2 (Radford et al. 2019): learned positions, layer norm, tied head, biases everywhere."""

    family: Literal["gpt2"] = "gpt2"
    layers: Size
    width: Size
    heads: Size
    ffn: Size
    context: Size = 1024
    vocab: Size | None = None
    norm_eps: float = 1e-5
    activation: Literal["gelu", "gelu_tanh"] = "gelu_tanh"
    dropout: Share = 0.1
    init_std: float = 0.02
    tied: bool = True

    def decoder(self, vocab: int) -> DecoderConfig:
        """Return the decoder of this shape for a vocabulary."""
        return DecoderConfig(
            vocab=vocab,
            context=self.context,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            ffn=self.ffn,
            norm_eps=self.norm_eps,
            positions="learned",
            activation=self.activation,
            tied=self.tied,
            dropout=self.dropout,
            init_std=self.init_std,
        )


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class GptNeoXShape:
    """GPT-NeoX (Black et al. 2022) as rinna released it: sequential residual, full rotary, untied.

    transformers' own defaults are the other ones (parallel, a quarter rotated): the exporter writes
    both down. `rotary_scaling` 4 reads 8,192 positions with the angles of 2,048.
    """

    family: Literal["gpt_neox"] = "gpt_neox"
    layers: Size
    width: Size
    heads: Size
    ffn: Size
    context: Size = 2048
    vocab: Size | None = None
    norm_eps: float = 1e-5
    residual: Literal["sequential", "parallel"] = "sequential"
    rotary_fraction: float = 1.0
    rotary_base: float = 10000.0
    rotary_scaling: float = Field(default=1.0, ge=1)
    activation: Literal["gelu", "gelu_tanh"] = "gelu"
    attention_bias: bool = True
    dropout: Share = 0.0
    init_std: float = 0.02
    embed_init_std: float | None = None
    tied: bool = False

    def decoder(self, vocab: int) -> DecoderConfig:
        """Return the decoder of this shape for a vocabulary."""
        return DecoderConfig(
            vocab=vocab,
            context=self.context,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            ffn=self.ffn,
            norm_eps=self.norm_eps,
            positions="rotary",
            rotary_fraction=self.rotary_fraction,
            rotary_base=self.rotary_base,
            rotary_scaling=self.rotary_scaling,
            activation=self.activation,
            residual=self.residual,
            attention_bias=self.attention_bias,
            tied=self.tied,
            dropout=self.dropout,
            init_std=self.init_std,
            embed_init_std=self.embed_init_std,
        )


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Qwen3Shape:
    """The modern shape, in the layout of Qwen3 (Yang et al. 2025, arXiv:2505.09388).

    RMS norms, a gated feed-forward (three matrices: two thirds of the usual `ffn` cost the same),
    grouped queries, a norm on every query and key, full rotary positions, no biases. Heads may be
    of any width: `head_dim` None shares the width among them.
    """

    family: Literal["qwen3"] = "qwen3"
    layers: Size
    width: Size
    heads: Size
    kv_heads: Size | None = None
    head_dim: Size | None = None
    ffn: Size
    context: Size = 2048
    vocab: Size | None = None
    norm_eps: float = 1e-6
    rotary_base: float = 10000.0
    rotary_scaling: float = Field(default=1.0, ge=1)
    init_std: float = 0.02
    embed_init_std: float | None = None
    residual_init: Literal["plain", "by_depth", "zero"] = "by_depth"
    tied: bool = False

    def decoder(self, vocab: int) -> DecoderConfig:
        """Return the decoder of this shape for a vocabulary, what was left out written out."""
        head_dim = self.head_dim
        if head_dim is None and self.width % self.heads == 0:
            head_dim = self.width // self.heads
        return DecoderConfig(
            vocab=vocab,
            context=self.context,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            kv_heads=self.kv_heads or self.heads,
            head_dim=head_dim,
            ffn=self.ffn,
            norm="rms",
            norm_eps=self.norm_eps,
            positions="rotary",
            rotary_base=self.rotary_base,
            rotary_scaling=self.rotary_scaling,
            activation="silu",
            mlp="gated",
            attention_bias=False,
            mlp_bias=False,
            query_key_norm=True,
            tied=self.tied,
            init_std=self.init_std,
            embed_init_std=self.embed_init_std,
            residual_init=self.residual_init,
        )


Shape = Gpt2Shape | GptNeoXShape | Qwen3Shape
ModelShape = Annotated[Shape, Field(discriminator="family")]


@plain_dataclass(frozen=True, kw_only=True)
class Family:
    """One model family.

    Attributes:
        name: as in recipes.
        model_type: as in config.json.
        auto_class: the transformers class that loads an export.
        parts: short name -> parameter-name pattern, for the `trainable` table of recipes.
        config_to_disk: decoder config -> config.json fields.
        config_from_disk: config.json fields -> decoder config.
        to_disk / from_disk: state dicts, ours <-> Hugging Face names.
        shard_units: pattern of the names of modules that ranks gather one at a time (FSDP2).
    """

    name: str
    model_type: str
    auto_class: str
    parts: dict[str, str]
    config_to_disk: Callable[[DecoderConfig], dict[str, Any]]
    config_from_disk: Callable[[dict[str, Any]], DecoderConfig]
    to_disk: Callable[[dict[str, Tensor], DecoderConfig], dict[str, Tensor]]
    from_disk: Callable[[dict[str, Tensor], DecoderConfig], dict[str, Tensor]]
    shard_units: str = r"^layers\.\d+$"


_PARTS = {
    "embed": r"^(embed|positions)\.",
    "layers": r"^layers\.",
    "head": r"^(final_norm|head)\.",
}

FAMILIES = {
    "gpt2": Family(
        name="gpt2",
        model_type="gpt2",
        auto_class="GPT2LMHeadModel",
        parts=_PARTS,
        config_to_disk=gpt2.config_to_disk,
        config_from_disk=gpt2.config_from_disk,
        to_disk=gpt2.to_disk,
        from_disk=gpt2.from_disk,
    ),
    "gpt_neox": Family(
        name="gpt_neox",
        model_type="gpt_neox",
        auto_class="GPTNeoXForCausalLM",
        parts=_PARTS,
        config_to_disk=gpt_neox.config_to_disk,
        config_from_disk=gpt_neox.config_from_disk,
        to_disk=gpt_neox.to_disk,
        from_disk=gpt_neox.from_disk,
    ),
    "qwen3": Family(
        name="qwen3",
        model_type="qwen3",
        auto_class="Qwen3ForCausalLM",
        parts=_PARTS,
        config_to_disk=qwen3.config_to_disk,
        config_from_disk=qwen3.config_from_disk,
        to_disk=qwen3.to_disk,
        from_disk=qwen3.from_disk,
    ),
}


def find_family(name: str) -> Family:
    """Return the family of that name (or transformers' model_type).

    Raises:
        UsageError: no such family.
    """
    if name not in FAMILIES:
        raise UsageError(
            f"no model family {name!r}{nearest(name, FAMILIES)}",
            remedy=f"families here: {', '.join(FAMILIES)}",
        )
    return FAMILIES[name]


def build(shape: Shape, *, vocab: int) -> Decoder:
    """Build the (uninitialised) decoder of a recipe's `[model]` section.

    Args:
        shape: the section.
        vocab: the tokenizer's size; the section's own `vocab` may pad it, never cut it.

    Raises:
        UsageError: the section's vocabulary is smaller than the tokenizer's.
    """
    size = vocab if shape.vocab is None else shape.vocab
    if size < vocab:
        raise UsageError(
            f"model.vocab {size} is smaller than the tokenizer's {vocab}",
            remedy="leave model.vocab out, or give a number not below the tokenizer's",
        )
    return Decoder(shape.decoder(size))
