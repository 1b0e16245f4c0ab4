"""`card.md` of a corpus of pictures, in Japanese and English: what is in it, what went and why.

Pictures are not shown: a card is text that travels, and the licence of a picture may not allow that
it travels with it. Samples are told by their captions, their size and their terms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from minna.artifact import Licence
from minna.corpus.card_blocks import Words, cut, markdown, quoted
from minna.corpus.card_tables import SPLITS, count_table, in_words, split_table, terms, to_confirm
from minna.corpus.card_words import LEGAL_NOTES, LEGAL_NOTES_JA
from minna.corpus.pair_rows import PairRow, Tally
from minna.units import format_bytes

PAIR_NOTES: Final = (
    (
        "Portraits and private places: pictures may show people who can be recognised. The builder "
        "confirms that their rights (in Japan also the right of portrait) are respected."
    ),
    (
        "Content: pictures are not looked at by any filter for violence, nudity or illegal "
        "content. The builder confirms that the source was checked for it."
    ),
)
"""What a builder of pictures that somebody has confirms besides."""
_PAIR_NOTES_JA: Final = (
    (
        "肖像と私的な場所：画像には特定できる人物が写っていることがあります。作成者は、その人の権利"
        "（日本では肖像権を含む）が守られていることを確認してください。"
    ),
    (
        "内容：暴力・裸体・違法な内容を除くフィルタはかけていません。作成者は、出典についてそれを"
        "確認したことを確かめてください。"
    ),
)
_JAPANESE: Final[dict[str, str]] = dict(
    zip((*LEGAL_NOTES, *PAIR_NOTES), (*LEGAL_NOTES_JA, *_PAIR_NOTES_JA), strict=True)
)
REASONS: Final = {
    "duplicate": Words("the same file came before", "同じファイルが先に現れている"),
    "no_caption": Words("no caption is left of it", "キャプションが残らない"),
    "empty": Words("the file is empty", "ファイルが空である"),
    "missing": Words("its file is not there", "ファイルがない"),
    "outside": Words("its file lies outside of the folder", "ファイルがフォルダの外にある"),
    "not_a_picture": Words(
        "it is no PNG, JPEG, WebP, GIF or BMP", "PNG・JPEG・WebP・GIF・BMP のいずれでもない"
    ),
    "damaged": Words("it is cut or broken", "途中で切れている、または壊れている"),
    "too_large": Words("it is too large to be opened safely", "安全に開ける大きさを超えている"),
    "too_small": Words("it has a side of one pixel", "一辺が 1 画素しかない"),
    "undrawable": Words("it cannot be drawn", "描画できない"),
    "malformed": Words("its row or its side-car is broken", "行または付属ファイルが壊れている"),
    "no_picture": Words("its row has no picture", "行に画像がない"),
    "not_listed": Words("no caption is listed for it", "キャプションの一覧にない"),
}
"""Why pictures go."""
_SHOWN: Final = 12


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card tells.

    Attributes:
        name: of the source.
        read: pictures the source gave.
        groups: that what was written forms.
        near: pictures in a group because they look like another.
        tally: what was written.
        dropped: reason -> pictures.
    """

    name: str
    read: int
    groups: int
    near: int
    tally: Tally
    dropped: Mapping[str, int]
    licences: Sequence[Licence]
    legal: Sequence[str]


def card(facts: CardFacts) -> str:
    """Write card.md."""
    shown = "\n".join(map(_sample, facts.tally.samples[:_SHOWN]))
    sections = [
        f"# 画像とキャプションのコーパス / Corpus of pictures with captions: {facts.name}",
        f"## 日本語\n\n{_japanese(facts)}",
        f"## English\n\n{_english(facts)}",
        _cells(facts.tally),
        count_table("キャプションの種類 / kinds of captions", facts.tally.kinds),
        count_table("ライセンス別 / pictures by licence", facts.tally.licences),
        count_table("除いたもの / dropped", in_words(facts.dropped, REASONS)),
        f"## 例 / Samples\n\n{shown}",
        terms(facts.licences),
        to_confirm(facts.legal, japanese=_JAPANESE),
    ]
    return "\n\n".join(sections) + "\n"


def _japanese(facts: CardFacts) -> str:
    tally = facts.tally
    alike = (
        f"うち {facts.near:,} 枚は、他の画像とほぼ同じであるためその画像と同じグループに入れた。"
    )
    return (
        f"{facts.read:,} 枚を読み、{tally.kept:,} 枚の画像（{format_bytes(tally.image_bytes)}）を"
        f"残した。キャプションは {tally.captions:,} 件（{tally.characters:,} 文字）。"
        f"グループ（分割をまたがない単位）は {facts.groups:,}。" + alike * bool(facts.near)
    )


def _english(facts: CardFacts) -> str:
    tally = facts.tally
    alike = f"; {facts.near:,} pictures share one because they look nearly like another"
    return (
        f"{facts.read:,} pictures read, {tally.kept:,} kept ({format_bytes(tally.image_bytes)}) "
        f"with {tally.captions:,} captions ({tally.characters:,} characters). They form "
        f"{facts.groups:,} groups, none of which straddles a split{alike * bool(facts.near)}."
    )


def _cells(tally: Tally) -> str:
    """Pictures by source and split."""
    rows = {
        source: [*(f"{tally.cells[source, split]:,}" for split in SPLITS), f"{count:,}"]
        for source, count in tally.sources.items()
    }
    rows["計 / all"] = [*(f"{tally.splits[split]:,}" for split in SPLITS), f"{tally.kept:,}"]
    return split_table("出典と分割 / sources and splits", rows)


def _sample(row: PairRow) -> str:
    """A picture in words."""
    terms = f"{markdown(row.source)}, {row.width} x {row.height}, {markdown(row.licence)}"
    captions = [f"  - {markdown(one.kind)}: {quoted(cut(one.text))}" for one in row.captions]
    return "\n".join([f"- `{row.id}` ({terms})", *captions])
