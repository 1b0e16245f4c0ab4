"""From an Aozora Bunko file to the text an author wrote.

The files are typed by volunteers in a mark-up of their own: a header, a block that explains the
marks, 《ruby》 with ｜ where its base starts, ［＃notes of the typist］, ※［＃descriptions of
characters that Shift_JIS lacks］, 〔accents taken apart〕, and a colophon from 底本 on. A model
trained with them in would write them. The rules were written against 6,110 real works: in their
clean text no ｜, no ［＃ and no colophon is left, and 《》 in five works whose authors wrote it.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal

GETA: Final = "〓"
"""Printers' mark for a missing character: for those no code is given for."""

_HEAD_CHARACTERS = 6000
_EXPLANATION = re.compile(
    r"^(?:[【《]テキスト中に現れる記号について[】》]|［表記について］)", re.MULTILINE
)
_RULE = re.compile(r"^[ 　]*[-=]{8,}[ 　]*$", re.MULTILINE)
_COLOPHONS = (
    re.compile(r"^[ 　]*={0,100}底本(?:・初出)?[：:]", re.MULTILINE),
    re.compile(r"^[ 　]*={0,100}底本「", re.MULTILINE),
    re.compile(r"^[ 　]*(?:入力者注|(?:テキスト)?入力者?[：:]|青空文庫作成ファイル)", re.MULTILINE),
)
_NOTE_INSIDE = r"(?:[^［］]|［[^［］]*］)*"
_GAIJI = re.compile(rf"※［＃({_NOTE_INSIDE})］")
_NOTE = re.compile(rf"［＃{_NOTE_INSIDE}］")
_NOTE_BADLY_CLOSED = re.compile(r"［＃[^］\n]*］")
_BASE_MARK = re.compile(r"｜(?=[^｜《\n]*《)")
_RUBY = re.compile(r"《[^《》\n]*》")
_READING = re.compile(r"(?<=[\u4e00-\u9fff々])《（?[ぁ-ヿ]+）?》")  # kana behind kanji
_PLANE_ROW_CELL = re.compile(r"(?<![0-9\-])([12])-([0-9]{1,2})-([0-9]{1,2})(?![0-9\-])")
_UNICODE = re.compile(r"[UＵ]\+([0-9A-Fa-f]{4,6})")
_SMALL_KANA = re.compile(r"小書き(?:片仮名|平仮名|の)?「?([ぁ-ヶ])")
_ACCENTED = re.compile(r"〔([^〔〕\n]*)〕")
# only where the letter takes the mark: l'e'tude, "Marc, Paul" and and/or hold none of these
_ACCENT = re.compile(
    r"(AE|ae|OE|oe)&"
    r"|([AEIOUaeiou](?=[`'^_])|[Yy](?=')|[AEIOUYaeiouy](?=:(?![ 　]))|[ANOano](?=~)"
    r"|[CcSs](?=,[A-Za-z])|[AaSs](?=&)|[Oo](?=/)|[CcGgHhJjSsWw](?=\^))([`'^:~_,&/])"
    r"|([!?])@"
)
_COMBINING = {"`": "̀", "'": "́", "^": "̂", ":": "̈", "~": "̃", "_": "̄", ",": "̧", "&": "̊"}
_LIGATURES = {"AE": "Æ", "ae": "æ", "OE": "Œ", "oe": "œ"}
_STROKES = {"o": "ø", "O": "Ø"}
_PLANE = 0xFFFE
_HIDDEN = 0xF0000
_HIDDEN_CHARACTER = re.compile("[\U000f0000-\U000ffffd]")
"""Characters from a description pass the later steps as private characters: a 《 that the author
wrote must not be taken for ruby."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One work: title and author as the header has them, and the clean text."""

    title: str
    author: str
    text: str


def parse(raw: str) -> Work:
    """Take an Aozora Bunko text apart and return what the author wrote.

    Paragraphs keep their line ends; what a line lost with its only note goes with its line.
    """
    raw = raw.replace("\r\n", "\n").replace("\r", "\n").removeprefix("\ufeff")
    header, explanation, body = _split(raw)
    names = [line.strip(" 　") for line in header.split("\n") if line.strip(" 　")]
    literal_brackets = bool(explanation) and "《" not in explanation
    return Work(
        title=clean(names[0]) if names else "",
        author=clean(names[-1]) if len(names) > 1 else "",
        text=clean(body, ruby="literal" if literal_brackets else "marked"),
    )


def _split(raw: str) -> tuple[str, str, str]:
    """Header, explanation of the marks ("" if there is none), body without colophon."""
    body_start = _after_header(raw)
    header = raw[:body_start]
    found = _EXPLANATION.search(header)
    explanation = header[found.start() :] if found else ""
    lines = header.strip().split("\n\n")[0]
    return lines, explanation, raw[body_start : _colophon(raw, body_start)]


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
    for pattern in _COLOPHONS:
        found = pattern.search(raw, start)
        if found is not None:
            return found.start()
    return len(raw)


def clean(text: str, *, ruby: Literal["marked", "literal"] = "marked") -> str:
    """Remove the mark-up of a body.

    Args:
        text: part of an Aozora Bunko file.
        ruby: "marked" removes every 《...》; "literal", where the file explains its marks without
            《》, only readings in kana behind kanji.
    """
    text = _GAIJI.sub(_character, _RULE.sub("", text))
    text = _without_notes(text)
    ruby_of = _RUBY if ruby == "marked" else _READING
    text = ruby_of.sub("", _BASE_MARK.sub("", text))
    text = _ACCENTED.sub(_compose, text)
    text = text.replace("／″＼", "〴〵").replace("／゛＼", "〴〵").replace("／＼", "〳〵")
    return _HIDDEN_CHARACTER.sub(_show, text)


def _without_notes(text: str) -> str:
    if "［＃" not in text:
        return text
    lines: list[str] = []
    for line in text.split("\n"):
        if "［＃" not in line:
            lines.append(line)
            continue
        left = _NOTE_BADLY_CLOSED.sub("", _NOTE.sub("", line))
        if left.strip(" 　"):
            lines.append(left)
    return "\n".join(lines)


def _character(match: re.Match[str]) -> str:
    """The character that a ※［＃...］ describes, hidden from the steps that follow."""
    note = match.group(1)
    found: str | None = None
    if code := _UNICODE.search(note):
        found = _from_number(int(code.group(1), 16))
    elif place := _PLANE_ROW_CELL.search(note):
        found = jis_x_0213(*(int(number) for number in place.groups()))
    if found is None and (small := _SMALL_KANA.match(note)):
        found = small.group(1)
    return _hide(found or GETA)


def _from_number(number: int) -> str | None:
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:  # noqa: PLR2004 - limits of Unicode
        return None
    return chr(number)


@functools.cache
def jis_x_0213(plane: int, row: int, cell: int) -> str | None:
    """The character at plane (1 or 2), row and cell (1 to 94) of JIS X 0213, or None."""
    if not (1 <= row <= 94 and 1 <= cell <= 94):  # noqa: PLR2004 - the size of a plane
        return None
    code = bytes([0xA0 + row, 0xA0 + cell])
    try:
        return (b"\x8f" + code if plane == 2 else code).decode("euc_jis_2004")  # noqa: PLR2004
    except UnicodeDecodeError:
        return None


def _compose(match: re.Match[str]) -> str:
    """〔e'tude〕 -> étude; brackets without any accent in them are the author's or the editor's."""
    inside = match.group(1)
    composed = _ACCENT.sub(_accent, inside)
    return match.group() if composed == inside else composed


def _accent(match: re.Match[str]) -> str:
    ligature, letter, mark, inverted = match.groups()
    if ligature:
        return _LIGATURES[ligature]
    if inverted:
        return {"!": "¡", "?": "¿"}[inverted]
    if mark == "/":
        return _STROKES[letter]
    if mark == "&" and letter in "sS":
        return "ß"
    return unicodedata.normalize("NFC", letter + _COMBINING[mark])


def _hide(text: str) -> str:
    return "".join(chr(_HIDDEN + ord(c)) if ord(c) < _PLANE else c for c in text)


def _show(match: re.Match[str]) -> str:
    return chr(ord(match.group()) - _HIDDEN)
