"""A dialogue as token ids, and which of them are learned: the answers, and what ends them.

Each stretch is encoded by itself, as it will be when the model is asked: a prompt is encoded whole,
and the answer is what comes after, so no word of the one may reach into the other. SentencePiece's
space in front of a text belongs to the first stretch alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from minna.errors import DataError
from minna.prompts import Format, Piece, Turn
from minna.tokenizer.coder import AnyTokenizer
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
