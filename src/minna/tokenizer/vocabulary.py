"""Pieces that are dead weight: never seen, never reachable, or there twice.

Every piece is a row of the embedding and of the output layer. One that no text can produce is never
trained, and a model that is asked for it by accident answers nonsense. That a piece is unreachable
can be proved from its own text: if the piece came out of a longer text, the same merges (BPE) or
the same best path (unigram) would make it out of its own text alone.
"""

from __future__ import annotations

import collections
import dataclasses

import numpy as np
from numpy.typing import NDArray

from minna.tokenizer.load import Tokenizer
from minna.tokenizer.proto import PieceType, without_prefix

_EXAMPLES = 10
_TEXT_TYPES = (PieceType.NORMAL, PieceType.USER_DEFINED)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """How many pieces a check found, of how many, and some of them."""

    count: int
    of: int
    examples: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class VocabularyCheck:
    """The pieces that stand for text (not control, unknown or byte pieces), looked through.

    Attributes:
        never_produced: pieces that did not occur in the text that was measured.
        unreachable: pieces that no text at all produces.
        duplicates: pieces that decode to the same bytes as an earlier one.
    """

    never_produced: Found
    unreachable: Found
    duplicates: Found


def check_vocabulary(tokenizer: Tokenizer, *, used: NDArray[np.int64]) -> VocabularyCheck:
    """Look through the vocabulary.

    Args:
        tokenizer: whose pieces.
        used: [vocab_size] how often each id came up in a text.
    """
    pieces = tokenizer.fields.pieces
    numbers = [n for n, piece in enumerate(pieces) if piece.type in _TEXT_TYPES]

    def found(which: list[int]) -> Found:
        examples = tuple(pieces[n].text for n in which[:_EXAMPLES])
        return Found(count=len(which), of=len(numbers), examples=examples)

    return VocabularyCheck(
        never_produced=found([n for n in numbers if not used[n]]),
        unreachable=found(_unreachable(tokenizer, numbers)),
        duplicates=found(_duplicates(tokenizer, numbers)),
    )


def _unreachable(tokenizer: Tokenizer, numbers: list[int]) -> list[int]:
    """Pieces whose own text, normalised as all text is, becomes other pieces."""
    from sentencepiece import SentencePieceProcessor

    # a space in front and folded spaces would come between a piece and its text
    bare = SentencePieceProcessor(model_proto=without_prefix(tokenizer.model_file.read_bytes()))
    texts = [tokenizer.piece_bytes(number) for number in numbers]
    rows: list[list[int]] = bare.encode(texts)
    return [number for number, row in zip(numbers, rows, strict=True) if row != [number]]


def _duplicates(tokenizer: Tokenizer, numbers: list[int]) -> list[int]:
    by_bytes: dict[bytes, list[int]] = collections.defaultdict(list)
    for number in numbers:
        by_bytes[tokenizer.piece_bytes(number)].append(number)
    return [number for same in by_bytes.values() for number in same[1:]]
