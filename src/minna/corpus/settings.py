"""What a corpus is built from and how: the section a pipeline or the command line fills in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from minna.corpus.filters import FilterSettings


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class BuildSettings:
    """Settings of `corpus build`.

    Attributes:
        source: which reader: tatoeba, aozora or local.
        path: where the data lies; tatoeba alone can fetch its own.
        limit: at most this many documents are kept.
        valid: share of groups held out for looking at while training.
        test: share of groups held out for the final numbers.
        documents: what one document is in a plain-text file of `local`.
        field: name of the text field (JSON lines) or column (parquet) of `local`.
        licence: terms of the `local` text, for the card.
        attribution: whom to credit for the `local` text.
        files: which files of a folder or of a Hub repository to read, such as "*.parquet" or
            "20231101.ja/*" ("" for all that the source can read).
        revision: branch, tag or commit of a Hub repository; the commit it means is written down.
        language: what the documents should be in; "any" tells each from its text.
        orthography: keep only works in these spellings (aozora); none named keeps all.
        shard_documents: most rows of one parquet file.
        filters: thresholds.
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
    orthography: tuple[Literal["新字新仮名", "新字旧仮名", "旧字旧仮名"], ...] = ()
    shard_documents: int = Field(default=100_000, ge=1)
    filters: FilterSettings = Field(default_factory=FilterSettings)

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} + test {self.test} must be under 1")
        return self
