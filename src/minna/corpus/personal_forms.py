"""The forms personal data is written in, as regular expressions (what uses them: personal.py).

Full-width digits and every hyphen people type are known (normalisation keeps ‐, ー and −). Each
pattern is bounded, so that a line of a million digits costs a million steps.
"""

from __future__ import annotations

import re
from typing import Final

_D = "[0-9０-９]"
_H = "[-\u2010-\u2015\u2212\u30fc\uff0d\uff70]"
_OPEN, _CLOSE = "[(（]", "[)）]"
_BEGINS = f"(?<!{_D})(?<!{_D}[-.,:/])(?<![A-Za-z]-)"
_ENDS = f"(?!{_D})(?!{_H}{_D})(?![.,:]{_D})"

EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])(?!git@)[A-Za-z0-9][A-Za-z0-9.．_%+-]{0,63}"
    r"(?:[@＠]| ?[(（\[]at[)）\]] ?)"
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}[A-Za-z0-9])?[.．])+"
    r"(?!(?:png|jpe?g|gif|svg|webp|css|js|py|md|txt|html?)(?![A-Za-z]))"
    r"[A-Za-z]{2,24}(?![A-Za-z0-9-])"
)

_PREFECTURES = (
    "(?:北海道|(?:青森|岩手|宮城|秋田|山形|福島|茨城|栃木|群馬|埼玉|千葉|神奈川|新潟|富山|石川|福井|"
    "山梨|長野|岐阜|静岡|愛知|三重|滋賀|兵庫|奈良|和歌山|鳥取|島根|岡山|広島|山口|徳島|香川|愛媛|高知|"
    "福岡|佐賀|長崎|熊本|大分|宮崎|鹿児島|沖縄)県|東京都|[京大](?:都|阪)府)"
)
POSTCODE: Final = re.compile(
    rf"(?:〒 ?|(?P<cue>(?<=郵便番号)[はが:：]? ?)"
    rf"|{_BEGINS}(?={_D}{{3}}{_H}{_D}{{4}} ?{_PREFECTURES}))"
    rf"{_D}{{3}}{_H}?{_D}{{4}}{_ENDS}"
)

_LETTERS = "一-鿿々〆ヵヶァ-ヺーぁ-ゖ"
_NUMBER = f"(?:{_D}{{1,5}}|[一二三四五六七八九十百千〇]{{1,7}})"
_YEAR = f"(?:1[6-9]|20){_D}{{2}}{_H}"
_STREET = (
    f"(?P<town>[{_LETTERS}]{{1,10}}?[市区町村郡][{_LETTERS} ]{{0,20}}?)"
    f"(?:{_D}{{1,3}}(?:条|線)[東西南北]{{0,2}})?"
    f"(?!{_YEAR})(?:{_NUMBER}(?:(?:丁目|番地の?|番|の|{_H}){_NUMBER}){{1,4}}"
    f"|{_NUMBER}(?=丁目|番地))"
    f"(?:丁目|番地|号)?(?!{_D})(?![日月年人個回点枚度円倍割位時分名社校対勝敗])"
    rf"(?: ?[A-Za-z一-鿿ァ-ヺ][A-Za-z一-鿿ァ-ヺーの]{{1,14}} ?{_D}{{1,4}}"
    "(?:号室|階|F(?![A-Za-z])))?"
)
ADDRESS: Final = re.compile(f"{_PREFECTURES} ?{_STREET}")
ADDRESS_BEHIND_POSTCODE: Final = re.compile(f"(?P<cue>〔郵便番号〕 ?){_STREET}")
NO_TOWN: Final = re.compile("^[内のはでにをとが]|[はをでへ]|から|まで|より|という|の$|にお|には")

_OCTET = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
IP: Final = re.compile(
    rf"(?<![0-9A-Za-z.])(?:{_OCTET}\.){{3}}{_OCTET}(?![0-9A-Za-z]|\.[0-9])", re.ASCII
)
NOBODYS: Final = re.compile(
    r"(?:0|10|127|255)\.|192\.168\.|169\.254\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|2(?:2[4-9]|[345][0-9])\."
)
VERSION: Final = re.compile(
    "(?:v|ver|version|build|release|rev|版|バージョン|第|章|節|§)[.:： ]*$", re.IGNORECASE
)
SHORT_IP: Final = 9
"""Characters under which four numbers, such as 1.2.3.4, are a version as often as an address."""

_GAP = f"(?:{_H}| )"


def _shape(first: str, middle: int, last: int) -> str:
    """A number of three groups: 03-1234-5678, (03)1234-5678 or 03(1234)5678."""
    middle_group, last_group = f"{_D}{{{middle}}}", f"{_D}{{{last}}}"
    forms = (
        f"{first}{_GAP}{middle_group}{_GAP}{last_group}",
        f"{_OPEN}{first}{_CLOSE}{_GAP}?{middle_group}{_GAP}{last_group}",
        f"{first} ?{_OPEN}{middle_group}{_CLOSE}{_GAP}?{last_group}",
    )
    return "|".join(forms)


_JAPAN = (
    rf"\+81{_GAP}?(?:{_OPEN}0{_CLOSE})?{_GAP}?"
    rf"[1-9]{_D}{{0,3}}{_GAP}?{_D}{{1,4}}{_GAP}?{_D}{{4}}"
)
TELEPHONE: Final = re.compile(
    rf"(?:(?<=TEL)|(?<=Tel)|(?<=FAX)|(?<=Fax)|(?<![A-Za-z])){_BEGINS}(?:"
    + "|".join(
        (
            _JAPAN,
            rf"\+[1-9]{_D}{{0,2}}{_GAP}{_OPEN}?{_D}{{1,4}}{_CLOSE}?(?:{_GAP}{_D}{{2,4}}){{2,3}}",
            _shape("[0０][1-9１-９]", 4, 4),
            _shape(f"[0０][1-9１-９]{_D}", 3, 4),
            _shape(f"[0０][1-9１-９]{_D}{{2}}", 2, 4),
            _shape(f"[0０][1-9１-９]{_D}{{3}}", 1, 4),
            _shape("[0０][5789５７８９][0０]", 4, 4),
            _shape("[0０](?:120|570|990|１２０|５７０|９９０)", 3, 3),
            _shape("[0０](?:800|８００)", 3, 4),
            rf"[0０][5789５７８９][0０]{_D}{{8}}",
            rf"[0０](?:120|１２０){_D}{{6}}",
            rf"(?:{_OPEN}[2-9][0-9]{{2}}{_CLOSE} ?|[2-9][0-9]{{2}}-)[2-9][0-9]{{2}}-[0-9]{{4}}",
        )
    )
    + rf"){_ENDS}"
)
CUED: Final = re.compile(
    r"(?P<cue>(?:電話|携帯|TEL|Tel|FAX|Fax|ファックス|ファクス|☎|℡)(?:番号)?[はが:：. ]{0,2})"
    rf"{_D}{{2,4}}{_H}{_D}{{4}}{_ENDS}"
)


DIGITS: Final = re.compile(rf"{_D}(?:{_D}|{_H}|[.()（） ]){{5}}")
"""Six characters of a number: in every postal code, IP address and telephone number."""
NUMBER_STARTS: Final = re.compile(rf"[+(（]?(?<!{_D}){_D}(?=(?:{_D}|{_H}|[.()（） ]){{5}})")
HINT: Final = re.compile(r"[0-9０-９@＠\])）都道府県]")
"""A text without any of these holds nothing: most short texts are done with after this."""
