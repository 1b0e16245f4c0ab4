"""The mark-up of Aozora's volunteers, taken out of a text; its ruby kept beside it.

《ruby》 with ｜ where its base starts, ［＃notes of the typist］, ※［＃words for a character］,
〔accents taken apart〕, ／＼ for the long repeat mark. A model trained with them in would write
them. The 1.1 million readings of the 6,110 works are a furigana data set for free, so they are
returned with their place. All is done by regular expressions over the whole text, 39 MB/s on one
slow core; a loop over the readings in Python ran at half of that.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from itertools import chain
from typing import Literal

from minna.corpus.sources.aozora_gaiji import GETA, resolve
from minna.corpus.sources.source import Reading

_RULE = re.compile(r"^[ 　]*[-=]{8,}[ 　]*$", re.MULTILINE)
# bounded and on one line: a note has some 20 characters, and a search for the end that is missing
# must not run to the end of the file from each begin
_NOTE_INSIDE = r"(?:[^［］\n]|［[^［］\n]{0,200}］){0,2000}+"
_GAIJI = re.compile(rf"※［＃({_NOTE_INSIDE})］")
_GAIJI_TOGETHER = re.compile(r"(?<!※)(※※++)［＃前の[^［］]*］")  # one note for several
_GAIJI_BADLY_OPENED = re.compile(r"※［[^［］＃\n]*[0-9]-[0-9]+］|※?\[＃[^\[\]\n]*\]")
_NOTE = re.compile(rf"［＃{_NOTE_INSIDE}］")
_NOTE_BADLY_CLOSED = re.compile(r"［＃[^］\n]{0,2000}+］")
_RUBY = re.compile(r"《([^《》\n]*)》")
_KANA_RUBY = re.compile(r"(?<=[\u4e00-\u9fff々])《(（?[ぁ-ヿ]+）?)》")  # kana behind kanji
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
_LAST_BASE_MARK = re.compile(
    "｜(?=[ぁ-ヿ\u3400-\u9fff\U00020000-\U0003ffff\U000f0000-\U000ffffd][^｜《\n]*$|\n[\u4e00-\u9fff]{1,4}《)",
    re.MULTILINE,
)
_WRITING = re.compile("[ぁ-ヿ々\u3400-\u9fff]")
_DRAWING = re.compile("[\u2500-\u257f]")
_PLANE = 0xFFFE
_HIDDEN = 0xF0000
_HIDDEN_CHARACTER = re.compile("[\U000f0000-\U000ffffd]")
"""Characters from a description pass the later steps as private characters: a 《 that the author
wrote must not be taken for ruby."""

_JOINT = "\0"
_PLACE = "\uffff"  # stands where a 《ruby》 stood: no text holds this noncharacter
_BEFORE = 8
_BASE_MARK = re.compile(f"｜(?=[^｜{_PLACE}\n]*{_PLACE})")
_LETTER = re.compile(r"[^\W\d_]")  # 《＊１》 is a reference, not a reading
_READING = functools.partial(tuple.__new__, Reading)  # half the time of Reading(...)

_BASE_AND_BEFORE = re.compile(
    f"{_PLACE}("
    f"[^｜{_PLACE}\n]{{1,40}}+(?=｜)"  # more than 40 is a ｜ whose own ruby is missing
    "|[々〆〇仝ヶ※〓\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
    "\U000f3005-\U000f3007\U000f3013\U000f3400-\U000f9fff\U000ff900-\U000ffaff]++"
    "|[ぁ-ゖゝゞ〳-〵\U000f3041-\U000f309e]++"
    "|[ァ-ヴヵヷ-ヺーヽヾ\U000f30a1-\U000f30fe]++"
    "|[０-９Ａ-Ｚａ-ｚΑ-Ωα-ωА-я＆’，．]++"
    "|[A-Za-z0-9#\\-&',.À-ɏ\U000f00c0-\U000f024f]++"
    "|[■-◯★☆※×＋－＝←-⇿∀-⋿①-⓿Ⅰ-ↈ]"
    "|)(?=(.{0,17}))"  # twice eight and a ｜: before every character may stand a ruby
)
"""In a text turned round: a base, which starts at ｜ or is the characters of one kind (by the rules
of Aozora Bunko; a described character is of its own kind), and what stands in front of it."""

Brackets = Literal["ruby", "literal"]
"""What 《》 are in a file: "ruby", or "literal" where it explains its marks without them (then only
those with kana behind kanji are readings)."""


def clean(text: str, *, brackets: Brackets = "ruby") -> str:
    """Remove the mark-up of a part of an Aozora Bunko file."""
    return clean_with_readings(text, brackets=brackets)[0]


def clean_with_readings(text: str, *, brackets: Brackets = "ruby") -> tuple[str, list[Reading]]:
    """Remove the mark-up and return the text and its ruby, in the order of the text.

    Ruby at the left side of a word (［＃「…」の左に「…」のルビ］) is a note, and goes with them.
    """
    if "---" in text or "===" in text:
        text = _RULE.sub("", text)
    hidden = 0
    if "※［＃" in text:
        if "※※" in text:
            text = _GAIJI_TOGETHER.sub(_together, text)
        text, hidden = _GAIJI.subn(_described, text)
    if "※［" in text or "[＃" in text:
        text = _GAIJI_BADLY_OPENED.sub(GETA, text)
    text = _without_notes(text)
    text = _ACCENTED.sub(_compose, text)
    text = text.replace("／″＼", "〴〵").replace("／゛＼", "〴〵").replace("／＼", "〳〵")
    if "｜" in text:
        text = _LAST_BASE_MARK.sub(_without_lone_mark, text)
    pattern = _RUBY if brackets == "ruby" else _KANA_RUBY
    return _take_ruby(text, ruby=pattern, show=_shown if hidden else str)


def _without_notes(text: str) -> str:
    """Paragraphs keep their line ends; what a line lost with its only note goes with its line."""
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


def _take_ruby(
    text: str, *, ruby: re.Pattern[str], show: Callable[[str], str]
) -> tuple[str, list[Reading]]:
    readings = ruby.findall(text)
    if not readings:
        return show(text), []
    marked = ruby.sub(_PLACE, text.replace(_PLACE, ""))
    clean_text = _BASE_MARK.sub("", marked).replace(_PLACE, "")
    # Backwards, because only then does a regular expression know where a base ends before it
    # looks for its beginning; all strings are turned round again at once.
    found = chain.from_iterable(_BASE_AND_BEFORE.findall(marked[::-1]))
    both = show(_JOINT.join(found).replace(_PLACE, "").replace("｜", ""))[::-1].split(_JOINT)
    given = show(_JOINT.join(readings)).split(_JOINT)
    before = [characters[-_BEFORE:] for characters in both[::2]]
    kept = list(map(_READING, zip(before, both[1::2], given, strict=True)))
    if not (all(both[1::2]) and "".join(given).isalpha()):
        kept = [row for row in kept if row.base and _LETTER.search(row.reading)]
    return show(clean_text), kept


def _without_lone_mark(match: re.Match[str]) -> str:
    """A ｜ whose ruby is missing goes; one of a drawing or a table stays."""
    text, place = match.string, match.start()
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    line = text[start : end if end >= 0 else len(text)]
    drawn = _DRAWING.search(line) or not _WRITING.match(text[start:place][-1:])
    return match.group() if drawn else ""


def _together(match: re.Match[str]) -> str:
    return GETA * len(match.group(1))


def _described(match: re.Match[str]) -> str:
    """The character that a ※［＃...］ describes, hidden from the steps that follow."""
    return _hide(resolve(match.group(1)))


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


def _shown(text: str) -> str:
    return _HIDDEN_CHARACTER.sub(_show, text)


def _show(match: re.Match[str]) -> str:
    return chr(ord(match.group()) - _HIDDEN)
