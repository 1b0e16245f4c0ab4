"""Vectors of texts or pictures in a file: .npy for programs, .parquet for tables, .jsonl for eyes.

Rows are written as they come, so a million sentences need no more memory than a thousand. An .npy
file has no place for what its rows are of, so `NAME.rows.txt` beside it says so, a line each.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minna.artifact import replace_file
from minna.errors import UsageError

Batch = tuple[Sequence[str], NDArray[np.float32]]
KINDS: Final = (".npy", ".parquet", ".jsonl")
_DIGITS: Final = 9  # a float32 read back is the same


def check_kind(file: Path) -> None:
    """Refuse a name that says no known kind of file.

    Raises:
        UsageError: it ends in none of .npy, .parquet, .jsonl.
    """
    if file.suffix.lower() not in KINDS:
        raise UsageError(
            f"--out {file} does not say what to write",
            remedy=f"end it in {', '.join(KINDS[:-1])} or {KINDS[-1]}",
        )


def write_vectors(file: Path, batches: Iterable[Batch], *, width: int, what: str) -> int:
    """Write vectors, and return how many.

    Args:
        file: its ending says how.
        batches: names and [B, width] vectors of theirs.
        width: of the vectors.
        what: the names are of, "text" or "path".

    Raises:
        UsageError: an unknown ending.
        ArtifactError: the disk is full; the old file, if any, is untouched.
    """
    check_kind(file)
    write = {".npy": _npy, ".parquet": _parquet, ".jsonl": _jsonl}[file.suffix.lower()]
    count = 0
    with write(file, width, what) as put:
        for names, vectors in batches:
            put(names, vectors)
            count += len(names)
    return count


_Put = Callable[[Sequence[str], NDArray[np.float32]], None]


@contextlib.contextmanager
def _npy(file: Path, width: int, what: str) -> Generator[_Put]:
    """The header is written twice: numpy leaves room in it for a number of rows of any length."""
    del what
    count = 0
    with replace_file(file) as out, replace_file(file.with_name(f"{file.name}.rows.txt")) as rows:
        _header(out, 0, width)
        begin = out.tell()

        def put(names: Sequence[str], vectors: NDArray[np.float32]) -> None:
            nonlocal count
            out.write(np.ascontiguousarray(vectors, dtype="<f4").tobytes())
            rows.write("".join(" ".join(name.split()) + "\n" for name in names).encode())
            count += len(names)

        yield put
        out.seek(0)
        _header(out, count, width)
        assert out.tell() == begin, "the header has room for the number of rows"
        out.seek(0, 2)


def _header(out: BinaryIO, count: int, width: int) -> None:
    layout = {"descr": "<f4", "fortran_order": False, "shape": (count, width)}
    np.lib.format.write_array_header_1_0(out, layout)


@contextlib.contextmanager
def _parquet(file: Path, width: int, what: str) -> Generator[_Put]:
    vector = pa.list_(pa.float32(), width)
    schema = pa.schema([(what, pa.string()), ("vector", vector)])
    with replace_file(file) as out, pq.ParquetWriter(out, schema, compression="zstd") as table:

        def put(names: Sequence[str], vectors: NDArray[np.float32]) -> None:
            flat: Any = pa.array(np.ascontiguousarray(vectors, np.float32).ravel())
            column = pa.FixedSizeListArray.from_arrays(flat, width)
            table.write_table(pa.table([pa.array(names, pa.string()), column], schema=schema))

        yield put


@contextlib.contextmanager
def _jsonl(file: Path, width: int, what: str) -> Generator[_Put]:
    del width
    with replace_file(file) as out:

        def put(names: Sequence[str], vectors: NDArray[np.float32]) -> None:
            for name, vector in zip(names, vectors, strict=True):
                numbers = [float(f"{value:.{_DIGITS}g}") for value in vector.tolist()]
                row = {what: name, "vector": numbers}
                out.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

        yield put
