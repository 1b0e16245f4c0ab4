"""Every translation as it came, for ever: what was paid for once is not asked again.

One SQLite file for all translators and corpora, in the standard library. It was chosen over JSON
lines because it need not be read into memory (HH, SHP and FLAN are millions of texts), because two
runs may write it at the same time, and because a kill at any moment costs at most the translation
that was being written: its journal is undone at the next opening. It holds texts: keep it where
you keep the corpus (--cache), or delete it; it only saves work.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from minna.artifact.cache import cache_directory
from minna.artifact.manifest import canonical
from minna.errors import ArtifactError

_WAIT: Final = 60.0  # seconds for another run's write to end
_TABLE: Final = "CREATE TABLE IF NOT EXISTS translations (key BLOB PRIMARY KEY, text TEXT NOT NULL)"


def usual_place() -> Path:
    """Where translations are kept when nobody says where."""
    return cache_directory() / "translations.sqlite"


class Keys:
    """Names of the translations of one translator, wording and direction."""

    def __init__(self, identity: Mapping[str, Any]) -> None:
        """`identity` is everything that the translation of a text depends on but the text."""
        self._head = hashlib.sha256(canonical(dict(identity)).encode("utf-8", "surrogatepass"))

    def of(self, text: str) -> bytes:
        """The 32 bytes under which the translation of `text` is filed."""
        digest = self._head.copy()
        digest.update(text.encode("utf-8", "surrogatepass"))
        return digest.digest()


class Cache:
    """Translations by key; use it in a `with`, in one thread.

    Raises:
        ArtifactError: the file is damaged or no such file, the disk is full, or it cannot be
            written.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._connection: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        """Open the file; it is made if there is none."""
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.file, timeout=_WAIT, isolation_level=None)
            self._connection = connection
            # a write-ahead log makes one commit a text cheap; where the file system has no shared
            # memory for it (network disks), SQLite says so and keeps its usual journal
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute(_TABLE)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def get(self, key: bytes) -> str | None:
        """A translation, None where there is none."""
        try:
            row: Any = (
                self._open()
                .execute("SELECT text FROM translations WHERE key = ?", (key,))
                .fetchone()
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return None if row is None else str(row[0])

    def put(self, key: bytes, text: str) -> None:
        """File a translation; when this returns, a kill of the process cannot lose it."""
        try:
            self._open().execute(
                "INSERT OR REPLACE INTO translations (key, text) VALUES (?, ?)", (key, text)
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error

    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None, "use the cache in a with"
        return self._connection

    def _unusable(self, error: Exception) -> ArtifactError:
        return ArtifactError(
            f"the translations kept in {self.file} cannot be used: {error}",
            remedy="free the disk or mend the path; a damaged file can be deleted (its texts are "
            "then asked again), and --cache FILE names another",
        )
