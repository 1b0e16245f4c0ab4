"""What a reader is given: one file, and what it is read for."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from minna.evaluate.task import Chosen


@dataclass(frozen=True, slots=True, kw_only=True)
class DataFile:
    """A file of a task's data set.

    Attributes:
        path: where it is.
        chosen: the task in its version.
        role: whether its documents are scored, or examples; files that hold both splits are read
            twice, once for each.
    """

    path: Path
    chosen: Chosen
    role: Literal["scored", "shots"]

    @property
    def task(self) -> str:
        """The task's name, for errors."""
        return self.chosen.task.name


def group_of(*texts: str) -> str:
    """The name of the group of all documents that share these texts, in whatever order."""
    joined = "\x00".join(sorted(texts))
    return hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()[:16]
