"""The engine gives transformers' answers, whatever else is in the batch."""

from __future__ import annotations

import dataclasses
import random

import pytest
import torch

from minna.errors import UsageError
from minna.runtime import Engine, Request, Sampling
from minna.runtime.prefix import MIN_SHARED, cluster
from minna.runtime.text import TextStream
from minna.tokenizer.load import StreamDecoder


def prompts(count, *, seed=0, shortest=3, longest=40):
    chance = random.Random(seed)
    return [
        tuple(chance.randrange(4, 380) for _ in range(chance.randint(shortest, longest)))
        for _ in range(count)
    ]


def alone(model, request):
    return Engine(model, slots=1).run([request])[0]


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "llama", "qwen2", "qwen3"])
@pytest.mark.parametrize("penalty", [1.0, 1.4])
def test_greedy_answers_equal_transformers_token_for_token(model_dirs, models, name, penalty):
    from transformers import AutoModelForCausalLM

    peer = AutoModelForCausalLM.from_pretrained(model_dirs[name], dtype=torch.float32).eval()
    asked = prompts(6, seed=1)
    requests = [
        Request(prompt=p, max_new_tokens=30, sampling=Sampling(repetition_penalty=penalty))
        for p in asked
    ]
    results = Engine(models[name], slots=4).run(requests)
    banned = list(range(380, 399))  # padded rows, which transformers would happily choose
    for prompt, result in zip(asked, results, strict=True):
        ids = torch.tensor([prompt])
        with torch.no_grad():
            expected = peer.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=30,
                do_sample=False,
                repetition_penalty=penalty,
                suppress_tokens=banned,
                pad_token_id=3,
            )[0, len(prompt) :]
        assert list(result.ids) == expected.tolist()


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(model):
    requests = [
        Request(
            prompt=prompt,
            max_new_tokens=10 + 3 * number,
            sampling=Sampling(temperature=0.8 * (number % 3), top_k=40, top_p=0.9, seed=number),
            samples=1 + number % 2,
        )
        for number, prompt in enumerate(prompts(9, seed=2))
    ]
    together = Engine(model, slots=4).run(requests)
    expected = [r for request in requests for r in Engine(model, slots=1).run([request])]
    assert [r.ids for r in together] == [r.ids for r in expected]
    assert [r.finish for r in together] == [r.finish for r in expected]
    for one, other in zip(together, expected, strict=True):
        assert one.raw_logprobs == pytest.approx(other.raw_logprobs, abs=1e-3)


def test_late_requests_join_while_others_go_on(model):
    first, late = prompts(2, seed=3)
    engine = Engine(model, slots=2)
    engine.submit(Request(prompt=first, max_new_tokens=30, stop_ids=()))
    for _ in range(7):
        engine.step()
    engine.submit(Request(prompt=late, max_new_tokens=12, stop_ids=()))
    results = {}
    while engine.busy:
        results |= {e.request: e.result for e in engine.step() if e.result is not None}
    for number, (prompt, new) in enumerate(((first, 30), (late, 12))):
        expected = alone(model, Request(prompt=prompt, max_new_tokens=new, stop_ids=()))
        assert results[number].ids == expected.ids


def count_read_tokens(engine):
    """Count the tokens that pass through the trunk, in torch or in the native step."""
    seen = []
    engine._decoder.register_forward_pre_hook(lambda _, args: seen.append(args[0].numel()))
    if (step := engine._step) is not None:

        def counted(tokens, cache):
            seen.append(len(tokens))
            return step(tokens, cache)

        engine._step = counted
    return seen


def test_samples_of_one_prompt_read_it_once_and_differ_by_seed_alone(model):
    (prompt,) = prompts(1, seed=4, shortest=30)
    request = Request(
        prompt=prompt,
        max_new_tokens=8,
        sampling=Sampling(temperature=1.0, seed=5),
        samples=4,
        stop_ids=(),
    )
    engine = Engine(model, slots=4)
    seen = count_read_tokens(engine)
    results = engine.run([request])
    model.decoder._forward_pre_hooks.clear()
    assert sum(seen) == len(prompt) + 7 * 4
    assert len({r.ids for r in results}) > 1
    # fewer rows than samples: the same answers, later
    assert [r.ids for r in Engine(model, slots=3).run([request])] == [r.ids for r in results]


def test_shared_beginnings_are_read_once_and_change_nothing(model):
    chance = random.Random(6)
    shared = prompts(1, seed=7, shortest=40)[0]
    asked = [(*shared, *(chance.randrange(4, 380) for _ in range(3 + n))) for n in range(6)]
    asked.append((*shared, 9))
    requests = [Request(prompt=p, max_new_tokens=5, stop_ids=()) for p in asked]
    engine = Engine(model, slots=4)
    seen = count_read_tokens(engine)
    results = engine.run(requests)
    model.decoder._forward_pre_hooks.clear()
    own = sum(len(p) - len(shared) for p in asked)
    assert sum(seen) < len(shared) + 2 * own + 7 * 5
    assert [r.ids for r in results] == [alone(model, r).ids for r in requests]


def test_the_next_turn_of_a_chat_starts_where_the_last_ended(model):
    engine = Engine(model, slots=3)
    history = prompts(1, seed=8, shortest=20)[0]
    engine.run([Request(prompt=p, max_new_tokens=4, stop_ids=()) for p in prompts(2, seed=9)])
    first = engine.run([Request(prompt=history, max_new_tokens=10, stop_ids=())])[0]
    engine.run([Request(prompt=p, max_new_tokens=4, stop_ids=()) for p in prompts(2, seed=10)])
    longer = (*history, *first.ids, 50, 51)
    seen = count_read_tokens(engine)
    second = engine.run([Request(prompt=longer, max_new_tokens=4, stop_ids=())])[0]
    model.decoder._forward_pre_hooks.clear()
    assert sum(seen) == 3 + 3  # the last chosen token, two new ones, and three steps
    assert second.ids == alone(model, Request(prompt=longer, max_new_tokens=4, stop_ids=())).ids


def test_stop_ids_stop_texts_and_lengths_end_an_answer(model):
    (prompt,) = prompts(1, seed=11)
    free = alone(model, Request(prompt=prompt, max_new_tokens=20, stop_ids=()))
    assert free.finish == "length"
    assert len(free.ids) == 20
    stop = free.ids[6]
    cut = free.ids.index(stop) + 1
    stopped = alone(model, Request(prompt=prompt, max_new_tokens=20, stop_ids=(stop,)))
    assert (stopped.finish, stopped.ids) == ("stop", free.ids[:cut])
    assert stopped.text == model.tokenizer.decode(free.ids[: cut - 1])
    text = free.text
    wanted = text[len(text) // 2 :][:3]
    cut_short = alone(
        model, Request(prompt=prompt, max_new_tokens=20, stop_ids=(), stop_texts=("無い筈", wanted))
    )
    assert cut_short.finish == "stop-text"
    assert cut_short.text == text[: text.index(wanted)]


def test_streamed_pieces_join_to_the_text_and_never_break_a_character(model):
    for seed in range(3):
        (prompt,) = prompts(1, seed=seed)
        request = Request(
            prompt=prompt,
            max_new_tokens=40,
            stop_ids=(),
            sampling=Sampling(temperature=2.0, seed=seed),
        )
        events = list(Engine(model, slots=2).stream(request))
        result = events[-1].result
        assert "".join(e.piece for e in events) == result.text
        assert result.text == model.tokenizer.decode(result.ids)
        stream = StreamDecoder(model.tokenizer)
        assert [e.piece for e in events[:-1]] == [stream.feed(i) for i in result.ids[:-1]]


def test_padded_rows_of_the_vocabulary_are_never_chosen(model):
    assert model.vocab == 380 < model.decoder.config.vocab
    requests = [
        Request(
            prompt=p, max_new_tokens=40, sampling=Sampling(temperature=5.0, seed=n), stop_ids=()
        )
        for n, p in enumerate(prompts(4, seed=12))
    ]
    assert max(max(r.ids) for r in Engine(model, slots=4).run(requests)) < 380


def test_the_cache_grows_to_the_context_and_no_further(model):
    (prompt,) = prompts(1, seed=13, shortest=10, longest=10)
    context = model.decoder.config.context
    full = alone(model, Request(prompt=prompt, max_new_tokens=context - 10, stop_ids=()))
    assert len(full.ids) == context - 10
    with pytest.raises(UsageError, match=f"do not fit the model's context of {context}"):
        Engine(model).submit(Request(prompt=prompt, max_new_tokens=context - 9))
    for wrong in (Request(prompt=(), max_new_tokens=1), Request(prompt=(9999,), max_new_tokens=1)):
        with pytest.raises(UsageError):
            Engine(model).submit(wrong)


def test_a_cancelled_request_gives_its_row_back(model):
    kept, dropped = prompts(2, seed=14)
    engine = Engine(model, slots=2)
    number = engine.submit(Request(prompt=dropped, max_new_tokens=30, stop_ids=()))
    other = engine.submit(Request(prompt=kept, max_new_tokens=30, stop_ids=()))
    engine.step()
    engine.cancel(number)
    events = []
    while engine.busy:
        events += engine.step()
    assert {e.request for e in events} == {other}
    assert (
        events[-1].result.ids
        == alone(model, Request(prompt=kept, max_new_tokens=30, stop_ids=())).ids
    )


def test_logprobs_are_those_of_the_distribution_drawn_from(model):
    (prompt,) = prompts(1, seed=15)
    sampling = Sampling(temperature=0.7, top_k=5, seed=1)
    result = alone(model, Request(prompt=prompt, max_new_tokens=6, sampling=sampling, stop_ids=()))
    ids = torch.tensor([[*prompt, *result.ids]])
    logits = model.decoder.logits(model.decoder(ids))[0, len(prompt) - 1 : -1].float()
    for row, token, drawn, raw in zip(
        logits, result.ids, result.logprobs, result.raw_logprobs, strict=True
    ):
        assert raw == pytest.approx(float(row.log_softmax(-1)[token]), abs=1e-3)
        kept = (row[:380] / 0.7).topk(5)
        place = kept.indices.tolist().index(token)
        assert drawn == pytest.approx(float(kept.values.log_softmax(-1)[place]), abs=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_a_rollout_draws_from_the_tokens_there_are_and_says_how_likely_each_was(model, temperature):
    sampling = Sampling(temperature=temperature)
    requests = [
        Request(
            prompt=p, max_new_tokens=20, sampling=dataclasses.replace(sampling, seed=n), stop_ids=()
        )
        for n, p in enumerate(prompts(5, seed=16))
    ]
    results = Engine(model, slots=5).run(requests)
    assert [(len(r.ids), r.finish) for r in results] == [(20, "length")] * 5
    for request, result in zip(requests, results, strict=True):
        ids = torch.tensor([[*request.prompt, *result.ids]])
        logits = model.decoder.logits(model.decoder(ids))[0, len(request.prompt) - 1 : -1]
        logprobs = (logits[:, : model.vocab].float() / temperature).log_softmax(-1)
        chosen = logprobs.gather(1, torch.tensor(result.ids)[:, None])[:, 0]
        assert max(result.ids) < model.vocab < logits.shape[1]
        assert result.logprobs == pytest.approx(chosen.tolist(), abs=1e-3)


def test_rollouts_do_not_depend_on_their_company(model):
    requests = [
        Request(
            prompt=prompt,
            max_new_tokens=12,
            sampling=Sampling(
                temperature=0.9, seed=number, repetition_penalty=1.2 if number % 2 else 1.0
            ),
            samples=1 + number % 3,
        )
        for number, prompt in enumerate(prompts(7, seed=17))
    ]
    together = Engine(model, slots=8).run(requests)
    expected = [r for request in requests for r in Engine(model, slots=1).run([request])]
    assert [(r.ids, r.finish) for r in together] == [(r.ids, r.finish) for r in expected]


def test_text_is_made_once_at_the_end_where_nobody_waits_for_pieces(model, monkeypatch):
    (prompt,) = prompts(1, seed=18)
    fed = []
    feed = TextStream.feed

    def counted(stream, number):
        fed.append(number)
        return feed(stream, number)

    monkeypatch.setattr(TextStream, "feed", counted)
    free = alone(model, Request(prompt=prompt, max_new_tokens=12, stop_ids=()))
    for stops, texts in (((), ()), ((free.ids[7],), ()), ((), (free.text[3:5],))):
        request = Request(prompt=prompt, max_new_tokens=12, stop_ids=stops, stop_texts=texts)
        *_, streamed = Engine(model, slots=1).stream(request)
        engine = Engine(model, slots=1)
        engine.submit(request, events="last")
        fed.clear()
        events = []
        while engine.busy:
            events += engine.step()
            assert texts or not engine.busy or not fed
        (event,) = events
        expected, result = streamed.result, event.result
        assert (result.ids, result.text) == (expected.ids, expected.text)
        assert (event.piece, result.finish) == (expected.text, expected.finish)


def test_prompts_are_clustered_by_what_they_share():
    base = tuple(range(100, 100 + 2 * MIN_SHARED))
    groups = cluster([(*base, 1), (5, 6), (*base, 2, 3), base])
    assert sorted((shared, len(members)) for shared, members in groups) == [
        (0, 1),
        (len(base) - 1, 3),
    ]
