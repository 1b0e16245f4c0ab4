"""Aozora Bunko: works out of copyright, from an archive (tar, tar.xz, tar.gz, zip) or a folder.

One work is one document. Its group is author and title, because many works lie there twice, in old
and in new spelling: near-duplicates that must not end up on both sides of a split.
"""

from __future__ import annotations

import functools
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from minna.artifact import Licence
from minna.corpus.sources.aozora_text import parse
from minna.corpus.sources.source import RawDocument, Shard, content_id
from minna.corpus.sources.streams import UNREADABLE, broken, describe_files, refuse_binary
from minna.errors import DataError

_READER: Final = 1
"""Part of the identity: raise it when `aozora_text` cleans differently."""

_ARCHIVES = (".tar", ".xz", ".gz", ".zip")
_LARGEST_WORK = 64_000_000  # bytes; the largest real one has 3.4 million


class Aozora:
    """The works below `path`, in the order of the archive (a folder: of the names)."""

    name = "aozora"
    licences: Sequence[Licence] = (
        Licence(
            source="aozora",
            licence="public domain in Japan (works out of copyright)",
            attribution="Aozora Bunko (青空文庫) and the volunteers who typed and proofread",
            url="https://www.aozora.gr.jp/guide/kijyunn.html",
        ),
    )

    def __init__(self, path: Path) -> None:
        if not path.exists():
            raise DataError(f"{path} does not exist", remedy="check the path after --from")
        if path.is_dir():
            found = [file for file in path.rglob("*") if file.suffix.lower() in {".txt", ".zip"}]
            self._files = sorted((file.relative_to(path).as_posix(), file) for file in found)
        else:
            self._files = [(path.name, path)]
        if not self._files:
            raise DataError(
                f"{path} holds no .txt and no .zip", remedy="give a folder of Aozora Bunko works"
            )

    def identity(self) -> dict[str, Any]:
        """Hash over names and contents of the files."""
        return describe_files(self._files) | {"reader": _READER}

    def shards(self) -> Sequence[Shard]:
        """One file (an archive, or a work of a folder) is one shard."""
        return [Shard(name=name, read=functools.partial(_read, file)) for name, file in self._files]


def _read(file: Path) -> Iterator[RawDocument]:
    for name, content in _contents(file):
        work = parse(decode(content, name=name))
        yield RawDocument(
            id=content_id(content),
            group=f"aozora-{content_id(f'{work.author}/{work.title}'.encode())}",
            text=work.text,
        )


def _contents(file: Path) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each work in a file; nothing is unpacked to disk."""
    suffix = file.suffix.lower()
    try:
        if suffix == ".zip":
            yield from _zip(file)
        elif suffix in _ARCHIVES:
            yield from _tar(file)
        else:
            yield str(file), file.read_bytes()
    except UNREADABLE as error:
        raise broken(file, error) from error


def _tar(file: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(file, "r|*") as archive:
        for member in archive:
            if member.isfile() and member.name.lower().endswith(".txt"):
                _refuse_bomb(f"{file}: {member.name}", member.size)
                stream = archive.extractfile(member)
                assert stream is not None  # isfile() says so
                yield f"{file}: {member.name}", stream.read()


def _zip(file: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if member.filename.lower().endswith(".txt"):
                _refuse_bomb(f"{file}: {member.filename}", member.file_size)
                yield f"{file}: {member.filename}", archive.read(member)


def _refuse_bomb(name: str, size: int) -> None:
    if size > _LARGEST_WORK:
        raise DataError(
            f"{name} unpacks to {size} bytes, more than {_LARGEST_WORK}",
            remedy="this is not a work of Aozora Bunko; take it out of the archive",
        )


def decode(content: bytes, *, name: str) -> str:
    """Decode a work: UTF-8 where it is that, else Shift_JIS (Microsoft's, then JIS X 0213's).

    Raises:
        DataError: binary content, or broken in all of these.
    """
    refuse_binary(content, name=name)
    place = 0
    for encoding in ("utf-8-sig", "cp932", "shift_jis_2004"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError as error:
            if encoding == "cp932":
                place = error.start
    raise DataError(
        f"{name} is neither Shift_JIS nor UTF-8: byte {content[place]:#04x} at offset {place}",
        remedy="fetch the file again, or take it out of the archive",
    )
