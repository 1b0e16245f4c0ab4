import json
import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from minna.artifact import Licence
from minna.corpus import filters, japanese
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
from minna.corpus.card_words import NORMALISATION_JA, REASONS
from minna.corpus.filters import FILTERS, LANGUAGE
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


def test_the_card_says_everything_in_both_languages_and_both_formats(tmp_path: Path) -> None:
    for text in written(tmp_path, statistics()):
        for words in (
            "100 documents read = 60 kept + 40 dropped", "除いた文書 40 件", "5.4 kB", "too_short",
            "min_characters = 2", "30.0 %", "吾輩は猫である。", "トップページへ戻る", "telephone numbers",
            "電話番号", "CC BY 4.0", "第30条の4", "30-4", "other countries have other law.",
            "NFKC を適用します", "NFKC, except", "残した文書の例", "Samples of what was kept",
            "旧字旧仮名", "日本語", "Japanese",
        ):  # fmt: skip
            assert words in text.replace("\\", ""), words


def test_every_reason_that_was_counted_stands_in_the_table_also_one_nobody_has_words_for(
    tmp_path: Path,
) -> None:
    markdown_text, html = written(tmp_path, statistics())
    for reason in [*statistics().dropped, *(rule.name for rule in FILTERS)]:
        assert markdown_text.count(f"| `{reason}` |") == 2, reason
        assert f"<code>{reason}</code>" in html


def words_in(value: Any) -> Iterator[Words]:
    if isinstance(value, Words):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from words_in(item)
    elif hasattr(value, "__dataclass_fields__"):
        for name in value.__dataclass_fields__:
            yield from words_in(getattr(value, name))


def test_every_filter_rule_and_note_has_words_in_both_languages() -> None:
    assert len(NORMALISATION_JA) == len(japanese.RULES)
    assert len(LEGAL_NOTES_JA) == len(LEGAL_NOTES)
    facts = facts_of(statistics(), name="x", licences=LICENCES, settings=SETTINGS)
    told = [words for section in sections(facts) for words in words_in(section)]
    assert len(told) > 100
    assert all(words.en and words.ja for words in told)


def test_documents_that_are_not_accounted_for_are_an_error_of_ours(tmp_path: Path) -> None:
    counted = statistics()
    counted.kept -= 1
    with pytest.raises(AssertionError, match="100 read, 59 kept, 40 dropped"):
        accounting(counted)
    with pytest.raises(AssertionError):
        written(tmp_path, counted)
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_well_formed_and_needs_nothing_but_itself(tmp_path: Path) -> None:
    _, html = written(tmp_path, statistics())
    checker = check(html)
    assert checker.targets.count(LICENCES[0].url) == 2
    assert html.count("<svg") == html.count("</svg>") == 2 * 5
    assert "prefers-color-scheme: dark" in html and "@media print" in html
    assert "url(" not in html and "@import" not in html


def outside_code(text: str) -> Iterator[str]:
    """Markdown without its code spans, line by line; a span that does not end is an error."""
    for line in text.splitlines():
        rest = line
        while match := re.search(r"(?<!\\)`+", rest):
            yield rest[: match.start()]
            end = re.search(f"(?<!`){match.group()}(?!`)", rest[match.end() :])
            assert end, line
            rest = rest[match.end() + end.end() :]
        yield rest


@pytest.mark.parametrize(
    "text", [HOSTILE, "x" * 1000, "|" * 50, "`" * 9, "-", "# a", "\ud800", " "]
)
def test_no_text_of_a_corpus_can_break_out_of_the_card(tmp_path: Path, text: str) -> None:
    quiet, _ = written(tmp_path, statistics())
    counted = statistics()
    counted.samples = [text]
    counted.examples = {"too_short": [text], text: [text]}
    counted.line_examples = {"boilerplate": [text]}
    counted.licences = {text: 60}
    counted.orthographies = {text: 60}
    counted.dropped = {"too_short": 39, text: 1}
    licence = Licence(source=text, licence=text, attribution=text, url="javascript:alert(1)")
    loud, html = written(tmp_path, counted, licences=(licence,), name=f"n{text}")
    assert "javascript:alert(1)" not in check(html).targets
    assert "<script" not in html
    for card in (loud, html):
        assert "\u202e" not in card
        assert "javascript:alert(1)" in card
    for part in outside_code(loud):
        assert "<script" not in part and "](b)" not in part.replace("\\](", "")
        assert "<javascript" not in part
    headings = [line for line in loud.splitlines() if line.startswith("#")]
    assert len(headings) == sum(line.startswith("#") for line in quiet.splitlines())
    cells = [line.replace("\\|", "").count("|") for line in loud.splitlines() if line[:2] == "| "]
    assert set(cells) == {3, 4, 5, 7}


def test_long_texts_are_cut_where_they_are_quoted_and_terms_never_are(tmp_path: Path) -> None:
    counted = statistics()
    counted.samples = ["長" * 1000]
    licence = Licence(source="s", licence="terms " * 200 + "END")
    for card in written(tmp_path, counted, licences=(licence,)):
        assert "長" * 400 + "…" in card and "長" * 401 not in card
        assert "terms END" in card


def test_a_corpus_of_nothing_has_a_card_too(tmp_path: Path) -> None:
    empty, html = written(tmp_path, Statistics(), licences=())
    check(html)
    for words in (
        "0 documents read = 0 kept + 0 dropped", "There is nothing to draw.",
        "図にする数値がありません。", "No document was kept.", "No source states its terms.",
    ):  # fmt: skip
        assert words in empty and words in html
    assert "<svg" not in html


def test_the_card_points_at_what_needs_a_look(tmp_path: Path) -> None:
    counted = statistics()
    counted.splits = {"train": 60}
    licences = (Licence(source="web", licence="not stated"),)
    text, _ = written(tmp_path, counted, licences=licences)
    for words in (
        "terms of web are not stated", "split valid holds no document", "split test holds no",
        "30.0 % of the documents were dropped for too_short", "No evaluation set was named",
        "1 readings could not be placed", "web の利用条件が記載されていません。",
    ):  # fmt: skip
        assert words in text.replace("\\", ""), words


def test_the_same_build_writes_the_same_bytes_wherever_its_data_lay(tmp_path: Path) -> None:
    first = written(tmp_path, statistics())
    path = tmp_path / "secret-place" / "dump.xz"
    assert written(tmp_path, statistics(), settings=replace(SETTINGS, path=path)) == first


DEDUP = {"near": "drop", "similarity": 0.8, "ngram": 5, "bands": 21, "rows": 6, "letters": 50}


def near(**changes: Any) -> str:
    counted = Statistics(regrouped=4)
    facts = Facts(name="x", statistics=counted, licences=(), settings={"dedup": DEDUP | changes})
    return repr(duplicates(facts).blocks)


def test_near_duplicates_are_told_with_what_the_search_misses() -> None:
    told = near()
    for words in (
        "21 bands of 6",
        "(1 − J^6)^21",
        "'71.8 %'",
        "'0.17 %'",
        "3.54 %",
        "バンド 21 本",
    ):
        assert words in told, words
    for words in (
        "estimated from 128 values", "within 0.15 of the threshold, the n-grams themselves",
        "差が 0.15 未満の組は、n-gram そのものを比べて",
    ):  # fmt: skip
        assert words in told, words
    paragraphs = near(paragraph_characters=60)
    assert "the estimate decides" in paragraphs and "この推定値で判定" in paragraphs
    assert "n-grams themselves" not in paragraphs
    assert "'0.85'" in near(similarity=0.85)
    assert "4 were put into" in near(near="group") and "4 件" in near(near="group")
    assert "were not looked for" in near(near="off") and "MinHash" not in near(near="off")


def test_changes_are_told_as_those_of_all_texts_that_were_read(tmp_path: Path) -> None:
    for text in written(tmp_path, statistics()):
        for words in (
            "What was changed in the texts that were read", "読み込んだ文書に加えた変更",
            "those of documents that were dropped later count too", "あとで除いた文書の分も含みます",
            "2 of the documents that were read hold a masked place",
        ):  # fmt: skip
            assert words in text, words
        assert "in what stayed" not in text and "残した文書に加えた変更" not in text


def test_every_reason_has_its_words_in_one_place() -> None:
    names = {rule.name for rule in FILTERS}
    assert not names & set(REASONS)
    assert LANGUAGE in REASONS
    told = [text for text, value in vars(filters).items() if isinstance(value, str) and value]
    assert not [name for name in told if "REASON" in name]


def test_decontamination_is_told_by_the_names_of_the_sets_and_not_by_their_place() -> None:
    facts = facts_of(Statistics(), name="x", licences=(), settings=SETTINGS)
    against = {"against": (Path("home") / "me" / "jsquad",), "ngram": 16, "overlap": 0.5}
    settings = {**facts.settings, "contamination": against}
    told = repr(sections(replace(facts, settings=settings)))
    assert "Looked for texts of jsquad" in told and "50.0 % of its 16-grams" in told
    assert "No evaluation set was named" not in told
    assert "home" not in told


def test_dropped_json_holds_counts_and_examples_of_every_reason(tmp_path: Path) -> None:
    write_dropped(tmp_path, statistics())
    content = json.loads((tmp_path / "dropped.json").read_text(encoding="utf-8"))
    assert content["too_short"] == {"count": 30, "examples": ["あ", "い"]}
    assert content["duplicate"] == {"count": 7, "examples": []}
    assert sum(entry["count"] for entry in content.values()) == 40


def test_a_name_that_is_no_unicode_can_be_written_and_read_back(tmp_path: Path) -> None:
    examples = {"undecodable": ["\udcff.txt"]}
    counted = Statistics(read=1, dropped={"undecodable": 1}, examples=examples)
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
