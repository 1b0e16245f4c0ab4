"""A server is asked right, its numbers are checked, and its bad days are survived or named."""

from __future__ import annotations

import math
import threading

import pytest
from tests.evaluate.toy_models import SHAPE, generations, random_groups, toy_model
from tests.evaluate.toy_server import serving

from minna.errors import DataError, UsageError
from minna.evaluate.backends.base import Generation
from minna.evaluate.backends.endpoint import EndpointBackend
from minna.evaluate.backends.engine import EngineBackend
from minna.evaluate.records import Candidate
from minna.runtime import load_model
from minna.runtime.http import Http, HttpSettings, ServerError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return toy_model(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def ours(folder):
    return EngineBackend(load_model(folder, device="cpu", dtype="fp32"))


@pytest.fixture
def server(ours):
    with serving(ours.model, ours.coder) as running:
        yield running


def ask(server, folder=None, *, pauses=None, **settings):
    """A backend that waits for nothing and notes how long it would have."""
    http = Http(
        server.url,
        settings=HttpSettings(**{"tries": 3, **settings}),
        pause=(pauses if pauses is not None else []).append,
    )
    return EndpointBackend(server.url, model="toy", tokenizer=folder, http=http)


@pytest.mark.parametrize("echo", ["zero", "one"])
def test_a_servers_log_probabilities_are_our_engines(ours, folder, echo):
    groups = random_groups(groups=6, context=SHAPE.context - 2)
    expected = dict(ours.likelihoods(groups))
    with serving(ours.model, ours.coder, echo=echo) as server:
        backend = ask(server, folder)
        found = dict(backend.likelihoods(groups))
        assert {body["max_tokens"] for body in server.bodies[2:]} == {0 if echo == "zero" else 1}
    assert backend.max_length == SHAPE.context - 2
    assert found.keys() == expected.keys()
    for number, likelihoods in expected.items():
        for mine, other in zip(likelihoods, found[number], strict=True):
            assert other.logprob == pytest.approx(mine.logprob, abs=1e-4)
            assert (other.greedy, other.tokens) == (mine.greedy, mine.tokens)


def test_greedy_is_what_the_server_would_have_said(ours, server, folder):
    (answer,) = dict(ours.generate([Generation(prompt=(5, 6, 7), max_new_tokens=3)])).values()
    right = Candidate(ids=(5, 6, 7, *answer.ids), start=3)
    ((_, found),) = ask(server, folder).likelihoods([[right, Candidate(ids=(5, 6, 7, 8), start=3)]])
    assert [entry.greedy for entry in found] == [True, False]


def test_answers_from_ids_from_text_and_from_chats_are_our_engines(ours, server, folder):
    jobs = generations(ours.coder, eos=2)
    expected = {number: answer.text for number, answer in ours.generate(jobs)}
    for backend in (ask(server, folder), ask(server)):
        found = dict(backend.generate(jobs))
        assert {number: answer.text for number, answer in found.items()} == expected
    assert isinstance(server.bodies[1]["prompt"], list) and server.bodies[-1]["temperature"] == 0
    assert isinstance(server.bodies[-1]["prompt"], str)
    chat = Generation(prompt=(), max_new_tokens=12, messages=(("user", jobs[0].text),))
    ((_, answer),) = ask(server).generate([chat])
    assert answer.text == expected[0] and answer.finish == "length"
    assert server.bodies[-1]["messages"] == [{"role": "user", "content": jobs[0].text}]


def test_a_server_that_takes_no_ids_gets_texts(ours, folder, capsys):
    jobs = generations(ours.coder, eos=2)
    with serving(ours.model, ours.coder, ids=False) as server:
        backend = ask(server, folder)
        found = dict(backend.generate(jobs))
        assert backend.conditions()["prompts"] == "text"
    assert [found[n].text for n in range(4)] == [a.text for _, a in sorted(ours.generate(jobs))]
    assert "takes no token ids" in capsys.readouterr().err


@pytest.mark.parametrize("options", [{"echo": "none"}, {"ids": False}, {"add_bos": True}])
def test_a_server_that_cannot_score_is_told_before_the_first_item(ours, folder, options):
    with serving(ours.model, ours.coder, **options) as server:
        backend = ask(server, folder)
        with pytest.raises(UsageError, match=r"cannot score choices[\s\S]*generate"):
            backend.likelihoods(random_groups(groups=3, context=40))
        assert len(server.bodies) <= 2
        assert dict(backend.generate([Generation(prompt=(5, 6), max_new_tokens=2, text="吾輩")]))


def test_without_a_tokenizer_choices_cannot_be_scored(server):
    with pytest.raises(UsageError, match="tokenizer"):
        ask(server).likelihoods([[Candidate(ids=(1, 2), start=1)]])


def test_full_queues_and_broken_answers_are_tried_again(server, folder):
    pauses = []
    backend = ask(server, folder, pauses=pauses, concurrency=1)
    job = Generation(prompt=(5, 6), max_new_tokens=2)
    expected = dict(backend.generate([job]))
    server.faults = [
        (429, b"slow down", [("Retry-After", "7")]),
        (200, b"<html>not json</html>"),
    ]
    assert dict(backend.generate([job])) == expected
    assert pauses[0] == 7.0 and 2.0 <= pauses[1] <= 2.5
    server.faults = [(503, b"", [("Retry-After", "9999")])]
    assert dict(backend.generate([job])) == expected
    assert pauses[2] == 60.0
    # a date in the past asks for nothing, and a connection that is cut is tried again
    server.faults = [
        (502, b"", [("Retry-After", "Wed, 21 Oct 2015 07:28:00 GMT")]),
        lambda handler: handler.connection.close(),
    ]
    assert dict(backend.generate([job])) == expected
    assert 1.0 <= pauses[3] <= 1.25


def test_a_server_that_always_fails_is_given_up_with_its_own_words(server):
    backend = ask(server, tries=2)
    server.faults = [(500, {"error": {"message": "CUDA out of memory"}})] * 2
    with pytest.raises(ServerError, match=r"failed 2 times.*500: CUDA out of memory"):
        list(backend.generate([Generation(prompt=(), text="a", max_new_tokens=1)]))
    server.faults = [(200, b"\xff{")] * 2
    with pytest.raises(DataError, match="not a JSON object"):
        list(backend.generate([Generation(prompt=(), text="a", max_new_tokens=1)]))
    server.faults = [(200, {"object": "list"})]
    with pytest.raises(DataError, match="without choices"):
        list(backend.generate([Generation(prompt=(), text="a", max_new_tokens=1)]))
    server.faults = [(302, b"", [("Location", "http://127.0.0.1:1/")])]
    with pytest.raises(ServerError, match="302"):
        list(backend.generate([Generation(prompt=(), text="a", max_new_tokens=1)]))


def test_a_server_that_does_not_answer_in_time_is_a_failure(server):
    backend = ask(server, tries=2, timeout=0.05)
    release = threading.Event()
    server.faults = [lambda _handler: release.wait(5)] * 2
    with pytest.raises(ServerError, match="timed out"):
        list(backend.generate([Generation(prompt=(), text="a", max_new_tokens=1)]))
    release.set()


@pytest.mark.parametrize(
    ("logprobs", "words"),
    [
        (None, "no log-probabilities"),
        ({"token_logprobs": [None, None, -1.0], "top_logprobs": [None, None, {"a": -1.0}]}, "None"),
        (
            {"token_logprobs": [None, 0.5, -1.0], "top_logprobs": [None, {"a": 0.5}, {"a": -1}]},
            "0.5",
        ),
        ({"token_logprobs": [None, -1.0, -1.0], "top_logprobs": [None, {}, {}]}, "top"),
    ],
)
def test_missing_and_impossible_log_probabilities_are_named(server, folder, logprobs, words):
    backend = ask(server, folder)
    assert dict(backend.likelihoods([[Candidate(ids=(5, 6, 7), start=1)]]))
    server.faults = [(200, {"choices": [{"text": "", "logprobs": logprobs}]})]
    with pytest.raises(DataError, match=words):
        list(backend.likelihoods([[Candidate(ids=(5, 6, 7), start=1)]]))


def test_a_log_probability_that_is_not_a_number_is_carried_through(server, folder):
    backend = ask(server, folder)
    assert dict(backend.likelihoods([[Candidate(ids=(5, 6, 7), start=1)]]))
    body = b'{"choices":[{"logprobs":{"token_logprobs":[null,NaN,-1],"top_logprobs":[null,{"a":NaN},{"a":-1}]}}]}'
    server.faults = [(200, body)]
    ((_, found),) = backend.likelihoods([[Candidate(ids=(5, 6, 7), start=1)]])
    assert math.isnan(found[0].logprob) and not found[0].greedy


def test_the_key_comes_from_the_environment_and_goes_nowhere_else(ours, folder, monkeypatch):
    monkeypatch.setenv("TOY_KEY", "sk-secret")
    job = Generation(prompt=(), text="a", max_new_tokens=1)
    with serving(ours.model, ours.coder, key="sk-secret") as server:
        backend = ask(server, key_variable="TOY_KEY")
        assert dict(backend.generate([job]))
        assert "secret" not in str(backend.conditions())
        monkeypatch.setenv("TOY_KEY", "sk-wrong-one")
        with pytest.raises(ServerError, match="401") as caught:
            list(ask(server, key_variable="TOY_KEY").generate([job]))
        assert "sk-wrong-one" not in str(caught.value) and "***" in str(caught.value)
        monkeypatch.delenv("TOY_KEY")
        with pytest.raises(UsageError, match="TOY_KEY"):
            ask(server, key_variable="TOY_KEY")


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://a/v1", "http://me:pass@host/v1", "http://"]
)
def test_urls_that_are_none_or_hold_passwords_are_refused(url):
    with pytest.raises(UsageError, match="base URL"):
        EndpointBackend(url, model="toy")


def test_what_was_cut_off_a_prompt_does_not_come_back_as_text(ours, folder):
    whole = "吾輩は猫である。名前はまだ無い。"
    ids = ours.coder.encode(whole)
    with serving(ours.model, ours.coder, ids=False) as server:
        backend = ask(server, folder)
        list(backend.generate([Generation(prompt=tuple(ids[-3:]), text=whole, max_new_tokens=1)]))
        assert server.bodies[-1]["prompt"] == ours.coder.decode_all(ids[-3:])


def test_a_name_the_server_does_not_know_is_told_as_that(server, folder):
    with pytest.raises(UsageError, match=r"no model 'tay'; did you mean 'toy'\?[\s\S]*toy"):
        EndpointBackend(server.url, model="tay", tokenizer=folder)
    # a server may know more names than it lists
    backend = EndpointBackend(server.url, model="tay", tokenizer=folder, context=96)
    assert backend.max_length == 94
    server.faults = [(404, {"error": {"message": "The model does not exist."}})]
    with pytest.raises(UsageError, match="no model 'tay'"):
        backend.likelihoods([[Candidate(ids=(5, 6, 7), start=1)]])


def test_a_server_that_does_not_say_what_it_reads_is_told_about_with_the_option(server, capsys):
    server.context = None
    assert ask(server).max_length == 2046
    assert "--max-length" in capsys.readouterr().err


def test_the_server_counts_the_tokens_of_a_prompt(server):
    ((_, answer),) = ask(server).generate([Generation(prompt=(), text="吾輩", max_new_tokens=2)])
    assert answer.prompt_tokens == 5


def test_white_space_before_an_answer_is_no_answer(server):
    backend = ask(server)
    job = Generation(
        prompt=(), text="Q", max_new_tokens=9, stop_texts=("\n", "###"), stops_after="text"
    )
    server.faults = [
        (200, {"choices": [{"text": "", "finish_reason": "stop"}]}),
        (200, {"choices": [{"text": "\n東京\n次", "finish_reason": "length"}]}),
    ]
    ((_, answer),) = backend.generate([job])
    assert (answer.text, answer.finish) == ("\n東京", "stop-text")
    assert [body["stop"] for body in server.bodies] == [["\n", "###"], ["###"]]
