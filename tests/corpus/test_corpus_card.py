import json
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from minna.artifact import Licence
from minna.corpus import japanese
from minna.corpus.card import LEGAL_NOTES, LEGAL_NOTES_JA, accounting, write_card, write_dropped
from minna.corpus.card_blocks import (
    Code,
    Link,
    Share,
    Words,
    as_html,
    as_markdown,
    markdown,
    percent,
    quoted,
    shown,
)
from minna.corpus.card_facts import Facts, facts_of, shown_value
from minna.corpus.card_method import duplicates
from minna.corpus.card_plots import Series, bars, fitted, histogram
from minna.corpus.card_sections import sections
from minna.corpus.card_words import FILTER_REASONS_JA, NORMALISATION_JA
from minna.corpus.filters import FILTERS
from minna.corpus.settings import BuildSettings
from minna.corpus.statistics import LENGTH_BINS, SHARE_BINS, Statistics

SETTINGS = BuildSettings(source="novels")
LICENCES = (
    Licence(
        source="novels",
        licence="CC BY 4.0",
        attribution="© the writers & editors",
        url="https://example.org/terms?a=1&b=2",
    ),
)
HOSTILE = (
    "<script>alert('x')</script> | `tick` ``two`` \u202eright-to-left\u202c\nsecond *line* & [a](b)"
)
VOID = {"meta"}


def statistics() -> Statistics:
    lengths = [0] * LENGTH_BINS
    lengths[3:8] = [5, 20, 40, 30, 5]
    kana = [5] * SHARE_BINS
    return Statistics(
        read=100,
        kept=60,
        dropped={"too_short": 30, "duplicate": 7, "near_duplicate": 2, "cursed_by_a_fox": 1},
        examples={"too_short": ["あ", "い"], "cursed_by_a_fox": ["コン"]},
        samples=["吾輩は猫である。", "山路を登りながら、こう考えた。"],
        splits={"train": 58, "valid": 1, "test": 1},
        languages={"ja": 50, "en": 10},
        language_bytes={"ja": 5000, "en": 400},
        licences={"CC BY 4.0": 60},
        orthographies={"新字新仮名": 40, "旧字旧仮名": 20},
        text_bytes=5400,
        characters=2000,
        read_bytes=9000,
        masked={"phone": 3},
        masked_documents=2,
        lines_removed={"boilerplate": 9},
        line_examples={"boilerplate": ["トップページへ戻る"]},
        readings=11,
        readings_lost=1,
        lengths={"read": lengths, "kept": [n // 2 for n in lengths]},
        kana={"read": kana, "kept": [3] * SHARE_BINS},
    )


class Checker(HTMLParser):
    """Balance of tags, ids, and every reason the page could need anything but itself."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert tag not in {"script", "link", "img", "iframe", "object", "embed"}, tag
        assert not any(name.startswith("on") or name == "src" for name in values), values
        if "id" in values:
            self.ids.append(str(values["id"]))
        if tag == "a":
            self.targets.append(str(values["href"]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in {"line", "rect"}  # of SVG

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, tag


def check(html: str) -> Checker:
    checker = Checker()
    checker.feed(html)
    checker.close()
    assert checker.open == []
    assert len(checker.ids) == len(set(checker.ids))
    for target in checker.targets:
        assert target.startswith("https://") or target[1:] in checker.ids, target
    return checker


def written(tmp_path: Path, counted: Statistics, **changes: Any) -> tuple[str, str]:
    arguments: dict[str, Any] = {
        "name": "novels",
        "licences": LICENCES,
        "settings": SETTINGS,
    } | changes
    write_card(tmp_path, counted, **arguments)
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    return card, (tmp_path / "card.html").read_text(encoding="utf-8")
    write_dropped(tmp_path, counted)
    content = json.loads((tmp_path / "dropped.json").read_text(encoding="utf-8"))
    assert content["undecodable"]["examples"] == ["\udcff.txt"]
    for card in written(tmp_path, counted):
        assert "‹U+DCFF›.txt" in card


def test_cells_are_escaped_for_where_they_stand() -> None:
    assert as_markdown("a|b*c_d", "en") == "a\\|b\\*c\\_d"
    assert as_markdown(Code("a|b"), "en") == "`a\\|b`"
    assert as_markdown(1234, "ja") == "1,234"
    assert markdown("1. <b>") == "1\\. &lt;b&gt;" and markdown("1.5 %") == "1.5 %"
    assert markdown("- a") == "\\- a" and markdown("# a") == "\\# a"
    assert quoted("a`b") == "`` a`b ``" and quoted("") == "-"
    assert shown("a\n\tb\u200b") == "a b‹U+200B›"
    assert as_html(Words("<en>", "<ja>"), "ja") == "&lt;ja&gt;"
    assert "href" not in as_html(Link("javascript:1"), "en")
    assert as_markdown(Link("https://a.b/c"), "en") == "<https://a.b/c>"
    assert "width:25.0%" in as_html(Share(0.25), "en")
    assert (
        shown_value(()) == "—" and shown_value((1, "b")) == "1, b" and shown_value(True) == "true"
    )


def test_percentages_never_round_something_to_nothing_or_nearly_all_to_all() -> None:
    assert [percent(x) for x in (0, 1e-6, 0.005, 0.5, 0.999, 1 - 1e-6, 1)] == [
        "0.00 %", "<0.01 %", "0.50 %", "50.0 %", "99.90 %", ">99.99 %", "100.00 %",
    ]  # fmt: skip


def test_bars_are_as_tall_as_their_counts_and_carry_their_numbers() -> None:
    svg = histogram(
        [Series("read", "読<", [0, 40, 20]), Series("kept", "k", [0, 20, 10])],
        labels=["1", "2", "4", "8"], key="x", title="t&t", axes=("a", "b"),
    )  # fmt: skip
    check(svg)
    heights = [float(part.split('"')[0]) for part in svg.split('height="')[1:]]
    tall = [heights[place] for place in (1, 2, 4, 5)]
    assert tall[0] == 2 * tall[1] == 2 * tall[2] == 4 * tall[3] > 0
    assert "<title>読&lt;: 40</title>" in svg and "t&amp;t" in svg
    assert 'aria-labelledby="x-title x-about"' in svg


def test_labels_are_cut_by_their_width_and_not_by_their_letters() -> None:
    assert fitted("日本語", 6) == "日本語" and fitted("日本語の", 6) == "日本語…"
    assert fitted("abcdefg", 6) == "abcdef…"
    check(bars([("<b>" * 30, 3), ("あ", 1_000_000)], key="k", title="t", about="a"))
