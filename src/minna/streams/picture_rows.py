"""Captions of a pair corpus where a stream can draw them by number, and pictures if it must.

Text training beside a locked image tower never touches a pixel: it needs the captions of a row and
the features that were computed once (`runtime/features.py`). So captions are written into one Arrow
file a split, uncompressed and memory-mapped: a batch of 256 is read in a millisecond, and twelve
million of them take no memory. Where the image tower learns too, the pictures' own bytes stand in
the same file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from minna import artifact
from minna.artifact import replace_file
from minna.corpus.pair_corpus import Pair, read_pairs
from minna.corpus.pair_rows import Caption
from minna.errors import DataError
from minna.tokenizer.coder import AnyTokenizer, training_tokenizer

Pictures = Literal["read", "left"]
SPLITS = ("train", "valid", "test")
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("source", pa.string()),
        ("concept", pa.string()),
        ("texts", pa.list_(pa.string())),
        ("kinds", pa.list_(pa.string())),
        ("weights", pa.list_(pa.float32())),
        ("image", pa.binary()),
    ]
)
_BATCH = 1000


class PictureRows:
    """One split of what `write_pictures` wrote."""

    def __init__(self, path: Path, *, split: str) -> None:
        self.path, self.split = path, split
        manifest = artifact.read_manifest(path, kind="tokens")
        count = {name: int(one.value) for name, one in manifest.counts.items()}
        self.captions = count.get(f"{split}_captions", 0)
        self.caption_tokens = count.get(f"{split}_tokens", 0)
        self.bytes = count.get(f"{split}_bytes", 0)
        sentences = manifest.settings["content"] == "sentences"
        self._unit = "groups of sentences" if sentences else "pictures"
        self._mapped = pa.memory_map(str(path / f"{split}.arrow"))
        self._table: Any = pa.ipc.open_file(self._mapped).read_all()

    def __len__(self) -> int:
        """Number of pictures."""
        return self._table.num_rows

    def words(self) -> str:
        """What there is, for the lines before step 0."""
        each = self.caption_tokens / max(1, self.captions)
        return f"{len(self)} {self._unit}, {self.captions} texts of {each:.1f} tokens"

    def epochs(self, *, tokens: float, row_tokens: int) -> float:
        """How often `tokens` of training, in rows of `row_tokens`, show each picture."""
        return tokens / row_tokens / max(1, len(self))

    def concepts(self) -> list[str]:
        """What each picture shows, "" where nobody said."""
        return self._table["concept"].to_pylist()

    def sources(self) -> list[str]:
        """Where each picture is from."""
        return self._table["source"].to_pylist()

    def captions_of(self, numbers: Sequence[int] | np.ndarray) -> list[tuple[Caption, ...]]:
        """Return the captions of pictures, by their numbers."""
        rows = self._table.select(["texts", "kinds", "weights"]).take(pa.array(numbers))
        return [
            tuple(Caption(*one) for one in zip(*row.values(), strict=True))
            for row in rows.to_pylist()
        ]

    def images_of(self, numbers: Sequence[int] | np.ndarray) -> list[bytes]:
        """Return the files of pictures, by their numbers."""
        return self._table["image"].take(pa.array(numbers)).to_pylist()


def write_pictures(
    corpus: Path, *, tokenizer: Path, sources: Sequence[str], pictures: Pictures, out: Path
) -> Path:
    """Write the rows of a pair corpus as the stream reads them, or do nothing when they are there.

    Args:
        corpus: a pair corpus.
        tokenizer: of the text tower, with which captions are counted.
        sources: those that train; () is all. Held-out splits keep every source.
        pictures: whether the pictures' bytes are written too.
        out: the folder.

    Raises:
        DataError: nothing is left to train on, or there is no such source.
        ArtifactError: an input is not what it should be.
    """

    def of(split: str) -> Iterator[Pair]:
        chosen = tuple(sources) if split == "train" else ()
        return read_pairs(corpus, split=split, sources=chosen, pictures=pictures)

    settings = {"content": "pairs", "sources": sorted(sources), "pictures": pictures}
    if not write_rows(corpus, of, tokenizer=tokenizer, settings=settings, out=out):
        raise _nothing(corpus, sources)
    return out


def write_rows(
    corpus: Path,
    rows_of: Callable[[str], Iterator[Pair]],
    *,
    tokenizer: Path,
    settings: dict[str, Any],
    out: Path,
) -> int:
    """Write the rows of every split into `out` unless they are there; return those that train.

    With none to train on, nothing is left at `out`.
    """
    parents = [
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
        artifact.parent_of(tokenizer, role="tokenizer"),
    ]
    if artifact.unchanged(out, key=artifact.key_of("tokens", settings=settings, parents=parents)):
        return int(artifact.read_manifest(out).counts["train_pairs"].value)
    words = training_tokenizer(tokenizer)
    if next(rows_of("train"), None) is None:
        return 0
    with artifact.writing(out, kind="tokens", settings=settings, parents=parents) as draft:
        for split in SPLITS:
            rows, captions, tokens, size = _write(
                draft.path / f"{split}.arrow", rows_of(split), words
            )
            draft.count(f"{split}_pairs", rows, "rows")
            draft.count(f"{split}_captions", captions, "texts")
            draft.count(f"{split}_tokens", tokens, "tokens")
            draft.count(f"{split}_bytes", size, "bytes of UTF-8")
        return int(draft.counts["train_pairs"].value)


def _nothing(corpus: Path, sources: Sequence[str]) -> DataError:
    if not sources:
        return DataError(f"the corpus {corpus} has no picture to train on", remedy="give another")
    found = sorted({one.source for one in read_pairs(corpus, split="all", pictures="left")})
    return DataError(
        f"the corpus {corpus} has no picture of {', '.join(sources)} to train on",
        remedy=f"sources there are {', '.join(found)}",
    )


def _write(file: Path, pairs: Iterator[Pair], words: AnyTokenizer) -> tuple[int, int, int, int]:
    """Write one split; return pictures, captions, their tokens and bytes."""
    rows = captions = tokens = size = 0
    with replace_file(file) as out, pa.ipc.new_file(out, _SCHEMA) as writer:
        for batch in _batches(pairs):
            texts = [caption.text for pair in batch for caption in pair.captions]
            flat, _ = words.encode_batch(texts)
            rows, captions = rows + len(batch), captions + len(texts)
            tokens, size = tokens + len(flat), size + sum(len(text.encode()) for text in texts)
            writer.write_batch(_record(batch))
    return rows, captions, tokens, size


def _batches(pairs: Iterator[Pair]) -> Iterator[list[Pair]]:
    batch: list[Pair] = []
    for pair in pairs:
        batch.append(pair)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _record(batch: list[Pair]) -> pa.RecordBatch:
    columns: list[list[Any]] = [
        [pair.id for pair in batch],
        [pair.source for pair in batch],
        [pair.concept for pair in batch],
        [[one.text for one in pair.captions] for pair in batch],
        [[one.kind for one in pair.captions] for pair in batch],
        [[one.weight for one in pair.captions] for pair in batch],
        [pair.image for pair in batch],
    ]
    arrays = [
        pa.array(column, type=field.type) for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    return pa.record_batch(arrays, schema=_SCHEMA)
