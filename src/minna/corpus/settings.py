"""What a corpus is built from and how: the section a pipeline or the command line fills in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from minna.corpus.filters import FilterSettings
from minna.corpus.minhash import BINS
from minna.corpus.personal import MaskSettings

Spelling = Literal["新字新仮名", "新字旧仮名", "旧字旧仮名", "旧字新仮名", "その他"]
_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class DedupSettings:
    """What counts as a copy. Exact duplicates of a document always go.

    Attributes:
        near: what happens to a document that is nearly another: `drop` keeps the first, `group`
            keeps both on one side of the splits, `off` does not look.
        similarity: Jaccard similarity of n-grams from which two documents are nearly the same.
        ngram: letters of an n-gram.
        bands, rows: of the MinHash bands that find candidates (minhash.py).
        letters: shorter documents are not compared; two sentences that differ in a word are two.
        boilerplate_documents, boilerplate_share: a line is boilerplate when it stands in so many
            documents and in such a share of them (0 documents: none is).
        boilerplate_characters: shorter lines never are.
        paragraph_characters: lines so long go where an earlier document had the same one (0: none
            goes). Right for web pages; it tears holes in books that quote each other.
    """

    near: Literal["drop", "group", "off"] = "drop"
    similarity: float = Field(default=0.8, gt=0, le=1)
    ngram: int = Field(default=5, ge=1, le=64)
    bands: int = Field(default=21, ge=1)
    rows: int = Field(default=6, ge=1)
    letters: int = Field(default=50, ge=1)
    boilerplate_documents: int = Field(default=30, ge=0)
    boilerplate_share: float = Field(default=0.01, ge=0, le=1)
    boilerplate_characters: int = Field(default=8, ge=1)
    paragraph_characters: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fit_the_signature(self) -> Self:
        if self.bands * self.rows > BINS:
            raise ValueError(
                f"{self.bands} bands of {self.rows} rows are {self.bands * self.rows}, and a "
                f"signature has {BINS} bins"
            )
        return self


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class ContaminationSettings:
    """Evaluation data that must not be trained on.

    Attributes:
        against: files and folders whose texts are looked for (.json, .jsonl, .tsv, .csv, .txt,
            .parquet, also compressed): a question, a passage, an answer each.
        ngram: letters of an n-gram; shorter texts are not looked for.
        overlap: share of a text's n-grams from which it counts as found in a document. The lines
            that hold them are then taken out.
    """

    against: tuple[Path, ...] = ()
    ngram: int = Field(default=16, ge=4, le=64)
    overlap: float = Field(default=0.5, gt=0, le=1)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class BuildSettings:
    """Settings of `corpus build`.

    Attributes:
        source: which reader: a name of `minna list sources`, or hub:OWNER/NAME.
        path: where the data lies; tatoeba and the hub fetch their own.
        limit: only the first so many documents of the source are read.
        valid: share of groups held out for looking at while training.
        test: share of groups held out for the final numbers.
        documents: what one document is in a plain-text file (local, hub).
        field: name of the text field (JSON lines) or column (parquet) (local, hub).
        licence: terms of the text, for the card (local, hub, pairs).
        attribution: whom to credit (local, hub, pairs).
        files: which files of a folder or of a Hub repository to read, such as "*.parquet" or
            "20231101.ja/*" ("" for all that the source can read).
        revision: branch, tag or commit of a Hub repository; the commit it means is written down.
        language: what the documents should be in; "any" tells each from its text.
        orthography: keep only works in these spellings (aozora); none named keeps all.
        shard_documents: most rows of one parquet file.
        filters: thresholds.
        mask: personal data that is masked.
        dedup: what counts as a copy.
        contamination: evaluation data to keep out.
        workers: processes (None: one for each core). The result does not depend on it.
        part_bytes: raw bytes one process takes at a time. The result does not depend on it.
    """

    source: str
    path: Path | None = None
    limit: int | None = Field(default=None, ge=1)
    valid: float = Field(default=0.005, ge=0, lt=1)
    test: float = Field(default=0.025, ge=0, lt=1)
    documents: Literal["file", "line", "blank-line"] = "file"
    field: str = "text"
    licence: str = "not stated"
    attribution: str = ""
    files: str = ""
    revision: str = "main"
    language: Literal["ja", "en", "any"] = "ja"
    orthography: tuple[
        Literal["新字新仮名", "新字旧仮名", "旧字旧仮名", "旧字新仮名", "その他"], ...
    ] = ()
    shard_documents: int = Field(default=100_000, ge=1)
    filters: FilterSettings = Field(default_factory=FilterSettings)
    dedup: DedupSettings = Field(default_factory=DedupSettings)
    mask: MaskSettings = Field(default_factory=MaskSettings)
    contamination: ContaminationSettings = Field(default_factory=ContaminationSettings)
    workers: int | None = Field(default=None, ge=1)
    part_bytes: int = Field(default=4_000_000, ge=1)

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} + test {self.test} must be under 1")
        return self
