"""Settings of the C library and of oneDNN that must be in place before Python starts.

glibc hands large blocks back to the kernel and fetches them anew each step; clearing those pages
costs a quarter to a third of a training step on CPU (the two Trainer bf16 rows of
docs/benchmarks.md: 1.5x).
With these variables freed memory stays with the process, in 2 MB pages. oneDNN writes machine code
for every shape of a bf16 product and keeps the last 1,024, which batches of clips (as many shapes
as lengths, some 50 products each) fill within an epoch; four times as many are kept. All are read
at start-up only, so the program starts itself once more, says so, and `MINNA_ALLOCATOR=system`
switches it off.
"""

from __future__ import annotations

import os
import platform
import sys

from minna.console import say

SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "4096",
}
_MARK = "MINNA_ALLOCATOR"


def restart_tuned() -> None:
    """Start this very command again with the settings, once, on Linux with glibc."""
    if not should_restart():
        return
    say("starting again with allocator settings that keep memory (MINNA_ALLOCATOR=system: do not)")
    environment = {**os.environ, **SETTINGS, _MARK: "tuned"}
    arguments = [sys.executable, "-m", "minna.cli.main", *sys.argv[1:]]
    os.execve(sys.executable, arguments, environment)  # noqa: S606 - this program itself


def should_restart() -> bool:
    """Whether this platform profits and nobody (the user, or we) has set anything yet."""
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return False
    return _MARK not in os.environ and not any(name in os.environ for name in SETTINGS)
