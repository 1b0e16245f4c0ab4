"""xz as a language model."""

from __future__ import annotations

import lzma
import random

import pytest

from minna.errors import DataError
from minna.metrics import xz_bits_per_byte


def test_without_training_text_it_is_plain_xz_of_the_joined_documents():
    texts = ["吾輩は猫である。", "名前はまだ無い。"] * 30
    data = "".join(text + "\n" for text in texts).encode()
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    size = len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=filters))
    found = xz_bits_per_byte([], held_out=texts)
    assert found.held_out_bytes == len(data)
    assert found.bits_per_byte == pytest.approx(8 * size / len(data), abs=8 * 8 / len(data))
    assert (found.training_bytes, found.capped) == (0, False)


def test_training_text_that_holds_the_answer_makes_it_nearly_free():
    generator = random.Random(0)
    texts = [
        "".join(generator.choice("あいうえおかきくけこさしすせそ") for _ in range(80))
        for _ in range(200)
    ]
    alone = xz_bits_per_byte([], held_out=texts)
    known = xz_bits_per_byte(texts, held_out=texts)
    assert known.bits_per_byte < 0.1 * alone.bits_per_byte


def test_the_cap_keeps_whole_documents_and_is_reported():
    found = xz_bits_per_byte(iter(["あ" * 10] * 10), held_out=["い"], max_training_bytes=100)
    assert found.training_bytes == 93
    assert found.capped


def test_nothing_held_out_is_an_error():
    with pytest.raises(DataError, match="no held-out text"):
        xz_bits_per_byte(["犬"], held_out=[])
