"""Asking for many translations: what is known is not asked, what comes is filed at once.

One bad text must not end a night's run, and a dead server must not turn a night's texts into
failures. So failures are counted in a row, and when there are too many a text that anybody can
translate is asked: if that comes back, the texts are at fault; if not, the translator is, and the
run ends with its error. So it is where the very last texts failed.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from minna.errors import DataError, MinnaError
from minna.label.cache import Cache, Keys
from minna.label.translator import Refusal, Translator
from minna.runtime.http import ServerError

PROBE: Final = "Hello. How are you?"
_FOR_EVERYBODY: Final = frozenset({401, 403, 404})
"""What a server says to whoever has the wrong key or address: no other text changes that."""
_WINDOW: Final = 32  # batches whose texts are sorted together
_AHEAD: Final = 2  # calls that wait for a free thread
_PATIENCE: Final = 4  # failures in a row, beside one of every thread


@dataclass
class Asked:
    """What became of the texts.

    Attributes:
        new: distinct texts that were sent.
        answered: of them, with a translation.
        failed: key -> why, of those without.
    """

    new: int = 0
    answered: int = 0
    failed: dict[bytes, str] = field(default_factory=dict[bytes, str])


class _Job(NamedTuple):
    key: bytes
    text: str


_Flying = dict[Future[Sequence[str | Refusal]], list[_Job]]


def ask(
    texts: Iterable[str],
    *,
    translator: Translator,
    cache: Cache,
    advance: Callable[[int], object],
) -> Asked:
    """Translate what the cache does not hold, each distinct text once, and file it there.

    Args:
        texts: any number; never all in memory.
        translator: who is asked.
        cache: what is known, and where what comes is filed.
        advance: told the number of texts that are settled, now and then.

    Raises:
        MinnaError: the translator is in trouble; what came until then is in the cache.
    """
    return _Asking(translator, cache, advance).run(texts)


class _Asking:
    """One go through the texts."""

    def __init__(
        self, translator: Translator, cache: Cache, advance: Callable[[int], object]
    ) -> None:
        self._translator = translator
        self._cache = cache
        self._advance = advance
        self._keys = Keys(translator.identity)
        self._found = Asked()
        self._in_a_row = 0
        self._trouble = False  # whether the last that was heard of the translator was an error
        self._open: set[bytes] = set()
        self._patience = translator.workers + _PATIENCE
        self._pool = ThreadPoolExecutor(max_workers=translator.workers)

    def run(self, texts: Iterable[str]) -> Asked:
        flying: _Flying = {}
        try:
            for batch in self._batches(texts):
                flying[self._submit([job.text for job in batch])] = batch
                if len(flying) >= self._translator.workers + _AHEAD:
                    self._settle(flying)
            while flying:
                self._settle(flying)
            if self._trouble or (self._found.failed and not self._found.answered):
                self._probe()
        except BaseException:
            self._translator.give_up()
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._save(flying)
            raise
        finally:
            self._pool.shutdown(wait=True, cancel_futures=True)
        return self._found

    def _submit(self, texts: list[str]) -> Future[Sequence[str | Refusal]]:
        return self._pool.submit(self._translator.translate, texts)

    def _batches(self, texts: Iterable[str]) -> Iterator[list[_Job]]:
        """Texts for one call each: of like length where there are several."""
        size = self._translator.at_once
        new = self._new(texts)
        while window := list(itertools.islice(new, size * _WINDOW if size > 1 else 1)):
            window.sort(key=lambda job: -len(job.text))
            for start in range(0, len(window), size):
                yield window[start : start + size]

    def _new(self, texts: Iterable[str]) -> Iterator[_Job]:
        """Texts that nobody has asked for."""
        for text in texts:
            key = self._keys.of(text)
            known = key in self._open or key in self._found.failed
            if known or self._cache.get(key) is not None:
                self._advance(1)
                continue
            self._open.add(key)
            self._found.new += 1
            yield _Job(key, text)

    def _settle(self, flying: _Flying) -> None:
        """Wait for a call to end, and file what came of it."""
        done, _ = wait(flying, return_when=FIRST_COMPLETED)
        for future in [one for one in flying if one in done]:  # in the order they were sent
            batch = flying[future]
            try:
                answers = future.result()
                self._trouble = False
            except MinnaError as error:
                if not _may_be_the_text(error):
                    raise
                answers = [Refusal(error.rule)] * len(batch)
                self._trouble = True
            del flying[future]
            self._file(batch, answers)
        if self._in_a_row >= self._patience:
            self._probe()
            self._in_a_row, self._trouble = 0, False

    def _file(self, batch: Sequence[_Job], answers: Sequence[str | Refusal]) -> None:
        for job, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Refusal):
                self._found.failed[job.key] = answer.why
                self._in_a_row += 1
            else:
                self._cache.put(job.key, _storable(answer))
                self._found.answered += 1
                self._in_a_row = 0
            self._open.discard(job.key)
            self._advance(1)

    def _save(self, flying: _Flying) -> None:
        """File what had come when something else went wrong."""
        for future, batch in flying.items():
            if future.done() and not future.cancelled() and future.exception() is None:
                for job, answer in zip(batch, future.result(), strict=True):
                    if isinstance(answer, str):
                        self._cache.put(job.key, _storable(answer))

    def _probe(self) -> None:
        """Ask for a text that anybody can translate.

        Raises:
            MinnaError: it fails as well.
        """
        (answer,) = self._submit([PROBE]).result()
        if isinstance(answer, Refusal):
            raise DataError(
                f"{self._translator.name} translates nothing: {len(self._found.failed)} texts "
                f"failed, and so did {PROBE!r}: {answer.why}",
                remedy="change what the message names (--prompt, --translator, --max-new-tokens); "
                "what was translated until now is kept, and the same command goes on",
            )


def _may_be_the_text(error: MinnaError) -> bool:
    """Whether another text may fare better: a server may choke on one, and live."""
    if isinstance(error, ServerError):
        return error.status not in _FOR_EVERYBODY
    return isinstance(error, DataError)


def _storable(text: str) -> str:
    """A text without lone surrogates, which JSON may hold and no file of ours can."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
