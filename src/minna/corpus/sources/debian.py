"""Manuals and documents out of Debian packages: 30 MB of Japanese technical prose for a few `.deb`.

`apt-get download PACKAGE...` fetches them, and nothing is installed: a .deb is an `ar` archive with
a tar inside, which is streamed. Read are manual pages, usr/share/doc and the help of programs;
never programs, change logs or anything below /usr/lib. The licence of a document is what its
package's copyright file names.
"""

from __future__ import annotations

import contextlib
import functools
import gzip
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, Final, NamedTuple, cast

from minna.artifact import Licence
from minna.corpus.sources.ar import Member, ar_members
from minna.corpus.sources.debian_text import Kind, kind_of, language_of, plain_text
from minna.corpus.sources.files import matching, visible_files
from minna.corpus.sources.rows import unusable
from minna.corpus.sources.source import RawDocument, Shard, content_id
from minna.corpus.sources.streams import LARGEST, UNREADABLE, broken, describe_files
from minna.corpus.sources.tars import tar_files
from minna.corpus.sources.xz import open_xz
from minna.errors import DataError

_READER: Final = 2
"""Part of the identity: raise it when `debian_text` strips differently."""

TarFiles = Iterator[tuple[tarfile.TarInfo, IO[bytes]]]

_LARGEST_COPYRIGHT: Final = 4_000_000  # bytes; Chromium's has 1.5 million
_LICENCE = re.compile(r"^License:[ \t]*(\S[^\n]*)", re.MULTILINE | re.IGNORECASE)
_FILES = re.compile(r"^Files:[ \t]*(.*)", re.MULTILINE | re.IGNORECASE)
_MACHINE_READABLE = re.compile(r"^Format(?:-Specification)?:", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """What a .deb says about itself; `licence` holds the short names of its copyright file."""

    name: str
    version: str
    licence: str


class Page(NamedTuple):
    """A file of a package on its way to a worker, still compressed where it is."""

    path: str
    content: bytes
    too_large: str = ""


class Debian:
    """The documents of .deb files, in the order of the files' names.

    Args:
        path: a .deb, or a folder of them.
        files: only those of the folder whose names match.
    """

    name = "debian"

    def __init__(self, path: Path, *, files: str = "") -> None:
        if not path.exists():
            raise DataError(f"{path} does not exist", remedy="check the path after --from")
        found = [(path.name, path)] if path.is_file() else visible_files(path)
        named = [(name, file) for name, file in found if name.endswith(".deb")]
        if not named:
            raise DataError(
                f"{path} holds no .deb file ({len(found)} others)",
                remedy="fetch some into it: apt-get download manpages-ja",
            )
        self._files = matching(named, pattern=files, where=str(path)) if files else named

    @functools.cached_property
    def _packages(self) -> list[Package]:
        return [_package(file) for _, file in self._files]

    @property
    def licences(self) -> Sequence[Licence]:
        """One for each package: credit belongs to those its copyright file names."""
        return tuple(
            Licence(
                source=f"debian: {package.name} {package.version}",
                licence=package.licence,
                attribution=f"the authors named in usr/share/doc/{package.name}/copyright",
                url=f"https://packages.debian.org/{package.name}",
            )
            for package in self._packages
        )

    def identity(self) -> dict[str, Any]:
        """Hash over the names and contents of the packages."""
        return describe_files(self._files) | {"reader": _READER}

    def shards(self) -> Sequence[Shard]:
        """One package is one shard."""
        return [
            Shard(
                name=name,
                read=functools.partial(_pages, file),
                parse=functools.partial(_parse, package=package),
            )
            for (name, file), package in zip(self._files, self._packages, strict=True)
        ]


# ---- reading


@contextlib.contextmanager
def _archive(file: Path, *, part: str) -> Generator[TarFiles]:
    """The files of a tar inside a .deb: `control` (what the package is) or `data`, as a stream."""
    with file.open("rb") as stream:
        try:
            for member in ar_members(stream, file=file):
                if member.name.startswith(f"{part}.tar"):
                    yield tar_files(_unpacked(member, file=file))
                    return
        except UNREADABLE as error:
            raise broken(file, error, after=stream.tell()) from error
    raise DataError(
        f"{file} is no Debian package: it holds no {part}.tar",
        remedy="fetch it again with apt-get download",
    )


def _unpacked(member: Member, *, file: Path) -> BinaryIO:
    suffix = member.name.rpartition(".")[2]
    if suffix == "xz":
        return open_xz(member.stream)
    if suffix == "gz":
        return cast("BinaryIO", gzip.open(member.stream))
    if suffix == "zst":
        import pyarrow as pa

        return cast("BinaryIO", pa.CompressedInputStream(cast("io.IOBase", member.stream), "zstd"))
    if suffix == "tar":
        return member.stream
    raise DataError(
        f"{file}: {member.name} is packed in a way that is not known",
        remedy="known are .tar, .tar.gz, .tar.xz and .tar.zst",
    )


def _package(file: Path) -> Package:
    """Name and version from the control file, the licence from the copyright file."""
    with _archive(file, part="control") as archive:
        control = _member_text(archive, name="control") or ""
    fields = dict(re.findall(r"^(Package|Version):[ \t]*(\S+)", control, re.MULTILINE))
    if len(fields) < 2:  # noqa: PLR2004 - both of them
        raise DataError(
            f"{file} is no Debian package: its control file names no package and version",
            remedy="fetch it again with apt-get download",
        )
    name = fields["Package"]
    with _archive(file, part="data") as archive:
        copyright_ = _member_text(archive, name=f"usr/share/doc/{name}/copyright")
    return Package(
        name=name,
        version=fields["Version"],
        licence=short_names(copyright_ or "") or f"see {name} copyright",
    )


def _member_text(archive: TarFiles, *, name: str) -> str | None:
    for member, stream in archive:
        if member.name.removeprefix("./") == name:
            return stream.read(_LARGEST_COPYRIGHT).decode("utf-8", "replace")
    return None


def short_names(copyright_: str) -> str:
    """The licences a machine-readable copyright file (DEP-5) names for the package's own files.

    Those of the packaging (Files: debian/*) are left out where others are named: documents come
    from upstream. "" for a file in free words.
    """
    if _MACHINE_READABLE.search(copyright_) is None:
        return ""
    upstream: dict[str, None] = {}
    packaging: dict[str, None] = {}
    for paragraph in re.split(r"\n[ \t]*\n", copyright_.replace("\r\n", "\n")):
        licence, files = _LICENCE.search(paragraph), _FILES.search(paragraph)
        if licence is not None and files is not None:
            own = all(name.startswith("debian/") for name in files.group(1).split())
            (packaging if files.group(1) and own else upstream)[licence.group(1).strip()] = None
    return ", ".join(upstream or packaging)


def _pages(file: Path) -> Iterator[Page]:
    """The files of a package that hold prose. Links are left out: what they mean is read anyway."""
    with _archive(file, part="data") as archive:
        for member, stream in archive:
            path = member.name.removeprefix("./")
            if kind_of(path) is None:
                continue
            if member.size <= LARGEST:
                yield Page(path, stream.read())
                continue
            digest = hashlib.sha256()
            while block := stream.read(1 << 20):
                digest.update(block)
            yield Page(path, b"", digest.hexdigest()[:16])


# ---- parsing


def _parse(page: Page, *, package: Package) -> RawDocument:
    where = f"{package.name}: {page.path}"
    if page.too_large:
        return unusable(page.too_large, problem="too_large", where=where)
    identity = content_id(page.content)
    try:
        content = _gunzip(page.content) if page.path.endswith(".gz") else page.content
        if len(content) > LARGEST:
            return unusable(identity, problem="too_large", where=where)
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return unusable(identity, problem="undecodable", where=where)
    except (EOFError, OSError, zlib.error):
        return unusable(identity, problem="malformed", where=where)
    kind = kind_of(page.path)
    assert kind is not None  # such a file is not read
    return _document(text, kind=kind, identity=identity, path=page.path, package=package)


def _gunzip(content: bytes) -> bytes:
    """At most a byte more than the largest document: a bomb goes off no further."""
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as stream:
        return stream.read(LARGEST + 1)


def _document(text: str, *, kind: Kind, identity: str, path: str, package: Package) -> RawDocument:
    return RawDocument(
        id=identity,
        group=identity,
        text=plain_text(text, kind=kind),
        language=language_of(path, text=text, kind=kind),
        licence=package.licence,
        meta={"package": package.name, "version": package.version, "path": path},
    )
