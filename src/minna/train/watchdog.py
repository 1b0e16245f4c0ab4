"""A step that never ends: what every thread was doing is written down, and the process ends.

A rank that hangs (a dead network, a lost peer, a bug) costs a cluster by the hour and says nothing.
The timer is faulthandler's, in C, so it fires even where Python itself is stuck inside a collective
or a kernel.
"""

from __future__ import annotations

import contextlib
import faulthandler
from collections.abc import Callable, Generator
from pathlib import Path


@contextlib.contextmanager
def watching(run: Path, *, rank: int, seconds: float) -> Generator[Callable[[], None]]:
    """End this process when `seconds` pass without a sign of life.

    Args:
        run: where `hang-rank-N.txt` goes, with a stack of every thread.
        rank: of this process.
        seconds: longest step (or look, or save).

    Yields:
        The sign of life: call it after every step.
    """
    run.mkdir(parents=True, exist_ok=True)
    file = run / f"hang-rank-{rank}.txt"
    with file.open("w", encoding="utf-8") as out:

        def alive() -> None:
            faulthandler.dump_traceback_later(seconds, exit=True, file=out)

        alive()
        try:
            yield alive
        finally:
            faulthandler.cancel_dump_traceback_later()
    if file.stat().st_size == 0:
        file.unlink()
