r"""Dialogues and preferences out of the layouts that instruction data comes in.

The layout is told from a row's keys: sets in each of them are copied, translated and renamed, and
their names say little. Turns that cannot be a dialogue (out of order, empty) are counted by their
reason and left out; a row of no known layout is an error that names the line and its keys, because
it is the file that is another one.

| layout | keys |
|---|---|
| Anthropic HH | `chosen`, `rejected`: "\n\nHuman: ...\n\nAssistant: ..." (or messages) |
| preferences | `prompt`, `chosen`, `rejected`: texts, HH's, or messages |
| SHP | `history`, `human_ref_A`, `human_ref_B`, `labels` (1: A is preferred) |
| OpenAI chat | `messages`: `role`, `content` |
| ShareGPT | `conversations`: `from`, `value` |
| utterances | `utterances`: `name` (user or agent), `text` |
| Alpaca, Dolly | `instruction`, `input` or `context`, `output` or `response` |
| pairs (FLAN) | `inputs`, `targets`; `prompt`, `completion`; `question`, `answer`; ... |
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from minna.corpus.sources.files import find_files, format_of
from minna.corpus.sources.streams import bounded_lines, broken, open_bytes
from minna.errors import DataError
from minna.prompts import Turn
from minna.prompts.format import Role

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "prompter": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "agent": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
}
_PAIRS = (
    ("inputs", "targets"),
    ("input", "target"),
    ("prompt", "completion"),
    ("prompt", "response"),
    ("question", "answer"),
    ("query", "response"),
    ("instruction", "output"),
    ("instruction", "response"),
)
_HH = re.compile(r"\n\n(Human|Assistant):")
_KNOWN = (
    "chosen and rejected (HH), history and human_ref_A (SHP), messages, conversations, utterances, "
    "instruction and output (Alpaca), inputs and targets (FLAN), prompt and completion"
)

Unanswered = Literal["drop", "keep"]


class _NoDialogueError(Exception):
    """Why a row's turns are no dialogue."""


@dataclass(frozen=True, kw_only=True)
class Dialogue:
    """Turns that end with the assistant's, or with a user's that is to be answered.

    Attributes:
        id: first 16 hex digits of the sha256 of its turns.
        turns: an optional system turn, then user and assistant in turn.
        rejected: the answer that was liked less than the last one; "" where nobody compared.
    """

    id: str
    turns: tuple[Turn, ...]
    rejected: str = ""


@dataclass
class Dialogues:
    """The dialogues of a file or folder, read anew each time it is gone through.

    Attributes:
        path: .jsonl, .json (lines, or one array), .parquet; also compressed.
        unanswered: what happens to a last turn that nobody answered: `drop` cuts it off, `keep`
            keeps it, and reads rows that are only a `prompt`.
        dropped: reason -> rows left out, of the last time.
    """

    path: Path
    unanswered: Unanswered = "drop"
    dropped: Counter[str] = field(default_factory=Counter[str])

    def __iter__(self) -> Iterator[Dialogue]:
        """Go through the rows.

        Raises:
            DataError: a file cannot be read, or a row is of no known layout.
        """
        self.dropped.clear()
        for name, file in find_files(self.path, formats=("json lines", "parquet"), what="dialogue"):
            for number, row in _rows(name, file):
                try:
                    yield read_row(row, where=f"{name}:{number}", unanswered=self.unanswered)
                except _NoDialogueError as error:
                    self.dropped[str(error)] += 1


def read_row(row: Mapping[str, Any], *, where: str, unanswered: Unanswered = "drop") -> Dialogue:
    """Turn one row into a dialogue.

    Raises:
        DataError: it is of no known layout.
    """
    turns, rejected = _read(row, where, unanswered)
    turns = _settled(turns, unanswered)
    if rejected:
        if not rejected.strip() or turns[-1].role != "assistant":
            raise _NoDialogueError("empty turn")
        if rejected.strip() == turns[-1].text.strip():
            raise _NoDialogueError("both answers are the same")
    text = json.dumps([[turn.role, turn.text] for turn in turns] + [rejected], ensure_ascii=False)
    return Dialogue(
        id=hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16],
        turns=turns,
        rejected=rejected,
    )


def _read(row: Mapping[str, Any], where: str, unanswered: Unanswered) -> tuple[list[Turn], str]:
    """The turns of a row, and the answer that was liked less."""
    if "chosen" in row and "rejected" in row:
        return _compared(row, where)
    if "human_ref_A" in row and "human_ref_B" in row and "history" in row:
        asked, *answers = (row[key] for key in ("history", "human_ref_A", "human_ref_B"))
        if not all(isinstance(text, str) for text in (asked, *answers)):
            raise _NoDialogueError("a turn that is no text")
        if row.get("labels", 1) not in (0, 1):
            raise _NoDialogueError("no word of which answer is better")
        better = 0 if row.get("labels", 1) == 1 else 1
        return [Turn("user", asked), Turn("assistant", answers[better])], answers[1 - better]
    for key in ("messages", "conversations", "utterances", "conversation"):
        if isinstance(row.get(key), Sequence) and not isinstance(row[key], str):
            return _messages(row[key], where), ""
    if unanswered == "keep" and row.get("prompt") and not _is_pair(row):
        return _any(row["prompt"], where), ""
    return _pair(row, where), ""


def _compared(row: Mapping[str, Any], where: str) -> tuple[list[Turn], str]:
    """A better and a worse answer to the same turns."""
    asked = _any(row["prompt"], where) if row.get("prompt") else []
    if asked and asked[-1] == Turn("assistant", ""):  # HH's prompts end in "Assistant:"
        asked.pop()
    sides = [_any(row[key], where) for key in ("chosen", "rejected")]
    if asked and all(isinstance(row[key], str) for key in ("chosen", "rejected")):
        sides = [_plain(side) for side in sides]
    chosen, rejected = sides
    if any(not side or side[-1].role != "assistant" for side in sides):
        raise _NoDialogueError("no answer")
    if asked and chosen[: len(asked)] != asked:
        chosen, rejected = [*asked, *chosen], [*asked, *rejected]
    if chosen[:-1] != rejected[:-1]:
        raise _NoDialogueError("the two answers are to different turns")
    return chosen, rejected[-1].text


def _plain(side: list[Turn]) -> list[Turn]:
    """An answer behind a prompt that is written without HH's names is text alone."""
    alone = len(side) == 1 and side[0].role == "user"
    return [Turn("assistant", side[0].text)] if alone else side


def _any(value: Any, where: str) -> list[Turn]:
    """Turns written as HH's text, as messages, or as one question."""
    if not isinstance(value, str):
        return _messages(value, where)
    cut = _HH.split(value)
    if len(cut) == 1:
        return [Turn("user", value)]
    if cut[0].strip():
        raise _NoDialogueError("text before the first turn")
    roles = ["user" if name == "Human" else "assistant" for name in cut[1::2]]
    return [
        Turn(cast("Role", role), text.strip()) for role, text in zip(roles, cut[2::2], strict=True)
    ]


def _messages(value: Any, where: str) -> list[Turn]:
    turns: list[Turn] = []
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise _NoDialogueError("a turn that is no text")
    for message in cast("Sequence[Any]", value):
        if not isinstance(message, Mapping):
            raise DataError(f"{where}: a message must be an object", remedy="mend the file")
        said = cast("Mapping[str, Any]", message)
        who = next((said[key] for key in ("role", "from", "name", "speaker") if key in said), None)
        text = next((said[key] for key in ("content", "value", "text") if key in said), None)
        if str(who).lower() not in _ROLES:
            raise _NoDialogueError(f"a turn of {who!r}")
        if not isinstance(text, str):
            raise _NoDialogueError("a turn that is no text")
        turns.append(Turn(_ROLES[str(who).lower()], text))
    return turns


def _is_pair(row: Mapping[str, Any]) -> bool:
    return any(
        isinstance(row.get(ask), str) and isinstance(row.get(answer), str) for ask, answer in _PAIRS
    )


def _pair(row: Mapping[str, Any], where: str) -> list[Turn]:
    """A question and its answer; an instruction with an input is a system turn before it."""
    for ask, answer in _PAIRS:
        if isinstance(row.get(ask), str) and isinstance(row.get(answer), str):
            asked = [Turn("user", row[ask])]
            given = row.get("input") if ask == "instruction" else None
            given = given or (row.get("context") if ask == "instruction" else None)
            if isinstance(given, str) and given.strip():
                asked = [Turn("system", row[ask]), Turn("user", given)]
            return [*asked, Turn("assistant", row[answer])]
    raise DataError(
        f"{where} is of no known layout: it has {', '.join(map(repr, row)) or 'no keys'}",
        remedy=f"known are {_KNOWN}",
    )


def _settled(turns: Sequence[Turn], unanswered: Unanswered) -> tuple[Turn, ...]:
    """Cut what nobody answered (unless it is kept), and check the order."""
    ends = ("assistant", "user") if unanswered == "keep" else ("assistant",)
    kept = list(turns)
    while kept and (kept[-1].role not in ends or _is_cue(kept[-1], unanswered)):
        kept.pop()
    if not kept:
        raise _NoDialogueError("no answer")
    start = kept[0].role == "system"
    order = ("user", "assistant")
    if any(turn.role != order[place % 2] for place, turn in enumerate(kept[start:])):
        raise _NoDialogueError("turns out of order")
    if any(not turn.text.strip() for turn in kept):
        raise _NoDialogueError("empty turn")
    return tuple(kept)


def _is_cue(turn: Turn, unanswered: Unanswered) -> bool:
    """Whether it is the empty answer that HH's prompts end in ("Assistant:")."""
    return unanswered == "keep" and turn.role == "assistant" and not turn.text.strip()


def _rows(name: str, file: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Number (from 1) and content of each row."""
    if format_of(name) == "parquet":
        import pyarrow.parquet as pq
        from pyarrow import ArrowException

        try:
            number = 0
            for batch in pq.ParquetFile(file).iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
        except (ArrowException, OSError) as error:
            raise broken(file, error) from error
        return
    with open_bytes(file) as stream:
        for number, line in _json_lines(stream, name):
            if not isinstance(line, Mapping):
                raise DataError(
                    f"{name}:{number} is no JSON object", remedy="give one object on each line"
                )
            yield number, cast("Mapping[str, Any]", line)


def _json_lines(stream: Any, name: str) -> Iterator[tuple[int, Any]]:
    """Rows of JSON lines, or of one array (as Alpaca's file is).

    Raises:
        DataError: naming the line that is no JSON.
    """
    whole = stream.peek(1).lstrip()[:1] == b"["
    try:
        if whole:
            yield from enumerate(json.load(stream), start=1)
            return
    except ValueError as error:
        raise DataError(f"{name} is no JSON array: {error}", remedy="mend the file") from error
    for piece in bounded_lines(stream):
        if piece.content.strip():
            try:
                yield piece.line, json.loads(piece.content)
            except ValueError as error:
                raise DataError(
                    f"{name}:{piece.line} is no JSON: {error}", remedy="mend the line"
                ) from error
