"""A dialogue as token ids, and which of them are learned: the answers, and what ends them.

Each stretch is encoded by itself, as it will be when the model is asked: a prompt is encoded whole,
and the answer is what comes after, so no word of the one may reach into the other. SentencePiece's
space in front of a text belongs to the first stretch alone.

A model dir has no format, only a chat template. `TemplateCoder` asks through it with the same ids:
it is cut where its answers begin and end, and what a turn spells is text, never a special token.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from minna.errors import ArtifactError, DataError, UsageError
from minna.prompts import Format, Piece, Turn
from minna.prompts.sandbox import ChatTemplate
from minna.tokenizer.coder import AnyTokenizer, Coder, SentencePieceCoder, open_tokenizer
from minna.tokenizer.folder import read_folder
from minna.tokenizer.load import Tokenizer


@dataclass(frozen=True, kw_only=True)
class Row:
    """A dialogue in ids.

    Attributes:
        ids: [S] of its whole text.
        learned: [S] whether training learns to write it.
    """

    ids: NDArray[np.int64]
    learned: NDArray[np.bool_]


class ChatCoder:
    """Dialogues to ids under one prompt format.

    Args:
        words: the tokenizer, opened for training (special tokens in a turn stay text).
        fmt: the prompt format.

    Raises:
        DataError: the tokenizer names no token that ends a text, or the same one fills rows.
    """

    def __init__(self, words: AnyTokenizer, fmt: Format) -> None:
        if words.eos_id < 0:
            raise DataError(
                "the tokenizer names no token that ends a text, and every answer ends in one",
                remedy='name it: "eos_token" in tokenizer_config.json',
            )
        self.fmt = fmt
        self._first = words
        self._behind = words.without_prefix() if isinstance(words, Tokenizer) else words

    @property
    def newline(self) -> str:
        """What a line break within a turn becomes."""
        return self.fmt.newline

    @property
    def turns(self) -> Literal["many", "one"]:
        """Whether a dialogue may go on after its first answer."""
        return self.fmt.turns

    def folded(self, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        """Say a system turn at the head of the first question, where the format has none."""
        if turns[0].role != "system" or self.fmt.instructed is not None or len(turns) == 1:
            return turns
        told, asked, *rest = turns
        return (Turn("user", f"{told.text}\n{asked.text}"), *rest)

    def encode(self, turns: Sequence[Turn]) -> Row:
        """Ids of a whole dialogue, and which are learned.

        Raises:
            DataError: the format cannot hold the turns, or nothing of them would be learned.
        """
        pieces = self.fmt.pieces(turns)
        ids: list[int] = []
        learned: list[bool] = []
        for place, piece in enumerate(pieces):
            own = self._ids(piece, first=place == 0)
            ids += own
            learned += [piece.learned] * len(own)
        if not any(learned):
            raise DataError(
                "nothing of this dialogue would be learned", remedy="leave the dialogue out"
            )
        return Row(ids=np.array(ids, np.int64), learned=np.array(learned))

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Ids of the text up to where the next answer begins, equal to those that training saw.

        Raises:
            DataError: the format cannot hold the turns.
        """
        answered = [*turns, Turn("assistant", "x")]
        pieces = self.fmt.pieces(answered)[:-1]
        return [
            number
            for place, piece in enumerate(pieces)
            for number in self._ids(piece, first=place == 0)
        ]

    def _ids(self, piece: Piece, *, first: bool) -> list[int]:
        coder = self._first if first else self._behind
        ids = coder.encode(piece.text) if piece.text else []
        return [*ids, self._first.eos_id] if piece.end else list(ids)


class TemplateCoder:
    """Dialogues to ids under the chat template of a model dir.

    Args:
        path: the model dir, or its tokenizer alone.

    Raises:
        ArtifactError: no such folder, or no tokenizer in it.
        DataError: the template is not valid Jinja.
        UsageError: there is no template.

    Attributes:
        template: compiled.
        newline: what a line break within a turn becomes ("<NL>" for tokenizers that know none).
        turns: whether a dialogue may go on after its first answer.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise ArtifactError(f"{path} is not a directory", remedy="give the path of a model dir")
        folder = read_folder(path)
        if folder.chat_template is None:
            raise UsageError(
                f"{path} has no chat template, so nothing says how its turns are written",
                remedy="name its prompt format with --format (`minna list formats`), or put "
                "chat_template.jinja into the folder",
            )
        words = open_tokenizer(path, folder)
        self._text = open_tokenizer(path, folder, specials="text")
        if isinstance(words, Tokenizer):
            behind = words.without_prefix()
            self._first: Coder = SentencePieceCoder(words, folder)
            self._behind: Coder = SentencePieceCoder(behind, folder)
            self._text = behind
            specials = folder.special_texts
        else:
            self._first = self._behind = words
            added = json.loads(words.as_json()).get("added_tokens") or []
            specials = frozenset(str(token["content"]) for token in added if token["special"])
        texts = self._first.special_texts
        self.template = ChatTemplate(folder.chat_template, tokens=texts)
        known = sorted({*specials, *texts.values()} - {""}, key=len, reverse=True)
        self._specials = re.compile("|".join(map(re.escape, known))) if known else None
        # what a format says, a template is asked
        found = re.search("甲(.{1,8}?)乙", self._tried("甲\n乙") or "", flags=re.DOTALL)
        self.newline: str = found[1] if found else "\n"
        goes_on = self._tried("甲", "乙", "丙") is not None or self._tried("甲") is None
        self.turns: Literal["many", "one"] = "many" if goes_on else "one"

    def _tried(self, *texts: str) -> str | None:
        """What the template makes of a dialogue, None where it refuses it."""
        roles = ("user", "assistant", "user")
        try:
            return self.template.render(list(zip(roles, texts, strict=False)))
        except UsageError:
            return None

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Ids of the text up to where the next answer begins.

        Raises:
            UsageError: the template refuses the turns.
            DataError: a turn holds a lone surrogate.
        """
        hidden: list[str] = []
        mark = f"\ue002{secrets.token_hex(8)}\ue003"  # no turn can hold what is drawn just now

        def hide(found: re.Match[str]) -> str:
            hidden.append(found[0])
            return f"{mark}{len(hidden) - 1}{mark}"

        told = [
            (turn.role, self._specials.sub(hide, turn.text) if self._specials else turn.text)
            for turn in turns
        ]
        ids: list[int] = []
        for stretch in self.template.stretches(told):
            # what was hidden stands at the odd places, by its number
            for place, part in enumerate(stretch.split(mark)):
                if place % 2:
                    ids += self._text.encode(hidden[int(part)])
                elif part:
                    ids += (self._behind if ids else self._first).encode(part)
        return ids
