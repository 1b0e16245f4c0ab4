"""Work on all cores, in order: parts of a corpus go out, their results come back as they were sent.

Processes and not threads, because cleaning text is Python. They are spawned, never forked: numpy
and pyarrow hold threads that a fork would cut off. One part alone is done in the calling process,
so a small corpus starts nothing.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Self, TypeVar

from minna.errors import DataError

T = TypeVar("T")
R = TypeVar("R")
_AHEAD = 1  # parts that wait beside those in work: enough that no process does


def cores() -> int:
    """Cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


class Workers:
    """Processes for the length of a `with`, started when there is work for more than one.

    Args:
        count: how many; None for one a core.
    """

    def __init__(self, count: int | None = None) -> None:
        self._count = count or cores()
        if sys.platform == "win32":
            self._count = min(self._count, 61)  # as many as Windows lets one process wait for
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def in_order(self, work: Callable[[T], R], parts: Iterable[T]) -> Iterator[R]:
        """Yield `work(part)` for every part, in order.

        Args:
            work: a picklable function.
            parts: made in this process, one ahead of need: their memory stays bounded.

        Raises:
            DataError: a process was killed (out of memory, as a rule).
            MinnaError: what `work` raises.
        """
        rest = iter(parts)
        first = list(itertools.islice(rest, 2))
        everything = itertools.chain(first, rest)
        if len(first) < 2 or self._count == 1:  # noqa: PLR2004 - one part needs no other process
            return map(work, everything)
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, mp_context=context, initializer=_begin)
        return _shared_out(self._pool, work, everything, most=self._count + _AHEAD)


def _shared_out(
    pool: ProcessPoolExecutor, work: Callable[[T], R], parts: Iterator[T], *, most: int
) -> Iterator[R]:
    waiting: deque[Future[R]] = deque()
    try:
        for part in parts:
            with _main_hidden():
                waiting.append(pool.submit(work, part))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(
            "a process that worked on the corpus was killed, as happens when memory runs out",
            remedy="run the same command again: it goes on where it stopped; "
            "with workers=1 or a smaller part_bytes it needs less memory",
        ) from error
    finally:
        for future in waiting:
            future.cancel()


@contextlib.contextmanager
def _main_hidden() -> Generator[None]:
    """Keep a process that starts here from running the caller's script.

    A spawned process imports the main module again, which runs a script that has no
    `if __name__ == "__main__":` once more in every process. Nothing of it is needed there.
    """
    # Ctrl-C is this process's to handle; the new one inherits that it does not care
    in_main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main else None
    main = sys.modules["__main__"]
    hidden = {name: vars(main).pop(name) for name in ("__file__", "__spec__") if name in vars(main)}
    main.__spec__ = None
    try:
        yield
    finally:
        vars(main).update(hidden)
        if in_main:
            signal.signal(signal.SIGINT, before)


def _begin() -> None:
    """Leave when the parent is gone, however it went: nobody waits for the result any more."""

    def watch() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
