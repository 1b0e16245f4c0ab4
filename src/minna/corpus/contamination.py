"""Evaluation data in training text: found by n-grams of letters, taken out by the line.

A test question in the training data makes a score worthless, and nobody sees it. Every string of
the evaluation files (a question, a passage, a choice) is an *item*; one is found in a document when
half of its 16-letter n-grams stand there (GPT-3 and its successors used 8 to 13 words; a Japanese
word is about two letters). Comparing happens on folded text (`points.fold_table`), so spacing,
punctuation and width hide nothing.

A bit table answers for nearly all n-grams of a document that they are in no item.
"""

from __future__ import annotations

import csv
import functools
import hashlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from minna.artifact import replace_file
from minna.corpus.points import Int64, Points, UInt64, folded, grams, mixed, points
from minna.errors import DataError

_KNOWN: Final = (".json", ".jsonl", ".tsv", ".csv", ".txt", ".parquet")
_TABLE_BITS = 24
_BATCH = 1000
_COMMON = 32


class Items:
    """N-grams of evaluation items.

    Attributes:
        grams: hashes, sorted; one that several items share stands there once for each [G].
        owners: the item of each [G].
        sizes: different n-grams of each item [I].

    An n-gram of more than 32 items (the instruction all questions begin with) says nothing about
    any of them: it is left out, of their sizes too.
    """

    def __init__(self, grams: UInt64, owners: Int64, sizes: Int64) -> None:
        runs = np.flatnonzero(np.concatenate(([True], grams[1:] != grams[:-1])))[: len(grams)]
        counts = np.diff(np.append(runs, len(grams)))
        telling = np.repeat(counts <= _COMMON, counts)
        common = np.bincount(owners[~telling], minlength=len(sizes))
        self.grams = grams = grams[telling]
        self.owners = owners[telling]
        self.sizes = sizes - common
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._table[grams >> np.uint64(64 - _TABLE_BITS)] = True

    def find(self, texts: Points, *, n: int, overlap: float) -> Int64:
        """Places (in the folded batch) where an n-gram of an item that is found begins [P].

        Args:
            texts: folded texts.
            n: letters of an n-gram.
            overlap: share of an item's n-grams that must stand in one document.
        """
        hits = [self._hits(*window) for window in grams(texts, n)]
        if not hits or not sum(len(places) for _, _, places in hits):
            return np.zeros(0, dtype=np.int64)
        hashes, documents, places = (np.concatenate(column) for column in zip(*hits, strict=True))
        # every item that has the n-gram: a run of equal hashes in the sorted list
        left = np.searchsorted(self.grams, hashes, side="left")
        counts = np.searchsorted(self.grams, hashes, side="right") - left
        source = np.repeat(np.arange(len(hashes)), counts)
        inside = np.arange(len(source)) - np.repeat(np.cumsum(counts) - counts, counts)
        at = left[source] + inside
        pair = documents[source] * len(self.sizes) + self.owners[at]
        different = np.unique(np.stack((pair, at), axis=1), axis=0)[:, 0]
        pairs, found = np.unique(different, return_counts=True)
        guilty = pairs[found >= overlap * self.sizes[pairs % len(self.sizes)]]
        return np.unique(places[source[np.isin(pair, guilty)]])

    def _hits(self, hashes: UInt64, documents: Int64, places: Int64) -> tuple[UInt64, Int64, Int64]:
        hashes = mixed(hashes)
        maybe = np.flatnonzero(self._table[hashes >> np.uint64(64 - _TABLE_BITS)])
        hashes = hashes[maybe]
        at = np.minimum(np.searchsorted(self.grams, hashes), max(0, len(self.grams) - 1))
        sure = self.grams[at] == hashes if len(self.grams) else np.zeros(0, np.bool_)
        return hashes[sure], documents[maybe][sure], places[maybe][sure]

    def save(self, file: Path) -> None:
        """Write them, for other processes."""
        with replace_file(file) as out:
            np.savez(out, grams=self.grams, owners=self.owners, sizes=self.sizes)


def load_items(file: Path) -> Items:
    """Read what `save` wrote (once, as long as the file is the same)."""
    told = file.stat()
    return _load(file, (told.st_mtime_ns, told.st_size, told.st_ino))


@functools.lru_cache(maxsize=1)
def _load(file: Path, _: tuple[int, int, int]) -> Items:
    with np.load(file, allow_pickle=False) as arrays:
        return Items(arrays["grams"], arrays["owners"], arrays["sizes"])


def collect_items(paths: tuple[Path, ...], *, n: int) -> tuple[Items, dict[str, Any]]:
    """Read evaluation files; return their items, and what identifies and describes them.

    Raises:
        DataError: a path does not exist, holds no file that can be read, or one is broken.
    """
    digest = hashlib.sha256()
    collected: list[UInt64] = [np.zeros(0, np.uint64)]
    owners: list[Int64] = [np.zeros(0, np.int64)]
    items = short = files = 0
    seen: set[bytes] = set()
    for file in _files(paths):
        files += 1
        batch: list[str] = []
        for text in (*_texts(file), None):
            if text is not None:
                content = text.encode("utf-8", "replace")
                digest.update(content + b"\0")
                own = hashlib.blake2b(content, digest_size=12).digest()
                if own not in seen:
                    seen.add(own)
                    batch.append(text)
            if batch and (text is None or len(batch) == _BATCH):
                hashes, owner = _grams_of(batch, n=n)
                present, owner = np.unique(owner, return_inverse=True)
                collected.append(hashes)
                owners.append(owner + items)
                items += len(present)
                short += len(batch) - len(present)
                batch = []
    hashes, owner = np.concatenate(collected), np.concatenate(owners)
    order = np.lexsort((owner, hashes))
    sizes = np.bincount(owner, minlength=items)
    told = {"files": files, "items": items, "too_short": short, "sha256": digest.hexdigest()}
    return Items(hashes[order], owner[order], sizes), told


def _grams_of(texts: list[str], *, n: int) -> tuple[UInt64, Int64]:
    """Different n-grams of each text: hashes and the text's number."""
    found = [(mixed(hashes), owner) for hashes, owner, _ in grams(folded(points(texts)), n)]
    if not found:
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    hashes = np.concatenate([part for part, _ in found])
    owner = np.concatenate([part for _, part in found])
    order = np.lexsort((hashes, owner))
    hashes, owner = hashes[order], owner[order]
    new = np.concatenate(([True], (hashes[1:] != hashes[:-1]) | (owner[1:] != owner[:-1])))
    return hashes[new[: len(hashes)]], owner[new[: len(owner)]]


def _files(paths: tuple[Path, ...]) -> Iterator[Path]:
    from minna.corpus.sources.files import walk

    for path in paths:
        if not path.exists():
            raise DataError(
                f"the evaluation data {path} does not exist",
                remedy="check contamination.against",
            )
        found = [path] if path.is_file() else sorted(walk(path))
        readable = [file for file in found if _kind(file) in _KNOWN]
        if not readable:
            raise DataError(
                f"{path} holds no evaluation data that can be read ({len(found)} files)",
                remedy=f"give {', '.join(_KNOWN)}, also compressed with .gz, .xz or .zst",
            )
        yield from readable


def _kind(file: Path) -> str:
    from minna.corpus.sources.streams import COMPRESSIONS

    name = file.with_suffix("") if file.suffix.lower() in COMPRESSIONS else file
    return name.suffix.lower()


def _texts(file: Path) -> Iterator[str]:
    """Every string of a file."""
    kind = _kind(file)
    if kind == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        from minna.corpus.sources.streams import broken

        try:
            for batch in pq.ParquetFile(file).iter_batches(batch_size=_BATCH):
                yield from _strings(batch.to_pylist())
        except (pa.ArrowException, OSError) as error:
            raise broken(file, error) from error
        except (ValueError, OverflowError) as error:  # broken UTF-8, times out of range
            raise _unreadable(file, error) from error
        return
    text = _whole(file)
    if kind == ".txt":
        yield from text.split("\n")
    elif kind == ".tsv":
        for line in text.split("\n"):
            yield from line.split("\t")
    elif kind == ".csv":
        largest = csv.field_size_limit(max(len(text), 1 << 17))
        try:
            for row in csv.reader(io.StringIO(text, newline="")):
                yield from row
        except csv.Error as error:
            raise _unreadable(file, error) from error
        finally:
            csv.field_size_limit(largest)
    else:
        yield from _json_strings(file, text)


def _whole(file: Path) -> str:
    from minna.corpus.sources.streams import decode_utf8, open_bytes

    with open_bytes(file) as stream:
        return decode_utf8(stream.read(), name=file)


def _json_strings(file: Path, text: str) -> Iterator[str]:
    """Strings of a JSON file, read line by line where it is one of several lines of JSON.

    Whatever its name says: JGLUE's .json files are such.
    """
    try:
        yield from _strings(json.loads(text))
    except ValueError:  # JSONDecodeError is one; so are numbers of thousands of digits
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                try:
                    yield from _strings(json.loads(line))
                except (ValueError, RecursionError) as error:
                    raise _unreadable(f"{file}, line {number}", error) from error
    except RecursionError as error:
        raise _unreadable(file, error) from error


def _unreadable(where: object, error: Exception) -> DataError:
    return DataError(
        f"{where} cannot be read as evaluation data: {error}",
        remedy="mend it, or leave the file out of contamination.against",
    )


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)


def guilty_lines(
    texts: Points, *, items: Items, n: int, overlap: float
) -> npt.NDArray[np.bool_] | None:
    """Which characters of a batch belong to n-grams of items that are found in their document.

    Returns:
        a mask over the characters [N], or None when nothing is found.
    """
    from minna.corpus.points import fold_table

    stays = np.flatnonzero(fold_table()[texts.codes] != 0)
    compared = folded(texts)
    places = items.find(compared, n=n, overlap=overlap)
    if not len(places):
        return None
    mask = np.zeros(len(texts.codes), dtype=np.bool_)
    covered = (places[:, None] + np.arange(n)).reshape(-1)
    mask[stays[covered]] = True
    return mask
