"""Aozora Bunko: works out of copyright, from an archive (tar, tar.xz, tar.gz, zip) or a folder.

One work is one document. Its group is author and title in one spelling, because 150 works lie there
twice, in old and in new spelling or in volumes: near-duplicates that must not end up on both sides
of a split. Unpacking (one process) takes 3 to 4 s for all 6,110 works, decoding, cleaning and
telling the spelling 8 s that are shared out. One bad work is one counted drop; a truncated archive
is an error, since nobody knows what it lacks.
"""

from __future__ import annotations

import functools
import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from minna.artifact import Licence
from minna.corpus.sources.aozora_header import meta
from minna.corpus.sources.aozora_spelling import ORTHOGRAPHIES, orthography, same_work_key
from minna.corpus.sources.aozora_text import Work, parse
from minna.corpus.sources.files import walk
from minna.corpus.sources.source import RawDocument, Shard, content_id
from minna.corpus.sources.streams import (
    UNREADABLE,
    broken,
    describe_files,
    open_bytes,
    refuse_binary,
)
from minna.corpus.sources.tars import tar_files
from minna.errors import DataError, UsageError, nearest

_READER: Final = 3
"""Part of the identity: raise it when the files `aozora_*.py` clean or tell differently."""

_TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz")
_KNOWN = (".txt", ".zip", *_TARS)
_LARGEST_WORK = 64_000_000  # bytes; the largest real one has 3.4 million
_PLACE = re.compile(r"(?:^|/)([0-9]{6})/files/([0-9]+)_")
_PRIVATE = re.compile("[\ue000-\uf8ff]")


class Member(NamedTuple):
    """One file of an archive: its name, and its bytes (None if it is too large)."""

    name: str
    content: bytes | None


class Aozora:
    """The works below `path`, in the order of the archive (a folder: of the names).

    Args:
        path: an archive or a folder.
        orthography: keep only works in these spellings, such as 新字新仮名; none named keeps all.
    """

    name = "aozora"
    licences: Sequence[Licence] = (
        Licence(
            source="aozora",
            licence="public domain in Japan (works out of copyright)",
            attribution="Aozora Bunko (青空文庫) and the volunteers who typed and proofread",
            url="https://www.aozora.gr.jp/guide/kijyunn.html",
        ),
    )

    def __init__(self, path: Path, *, orthography: Sequence[str] = ()) -> None:
        for label in orthography:
            if label not in ORTHOGRAPHIES:
                raise UsageError(
                    f"{label!r} is not a spelling of Aozora Bunko" + nearest(label, ORTHOGRAPHIES),
                    remedy=f"use some of {', '.join(ORTHOGRAPHIES)}",
                )
        self._orthography = tuple(sorted(set(orthography)))
        self._files = _find(path)

    def identity(self) -> dict[str, Any]:
        """Hash over names and contents of the files, and what the reader was told."""
        return describe_files(self._files) | {
            "reader": _READER,
            "orthography": list(self._orthography),
        }

    def shards(self) -> Sequence[Shard]:
        """One file (an archive, or a work of a folder) is one shard."""
        parse_member = functools.partial(read_member, orthographies=self._orthography)
        return [
            Shard(name=name, read=functools.partial(_members, name, file), parse=parse_member)
            for name, file in self._files
        ]


def _find(path: Path) -> list[tuple[str, Path]]:
    if not path.exists():
        raise DataError(f"{path} does not exist", remedy="check the path after --from")
    if not path.is_dir():
        if not (path.is_file() and path.name.lower().endswith(_KNOWN)):
            raise UsageError(
                f"{path} is no archive and no work of Aozora Bunko",
                remedy=f"give a folder, or a file that ends in {', '.join(_KNOWN)}",
            )
        return [(path.name, path)]
    found = [file for file in walk(path) if file.suffix.lower() in {".txt", ".zip"}]
    if not found:
        raise DataError(
            f"{path} holds no .txt and no .zip", remedy="give a folder of Aozora Bunko works"
        )
    return [(file.relative_to(path).as_posix(), file) for file in found]


def read_member(member: Member, *, orthographies: Sequence[str] = ()) -> RawDocument:
    """Decode and clean one work; what cannot be used is a document with a `problem`."""
    name, content = member
    if content is None:
        return _unusable(name, problem="too_large")
    try:
        raw = decode(content, name=name)
    except DataError:
        return _unusable(name, problem="undecodable")
    work = parse(raw)
    spelling = orthography(work.text)
    unwanted = bool(orthographies) and spelling not in orthographies
    return RawDocument(
        id=content_id(content),
        group=_group(work),
        text=name if unwanted else work.text,
        language="ja",
        licence=work.licence,
        meta=_meta(work, name=name) | {"orthography": spelling},
        readings=() if unwanted else work.readings,
        problem="orthography" if unwanted else "",
    )


def _unusable(name: str, *, problem: str) -> RawDocument:
    identity = content_id(name.encode("utf-8", "surrogatepass"))
    return RawDocument(id=identity, group=identity, text=name, problem=problem)


def _group(work: Work) -> str:
    author = work.author or work.header.translator
    key = f"{same_work_key(author)}/{same_work_key(work.title)}"
    return f"aozora-{content_id(key.encode())}"


def _meta(work: Work, *, name: str) -> dict[str, str]:
    told = meta(work.header) | meta(work.colophon)
    if place := _PLACE.search(name):
        person, number = place.groups()
        told |= {
            "person": person,
            "work": number,
            "url": f"https://www.aozora.gr.jp/cards/{person}/card{number}.html",
        }
    return told


def _members(name: str, file: Path) -> Iterator[Member]:
    """The works in a file; nothing is unpacked to disk."""
    suffix = file.suffix.lower()
    try:
        if suffix == ".zip":
            yield from _zip(name, file)
        elif file.name.lower().endswith(_TARS):
            yield from _tar(file)
        elif file.stat().st_size > _LARGEST_WORK:
            yield Member(name, None)
        else:
            yield Member(name, file.read_bytes())
    except UNREADABLE as error:
        raise broken(file, error) from error


def _tar(file: Path) -> Iterator[Member]:
    with open_bytes(file) as stream:
        for member, content in tar_files(stream):
            if member.name.lower().endswith(".txt"):
                is_too_large = member.size > _LARGEST_WORK
                yield Member(member.name, None if is_too_large else content.read())


def _zip(name: str, file: Path) -> Iterator[Member]:
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            if not member.filename.lower().endswith(".txt"):
                continue
            if member.file_size > _LARGEST_WORK:
                yield Member(f"{name}/{member.filename}", None)
                continue
            try:
                yield Member(f"{name}/{member.filename}", archive.read(member))
            except (RuntimeError, NotImplementedError) as error:  # encrypted, unknown packing
                raise broken(file, error) from error


def decode(content: bytes, *, name: str) -> str:
    """Decode a work: UTF-8 where it is that, else Shift_JIS (Microsoft's, then JIS X 0213's).

    Microsoft's table has private characters where JIS X 0213 has rare kanji: where a text has some,
    the other table is right if it knows them all.

    Raises:
        DataError: binary content, or broken in all of these.
    """
    refuse_binary(content, name=name)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        pass
    try:
        text = content.decode("cp932")
    except UnicodeDecodeError as error:
        if (other := _shift_jis_2004(content)) is not None:
            return other
        raise DataError(
            f"{name} is neither Shift_JIS nor UTF-8: byte {content[error.start]:#04x} at offset "
            f"{error.start}",
            remedy="fetch the file again, or take it out of the archive",
        ) from error
    if _PRIVATE.search(text):
        return _shift_jis_2004(content) or text
    return text


def _shift_jis_2004(content: bytes) -> str | None:
    try:
        return content.decode("shift_jis_2004")
    except UnicodeDecodeError:
        return None
