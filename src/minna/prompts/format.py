"""A prompt format: how turns of a dialogue become the one text that a model was tuned on.

A model tuned on "ユーザー: ...<NL>システム: " and asked in any other way, a lost space at the end
included, is another model. So formats are data (`formats/*.toml`), written exactly as released, and
there is one way from turns to text, which training, chat and the exported template share.

A dialogue is an optional system turn, then user and assistant in turn. Its text is cut into pieces,
each learned or not: an answer is learned with what ends it, everything else is what it answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass as plain_dataclass
from typing import Any, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from minna.errors import DataError, UsageError
from minna.settings import Shelf

Role = Literal["system", "user", "assistant"]
_STRICT = ConfigDict(extra="forbid")
_SHELF = Shelf(kind="prompt format", package="minna.prompts", folder="formats")


@plain_dataclass(frozen=True)
class Turn:
    """What one side says."""

    role: Role
    text: str


@plain_dataclass(frozen=True)
class Piece:
    """A stretch of the text.

    Attributes:
        text: of it.
        learned: whether it is (part of) an answer that training learns.
        end: whether the token that ends a text follows it, learned as the piece is.
    """

    text: str
    learned: bool
    end: bool = False


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Around:
    """What stands before and after what a side says."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Layout:
    """How turns are laid out.

    Attributes:
        opening: before everything.
        system, user, assistant: around each side's text; without `system` there can be none.
    """

    opening: str = ""
    system: Around | None = None
    user: Around
    assistant: Around


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Format:
    """A prompt format.

    Attributes:
        source: where it was read.
        plain: its layout without a system turn.
        instructed: its layout with one; None where it knows none.
        newline: what a line break within a turn becomes ("<NL>" for tokenizers that know none).
        ends: after which answers the token that ends a text stands: every one, or the last (an
            earlier one is then ended by the next turn, as the model saw it in training).
        learns: which answers training learns.
        turns: "many", or "one" question and answer.
    """

    name: str
    description: str
    source: str
    plain: Layout
    instructed: Layout | None = None
    newline: str = "\n"
    ends: Literal["every", "last"] = "last"
    learns: Literal["every", "last"] = "last"
    turns: Literal["many", "one"] = "many"

    def prompt(self, turns: Sequence[Turn], *, end: str) -> str:
        """Return the text up to where the next answer begins.

        Args:
            turns: the dialogue so far; the last one is the user's.
            end: text of the token that ends a text.

        Raises:
            DataError: the turns are out of order, one is empty, or the format has no place for one.
        """
        layout = self._checked(turns, answered=False)
        said = [self._piece(layout, turns, place) for place in range(len(turns))]
        text = "".join(piece.text + end * piece.end for pieces in said for piece in pieces)
        return layout.opening + text + layout.assistant.before

    def pieces(self, turns: Sequence[Turn]) -> list[Piece]:
        """Return a whole dialogue, cut where learning begins and ends.

        Raises:
            DataError: as `prompt` does, or the last turn is not the assistant's.
        """
        layout = self._checked(turns, answered=True)
        found = [Piece(layout.opening, learned=False)] if layout.opening else []
        for place in range(len(turns)):
            found += self._piece(layout, turns, place)
        return list(_joined(found))

    def _piece(self, layout: Layout, turns: Sequence[Turn], place: int) -> list[Piece]:
        turn = turns[place]
        around = {"system": layout.system, "user": layout.user, "assistant": layout.assistant}
        sides = around[turn.role]
        assert sides is not None, "the turns were checked"
        text = turn.text.replace("\n", self.newline)
        if turn.role != "assistant":
            return [Piece(sides.before + text + sides.after, learned=False)]
        last = place == len(turns) - 1
        learned, end = last or self.learns == "every", last or self.ends == "every"
        behind = [] if last else [Piece(sides.after, learned=False)]
        # what follows an answer that no token ends is what ends it, and is learned with it
        if not end:
            return [Piece(sides.before, learned=False), Piece(text + sides.after, learned=learned)]
        return [Piece(sides.before, learned=False), Piece(text, learned=learned, end=True), *behind]

    def _checked(self, turns: Sequence[Turn], *, answered: bool) -> Layout:
        roles = [turn.role for turn in turns]
        instructed = roles[:1] == ["system"]
        rest = roles[instructed:]
        order = ["user", "assistant"] * (len(rest) // 2 + 1)
        wanted = 0 if answered else 1
        if not rest or rest != order[: len(rest)] or len(rest) % 2 != wanted:
            raise DataError(
                f"turns must be user, assistant, user, ... (after at most one system) and end with "
                f"the {'assistant' if answered else 'user'}; they are {', '.join(roles) or 'none'}",
                remedy="put them in order, join two of one side, or leave the dialogue out",
            )
        if self.turns == "one" and len(rest) > 2:  # noqa: PLR2004 - a question and its answer
            raise DataError(
                f"format {self.name} is of one question and one answer, and there are "
                f"{len(rest)} turns",
                remedy="keep the first two, or choose a format of many turns",
            )
        for number, turn in enumerate(turns):
            if not turn.text.strip():
                raise DataError(
                    f"turn {number} ({turn.role}) is empty", remedy="leave the dialogue out"
                )
        layout = self.instructed if instructed else self.plain
        if layout is None:
            raise DataError(
                f"format {self.name} has no system turn",
                remedy="leave it out, or say it in the first turn of the user",
            )
        return layout


def _joined(pieces: list[Piece]) -> Iterator[Piece]:
    """Join neighbours that are alike: each joint is a place where words cannot cross."""
    held: Piece | None = None
    for piece in pieces:
        if held is not None and not held.end and held.learned == piece.learned:
            held = Piece(held.text + piece.text, learned=piece.learned, end=piece.end)
            continue
        if held is not None:
            yield held
        held = piece if piece.text or piece.end else None
    if held is not None:
        yield held


def names() -> list[str]:
    """Names of the formats that minna brings."""
    return _SHELF.names()


def source(name: str) -> str:
    """Return the TOML text of a format.

    Raises:
        UsageError: there is none of that name or path.
    """
    return _SHELF.text(name)


def load(name: str) -> Format:
    """Read a format by name or path.

    Raises:
        UsageError: there is none, or it is not valid.
    """
    content: dict[str, Any] = _SHELF.content(name)
    try:
        found = TypeAdapter(Format).validate_python(content)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(
            f"prompt format {name} is not valid: {said}", remedy="correct the key or value"
        ) from error
    if found.plain.system is not None or (found.instructed and found.instructed.system is None):
        raise UsageError(
            f"prompt format {name}: [instructed] has a system turn, and [plain] has none",
            remedy="write [instructed.system], and nothing of the kind in [plain]",
        )
    return found
