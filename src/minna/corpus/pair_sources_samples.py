"""Pictures with their texts beside them: `x.jpg` and `x.txt` or `x.json`, in a folder or a tar.

So does img2dataset write what it fetched (a key, the picture, its caption, and a JSON with the
address), and so do webdataset's shards. Where a table of addresses is given too (CC12M's TSV,
LAION's parquet, or either one translated), captions are looked up in it by the JSON's address.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from minna.corpus.blob_files import (
    Listed,
    json_beside,
    members_by_key,
    read_beside,
    read_bounded,
    text_beside,
)
from minna.corpus.pair_settings import Given, PairSettings, PictureShard
from minna.corpus.pair_sources_rows import (
    ADDRESSES,
    BESIDE,
    CAPTIONS,
    Columns,
    Terms,
    given_of,
    terms_of,
)
from minna.corpus.pictures import MOST_BYTES, SUFFIXES

_TEXTS: Final = (".txt", ".caption")
_FACTS: Final = ".json"
_PICTURES_PER_SHARD: Final = 10_000


class Sample(NamedTuple):
    """A picture and what lies beside it; `problem` says why there is no picture."""

    image: bytes
    text: bytes | None
    facts: bytes | None
    problem: str


# ---- folders


def folder_shards(
    files: Sequence[tuple[str, Path]], *, settings: PairSettings, listed: Listed | None
) -> list[PictureShard]:
    """Pictures of a folder, ten thousand a shard, in the order of their names."""
    pictures = [(name, file) for name, file in files if is_picture(name)]
    return [
        PictureShard(
            name=pictures[start][0],
            read=functools.partial(
                _read_folder,
                [file for _, file in pictures[start : start + _PICTURES_PER_SHARD]],
                settings=settings,
                listed=listed,
            ),
        )
        for start in range(0, len(pictures), _PICTURES_PER_SHARD)
    ]


def is_picture(name: str) -> bool:
    """Whether a file's name is that of a picture."""
    return name.lower().endswith(SUFFIXES)


def _read_folder(
    pictures: Sequence[Path], *, settings: PairSettings, listed: Listed | None
) -> Iterator[Given]:
    terms = terms_of(settings)
    for file in pictures:
        image, problem = read_bounded(file, most=MOST_BYTES)
        texts = [file.with_suffix(suffix) for suffix in _TEXTS]
        text = next(
            (read_beside(other, most=MOST_BYTES) for other in texts if other.is_file()), None
        )
        sample = Sample(
            image, text, read_beside(file.with_suffix(_FACTS), most=MOST_BYTES), problem
        )
        yield _given(sample, settings=settings, terms=terms, listed=listed)


# ---- tars


def tar_shards(
    files: Sequence[tuple[str, Path]], *, settings: PairSettings, listed: Listed | None
) -> list[PictureShard]:
    """Shards of webdataset, one a tar."""
    return [
        PictureShard(
            name=name,
            read=functools.partial(_read_tar, file, settings=settings, listed=listed),
        )
        for name, file in files
    ]


def _read_tar(file: Path, *, settings: PairSettings, listed: Listed | None) -> Iterator[Given]:
    terms = terms_of(settings)
    for _, members in members_by_key(file, most=MOST_BYTES):
        yield _given(_sample(members), settings=settings, terms=terms, listed=listed)


def _sample(members: Mapping[str, bytes | None]) -> Sample:
    suffix = next((suffix for suffix in SUFFIXES if suffix in members), "")
    image = members.get(suffix)
    problem = "" if image else "empty" if image == b"" else "too_large"
    text = next((members[name] for name in _TEXTS if name in members), None)
    return Sample(image or b"", text, members.get(_FACTS), problem if suffix else "no_picture")


# ---- both


def _given(sample: Sample, *, settings: PairSettings, terms: Terms, listed: Listed | None) -> Given:
    facts, text = json_beside(sample.facts), text_beside(sample.text)
    if facts is None or text is None:
        return Given(b"", (), terms.source, terms.licence, problem=sample.problem or "malformed")
    problem = sample.problem
    if listed is not None:
        address = next((facts[name] for name in ADDRESSES if name in facts), "")
        told: Any = listed.texts(str(address))
        problem = problem or ("" if told else "not_listed")
    else:
        name = settings.caption or next((name for name in CAPTIONS if name in facts), "")
        told = facts.get(name, text or None)
    row = {name: facts[name] for name in BESIDE if name in facts}
    row |= {"image": sample.image, "caption": told}
    given = given_of(row, columns=Columns("image", "caption"), root=Path(), terms=terms)
    return given._replace(problem=problem or given.problem)
