"""One run over one corpus: have translated what is not known, judge it, write it.

The corpus is gone through once for each step and never held in memory; between the steps all
answers are in the cache.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from minna import artifact
from minna.artifact import Draft
from minna.console import progress
from minna.corpus import japanese
from minna.label import checks
from minna.label.ask import ask
from minna.label.cache import Cache, Keys
from minna.label.checks import KEPT, Verdict, judge
from minna.label.rows import Corpus, judged_row
from minna.label.settings import TranslateSettings
from minna.label.translator import Translator
from minna.label.verbatim import has_words
from minna.units import format_count


class _Judged(NamedTuple):
    translation: str
    verdict: Verdict
    chrf: float | None = None


@dataclass
class _Counted:
    """What is counted of the rows."""

    rows: int = 0
    dropped: Counter[str] = field(default_factory=Counter[str])
    captions: Counter[str] = field(default_factory=Counter[str])
    texts: int = 0
    plain: int = 0
    chrf: list[float] = field(default_factory=lambda: [0.0, 0.0])


class Work:
    """One run: asking and writing over one cache."""

    def __init__(
        self,
        corpus: Corpus,
        translator: Translator,
        back: Translator | None,
        cache: Cache,
        settings: TranslateSettings,
    ) -> None:
        self._corpus = corpus
        self._translator = translator
        self._back = back
        self._cache = cache
        self._settings = settings
        self._keys = Keys(translator.identity)
        self._back_keys = None if back is None else Keys(back.identity)
        self._asked = 0
        self.failed: dict[bytes, str] = {}

    def ask(self) -> None:
        """Have everything translated that is not yet, and back."""
        with progress() as bar:
            task = bar.add_task("translate", total=None, note="")
            self._ask(filter(has_words, self._corpus.texts()), self._translator, _to(bar, task))
            if self._back is not None:
                task = bar.add_task("translate back", total=None, note="")
                self._ask(self._translations(), self._back, _to(bar, task))

    def _ask(
        self, texts: Iterable[str], translator: Translator, advance: Callable[[int], object]
    ) -> None:
        found = ask(texts, translator=translator, cache=self._cache, advance=advance)
        self._asked += found.new
        self.failed |= found.failed

    def _translations(self) -> Iterator[str]:
        """Translations that pass the checks, to be translated back."""
        for _, groups in self._corpus.files():
            for group in groups:
                texts = [text for row in group for text in row.texts if self._comes_back(text)]
                for judged in self._forth(texts).values():
                    if judged.verdict == KEPT and has_words(judged.translation):
                        yield judged.translation

    def write(self, draft: Draft) -> None:
        """Write the side-car's files and counts."""
        shutil.rmtree(draft.path / "data", ignore_errors=True)
        counted = _Counted()
        schema = self._corpus.schema
        for number, groups in self._corpus.files():
            with (
                artifact.replace_file(draft.path / "data" / f"{number:05d}.parquet") as file,
                pq.ParquetWriter(file, schema, compression="zstd") as out,
            ):
                for group in groups:
                    texts = [text for row in group for text in row.texts]
                    judged = self._judged(texts, counted)
                    rows: list[dict[str, Any]] = []
                    for row in group:
                        own = [judged[text] for text in row.texts]
                        rows.append(
                            judged_row(row, [j.translation for j in own], [j.verdict for j in own])
                        )
                    counted.rows += len(rows)
                    counted.dropped.update(row["reason"] for row in rows if row["reason"])
                    captions = (one for row in rows for one in row.get("captions", ()))
                    counted.captions.update(one["reason"] for one in captions if one["reason"])
                    out.write_table(pa.Table.from_pylist(rows, schema=schema))
        self._count(draft, counted)

    def _count(self, draft: Draft, counted: _Counted) -> None:
        unit = self._corpus.unit
        draft.count("read", counted.rows, unit)
        draft.count("kept", counted.rows - counted.dropped.total(), unit)
        for reason, number in counted.dropped.most_common():
            draft.count(f"dropped_{reason}", number, unit)
        for reason, number in counted.captions.most_common():
            draft.count(f"captions_dropped_{reason}", number, "captions")
        draft.count("texts", counted.texts, "texts")
        draft.count("texts_without_words", counted.plain, "texts, left as they are")
        draft.count("asked", self._asked, "distinct texts, by the run that finished")
        draft.count("failed", len(self.failed), "distinct texts without a translation")
        total, compared = counted.chrf
        if compared:
            draft.count("mean_chrf", round(total / compared, 2), "chrF2, 0 to 100, there and back")

    def _judged(self, texts: Sequence[str], counted: _Counted) -> dict[str, _Judged]:
        """Translation and verdict of each text, the way back included."""
        found = self._forth(texts)
        if self._back is not None:
            found |= {
                text: self._there_and_back(text, judged)
                for text, judged in found.items()
                if judged.verdict == KEPT and self._comes_back(text)
            }
        counted.texts += len(texts)
        counted.plain += sum(not has_words(text) for text in texts)
        measured = [j.chrf for text in texts if (j := found[text]).chrf is not None]
        counted.chrf = [counted.chrf[0] + sum(measured), counted.chrf[1] + len(measured)]
        return found

    def _forth(self, texts: Sequence[str]) -> dict[str, _Judged]:
        """Translation and verdict of each distinct text, without the way back."""
        found: dict[str, _Judged] = {}
        translated: dict[str, str] = {}
        for text in dict.fromkeys(texts):
            if not has_words(text):
                found[text] = _Judged(text, KEPT)
                continue
            key = self._keys.of(text)
            translation = self._cache.get(key)
            if translation is None:
                found[text] = _Judged("", Verdict("failed", self.failed.get(key, "not answered")))
            else:
                translated[text] = japanese.normalise(translation)
        verdicts = judge(
            list(translated),
            list(translated.values()),
            direction=self._settings.direction,
            settings=self._settings.checks,
        )
        for (text, translation), verdict in zip(translated.items(), verdicts, strict=True):
            found[text] = _Judged(translation, verdict)
        return found

    def _comes_back(self, text: str) -> bool:
        """Whether a text is compared with what comes back of it."""
        return has_words(text) and len(text) >= self._settings.checks.chrf_characters

    def _there_and_back(self, text: str, judged: _Judged) -> _Judged:
        if self._back_keys is None or not has_words(judged.translation):
            return judged
        key = self._back_keys.of(judged.translation)
        again = self._cache.get(key)
        if again is None:
            why = self.failed.get(key, "not answered")
            return judged._replace(verdict=Verdict("round_trip", f"it did not come back: {why}"))
        found = checks.chrf(text, japanese.normalise(again))
        verdict = checks.round_trip(found, least=self._settings.checks.chrf)
        return judged._replace(verdict=verdict, chrf=found)


def _to(bar: Any, task: Any) -> Callable[[int], object]:
    """What tells a progress bar of settled texts."""
    done = 0

    def advance(number: int) -> None:
        nonlocal done
        done += number
        bar.update(task, completed=done, note=f"{format_count(done)} texts")

    return advance
