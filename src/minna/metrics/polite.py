"""Is a sentence polite (です・ます) or plain? Told from its last word form alone, by rule.

The same rule labels the data and rewards the model, so it must be fast, the same everywhere and
easy to read: no analyser, no dictionary. The trap is the plain verb that ends like a polite one:
目を覚ます, 友を励ました, 人をだました. The polite ます follows a stem in -i or -e, or one of the
few stems that are a single kanji (見ます, 来ます), and those verbs never have one, so the character
before it decides.

What it does not see: politeness before the end (いいですね、それ), honorific words (いらっしゃる)
and requests without です or ます (お休みなさい), which all count as plain.
"""

from __future__ import annotations

import re
from typing import Final, Literal

Style = Literal["polite", "plain"]

_STEM: Final = (
    "[いきしちにひみりぎじぢびぴえけせてねへめれげぜでべぺ見観診看視着寝出得来煮似経居射鋳獲]"
)
_ENDING: Final = (
    f"(?<={_STEM})(?:ます|ました|まして|ません|ましょう?|ませ|ますまい)"
    "|です|でした|でして|でしょう?|ください|下さい"
)
"""ませんでした and ないです end in a form of です."""
_PARTICLE: Final = (
    "か|かしら|ね[えぇ]?|よ[おぉ]?|な[あぁ]?|わ|の|ぞ|が|けれども?|けども?|から|ので|のに|し|もの|もん|とも"
    "|って|っけ|に|と"
)
_MARKS: Final = " \t\n　。．.！？!?…‥、，,・ー〜～っッ♪」』）)】〕”\"'’"
_POLITE: Final = re.compile(f"(?:{_ENDING})(?:{_PARTICLE}){{0,3}}$")
_LONGEST: Final = 24  # characters an ending and its particles can have, and the stem before them


def is_polite(text: str) -> bool:
    """Whether the last sentence of a text ends in a form of です or ます, or in ください.

    Final particles may follow (か, ね, よ, けど, から ...), and any marks, closing brackets and
    lengthened vowels (ですよー！).
    """
    return _POLITE.search(text.rstrip(_MARKS)[-_LONGEST:]) is not None


def style_of(text: str) -> Style:
    """The style of the last sentence of a text."""
    return "polite" if is_polite(text) else "plain"
