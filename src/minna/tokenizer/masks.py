"""What masked-word prediction asks of a vocabulary, in training and in filling gaps.

A word is hidden by an id, after tokenising: "[MASK]" typed into a text is cut into other pieces.
"""

from __future__ import annotations

from minna.errors import UsageError
from minna.tokenizer.coder import AnyTokenizer
from minna.tokenizer.load import Tokenizer

CLS, MASK = "[CLS]", "[MASK]"


def with_masks(words: AnyTokenizer) -> Tokenizer:
    """Return the tokenizer as what masked-word prediction reads.

    Raises:
        UsageError: it is no SentencePiece model.
    """
    if not isinstance(words, Tokenizer):
        raise UsageError(
            "masked-word prediction reads SentencePiece models, and this is a tokenizer.json",
            remedy='train one with specials = "rinna-32k" in [tokenizer]',
        )
    return words


def mask_ids(words: Tokenizer) -> tuple[int, int]:
    """Return the ids of [CLS], which begins a row, and of [MASK].

    Raises:
        UsageError: the tokenizer has one of them not.
    """
    ids = {piece.text: number for number, piece in enumerate(words.fields.pieces)}
    for name in (CLS, MASK):
        if name not in ids:
            raise UsageError(
                f"the tokenizer has no piece {name}, which masked-word prediction needs",
                remedy='train it with specials = "rinna-32k" in [tokenizer]',
            )
    return ids[CLS], ids[MASK]
