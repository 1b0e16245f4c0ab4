"""What makes a family: a frozen record, looked up by name. No base class, no registry magic.

A recipe's `[model]` section names a family and gives its shape in the words of that family; the
record turns it into a decoder, and says which names its weights have on disk. Adding one is a
config class, a weights file and a line in `FAMILIES` (docs/adding-a-family.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass as plain_dataclass
from dataclasses import replace
from typing import Annotated, Any, Literal, Protocol, overload

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.errors import UsageError, nearest
from minna.models.decoder import Decoder, DecoderConfig, RotaryBands
from minna.models.dual import DualEncoder
from minna.models.dual_shape import DualShape, build_dual
from minna.models.encoder import Encoder, EncoderConfig
from minna.models.pictures.shapes import fresh_tower
from minna.models.speech import encoder as speech_encoder
from minna.models.speech.config import SpeechConfig
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.models.weights import (
    dual,
    gpt2,
    gpt_neox,
    llama,
    qwen,
    qwen2,
    qwen3,
    roberta,
    speech,
)

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


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class LlamaShape:
    """Llama 2 and 3 (Touvron et al. 2023; Llama team 2024): RMS norms, gated, rotary, no biases.

    A context is lengthened by `rotary_scaling` alone (position interpolation), or within
    `rotary_bands` (Llama 3.1: low 1, high 4, the context before).
    """

    family: Literal["llama"] = "llama"
    layers: Size
    width: Size
    heads: Size
    kv_heads: Size | None = None
    head_dim: Size | None = None
    ffn: Size
    context: Size = 4096
    vocab: Size | None = None
    norm_eps: float = 1e-5
    rotary_base: float = 10000.0
    rotary_scaling: float = Field(default=1.0, ge=1)
    rotary_bands: RotaryBands | None = None
    attention_bias: bool = False
    mlp_bias: bool = False
    init_std: float = 0.02
    tied: bool = False

    def decoder(self, vocab: int) -> DecoderConfig:
        """Return the decoder of this shape for a vocabulary."""
        return DecoderConfig(
            **_grouped(self, vocab),
            rotary_bands=self.rotary_bands,
            attention_bias=self.attention_bias,
            mlp_bias=self.mlp_bias,
        )


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class QwenShape:
    """Qwen 1 (Bai et al. 2023, arXiv:2309.16609): as Llama, with biases on queries, keys, values.

    `ffn` is the width of one half; config.json's `intermediate_size` is twice that. `context` is
    its `seq_length`: what Qwen's own code does beyond depends on how long a row will become.
    """

    family: Literal["qwen"] = "qwen"
    layers: Size
    width: Size
    heads: Size
    ffn: Size
    context: Size = 8192
    vocab: Size | None = None
    norm_eps: float = 1e-6
    rotary_base: float = 10000.0
    dropout: Share = 0.0
    init_std: float = 0.02

    def decoder(self, vocab: int) -> DecoderConfig:
        """Return the decoder of this shape for a vocabulary."""
        return DecoderConfig(
            vocab=vocab,
            context=self.context,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            kv_heads=self.heads,
            head_dim=_share(self.width, self.heads),
            ffn=self.ffn,
            norm="rms",
            norm_eps=self.norm_eps,
            rotary_base=self.rotary_base,
            activation="silu",
            mlp="gated",
            attention_out_bias=False,
            mlp_bias=False,
            dropout=self.dropout,
            init_std=self.init_std,
        )


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Qwen2Shape:
    """Qwen 1.5, 2 and 2.5 (Yang et al. 2024, arXiv:2407.10671): Qwen 1 in Llama's layout."""

    family: Literal["qwen2"] = "qwen2"
    layers: Size
    width: Size
    heads: Size
    kv_heads: Size | None = None
    head_dim: Size | None = None
    ffn: Size
    context: Size = 4096
    vocab: Size | None = None
    norm_eps: float = 1e-6
    rotary_base: float = 10000.0
    rotary_scaling: float = Field(default=1.0, ge=1)
    init_std: float = 0.02
    tied: bool = False

    def decoder(self, vocab: int) -> DecoderConfig:
        """Return the decoder of this shape for a vocabulary."""
        return DecoderConfig(
            **_grouped(self, vocab),
            attention_bias=True,
            attention_out_bias=False,
            mlp_bias=False,
        )


def _share(width: int, heads: int) -> int | None:
    """Features of a head; None where the width is no multiple, which the decoder refuses."""
    return None if width % heads else width // heads


def _grouped(shape: LlamaShape | Qwen2Shape, vocab: int) -> dict[str, Any]:
    """What Llama and Qwen2 say alike, what was left out written out."""
    return {
        "vocab": vocab,
        "context": shape.context,
        "layers": shape.layers,
        "width": shape.width,
        "heads": shape.heads,
        "kv_heads": shape.kv_heads or shape.heads,
        "head_dim": shape.head_dim or _share(shape.width, shape.heads),
        "ffn": shape.ffn,
        "norm": "rms",
        "norm_eps": shape.norm_eps,
        "rotary_base": shape.rotary_base,
        "rotary_scaling": shape.rotary_scaling,
        "activation": "silu",
        "mlp": "gated",
        "tied": shape.tied,
        "init_std": shape.init_std,
    }


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class RobertaShape:
    """RoBERTa (Liu et al. 2019) as rinna released it: positions from 0, two rows of them unused."""

    family: Literal["roberta"] = "roberta"
    layers: Size
    width: Size
    heads: Size
    ffn: Size
    context: Size = 512
    position_rows: Size | None = None
    types: Size = 2
    vocab: Size | None = None
    norm_eps: float = 1e-12
    dropout: Share = 0.1
    init_std: float = 0.02

    def encoder(self, vocab: int) -> EncoderConfig:
        """Return the encoder of this shape for a vocabulary."""
        return EncoderConfig(
            vocab=vocab,
            context=self.context,
            position_rows=self.position_rows or self.context + 2,
            layers=self.layers,
            width=self.width,
            heads=self.heads,
            ffn=self.ffn,
            types=self.types,
            norm_eps=self.norm_eps,
            dropout=self.dropout,
            init_std=self.init_std,
        )


DecoderShape = Gpt2Shape | GptNeoXShape | LlamaShape | QwenShape | Qwen2Shape | Qwen3Shape
Shape = DecoderShape | RobertaShape | DualShape | SpeechConfig
ModelShape = Annotated[Shape, Field(discriminator="family")]
Model = Decoder | Encoder | DualEncoder | SpeechEncoder | SpeechRecogniser
Learns = Literal["causal_lm", "masked_lm", "contrastive", "speech"]


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
        to_disk: our state dict with Hugging Face's names.
        from_disk: the other way, name and tensor one after the other: a tensor that must be put
            together anew (fused, transposed) is made when it is asked for, so that a model is
            filled from mapped files without a second copy of it in memory.
        objective: what such a model learns.
        shard_units: pattern of the names of modules that ranks gather one at a time (FSDP2).
    """

    name: str
    model_type: str
    auto_class: str
    parts: dict[str, str]
    config_to_disk: Callable[[Any], dict[str, Any]]
    config_from_disk: Callable[[dict[str, Any]], Any]
    to_disk: Callable[[dict[str, Tensor], Any], dict[str, Tensor]]
    from_disk: Callable[[dict[str, Tensor], Any], Iterable[tuple[str, Tensor]]]
    objective: Learns = "causal_lm"
    shard_units: str = r"^layers\.\d+$"


_PARTS = {
    "embed": r"^(embed|positions)\.",
    "layers": r"^layers\.",
    "head": r"^(final_norm|head)\.",
}


class _OnDisk(Protocol):
    """What a file of `models/weights` gives: a config and tensors, both ways."""

    def config_to_disk(self, config: Any, /) -> dict[str, Any]: ...
    def config_from_disk(self, config: dict[str, Any], /) -> Any: ...
    def to_disk(self, state: dict[str, Tensor], config: Any, /) -> dict[str, Tensor]: ...
    def from_disk(
        self, state: dict[str, Tensor], config: Any, /
    ) -> Iterable[tuple[str, Tensor]]: ...


def _family(
    name: str,
    auto_class: str,
    disk: _OnDisk,
    *,
    parts: dict[str, str] = _PARTS,
    objective: Learns = "causal_lm",
) -> Family:
    return Family(
        name=name,
        model_type=name,
        auto_class=auto_class,
        parts=parts,
        config_to_disk=disk.config_to_disk,
        config_from_disk=disk.config_from_disk,
        to_disk=disk.to_disk,
        from_disk=disk.from_disk,
        objective=objective,
    )


def _needs_towers(_tensors: dict[str, Tensor], _config: Any) -> Any:
    raise AssertionError("which tensors an image tower has, it says itself: weights/dual.py")


_EVERY = (
    _family("gpt2", "GPT2LMHeadModel", gpt2),
    _family("gpt_neox", "GPTNeoXForCausalLM", gpt_neox),
    _family("llama", "LlamaForCausalLM", llama),
    _family("qwen", "QWenLMHeadModel", qwen),
    _family("qwen2", "Qwen2ForCausalLM", qwen2),
    _family("qwen3", "Qwen3ForCausalLM", qwen3),
    _family(
        "roberta",
        "RobertaForMaskedLM",
        roberta,
        parts={
            "embed": r"^(embed|positions|types|embed_norm)\.",
            "layers": r"^layers\.",
            "head": r"^(transform|transform_norm|head_bias)",
        },
        objective="masked_lm",
    ),
    Family(
        name="dual",
        model_type="",  # transformers has no class of it: config.json and names are rinna's
        auto_class="",
        parts={
            "embed": r"^text\.(embed|positions|types|embed_norm)\.",
            "layers": r"^text\.layers\.",
            "text": r"^text",
            "image": r"^image\.",
            "head": r"^(text_projection|visual_projection|logit_)",
        },
        config_to_disk=dual.config_to_disk,
        config_from_disk=dual.config_from_disk,
        to_disk=_needs_towers,
        from_disk=_needs_towers,
        objective="contrastive",
        shard_units=r"^text\.layers\.\d+$",
    ),
    *(
        Family(
            name=name,
            model_type=name,
            auto_class=f"{speech.CLASSES[name]}Model",
            parts=speech_encoder.PARTS,
            config_to_disk=speech.config_to_disk,
            config_from_disk=speech.config_from_disk,
            to_disk=speech.to_disk,
            from_disk=speech.from_disk,
            objective="speech",
            shard_units=speech_encoder.SHARD_UNITS,
        )
        for name in speech.CLASSES
    ),
)
FAMILIES = {family.name: family for family in _EVERY}


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


@overload
def build(shape: DecoderShape, *, vocab: int) -> Decoder: ...
@overload
def build(shape: RobertaShape, *, vocab: int) -> Encoder: ...
@overload
def build(shape: DualShape, *, vocab: int) -> DualEncoder: ...
@overload
def build(shape: SpeechConfig, *, vocab: int) -> SpeechEncoder | SpeechRecogniser: ...
@overload
def build(shape: Shape, *, vocab: int) -> Model: ...
def build(shape: Shape, *, vocab: int) -> Model:
    """Build the (uninitialised) model of a recipe's `[model]` section.

    Args:
        shape: the section.
        vocab: the tokenizer's size; the section's own `vocab` may pad it, never cut it. A model of
            speech has a head where there is one.

    Raises:
        UsageError: the section's vocabulary is smaller than the tokenizer's.
    """
    size = vocab if shape.vocab is None else shape.vocab
    if size < vocab:
        raise UsageError(
            f"model.vocab {size} is smaller than the tokenizer's {vocab}",
            remedy="leave model.vocab out, or give a number not below the tokenizer's",
        )
    if isinstance(shape, DualShape):
        return build_dual(shape, vocab=size, tower=fresh_tower(shape.tower))
    config = config_of(shape, vocab=size)
    if isinstance(config, SpeechConfig):
        return SpeechRecogniser(config) if config.vocab else SpeechEncoder(config)
    return Encoder(config) if isinstance(config, EncoderConfig) else Decoder(config)


def config_of(shape: Shape, *, vocab: int) -> DecoderConfig | EncoderConfig | SpeechConfig:
    """Return what a `[model]` section of one tower builds, for a vocabulary."""
    assert not isinstance(shape, DualShape), "a dual encoder has two"
    if isinstance(shape, SpeechConfig):
        return replace(shape, vocab=vocab or None)
    return shape.encoder(vocab) if isinstance(shape, RobertaShape) else shape.decoder(vocab)
