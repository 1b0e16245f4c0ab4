"""Corpora: text normalised, filtered, de-duplicated and split once, with its licences.

`build_corpus` makes one from a source, `texts` and `text_batches` read it back; of dialogues,
`build_dialogues` and `read_dialogues` do.
"""

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
from minna.corpus.passes.write import COLUMNS
from minna.corpus.read import Document, batches, text_batches, texts
from minna.corpus.settings import BuildSettings

__all__ = [
    "COLUMNS",
    "DIALOGUE_COLUMNS",
    "BuildReport",
    "BuildSettings",
    "Dialogue",
    "DialogueReport",
    "DialogueSettings",
    "Dialogues",
    "Document",
    "FilterSettings",
    "batches",
    "build",
    "build_corpus",
    "build_dialogues",
    "holds_dialogues",
    "read_dialogues",
    "split_of",
    "text_batches",
    "texts",
]
