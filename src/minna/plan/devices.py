"""What a plan knows of a device: published figures, or for this machine's CPU measured ones.

The figures are data (`devices.toml`, each with its source), so that a new device is a table there.
A CPU has no data sheet that says what its matrix products reach (the same processor is ten times
faster with AMX than without), so `cpu` is this machine: memory as its system tells it, speed timed.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
import tomllib
from dataclasses import dataclass
from importlib import resources

import torch

from minna.errors import UsageError, nearest
from minna.train.precision import matrix_peak

_GIGA = 10**9
_PROBE_NUMBERS = 32 * 2**20  # 134 MB: beyond every cache
_CPU_NETWORK_GBS = 1.25


@dataclass(frozen=True, kw_only=True)
class Device:
    """One kind of accelerator (or machine, for `cpu`), in decimal units.

    Attributes:
        key: what the command line calls it.
        name: what people call it.
        memory_gb: of one.
        bf16_tflops, fp32_tflops: peak of matrix products, without sparsity; fp32 as torch
            multiplies it, not TF32.
        bandwidth_gbs: of its own memory.
        link_gbs: from one to the others of its node, one direction.
        network_gbs: from a node to other nodes, one direction, all its network cards.
        gpus_per_node: how many share a node.
        source: where the figures are from.
        share: of the peak that training is expected to reach. 0.4 is an assumption: Llama 3
            reports 0.38 to 0.43 on H100s (Grattafiori et al. 2024, table 4), PaLM 0.46 on TPUs;
            models under 1 B parameters often stay below.
    """

    key: str
    name: str
    memory_gb: float
    bf16_tflops: float
    fp32_tflops: float
    bandwidth_gbs: float
    link_gbs: float
    network_gbs: float
    gpus_per_node: int
    source: str
    share: float = 0.4

    def peak(self, precision: str) -> float:
        """FLOP/s of matrix products."""
        return 1e12 * (self.bf16_tflops if precision == "bf16" else self.fp32_tflops)

    def wire(self, ranks: int) -> float:
        """Bytes/s in which a ring over all ranks moves a rank's data.

        Over several nodes a ring of as many lanes as a node has GPUs crosses each network card
        once, so the cards of a node together are the bound, if the link within is not.
        """
        if ranks <= self.gpus_per_node:
            return self.link_gbs * _GIGA
        return min(self.link_gbs, self.network_gbs) * _GIGA


def names() -> list[str]:
    """What `--device` knows."""
    return [*_published(), "cpu"]


def find(name: str) -> Device:
    """Return the device of that name.

    Raises:
        UsageError: it is not known.
    """
    known = names()
    if name not in known:
        raise UsageError(
            f"no device {name!r}{nearest(name.lower(), known)}",
            remedy=f"devices: {', '.join(known)} (this machine)",
        )
    return this_cpu() if name == "cpu" else _published()[name]


def of_cuda() -> Device:
    """Return the GPU that torch sees first: a published one, with the memory it really has.

    Raises:
        UsageError: its figures are not known here.
    """
    found = torch.cuda.get_device_properties(0)
    for device in _published().values():
        if re.search(rf"\b{device.key}\b", found.name.lower()):  # an L40 is no L4
            return Device(**{**vars(device), "memory_gb": found.total_memory / _GIGA})
    raise UsageError(
        f"the figures of a {found.name} are not known",
        remedy=f"plan for one of {', '.join(_published())} with `minna plan RECIPE --device NAME`",
    )


def this_cpu() -> Device:
    """Measure this machine (half a second)."""
    return Device(
        key="cpu",
        name=f"this machine's CPU, {torch.get_num_threads()} threads",
        memory_gb=memory_bytes() / _GIGA,
        bf16_tflops=matrix_peak("cpu", torch.bfloat16) / 1e12,
        fp32_tflops=matrix_peak("cpu", torch.float32) / 1e12,
        bandwidth_gbs=_copy_bytes_per_second() / _GIGA,
        link_gbs=_CPU_NETWORK_GBS,
        network_gbs=_CPU_NETWORK_GBS,
        gpus_per_node=1,
        source="measured now; several: machines like this one on 10 Gbit/s, our assumption",
        share=0.3,
    )


def memory_bytes() -> int:
    """Memory of this machine, in bytes."""
    if sys.platform == "win32":
        told = _WindowsMemory(length=ctypes.sizeof(_WindowsMemory))
        ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(told))
        return int(told.total)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


class _WindowsMemory(ctypes.Structure):
    """MEMORYSTATUSEX: what Windows tells of its memory."""

    _fields_ = (
        ("length", ctypes.c_uint32),
        ("load", ctypes.c_uint32),
        ("total", ctypes.c_uint64),
        ("others", ctypes.c_uint64 * 6),
    )


def _published() -> dict[str, Device]:
    text = (resources.files("minna.plan") / "devices.toml").read_text(encoding="utf-8")
    return {key: Device(key=key, **table) for key, table in tomllib.loads(text).items()}


def _copy_bytes_per_second() -> float:
    """Bytes read and written a second in a copy too large for the caches."""
    source = torch.ones(_PROBE_NUMBERS)
    target = torch.empty_like(source)
    target.copy_(source)  # its pages are fetched now
    start = time.perf_counter()
    target.copy_(source)
    return 2 * source.nbytes / (time.perf_counter() - start)
