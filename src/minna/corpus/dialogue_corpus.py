"""Corpora of dialogues: written once, normalised, grouped and split, and read back in a stream.

Fine-tuning, preferences and rewards all read the one corpus made here, so what is held out for one
is held out for all of them. A question never straddles a split: all dialogues that open with the
same user's turn are one group, or a held-out question would be trained on with another answer.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from minna.artifact import MANIFEST_NAME, Draft, key_of, read_manifest, unchanged, writing
from minna.artifact.files import write_text_atomically
from minna.console import progress, warn
from minna.corpus.dialogue_card import CardFacts, card
from minna.corpus.dialogue_rows import DIALOGUE_COLUMNS, Row, Tally, write_rows
from minna.corpus.dialogue_sources import DialogueSettings, DialogueSource, open_dialogues
from minna.corpus.dialogues import Dialogue
from minna.corpus.read import batches
from minna.errors import ArtifactError, DataError, UsageError
from minna.prompts import Turn
from minna.units import format_count

__all__ = [
    "DIALOGUE_COLUMNS",
    "DialogueReport",
    "DialogueSettings",
    "build_dialogues",
    "holds_dialogues",
    "read_dialogues",
]

_SPLITS: Final = ("train", "valid", "test")
_MOST_REASONS: Final = 20
_TELL: Final = 1000  # rows between two words of progress


@dataclass(frozen=True, kw_only=True)
class DialogueReport:
    """What a build did.

    Attributes:
        path: the corpus.
        state: built, or unchanged (nothing to do).
        read: rows, or sentences, that the source gave.
        kept: dialogues written.
        turns: of them.
        rejected: dialogues with an answer that was liked less.
        unanswered: dialogues whose last turn is the user's.
        dropped: reason -> rows.
        splits: split -> dialogues.
        text_bytes: UTF-8 bytes of all turns and rejected answers.
        characters: of the same.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["built", "unchanged"]
    read: int
    kept: int
    turns: int
    rejected: int
    unanswered: int
    dropped: dict[str, int]
    splits: dict[str, int]
    text_bytes: int
    characters: int
    wall_seconds: float


def build_dialogues(*, settings: DialogueSettings, out: Path) -> DialogueReport:
    """Write a corpus of dialogues at `out`, or do nothing when it is there.

    Raises:
        UsageError: a setting was given that the source does not read, or `out` is where it reads.
        DataError: the source cannot be read, or nothing of it is left.
        ArtifactError: the path is no text corpus (keywords), `out` holds something else, or the
            disk is full.
    """
    _refuse_own_place(settings.path, out)
    source = open_dialogues(settings)
    if unchanged(out, key=key_of("corpus", settings=source.decided, parents=source.parents)):
        return _report(out, state="unchanged")
    _refuse_text(out)
    with writing(out, kind="corpus", settings=source.decided, parents=source.parents) as draft:
        data = draft.path / "data"
        shutil.rmtree(data, ignore_errors=True)  # what an interrupted build left
        tally = write_rows(_told(source.rows(), name=settings.source), data=data)
        _finish(draft, tally, source=source, settings=settings)
    _warn_of_empty(tally, settings)
    return _report(out, state="built")


def _refuse_own_place(path: Path, out: Path) -> None:
    own, place = path.resolve(), out.resolve()
    if place.is_relative_to(own) or own.is_relative_to(place):
        raise UsageError(
            f"--out {out} is where the source {path} lies, and would replace it or be read as it",
            remedy="choose an --out beside it",
        )


def _refuse_text(out: Path) -> None:
    """Both are corpora, but nobody means to replace text by dialogues."""
    if not (out / MANIFEST_NAME).is_file():
        return
    found = read_manifest(out)
    if found.kind == "corpus" and "dialogues" not in found.counts:
        raise ArtifactError(
            f"{out} is a corpus of documents, and one of dialogues would replace it",
            remedy="choose another --out, or remove it yourself",
        )


def _told(rows: Iterator[Row], *, name: str) -> Iterator[Row]:
    """The rows, with progress."""
    with progress() as bar:
        task = bar.add_task(f"corpus {name}", total=None, note="")
        for number, row in enumerate(rows, start=1):
            yield row
            if number % _TELL == 0:
                bar.update(task, completed=number, note=f"{format_count(number)} dialogues")


def _finish(
    draft: Draft, tally: Tally, *, source: DialogueSource, settings: DialogueSettings
) -> None:
    """Put counts, terms and the card beside the rows.

    Raises:
        DataError: there are no rows.
    """
    read, dropped, worse = source.counts()
    dropped = _bounded(dropped)
    lost = read - tally.kept - sum(dropped.values())
    assert lost == 0, f"{lost} rows are neither kept nor dropped"
    if not tally.kept:
        raise _nothing_left(settings, read, dropped)
    numbers = {
        "read": (read, "rows"),
        "dialogues": (tally.kept, "dialogues"),
        "turns": (tally.turns, "turns"),
        "rejected": (tally.rejected, "dialogues"),
        "unanswered": (tally.unanswered, "dialogues"),
        "text_bytes": (tally.text_bytes, "bytes"),
        "characters": (tally.characters, "characters"),
        **{split: (tally.splits[split], "dialogues") for split in _SPLITS},
        **{f"dropped_{reason}": (count, "rows") for reason, count in dropped.items()},
        **{f"worse_{kind}": (count, "dialogues") for kind, count in sorted(worse.items())},
    }
    for name, (value, unit) in numbers.items():
        draft.count(name, value, unit)
    draft.licences, draft.legal = source.licences, source.legal
    facts = CardFacts(
        name=settings.source,
        read=read,
        tally=tally,
        dropped=dropped,
        worse=worse,
        licences=source.licences,
        legal=source.legal,
    )
    write_text_atomically(draft.path / "card.md", card(facts))


def _bounded(dropped: dict[str, int]) -> dict[str, int]:
    """The commonest reasons: a file with a thousand speakers has a thousand of them."""
    names = sorted(dropped, key=lambda name: (-dropped[name], name))
    kept = {name: dropped[name] for name in names[:_MOST_REASONS]}
    rest = sum(dropped.values()) - sum(kept.values())
    return kept | ({"other reasons": rest} if rest else {})


def _nothing_left(settings: DialogueSettings, read: int, dropped: dict[str, int]) -> DataError:
    reasons = ", ".join(f"{name}: {count}" for name, count in dropped.items())
    remedy = {
        "dialogues": "give dialogues that end with an answer, or keep the questions: "
        "unanswered=keep",
        "keywords": "give a corpus whose documents are single sentences, such as tatoeba's",
    }[settings.source]
    return DataError(
        f"no dialogue is left of {settings.path}: {read} rows read, 0 kept"
        + (f" ({reasons})" if reasons else ""),
        remedy=remedy,
    )


def _warn_of_empty(tally: Tally, settings: DialogueSettings) -> None:
    asked = {"train": 1.0, "valid": settings.valid, "test": settings.test}
    for split, share in asked.items():
        if share and not tally.splits[split]:
            warn(f"the split {split!r} got no dialogue: {tally.kept} dialogues are too few for it")


def _report(path: Path, *, state: Literal["built", "unchanged"]) -> DialogueReport:
    manifest = read_manifest(path, kind="corpus")
    count = {name: int(item.value) for name, item in manifest.counts.items()}
    dropped = {
        name.removeprefix("dropped_"): value
        for name, value in count.items()
        if name.startswith("dropped_")
    }
    return DialogueReport(
        path=path,
        state=state,
        read=count["read"],
        kept=count["dialogues"],
        turns=count["turns"],
        rejected=count["rejected"],
        unanswered=count["unanswered"],
        dropped=dropped,
        splits={split: count[split] for split in _SPLITS},
        text_bytes=count["text_bytes"],
        characters=count["characters"],
        wall_seconds=manifest.wall_seconds,
    )


def holds_dialogues(corpus: Path) -> bool:
    """Whether a corpus is one of dialogues.

    Raises:
        ArtifactError: not a corpus.
    """
    return "dialogues" in read_manifest(corpus, kind="corpus").counts


def read_dialogues(corpus: Path, *, split: str) -> Iterator[Dialogue]:
    """Return the dialogues of a split in file order, one row group in memory at a time.

    Args:
        corpus: a corpus of dialogues.
        split: train, valid, test or all.

    Raises:
        ArtifactError: not a corpus of dialogues, or (while reading) a file is missing or damaged.
        UsageError: (while reading) no such split.
    """
    if not holds_dialogues(corpus):
        raise ArtifactError(
            f"{corpus} holds documents, not dialogues",
            remedy="make dialogues: minna corpus build dialogues --from FILE --licence TERMS --out "
            f"DIR; or out of its sentences: minna corpus build keywords --from {corpus} --out DIR",
        )
    return _read(corpus, split)


def _read(corpus: Path, split: str) -> Iterator[Dialogue]:
    for batch in batches(corpus, split=split, columns=("id", "turns", "rejected")):
        for row in batch.to_pylist():
            turns = tuple(Turn(turn["role"], turn["text"]) for turn in row["turns"])
            yield Dialogue(id=row["id"], turns=turns, rejected=row["rejected"])
