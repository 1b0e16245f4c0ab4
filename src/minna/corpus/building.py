"""What building corpora of pictures and of clips have in common: what is refused, what is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from minna.artifact import MANIFEST_NAME, read_manifest
from minna.errors import ArtifactError, DataError, UsageError

SPLITS: Final = ("train", "valid", "test")
_MOST_REASONS: Final = 20


def refuse_own_place(path: Path | None, out: Path) -> None:
    """Refuse to write where the source lies.

    Raises:
        UsageError: one lies within the other.
    """
    if path is None:
        return
    own, place = path.resolve(), out.resolve()
    if place.is_relative_to(own) or own.is_relative_to(place):
        raise UsageError(
            f"--out {out} is where the source {path} lies, and would replace it or be read as it",
            remedy="choose an --out beside it",
        )


def refuse_unread(settings: Any, *, plain: Any, reads: Mapping[str, Sequence[str]]) -> None:
    """A setting that is ignored would be believed to have worked.

    Args:
        settings: with a `source`.
        plain: the same with nothing given.
        reads: source -> settings that it reads, and not every other one does.

    Raises:
        UsageError: a setting was given that the source does not read.
    """
    for name in dict.fromkeys(name for names in reads.values() for name in names):
        readers = [source for source, names in reads.items() if name in names]
        value = getattr(settings, name)
        if settings.source not in readers and value != getattr(plain, name):
            raise UsageError(
                f"the source {settings.source} does not read {name}, and {name}={value!r} was "
                f"given ({name} is of {' and '.join(readers)})",
                remedy=f"leave {name} out",
            )


def changed(shard: str) -> DataError:
    """The error for a source that is not what it was when it was described."""
    return DataError(
        f"{shard} has changed while the corpus was built from it",
        remedy="run the same command again when nobody writes there",
    )


def named_counts(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    """Those counts of a manifest that begin so, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in counts.items()
        if name.startswith(prefix)
    }


def refuse_other(out: Path, *, count: str, holds: str) -> None:
    """All are corpora, but nobody means to replace text or dialogues by pictures.

    Args:
        out: where the corpus goes.
        count: that a corpus of the same sort has.
        holds: the word for what is in it.

    Raises:
        ArtifactError: a corpus of another sort is there.
    """
    if not (out / MANIFEST_NAME).is_file():
        return
    found = read_manifest(out)
    if found.kind == "corpus" and count not in found.counts:
        raise ArtifactError(
            f"{out} is a corpus without {holds}, and one of {holds} would replace it",
            remedy="choose another --out, or remove it yourself",
        )


def bounded(dropped: Counter[str]) -> dict[str, int]:
    """The commonest reasons, the rest as one."""
    names = sorted(dropped, key=lambda name: (-dropped[name], name))
    kept = {name: dropped[name] for name in names[:_MOST_REASONS]}
    rest = sum(dropped.values()) - sum(kept.values())
    return kept | ({"other reasons": rest} if rest else {})
