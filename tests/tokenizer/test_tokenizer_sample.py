"""The sample a vocabulary is learnt from."""

from __future__ import annotations

from minna.tokenizer.sample import MAX_LINE_BYTES, cut_lines, draw_sample


def test_no_line_is_longer_than_sentencepiece_takes_and_nothing_is_lost():
    text = "短い行。\n\n" + "長い文が続く。" * 1000 + "\n" + "句点のない文" * 2000 + "😀" * 3000
    lines = list(cut_lines(text))
    assert max(len(line.encode()) for line in lines) <= MAX_LINE_BYTES
    assert "".join(lines) == text.replace("\n", "")


def test_a_small_corpus_is_taken_whole_and_in_order():
    sample = draw_sample([["一\n二", "三"], ["四"]], limit_bytes=1000, seed=0)
    assert sample.lines == ["一", "二", "三", "四"]
    assert (sample.documents, sample.corpus_bytes, sample.sampled_bytes) == (3, 12, 12)


def test_the_bound_holds_and_the_sample_spreads_over_the_corpus():
    texts = [f"{i:06d}" for i in range(20_000)]
    sample = draw_sample([texts], limit_bytes=6000, seed=0)
    assert 5990 <= sample.sampled_bytes <= 6000
    numbers = [int(line) for line in sample.lines]
    assert numbers == sorted(numbers)
    assert 8500 < sum(numbers) / len(numbers) < 11_500


def test_the_sample_depends_on_the_seed_but_not_on_the_batches():
    texts = [f"行{i}" for i in range(5000)]
    whole = draw_sample([texts], limit_bytes=3000, seed=1).lines
    small = draw_sample((texts[i : i + 7] for i in range(0, 5000, 7)), limit_bytes=3000, seed=1)
    assert small.lines == whole
    assert draw_sample([texts], limit_bytes=3000, seed=2).lines != whole
