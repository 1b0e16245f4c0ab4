"""What a vocabulary does to things that text is full of and averages hide, and how it is asked.

Short lists of our own making. A set's fertility is tokens per item: a name that costs four tokens
is four predictions a model must get right. Where an item holds an unknown piece its low cost means
that it was lost, so the share of such items stands beside it.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from minna.tokenizer.load import Tokenizer

FERTILITY: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "names": (
            "佐藤", "鈴木", "高橋", "渡邉", "斎藤", "齋藤", "長谷川", "小鳥遊", "東海林",
            "勅使河原", "陽葵", "蓮", "結菜", "大翔", "さくら", "太郎", "花子", "夏目漱石",
            "紫式部", "トーマス", "エリザベス", "東京都", "札幌市", "那覇", "北九州市",
            "鹿児島", "ニューヨーク", "富士山",
        ),
        "numbers": (
            "7", "42", "100", "365", "1995", "2024", "12345", "1,234,567", "3.14", "98.6%",
            "¥1,980", "二〇二四年", "百二十三", "第三十二条", "午後3時15分", "03-1234-5678",
            "2024-04-01", "１２３", "1/2", "10^6", "0x1F", "v2.5.1",
        ),
        "code": (
            "for i in range(10):", "    return x + 1", "int main(void) {",
            "if (a == b && c != d)", "import numpy as np", "SELECT name FROM users;",
            '<div class="item">', "git commit -m", "x = [n**2 for n in xs]",
            "def __init__(self):", 'printf("%d\\n", n);', "a->b = *c++;",
            "\tprint('こんにちは')", "export PATH=$HOME/bin", '{"key": [1, 2, null]}',
        ),
        "emoji": (
            "😀", "😂", "🙏", "❤️", "👍🏽", "🎉", "🌸", "🗻", "🍣", "👨‍👩‍👧", "🏳️‍🌈",
            "🇯🇵", "☺", "♨️", "㊗️", "(^_^)", "orz", "(´・ω・｀)", "www", "ヽ(´ー｀)ノ",
        ),
        "urls": (
            "https://example.com/", "http://www.example.jp/index.html", "info@example.org",
            "https://example.co.jp/search?q=%E7%8C%AB&page=2", "ftp://ftp.example.net/pub/",
            "https://ja.example.org/wiki/日本語", "www.example.ac.jp", "#タグ", "@user_name",
        ),
        "old kanji": (
            "國", "學校", "體", "臺灣", "澤", "邊", "櫻", "鐵道", "戰爭", "讀書", "寫眞",
            "圓", "會社", "驛", "廣島", "氣", "藝術", "實", "舊", "辭典", "饗宴", "ゐる",
            "思ふ", "けふ", "てふてふ",
        ),
        "english": (
            "the", "and", "of", "water", "people", "government", "information", "Hello",
            "London", "university", "understanding", "computer", "JAPAN", "don't",
            "language model", "through", "beautiful", "international", "data", "I",
        ),
    }
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fertility:
    """What one set of items costs."""

    items: int
    tokens_per_item: float
    bytes_per_token: float
    items_with_unknown: float


def measure_fertility(tokenizer: Tokenizer) -> dict[str, Fertility]:
    """Encode every item of `FERTILITY` on its own."""
    found: dict[str, Fertility] = {}
    for name, items in FERTILITY.items():
        ids, offsets = tokenizer.encode_batch(items)
        lost = [
            bool(np.any(ids[start:end] == tokenizer.unk_id))
            for start, end in itertools.pairwise(offsets)
        ]
        found[name] = Fertility(
            items=len(items),
            tokens_per_item=len(ids) / len(items),
            bytes_per_token=sum(len(item.encode()) for item in items) / len(ids),
            items_with_unknown=sum(lost) / len(items),
        )
    return found
