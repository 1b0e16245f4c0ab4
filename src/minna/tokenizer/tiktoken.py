"""Qwen's first tokenizer (nekomata's too): a tiktoken file, as a tokenizer of the usual library.

The file lists pieces by rank; what cuts a text before them, and the special tokens behind them, is
code beside it that nobody should have to run. So both are written here, from Qwen's published
tokenization_qwen.py (the pattern, NFC, the 208 special tokens).

tiktoken joins the two neighbours whose joint piece has the lowest rank, and takes what is a piece
as a whole at once. A BPE whose merges are *all* splits of every piece, by rank, does the same.
"""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Any

from minna.errors import DataError

END = "<|endoftext|>"
SPECIALS = (END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{n}|>" for n in range(205)))
"""Qwen's special tokens, numbered behind the last rank."""

_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_AGAIN = "fetch the file again"


def find_tiktoken(path: Path) -> Path | None:
    """Return the one `*.tiktoken` file in a folder, None where there is none (or several)."""
    found = sorted(path.glob("*.tiktoken"))
    return found[0] if len(found) == 1 else None


def read_ranks(file: Path) -> list[bytes]:
    """Return the pieces of a tiktoken file by rank.

    Raises:
        DataError: a line is not "base64 rank", ranks are not 0, 1, 2, ..., a piece comes twice, or
            one of the 256 bytes is none.
    """
    pieces: list[bytes] = []
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line:
            continue
        parts = line.split()
        try:
            piece, rank = base64.b64decode(parts[0], validate=True), int(parts[1])
        except (IndexError, ValueError, binascii.Error) as error:
            raise DataError(
                f'{file}:{number} must be "base64 rank", and is {line[:40]!r}', remedy=_AGAIN
            ) from error
        if rank != len(pieces) or len(parts) != 2:  # noqa: PLR2004 - a pair
            raise DataError(
                f"{file}:{number} must have rank {len(pieces)}, and has {line[-12:]!r}",
                remedy=_AGAIN,
            )
        pieces.append(piece)
    if len(set(pieces)) != len(pieces):
        raise DataError(f"{file} lists a piece twice", remedy=_AGAIN)
    missing = {bytes([byte]) for byte in range(256)} - set(pieces)
    if missing:
        raise DataError(
            f"{file} lacks {len(missing)} of the 256 bytes, such as {min(missing)!r}: some texts "
            "would have no tokens",
            remedy=_AGAIN,
        )
    return pieces


def qwen_tokenizer(file: Path, *, characters: dict[int, str]) -> Any:
    """Build the equal of Qwen's tokenizer in the `tokenizers` library.

    Args:
        file: qwen.tiktoken.
        characters: which character stands for which byte (GPT-2's table).

    Raises:
        DataError: the file is damaged.
    """
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers
    from tokenizers import pre_tokenizers as cuts

    pieces = read_ranks(file)
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    texts = ["".join(map(characters.__getitem__, piece)) for piece in pieces]
    merges = [
        (text[:cut], text[cut:])
        for piece, text in zip(pieces, texts, strict=True)
        for cut in range(1, len(piece))
        if piece[:cut] in ranks and piece[cut:] in ranks
    ]
    vocabulary = {text: rank for rank, text in enumerate(texts)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, ignore_merges=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = cuts.Sequence(
        [
            cuts.Split(Regex(_PATTERN), "isolated"),
            cuts.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(text, special=True, normalized=False) for text in SPECIALS]
    )
    return tokenizer
