"""Where an interrupted build goes on: written each time a parquet file is finished.

The finished files are themselves the memory of the de-duplication (their texts are hashed again),
so the journal is a page of JSON however large the corpus is, and a resumed build writes byte for
byte what an uninterrupted one writes.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from minna.artifact import replace_file
from minna.errors import ArtifactError

JOURNAL_NAME = "journal.json"
_EXAMPLES = 5
_EXAMPLE_CHARACTERS = 80


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class Journal:
    """Position in the source and everything counted so far.

    Attributes:
        shard: index of the source's shard being read.
        consumed: documents of it already taken.
        files: finished parquet files.
        dropped: reason -> how many.
        examples: reason -> the first few, cut to 80 characters.
        splits: split -> how many.
    """

    shard: int = 0
    consumed: int = 0
    files: int = 0
    read: int = 0
    kept: int = 0
    text_bytes: int = 0
    characters: int = 0
    dropped: dict[str, int] = Field(default_factory=dict)
    examples: dict[str, list[str]] = Field(default_factory=dict)
    splits: dict[str, int] = Field(default_factory=dict)

    def drop(self, reason: str, text: str) -> None:
        """Count a dropped document and keep the first few as examples."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        examples = self.examples.setdefault(reason, [])
        if len(examples) < _EXAMPLES:
            examples.append(text[:_EXAMPLE_CHARACTERS].replace("\n", " "))

    def keep(self, text: str, *, size: int, split: str) -> None:
        """Count a document that is written."""
        self.kept += 1
        self.characters += len(text)
        self.text_bytes += size
        self.splits[split] = self.splits.get(split, 0) + 1

    def save(self, directory: Path) -> None:
        """Write the journal, atomically."""
        with replace_file(directory / JOURNAL_NAME) as file:
            file.write(_JSON.dump_json(self, indent=1))


_JSON = TypeAdapter(Journal)


def load_journal(directory: Path) -> Journal:
    """Read the journal of an interrupted build; a new one where there is none.

    Raises:
        ArtifactError: it is there and not readable.
    """
    file = directory / JOURNAL_NAME
    if not file.is_file():
        return Journal()
    try:
        return _JSON.validate_json(file.read_bytes())
    except ValidationError as error:
        raise ArtifactError(
            f"{file} is not a journal of this version: {error}",
            remedy=f"remove {directory} and build again",
        ) from error
