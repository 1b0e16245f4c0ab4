"""From an Aozora Bunko file to the text an author wrote.

A file is a header, a block that explains the marks, the body and a colophon from 底本 on; only the
body is text. The rules were written against 6,110 real works: in their 83.4 million clean
characters no note, header or colophon is left; 《》 is in five works whose authors wrote it, ｜ in
four as part of a drawing, and one work has a preface by a volunteer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from minna.corpus.sources.aozora_header import (
    Colophon,
    Header,
    licence_of,
    read_colophon,
    read_header,
)
from minna.corpus.sources.aozora_marks import clean_with_readings
from minna.corpus.sources.source import Reading

_HEAD_CHARACTERS = 6000
_EXPLANATION = re.compile(
    r"^(?:[【《]テキスト中に現れる記号について[】》]|［表記について］)", re.MULTILINE
)
_RULE = re.compile(r"^[ 　]*[-=]{8,}[ 　]*$", re.MULTILINE)
_COLOPHONS = (
    ("底本", re.compile(r"[ 　]*={0,100}底本(?:・初出)?[：:]")),
    ("底本「", re.compile(r"[ 　]*={0,100}底本「")),
    ("入力", re.compile(r"[ 　]*(?:入力者注|(?:テキスト)?入力者?[：:])")),
    ("青空文庫作成ファイル", re.compile(r"[ 　]*青空文庫作成ファイル")),
)
"""A word, and what its line must begin with: to look for the word alone is five times faster."""

_REMARK_ABOVE = re.compile(r"\s*※[^［\n][^\n]+\n")
_REMARK_BELOW = re.compile(
    r"\n(?:[（(]?入力者注[^\n]*\n[^\f]*|※[^［\n][^\n]*\n(?:[※［][^\n]*\n|[ 　]*\n)*)\Z"
)
_TAIL = 6000


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One work: what stands around it, the clean text, and its ruby in the order of the text."""

    header: Header
    colophon: Colophon
    text: str
    readings: Sequence[Reading]
    licence: str

    @property
    def title(self) -> str:
        """As the header has it."""
        return self.header.title

    @property
    def author(self) -> str:
        """As the header has it, in Japanese."""
        return self.header.author


def parse(raw: str) -> Work:
    """Take an Aozora Bunko text apart and return what the author wrote."""
    raw = raw.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    start = _after_header(raw)
    end = _colophon(raw, start)
    header = raw[:start]
    found = _EXPLANATION.search(header)
    explanation = header[found.start() :] if found else ""
    text, readings = clean_with_readings(
        _without_remarks(raw[start:end]),
        brackets="literal" if explanation and "《" not in explanation else "ruby",
    )
    return Work(
        header=read_header(header.strip().split("\n\n")[0]),
        colophon=read_colophon(raw[end:]),
        licence=licence_of(header) or licence_of(raw[end:]),
        text=text,
        readings=readings,
    )


def _after_header(raw: str) -> int:
    """Where the text starts: behind the block of marks, else behind the first empty line."""
    found = _EXPLANATION.search(raw, 0, _HEAD_CHARACTERS)
    if found is not None:
        rule = _RULE.search(raw, found.end())
        if rule is not None:
            return rule.end()
    blank = raw.find("\n\n", len(raw) - len(raw.lstrip()))
    return blank if 0 <= blank < _HEAD_CHARACTERS else 0


def _colophon(raw: str, start: int) -> int:
    """Where the colophon starts, or the end."""
    for word, pattern in _COLOPHONS:
        place = raw.find(word, start)
        while place >= 0:
            line = raw.rfind("\n", 0, place) + 1
            if pattern.match(raw, line):
                return line
            place = raw.find(word, place + 1)
    return len(raw)


def _without_remarks(body: str) -> str:
    """The body without what a typist remarks above or below it and forgot to mark."""
    above = _REMARK_ABOVE.match(body)
    if above:
        body = body[above.end() :]
    below = _REMARK_BELOW.search(body, max(0, len(body) - _TAIL))
    return body[: below.start()] if below else body
