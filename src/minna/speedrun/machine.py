"""What a record was made on. A number of minutes means nothing without it.

The instructions told are those that decide: the same recipe makes twice the steps where the
processor multiplies bf16 matrices (AMX) or pairs (AVX-512 BF16).
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict

from minna.console import say, warn
from minna.errors import UsageError
from minna.speedrun.track import Track

_FLAGS = ("amx_bf16", "amx_int8", "avx512f", "avx512_bf16", "avx512_vnni", "avx2", "asimd")


class Machine(BaseModel):
    """A machine, as far as it matters.

    Attributes:
        cores: this process may use.
        threads: it computes with.
        instructions: those of `_FLAGS` the processor has; none known outside Linux.
        gpu: its name, where the model trained on one.
        gpu_gb: its memory in 10^9 bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    system: str
    processor: str
    cores: int
    threads: int
    instructions: list[str]
    gpu: str | None
    gpu_gb: float | None
    torch: str

    def short(self) -> str:
        """One line for a table."""
        if self.gpu is not None:
            return self.gpu
        told = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16"}
        has = next((word for flag, word in told.items() if flag in self.instructions), "")
        return f"{self.processor}, {self.threads} threads{', ' if has else ''}{has}"


def look(*, device: str) -> Machine:
    """Describe this machine for a model that trains on `device`."""
    name, flags = _processor()
    gpu = torch.cuda.get_device_properties(0) if device == "cuda" else None
    return Machine(
        system=f"{platform.system()} {platform.machine()}",
        processor=name,
        cores=_cores(),
        threads=torch.get_num_threads(),
        instructions=[flag for flag in _FLAGS if flag in flags],
        gpu=gpu.name if gpu else None,
        gpu_gb=round(gpu.total_memory / 1e9, 1) if gpu else None,
        torch=torch.__version__,
    )


def fit(track: Track) -> list[str]:
    """Take no more of this machine than the track's class has, and say so.

    Returns:
        In what the machine is not of the class: such a record has no rank.

    Raises:
        UsageError: the track needs a GPU, and there is none.
    """
    wanted = track.machine
    if wanted.device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            f"track {track.name} needs a CUDA GPU, and torch sees none here",
            remedy="run it where there is one, or choose a cpu track: `minna list tracks`",
        )
    if wanted.cores is not None and torch.get_num_threads() > wanted.cores:
        say(f"track {track.name} is for {wanted.cores} threads: limited to them, of {_cores()}")
        torch.set_num_threads(wanted.cores)
    found = look(device=wanted.device)
    other: list[str] = []
    if wanted.cores is not None and found.threads < wanted.cores:
        other.append(f"{found.threads} threads of {wanted.cores}")
    if found.gpu is not None and wanted.gpu not in found.gpu:
        other.append(f"a {found.gpu}, not a {wanted.gpu}")
    if found.gpu_gb is not None and wanted.gpu_gb is not None and found.gpu_gb > wanted.gpu_gb:
        other.append(f"a GPU of {found.gpu_gb} GB, not up to {wanted.gpu_gb}")
    for what in other:
        warn(f"this machine is not of the class of track {track.name}: {what}; it gets no rank")
    return other


def _cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> tuple[str, set[str]]:
    """Its name, and its instructions where the system tells them."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        return _asked_processor(), set()
    facts: dict[str, str] = {}
    for row in file.read_text(encoding="utf-8").splitlines():
        key, _, value = row.partition(":")
        facts.setdefault(key.strip(), value.strip())
    flags = facts.get("flags", facts.get("Features", ""))
    return facts.get("model name", platform.machine()), set(flags.split())


def _asked_processor() -> str:
    """A Mac tells it only to this program; elsewhere Python knows what there is to know."""
    if sys.platform == "darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
        if done.stdout.strip():
            return done.stdout.strip()
    return platform.processor() or platform.machine()
