"""Requests as token ids: apart as in the harness, or as one text; cut from the front when too long."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluate.made_requests import PIECES, Characters, LongestMatch, make_task

from minna.errors import DataError, UsageError
from minna.evaluate.encode import answer_text, encode_request
from minna.evaluate.records import Request

CHOSEN = make_task()
TEXT = st.lists(st.sampled_from([*PIECES, "あ", "え", "a", "c", "。", "\n"]), max_size=12).map(
    "".join
)


def choice(context, *continuations):
    return Request(
        index=0,
        task=CHOSEN.name,
        doc_id="d7",
        kind="loglikelihood",
        context=context,
        continuations=continuations,
        gold=0,
    )


def generation(context, *until, cap=8):
    return Request(
        index=0,
        task=CHOSEN.name,
        doc_id="d7",
        kind="generate",
        context=context,
        until=until,
        max_new_tokens=cap,
        gold=("a",),
    )


def encode(request, *, mode, coder=None, max_length=100):
    return encode_request(
        request, chosen=CHOSEN, mode=mode, coder=coder or LongestMatch(), max_length=max_length
    )


def test_compat_encodes_context_and_continuation_apart():
    coder = LongestMatch()
    encoded = encode(choice("問題答", "え", "はい"), mode="compat")
    for candidate, text in zip(encoded.candidates, ("え", "はい"), strict=True):
        assert list(candidate.ids) == coder.encode("問題答") + coder.encode(text)
        assert candidate.start == 2


def test_fixed_encodes_them_as_one_text_and_pays_from_where_they_part():
    coder = LongestMatch()
    encoded = encode(choice("問題答", "えは", "はい"), mode="fixed")
    # 答え crosses the seam of the first choice, so both pay from there
    assert list(encoded.candidates[0].ids) == coder.encode("問題答えは")
    assert [candidate.start for candidate in encoded.candidates] == [1, 1]
    assert list(encoded.candidates[1].ids[1:]) == coder.encode("答はい")


def test_choices_that_begin_alike_still_pay_for_all_behind_the_context():
    encoded = encode(choice("問題", "あa", "あb"), mode="fixed")
    assert [candidate.start for candidate in encoded.candidates] == [1, 1]


@pytest.mark.parametrize("mode", ["compat", "fixed"])
def test_an_empty_context_is_one_end_of_text_token(mode):
    encoded = encode(choice("", "はい", "いいえ"), mode=mode)
    assert [(c.ids[0], c.start) for c in encoded.candidates] == [(1, 1), (1, 1)]
    assert encode(generation("", "\n"), mode=mode).prompt == (1,)
    with pytest.raises(UsageError, match=r"made-1\.0-1 has no text in front"):
        encode(choice("", "はい", "いいえ"), mode=mode, coder=LongestMatch(eos_text=""))


@settings(max_examples=200, deadline=None)
@given(context=TEXT, continuations=st.lists(TEXT.filter(bool), min_size=2, max_size=4))
def test_what_is_paid_for_rejoins_to_the_whole_text(context, continuations):
    coder = LongestMatch()
    encoded = encode(choice(context, *continuations), mode="fixed")
    heads = set()
    for candidate, text in zip(encoded.candidates, continuations, strict=True):
        assert 1 <= candidate.start < len(candidate.ids)
        assert coder.decode(candidate.ids) == context + text
        paid = coder.decode(candidate.ids[candidate.start :])
        assert paid.endswith(text) or text.endswith(paid)
        heads.add(candidate.ids[: candidate.start])
    assert len(heads) == 1  # one context for all


@settings(max_examples=100, deadline=None)
@given(
    context=st.text("あいう", min_size=1, max_size=30),
    continuations=st.lists(st.text("かき", min_size=1, max_size=9), min_size=2, max_size=3),
    max_length=st.integers(9, 30),
)
def test_too_long_a_context_loses_its_beginning_as_in_the_harness(
    context, continuations, max_length
):
    coder = Characters()
    encoded = encode(
        choice(context, *continuations), mode="compat", coder=coder, max_length=max_length
    )
    for candidate, text in zip(encoded.candidates, continuations, strict=True):
        whole = coder.encode(context) + coder.encode(text)
        read = whole[-(max_length + 1) :][:-1]  # what the harness gives the model
        assert list(candidate.ids[:-1]) == read
        assert list(candidate.ids[candidate.start :]) == coder.encode(text)
    too_long = max(len(context + text) for text in continuations) > max_length + 1
    assert encoded.truncated == too_long


def test_fixed_takes_the_same_from_every_choice_so_that_they_keep_one_context():
    encoded = encode(
        choice("あいうえお", "か", "かきくけ"), mode="fixed", coder=Characters(), max_length=6
    )
    assert encoded.truncated
    assert [len(candidate.ids) for candidate in encoded.candidates] == [4, 7]
    assert len({candidate.ids[: candidate.start] for candidate in encoded.candidates}) == 1


@pytest.mark.parametrize("mode", ["compat", "fixed"])
def test_a_choice_longer_than_the_model_reads_is_named(mode):
    with pytest.raises(DataError, match="document 'd7' has 9 tokens, and the model reads 5"):
        encode(choice("あ", "か", "か" * 9), mode=mode, coder=Characters(), max_length=5)


@pytest.mark.parametrize("mode", ["compat", "fixed"])
def test_a_choice_that_is_no_token_is_named(mode):
    with pytest.raises(DataError, match="the choice '' of document 'd7' is no token"):
        encode(choice("問題", "はい", ""), mode=mode)


def test_compat_keeps_room_for_the_cap_and_stops_at_one_id_only():
    coder = Characters()
    encoded = encode(
        generation("あ" * 30, "<NL>", cap=8), mode="compat", coder=coder, max_length=20
    )
    assert len(encoded.prompt) == 12
    assert (encoded.max_new_tokens, encoded.truncated) == (8, True)
    assert encoded.stop_ids == (coder.encode(">")[0],)  # the last of the stop text, not </s>
    assert encode(generation("あ", "</s>", "\n"), mode="compat", coder=coder).stop_ids == (1,)
    assert encode(generation("あ"), mode="compat", coder=coder).stop_ids == (1,)


def test_compat_refuses_a_cap_that_leaves_the_prompt_no_room():
    with pytest.raises(UsageError, match="256 tokens in mode compat, and the model reads 64"):
        encode(generation("あ", "\n", cap=256), mode="compat", max_length=64)


def test_fixed_shortens_the_answer_before_the_prompt_and_stops_at_end_of_text():
    coder = Characters()
    encoded = encode(generation("あ" * 45, "\n", cap=32), mode="fixed", coder=coder, max_length=64)
    assert (len(encoded.prompt), encoded.max_new_tokens, encoded.truncated) == (45, 19, False)
    encode_long = encode(
        generation("あ" * 90, "\n", cap=32), mode="fixed", coder=coder, max_length=64
    )
    assert (len(encode_long.prompt), encode_long.max_new_tokens) == (48, 16)
    assert encode_long.truncated and encode_long.stop_ids == (1,)
    assert encode_long.stop_texts == ("\n",)


def test_compat_keeps_special_tokens_as_text_and_cuts_at_each_stop_in_turn():
    coder = LongestMatch()
    ids = coder.encode(" はい</s>です\n問題<NL>")
    assert answer_text(ids, coder=coder, mode="compat", until=("\n",)) == " はい</s>です"
    assert answer_text(ids, coder=coder, mode="compat", until=("</s>", "\n")) == " はい"
    assert answer_text(ids, coder=coder, mode="compat", until=("です", "</s>")) == " はい"
    assert answer_text(ids, coder=coder, mode="fixed", until=("\n",)) == "はいです"


def test_fixed_takes_white_space_in_front_off_before_it_cuts():
    coder = LongestMatch()
    ids = coder.encode("\n はい\n問題")
    assert answer_text(ids, coder=coder, mode="fixed", until=("\n",)) == "はい"
    assert answer_text(ids, coder=coder, mode="compat", until=("\n",)) == ""


def test_a_tokenizer_that_puts_bos_in_front_does_so_in_fixed_only_and_once():
    coder, plain = LongestMatch(bos_ids=(0,)), LongestMatch()
    asked = choice("問題答", "えは", "はい")
    with_bos, without = (encode(asked, mode="fixed", coder=c).candidates for c in (coder, plain))
    assert [c.ids for c in with_bos] == [(0, *c.ids) for c in without]
    assert [c.start for c in with_bos] == [c.start + 1 for c in without]
    assert encode(asked, mode="compat", coder=coder) == encode(asked, mode="compat", coder=plain)
    written = generation("問題", "\n")
    assert encode(written, mode="fixed", coder=coder).prompt == (0, *plain.encode("問題"))
    assert encode(written, mode="compat", coder=coder).prompt == tuple(plain.encode("問題"))
    # 1 is what "</s>" is read as: a prompt that begins with its own bos gets no second one
    own = LongestMatch(bos_ids=(1,))
    assert encode(generation("</s>問題"), mode="fixed", coder=own).prompt[:2] == (
        1,
        plain.encode("問題")[0],
    )
    (candidate, _) = encode(
        choice("</s>問題", "はい", "いいえ"), mode="fixed", coder=own
    ).candidates
    assert candidate.ids.count(1) == 1 and candidate.start == 2


def test_bos_stands_for_end_of_text_in_front_of_whole_sentences_and_stays_when_a_prompt_is_cut():
    coder = Characters(bos_ids=(0,))
    whole = encode(choice("", "はい", "いい"), mode="fixed", coder=coder)
    assert [(c.ids[0], c.start) for c in whole.candidates] == [(0, 1), (0, 1)]
    cut = encode(choice("問" * 30, "は", "い"), mode="fixed", coder=coder, max_length=10)
    assert [(len(c.ids), c.ids[0], c.start) for c in cut.candidates] == [(11, 0, 10), (11, 0, 10)]
    prompt = encode(generation("問" * 30, cap=2), mode="fixed", coder=coder, max_length=10)
    assert (prompt.prompt[0], len(prompt.prompt), prompt.max_new_tokens) == (0, 8, 2)
    assert prompt.truncated
    assert encode(generation(""), mode="fixed", coder=coder).prompt == (0,)


def test_a_chat_template_writes_its_own_bos():
    chosen = make_task(prompt={"style": "chat"})
    encoded = encode_request(
        generation("問題"),
        chosen=chosen,
        mode="fixed",
        coder=LongestMatch(bos_ids=(0,)),
        max_length=100,
    )
    assert encoded.prompt == tuple(LongestMatch().encode("問題"))
