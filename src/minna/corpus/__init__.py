"""Corpora: text normalised, filtered, de-duplicated and split once, with its licences.

`build_corpus` makes one from a source, `texts` and `text_batches` read it back; of dialogues,
`build_dialogues` and `read_dialogues` do, of pictures with captions `build_pairs` and `read_pairs`,
of speech `build_clips` and `read_clips`.
"""

from pathlib import Path

from minna.corpus.clip_corpus import (
    CLIP_COLUMNS,
    Clip,
    ClipReport,
    ClipSettings,
    build_clips,
    holds_clips,
    read_clips,
)
from minna.corpus.dialogue_corpus import (
    DIALOGUE_COLUMNS,
    DialogueReport,
    DialogueSettings,
    build_dialogues,
    holds_dialogues,
    read_dialogues,
)
from minna.corpus.dialogues import Dialogue, Dialogues
from minna.corpus.documents import BuildReport, build, build_corpus, split_of
from minna.corpus.filters import FilterSettings
from minna.corpus.pair_corpus import (
    PAIR_COLUMNS,
    Caption,
    Pair,
    PairReport,
    PairSettings,
    build_pairs,
    holds_pairs,
    read_pairs,
)
from minna.corpus.passes.write import COLUMNS
from minna.corpus.read import Document, batches, text_batches, texts
from minna.corpus.settings import BuildSettings

__all__ = [
    "CLIP_COLUMNS",
    "COLUMNS",
    "DIALOGUE_COLUMNS",
    "PAIR_COLUMNS",
    "BuildReport",
    "BuildSettings",
    "Caption",
    "Clip",
    "ClipReport",
    "ClipSettings",
    "Dialogue",
    "DialogueReport",
    "DialogueSettings",
    "Dialogues",
    "Document",
    "FilterSettings",
    "Pair",
    "PairReport",
    "PairSettings",
    "batches",
    "build",
    "build_clips",
    "build_corpus",
    "build_dialogues",
    "build_pairs",
    "columns_of",
    "holds_clips",
    "holds_dialogues",
    "holds_pairs",
    "read_clips",
    "read_dialogues",
    "read_pairs",
    "split_of",
    "text_batches",
    "texts",
]


def columns_of(corpus: Path) -> tuple[str, ...]:
    """The columns of a corpus, by what it holds.

    Raises:
        ArtifactError: not a corpus.
    """
    if holds_dialogues(corpus):
        return DIALOGUE_COLUMNS
    if holds_clips(corpus):
        return CLIP_COLUMNS
    return PAIR_COLUMNS if holds_pairs(corpus) else COLUMNS
