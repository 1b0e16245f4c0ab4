"""BSD's macros for manual pages: words that mean something, with macros among them.

`.Op Fl a Ar file` is "[-a file]": unlike in `man`, the arguments of a macro may be macros again, so
a line is read word by word. Only what ends in the text is kept; fonts and indentation are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

# fmt: off
_PLAIN: Final = frozenset({
    "Nm", "Fl", "Ar", "Cm", "Xr", "Em", "Sy", "Li", "Pa", "Ev", "Va", "Vt", "Dv", "Er", "Fn", "Fa",
    "Ft", "Ic", "An", "At", "Bx", "Fx", "Nx", "Ox", "St", "Tn", "Ux", "Lk", "Mt", "Ad", "Cd", "Ms",
    "No", "Ns",
})
_FIRST: Final = frozenset({"Nd", "%A", "%T", "%B", "%D", "%I", "%J", "%O", "%R", "%V", "%P", "%N"})
_AROUND: Final = {
    "Op": ("[", "]"), "Bq": ("[", "]"), "Pq": ("(", ")"), "Brq": ("{", "}"), "Aq": ("<", ">"),
    "Dq": ("“", "”"), "Sq": ("‘", "’"), "Ql": ("‘", "’"), "Qq": ('"', '"'),
}
_OPENS: Final = {"Oo": "[", "Bo": "[", "Po": "(", "Bro": "{", "Ao": "<", "Do": "“", "So": "‘"}
_CLOSES: Final = {"Oc": "]", "Bc": "]", "Pc": ")", "Brc": "}", "Ac": ">", "Dc": "”", "Sc": "’"}
# fmt: on
_CALLED: Final = _PLAIN | _AROUND.keys() | _OPENS.keys() | _CLOSES.keys()
_MARKS: Final = frozenset((".", ",", ";", ":", ")", "]", "?", "!"))
_ENDS: Final = frozenset((".", ",", ";", ":", "?", "!"))
_ALONE: Final = {"Fl": "-", "Ar": "file ...", "Ux": "UNIX", "Nx": "NetBSD", "Fx": "FreeBSD"}

MACROS: Final = _CALLED | _FIRST
"""All macros of a line that end in words."""


def words_of(words: Sequence[str], *, page: str) -> str:
    """The text of a line.

    Args:
        words: its macros and their arguments, unescaped.
        page: the name of the page, for `.Nm` without one.
    """
    line = _Line()
    macro, arguments = "", 0
    for place, word in enumerate(words):
        if word not in _CALLED and not (place == 0 and word in _FIRST):
            arguments += 1
            line.add(word, macro=macro, number=arguments)
            continue
        macro, arguments = word, 0
        following = words[place + 1] if place + 1 < len(words) else "."
        if following in _MARKS or following in _CALLED:
            line.add({**_ALONE, "Nm": page}.get(macro, ""), macro="", number=1)
        line.open(macro)
    return line.text()


class _Line:
    """Words so far, the brackets that wait for the end, and whether the next word clings."""

    def __init__(self) -> None:
        self._words: list[str] = []
        self._closing: list[str] = []
        self._clings = False

    def add(self, word: str, *, macro: str, number: int) -> None:
        """Take argument `number` of a macro ("" for a word without one)."""
        if not word:
            return
        if macro == "Xr" and number == 2:  # noqa: PLR2004 - .Xr page section
            self._glue(f"({word})")
        elif word in _MARKS or self._clings:
            self._glue(f"-{word}" if macro == "Fl" and word not in _MARKS else word)
        else:
            self._words.append(f"-{word}" if macro == "Fl" else word)
        self._clings = False

    def open(self, macro: str) -> None:
        """Write what stands before a macro's arguments."""
        if macro in _AROUND or macro in _OPENS:
            before = _AROUND[macro][0] if macro in _AROUND else _OPENS[macro]
            self._closing.extend(_AROUND[macro][1:] if macro in _AROUND else ())
            if self._clings:
                self._glue(before)
            else:
                self._words.append(before)
            self._clings = True
        elif macro in _CLOSES:
            self._glue(_CLOSES[macro])
        elif macro == "Ns":
            self._clings = True
        elif macro == "Nd":
            self._words.append("-")

    def text(self) -> str:
        """The line, with its brackets closed; a mark at its end stays behind them."""
        mark = ""
        if self._closing and self._words and self._words[-1][-1:] in _ENDS:
            mark, self._words[-1] = self._words[-1][-1], self._words[-1][:-1]
        self._glue("".join(reversed(self._closing)) + mark)
        return " ".join(self._words)

    def _glue(self, more: str) -> None:
        if self._words:
            self._words[-1] += more
        elif more:
            self._words.append(more)
