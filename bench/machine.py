"""What every bench asks of the machine; plain Python, since peers' environments import it too."""

from __future__ import annotations

import sys
from pathlib import Path


def peak_bytes() -> int:
    """Peak resident bytes of this process alone.

    `getrusage` is the last resort: on Linux it begins at what the parent had when it forked.
    """
    status = Path("/proc/self/status")
    if status.exists():
        lines = status.read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def processor() -> str:
    """The processor's name and what of its matrix instructions matters here."""
    file = Path("/proc/cpuinfo")
    if not file.exists():
        return "unknown processor"
    facts: dict[str, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = facts.get("flags", "").split()
    told = {"amx_bf16": "AMX", "avx512_bf16": "AVX-512 BF16", "avx512_vnni": "VNNI"}
    has = [word for flag, word in told.items() if flag in flags]
    return f"{facts.get('model name', 'unknown processor')} ({', '.join(has) or 'no AVX-512 BF16'})"
