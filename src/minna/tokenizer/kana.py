"""Phones written as katakana, for people: what a recogniser of phones heard, to be read.

A consonant and the vowel behind it are one kana or two (ky a is キャ), a vowel that goes on is ー.
What a model heard need not be Japanese, so a consonant without a vowel is written too, with the
vowel that Japanese puts there (u, behind t and d o). Kana that sound alike are one: ズ for ヅ. Two
equal vowels that meet (バアイ) look like a long one, バーイ: phones do not tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from minna.corpus.clip_rows import BOUNDARY, PAUSE

_VOWELS: Final = "aiueo"
_LONG: Final = "ー"
_ALONE: Final = {"N": "ン", "cl": "ッ", "q": "ッ", PAUSE: "", BOUNDARY: ""}
# consonant -> its kana with a, i, u, e, o
_ROWS: Final = {
    consonant: kana.split()
    for consonant, kana in {
        "": "ア イ ウ エ オ",
        "k": "カ キ ク ケ コ",
        "ky": "キャ キィ キュ キェ キョ",
        "kw": "クァ クィ ク クェ クォ",
        "g": "ガ ギ グ ゲ ゴ",
        "gy": "ギャ ギィ ギュ ギェ ギョ",
        "gw": "グァ グィ グ グェ グォ",
        "s": "サ スィ ス セ ソ",
        "sh": "シャ シ シュ シェ ショ",
        "z": "ザ ズィ ズ ゼ ゾ",
        "j": "ジャ ジ ジュ ジェ ジョ",
        "t": "タ ティ トゥ テ ト",
        "ty": "テャ ティ テュ テェ テョ",
        "ts": "ツァ ツィ ツ ツェ ツォ",
        "ch": "チャ チ チュ チェ チョ",
        "d": "ダ ディ ドゥ デ ド",
        "dy": "デャ ディ デュ デェ デョ",
        "n": "ナ ニ ヌ ネ ノ",
        "ny": "ニャ ニィ ニュ ニェ ニョ",
        "h": "ハ ヒ フ ヘ ホ",
        "hy": "ヒャ ヒィ ヒュ ヒェ ヒョ",
        "f": "ファ フィ フ フェ フォ",
        "fy": "フャ フィ フュ フェ フョ",
        "b": "バ ビ ブ ベ ボ",
        "by": "ビャ ビィ ビュ ビェ ビョ",
        "p": "パ ピ プ ペ ポ",
        "py": "ピャ ピィ ピュ ピェ ピョ",
        "v": "ヴァ ヴィ ヴ ヴェ ヴォ",
        "m": "マ ミ ム メ モ",
        "my": "ミャ ミィ ミュ ミェ ミョ",
        "r": "ラ リ ル レ ロ",
        "ry": "リャ リィ リュ リェ リョ",
        "y": "ヤ イ ユ イェ ヨ",
        "w": "ワ ウィ ウ ウェ ウォ",
    }.items()
}
_WITHOUT_VOWEL: Final = {"t": "ト", "d": "ド"}


def kana_of_phones(phones: Sequence[str]) -> str:
    """Write Open JTalk's or Julius' phones as katakana; what is no phone stays as it is."""
    written: list[str] = []
    waiting = before = ""
    for phone in phones:
        vowel = phone.removesuffix(":")
        if vowel in _VOWELS and vowel:
            goes_on = not waiting and vowel == before
            written.append(_LONG if goes_on else _ROWS[waiting][_VOWELS.index(vowel)])
            written += [_LONG] if phone != vowel else []
            waiting, before = "", vowel
            continue
        written.append(_alone(waiting))
        waiting, before = (phone, "") if phone in _ROWS else ("", "")
        written.append("" if waiting else _ALONE.get(phone, phone))
    return "".join([*written, _alone(waiting)])


def _alone(consonant: str) -> str:
    """A consonant without a vowel."""
    if not consonant:
        return ""
    return _WITHOUT_VOWEL.get(consonant, _ROWS[consonant][_VOWELS.index("u")])
