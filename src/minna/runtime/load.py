"""A model dir in use: config, weights and tokenizer, read as transformers reads them, but checked.

transformers fills in whatever is missing: a misspelt config key is swallowed, a tensor that is not
there is drawn at random with one line in the log. Here a missing, unknown or misshapen tensor is an
error that names it, and a key that looks misspelt is a warning that names its neighbour.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor

from minna.artifact import MANIFEST_NAME, Manifest, read_manifest
from minna.console import warn
from minna.errors import ArtifactError, UsageError, nearest
from minna.models.decoder import Decoder, DecoderConfig, rotary_table
from minna.models.encoder import Encoder
from minna.models.family import FAMILIES, Family
from minna.native.quantise import QuantisedKind
from minna.runtime.pack import has_bf16_instructions, pack
from minna.runtime.weights import read_json, read_weights
from minna.tokenizer.coder import AnyTokenizer, open_tokenizer

Device = Literal["auto", "cpu", "cuda", "mps"]
Dtype = Literal["auto", "fp32", "bf16", "fp16", "int8", "int4"]
Layout = Literal["packed", "plain"]

# Below this the weights lie in the processor's cache, overheads decide, and fp32 is as fast.
BF16_PARAMETERS = 30_000_000

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_BITS: dict[str, QuantisedKind] = {"int8": "int8", "int4": "int4"}
# What transformers writes into every config.json and no decoder reads.
_COMMON_KEYS = frozenset(
    """
    _name_or_path add_cross_attention architectures attention_dropout attn_pdrop auto_map
    bos_token_id classifier_dropout cross_attention_hidden_size dtype embd_pdrop eos_token_id
    gradient_checkpointing hidden_dropout initializer_range is_decoder model_type n_ctx
    output_attentions output_hidden_states output_past pad_token_id problem_type
    reorder_and_upcast_attn resid_pdrop return_dict rope_scaling scale_attn_by_inverse_layer_idx
    scale_attn_weights summary_activation summary_first_dropout summary_proj_to_labels
    summary_type summary_use_proj task_specific_params tie_word_embeddings tokenizer_class
    torch_dtype transformers_version unk_token_id use_cache vocab_size
    """.split()  # noqa: SIM905 - 45 words read better than 45 lines
)


@dataclass(frozen=True, kw_only=True)
class LoadedModel:
    """A model ready to be asked.

    Attributes:
        decoder: in eval mode, without gradients; its matrices may be packed (`runtime/pack.py`).
        tokenizer: may know fewer ids than the decoder has rows (padded vocabularies).
        config: config.json as it is.
        generation: generation_config.json as it is, {} without one.
        manifest: minna.json, or None for a directory that is not ours.
        path: where it was read from; None for a model that was built in memory.
        bits: what its matrices were rounded to; None where they are of `dtype`.
    """

    decoder: Decoder
    tokenizer: AnyTokenizer
    config: dict[str, Any]
    generation: dict[str, Any]
    manifest: Manifest | None = None
    path: Path | None = None
    bits: QuantisedKind | None = None

    @property
    def vocab(self) -> int:
        """Ids that may be sampled: padded rows of the embedding are no tokens."""
        return min(self.tokenizer.vocab_size, self.decoder.config.vocab)

    @property
    def eos_ids(self) -> tuple[int, ...]:
        """Ids that end a text: generation_config.json, else config.json, else the tokenizer's."""
        for source in (self.generation, self.config):
            named: Any = source.get("eos_token_id")
            if named is not None:
                return tuple(named) if isinstance(named, list) else (int(named),)
        return (self.tokenizer.eos_id,) if self.tokenizer.eos_id >= 0 else ()

    @property
    def device(self) -> torch.device:
        """Where the decoder lives."""
        return self.decoder.embed.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type it computes in, that of its embedding."""
        return self.decoder.embed.weight.dtype

    @property
    def precision(self) -> str:
        """Its weights in a word, for reports: "float32", "bfloat16", "int8", "int4"."""
        return self.bits or str(self.dtype).removeprefix("torch.")


def load_model(
    path: Path, *, device: Device = "auto", dtype: Dtype = "auto", layout: Layout = "packed"
) -> LoadedModel:
    """Open the model dir at `path`.

    Args:
        path: a directory as transformers writes it, with its tokenizer.
        device: "auto" takes cuda, then mps, then cpu.
        dtype: "auto" is `choose_dtype`'s rule; the type in the file does not matter. "int8" and
            "int4" round the matrices one by one as they are loaded; embeddings and norms stay bf16
            (fp32 where the processor has no bf16).
        layout: "packed" lays the matrices out for the CPU (faster, cannot be read back), "plain"
            keeps them as they are.

    Raises:
        UsageError: no such dtype, or a plain layout of quantised matrices.
        ArtifactError: not a model dir, of an unknown family, or its weights do not fit its config.
    """
    if not path.is_dir():
        raise ArtifactError(f"{path} is not a directory", remedy="give the path of a model dir")
    config = read_json(path / "config.json")
    family = family_of(config, path)
    if family.objective != "causal_lm":
        raise ArtifactError(
            f"{path} is a masked language model ({family.name}): it fills gaps and does not go on",
            remedy="minna generate fills [MASK] with it; evaluation asks causal models",
        )
    warn_misspelt(config, family)
    place = choose_device(device)
    check_dtype(dtype, layout=layout)
    decoder = build_decoder(config, family, read_weights(path), device=place, dtype=dtype)
    generation = path / "generation_config.json"
    bits = _BITS.get(dtype)
    if bits is not None:
        pack(decoder, kind=bits)
        for parameter in decoder.parameters():  # and not the angles, which stay fp32
            parameter.data = parameter.data.to(_beside(place))
    elif layout == "packed":
        pack(decoder)
    own(decoder)
    return LoadedModel(
        decoder=decoder,
        tokenizer=open_tokenizer(path),
        config=config,
        generation=read_json(generation) if generation.is_file() else {},
        manifest=read_manifest(path) if (path / MANIFEST_NAME).is_file() else None,
        path=path,
        bits=bits,
    )


def build_decoder(
    config: dict[str, Any],
    family: Family,
    state: dict[str, Tensor],
    *,
    device: torch.device,
    dtype: Dtype,
) -> Decoder:
    """Make the decoder of a config.json around tensors with Hugging Face names.

    Raises:
        ArtifactError: a tensor is missing, unknown, or of another shape than the config says.
    """
    shape = family.config_from_disk(config)
    with torch.device("meta"):
        decoder = Decoder(shape)
    check_shapes(state, decoder, family)
    size = sum(parameter.numel() for parameter in decoder.parameters())
    kind = choose_dtype(device, parameters=size) if dtype == "auto" else _DTYPES.get(dtype)
    # what will be quantised stays as it is in the file: rounding twice is worse than once
    pairs = family.from_disk(dict(state), shape)
    ours = {name: tensor.to(device=device, dtype=kind) for name, tensor in pairs}
    decoder.load_state_dict(ours, strict=True, assign=True)
    # the angles stay fp32: in bf16 neighbouring positions beyond 256 become the same
    decoder.cos, decoder.sin = (table.to(device) for table in rotary_table(shape))
    return decoder.eval().requires_grad_(requires_grad=False)


def check_dtype(dtype: str, *, layout: Layout = "packed") -> Dtype:
    """Return the dtype a word means.

    Raises:
        UsageError: `load_model` does not know it, or a plain layout cannot have it.
    """
    known = get_args(Dtype)
    if dtype not in known:
        raise UsageError(
            f"no dtype {dtype!r}{nearest(dtype, known)}",
            remedy=f"use {', '.join(known[:-1])} or {known[-1]}",
        )
    if layout == "plain" and dtype in _BITS:
        raise UsageError(
            f"{dtype} matrices cannot be read back, trained or compared (layout 'plain')",
            remedy="load the model in fp32 or bf16 for that",
        )
    return cast("Dtype", dtype)


def _beside(device: torch.device) -> torch.dtype:
    """The type of what is not quantised: embeddings, norms, and what passes between matrices."""
    if device.type == "cpu":
        return torch.bfloat16 if has_bf16_instructions() else torch.float32
    return choose_dtype(device, parameters=BF16_PARAMETERS)


def own(decoder: Decoder) -> None:
    """Copy what still lies in a mapped file: if that is replaced, the process goes down with it.

    Only after packing, whose results are copies already (one copy fewer of 539 MB of fp32 weights).
    """
    for parameter in decoder.parameters():
        parameter.data = parameter.data.clone()


def check_shapes(state: dict[str, Tensor], model: Decoder | Encoder, family: Family) -> None:
    """Compare every tensor with the shape the config gives it, under its name on disk.

    Raises:
        ArtifactError: one differs.
    """
    expected = family.to_disk(model.state_dict(), model.config)
    for name, tensor in expected.items():
        short = name.removeprefix("transformer.")
        found = state.get(name, state.get(short))
        if found is not None and found.shape != tensor.shape:
            raise ArtifactError(
                f"the tensor {name!r} has shape {list(found.shape)}, and config.json says "
                f"{list(tensor.shape)}",
                remedy="check that config.json and the weights belong together",
            )


def choose_device(device: Device) -> torch.device:
    """Return the device a word means.

    Raises:
        UsageError: it is not there.
    """
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there.get(device, False):
        known = ", ".join(name for name, found in there.items() if found)
        raise UsageError(
            f"no device {device!r} here{nearest(device, there)}",
            remedy=f"use auto or one of {known}",
        )
    return torch.device(device)


def choose_dtype(device: torch.device, *, parameters: int) -> torch.dtype:
    """What "auto" means, by device and size.

    On a CPU with bf16 instructions (AVX-512 BF16 or AMX) a model above `BF16_PARAMETERS` runs in
    bf16: a token costs one reading of all weights, and bf16 halves that. Elsewhere on CPU and on
    mps fp32; on cuda bf16 where the card has it, else fp16.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    if device.type == "cpu" and parameters > BF16_PARAMETERS and has_bf16_instructions():
        return torch.bfloat16
    return torch.float32


def warn_misspelt(config: dict[str, Any], family: Family) -> None:
    """Warn of a key that no reader knows and that is nearly one they do know."""
    sample = DecoderConfig(vocab=1, context=1, layers=1, width=2, heads=1, ffn=1)
    known = set(family.config_to_disk(sample)) | _COMMON_KEYS
    for key in config:
        close = difflib.get_close_matches(key, known, n=1, cutoff=0.8)
        if key not in known and close:
            warn(f"config.json: {key!r} is not read by {family.name}; did you mean {close[0]!r}?")


def family_of(config: dict[str, Any], path: Path) -> Family:
    """Return the family of a config.json.

    Raises:
        ArtifactError: its model_type is of none.
    """
    kind: Any = config.get("model_type")
    for family in FAMILIES.values():
        if family.model_type == kind:
            return family
    known = [family.model_type for family in FAMILIES.values()]
    raise ArtifactError(
        f"{path / 'config.json'} has model_type {kind!r}{nearest(str(kind), known)}",
        remedy=f"model types read here: {', '.join(known)}",
    )
