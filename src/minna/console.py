"""Where words for people go: stderr, through one console.

Results for machines go to stdout (`--json`); progress goes to stderr and falls silent when that is
not a terminal, so that a log file holds lines and not ten thousand redrawn bars. Under `torchrun`
only rank 0 speaks.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


def is_rank_zero() -> bool:
    """Whether this process is the one that talks (RANK is set by torchrun; unset means alone)."""
    return os.environ.get("RANK", "0") == "0"


@functools.cache
def console() -> Console:
    """The one stderr console of this process (rich is imported on first use, for fast starts)."""
    from rich.console import Console

    return Console(stderr=True, quiet=not is_rank_zero(), highlight=False, soft_wrap=True)


def say(message: str, *, style: str = "") -> None:
    """Print one line for people, on stderr, on rank 0."""
    console().print(message, style=style, markup=False)


def warn(message: str) -> None:
    """Print a warning: something goes on, but not as the user may think."""
    console().print(f"warning: {message}", style="yellow", markup=False)


def progress() -> Progress:
    """A progress display on stderr; silent when stderr is not a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(),
        console=console(),
        disable=not sys.stderr.isatty() or not is_rank_zero(),
        transient=True,
    )
