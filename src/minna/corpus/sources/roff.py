r"""From the source of a manual page to its prose: `man` and `mdoc` macros, no groff needed.

groff would lay the page out (lines of 80 columns, hyphens, tables as drawings), and that layout is
what a model must not learn. Here lines that groff would fill become one line a paragraph, fonts and
escapes go, and what is shown unfilled (.nf, .EX: code and screens; .TS: tables) goes whole.
"""

from __future__ import annotations

import re
from typing import Final

from minna.corpus.sources.mdoc import MACROS, words_of
from minna.corpus.sources.spaces import join_lines

_SPECIAL: Final = {
    "aq": "'", "dq": '"', "lq": "“", "rq": "”", "oq": "‘", "cq": "’", "bu": "•", "em": "—",
    "en": "–", "hy": "-", "mi": "-", "rs": "\\", "ha": "^", "ti": "~", "co": "©", "rg": "®",
    "tm": "™", "ga": "`", "aa": "´", "mu": "×", "di": "÷", "->": "→", "<-": "←", "<=": "≤",
    ">=": "≥", "!=": "≠", "+-": "±", "de": "°", "sc": "§", "at": "@", "sh": "#", "Do": "$",
    "lB": "[", "rB": "]", "lC": "{", "rC": "}", "ba": "|", "or": "|", "sl": "/", "12": "½",
    "14": "¼", "34": "¾", "Eu": "€", "Fo": "«", "Fc": "»", "ss": "ß", "ae": "æ", "AE": "Æ",
    "o/": "ø", "O/": "Ø",
}  # fmt: skip
_STRINGS: Final = {"lq": "“", "rq": "”", "R": "®", "Tm": "™", "S": "", "Aq": "'", "Ba": "|"}
_ACCENTS: Final = {"'": "\u0301", "`": "\u0300", "^": "\u0302", ":": "\u0308", "~": "\u0303"}

_COMMENT = re.compile(r'(?:^[.\']?[ \t]*\\"|\\"|\\#).*')
_ESCAPE = re.compile(
    r"""\\(?:
      f(?:\[[^\]\n]{0,200}\]|\(..|.)                                # font
    | s(?:[+-]?\[[^\]\n]{0,200}\]|\([+-]?..|[+-]?\d|[+-]?'[^'\n]*') # size
    | [mMFY](?:\[[^\]\n]{0,200}\]|\(..|.)                           # colour, family
    | [hvwblLoDXZRAxSHBC]'[^'\n]*'                            # moves, lines, widths
    | [nkgV](?:\[[^\]\n]{0,200}\]|[+-]?\(..|.)                      # registers
    | \*(?:\[([^\]\n]{0,200})\]|\((..)|(.))                         # strings: 1, 2, 3
    | \(((?:..))                                              # \(xx: 4
    | \[([^\]\n]{0,200})\]                                          # \[xx]: 5
    | N'(\d+)'                                                # 6
    | (.)                                                     # one character: 7
    )""",
    re.VERBOSE,
)
_ONE: Final = {"-": "-", "e": "\\", "\\": "\\", " ": " ", "~": " ", "0": " ", "'": "´", "`": "`",
               ".": ".", "t": " ", "_": "_", "(": "("}  # fmt: skip
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|((?:\\.|\S)+)')

_ALTERNATING: Final = frozenset(("BR", "RB", "BI", "IB", "IR", "RI"))
_SPACED: Final = frozenset(("B", "I", "SM", "SB", "R", "CW", "C"))
_HEADINGS: Final = frozenset(("SH", "SS", "Sh", "Ss"))
_PARAGRAPHS: Final = frozenset(
    ("PP", "P", "LP", "sp", "br", "HP", "RS", "RE", "Pp", "Lp", "Bl", "El", "Bd", "Ed")
)
_OPENS_DROPPED: Final = {
    "nf": "fi", "EX": "EE", "TS": "TE", "EQ": "EN", "PS": "PE", "SY": "YS", "Vb": "Ve",
    "de": ".", "de1": ".", "am": ".", "ami": ".", "ig": ".",
}  # fmt: skip
_LIST_MARKS: Final = frozenset(("•", "*", "o", "-", "–", "—", "·", "・", "○", "◯", "+"))
_UNFILLED = re.compile(r"-(?:literal|unfilled)\b")
_CONDITION = re.compile(r"(?:ie|if|el)\b.*")


def strip_roff(source: str) -> str:
    """The prose of a manual page: a line for each paragraph and heading, blank lines between."""
    page = _Page()
    for line in source.replace("\r\n", "\n").replace("\\\n", "").split("\n"):
        page.take(line)
    return page.text()


class _Page:
    """Reads source lines one after the other; what is dropped is waited out until its end."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._words: list[str] = []
        self._until = ""
        self._braces = 0
        self._name = ""
        self._heading_next = False
        self._tag = ""
        self._tag_next = False
        self._join_next = False

    def text(self) -> str:
        self._end_paragraph()
        return "\n\n".join(self._done)

    def take(self, line: str) -> None:
        if self._braces:  # inside .if ... \{ \}: lay-out for one kind of printer
            self._braces += line.count("\\{") - line.count("\\}")
            return
        is_macro = line[:1] in (".", "'") and len(line) > 1 and not line[1:].isspace()
        if self._until:
            if line == ".." or (is_macro and line[1:].strip().split(" ")[0] == self._until):
                self._until = ""
            return
        if '\\"' in line or "\\#" in line:
            line = _COMMENT.sub("", line)
            if not line.strip():
                return
        if is_macro:
            self._macro(line[1:].strip(" \t"))
        elif not line.strip():
            self._end_paragraph()
        else:
            self._add(unescape(line).strip(" \t"))
            self._join_next = line.endswith("\\c")

    def _macro(self, call: str) -> None:
        name, _, rest = call.partition(" ")
        if name in _OPENS_DROPPED or (name == "Bd" and _UNFILLED.search(rest)):
            self._until = _OPENS_DROPPED.get(name, "Ed")
            if self._until != ".":  # a definition or a remark may stand inside of a paragraph
                self._end_paragraph()
        elif _CONDITION.match(call):
            self._braces += call.count("\\{") - call.count("\\}")
        elif name in _HEADINGS:
            self._end_paragraph()
            words = " ".join(arguments(rest))
            if words:
                self._done.append(join_lines(words))
            else:
                self._heading_next = True
        elif name in _PARAGRAPHS:
            if self._words:  # a tag waits for its words also over a break
                self._end_paragraph()
        else:
            self._words_of(name, rest)

    def _words_of(self, name: str, rest: str) -> None:
        """Macros with words in their arguments; all others are lay-out and say nothing."""
        if name in _ALTERNATING:
            self._add("".join(arguments(rest)))
        elif name in _SPACED:
            self._add(" ".join(arguments(rest)))
        elif name in ("TP", "TQ"):
            self._end_paragraph()
            self._tag_next = True
        elif name == "IP":
            self._end_paragraph()
            self._start(" ".join(arguments(rest)[:1]))
        elif name in ("UE", "ME"):
            self._join_next = True
            self._add(" ".join(arguments(rest)))
        elif name == "It":
            self._end_paragraph()
            self._start(words_of(arguments(rest), page=self._name))
        elif name in MACROS:
            words = arguments(rest)
            if name == "Nm" and words and not self._name:
                self._name = words[0]
            self._add(words_of([name, *words], page=self._name))

    def _add(self, words: str) -> None:
        if self._heading_next and words:
            self._heading_next = False
            self._done.append(words)
            return
        if not words:
            return
        if self._tag_next:
            self._tag_next = False
            self._start(words)
            return
        if self._join_next and self._words:
            self._words[-1] += words
        else:
            self._words.append(words)
        self._join_next = False

    def _start(self, tag: str) -> None:
        """What is explained (an option, a word) has a line of its own; list marks say nothing."""
        is_mark = not tag or tag in _LIST_MARKS
        self._tag = "" if is_mark else f"{join_lines(tag)}\n"

    def _end_paragraph(self) -> None:
        if self._words:
            self._done.append(self._tag + join_lines("\n".join(self._words)))
        elif self._tag:
            self._done.append(self._tag.strip("\n"))
        self._words, self._tag = [], ""


def arguments(call: str) -> list[str]:
    """The arguments of a macro, unescaped; quotation marks hold words together, "" is one mark."""
    return [
        unescape((quoted or "").replace('""', '"') if bare == "" else bare)
        for quoted, bare in _ARGUMENT.findall(call)
    ]


def unescape(text: str) -> str:
    r"""Replace escapes by the characters they mean: \- -> -, \(em -> —, \fB -> nothing."""
    return _ESCAPE.sub(_character, text).removesuffix("\\") if "\\" in text else text


def _character(match: re.Match[str]) -> str:
    string = match.group(1) or match.group(2) or match.group(3)
    if string is not None:
        return _STRINGS.get(string, "")
    if (name := match.group(4) or match.group(5)) is not None:
        return _named(name)
    if (number := match.group(6)) is not None:
        return chr(int(number)) if int(number) <= 0x10FFFF else ""  # noqa: PLR2004 - Unicode's end
    return _ONE.get(match.group(7) or "", "")


def _named(name: str) -> str:
    if name in _SPECIAL:
        return _SPECIAL[name]
    if len(name) == 2 and name[0] in _ACCENTS and name[1].isalpha():  # noqa: PLR2004 - 'e
        return name[1] + _ACCENTS[name[0]]
    code = re.fullmatch(r"u([0-9A-Fa-f]{4,6})", name)
    number = int(code.group(1), 16) if code else 0
    is_character = 0 < number <= 0x10FFFF and not 0xD800 <= number <= 0xDFFF  # noqa: PLR2004
    return chr(number) if is_character else ""
