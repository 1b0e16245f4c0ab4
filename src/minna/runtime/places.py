"""Where pictures lie: a folder, a tar, a pair corpus; listed first, read when somebody needs them.

Listing is cheap (names, sizes, times), reading 10^5 pictures is not. So a place says what it holds
and how to tell that a picture is still the same (`stamp`), and hands out bytes only of those asked
for, one after the other in its own order: a tar is read from front to back, never by jumping.

What cannot be read is data too: a read gives the bytes, or the word it is counted under.
"""

from __future__ import annotations

import os
import stat
import tarfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Protocol

from minna.artifact import MANIFEST_NAME, read_manifest
from minna.artifact.files import sha256_file
from minna.corpus.pair_corpus import holds_pairs, read_pairs
from minna.corpus.pictures import MOST_BYTES, SUFFIXES
from minna.errors import ArtifactError, DataError, UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One picture of a place.

    Attributes:
        path: with /, below the place; of a pair corpus the pair's id.
        stamp: as long as it stays, so does the picture.
        title: what it is said to show, where somebody said it.
    """

    path: str
    stamp: str
    title: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """What was read of a picture: bytes, or the problem that there are none."""

    path: str
    data: bytes = b""
    problem: str = ""


class Place(Protocol):
    """Somewhere pictures lie. `name` is for people, `key` is its own on this machine."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def key(self) -> str:
        """Its own on this machine, the same tomorrow."""
        ...

    def entries(self) -> Iterator[Entry]:
        """Return what there is, each path once."""
        ...

    def read(self, paths: Collection[str]) -> Iterator[Content]:
        """Return those of the paths that are there, each once, in the order of the place."""
        ...

    def locate(self, path: str) -> Path | None:
        """Return the file of a picture that a browser can open, None where it has none."""
        ...


def open_place(path: Path) -> Place:
    """Open a folder, a tar archive or a pair corpus.

    Raises:
        UsageError: there is nothing, or neither of them.
        ArtifactError: a corpus that holds no pairs.
    """
    if path.is_dir():
        if (path / MANIFEST_NAME).is_file() and read_manifest(path).kind == "corpus":
            return Corpus(path)
        return Folder(path)
    if path.is_file() and tarfile.is_tarfile(path):
        return Tar(path)
    if path.exists():
        raise UsageError(
            f"{path} is neither a folder nor a tar archive", remedy="give the folder it lies in"
        )
    raise UsageError(f"{path} does not exist", remedy="check the path")


class Folder:
    """A folder with whatever is below it; hidden names and linked folders are left alone."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self.name = str(path)
        self.key = self.path.as_posix()
        self._odd: dict[str, str] = {}  # names that are no UTF-8, by how they are shown

    def entries(self) -> Iterator[Entry]:
        """Return every file with a picture's ending, by name; memory is that of one folder."""
        waiting = [""]
        while waiting:
            below = waiting.pop()
            try:
                with os.scandir(self.path / below) as found:
                    names = sorted(found, key=lambda one: one.name)
            except OSError as error:
                raise DataError(
                    f"the folder {self.path / below} cannot be read: {error}",
                    remedy="check its rights",
                ) from error
            folders: list[str] = []
            for one in names:
                if one.name.startswith("."):
                    continue
                path = f"{below}/{one.name}" if below else one.name
                if one.is_dir(follow_symlinks=False):
                    folders.append(path)
                elif is_picture_name(one.name) and (stamp := _stamp(one)):
                    yield Entry(path=self._shown(path), stamp=stamp)
            waiting += reversed(folders)

    def read(self, paths: Collection[str]) -> Iterator[Content]:
        """Return the files' bytes, in the order asked for."""
        for path in paths:
            yield read_file(self.locate(path), path=path)

    def locate(self, path: str) -> Path:
        """Return the file itself."""
        return self.path / self._odd.get(path, path)

    def _shown(self, path: str) -> str:
        """The path as text: what is no UTF-8 could stand in no index and on no page."""
        shown = path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
        if shown != path:
            self._odd[shown] = path
        return shown


class Tar:
    """A tar archive, also a compressed one; nothing is ever unpacked to disk."""

    def __init__(self, path: Path) -> None:
        self.path = Path(os.path.abspath(path))
        self.name = str(path)
        self.key = self.path.as_posix()

    def entries(self) -> Iterator[Entry]:
        """Return its members with a picture's ending; of a name that stands twice the first."""
        for member, _ in self._members():
            yield Entry(path=member.name, stamp=f"{member.size}-{int(member.mtime)}")

    def read(self, paths: Collection[str]) -> Iterator[Content]:
        """Return the members' bytes, from front to back."""
        wanted = set(paths)
        for member, archive in self._members():
            if member.name not in wanted:
                continue
            if member.size > MOST_BYTES:
                yield Content(path=member.name, problem="too_large")
                continue
            file = archive.extractfile(member)
            assert file is not None, "only regular members are listed"
            yield Content(path=member.name, data=file.read())

    def locate(self, path: str) -> Path | None:
        """Return None: a member is no file."""
        del path
        return None

    def _members(self) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
        seen: set[str] = set()
        try:
            with tarfile.open(self.path, "r|*") as archive:
                for member in archive:
                    if member.isreg() and is_picture_name(member.name) and member.name not in seen:
                        seen.add(member.name)
                        yield member, archive
        except (tarfile.TarError, EOFError, zlib.error, LZMAError, OSError) as error:
            raise DataError(
                f"the archive {self.path} is damaged after {len(seen)} pictures: {error}",
                remedy="fetch it again",
            ) from error


class Corpus:
    """A pair corpus; its pictures are called by their ids."""

    def __init__(self, path: Path) -> None:
        if not holds_pairs(path):
            raise ArtifactError(
                f"{path} is a corpus without pictures", remedy="give a pair corpus, or a folder"
            )
        self.path = Path(os.path.abspath(path))
        self.name = str(path)
        self.key = self.path.as_posix()

    def entries(self) -> Iterator[Entry]:
        """Return the pairs of every split; the corpus's manifest is their stamp."""
        stamp = sha256_file(self.path / MANIFEST_NAME)
        for pair in read_pairs(self.path, split="all", pictures="left"):
            title = pair.captions[0].text if pair.captions else ""
            yield Entry(path=pair.id, stamp=stamp, title=title)

    def read(self, paths: Collection[str]) -> Iterator[Content]:
        """Return the pairs' pictures, in the order of the corpus."""
        wanted = set(paths)
        if not wanted:
            return
        for pair in read_pairs(self.path, split="all"):
            if pair.id in wanted:
                yield Content(path=pair.id, data=pair.image)

    def locate(self, path: str) -> Path | None:
        """Return None: a row is no file."""
        del path
        return None


def is_picture_name(name: str) -> bool:
    """Whether a name ends as pictures' names do."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def read_file(file: Path, *, path: str) -> Content:
    """Read a picture's file, or say why that cannot be."""
    try:
        facts = file.stat()
        if not stat.S_ISREG(facts.st_mode):
            return Content(path=path, problem="not_a_picture")
        if facts.st_size > MOST_BYTES:
            return Content(path=path, problem="too_large")
        return Content(path=path, data=file.read_bytes())
    except OSError:
        return Content(path=path, problem="unreadable")


def find_files(places: Sequence[str]) -> list[Path]:
    """Pictures by path, folder (all below it) or pattern, each once, in the order given.

    Raises:
        UsageError: a place where there is none.
    """
    import glob

    found: dict[Path, None] = {}
    for place in places:
        path = Path(place)
        if path.is_dir():
            folder = Folder(path)
            here = [path / entry.path for entry in folder.entries()]
        elif path.exists():
            here = [path]  # whatever it is called: the user means it
        else:
            matched = sorted(glob.glob(place, recursive=True))  # noqa: PTH207 - from any folder
            here = [Path(one) for one in matched if is_picture_name(one) and Path(one).is_file()]
        if not here:
            raise UsageError(
                f"there is no picture at {place}",
                remedy=f"give files, folders or a pattern of files that end in "
                f"{', '.join(SUFFIXES)}",
            )
        found |= dict.fromkeys(here)
    return list(found)


def _stamp(one: os.DirEntry[str]) -> str:
    """Size and time of a file; "" where it is no regular file or vanished meanwhile."""
    try:
        facts = one.stat()
    except OSError:
        return ""
    return f"{facts.st_size}-{facts.st_mtime_ns}" if stat.S_ISREG(facts.st_mode) else ""
