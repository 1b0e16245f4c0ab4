"""Rows of a corpus as texts to translate, and rows of the side-car that comes of them.

A dialogue is kept or dropped whole: an answer in Japanese to a question in English, or two answers
of which one was lost, would teach the wrong thing. A picture loses the captions that are dropped,
and stays as long as one of them is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa

from minna.corpus.components import read_mixture
from minna.corpus.dialogue_rows import TURN
from minna.corpus.read import part_batches, parts
from minna.corpus.sidecar import unit_of
from minna.errors import UsageError
from minna.label.checks import Verdict

_STRINGS: Final = pa.string()
_VERDICT: Final = [("kept", pa.bool_()), ("reason", _STRINGS), ("detail", _STRINGS)]
DIALOGUES: Final = pa.schema(
    [("id", _STRINGS), ("turns", pa.list_(TURN)), ("rejected", _STRINGS), *_VERDICT]
)
"""Columns of the side-car of a corpus of dialogues."""
DOCUMENTS: Final = pa.schema([("id", _STRINGS), ("text", _STRINGS), *_VERDICT])
"""Columns of the side-car of a corpus of documents."""
_CAPTION: Final = pa.struct([("text", _STRINGS), ("reason", _STRINGS), ("detail", _STRINGS)])
PICTURES: Final = pa.schema([("id", _STRINGS), ("captions", pa.list_(_CAPTION)), *_VERDICT])
"""Columns of the side-car of a corpus of pictures: a translation for each caption."""
_OF: Final = {
    "dialogues": (DIALOGUES, ("id", "turns", "rejected")),
    "documents": (DOCUMENTS, ("id", "text")),
    "pictures": (PICTURES, ("id", "captions")),
}
"""What a corpus holds -> the side-car's columns, and those that are read."""


class Source(NamedTuple):
    """A row of a corpus.

    Attributes:
        roles: of the turns; () of a document or a picture.
        texts: a document's text, a picture's captions, or the turns' and the rejected answer, if
            there is one.
        shows: whether it is a picture.
    """

    id: str
    roles: tuple[str, ...]
    texts: tuple[str, ...]
    shows: bool = False

    @property
    def is_compared(self) -> bool:
        """Whether the last text is an answer that was liked less."""
        return bool(self.roles) and len(self.texts) > len(self.roles)

    def place(self, number: int) -> str:
        """What the text of that number is, for people."""
        if not self.roles:
            return "text"
        return f"turn {number + 1}" if number < len(self.roles) else "rejected"


class Corpus:
    """A corpus as it is translated.

    Raises:
        ArtifactError: not a corpus.
        UsageError: a mixture, which has no rows of its own.
    """

    def __init__(self, path: Path) -> None:
        if read_mixture(path) is not None:
            raise UsageError(
                f"{path} is a mixture, which has no texts of its own",
                remedy="translate its components one by one, then mix the results",
            )
        self.unit = unit_of(path)
        self.schema, self._columns = _OF[self.unit]
        self._path = path

    def files(self) -> Iterator[tuple[int, Iterator[list[Source]]]]:
        """The number of each data file, and its rows, one row group at a time."""
        for part in parts(self._path):
            batches = part_batches(part, split="all", columns=self._columns)
            yield part.number, (list(map(_source, batch.to_pylist())) for batch in batches)

    def texts(self) -> Iterator[str]:
        """Every text, in order."""
        for _, groups in self.files():
            for group in groups:
                for row in group:
                    yield from row.texts


def _source(row: dict[str, Any]) -> Source:
    if "captions" in row:
        captions: list[dict[str, str]] = row["captions"]
        return Source(row["id"], (), tuple(one["text"] for one in captions), shows=True)
    if "turns" not in row:
        return Source(row["id"], (), (row["text"],))
    turns: list[dict[str, str]] = row["turns"]
    rejected = (row["rejected"],) if row["rejected"] else ()
    return Source(
        row["id"],
        tuple(turn["role"] for turn in turns),
        (*(turn["text"] for turn in turns), *rejected),
    )


def judged_row(
    row: Source, translations: Sequence[str], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """A row of the side-car; what is wrong with its first bad text is what is wrong with it."""
    if row.shows:
        return _judged_picture(row, translations, verdicts)
    wrong = next((number for number, verdict in enumerate(verdicts) if verdict.reason), None)
    reason = detail = ""
    if wrong is not None:
        reason = verdicts[wrong].reason
        detail = f"{row.place(wrong)}: {verdicts[wrong].detail}"
    elif row.is_compared and translations[-1] == translations[-2]:
        reason, detail = "same_answers", "both answers became the same"
    judged: dict[str, Any] = {"kept": not reason, "reason": reason, "detail": detail}
    if not row.roles:
        return {"id": row.id, "text": translations[0]} | judged
    turns = [
        {"role": role, "text": text} for role, text in zip(row.roles, translations, strict=False)
    ]
    rejected = translations[-1] if row.is_compared else ""
    return {"id": row.id, "turns": turns, "rejected": rejected} | judged


def _judged_picture(
    row: Source, translations: Sequence[str], verdicts: Sequence[Verdict]
) -> dict[str, Any]:
    """A row of the side-car of pictures: what is wrong with the first caption, if all are wrong."""
    captions = [
        {"text": text, "reason": verdict.reason, "detail": verdict.detail}
        for text, verdict in zip(translations, verdicts, strict=True)
    ]
    kept = any(not verdict.reason for verdict in verdicts)
    first = Verdict() if kept else next(iter(verdicts), Verdict("no_caption", "there is none"))
    return {
        "id": row.id,
        "captions": captions,
        "kept": kept,
        "reason": first.reason,
        "detail": first.detail,
    }
