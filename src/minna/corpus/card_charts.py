"""The charts of a card: which numbers, in which bins, with which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from minna.corpus import card_words as say
from minna.corpus.card_blocks import LANGUAGES, Cell, Chart, Table, Words, shown
from minna.corpus.card_plots import Series, bars, histogram
from minna.corpus.statistics import SHARE_BINS, Statistics

_SERIES: Final = {"read": Words("read", "読み込んだ文書"), "kept": Words("kept", "残した文書")}
_DOCUMENTS: Final = Words("documents", "文書数")
_MOST_BARS: Final = 12
_LABELS: Final = 8


def shape_charts(statistics: Statistics) -> list[Chart]:
    """Histograms of length, kana and smell, of what was read beside what was kept."""
    percents = [f"{100 * place // SHARE_BINS} %" for place in range(SHARE_BINS + 1)]
    charts = [
        _lengths(statistics.lengths),
        _histogram(
            statistics.kana,
            edges=percents,
            key="kana",
            title=Words("Share of kana", "かなの割合"),
            along=Words("share of kana", "かなの割合"),
        ),
        _histogram(
            statistics.smell,
            edges=percents,
            key="smell",
            title=Words("Smell of machine translation and templates", "機械翻訳・定型文らしさ"),
            along=Words("score", "スコア"),
        ),
    ]
    return [chart for found in charts for chart in found]


def name_chart(counts: Mapping[str, int], *, key: str, title: Words) -> list[Chart]:
    """A bar for each name; nothing where there are no names."""
    return _bars({name: (say.called(say.NAMES, name), n) for name, n in counts.items()}, key, title)


def _lengths(lengths: Mapping[str, Sequence[int]]) -> list[Chart]:
    """Bins double in length, so only those between the shortest and the longest are drawn."""
    used = [place for counts in lengths.values() for place, n in enumerate(counts) if n]
    if not used:
        return []
    first, last = min(used), max(used) + 1
    return _histogram(
        {name: counts[first:last] for name, counts in lengths.items()},
        edges=[f"{2**place:,}" for place in range(first, last + 1)],
        key="lengths",
        title=Words("Length of documents", "文書の長さ"),
        along=Words("characters (each bin is twice as wide)", "文字数（区間の幅は2倍ずつ）"),
    )


def _histogram(
    series: Mapping[str, Sequence[int]],
    *,
    edges: Sequence[str],
    key: str,
    title: Words,
    along: Words,
) -> list[Chart]:
    drawn = {name: series[name] for name in _SERIES if any(series.get(name, ()))}
    if not drawn:
        return []
    every = -(-(len(edges) - 1) // _LABELS)
    marked = [edge if place % every == 0 else "" for place, edge in enumerate(edges)]
    rows: list[Sequence[Cell]] = [
        (f"{edges[place]} – {edges[place + 1]}", *(counts[place] for counts in drawn.values()))
        for place in range(len(edges) - 1)
        if any(counts[place] for counts in drawn.values())
    ]
    return [
        Chart(
            title=title,
            svg={
                language: histogram(
                    [
                        Series(name, getattr(_SERIES[name], language), counts)
                        for name, counts in drawn.items()
                    ],
                    labels=marked,
                    key=f"{language}-{key}",
                    title=getattr(title, language),
                    axes=(getattr(along, language), getattr(_DOCUMENTS, language)),
                )
                for language in LANGUAGES
            },
            numbers=Table(
                folded=Words("The numbers", "数値"),
                header=(
                    Words("from – to (below)", "区間（以上 – 未満）"),
                    *(_SERIES[name] for name in drawn),
                ),
                rows=rows,
            ),
        )
    ]


def _bars(named: Mapping[str, tuple[Words, int]], key: str, title: Words) -> list[Chart]:
    ordered = sorted(named.items(), key=lambda item: (-item[1][1], item[0]))
    counted = [words_and_count for _, words_and_count in ordered if words_and_count[1]]
    if not counted:
        return []
    drawn = counted[:_MOST_BARS]
    if rest := counted[_MOST_BARS:]:
        left = Words(f"{len(rest)} others", f"ほか {len(rest)} 種")
        drawn = [*drawn, (left, sum(count for _, count in rest))]
    return [
        Chart(
            title=title,
            svg={
                language: bars(
                    [(shown(getattr(words, language)), count) for words, count in drawn],
                    key=f"{language}-{key}",
                    title=getattr(title, language),
                    about=getattr(_DOCUMENTS, language),
                )
                for language in LANGUAGES
            },
            numbers=Table(
                folded=Words("The numbers", "数値"),
                header=(Words("name", "名称"), _DOCUMENTS),
                rows=[(words, count) for words, count in counted],
            ),
        )
    ]
