"""Parallel text, English and Japanese: STEM.en beside STEM.ja, a table, or the Hub's shape.

A pair becomes two documents, the English one and the Japanese one behind it, in one group. That is
the cleanest for pre-training: filters, language shares and tokenizer coverage look at one language
at a time, a sentence that one side shares with a monolingual source is found as a duplicate, and
nothing is decided about how a translation is asked for. What the pair was is not lost: its two rows
stand next to each other with the same group, and a stage that teaches translation joins them there.
The group is made from the English side, so that all translations of one sentence stay in one split.

Many such sets are tokenised (small_parallel_enja: all 51,000 pairs). Where most of the first 100
lines of a file are, their spaces are taken out again (`spaces`); small letters stay as they are.
Rows are taken apart while reading, not in the workers, since one row gives two documents.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, NamedTuple

from minna.artifact import Licence
from minna.corpus.sources import spaces
from minna.corpus.sources.files import format_of, matching, visible_files
from minna.corpus.sources.rows import (
    READER,
    BadDocumentError,
    json_object,
    parquet_rows,
    unusable,
)
from minna.corpus.sources.source import RawDocument, Shard, content_id
from minna.corpus.sources.streams import (
    COMPRESSIONS,
    LARGEST,
    Piece,
    bounded_lines,
    decode_utf8,
    describe_files,
    open_bytes,
)
from minna.errors import DataError

Side = Literal["en", "ja"]

_HEAD: Final = 100  # pairs that are looked at before the first is handed out
_KANA_OR_KANJI = re.compile(r"[\u3041-\u30ff\u3400-\u9fff]")
_LONE = re.compile("[\ud800-\udfff]")  # JSON can name half a character; "?" would be text
_REMEDY = (
    "give STEM.en and STEM.ja with a line a sentence, a .tsv with two columns, or .jsonl or "
    '.parquet with {"translation": {"en": "...", "ja": "..."}}'
)


class Pair(NamedTuple):
    """Both sides of a pair as they were read, or the problem one has ("" for none)."""

    line: int
    en: bytes
    ja: bytes
    problem: str = ""
    identity: str = ""


class Half(NamedTuple):
    """One side of a pair on its way to a worker."""

    line: int
    side: Side
    content: bytes
    group: str
    state: spaces.State
    problem: str = ""
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """What one shard is read from: one table, or the two files of a stem."""

    name: str
    files: tuple[tuple[str, Path], ...]


class Pairs:
    """Parallel text of the user.

    Args:
        path: a folder, a table, or one of the two files of a stem.
        licence: terms of the text.
        attribution: whom to credit.
        files: only those of a folder whose names match (STEM.* for a stem).
    """

    name = "pairs"

    def __init__(self, path: Path, *, licence: str, attribution: str, files: str = "") -> None:
        self._parts = _find(path, pattern=files)
        self.licences: Sequence[Licence] = (
            Licence(source="pairs", licence=licence, attribution=attribution),
        )

    def identity(self) -> dict[str, Any]:
        """Hash over the names and contents of the files."""
        files = [file for part in self._parts for file in part.files]
        return describe_files(files) | {"reader": READER}

    def shards(self) -> Sequence[Shard]:
        """One stem, or one table, is one shard."""
        return [
            Shard(
                name=part.name,
                read=functools.partial(_read, part),
                parse=functools.partial(_parse, name=part.name),
            )
            for part in self._parts
        ]


# ---- finding


def _find(path: Path, *, pattern: str) -> list[_Part]:
    if not path.exists():
        raise DataError(f"{path} does not exist", remedy="check the path after --from")
    if path.is_file():
        side = _side_of(path.name)
        if side is None:
            return [_table(path.name, path)]
        other = path.with_name(_other_name(path.name))
        return [_stem({path.name: path} | ({other.name: other} if other.is_file() else {}), path)]
    files = [(name, file) for name, file in visible_files(path) if _is_parallel(name)]
    if not files:
        raise DataError(f"{path} holds no parallel text", remedy=_REMEDY)
    chosen = matching(files, pattern=pattern, where=str(path)) if pattern else files
    named = dict(chosen)
    parts: list[_Part] = []
    for name, file in chosen:
        side = _side_of(name)
        if side is None:
            parts.append(_table(name, file))
        elif side == "en" or _other_name(name) not in named:
            other = _other_name(name)
            pair = {name: file} | ({other: named[other]} if other in named else {})
            parts.append(_stem(pair, file))
    return parts


def _is_parallel(name: str) -> bool:
    tables = format_of(name) in ("json lines", "parquet")
    return _side_of(name) is not None or tables or _plain(name).endswith(".tsv")


def _plain(name: str) -> str:
    for compression in COMPRESSIONS:
        name = name.removesuffix(compression)
    return name


def _side_of(name: str) -> Side | None:
    ending = _plain(name).rpartition(".")[2]
    return ending if ending in ("en", "ja") else None


def _other_name(name: str) -> str:
    plain = _plain(name)
    other = "ja" if plain.endswith(".en") else "en"
    return plain[:-2] + other + name[len(plain) :]


def _stem(files: dict[str, Path], given: Path) -> _Part:
    sides = sorted(files, key=lambda name: _side_of(name) or "")  # en before ja
    if len(sides) < 2:  # noqa: PLR2004 - a pair
        raise DataError(
            f"{given} has no other side: {_other_name(given.name)} is missing beside it",
            remedy=_REMEDY,
        )
    stem = _plain(sides[0])[:-3]
    return _Part(name=stem, files=tuple((name, files[name]) for name in sides))


def _table(name: str, file: Path) -> _Part:
    if not _is_parallel(name):
        raise DataError(f"{file} is no parallel text", remedy=_REMEDY)
    return _Part(name=name, files=((name, file),))


# ---- reading


def _read(part: _Part) -> Iterator[Half]:
    """Both sides of each pair; whether they are tokenised is told from the head of the file."""
    name, file = part.files[0]
    if len(part.files) == 2:  # noqa: PLR2004 - a pair
        pairs = _two_files(file, part.files[1][1])
    elif format_of(name) == "parquet":
        pairs = _parquet(file)
    else:
        pairs = _lines(file, name=name)
    head = list(itertools.islice(pairs, _HEAD))
    english = spaces.english_state(_readable(pair.en for pair in head))
    japanese = spaces.japanese_state(_readable(pair.ja for pair in head))
    for pair in itertools.chain(head, pairs):
        # a side is the same document in a file, in a table, and with another line end behind it
        en, ja = pair.en.strip(b"\r\n"), pair.ja.strip(b"\r\n")
        group = _group_of(en, ja, identity=pair.identity)
        yield Half(pair.line, "en", en, group, english, pair.problem, pair.identity)
        yield Half(pair.line, "ja", ja, group, japanese, pair.problem, pair.identity)


def _readable(lines: Iterable[bytes]) -> Iterator[str]:
    return (line.decode("utf-8", "replace") for line in lines)


def _group_of(en: bytes, ja: bytes, *, identity: str) -> str:
    """All translations of one English sentence; without one, of one Japanese sentence."""
    letters = re.sub(rb"[\W_]+", b"", en.lower())
    return f"pairs-{content_id(letters or ja or identity.encode())}"


def _two_files(english: Path, japanese: Path) -> Iterator[Pair]:
    with open_bytes(english) as left, open_bytes(japanese) as right:
        en, ja = bounded_lines(left), bounded_lines(right)
        for read, (one, two) in enumerate(itertools.zip_longest(en, ja)):
            if one is None or two is None:
                rest = 1 + sum(1 for _ in (en if two is None else ja))
                longer = (read + rest, read) if two is None else (read, read + rest)
                raise _different_counts((english, longer[0]), (japanese, longer[1]))
            identity = one.too_large or two.too_large
            problem = "too_large" if identity else ""
            # a pair with one side too large is dropped whole: nothing stands beside the other
            if problem:
                yield Pair(one.line, b"", b"", problem, identity)
            else:
                yield Pair(one.line, one.content, two.content)


def _different_counts(english: tuple[Path, int], japanese: tuple[Path, int]) -> DataError:
    (en, en_lines), (ja, ja_lines) = english, japanese
    return DataError(
        f"{en} has {en_lines} lines and {ja} has {ja_lines}: line N of one is no longer the "
        "translation of line N of the other",
        remedy="find where they part (a line lost or broken in two) and mend it there",
    )


def _lines(file: Path, *, name: str) -> Iterator[Pair]:
    """Rows of a .tsv or of JSON lines."""
    with open_bytes(file) as stream:
        if format_of(name) == "json lines":
            for piece in bounded_lines(stream):
                if piece.too_large or not piece.content.isspace():
                    yield _from_json(piece, name=name)
        else:
            yield from _from_table(stream, file=file)


def _from_json(piece: Piece, *, name: str) -> Pair:
    if piece.too_large:
        return Pair(piece.line, b"", b"", "too_large", piece.too_large)
    identity = content_id(piece.content)
    try:
        line = piece.content.decode("utf-8-sig")
        row = json_object(line, where=f"{name}, line {piece.line}")
    except UnicodeDecodeError:
        return Pair(piece.line, b"", b"", "undecodable", identity)
    except BadDocumentError:
        return Pair(piece.line, b"", b"", "malformed", identity)
    return _from_row(row, line=piece.line, identity=identity)


def _from_row(row: dict[str, Any], *, line: int, identity: str) -> Pair:
    """The sides of {"translation": {"en", "ja"}}, or of {"en", "ja"}."""
    sides = row.get("translation", row)
    texts = [sides.get(side) if isinstance(sides, dict) else None for side in ("en", "ja")]
    if any(isinstance(text, bytes) for text in texts):  # as `parquet_rows` leaves bad UTF-8
        return Pair(line, b"", b"", "undecodable", identity)
    if not all(isinstance(text, str) for text in texts):
        return Pair(line, b"", b"", "malformed", identity)
    english, japanese = (_LONE.sub("\ufffd", str(text)).encode() for text in texts)
    return Pair(line, english, japanese)


def _parquet(file: Path) -> Iterator[Pair]:
    for number, row in enumerate(parquet_rows(file, needed=("translation",)), start=1):
        yield _from_row(
            row,
            line=number,
            identity=content_id(f"{file.name} {number}".encode("utf-8", "surrogatepass")),
        )


def _from_table(stream: BinaryIO, *, file: Path) -> Iterator[Pair]:
    """Rows of a table; which column is Japanese is told from the script of the first rows."""
    pieces = bounded_lines(stream)
    head = list(itertools.islice(pieces, _HEAD))
    japanese = _japanese_column([piece.content for piece in head], file=file)
    for piece in itertools.chain(head, pieces):
        cells = piece.content.rstrip(b"\r\n").split(b"\t")
        if piece.too_large:
            yield Pair(piece.line, b"", b"", "too_large", piece.too_large)
        elif len(cells) < 2:  # noqa: PLR2004 - a pair
            yield Pair(piece.line, b"", b"", "malformed", content_id(piece.content))
        else:
            yield Pair(piece.line, cells[1 - japanese], cells[japanese])


def _japanese_column(lines: list[bytes], *, file: Path) -> int:
    cells = [_text.split("\t") for _text in _readable(lines)]
    counts = [
        sum(1 for row in cells if len(row) > column and _KANA_OR_KANJI.search(row[column]))
        for column in (0, 1)
    ]
    if counts[0] == counts[1]:
        raise DataError(
            f"{file}: which of the first two columns is Japanese cannot be told: {counts[0]} and "
            f"{counts[1]} of the first {len(lines)} rows have kana or kanji there",
            remedy="give a table with English and Japanese in its first two columns",
        )
    return 0 if counts[0] > counts[1] else 1


# ---- parsing


def _parse(half: Half, *, name: str) -> RawDocument:
    where = f"{name}, line {half.line} ({half.side})"
    if half.problem:
        # the two halves of one broken row are two documents: each is counted
        identity = hashlib.sha256(f"{half.identity} {half.side}".encode()).hexdigest()[:16]
        return unusable(identity, problem=half.problem, where=where)
    if len(half.content) > LARGEST:
        return unusable(content_id(half.content), problem="too_large", where=where)
    try:
        text = decode_utf8(half.content, name=where)
    except DataError:
        return unusable(content_id(half.content), problem="undecodable", where=where)
    if half.state == "tokenised":
        text = spaces.join_japanese(text) if half.side == "ja" else spaces.join_english(text)
    return RawDocument(
        id=content_id(half.content),
        group=half.group,
        text=text,
        language=half.side,
        meta={"pair": f"{name}:{half.line}"},
    )
