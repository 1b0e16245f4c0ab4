"""`card.md` of a mixture, in Japanese and English: how often each source is told, and at what cost.

A mixture is a decision about numbers, so its card puts what was asked beside what was got, and says
where repeating stops paying.
"""

from __future__ import annotations

from collections.abc import Sequence

from minna.artifact import Licence
from minna.corpus.components import GOOD_REPEATS, Component, Mixture
from minna.units import format_bytes

_BY = {
    "repeats": ("重みは 1 エポックあたりの反復回数", "weights are repeats per epoch"),
    "share": ("重みは UTF-8 バイト数の割合", "weights are shares of UTF-8 bytes"),
}


def card(mixture: Mixture, *, licences: Sequence[Licence], legal: Sequence[str]) -> str:
    """Write card.md."""
    terms = "\n".join(_terms(item) for item in licences) or "- 記載なし / not stated"
    notes = "\n".join(f"- {note}" for note in legal) or "- なし / none"
    sections = [
        "# 混合コーパス / Mixture of corpora",
        _japanese(mixture),
        _english(mixture),
        f"## ライセンスと出典 / Licences and attribution\n\n{terms}",
        f"## 作成者が確認する法的事項 / Legal notes the builder confirms\n\n{notes}",
    ]
    return "\n\n".join(sections) + "\n"


def _japanese(mixture: Mixture) -> str:
    head = "| コーパス | 文書数 | サイズ | 指定 | 割合 | エポック |\n|---|---|---|---|---|---|\n"
    notes = [
        f"- **注意**: {part.name} は 1 エポックに {part.repeats:g} 回読まれる。反復の効果は約 "
        f"{GOOD_REPEATS} 回を超えると急に下がる(Muennighoff et al. 2023)。"
        for part in mixture.components
        if part.repeats > GOOD_REPEATS
    ]
    notes += [
        f"- {part.name} の文書は平均 {1 / part.repeats:.3g} エポックに 1 回読まれる(間引き)。"
        for part in mixture.components
        if part.repeats < 1
    ]
    if mixture.shared:
        notes.append(
            f"- 複数のコーパスに含まれる文書は {mixture.shared:,} 件。どれかが検証用・評価用と"
            f"したものの写し {_left_out(mixture):,} 件は読まない。"
        )
    return (
        f"## 日本語\n\n文書を複製せず、{len(mixture.components)} 個のコーパスを一つとして読む"
        f"({_BY[mixture.by][0]})。1 エポックは約 {mixture.documents:,.0f} 文書、"
        f"{format_bytes(mixture.bytes)}。数は学習用のもの。検証用・評価用の文書はすべて 1 回ずつ"
        "読む。端数の反復で読む文書はエポックごとに替わる。\n\n"
        + head
        + _rows(mixture)
        + ("\n\n" + "\n".join(notes) if notes else "")
    )


def _english(mixture: Mixture) -> str:
    head = "| corpus | documents | size | asked | got | epochs |\n|---|---|---|---|---|---|\n"
    notes = [
        f"- **Warning**: {part.name} is told {part.repeats:g} times in an epoch. Beyond about "
        f"{GOOD_REPEATS}, repeats teach less and less (Muennighoff et al. 2023)."
        for part in mixture.components
        if part.repeats > GOOD_REPEATS
    ]
    notes += [
        f"- A document of {part.name} is told once in {1 / part.repeats:.3g} epochs (down-sampled)."
        for part in mixture.components
        if part.repeats < 1
    ]
    if mixture.shared:
        notes.append(
            f"- {mixture.shared:,} documents are in more than one corpus. {_left_out(mixture):,} "
            "copies of those that one of them holds out (valid, test) are not read. Texts that are "
            "only alike, not the same, are not searched for."
        )
    return (
        f"## English\n\n{len(mixture.components)} corpora read as one without copying a document "
        f"({_BY[mixture.by][1]}). An epoch is about {mixture.documents:,.0f} documents, "
        f"{format_bytes(mixture.bytes)}. Numbers are those of the training split; documents for "
        "valid and test are read once each. Which documents a fraction of a repeat takes changes "
        "from epoch to epoch.\n\n"
        + head
        + _rows(mixture)
        + ("\n\n" + "\n".join(notes) if notes else "")
    )


def _rows(mixture: Mixture) -> str:
    whole = sum(part.asked for part in mixture.components)
    return "\n".join(_row(part, mixture=mixture, whole=whole) for part in mixture.components)


def _row(part: Component, *, mixture: Mixture, whole: float) -> str:
    asked = f"{part.asked / whole:.2%}" if mixture.by == "share" else f"x {part.asked:g}"
    return (
        f"| {part.name} | {part.documents:,} | {format_bytes(part.bytes)} | {asked} "
        f"| {part.share:.2%} | {part.repeats:g} |"
    )


def _left_out(mixture: Mixture) -> int:
    return sum(part.left_out for part in mixture.components)


def _terms(item: Licence) -> str:
    credit = f". 出典 / credit: {item.attribution}" if item.attribution else ""
    place = f" ({item.url})" if item.url else ""
    return f"- {item.source}: {item.licence}{credit}{place}"
