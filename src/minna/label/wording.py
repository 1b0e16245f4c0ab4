"""How a translator is asked, as data (`wordings/*.toml`): another model wants other words.

A chat model is given a message, a base model a text to go on from, a translation model the text
alone or the codes of two languages. All of it goes into the key of every stored translation, so a
changed wording never passes for the old one.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any, Final

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from minna import prompts
from minna.errors import UsageError
from minna.label.settings import LANGUAGES, Direction
from minna.prompts import Turn
from minna.settings import Shelf

_SHELF: Final = Shelf(kind="wording", package="minna.label", folder="wordings")
_PLACES: Final = ("text", "source", "target", "source_ja", "target_ja")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Wording:
    """How a translator is asked.

    In the texts, {text} stands for what is translated, {source} and {target} for the names of the
    languages in English, {source_ja} and {target_ja} in Japanese.

    Attributes:
        source: where it was read.
        user: the message, or the text a model goes on from.
        system: a message before it; "" for none.
        format: prompt format in which a model dir is given the messages; "" for none, and then the
            message alone is the text.
        stops: texts that end the answer of a model dir.
        codes: language -> what the tokenizer of a translation model calls it.
        tokens: language -> the token its texts begin with, for translation models of many.
    """

    name: str
    description: str
    source: str
    user: str = "{text}"
    system: str = ""
    format: str = ""
    stops: tuple[str, ...] = ()
    codes: dict[str, str] = field(default_factory=dict[str, str])
    tokens: dict[str, str] = field(default_factory=dict[str, str])

    def turns(self, text: str, *, direction: Direction) -> list[Turn]:
        """The messages that ask for a text."""
        asked = [Turn("user", _filled(self.user, text, direction))]
        if self.system:
            asked.insert(0, Turn("system", _filled(self.system, text, direction)))
        return asked

    def prompt(self, text: str, *, direction: Direction, end: str) -> str:
        """The text that a model dir goes on from; `end` is its end-of-text token.

        Raises:
            UsageError: no such format.
            DataError: the format has no system turn, and there is one.
        """
        turns = self.turns(text, direction=direction)
        if self.format:
            return prompts.load(self.format).prompt(turns, end=end)
        return "".join(turn.text for turn in turns)

    def answer(self, text: str) -> str:
        """The translation in what a model dir said: its format's line breaks as line breaks."""
        newline = prompts.load(self.format).newline if self.format else "\n"
        return text.replace(newline, "\n").strip()

    def stop_texts(self, *, direction: Direction) -> tuple[str, ...]:
        """`stops` with the languages' names in them."""
        return tuple(_filled(stop, "", direction) for stop in self.stops)


def names() -> list[str]:
    """Names of the wordings that minna brings."""
    return _SHELF.names()


def load(name: str, *, format_name: str = "") -> Wording:
    """Read a wording by name or path; `format_name` takes the place of its format.

    Raises:
        UsageError: there is none, it is not valid, or it has no place for the text.
    """
    content: dict[str, Any] = _SHELF.content(name)
    if format_name:
        prompts.load(format_name)
        content["format"] = format_name
    try:
        found = TypeAdapter(Wording).validate_python(content)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(
            f"wording {name} is not valid: {said}", remedy="correct the key or value"
        ) from error
    if "{text}" not in found.user:
        raise UsageError(
            f"wording {name}: user has no {{text}}, so nothing would be translated",
            remedy='write it where the text goes, such as user = "Translate: {text}"',
        )
    return found


def _filled(template: str, text: str, direction: Direction) -> str:
    """Put text and names in, in one go: a text that holds {target} itself stays as it is."""
    english, japanese = (
        [LANGUAGES[code][place] for code in (direction.source, direction.target)]
        for place in (0, 1)
    )
    values: dict[str, str] = dict(zip(_PLACES, (text, *english, *japanese), strict=True))
    return _PLACE.sub(lambda place: values.get(place[1], place[0]), template)
