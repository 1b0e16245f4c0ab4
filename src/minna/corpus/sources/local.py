"""Your own text: a file or a folder of .txt, .jsonl or .parquet, plain or .gz, .xz, .zst.

What a document is decides what a model learns about beginnings and ends, so for plain text it is a
setting and never guessed: a file, a line, or a block between empty lines.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from minna.artifact import Licence
from minna.console import warn
from minna.corpus.sources.source import RawDocument, Shard, content_id
from minna.corpus.sources.streams import (
    COMPRESSIONS,
    broken,
    decode_utf8,
    describe_files,
    open_bytes,
)
from minna.errors import DataError, UsageError, nearest

_LARGEST_DOCUMENT = 256_000_000  # bytes; parquet and Python hold a document whole
_FORMATS = (".txt", ".jsonl", ".parquet")


class Local:
    """Text files of the user.

    Args:
        path: a file or a folder (searched to the bottom, files in the order of their names).
        documents: what one document is in plain text.
        field: name of the text field or column.
        licence: terms of the text.
        attribution: whom to credit.
    """

    name = "local"

    def __init__(
        self,
        path: Path,
        *,
        documents: Literal["file", "line", "blank-line"],
        field: str,
        licence: str,
        attribution: str,
    ) -> None:
        self._documents: Literal["file", "line", "blank-line"] = documents
        self._field = field
        self._files = _find(path)
        self.licences: Sequence[Licence] = (
            Licence(source="local", licence=licence, attribution=attribution),
        )

    def identity(self) -> dict[str, Any]:
        """Hash over the names and contents of the files, and what the reader was told."""
        return describe_files(self._files) | {"documents": self._documents, "field": self._field}

    def shards(self) -> Sequence[Shard]:
        """One file is one shard."""
        return [
            Shard(name=name, read=functools.partial(self._read, file)) for name, file in self._files
        ]

    def _read(self, file: Path) -> Iterator[RawDocument]:
        kind = _format(file)
        if kind == ".parquet":
            texts = _parquet(file, field=self._field)
        elif kind == ".jsonl":
            texts = _jsonl(file, field=self._field)
        elif self._documents == "file":
            texts = _whole(file)
        elif self._documents == "line":
            texts = (line for line in _lines(file) if not line.isspace())
        else:
            texts = _blocks(file)
        for text in texts:
            identity = content_id(text.encode("utf-8", "surrogatepass"))
            yield RawDocument(id=identity, group=identity, text=text)


def _format(file: Path) -> str | None:
    """The format a file's name claims, or None."""
    name = file.with_suffix("") if file.suffix.lower() in COMPRESSIONS else file
    suffix = name.suffix.lower()
    if suffix == ".parquet" and name != file:
        return None
    return suffix if suffix in _FORMATS else None


def _find(path: Path) -> list[tuple[str, Path]]:
    if not path.exists():
        raise DataError(f"{path} does not exist", remedy="check the path after --from")
    remedy = "give .txt, .jsonl or .parquet; the first two also with .gz, .xz or .zst behind"
    if path.is_file():
        if _format(path) is None:
            raise UsageError(f"the format of {path.name} is unknown", remedy=remedy)
        return [(path.name, path)]
    everything = [
        file
        for file in path.rglob("*")
        if file.is_file() and not any(p.startswith(".") for p in file.relative_to(path).parts)
    ]
    named = sorted((file.relative_to(path).as_posix(), file) for file in everything)
    files = [(name, file) for name, file in named if _format(file) is not None]
    if not files:
        raise DataError(f"{path} holds no text file ({len(named)} others)", remedy=remedy)
    if len(files) < len(named):
        warn(f"{len(named) - len(files)} files in {path} are of unknown format and are not read")
    return files


def _lines(file: Path) -> Iterator[str]:
    offset = 0
    with open_bytes(file) as stream:
        for line in stream:
            yield decode_utf8(line, name=file, offset=offset)
            offset += len(line)


def _whole(file: Path) -> Iterator[str]:
    with open_bytes(file) as stream:
        content = stream.read(_LARGEST_DOCUMENT + 1)
    if len(content) > _LARGEST_DOCUMENT:
        raise DataError(
            f"{file} holds more than {_LARGEST_DOCUMENT} bytes, too large for one document",
            remedy="say what a document is: --documents line or --documents blank-line",
        )
    yield decode_utf8(content, name=file)


def _blocks(file: Path) -> Iterator[str]:
    block: list[str] = []
    for line in _lines(file):
        if not line.isspace():
            block.append(line)
        elif block:
            yield "".join(block)
            block = []
    if block:
        yield "".join(block)


def _jsonl(file: Path, *, field: str) -> Iterator[str]:
    for number, line in enumerate(_lines(file), start=1):
        if line.isspace():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(
                f"{file}, line {number} is not JSON: {error}",
                remedy="mend or remove that line; one JSON object a line is expected",
            ) from error
        if not isinstance(row, dict):
            raise DataError(
                f"{file}, line {number} is a JSON {type(row).__name__}, not an object",
                remedy=f'write {{"{field}": "..."}} a line',
            )
        if field not in row:
            raise DataError(
                f"{file}, line {number} has no field {field!r} (it has {sorted(row)})"
                + nearest(field, row),
                remedy="name the right one with --field",
            )
        yield _text(row[field], where=f"{file}, line {number}", field=field)


def _parquet(file: Path, *, field: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.open("rb") as stream:
        magic = stream.read(4)
    if magic != b"PAR1":
        raise broken(file, ValueError("it does not start like parquet"))
    try:
        table = pq.ParquetFile(file)
        if field not in table.schema_arrow.names:
            names = table.schema_arrow.names
            raise DataError(
                f"{file} has no column {field!r} (it has {names})" + nearest(field, names),
                remedy="name the right one with --field",
            )
        for batch in table.iter_batches(batch_size=1024, columns=[field]):
            for value in batch.column(0).to_pylist():
                yield _text(value, where=str(file), field=field)
    except (pa.ArrowException, OSError) as error:
        raise broken(file, error) from error


def _text(value: object, *, where: str, field: str) -> str:
    """A missing value is an empty text: the length filter drops and counts it."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    raise DataError(
        f"{where}: {field!r} is a {type(value).__name__}, not text",
        remedy="name the field that holds the text with --field",
    )
