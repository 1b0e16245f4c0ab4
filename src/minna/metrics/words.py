"""Japanese text as words, by MeCab with the one dictionary that every figure here is based on.

F1 and ROUGE of words depend on the dictionary, so it is named (unidic-lite) and not looked for: a
machine that also has the full UniDic would print other figures. The tagger is built once, and texts
are remembered: the harness of the paper builds one per pair (a millisecond each).
"""

from __future__ import annotations

import functools
import re
from typing import Any

from minna.errors import MissingExtraError

_EMOJI_BLOCKS = re.compile(
    "[\U0001f1e0-\U0001f1ff\U0001f300-\U0001f64f\U0001f680-\U0001f6ff\u2702-\u27b0]"
)


@functools.lru_cache(maxsize=200_000)
def words(text: str) -> tuple[str, ...]:
    """Words of a text as it stands, white space being a border.

    Raises:
        MissingExtraError: fugashi or unidic-lite is not installed.
    """
    return tuple(_tagger().parse(" ".join(text.split())).split())


def normalised_words(text: str) -> tuple[str, ...]:
    """Words of the normalised text."""
    return words(normalise(text))


@functools.lru_cache(maxsize=200_000)
def normalise(text: str) -> str:
    """A text as answers are compared: without emoji, widths unified, single spaces.

    Case and punctuation stay. The rules of the jasquad script of the paper's harness: characters
    that are an emoji alone, or of the emoji blocks, go; neologdn unifies full and half width,
    hyphens, repeated long vowels and spaces about Japanese, and drops the wave dash.

    Raises:
        MissingExtraError: emoji or neologdn is not installed.
    """
    try:
        import emoji
        import neologdn
    except ImportError as error:
        raise MissingExtraError(error.name or "neologdn", extra="evaluate") from error
    plain = "".join(character for character in text if not emoji.is_emoji(character))
    return " ".join(neologdn.normalize(_EMOJI_BLOCKS.sub("", plain)).split())


def word_source() -> str:
    """What `words` are made by, for the conditions of a report: names and versions."""
    from importlib.metadata import version

    _tagger()
    return f"MeCab (fugashi {version('fugashi')}), unidic-lite {version('unidic-lite')}"


@functools.cache
def _tagger() -> Any:
    try:
        import unidic_lite
        from fugashi import GenericTagger  # pyright: ignore[reportAttributeAccessIssue]
    except ImportError as error:
        raise MissingExtraError(error.name or "fugashi", extra="evaluate") from error
    folder = unidic_lite.DICDIR
    return GenericTagger(f'-r "{folder}/mecabrc" -d "{folder}" -Owakati')
