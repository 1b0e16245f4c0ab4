"""The most memory this process has had: what decides whether a model fits a machine."""

from __future__ import annotations

import sys
from pathlib import Path

import torch


def peak_bytes() -> int | None:
    """Peak resident bytes of this process, or of its GPU where it used one; None where unknown."""
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    status = Path("/proc/self/status")
    if status.is_file():
        # getrusage would count what the parent held before this program was loaded
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    if sys.platform == "darwin":
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return None
