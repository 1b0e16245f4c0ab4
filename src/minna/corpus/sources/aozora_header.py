"""What stands around a work: its names above it, its sources and volunteers below it.

A header is two lines in 4,935 of 6,110 works (title, author); the others put an original title, a
subtitle and a translator between and behind. Nothing says which line is what, so the script (Latin
or Cyrillic) and the last word (訳, 校訂) decide. The colophon names its lines.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Final

from minna.corpus.sources.aozora_marks import clean

_BLANK = " 　"
_LONGEST = 400  # characters of one field: a collection lists where each of its poems appeared
_TRANSLATOR = re.compile(r"^(.{2,}?)[ 　]*(?:[共抄重意全編改]?[訳譯][註注述編]?)$")
_EDITOR = re.compile(r"^(.{2,}?)[ 　]*(?:(?:校[訂註注閲]|編[著纂集輯]?|註解|注釈|評釈|訳補)・?)+$")
_TWO_SCRIPTS = re.compile(r"^(.*[ぁ-ヿ一-鿿][^ 　]*)[ 　]+([^ぁ-ヿ一-鿿ａ-ｚＡ-Ｚ]{3,})$")
_JAPANESE = re.compile(r"[ぁ-ヿ一-鿿]")
_FIELD = re.compile(r"^[ 　]*=*([^：:「\n]{2,14}?)(?:[：:]|(?=「))[ 　]*(.*)$")
_FIELDS: Final = {
    "底本": "base_text",
    "底本・初出": "base_text",
    "底本の親本": "parent_text",
    "親本": "parent_text",
    "初出": "first_published",
    "※初出": "first_published",
    "入力": "typed_by",
    "テキスト入力": "typed_by",
    "元テキスト入力": "typed_by",
    "入力者": "typed_by",
    "テキスト入力者": "typed_by",
    "校正": "proofread_by",
    "テキスト校正": "proofread_by",
    "校正者": "proofread_by",
    "入力校正": "typed_by",
}
_CREATIVE_COMMONS = re.compile(
    r"creativecommons\.org/(licenses|publicdomain)/([a-z-]+)/([0-9.]+)(?:/([a-z]{2}))?"
)
_CREATIVE_COMMONS_WORDS = re.compile(r"クリエイティブ・コモンズ|Creative Commons", re.IGNORECASE)
_RESERVED = re.compile(
    r"著作権(?:は|が)[^。\n]{0,30}(?:存続|保護|有し|帰属|あります)|著作権存続|著作権者の許[諾可]"
    r"|版権表示を残す|無断(?:転載|複製)[^。\n]{0,8}(?:禁|お断)|[（(][Cc][）)] ?[12][0-9]{3}"
    r"|All rights reserved|Copyright",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The names above a work; "" where there is none.

    Attributes:
        title: first line.
        subtitle: lines in Japanese between title and author, joined by an ideographic space.
        original_title: lines between them in another script.
        author: without the spelling in his own script.
        original_author: that spelling.
        translator: without 訳.
        editor: without 校訂, 編.
    """

    title: str = ""
    subtitle: str = ""
    original_title: str = ""
    author: str = ""
    original_author: str = ""
    translator: str = ""
    editor: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colophon:
    """What stands below a work; "" where it is not said.

    Attributes:
        base_text: the book it was typed from (底本).
        parent_text: the book that one was made from (底本の親本).
        first_published: where it first appeared (初出).
        typed_by: the volunteer who typed it (入力).
        proofread_by: the volunteer who proofread it (校正).
    """

    base_text: str = ""
    parent_text: str = ""
    first_published: str = ""
    typed_by: str = ""
    proofread_by: str = ""


def meta(part: Header | Colophon) -> dict[str, str]:
    """Its fields that are said."""
    values = {field.name: getattr(part, field.name) for field in fields(part)}
    return {name: value for name, value in values.items() if value}


def read_header(text: str) -> Header:
    """Tell the lines of a header apart."""
    names = [clean(line).strip(_BLANK) for line in text.split("\n") if line.strip(_BLANK)]
    if not names:
        return Header()
    title, *others = names
    translator = editor = ""
    while len(others) > 1:
        if found := _TRANSLATOR.match(others[-1]):
            translator = "、".join(filter(None, [found.group(1), translator]))
        elif found := _EDITOR.match(others[-1]):
            editor = "、".join(filter(None, [found.group(1), editor]))
        else:
            break
        others.pop()
    author = others.pop() if others else ""
    if not translator and (found := _TRANSLATOR.match(author)):  # folk songs: no author is named
        author, translator = "", found.group(1)
    both = _TWO_SCRIPTS.match(author)
    return Header(
        title=title,
        subtitle="　".join(line for line in others if _JAPANESE.search(line)),
        original_title="　".join(line for line in others if not _JAPANESE.search(line)),
        author=both.group(1) if both else author,
        original_author=both.group(2) if both else "",
        translator=translator,
        editor=editor,
    )


def read_colophon(text: str) -> Colophon:
    """Find the named lines of a colophon, each with the lines indented below it."""
    found: dict[str, str] = {}
    current = ""
    for line in text.split("\n"):
        named = _FIELD.match(line)
        if named and (name := _FIELDS.get(named.group(1))):
            current = "" if name in found else name
            if current:
                found[current] = named.group(2)
        elif current and line[:1] in {" ", "　"} and line.strip(_BLANK):
            found[current] += " " + line.strip(_BLANK)
        else:
            current = ""
    return Colophon(**{name: _short(clean(value).strip(_BLANK)) for name, value in found.items()})


def _short(value: str) -> str:
    return value if len(value) <= _LONGEST else value[: _LONGEST - 1] + "…"


def licence_of(notice: str) -> str:
    """Terms that header or colophon state; "" where they state none (public domain in Japan)."""
    if found := _CREATIVE_COMMONS.search(notice):
        family, kind, version, country = found.groups()
        if family == "publicdomain":
            return f"CC0 {version}" if kind == "zero" else f"public domain mark {version}"
        return f"CC {kind.upper()} {version}" + (f" {country.upper()}" if country else "")
    if _CREATIVE_COMMONS_WORDS.search(notice):
        return "Creative Commons (see the work's own notice)"
    if _RESERVED.search(notice):
        return "rights reserved (see the work's own notice)"
    return ""
