"""The token in front of a text whose meaning is read from its first place.

CLIP's text towers of rinna put [CLS] there by hand, as their RoBERTa does; a tokenizer without one
has a beginning of text, or at least an end, and any token that stands in no text serves.
"""

from __future__ import annotations

from minna.errors import UsageError
from minna.tokenizer.coder import AnyTokenizer
from minna.tokenizer.load import Tokenizer
from minna.tokenizer.masks import CLS


def first_id(words: AnyTokenizer) -> int:
    """Return the id of [CLS], else of what begins a text, else of what ends one.

    Raises:
        UsageError: the tokenizer has none of them.
    """
    if isinstance(words, Tokenizer):
        for number, piece in enumerate(words.fields.pieces):
            if piece.text == CLS:
                return number
    found = next((number for number in (words.bos_id, words.eos_id) if number >= 0), -1)
    if found < 0:
        raise UsageError(
            "the tokenizer has no [CLS], no beginning and no end of text, and a text tower reads "
            "a text at one of them",
            remedy='train one with specials = "rinna-32k" in [tokenizer]',
        )
    return found
