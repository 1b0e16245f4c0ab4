"""Low-rank adapters: a frozen model and, beside each of its matrices, a small product that learns.

W stays, and W + (alpha / rank) B A is used (LoRA, Hu et al. 2021, equation 3); with the frozen part
in 4 bits it is QLoRA (Dettmers et al. 2023). peft makes and runs the adapters. What is ours is how
they meet this house: which of our matrices they sit on, how the frozen part is stored, what a
checkpoint holds of it (the adapters alone: 7 B are 27 GB, their adapters 0.1), and the two ways
out: merged into whole weights, or as the folder that peft loads beside the base in transformers.

Our decoder multiplies queries, keys and values in one matrix, so they share their A. On disk, where
they lie apart, each gets that A and its rows of B: the same function, to the bit.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass
from torch import Tensor, nn

from minna.artifact.files import write_text_atomically
from minna.artifact.tensors import save_tensors
from minna.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

Target = Literal["qkv", "out", "up", "gate", "down"]
TARGETS: tuple[Target, ...] = ("qkv", "out", "up", "gate", "down")

_EXTRA = 'pip install "minna[adapters]"'
_NAME = "default"  # peft can hold several adapters by name; a run trains one
_BASE = ".base_layer"
_LOADED = re.compile(rf"\.lora_(A|B)\.{_NAME}\.weight$")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class AdapterSettings:
    """Settings of `[adapter]`.

    Attributes:
        rank: columns of B, rows of A; 0 trains the weights themselves.
        alpha: the product is scaled by alpha / rank.
        dropout: on what enters A.
        targets: which matrices of a layer get one: `qkv` and `out` of attention, `up`, `gate` and
            `down` of the feed-forward (those that the family has).
        base: how the frozen part is stored. bf16 halves it, and computes as bf16 training does
            anyway; nf4 takes 4.1 bits for each weight of a layer's matrices, and bf16 for the rest
            of what is large (embeddings, head).
    """

    rank: int = Field(default=0, ge=0)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[Target, ...] = Field(default=TARGETS, min_length=1)
    base: Literal["fp32", "bf16", "nf4"] = "fp32"

    @property
    def used(self) -> bool:
        """Whether adapters learn, not the weights."""
        return self.rank > 0


def adapt(model: nn.Module, settings: AdapterSettings, *, device: str, seed: int) -> list[str]:
    """Freeze a decoder, store it as `settings.base` says, and put adapters on its matrices.

    A is drawn from `seed` and B is 0, so that the model computes what it did.

    Args:
        model: on the CPU, with the weights to begin with.
        settings: of `[adapter]`.
        device: where it will train; 4-bit weights are made there.
        seed: of A.

    Returns:
        The names of the parameters that learn.

    Raises:
        UsageError: peft or bitsandbytes is missing, or the rank is not below a matrix's sides.
    """
    targets = [name for name, _ in _targeted(model, settings)]
    peft = _peft()
    model.requires_grad_(requires_grad=False)
    if settings.base != "fp32":
        _shrink(model, settings, device=device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        peft.inject_adapter_in_model(_config(settings, targets=targets), model, _NAME)
    return [name for name, parameter in model.named_parameters() if parameter.requires_grad]


@torch.no_grad()
def merge(model: nn.Module) -> dict[str, Tensor]:
    """Return the whole weights of an adapted model under its own names, in fp32; it is used up.

    A base stored smaller comes as the numbers it stands for: the adapters learned beside those, so
    what is written is what was trained and looked at. What is fp32 already is added to in place: a
    second copy of 7 B would take 27 GB.
    """
    state: dict[str, Tensor] = {}
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    for name, parameter in model.named_parameters():
        if _LOADED.search(name):
            continue
        whole = _numbers(parameter).float()
        owner, part = name.removesuffix(f"{_BASE}.weight"), name.replace(_BASE, "")
        if owner in adapted and owner != name:
            a, b, scale = _product(adapted[owner])
            whole.addmm_(b.float(), a.float(), alpha=scale)
        state[part] = whole
    return state


def as_peft(
    model: nn.Module,
    settings: AdapterSettings,
    *,
    to_disk: Callable[[dict[str, Tensor]], dict[str, Tensor]],
    base: str,
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return adapter_config.json and the tensors of adapter_model.safetensors for transformers.

    Args:
        model: adapted.
        settings: of `[adapter]`.
        to_disk: our whole state dict with Hugging Face's names (`Family.to_disk`).
        base: name or path of the base model, for `PeftModel`.
    """
    shapes = {
        name.replace(_BASE, ""): torch.empty(_shape(parameter), device="meta")
        for name, parameter in model.named_parameters()
        if not _LOADED.search(name)
    }
    tensors: dict[str, Tensor] = {}
    transposed = False
    for name, module in model.named_modules():
        if not hasattr(module, "lora_A"):
            continue
        a, b, _ = _product(module)
        # B has the rows of the weight, so it is laid on disk as the weight is
        laid = to_disk({**shapes, f"{name}.weight": b})
        for theirs, piece in laid.items():
            if piece.is_meta:
                continue
            transposed = piece.shape[-1] != settings.rank
            stem = f"base_model.model.{theirs.removesuffix('.weight')}"
            tensors[f"{stem}.lora_A.weight"] = a.float().clone()
            tensors[f"{stem}.lora_B.weight"] = (
                (piece.T if transposed else piece).float().contiguous()
            )
    modules = {key.split(".lora_")[0].rsplit(".", 1)[-1] for key in tensors}
    config = _config(settings, targets=sorted(modules))
    config.fan_in_fan_out = transposed
    config.base_model_name_or_path = base
    config.task_type = "CAUSAL_LM"
    config.inference_mode = True
    said: dict[str, Any] = {
        key: sorted(value) if isinstance(value, set) else value
        for key, value in config.to_dict().items()
    }
    return json.loads(json.dumps(said, default=str)), tensors


def write_peft(out: Path, config: dict[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write what `as_peft` returned into the folder `out`."""
    save_tensors(dict(tensors), out / "adapter_model.safetensors", metadata={"format": "pt"})
    text = json.dumps(config, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    write_text_atomically(out / "adapter_config.json", text)


def adapter_parameters(model: nn.Module, settings: AdapterSettings) -> int:
    """Count what `adapt` would add to a model (on any device, meta too)."""
    return sum(
        settings.rank * (linear.in_features + linear.out_features)
        for _, linear in _targeted(model, settings)
    )


class FrozenLinear(nn.Linear):
    """A matrix kept in bf16, which computes in bf16 and gives back the type that came."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Linear's own name
        """Return input weight^T + bias [..., out]; in bf16 where autocast asks for that."""
        out = F.linear(input.to(self.weight.dtype), self.weight, self.bias)
        return out if torch.is_autocast_enabled(input.device.type) else out.to(input.dtype)


class FrozenEmbedding(nn.Embedding):
    """Rows kept in bf16 that begin a residual stream in fp32."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - nn.Embedding's own name
        """Return rows [..., D] in fp32."""
        return F.embedding(input, self.weight).float()


def _shrink(model: nn.Module, settings: AdapterSettings, *, device: str) -> None:
    """Replace what is large by what is stored smaller; norms and biases stay in fp32."""
    units = dict(model.named_modules())
    four = settings.base == "nf4"
    for name, module in list(units.items()):
        if isinstance(module, nn.Embedding):
            small = FrozenEmbedding(module.num_embeddings, module.embedding_dim, device="meta")
        elif isinstance(module, nn.Linear) and four and name.startswith("layers."):
            _put(units, name, _four_bits(module, device=device))
            continue
        elif isinstance(module, nn.Linear) and name != "score":  # what judges learns, in fp32
            size = (module.in_features, module.out_features)
            bias: Tensor | None = getattr(module, "bias", None)
            small = FrozenLinear(*size, bias=bias is not None, device="meta")
            if bias is not None:
                small.bias = nn.Parameter(bias.detach().bfloat16(), requires_grad=False)
        else:
            continue
        small.weight = nn.Parameter(module.weight.detach().bfloat16(), requires_grad=False)
        _put(units, name, small)


def _put(units: dict[str, nn.Module], name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(units[parent], child, module)


def _four_bits(linear: nn.Linear, *, device: str) -> nn.Module:
    """A 4-bit copy, blocks of 64 with quantised scales (Dettmers et al. 2023, section 3).

    Raises:
        UsageError: bitsandbytes is missing, or the device has no kernels.
    """
    if device == "mps":
        raise UsageError(
            "adapter.base nf4 has no kernels of its own on mps", remedy="use adapter.base=bf16"
        )
    bnb, bias = _bitsandbytes(), getattr(linear, "bias", None)
    small = bnb.nn.Linear4bit(
        linear.in_features,
        linear.out_features,
        bias=bias is not None,
        compute_dtype=torch.bfloat16,
        compress_statistics=True,
        quant_type="nf4",
        device="meta",
    )
    # at its first look it would otherwise repack its weights in place, for kernels of a hub
    small.support_avx512bf16_for_cpu = False
    weight = linear.weight.detach()
    small.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4").to(device)
    if bias is not None:
        small.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return small


def _targeted(model: nn.Module, settings: AdapterSettings) -> Iterator[tuple[str, nn.Linear]]:
    """Name and matrix of each that gets an adapter.

    Raises:
        UsageError: none is there, or the rank is not below a matrix's sides.
    """
    found = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear)
        and name.startswith("layers.")
        and name.rsplit(".", 1)[-1] in settings.targets
    ]
    if not found:
        raise UsageError(
            f"adapter.targets {', '.join(settings.targets)}: the model has none of them",
            remedy=f"known: {', '.join(TARGETS)} (gate only where the feed-forward is gated)",
        )
    for name, linear in found:
        if settings.rank >= min(linear.in_features, linear.out_features):
            raise UsageError(
                f"adapter.rank {settings.rank} is not below the sides of {name} "
                f"({linear.out_features} x {linear.in_features}): nothing would be saved",
                remedy="8 to 64 are usual",
            )
    return iter(found)


def _config(settings: AdapterSettings, *, targets: list[str]) -> Any:
    return _peft().LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=targets,
        bias="none",
    )


def _product(module: Any) -> tuple[Tensor, Tensor, float]:
    """A [rank, in], B [out, rank] and the scale of one adapter."""
    return (
        module.lora_A[_NAME].weight.detach(),
        module.lora_B[_NAME].weight.detach(),
        float(module.scaling[_NAME]),
    )


def _numbers(parameter: Tensor) -> Tensor:
    """The matrix that a parameter stands for, 4-bit ones decoded."""
    state: Any = getattr(parameter, "quant_state", None)
    if state is None:
        return parameter.detach()
    return _bitsandbytes().functional.dequantize_4bit(parameter.data, state)


def _shape(parameter: Tensor) -> torch.Size:
    state: Any = getattr(parameter, "quant_state", None)
    return parameter.shape if state is None else torch.Size(state.shape)


def size_of(model: nn.Module) -> int:
    """Parameters of a model, each 4-bit pair of a byte counted as two."""
    return sum(_shape(parameter).numel() for parameter in model.parameters())


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise UsageError(f"adapters need peft ({error})", remedy=_EXTRA) from error
    return peft


def _bitsandbytes() -> Any:
    # where the package `kernels` is installed, the import below fetches a binary from a hub and
    # runs it; nothing here runs what was not installed on purpose
    hidden = sys.modules.pop("kernels", None)
    sys.modules["kernels"] = None  # type: ignore[assignment]  # pyright: ignore[reportArgumentType]
    logger = logging.getLogger("bitsandbytes")
    level = logger.level
    logger.setLevel(logging.ERROR)  # it warns of what is left out on purpose
    try:
        import bitsandbytes
    except ImportError as error:
        raise UsageError(f"adapter.base nf4 needs bitsandbytes ({error})", remedy=_EXTRA) from error
    finally:
        logger.setLevel(level)
        del sys.modules["kernels"]
        if hidden is not None:
            sys.modules["kernels"] = hidden
    return bitsandbytes


def is_adapted(model: nn.Module) -> bool:
    """Whether adapters sit on a model's matrices."""
    return any(hasattr(module, "lora_A") for module in model.modules())


@contextlib.contextmanager
def without_adapters(model: nn.Module) -> Generator[None]:
    """Let a model compute without its adapters, for the length of a `with`.

    The flag that peft's layers look at is set; peft's own switch also stops them from learning.
    """
    layers: list[Any] = [module for module in model.modules() if hasattr(module, "lora_A")]
    for layer in layers:
        layer._disable_adapters = True  # noqa: SLF001 - see above
    try:
        yield
    finally:
        for layer in layers:
            layer._disable_adapters = False  # noqa: SLF001
