"""What a worker of the GPU pack is asked, how large everything is, and how figures are kept.

Every figure is written down when it is there, so that the deadline, an out-of-memory or a crash
costs only what had not been measured. A variant that fails is a result too: its error.
"""

from __future__ import annotations

import gc
import json
import math
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_bundle import open_bundle, rows
from minna.artifact.files import write_text_atomically
from minna.models import Decoder, build
from minna.models.family import Gpt2Shape

# name -> shape, vocabulary. 124M is GPT-2 small with its vocabulary rounded up to 64; 336M is
# japanese-gpt2-medium. No dropout: neither side has it in what is measured.
SHAPES = {
    "124m": (Gpt2Shape(layers=12, width=768, heads=12, ffn=3072, dropout=0.0), 50304),
    "336m": (Gpt2Shape(layers=24, width=1024, heads=16, ffn=4096, dropout=0.0), 32000),
    "tiny": (Gpt2Shape(layers=2, width=64, heads=2, ffn=128, dropout=0.0, context=64), 2048),
}
# Dense bf16 figures of the data sheets, by the name that the driver gives.
NOMINAL_FLOPS = {
    "NVIDIA H100 80GB HBM3": 989.4e12,
    "NVIDIA H100 PCIe": 756.0e12,
    "NVIDIA H200": 989.4e12,
    "NVIDIA A100-SXM4-40GB": 312.0e12,
    "NVIDIA A100-SXM4-80GB": 312.0e12,
    "NVIDIA GeForce RTX 4090": 165.2e12,
}


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How large everything is."""

    row: int
    most_rows: int
    accumulation: int
    warmup: int
    steps: int
    prompt: int
    new: int
    batches: tuple[int, ...]


SCALES = {
    "full": Scale(
        row=1024,
        most_rows=32,
        accumulation=4,
        warmup=3,
        steps=15,
        prompt=128,
        new=128,
        batches=(1, 8, 64),
    ),
    "tiny": Scale(
        row=32, most_rows=2, accumulation=2, warmup=1, steps=2, prompt=4, new=4, batches=(1, 2)
    ),
}


class Task:
    """What is asked of a worker, and where its results go."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.asked: dict[str, Any] = json.loads((folder / "task.json").read_text(encoding="utf-8"))
        self.data = Path(self.asked["data"])
        self.device: str = self.asked["device"]
        self.bundle = open_bundle(self.data)
        self.scale = SCALES[self.asked["scale"]]
        self.results: list[dict[str, Any]] = []

    @property
    def shape(self) -> tuple[Gpt2Shape, int]:
        """The model's shape and vocabulary: large enough for the bundle's ids."""
        name = "tiny" if self.asked["scale"] == "tiny" else self.asked["shape"]
        shape, vocab = SHAPES[name]
        return shape, max(vocab, self.bundle.vocab)

    def put(self, result: dict[str, Any]) -> None:
        """Add a result and write all of them down."""
        self.results.append(result)
        text = json.dumps(self.results, indent=1) + "\n"
        write_text_atomically(self.folder / "results.json", text)

    def attempt(self, what: str, measure: Callable[[], dict[str, Any]]) -> None:
        """Measure and put; a failure is put as its error, and the next variant has its turn."""
        start = time.monotonic()
        try:
            found = measure()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is recorded, and more waits
            traceback.print_exc()
            words = (str(error).splitlines() or [""])[0]
            found = {"error": f"{type(error).__name__}: {words}"[:500]}
        self.put({"what": what, "wall_seconds": round(time.monotonic() - start, 2), **found})
        gc.collect()
        if self.device == "cuda":
            torch.cuda.empty_cache()

    def batches(self, micro_rows: int, *, attention: str) -> Iterator[dict[str, Tensor]]:
        """Training rows of the bundle."""
        return rows(
            self.data,
            micro_rows=micro_rows,
            row_tokens=self.scale.row,
            attention=attention,
            eos=self.bundle.eos,
        )


def wait(device: str) -> None:
    """Wait until the device has done what it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def share_of_peak(*, tokens_per_second: float, flops_per_token: float, peak: float) -> float:
    """Model-FLOPs utilisation (PaLM, Chowdhery et al. 2022, appendix B)."""
    return tokens_per_second * flops_per_token / peak


def fitting_rows(*, memory: float, parameters: int, layers: int, width: int, row: int) -> int:
    """Rows of a micro-batch that should fit, a power of two.

    18 bytes a parameter (weights, gradient, two moments in fp32; a bf16 copy); 34 bytes a token,
    layer and feature for the backward pass (Korthikanti et al. 2022, with flash attention); a fifth
    is left for the head and for odds and ends.
    """
    left = 0.8 * memory - 18 * parameters
    fits = left / (34 * row * layers * width)
    return 2 ** max(0, math.floor(math.log2(max(1.0, fits))))


def micro_rows(task: Task, decoder: Decoder) -> int:
    """Rows to begin with on this device."""
    if task.device != "cuda":
        return task.scale.most_rows
    config = decoder.config
    fits = fitting_rows(
        memory=torch.cuda.get_device_properties(0).total_memory,
        parameters=sum(p.numel() for p in decoder.parameters()),
        layers=config.layers,
        width=config.width,
        row=task.scale.row,
    )
    return min(task.scale.most_rows, fits)


def fresh(task: Task) -> Decoder:
    """The decoder of the task with the same random weights every time."""
    shape, vocab = task.shape
    decoder = build(shape, vocab=vocab)
    decoder.initialise(seed=0)
    return decoder


def about(device: str) -> dict[str, Any]:
    """The GPU as torch sees it."""
    if device != "cuda":
        return {"device": device}
    found = torch.cuda.get_device_properties(0)
    return {
        "device": found.name,
        "nominal_flops_per_second": NOMINAL_FLOPS.get(found.name),
        "memory_bytes": found.total_memory,
        "multiprocessors": found.multi_processor_count,
        "capability": f"{found.major}.{found.minor}",
        "cuda": torch.version.cuda,
    }
