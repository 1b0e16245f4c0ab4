"""What a translation must hold as it was written: addresses, code; and what is left to translate.

Spaces do not count: a corpus has one where a source had four, and translators put them elsewhere.
"""

from __future__ import annotations

import re
import unicodedata

_FENCED = re.compile(r"```[^\n`]*\n(.*?)(?:```|\Z)", re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_ADDRESS = re.compile(
    r"(?:https?://|www\.)[!-~]+|[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"
)
_TRAILING = ".,;:!?'\"*_)]}>"
_WORD = re.compile(r"[^\W\d_]{2,}")


def addresses(text: str) -> list[str]:
    """URLs and mail addresses, without the punctuation of the sentence around them."""
    found: list[str] = []
    for match in _ADDRESS.finditer(_FENCED.sub(" ", text)):
        address = match.group().rstrip(_TRAILING)
        if "(" in address and match.group().startswith(address + ")"):
            address += ")"  # .../Tokyo_(city) ends in its own bracket
        found.append(address)
    return list(dict.fromkeys(found))


def code(text: str) -> list[str]:
    """What stands between code fences and between back-quotes."""
    rest = _FENCED.sub("\n", text)
    return [block for block in _FENCED.findall(text) if block.strip()] + _INLINE.findall(rest)


def prose(text: str) -> str:
    """A text without its code and addresses: what a translator has to translate."""
    return _ADDRESS.sub(" ", _INLINE.sub(" ", _FENCED.sub("\n", text)))


def has_words(text: str) -> bool:
    """Whether there is anything to translate: two letters in a row outside of code and addresses.

    "B", "1958" and "x = 3" are answers too, and the same in every language.
    """
    return _WORD.search(prose(text)) is not None


def is_code_name(text: str) -> bool:
    """Whether a text is up to three names in capitals or with digits, such as NASA or A380."""
    words = re.findall(r"[^\W_]+", text)
    return 0 < len(words) <= 3 and all(  # noqa: PLR2004 - stands in the docstring
        word.isascii() and (word.isupper() or not word.isalpha()) for word in words
    )


def lost(pieces: list[str], translation: str) -> list[str]:
    """Those of `pieces` that `translation` does not hold."""
    there = _squeezed(translation)
    return [piece for piece in pieces if _squeezed(piece) not in there]


def _squeezed(text: str) -> str:
    return "".join(unicodedata.normalize("NFKC", text).split())
