"""Corpora: text normalised, filtered, de-duplicated and split once, with its licences.

`build_corpus` makes one from a source, `texts` and `text_batches` read it back.
"""

from minna.corpus.documents import BuildReport, build, build_corpus, split_of
from minna.corpus.filters import FilterSettings
from minna.corpus.passes.write import COLUMNS
from minna.corpus.read import Document, batches, text_batches, texts
from minna.corpus.settings import BuildSettings

__all__ = [
    "COLUMNS",
    "BuildReport",
    "BuildSettings",
    "Document",
    "FilterSettings",
    "batches",
    "build",
    "build_corpus",
    "split_of",
    "text_batches",
    "texts",
]
