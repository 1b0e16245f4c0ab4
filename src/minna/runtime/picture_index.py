"""Vectors of many pictures on disk: computed once, kept as long as the pictures stay what they are.

On two cores a tower sees 20 pictures a second, so a folder of 10^5 takes an hour and a half and a
question about it must not. The index is a folder: `vectors-NNNNN.npy`, `files-NNNNN.parquet` (path,
stamp, sha256, title, problem, row) and `index.json` (whose vectors of what). A search maps the
vectors into memory and reads the names.

It is brought up to date before every use. A file of the same size and time is taken as it was; one
that only moved or was touched is known by its sha256; what is gone is gone. New vectors are written
2,048 at a time, each part whole or not at all, so a kill costs a minute and the same command goes
on; a later part overrules an earlier one, and at the end all are made one. Pictures that could not
be opened stay on the list with their problem, so that they are told once and not tried again.

Names: N pictures, D width.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock, Timeout
from numpy.typing import NDArray

from minna.artifact import replace_file
from minna.artifact.cache import cache_directory
from minna.artifact.files import write_text_atomically
from minna.artifact.manifest import canonical
from minna.console import progress
from minna.errors import ArtifactError, DataError
from minna.runtime.picture_batches import refuse_all_bad, seen, tell_bad
from minna.runtime.places import Content, Entry, Place

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

Kind = Literal["float16", "float32"]
Vectors = NDArray[np.floating[Any]]

_FORMAT: Final = 1
_HEAD: Final = "index.json"
_PART: Final = 512
_PATIENCE: Final = 60  # seconds
_COPIED: Final = 65_536
_SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("path", "stamp", "sha256", "title", "problem")),
        ("row", pa.int64()),
    ]
)
_AGAIN: Final = "remove that folder: it is made again"


class Row(NamedTuple):
    """A picture of an index: its `Entry`, its content, and where its vector lies (-1: none)."""

    path: str
    stamp: str
    sha256: str
    title: str
    problem: str
    row: int


@dataclass(frozen=True, kw_only=True)
class PictureIndex:
    """An index in use.

    Attributes:
        folder: where it lies.
        rows: its good pictures, in the order of their vectors.
        vectors: [N, D] normalised, mapped.
        bad: path -> problem of the others.
        added, removed: pictures that this update computed, and that it took out.
        new_bad: those of `bad` that this update found.
    """

    folder: Path
    rows: Sequence[Row]
    vectors: Vectors
    bad: Mapping[str, str]
    added: int
    removed: int
    new_bad: Mapping[str, str]

    def places(self) -> dict[str, int]:
        """Path -> number of its vector."""
        return {row.path: number for number, row in enumerate(self.rows)}


def default_folder(place: Place, towers: TwoTowers, *, kind: Kind) -> Path:
    """Where the index of a place under a model lies unless somebody says otherwise."""
    key = hashlib.sha256(canonical([place.key, towers.digest, kind]).encode()).hexdigest()
    return cache_directory() / "pictures" / key[:24]


def update_index(
    place: Place,
    towers: TwoTowers,
    *,
    folder: Path | None = None,
    kind: Kind = "float16",
    wanted: Collection[str] | None = None,
) -> PictureIndex:
    """Bring the index of a place up to date, and open it.

    Args:
        place: where the pictures lie.
        towers: the model whose vectors they get.
        folder: of the index; None is `default_folder`.
        kind: float16 for a search (half the size), float32 for figures.
        wanted: paths that must be in it; None is all there are. Others stay if they are in already.

    Raises:
        DataError: no picture there, or none that opens.
        ArtifactError: the folder holds something else or is damaged, another process updates it,
            or the disk is full.
    """
    folder = default_folder(place, towers, kind=kind) if folder is None else folder
    listed = {entry.path: entry for entry in place.entries()}
    if not listed:
        raise DataError(
            f"there is no picture in {place.name}", remedy="give the folder they lie in"
        )
    _refuse_foreign(folder)
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=_PATIENCE)  # who only reads is done long before
    except Timeout as error:
        raise ArtifactError(
            f"another process has been updating {folder} for {_PATIENCE} s",
            remedy="wait for it to end",
        ) from error
    try:
        _check_head(folder, place, towers, kind)
        store = _Store(folder, width=towers.width, kind=kind)
        return _updated(store, place, towers, listed, wanted)
    finally:
        lock.release()


def _updated(
    store: _Store,
    place: Place,
    towers: TwoTowers,
    listed: Mapping[str, Entry],
    wanted: Collection[str] | None,
) -> PictureIndex:
    known = {path: row for path, row in store.rows.items() if path in listed}
    removed = len(store.rows) - len(known)
    fresh = [
        path
        for path, entry in listed.items()
        if (wanted is None or path in wanted)
        and (path not in known or known[path].stamp != entry.stamp)
    ]
    new_bad: dict[str, str] = {}
    added = _compute(store, place, towers, [listed[path] for path in fresh], bad=new_bad)
    tell_bad(new_bad, among=len(fresh))
    live = {path: row for path, row in store.rows.items() if path in listed}
    store.make_one(live)
    bad = {row.path: row.problem for row in store.rows.values() if row.problem}
    rows = sorted((row for row in store.rows.values() if not row.problem), key=lambda r: r.row)
    if not rows:
        refuse_all_bad(bad, where=place.name)
    return PictureIndex(
        folder=store.folder,
        rows=rows,
        vectors=store.vectors(),
        bad=bad,
        added=added,
        removed=removed,
        new_bad=new_bad,
    )


def _compute(
    store: _Store,
    place: Place,
    towers: TwoTowers,
    fresh: Sequence[Entry],
    *,
    bad: dict[str, str],
) -> int:
    """Put new and changed pictures into the store; return how many had to be looked at."""
    entries = {entry.path: entry for entry in fresh}
    digests: dict[str, str] = {}
    looked = 0
    with progress() as bar:
        task = bar.add_task("pictures", total=len(fresh), note="")

        def unknown() -> Iterator[Content]:
            for content in place.read(list(entries)):
                bar.advance(task)
                digest = hashlib.sha256(content.data).hexdigest() if content.data else ""
                known = store.by_content.get(digest)
                if known is not None:
                    store.copy(entries[content.path], known)
                    continue
                digests[content.path] = digest
                yield content

        for batch, vectors in seen(towers, unknown(), bad=bad):
            looked += len(batch)
            for content, vector in zip(batch, vectors, strict=True):
                store.add(entries[content.path], digests.pop(content.path), vector)
    for path, problem in bad.items():
        store.add_bad(entries[path], digests.get(path, ""), problem)
    store.flush()
    return looked


@dataclass
class _Store:
    """The files of an index: what they hold, and what is about to be written."""

    folder: Path
    width: int
    kind: Kind
    rows: dict[str, Row] = field(default_factory=dict[str, Row])
    by_content: dict[str, tuple[int, Row]] = field(default_factory=dict[str, tuple[int, Row]])
    _parts: dict[int, Vectors] = field(default_factory=dict[int, Vectors])
    _homes: dict[str, int] = field(default_factory=dict[str, int])
    _waiting: list[Row] = field(default_factory=list[Row])
    _vectors: list[Vectors] = field(default_factory=list[Vectors])

    def __post_init__(self) -> None:
        """Read the parts, the later over the earlier."""
        for cut in self.folder.glob(".*.tmp"):  # what a kill inside replace_file left
            cut.unlink()
        for file in sorted(self.folder.glob("files-*.parquet")):
            number = int(file.stem.removeprefix("files-"))
            self._take(number, _read_rows(file), self._map(number))

    def add(self, entry: Entry, digest: str, vector: Vectors) -> None:
        """Put a picture on the list; it is written with the next part."""
        self._vectors.append(vector.astype(self.kind))
        row = len(self._vectors) - 1
        self._waiting.append(Row(entry.path, entry.stamp, digest, entry.title, "", row))
        if len(self._waiting) >= _PART:
            self.flush()

    def add_bad(self, entry: Entry, digest: str, problem: str) -> None:
        """Put a file that is no picture on the list; one that was not even read is tried again."""
        stamp = entry.stamp if digest or problem == "too_large" else ""
        self._waiting.append(Row(entry.path, stamp, digest, entry.title, problem, -1))

    def copy(self, entry: Entry, known: tuple[int, Row]) -> None:
        """Put a picture on the list whose content is there under another name or time."""
        part, row = known
        if row.problem:
            self.add_bad(entry, row.sha256, row.problem)
        else:
            self.add(entry, row.sha256, np.asarray(self._parts[part][row.row]))

    def flush(self) -> None:
        """Write what waits as a part: vectors first, for the names make it one."""
        if not self._waiting:
            return
        number = max(self._parts, default=-1) + 1
        vectors = np.stack(self._vectors) if self._vectors else self._none()
        buffer = io.BytesIO()
        np.save(buffer, vectors, allow_pickle=False)
        with replace_file(self._file("vectors", number)) as file:
            file.write(buffer.getbuffer())
        self._write_rows(number, self._waiting)
        self._take(number, self._waiting, self._map(number))
        self._waiting, self._vectors = [], []

    def make_one(self, live: Mapping[str, Row]) -> None:
        """Write the live rows as one part, by path, and remove the others."""
        if len(self._parts) == 1 and len(live) == len(self.rows) == self._listed():
            return
        number = max(self._parts, default=-1) + 1
        order = sorted(live)
        good = [path for path in order if not live[path].problem]
        places = {path: place for place, path in enumerate(good)}
        with replace_file(self._file("vectors", number)) as file:
            _write_header(file, (len(good), self.width), self.kind)
            for start in range(0, len(good), _COPIED):
                some = good[start : start + _COPIED]
                block = [self._parts[self._homes[path]][live[path].row] for path in some]
                file.write(np.stack(block).tobytes())
        rows = [live[path]._replace(row=places.get(path, -1)) for path in order]
        self._write_rows(number, rows)
        old = [part for part in self._parts if part != number]
        self.rows, self.by_content, self._homes, self._parts = {}, {}, {}, {}
        self._take(number, rows, self._map(number))
        for part in old:
            for name in ("files", "vectors"):  # a later part overrules one that stays
                with contextlib.suppress(OSError):
                    self._file(name, part).unlink()

    def vectors(self) -> Vectors:
        """The vectors of the only part."""
        (found,) = self._parts.values()
        return found

    def _listed(self) -> int:
        """Rows that the files name; more than there are paths where one overrules another."""
        return sum(pq.read_metadata(self._file("files", n)).num_rows for n in self._parts)

    def _take(self, number: int, rows: Sequence[Row], vectors: Vectors) -> None:
        self._parts[number] = vectors
        for row in rows:
            if row.row >= len(vectors):
                raise ArtifactError(
                    f"the index {self.folder} names more vectors than it has", remedy=_AGAIN
                )
            self.rows[row.path] = row
            self._homes[row.path] = number
            if row.sha256:
                self.by_content[row.sha256] = (number, row)

    def _map(self, number: int) -> Vectors:
        file = self._file("vectors", number)
        try:
            found: Vectors = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ArtifactError(f"{file} cannot be read: {error}", remedy=_AGAIN) from error
        if found.ndim != 2 or found.shape[1] != self.width or found.dtype != self.kind:  # noqa: PLR2004
            raise ArtifactError(
                f"{file} holds {found.dtype} {found.shape}, and {self.kind} (N, {self.width}) "
                "belongs there",
                remedy=_AGAIN,
            )
        return found

    def _none(self) -> Vectors:
        return np.empty((0, self.width), dtype=self.kind)

    def _file(self, name: str, number: int) -> Path:
        return self.folder / f"{name}-{number:05d}.{'parquet' if name == 'files' else 'npy'}"

    def _write_rows(self, number: int, rows: Sequence[Row]) -> None:
        columns: list[Sequence[Any]] = list(zip(*rows, strict=True)) or [()] * len(_SCHEMA)
        with replace_file(self._file("files", number)) as file:
            pq.write_table(pa.table(columns, schema=_SCHEMA), file, compression="zstd")


def _read_rows(file: Path) -> list[Row]:
    try:
        table = pq.read_table(file, schema=_SCHEMA)
    except (OSError, pa.ArrowException) as error:
        raise ArtifactError(f"{file} cannot be read: {error}", remedy=_AGAIN) from error
    columns: list[list[Any]] = [table[name].to_pylist() for name in _SCHEMA.names]
    return [Row(*values) for values in zip(*columns, strict=True)]


def _write_header(file: Any, shape: tuple[int, int], kind: Kind) -> None:
    layout = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, layout)


def _refuse_foreign(folder: Path) -> None:
    """Nobody's folder is written into by a slip of --index."""
    if folder.exists() and (not folder.is_dir() or _has_other(folder)):
        raise ArtifactError(
            f"{folder} is there and is no index of pictures",
            remedy="choose another --index, such as build/index",
        )


def _has_other(folder: Path) -> bool:
    return not (folder / _HEAD).is_file() and any(one.name != ".lock" for one in folder.iterdir())


def _check_head(folder: Path, place: Place, towers: TwoTowers, kind: Kind) -> None:
    """Write whose index this is, or compare.

    Raises:
        ArtifactError: it is of another place, model or kind.
    """
    head = {
        "format": _FORMAT,
        "pictures": place.key,
        "model": towers.digest,
        "kind": kind,
        "width": towers.width,
    }
    file = folder / _HEAD
    if not file.is_file():
        text = json.dumps(head | {"model_name": towers.name}, ensure_ascii=False, indent=1)
        write_text_atomically(file, text + "\n")
        return
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{file} cannot be read: {error}", remedy=_AGAIN) from error
    for name, value in head.items():
        if found.get(name) != value:
            raise ArtifactError(
                f"{folder} is an index with {name} {found.get(name)!r}, and {value!r} is asked for",
                remedy="choose another --index, or remove that folder",
            )
