"""A chat server is asked politely, believed carefully, and its bad days are survived or named."""

from __future__ import annotations

import threading

import pytest
from tests.label.made_up import serving, to_kana

from minna.errors import DataError, UsageError
from minna.label import Direction, Refusal, Server, TranslatorSettings, open_server
from minna.label.ask import ask
from minna.label.cache import Cache
from minna.label.endpoint import EndpointTranslator
from minna.label.wording import load, names
from minna.runtime.http import HttpSettings, ServerError

ENJA = Direction(source="en", target="ja")
TEXTS = [f"a text of number {n}" for n in range(24)]


@pytest.fixture
def server():
    with serving() as running:
        yield running


def translator(server, *, wording="instruct", direction=ENJA, max_new_tokens=None, **settings):
    return EndpointTranslator(
        server.url,
        model="toy",
        wording=load(wording),
        direction=direction,
        max_new_tokens=max_new_tokens,
        settings=HttpSettings(**{"tries": 3, **settings}),
        pause=lambda _: None,
    )


def chat(content, finish="stop"):
    return 200, {"choices": [{"message": {"content": content}, "finish_reason": finish}]}


def test_a_text_is_sent_as_one_message_and_comes_back_translated(server):
    assert translator(server).translate(["Hello {target}, 5 {text}"]) == [
        to_kana("Hello {target}, 5 {text}")
    ]
    (body,) = server.bodies
    assert body["model"] == "toy" and body["temperature"] == 0 and "max_tokens" not in body
    ((message),) = body["messages"]
    assert message["role"] == "user" and message["content"].endswith("\n\nHello {target}, 5 {text}")
    assert "from English into Japanese" in message["content"]
    translator(server, max_new_tokens=70, direction=ENJA.back).translate(["x"])
    assert server.bodies[1]["max_tokens"] == 70
    assert "from Japanese into English" in server.bodies[1]["messages"][0]["content"]


def test_several_requests_are_in_flight(server, tmp_path):
    meeting = threading.Barrier(4, timeout=5)

    def meet(*_):
        meeting.wait()

    server.faults = [meet] * 24
    with Cache(tmp_path / "c") as cache:
        found = ask(TEXTS, translator=translator(server, concurrency=4), cache=cache, advance=int)
    assert found.answered == 24 and server.most_flying == 4


def test_full_queues_and_cut_answers_are_tried_again(server):
    server.faults = [(429, {"error": "later"}), (500, b"<html>")]
    assert translator(server).translate(["Good"]) == [to_kana("Good")]
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ((400, {"error": {"message": "maximum context length is 64"}}), "maximum context"),
        ((422, {"message": "unprocessable"}), "unprocessable"),
        (chat("途中まで", "length"), "did not end"),
        (chat(None, "content_filter"), "content_filter"),
        ((200, {"choices": [{"message": {"content": None, "refusal": "I won't"}}]}), "I won't"),
    ],
)
def test_a_text_that_the_server_refuses_is_no_trouble_of_the_server(server, fault, why):
    server.faults = [fault]
    first, second = translator(server).translate(["one", "two"])
    assert isinstance(first, Refusal) and why in first.why
    assert second == to_kana("two")


@pytest.mark.parametrize("status", [401, 403, 404])
def test_who_has_no_key_or_the_wrong_address_is_told(server, status):
    server.always = (status, {"error": {"message": "no entry"}})
    with pytest.raises(ServerError, match="no entry"):
        translator(server).translate(["one"])
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "answer", [(200, {"choices": []}), (200, {}), (200, {"choices": [{"text": "x"}]}), (200, b"[]")]
)
def test_another_protocol_is_an_error(server, answer):
    server.always = answer
    with pytest.raises(DataError, match="OpenAI-compatible"):
        translator(server).translate(["one"])


def test_the_key_comes_from_the_variable_that_is_named(monkeypatch):
    monkeypatch.setenv("TOY_KEY", "s3cret")
    with serving(key="s3cret") as server:
        asked = translator(server, key_variable="TOY_KEY")
        assert asked.translate(["one"]) == [to_kana("one")]
        assert "s3cret" not in str(asked.identity) + asked.name + asked.parent.path
        with pytest.raises(ServerError, match="bad key"):
            translator(server).translate(["one"])
        monkeypatch.delenv("TOY_KEY")
        with pytest.raises(UsageError, match="TOY_KEY"):
            translator(server, key_variable="TOY_KEY")


def test_what_a_model_thought_before_is_left_out(server):
    server.faults = [chat("<think>Hm, a greeting.\n\nEasy.</think>\n\nこんにちは \n")]
    assert translator(server).translate(["Hello"]) == ["こんにちは"]


def test_a_dead_server_is_named_and_the_texts_before_are_kept(tmp_path, server):
    def until_ten(running, _):
        return (503, {"error": "going down"}) if len(running.bodies) > 10 else None

    server.always = until_ten
    with Cache(tmp_path / "c") as cache:
        with pytest.raises(ServerError, match=r"going down[\s\S]*kept"):
            ask(TEXTS, translator=translator(server, concurrency=2), cache=cache, advance=int)
        server.always = None
        assert ask(TEXTS, translator=translator(server), cache=cache, advance=int).new == 14


def test_the_identity_holds_what_a_translation_depends_on(server):
    usual = translator(server).identity
    assert translator(server).identity == usual
    for other in (
        translator(server, direction=ENJA.back),
        translator(server, wording="instruct-ja"),
        translator(server, max_new_tokens=9),
    ):
        assert other.identity != usual
    assert translator(server, concurrency=99, timeout=1.0).identity == usual


def test_wordings_are_data_with_a_place_for_the_text(tmp_path):
    for name in names():
        wording = load(name)
        assert wording.description and wording.source
        assert "猫 {target}" in wording.prompt("猫 {target}", direction=ENJA, end="</s>")
    own = tmp_path / "own.toml"
    own.write_text(
        'name = "own"\ndescription = "d"\nsource = "s"\nsystem = "{source_ja}から{target_ja}へ"\nuser = "<{text}>"\n',
        encoding="utf-8",
    )
    asked, text = load(str(own)).turns("a", direction=ENJA)
    assert (asked.role, asked.text, text.text) == ("system", "英語から日本語へ", "<a>")
    assert (
        load("instruct-ja", format_name="youri-chat")
        .prompt("a", direction=ENJA, end="")
        .endswith("システム: ")
    )
    for wrong, said in (("user = 'x'", "no {text}"), ("usr = 'x'", "usr"), ("stops = 3", "stops")):
        own.write_text(
            f'name = "own"\ndescription = "d"\nsource = "s"\n{wrong}\n', encoding="utf-8"
        )
        with pytest.raises(UsageError, match=said):
            load(str(own))
    with pytest.raises(UsageError, match="did you mean 'instruct'"):
        load("instrct")


def test_a_server_lays_out_its_messages_itself(server):
    place = Server(url=server.url, model="toy", http=HttpSettings())
    with pytest.raises(UsageError, match="--format"):
        open_server(place, direction=ENJA, settings=TranslatorSettings(format="youri-chat"))
    opened = open_server(place, direction=ENJA, settings=TranslatorSettings())
    assert opened.translate(["one"]) == [to_kana("one")] and opened.workers == 8
