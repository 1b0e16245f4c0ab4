"""What a file of a Debian package is, by its path, and the prose inside of it.

Three tables and one tolerant reader of tags do for HTML, DocBook and Mallard: their documents hold
entities that only their own build knows, so a strict XML reader would refuse what people can read.
Blocks of code, screens, menus and scripts go; a word of code inside of a sentence stays, because a
sentence with a hole in it teaches worse than one with `ls` in it.
"""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import PurePosixPath
from typing import Any, Final, Literal

from minna.corpus.sources.roff import strip_roff
from minna.corpus.sources.spaces import join_lines

Kind = Literal["roff", "html", "xml", "text"]

_MANUAL = re.compile(r"usr/share/man/(?:([A-Za-z0-9_.@-]+)/)?man[0-9][a-z]*/[^/]+\.[0-9][^/]*")
_DOCUMENTS = re.compile(
    r"usr/share/(?:doc|help|gnome/help|doc-base|[^/]+/(?:[^/]+/)?(?:help|doc|docs|html))/"
)
_PAGES = re.compile(r"usr/share/(?!javascript/|nodejs/|php/|perl|python|gems/|web)")
_NOT_PROSE = re.compile(
    r"(?:changelog|changes|copyright|copying|licen[cs]e|news|authors|thanks|todo|buildinfo"
    r"|genindex|py-modindex|search|index-all|allclasses)",
    re.IGNORECASE,
)
_KINDS: Final[dict[str, Kind]] = {
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".xml": "xml",
    ".page": "xml",
    ".docbook": "xml",
    ".txt": "text",
}
_CODE_IN_PATH = re.compile(
    r"(?:^|[/._-])(ja|en)(?:[-_][A-Za-z]{2})?(?:\.utf-?8)?(?=[/._])", re.IGNORECASE
)
_CODE_IN_TEXT = re.compile(
    r"<(?:html|page|book|article)\b[^>]*?\blang=[\"']?([A-Za-z]{2})", re.IGNORECASE
)

# fmt: off
_DROPPED: Final = frozenset({
    "pre", "script", "style", "nav", "head", "svg", "math", "select", "button", "template",
})
_DROPPED_XML: Final = frozenset({
    "programlisting", "screen", "synopsis", "cmdsynopsis", "funcsynopsis", "literallayout",
    "bookinfo", "articleinfo", "info", "indexterm", "index", "remark", "screenshot",
})
_BLOCKS: Final = frozenset({
    "p", "div", "li", "dt", "dd", "h1", "h2", "h3", "h4", "h5", "h6", "tr", "table", "ul", "ol",
    "dl", "br", "hr", "section", "article", "blockquote", "caption", "header", "footer", "main",
})
_BLOCKS_XML: Final = frozenset({
    "para", "simpara", "title", "subtitle", "listitem", "term", "item", "row", "chapter", "sect1",
    "sect2", "sect3", "note", "tip", "warning", "steps", "terms", "list", "figure", "example",
    "desc", "variablelist", "itemizedlist", "orderedlist", "formalpara", "page",
})
_CELLS: Final = frozenset({"td", "th", "entry"})
# fmt: on


def kind_of(path: str) -> Kind | None:
    """What the file at this path of a package is, or None where it is not read."""
    plain = path.removesuffix(".gz")
    if _MANUAL.fullmatch(plain):
        return "roff"
    name = PurePosixPath(plain).name
    if _NOT_PROSE.match(name) or not _PAGES.match(plain):
        return None
    if not _DOCUMENTS.match(plain):  # a manual may have a folder of its own, but no other data
        return "html" if name.lower().endswith((".html", ".htm", ".xhtml")) else None
    if name.upper().startswith("README") and "." not in name.replace(".Debian", ""):
        return "text"
    return next((kind for ending, kind in _KINDS.items() if name.lower().endswith(ending)), None)


def language_of(path: str, *, text: str, kind: Kind) -> str:
    """The language a path or a document states ("" where neither does).

    The plain folder of manual pages is English by policy; usr/share/doc/PACKAGE says nothing with
    the package's own name, only with what stands behind it.
    """
    if kind == "roff":
        found = _MANUAL.fullmatch(path.removesuffix(".gz"))
        code = found.group(1) if found else None
        return re.split(r"[_.@]", code)[0].lower() if code else "en"
    parts = path.split("/")
    behind = "/".join(parts[4:] if parts[2] == "doc" else parts[3:])
    if behind.startswith("C/") or "/C/" in behind:
        return "en"  # the untranslated original
    if stated := _CODE_IN_PATH.search(behind):
        return stated.group(1).lower()
    stated = None if kind == "text" else _CODE_IN_TEXT.search(text[:4000])
    return stated.group(1).lower() if stated else ""


def plain_text(text: str, *, kind: Kind) -> str:
    """The prose of a document: blocks apart by line ends, nothing of its mark-up."""
    if kind == "text":
        return text
    if kind == "roff":
        return strip_roff(text)
    reader = _Html() if kind == "html" else _Xml()
    reader.feed(_without_open_comment(text))
    reader.close()
    return reader.prose()


def _without_open_comment(text: str) -> str:
    """Up to a comment that nothing closes, as browsers show it.

    The parser looks for the end of each one to the end of the text: 100,000 of them take hours.
    """
    closed = text.rfind("-->")
    opened = text.find("<!--", closed + 3 if closed >= 0 else 0)
    return text[:opened] if opened >= 0 else text


class _Reader(HTMLParser):
    """Collects the text between tags: a block begins a line, what is dropped is skipped whole."""

    dropped: frozenset[str] = frozenset()
    blocks: frozenset[str] = frozenset()

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._done: list[str] = []
        self._parts: list[str] = []
        self._inside: list[str] = []  # dropped elements that are open, of one name

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        tag = tag.rpartition(":")[2]
        if tag == "body":
            self._inside.clear()  # </head> may be left out in HTML
        elif self._inside:
            if tag == self._inside[0]:
                self._inside.append(tag)
        elif tag in self.dropped:
            self._inside.append(tag)
        elif tag in self.blocks:
            self._end_block()
        elif tag in _CELLS:
            self._parts.append(" ")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        tag = tag.rpartition(":")[2]
        if self._inside:
            if tag == self._inside[-1]:
                self._inside.pop()
        elif tag in self.blocks:
            self._end_block()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self._parts.append(data)

    def unknown_decl(self, data: str) -> None:
        """A CDATA section holds text."""
        if data.startswith("CDATA["):
            self.handle_data(data.removeprefix("CDATA["))

    def prose(self) -> str:
        """The blocks, each on a line of its own."""
        self._end_block()
        return "\n".join(self._done)

    def _end_block(self) -> None:
        words = join_lines("".join(self._parts))
        if words.strip():  # a no-break space is none to join_lines, and no words either
            self._done.append(words)
        self._parts = []


class _Html(_Reader):
    dropped = _DROPPED
    blocks = _BLOCKS


class _Xml(_Reader):
    dropped = _DROPPED | _DROPPED_XML
    blocks = _BLOCKS | _BLOCKS_XML

    def set_cdata_mode(self, elem: str, **_: Any) -> None:
        """Nothing: the <title> of DocBook holds elements, where that of HTML holds characters."""
