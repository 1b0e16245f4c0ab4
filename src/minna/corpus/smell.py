"""Does a text smell of machine translation or of a template? A score from 0 to 1, and a heuristic.

No model is behind it: it counts what careful writers of Japanese avoid and engines and content
farms do not. Pronouns in every sentence (彼は, 彼女の), because English needs a subject; phrases
such as することができます and という事実, because English has "can" and "the fact that"; a
connective before every second sentence; set phrases of pages made to be found (この記事では); long
lines without an end of sentence; lines that are one but for their numbers, katakana and Latin
words. Each sign alone says little: a diary has pronouns and a table has skeletons. So no document
is dropped for it by default (`max_smell` 1.0), and the card shows how the scores lie.

Median and 99th percentile: Aozora 0.05 and 0.30 (verse and letters on top), paragraphs of the
Japanese Wikipedia (JSQuAD) 0.00 and 0.16, hotel reviews 0.00 and 0.02; sentences translated from
English, 20 together, 0.19 and 0.32; corrected machine translations of chats 0.00 and 0.29. So it
tells translated prose from written prose in bulk, not document by document.

Short texts are judged mildly: hits are counted as if 400 clean characters stood before the text.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from minna.corpus.classes import Kind, kinds
from minna.corpus.phrases import Phrases
from minna.corpus.points import Int64, Points, Spans, UInt32, line_bounds

_PRONOUNS: Final = "彼 彼女 彼ら 彼女ら 彼女たち あなた あなたたち それ それら 私たち"
_PARTICLES: Final = "はがのをに"
_TRANSLATIONESE: Final = (
    "することができ することが可能 ことができます ことが可能です という事実 であるという "
    "であることを ことを意味し ことを確認し する必要があります しなければなりません "
    "を含む様々な のうちの1つ の1つです のうちの一つ の一つです 最も重要な に基づいて "
    "ために使用され を使用して を提供し を提供する によって行われ に応じて を可能にし "
    "のように見え ように思われます したいと思うでしょう かもしれません これらの それらの "
    "する際に していることを するのに十分 にもかかわらず する傾向があ を持っています"
)
_TEMPLATE: Final = (
    "いかがでしたか？ いかがでしたでしょうか この記事では 今回の記事 ご紹介していきます "
    "についてご紹介 について解説 を徹底解説 徹底比較 まとめました おすすめランキング "
    "人気ランキング 必見です 詳しくはこちら こちらをクリック 続きを読む もっと見る "
    "お問い合わせ お気軽にお問い 送料無料 会員登録 ログインする カートに 資料請求 "
    "無断転載 前の記事 次の記事 関連記事 口コミを見る 最安値 当サイト "
    "プライバシーポリシー 利用規約 トップページ ページトップ"
)
_CONNECTIVES: Final = (
    "また、 さらに、 そして、 しかし、 しかしながら、 したがって、 そのため、 例えば、 "
    "一方、 なお、 つまり、 加えて、 このように、 その結果、 同様に、"
)
_BEFORE: Final = ("。", "。 ", "\n")
_LONG_LINE: Final = 20
"""Shorter lines are headings and verse, and may end as they like."""
_ENOUGH_LINES: Final = 5
_INNOCENT: Final = 400
_ENDS: Final = "。．.！？!?…‥)）」』】〕〉》］]\"”'’♪:：、，,ー〜—―"

_COLUMNS: Final = (
    *("pronouns", "translationese", "template", "connectives"),
    *("sentences", "long_lines", "endless_lines", "lines", "same_skeleton"),
)
COUNTS: Final = len(_COLUMNS)
"""Columns of what `count` gives."""


def count(piece: Points, lower: UInt32, spans: Spans, lines: tuple[Int64, Int64]) -> Int64:
    """Count the signs in each document of a piece: [D, COUNTS]; counts of pieces add up.

    Args:
        piece: documents.
        lower: its code points in lower case [N].
        spans: hashes over `lower`.
        lines: its `line_bounds`.
    """
    documents = len(piece.ends)
    phrases = _phrases().counts(piece, lower, spans)
    sentences = _sentences(piece)
    starts, stops = lines
    owners = np.searchsorted(piece.ends, starts, side="right")
    long = stops - starts >= _LONG_LINE
    endless = long & ~_is_end()[piece.codes[stops - 1]]
    many = np.bincount(owners, minlength=documents)
    columns = (
        *phrases.T,
        sentences,
        np.bincount(owners[long], minlength=documents),
        np.bincount(owners[endless], minlength=documents),
        many,
        _same_skeletons(piece, many >= _ENOUGH_LINES),
    )
    return np.stack(columns, axis=1)


def score(counts: Int64, *, characters: Int64) -> npt.NDArray[np.float64]:
    """The score of each document [D]: 0 none of the signs, towards 1 all of them.

    Each sign gives from 0 to 1 (at the rate named here), times a weight; the score is
    1 - product of (1 - weight x sign).
    """
    sign = dict(zip(_COLUMNS, counts.T, strict=True))
    room = (characters + _INNOCENT) / 1000
    many = sign["lines"] >= _ENOUGH_LINES
    signs = (
        (0.4, sign["pronouns"] / room / 25),
        (0.5, sign["translationese"] / room / 15),
        (0.6, sign["template"] / room / 8),
        (0.3, sign["connectives"] / (sign["sentences"] + 4) / 0.5),
        (0.4, many * sign["endless_lines"] / (sign["long_lines"] + 4)),
        (0.7, many * sign["same_skeleton"] / np.maximum(1, sign["lines"])),
    )
    clean = np.ones(len(counts))
    for weight, strength in signs:
        clean *= 1 - weight * np.minimum(1.0, strength)
    return 1 - clean


@functools.cache
def _phrases() -> Phrases:
    return Phrases(
        [
            [who + particle for who in _PRONOUNS.split() for particle in _PARTICLES],
            _TRANSLATIONESE.split(),
            _TEMPLATE.split(),
            [before + word for word in _CONNECTIVES.split() for before in _BEFORE],
        ]
    )


@functools.cache
def _is_end() -> npt.NDArray[np.bool_]:
    return _marks(_ENDS)


@functools.cache
def _is_stop() -> npt.NDArray[np.bool_]:
    return _marks("。．！？!?")


def _marks(characters: str) -> npt.NDArray[np.bool_]:
    marks = np.zeros(0x110000, dtype=bool)
    marks[[ord(character) for character in characters]] = True
    return marks


def _sentences(piece: Points) -> Int64:
    places = np.flatnonzero(_is_stop()[piece.codes])
    return np.diff(np.searchsorted(places, piece.ends), prepend=0)


@functools.cache
def _skeleton_table() -> UInt32:
    """Code point -> itself; digits, katakana and Latin letters -> 1, 2, 3."""
    codes = np.arange(0x110000, dtype=np.uint32)
    for mark, kind in ((1, Kind.DIGIT), (2, Kind.KATAKANA), (3, Kind.LATIN)):
        codes[kinds() == kind] = mark
    return codes


def _same_skeletons(piece: Points, chosen: npt.NDArray[np.bool_]) -> Int64:
    """Lines of each chosen document whose skeleton another line before has, if they hold a run."""
    same = np.zeros(len(chosen), dtype=np.int64)
    if not chosen.any():
        return same
    codes = _skeleton_table()[piece.codes]
    stays = np.ones(len(codes), dtype=bool)
    run = codes < 4  # noqa: PLR2004 - the three marks
    stays[1:] = ~(run[1:] & (codes[1:] == codes[:-1]))
    stays[piece.ends[:-1][piece.ends[:-1] < len(codes)]] = True
    before = np.concatenate(([0], np.cumsum(stays)))
    short = Points(codes[stays], before[piece.ends])
    starts, stops = line_bounds(short)
    owners = np.searchsorted(short.ends, starts, side="right")
    runs = np.concatenate(([0], np.cumsum(short.codes < 4)))  # noqa: PLR2004
    candidate = chosen[owners] & (runs[stops] > runs[starts])
    starts, stops, owners = starts[candidate], stops[candidate], owners[candidate]
    hashes: npt.NDArray[Any] = Spans(short.codes).hashes(starts, stops)
    order = np.lexsort((hashes, owners))
    again = (hashes[order][1:] == hashes[order][:-1]) & (owners[order][1:] == owners[order][:-1])
    return np.bincount(owners[order][1:][again], minlength=len(chosen))
