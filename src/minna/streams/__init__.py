"""What the loop reads: batches that follow from (seed, position), resumable from a few numbers."""

from minna.streams.masked import MaskedStream, MaskedStreamSettings, MaskIds
from minna.streams.shards import TokenShards, write_tokens
from minna.streams.text import TextStream, TextStreamSettings

__all__ = [
    "MaskIds",
    "MaskedStream",
    "MaskedStreamSettings",
    "TextStream",
    "TextStreamSettings",
    "TokenShards",
    "write_tokens",
]
