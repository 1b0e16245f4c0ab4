"""open_clip as bench_clip.py measures it: its own training loop, on batches that both sides read.

Runs in the peer's environment, which knows nothing of minna: it reads numpy arrays and folders. The
loop is `train_one_epoch` of open_clip's own package, with its loss, its parameter groups and its
clamp of the scale; only the data loader is a list of batches that are in memory already.

Two things had to be done to it. torchvision, which it imports, may have been built for CUDA where
torch was not; its operators cannot be loaded then, and importing it fails for want of two of their
names, which nothing here calls: they are declared. And open_clip locks an EfficientNet in no way
that keeps its features: `lock_image_tower()` leaves norms in training mode ("plain"), so that they
go by the batch and move, and with `freeze_bn_stats` timm's norms, which hold the activations, are
replaced by norms that have none ("flag"). So a third way is measured too: locked, and kept in eval
mode by hand ("eval").
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from machine import peak_bytes

STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks of each stage of EfficientNet-Lite0
OWN = {"layers": 3, "width": 256, "heads": 4, "mlp_ratio": 4.0}


def import_peer(name: str) -> Any:
    """Import open_clip or transformers, with torchvision's missing operators declared."""
    spec = importlib.util.find_spec("torchvision")
    assert spec is not None and spec.origin, "bench/env/clip.txt names it"
    try:
        torch.ops.load_library(Path(spec.origin).parent / "_C.so")
    except OSError:
        found = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            found.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import_peer.kept = found  # type: ignore[attr-defined] - they go with what declared them
    return importlib.import_module(name)


def run_peer(options: argparse.Namespace) -> dict[str, Any]:
    """Train some steps; the ends of each, the losses, the peak of memory."""
    open_clip = import_peer("open_clip")
    folder = options.folder
    plan = json.loads((folder / "plan.json").read_text(encoding="utf-8"))
    torch.manual_seed(0)
    model = model_of(open_clip, folder, options, plan)
    batches = batches_of(folder, options, plan)
    ends, losses = train(open_clip, model, batches, options, plan)
    return {
        "ends": ends,
        "losses": losses,
        "peak": peak_bytes(),
        "settings": {
            "open_clip": open_clip.__version__,
            "timm": importlib.import_module("timm").__version__,
            "torchvision": importlib.import_module("torchvision").__version__,
            "loop": "open_clip_train.train.train_one_epoch",
            "precision": precision_of(options),
            "text": options.text,
            "tower": options.tower,
            "threads": torch.get_num_threads(),
        },
    }


def run_tower(options: argparse.Namespace) -> dict[str, Any]:
    """What timm's network makes of the pixels with our weights, locked in each way."""
    open_clip = import_peer("open_clip")
    plan = json.loads((options.folder / "plan.json").read_text(encoding="utf-8"))
    expected = np.load(options.folder / "features-check.npy")
    pixels = torch.from_numpy(np.load(options.folder / "pixels.npy")[0][: len(expected)])
    found: dict[str, Any] = {}
    options.text = "own"
    for options.tower in ("eval", "flag", "plain"):
        model = model_of(open_clip, options.folder, options, plan).train()
        with torch.no_grad():
            features = model.visual(pixels).numpy()
        apart = np.linalg.norm(features - expected, axis=1) / np.linalg.norm(expected, axis=1)
        found[options.tower] = float(apart.max())
    return found


def model_of(
    open_clip: Any, folder: Path, options: argparse.Namespace, plan: dict[str, Any]
) -> nn.Module:
    """Make the model: timm's tower with our weights, and the text tower asked for."""
    vision = {
        "timm_model_name": "tf_efficientnet_lite0",
        "timm_pool": "avg",
        "timm_proj": "none",
        "image_size": plan["pixels"],
    }
    if options.text == "own":
        text = {**OWN, "context_length": plan["row_tokens"], "vocab_size": plan["vocab"] + 1}
        made = open_clip.CLIP(1280, vision, text, output_dict=True)
    else:
        text = {
            "hf_model_name": str(folder / "text"),
            "hf_pooler_type": "mean_pooler",
            "hf_proj_type": "linear",
        }
        made = open_clip.CustomTextCLIP(1280, vision, text, output_dict=True)
        projection = torch.from_numpy(np.load(folder / "projection.npy"))
        made.text.proj.weight.data.copy_(projection)
    if options.tower == "given":
        made.visual = nn.Identity()
        return made
    from safetensors.torch import load_file

    made.visual.trunk.load_state_dict(timm_names(load_file(plan["tower"])), strict=False)
    made.lock_image_tower(freeze_bn_stats=options.tower == "flag")
    if options.tower == "eval":
        made.visual.eval()
        made.visual.train = lambda mode=True: made.visual  # noqa: ARG005 - nn.Module's signature
    return made


def timm_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the tensors of EfficientNet-Lite0 as minna writes them to timm's names."""
    places = [(stage, block) for stage, count in enumerate(STAGES) for block in range(count)]
    outer = {
        "stem.conv": "conv_stem",
        "stem.norm": "bn1",
        "head.conv": "conv_head",
        "head.norm": "bn2",
    }
    first = {"depthwise.conv": "conv_dw", "depthwise.norm": "bn1"}
    first |= {"project.conv": "conv_pw", "project.norm": "bn2"}
    later = {"expand.conv": "conv_pw", "expand.norm": "bn1", "depthwise.conv": "conv_dw"}
    later |= {"depthwise.norm": "bn2", "project.conv": "conv_pwl", "project.norm": "bn3"}
    out: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        inside = re.fullmatch(r"blocks\.(\d+)\.(.+)", module)
        if inside:
            number = int(inside[1])
            stage, block = places[number]
            names = later if number else first
            out[f"blocks.{stage}.{block}.{names[inside[2]]}.{kind}"] = tensor
        elif module in outer:
            out[f"{outer[module]}.{kind}"] = tensor
    return out


def batches_of(
    folder: Path, options: argparse.Namespace, plan: dict[str, Any]
) -> list[tuple[Tensor, Tensor]]:
    """Return pictures (or features) with ids, in memory, as many as there are steps."""
    given = "features" if options.tower == "given" else "pixels"
    steps = options.warmup + options.steps
    pictures, tokens, lengths = (
        np.array(np.load(folder / f"{given}{rest}.npy", mmap_mode="r")[:steps])
        for rest in ("", "-tokens", "-lengths")
    )
    made: list[tuple[np.ndarray, np.ndarray]] = []
    for one, ids, row_lengths in zip(pictures, tokens, lengths, strict=True):
        if options.text == "own":
            made.append((one, ended(ids, row_lengths, end=plan["vocab"])))
        else:
            made.append((one, ids))
    tensors = [(torch.from_numpy(one), torch.from_numpy(ids)) for one, ids in made]
    return [tensors[step % len(tensors)] for step in range(steps)]


def ended(ids_BS: np.ndarray, lengths_B: np.ndarray, *, end: int) -> np.ndarray:
    """End each text with the highest id, where open_clip's own tower reads it; zeros behind."""
    places = np.arange(ids_BS.shape[1])
    last = np.minimum(lengths_B, len(places) - 1)[:, None]
    return np.where(places < last, ids_BS, np.where(places == last, end, 0))


def precision_of(options: argparse.Namespace) -> str:
    """Return open_clip's word for it."""
    return "amp_bf16" if options.precision == "bf16" else "fp32"


def train(
    open_clip: Any,
    model: nn.Module,
    batches: list[tuple[Tensor, Tensor]],
    options: argparse.Namespace,
    plan: dict[str, Any],
) -> tuple[list[tuple[float, float]], list[float]]:
    """Run open_clip's loop over the batches; the ends of steps (clock, processor) and losses."""
    from open_clip_train.train import train_one_epoch

    named = list(model.named_parameters())
    groups = grouped([(name, one) for name, one in named if one.requires_grad])
    for group, decay in zip(groups, (0.0, plan["decay"]), strict=True):
        group["weight_decay"] = decay
    optimiser = torch.optim.AdamW(groups, lr=plan["lr"], betas=plan["betas"], eps=plan["eps"])
    ends: list[tuple[float, float]] = []
    losses: list[float] = []

    def scheduler(step: int) -> None:  # called at the beginning of every step
        ends.append((time.perf_counter(), time.process_time()))
        for group in optimiser.param_groups:
            group["lr"] = plan["lr"] * min(1.0, (step + 1) / plan["warmup"])

    loader = SimpleNamespace(
        num_batches=len(batches), num_samples=len(batches) * len(batches[0][0])
    )
    told = SimpleNamespace(dataloader=Loader(batches, loader), set_epoch=lambda _epoch: None)
    arguments = SimpleNamespace(
        device="cpu",
        precision=precision_of(options),
        distill=False,
        accum_freq=1,
        skip_scheduler=False,
        horovod=False,
        grad_clip_norm=plan["clip"],
        log_every_n_steps=10**9,
        wandb=False,
        rank=0,
        world_size=1,
        batch_size=len(batches[0][0]),
    )
    loss = open_clip.ClipLoss()
    loss.register_forward_hook(noting(losses))
    train_one_epoch(model, {"train": told}, loss, 0, optimiser, None, scheduler, None, arguments)
    ends.append((time.perf_counter(), time.process_time()))
    return ends, losses


class Loader:
    """A data loader that has read everything."""

    def __init__(self, batches: list[tuple[Tensor, Tensor]], told: SimpleNamespace) -> None:
        self._batches = batches
        self.num_batches, self.num_samples = told.num_batches, told.num_samples

    def __iter__(self) -> Any:
        return iter(self._batches)


def grouped(named: list[tuple[str, nn.Parameter]]) -> list[dict[str, Any]]:
    """Return the two groups of open_clip's main.py: norms, biases and the scale do not decay."""
    marks = ("bn", "ln", "bias", "logit_scale")
    plain = [one.ndim < 2 or any(mark in name for mark in marks) for name, one in named]
    return [
        {"params": [one for (_, one), is_plain in zip(named, plain, strict=True) if is_plain]},
        {"params": [one for (_, one), is_plain in zip(named, plain, strict=True) if not is_plain]},
    ]


def noting(losses: list[float]) -> Callable[..., None]:
    """Return a hook that keeps what a loss was."""

    def note(_module: nn.Module, _given: Any, out: Any) -> None:
        losses.append(float(next(iter(out.values())) if isinstance(out, dict) else out))

    return note


def run_padded(options: argparse.Namespace) -> dict[str, Any]:
    """A zero-shot classifier from texts padded to 77: transformers' encoder, masks and positions.

    Times every `--every`-th batch (all are of one shape); with 1, writes the classifier.
    """
    folder, kind = options.folder, import_peer("transformers").AutoModel
    model = kind.from_pretrained(folder / "names-text", add_pooling_layer=False).eval()
    projection = torch.from_numpy(np.load(folder / "names-projection.npy"))
    tokens, lengths = (np.load(folder / f"names-{name}.npy") for name in ("tokens", "lengths"))
    tokens_NS, lengths_N = torch.from_numpy(tokens), torch.from_numpy(lengths)
    S = tokens_NS.shape[1]
    places = torch.arange(S)
    found: list[Tensor] = []
    numbers: list[int] = []
    seconds = processor = 0.0
    starts = list(range(0, len(tokens_NS), options.batch))
    chosen = [starts[0], *starts[:: options.every]]  # the first one warms up
    with torch.inference_mode():
        for turn, start in enumerate(chosen):
            begin, spent = time.perf_counter(), time.process_time()
            ids = tokens_NS[start : start + options.batch]
            mask = (places < lengths_N[start : start + options.batch, None]).long()
            hidden = model(
                input_ids=ids, attention_mask=mask, position_ids=places.expand(len(ids), S)
            ).last_hidden_state
            vectors = nn.functional.normalize(hidden[:, 0] @ projection.T, dim=-1)
            if turn == 0:
                continue
            seconds += time.perf_counter() - begin
            processor += time.process_time() - spent
            found.append(vectors)
            numbers += range(start, start + len(ids))
    if options.every == 1:
        each = torch.cat(found).view(-1, options.templates, projection.shape[0]).mean(1)
        np.save(folder / "names-weights.npy", nn.functional.normalize(each, dim=-1).numpy())
    share = len(numbers) / len(tokens_NS)
    return {"seconds": seconds / share, "processor": processor / share, "peak": peak_bytes()}
