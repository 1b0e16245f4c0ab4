"""One small family of errors for users.

Every message says three things: the rule that was broken, the value that broke it, and what to do
about it. The command line prints them without a traceback; anything else that escapes is a bug of
ours and keeps its traceback. Own invariants use `assert`, never these.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MinnaError(Exception):
    """Something a user can mend. `exit_status` is what the command line leaves with.

    Args:
        rule: what must hold, with the actual value in it.
        remedy: what to do about it (a command, a setting, a file to fetch).
    """

    exit_status = 1

    def __init__(self, rule: str, *, remedy: str = "") -> None:
        self.rule = rule
        self.remedy = remedy
        super().__init__(f"{rule}\n  remedy: {remedy}" if remedy else rule)


class UsageError(MinnaError):
    """The call itself is wrong: an unknown recipe, a misspelt key, a missing path."""

    exit_status = 2


class DataError(MinnaError):
    """The input data is unusable: empty, binary, broken encoding, truncated archive."""


class ArtifactError(MinnaError):
    """A directory is not what its manifest says: missing, changed, cut, of another kind."""


class TrainingError(MinnaError):
    """Training cannot go on: a NaN, a checkpoint that does not fit, two runs in one directory."""


class MissingExtraError(MinnaError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, package: str, *, extra: str) -> None:
        super().__init__(
            f"{package} is needed for this and is not installed",
            remedy=f"pip install 'minna[{extra}]'",
        )


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the closest known word, or "" when nothing is close."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""
