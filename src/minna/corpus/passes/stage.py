"""Where the passes leave their parts: `stage/PASS/NUMBER/`, gone when the corpus is finished."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from minna.artifact import replace_file

STAGE: Final = "stage"
_DONE = "done.json"
_COMPRESSED = pa.ipc.IpcWriteOptions(compression="lz4")


class Part:
    """One part of one pass: a folder of rows and arrays, done when `finish` was called."""

    def __init__(self, directory: Path, name: str, number: int) -> None:
        self.number = number
        self.path = directory / STAGE / name / f"{number:06d}"

    @property
    def is_done(self) -> bool:
        """Whether it is whole."""
        return (self.path / _DONE).is_file()

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write the record of what was done; the part counts as done from here on."""
        _write_json(self.path / _DONE, record)

    def record(self) -> dict[str, Any]:
        """What `finish` was given."""
        return json.loads((self.path / _DONE).read_bytes())

    def write_rows(self, columns: Sequence[Sequence[Any]], *, schema: pa.Schema) -> None:
        """Write columns of rows."""
        batch = pa.record_batch(
            [_array(values, field.type) for values, field in zip(columns, schema, strict=True)],
            schema=schema,
        )
        with (
            replace_file(self.path / "rows.arrow") as file,
            pa.ipc.new_file(cast("Any", file), schema, options=_COMPRESSED) as writer,
        ):
            writer.write_batch(batch)

    def rows(self) -> pa.RecordBatch:
        """The rows."""
        with pa.ipc.open_file(str(self.path / "rows.arrow")) as reader:
            return reader.get_batch(0)

    def write_array(self, name: str, values: npt.NDArray[Any]) -> None:
        """Write an array."""
        with replace_file(self.path / f"{name}.npy") as file:
            np.save(file, values, allow_pickle=False)

    def array(self, name: str) -> npt.NDArray[Any]:
        """An array, memory-mapped."""
        file = self.path / f"{name}.npy"
        return np.load(file, mmap_mode="r", allow_pickle=False)


class Mark:
    """The record of a whole pass, there when all its parts are done."""

    def __init__(self, directory: Path, name: str) -> None:
        self._file = directory / STAGE / f"{name}.json"

    def read(self) -> dict[str, Any] | None:
        """The record; None while the pass is not finished."""
        return json.loads(self._file.read_bytes()) if self._file.is_file() else None

    def write(self, record: Mapping[str, Any]) -> None:
        """Say that the pass is finished."""
        _write_json(self._file, record)


def parts(directory: Path, name: str, count: int) -> list[Part]:
    """All parts of a finished pass."""
    return [Part(directory, name, number) for number in range(count)]


def _write_json(file: Path, record: Mapping[str, Any]) -> None:
    with replace_file(file) as out:
        out.write(json.dumps(record, ensure_ascii=False).encode())


def _array(values: Sequence[Any], kind: pa.DataType) -> pa.Array[Any]:
    try:
        return pa.array(values, type=kind)
    except UnicodeEncodeError:
        # a lone surrogate in a title or an address: it cannot be stored, the text's are mended
        return pa.array([_storable(value) for value in values], type=kind)


def _storable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value
