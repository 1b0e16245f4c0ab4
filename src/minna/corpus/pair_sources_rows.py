"""What a row of somebody's table says of a picture: its file or bytes, its captions, its terms.

Sets of pictures agree on nothing but that there is a picture and a text. The columns are found by
the names they usually have, one setting each names another, and a row that lacks something is
counted by what it lacks, never guessed at.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, cast

from minna.corpus.blob_files import read_inside
from minna.corpus.blob_tables import find_column, storable
from minna.corpus.pair_rows import Caption
from minna.corpus.pair_settings import Given, PairSettings
from minna.corpus.pictures import MOST_BYTES

IMAGES: Final = (
    "image", "file", "file_name", "filename", "path", "image_path", "img", "picture", "jpg",
    "jpeg", "png", "webp", "image_bytes",
)  # fmt: skip
CAPTIONS: Final = (
    "captions", "caption", "TEXT", "text", "texts", "sentences", "sentence", "description",
)  # fmt: skip
ADDRESSES: Final = ("url", "URL", "image_url")
_LICENCES: Final = ("licence", "license", "LICENSE")
BESIDE: Final = (*_LICENCES, "concept", "group")
"""Columns that are read where they are there."""


class Columns(NamedTuple):
    """Names of the columns of a table: picture and captions; `address` instead of a picture."""

    image: str
    caption: str
    address: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What is written in every row that does not say it itself."""

    source: str
    licence: str


def terms_of(settings: PairSettings) -> Terms:
    """The terms that the settings name."""
    return Terms(source=settings.source_name, licence=settings.licence)


def columns_among(names: Sequence[str], *, settings: PairSettings, where: object) -> Columns:
    """Find the columns of a table.

    Raises:
        DataError: there is none with captions, or none with pictures or their addresses.
    """
    caption = find_column(settings.caption, CAPTIONS, names, where=where, what="caption")
    if settings.image or any(name in names for name in IMAGES):
        return Columns(
            find_column(settings.image, IMAGES, names, where=where, what="image"), caption
        )
    address = next((name for name in ADDRESSES if name in names), "")
    if not address:
        find_column("", (*IMAGES, *ADDRESSES), names, where=where, what="image")
    return Columns("", caption, address)


def given_of(row: Mapping[str, Any], *, columns: Columns, root: Path, terms: Terms) -> Given:
    """A row as a picture.

    Args:
        row: the values of a table, by column.
        columns: which are which.
        root: where files that it names lie.
        terms: what stands in the row otherwise.
    """
    content, problem = _content(row.get(columns.image), root)
    captions = captions_of(row.get(columns.caption))
    if captions is None:
        captions, problem = (), problem or "malformed"
    said = {name: storable(row[name]) for name in BESIDE if isinstance(row.get(name), str)}
    return Given(
        content=content,
        captions=captions,
        source=terms.source,
        licence=next((said[name] for name in _LICENCES if said.get(name)), terms.licence),
        concept=said.get("concept", ""),
        group=said.get("group", ""),
        problem=problem,
    )


def captions_of(value: Any) -> tuple[Caption, ...] | None:
    """A caption, or a list of them: texts, or objects with `text`, `kind`, `weight`.

    Returns:
        The captions; none where nothing is said; None where it is something else.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (Caption(value),)
    if isinstance(value, Mapping):
        one = _caption(cast("Mapping[str, Any]", value))
        return None if one is None else (one,)
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        return None
    found: list[Caption] = []
    for part in cast("Sequence[Any]", value):
        inner = captions_of(part) if isinstance(part, str | Mapping | None) else None
        if inner is None:
            return None
        found += inner
    return tuple(found)


def _caption(value: Mapping[str, Any]) -> Caption | None:
    text, kind, weight = value.get("text"), value.get("kind", "caption"), value.get("weight", 1.0)
    if not isinstance(text, str) or not isinstance(kind, str):
        return None
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        return None
    if not math.isfinite(weight) or weight < 0:
        return None
    return Caption(text, storable(kind), float(weight))


def _content(value: Any, root: Path) -> tuple[bytes, str]:
    """The bytes of a picture, and why there are none."""
    if isinstance(value, bytes):
        return (value, "") if value else (b"", "empty")
    if isinstance(value, str):
        if not value.strip():
            return b"", "no_picture"
        return read_inside(root, value, most=MOST_BYTES)
    if isinstance(value, Mapping):  # the Hub's data sets: {bytes, path}
        inner = cast("Mapping[str, Any]", value)
        return _content(inner["bytes"] if inner.get("bytes") else inner.get("path"), root)
    return b"", "no_picture" if value is None else "malformed"
