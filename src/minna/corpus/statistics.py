"""What a build counted: the one record that manifest, `dropped.json` and card are told from.

Each part of a pass counts for itself and writes its record down; records add up in the order of the
source, so the sum is the same however many processes worked and however often they were killed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Self

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from minna.artifact import replace_file

EXAMPLES: Final = 5
EXAMPLE_CHARACTERS: Final = 120
SAMPLES: Final = 8
LENGTH_BINS: Final = 24
"""Bin b of the length histogram holds documents of 2^b to 2^(b + 1) - 1 characters."""
SHARE_BINS: Final = 20
"""Bins of a share from 0 to 1."""

Counts = dict[str, int]


@dataclass(kw_only=True, config=ConfigDict(extra="forbid"))
class Statistics:
    """Counts of documents unless said otherwise; dropped ones are in `read`, never in `kept`.

    Attributes:
        dropped: reason -> documents.
        examples: reason -> the first few texts (or names) dropped for it, cut.
        samples: the beginnings of a few kept documents, cut, from all over the source.
        splits, languages, licences, orthographies: name -> kept documents.
        language_bytes: language -> UTF-8 bytes kept.
        text_bytes, characters: of the kept texts.
        read_bytes: UTF-8 bytes of all normalised texts read.
        masked: kind of personal data -> places masked; masked_documents has any.
        lines_removed: why (`boilerplate`, `repeated_paragraph`, `contaminated`) -> lines taken out
            of documents that may be kept.
        line_examples: why -> the first few such lines, cut.
        readings: readings written to the side-car; readings_lost could not be placed.
        regrouped: kept documents whose group was joined with that of a near-duplicate.
        lengths: histogram of characters a document (LENGTH_BINS), of read and of kept ones.
        kana: histogram of the share of kana (SHARE_BINS), of read and of kept ones.
        smell: histogram of the machine-translation and template score (SHARE_BINS).
    """

    read: int = 0
    kept: int = 0
    dropped: Counts = Field(default_factory=dict)
    examples: dict[str, list[str]] = Field(default_factory=dict)
    samples: list[str] = Field(default_factory=list)
    splits: Counts = Field(default_factory=dict)
    languages: Counts = Field(default_factory=dict)
    language_bytes: Counts = Field(default_factory=dict)
    licences: Counts = Field(default_factory=dict)
    orthographies: Counts = Field(default_factory=dict)
    text_bytes: int = 0
    characters: int = 0
    read_bytes: int = 0
    masked: Counts = Field(default_factory=dict)
    masked_documents: int = 0
    lines_removed: Counts = Field(default_factory=dict)
    line_examples: dict[str, list[str]] = Field(default_factory=dict)
    readings: int = 0
    readings_lost: int = 0
    regrouped: int = 0
    lengths: dict[str, list[int]] = Field(default_factory=dict)
    kana: dict[str, list[int]] = Field(default_factory=dict)
    smell: dict[str, list[int]] = Field(default_factory=dict)

    def drop(self, reason: str, text: str) -> None:
        """Count a dropped document and keep the first few as examples."""
        self.dropped[reason] = self.dropped.get(reason, 0) + 1
        keep_example(self.examples, reason, text)

    def keep(self, *, size: int, characters: int, split: str) -> None:
        """Count a document that is written."""
        self.kept += 1
        self.text_bytes += size
        self.characters += characters
        count(self.splits, split)

    def add_histogram(self, name: str, kind: str, counts: list[int]) -> None:
        """Add to the histogram `name` (lengths, kana or smell) of `kind` (read or kept)."""
        histograms: dict[str, list[int]] = getattr(self, name)
        before = histograms.get(kind, [0] * len(counts))
        histograms[kind] = [a + b for a, b in zip(before, counts, strict=True)]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return _JSON.dump_python(self, mode="json")

    def add(self, other: Self) -> None:
        """Add the record of the part that follows."""
        for name, theirs in vars(other).items():
            ours = getattr(self, name)
            if isinstance(ours, int):
                setattr(self, name, ours + theirs)
            elif isinstance(ours, list):
                ours.extend(theirs)
            elif name in {"examples", "line_examples"}:
                for reason, texts in theirs.items():
                    for text in texts:
                        keep_example(ours, reason, text)
            elif name in {"lengths", "kana", "smell"}:
                for kind, bins in theirs.items():
                    self.add_histogram(name, kind, bins)
            else:
                for key, count in theirs.items():
                    ours[key] = ours.get(key, 0) + count

    def save(self, file: Path) -> None:
        """Write the record, atomically."""
        with replace_file(file) as out:
            out.write(_JSON.dump_json(self))


_JSON = TypeAdapter(Statistics)


def load_statistics(file: Path) -> Statistics:
    """Read a record that `save` wrote."""
    return _JSON.validate_json(file.read_bytes())


def parse_statistics(value: object) -> Statistics:
    """Take back what `as_json` gave."""
    return _JSON.validate_python(value)


def count(counts: Counts, key: str, number: int = 1) -> None:
    """Add to a count."""
    if number:
        counts[key] = counts.get(key, 0) + number


def keep_example(examples: dict[str, list[str]], reason: str, text: str) -> None:
    """Keep the first few texts of a reason, in one line each."""
    kept = examples.setdefault(reason, [])
    if len(kept) < EXAMPLES:
        cut = text[:EXAMPLE_CHARACTERS].replace("\n", " ")
        kept.append(cut.encode("utf-8", "replace").decode())  # a file name may hold a surrogate
