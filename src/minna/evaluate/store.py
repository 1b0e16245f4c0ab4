"""Answers as they come, one line each, so that a run that is stopped goes on where it was.

An answer is filed under the hash of who was asked and of the exact ids or text: the same request in
another task, or in a later run with other settings beside it, is answered from here. What is not a
number is not kept: the next run asks again.
"""

from __future__ import annotations

import hashlib
import json
import math
from array import array
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO

from minna.artifact.manifest import canonical
from minna.console import warn
from minna.evaluate.records import Encoded


class Store:
    """The answers of one model; use it in a `with`."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: dict[str, dict[str, Any]] = {}
        self._handle: TextIO | None = None
        self._whole = 0

    def __enter__(self) -> Self:
        """Read what is there; the file is made with the first answer."""
        if self._file.is_file():
            content = self._file.read_bytes()
            # a kill may have cut the last line
            self._whole = content.rfind(b"\n") + 1
            for line in content[: self._whole].splitlines():
                try:
                    row: dict[str, Any] = json.loads(line)
                    self._rows[row.pop("key")] = row
                except (ValueError, KeyError, TypeError, AttributeError):
                    # a damaged line costs one answer, which is asked again
                    warn(f"{self._file}: a damaged line is passed over")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._handle is not None:
            self._handle.close()
            self._handle = None

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def __getitem__(self, key: str) -> dict[str, Any]:
        return self._rows[key]

    def put(self, key: str, row: Mapping[str, Any]) -> None:
        """File an answer; it is on its way to the disk when this returns."""
        self._rows[key] = dict(row)
        if not _finite(row):
            return
        if self._handle is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._handle = self._file.open("a", encoding="utf-8", newline="\n")
            self._handle.truncate(self._whole)
        self._handle.write(json.dumps({"key": key, **row}, ensure_ascii=True) + "\n")
        self._handle.flush()

    def remove(self) -> None:
        """Delete the file: the report holds everything now."""
        self._file.unlink(missing_ok=True)


def key_of(encoded: Encoded, *, asked: str, text: str = "") -> str:
    """Hash a request.

    Args:
        encoded: the request as ids; as arrays, since 10 million ids as JSON took ten seconds.
        asked: which model, in which type, by which backend.
        text: the request where a backend is given text.
    """
    rest = (encoded.max_new_tokens, encoded.stop_ids, encoded.stop_texts)
    digest = hashlib.sha256(canonical([asked, text, rest]).encode("utf-8", "surrogatepass"))
    for ids in (encoded.prompt, *(candidate.ids for candidate in encoded.candidates)):
        digest.update(len(ids).to_bytes(8, "little"))
        digest.update(array("q", ids).tobytes())
    digest.update(array("q", [candidate.start for candidate in encoded.candidates]).tobytes())
    return digest.hexdigest()


def _finite(row: Mapping[str, Any]) -> bool:
    return row.get("finite", True) and all(map(math.isfinite, row.get("logprobs", ())))
