"""`card.md` of a corpus of dialogues, in Japanese and English: what is in it, what went and why.

Shorter than the card of a text corpus: there are no filters whose thresholds need a picture. What a
reader must see is what the turns look like, since it is they that a model repeats.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from minna.artifact import Licence
from minna.corpus.card_blocks import cut, markdown, quoted
from minna.corpus.card_words import LEGAL_NOTES, LEGAL_NOTES_JA
from minna.corpus.dialogue_rows import Row, Tally
from minna.units import format_bytes

DIALOGUE_NOTES = (
    (
        "Personal data is not masked in dialogues. The builder confirms that none stands in them "
        "that must not be passed on."
    ),
    (
        "Who wrote the answers: those of another company's model may be bound by its terms of use "
        "(some forbid training other models on them). The builder confirms that they allow this."
    ),
)
"""What a builder of dialogues confirms besides."""
_DIALOGUE_NOTES_JA = (
    (
        "対話の個人情報は伏せ字にしていません。作成者は、渡してはならない個人情報が含まれて"
        "いないことを確認してください。"
    ),
    (
        "回答の書き手：他社のモデルが書いた回答には、その利用規約（他のモデルの学習を禁じるものも"
        "あります）が及ぶことがあります。作成者は、利用が許されていることを確認してください。"
    ),
)
_JAPANESE = dict(
    zip((*LEGAL_NOTES, *DIALOGUE_NOTES), (*LEGAL_NOTES_JA, *_DIALOGUE_NOTES_JA), strict=True)
)
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card tells.

    Attributes:
        name: of the source.
        read: rows or sentences the source gave.
        tally: what was written.
        dropped: reason -> rows.
        worse: what a worse answer does wrong -> dialogues (keywords only).
    """

    name: str
    read: int
    tally: Tally
    dropped: Mapping[str, int]
    worse: Mapping[str, int]
    licences: Sequence[Licence]
    legal: Sequence[str]


def card(facts: CardFacts) -> str:
    """Write card.md."""
    tally = facts.tally
    shown = "\n".join(map(_sample, tally.samples))
    terms = "\n".join(map(_terms, facts.licences)) or "- 記載なし / not stated"
    japanese = "\n".join(f"- [ ] {_JAPANESE[n]}" for n in facts.legal if n in _JAPANESE)
    english = "\n".join(f"- [ ] {markdown(note)}" for note in facts.legal)
    sections = [
        f"# 対話コーパス / Corpus of dialogues: {facts.name}",
        f"## 日本語\n\n{_japanese(facts)}",
        f"## English\n\n{_english(facts)}",
        _table("分割 / splits", {name: tally.splits[name] for name in _SPLITS}),
        _table("除いたもの / dropped", facts.dropped),
        *([_table("劣る回答 / worse answers", facts.worse)] if facts.worse else []),
        f"## 例 / Samples\n\n{shown}",
        f"## ライセンスと出典 / Licences and attribution\n\n{terms}",
        f"## 作成者が確認する法的事項\n\n{japanese}" if japanese else "",
        f"## Legal notes the builder confirms\n\n{english or '- none'}",
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def _japanese(facts: CardFacts) -> str:
    tally = facts.tally
    return (
        f"{facts.read:,} 件を読み、{tally.kept:,} 件の対話を残した（発話 {tally.turns:,}、"
        f"{format_bytes(tally.text_bytes)}）。劣る回答のある対話は {tally.rejected:,} 件、"
        f"回答のない問いは {tally.unanswered:,} 件。"
    )


def _english(facts: CardFacts) -> str:
    tally = facts.tally
    return (
        f"{facts.read:,} rows read, {tally.kept:,} dialogues kept ({tally.turns:,} turns, "
        f"{format_bytes(tally.text_bytes)}). {tally.rejected:,} of them have a worse answer beside "
        f"the last one, {tally.unanswered:,} wait for an answer."
    )


def _table(title: str, counts: Mapping[str, int]) -> str:
    rows = [f"| {markdown(name).replace('|', '/')} | {count:,} |" for name, count in counts.items()]
    return f"## {title}\n\n| | |\n|---|---:|\n" + ("\n".join(rows) or "| なし / none | 0 |")


def _sample(row: Row) -> str:
    """The turns of a dialogue, one a line."""
    lines = [f"- `{row.id}`", *(f"  - {turn.role}: {quoted(cut(turn.text))}" for turn in row.turns)]
    return "\n".join(
        [*lines, *([f"  - rejected: {quoted(cut(row.rejected))}"] * bool(row.rejected))]
    )


def _terms(item: Licence) -> str:
    credit = f". 出典 / credit: {markdown(item.attribution)}" if item.attribution else ""
    place = f" ({markdown(item.url)})" if item.url else ""
    return f"- {markdown(item.source)}: {markdown(item.licence)}{credit}{place}"
