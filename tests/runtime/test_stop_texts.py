"""Stop texts end answers where they count, in streams as in whole texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minna.runtime import Engine, Request
from minna.runtime.text import TextStream, cut


class Letters:
    """A tokenizer whose ids are characters."""

    def stream(self):
        return self

    def feed(self, number):
        return chr(number)

    def close(self):
        return ""


def streamed(text, **settings):
    stream = TextStream(Letters(), **settings)
    pieces = []
    for letter in text:
        pieces.append(stream.feed(ord(letter)))
        if stream.stopped:
            break
    pieces.append(stream.close())
    assert "".join(pieces) == stream.text
    return stream.text, stream.stopped


@pytest.mark.parametrize(
    ("text", "stops_after", "expected"),
    [
        ("\n東京\n次", "any", ("", True)),
        ("\n東京\n次", "text", ("\n東京", True)),
        (" \n\n東京", "text", (" \n\n東京", False)),
        ("\n \n", "text", ("\n \n", False)),
        ("\n### 次", "text", ("\n", True)),  # a stop text may be the first that is not white space
        ("東京 ###", "text", ("東京 ", True)),
    ],
)
def test_a_stop_text_counts_anywhere_or_only_behind_white_space(text, stops_after, expected):
    settings = {"stop_texts": ("\n", "###"), "stops_after": stops_after}
    assert streamed(text, **settings) == expected
    assert cut(text, **settings) == expected


@given(
    text=st.text(alphabet="ab \n", max_size=12),
    stops=st.lists(st.text(alphabet="ab \n", max_size=3), max_size=3),
    stops_after=st.sampled_from(["any", "text"]),
)
def test_a_stream_is_cut_where_the_whole_text_is(text, stops, stops_after):
    settings = {"stop_texts": tuple(stops), "stops_after": stops_after}
    found, stopped = streamed(text, **settings)
    expected, was_cut = cut(text, **settings)
    assert stopped == was_cut
    # streamed, of two stop texts the one that is whole first ends the answer
    assert found == expected or (stopped and found.startswith(expected))


def test_an_engine_request_says_where_its_stop_texts_count(model):
    (free,) = Engine(model, slots=1).run([Request(prompt=(5, 6), max_new_tokens=6)])
    stop = free.text[0]
    request = Request(prompt=(5, 6), max_new_tokens=6, stop_texts=(stop,), stops_after="text")
    (result,) = Engine(model, slots=1).run([request])
    expected, was_cut = cut(free.text, stop_texts=(stop,), stops_after="text")
    assert (result.text, result.finish == "stop-text") == (expected, was_cut)
