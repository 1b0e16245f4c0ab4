"""Each measure against a plain loop over one document."""

from __future__ import annotations

import dataclasses
from collections import Counter

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minna.corpus.classes import Kind, kinds
from minna.corpus.language import languages
from minna.corpus.points import WINDOW, Spans, line_bounds, lines, pieces, points
from minna.corpus.profile import profile

GOOD = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。"
ENDS = "。．.！？!?…‥)）」』】〕〉》］]\"”'’♪〟"

TEXTS = st.lists(
    st.text(alphabet="あのアー漢們们aB é0①。…・.\n\n 𠮟😀\ufffdЯ", max_size=90).map(
        lambda text: text.strip()
    ),
    max_size=8,
)


def plain(text):
    """The measures of one document, the slow way."""
    solid = [c for c in text if not c.isspace()]
    n = max(1, len(solid))
    rows = [row for row in text.split("\n") if row]
    before, repeated = set(), 0
    for row in rows:
        repeated += len(row) if row.lower() in before else 0
        before.add(row.lower())
    grams = (
        Counter(text[i : i + 10] for i in range(len(text) - 9)) if len(text) >= 50 else Counter()
    )
    total = max(1, sum(grams.values()))
    most = max(grams.values(), default=0)
    words = "".join(c if kinds()[ord(c)] == Kind.LATIN else " " for c in text).split()
    share = {kind: sum(kinds()[ord(c)] == kind for c in solid) / n for kind in Kind}
    lined = max(1, len(rows))
    return {
        "characters": len(solid),
        "hiragana": share[Kind.HIRAGANA],
        "katakana": share[Kind.KATAKANA],
        "kanji": share[Kind.KANJI],
        "simplified": share[Kind.SIMPLIFIED],
        "latin": share[Kind.LATIN],
        "letters": share[Kind.LETTER],
        "digits": share[Kind.DIGIT],
        "symbols": share[Kind.SYMBOL],
        "replacement": share[Kind.REPLACEMENT],
        "one_character": max(Counter(solid).values(), default=0) / n,
        "lines": len(rows),
        "mean_line": sum(map(len, rows)) / lined,
        "ended_lines": sum(row[-1] in ENDS for row in rows) / lined,
        "short_lines": sum(len(row) < 10 for row in rows) / lined,
        "bullets": sum(row[0] == "・" for row in rows) / lined,
        "ellipses": sum(row.endswith(("…", "...")) for row in rows) / lined,
        "repeated_lines": repeated / max(1, sum(map(len, rows))),
        "repeated_grams": sum(count - 1 for count in grams.values()) / total,
        "top_gram": min(1.0, 10 * most / total) if most > 1 else 0.0,
        "words": len(words),
        "mean_word": sum(map(len, words)) / max(1, len(words)),
    }


@given(TEXTS)
@example([".0."])
@settings(max_examples=150, deadline=None)
def test_the_measures_of_a_batch_are_those_of_a_plain_loop_over_each_document(texts):
    seen = profile(texts)
    for number, text in enumerate(texts):
        for name, value in plain(text).items():
            measured = getattr(seen, name)[number]
            if name == "one_character" and value < 0.25:
                # counted in buckets: at least this, and under a quarter of text with white space
                assert value <= measured + 1e-12
            elif name == "one_character":
                assert measured == pytest.approx(value) or 4 * value * len(text) < len(text)
            else:
                assert measured == pytest.approx(value, abs=1e-12), (name, text)


def test_kinds_of_characters():
    table = kinds()
    for kind, characters in {
        Kind.SPACE: " \n\u3000",
        Kind.HIRAGANA: "ぁんゝ〳",
        Kind.KATAKANA: "ァヶーヽ",
        Kind.KANJI: "漢々〆〇〻𠮟學国",
        Kind.SIMPLIFIED: "们这说对习",
        Kind.LATIN: "aZéßＡ",
        Kind.LETTER: "Яα한ع",
        Kind.DIGIT: "0９①½Ⅲ",
        Kind.SYMBOL: "。「・〜😀-×",
        Kind.REPLACEMENT: "\ufffd",
    }.items():
        assert {Kind(table[ord(character)]) for character in characters} == {kind}, kind


def numbers(profiles):
    return {f.name: getattr(profiles, f.name) for f in dataclasses.fields(profiles)}


def test_a_document_is_measured_the_same_alone_and_in_any_batch_and_long_ones_in_pieces():
    long = "\n".join(GOOD + chr(0x4E00 + n % 5000) + chr(0x5000 + n // 7) for n in range(20_000))
    assert len(long) > WINDOW
    texts = [
        "",
        GOOD,
        long,
        "",
        "x",
        GOOD * 60,
        "the cat\nthe cat",
        *[f"文{n}" for n in range(999)],
    ]
    together = numbers(profile(texts))
    for number in (0, 1, 2, 4, 5, 6, 700):
        for name, value in numbers(profile([texts[number]])).items():
            assert value[0] == pytest.approx(together[name][number]), name
    short = numbers(profile([long[: len(GOOD) + 2]]))
    assert together["kana"[:0] + "hiragana"][2] == pytest.approx(short["hiragana"][0], abs=1e-3)


def test_repeats_are_found_in_short_and_long_documents():
    unique = "".join(chr(0x4E00 + (7919 * n) % 20_000) for n in range(3000))
    for size in (60, 300, 1900, 2100, 3000):
        text = unique[:size]
        once, twice = profile([text, text * 2]).repeated_grams
        assert once == pytest.approx(0, abs=0.01)
        assert twice == pytest.approx((size - 9) / (2 * size - 9), abs=0.01)


def test_pieces_hold_whole_documents_and_cut_long_ones_at_line_breaks():
    line = "あ" * 999 + "\n"
    texts = ["か", line * 600, "き", "く" * (WINDOW - 1), "けこ"]
    batch = points(texts)
    found = list(pieces(batch))
    assert [first for _, first in found] == [0, 1, 1, 2, 4]
    assert all(len(piece.codes) <= WINDOW for piece, _ in found)
    assert sum(len(piece.codes) for piece, _ in found) == len(batch.codes)
    assert found[1][0].codes[-1] == 10


def test_spans_hash_equally_wherever_they_stand_and_lines_are_cut_as_elsewhere():
    batch = points(["\n猫\n犬\n\n猫", "", "猫\n", "\n\n", "犬猫"])
    starts, stops = line_bounds(batch)
    other = lines(batch)
    assert starts.tolist() == other.starts.tolist()
    assert stops.tolist() == other.stops.tolist()
    hashes = Spans(batch.codes).hashes(starts, stops).tolist()
    cats = [0, 2, 3]
    assert len({hashes[n] for n in cats}) == 1
    assert len(set(hashes)) == 3
    empty = line_bounds(points([]))
    assert len(empty[0]) == len(empty[1]) == 0


@pytest.mark.parametrize(
    ("text", "language"),
    [
        (GOOD, "ja"),
        ("山田太郎", "ja"),
        ("トム", "ja"),
        ("PDFをダウンロードしてください。", "ja"),
        ("今天天气很好，我们去公园散步吧。", "other"),
        ("이 문장은 한국어로 쓰여 있습니다.", "other"),
        ("Я не знаю, что сказать.", "other"),
        ("春眠不覚暁処処聞啼鳥夜来風雨声花落知多少春眠不覚暁処処聞啼鳥", "other"),
        ("The answer is that we do not know what it was.", "en"),
        ("Hello!", "en"),
        ("Je ne sais pas quoi dire de cette histoire.", "other"),
        ("Ich weiß nicht, ob ich Zeit dazu habe.", "other"),
        ("12:30 + 45", "other"),
        ("", "other"),
    ],
)
def test_the_language_of_a_text_is_told_from_its_scripts(text, language):
    assert languages(profile([text])) == [language]


def test_real_sentences_are_told_apart(shared_data):
    for side, expected, share in (("en", "en", 0.95), ("ja", "ja", 0.999)):
        rows = (shared_data / "enja" / f"dev.{side}").read_text(encoding="utf-8").splitlines()
        texts = [row.replace(" ", "") if side == "ja" else row for row in rows]
        told = languages(profile(texts))
        assert np.mean([name == expected for name in told]) >= share
