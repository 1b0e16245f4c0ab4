"""What the loop reads: batches that follow from (seed, position), resumable from a few numbers."""

from minna.streams.chat import ChatStream, ChatStreamSettings, Documents, PairStreamSettings
from minna.streams.clips import (
    ClipStream,
    ClipStreamSettings,
    UtteranceStream,
    UtteranceStreamSettings,
)
from minna.streams.dialogues import read_turns, write_dialogues
from minna.streams.experience import Actors, Experience, ExperienceSettings
from minna.streams.masked import MaskedStream, MaskedStreamSettings, MaskIds
from minna.streams.picture_rows import PictureRows, write_pictures
from minna.streams.pictures import PictureStream, PictureStreamSettings
from minna.streams.sentences import SentenceStream, SentenceStreamSettings, write_sentences
from minna.streams.shards import TokenShards, write_tokens
from minna.streams.sound_rows import SoundRows, write_sounds_of
from minna.streams.text import TextStream, TextStreamSettings

__all__ = [
    "Actors",
    "ChatStream",
    "ChatStreamSettings",
    "ClipStream",
    "ClipStreamSettings",
    "Documents",
    "Experience",
    "ExperienceSettings",
    "MaskIds",
    "MaskedStream",
    "MaskedStreamSettings",
    "PairStreamSettings",
    "PictureRows",
    "PictureStream",
    "PictureStreamSettings",
    "SentenceStream",
    "SentenceStreamSettings",
    "SoundRows",
    "TextStream",
    "TextStreamSettings",
    "TokenShards",
    "UtteranceStream",
    "UtteranceStreamSettings",
    "read_turns",
    "write_dialogues",
    "write_pictures",
    "write_sentences",
    "write_sounds_of",
    "write_tokens",
]
