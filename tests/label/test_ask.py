"""Nothing is asked twice, nothing that came is lost, and one bad text costs one text."""

from __future__ import annotations

import sqlite3
import threading

import pytest
from tests.label.made_up import KanaTranslator, RefusingTranslator, to_kana

from minna.errors import ArtifactError, DataError, UsageError
from minna.label.ask import PROBE, ask
from minna.label.cache import Cache, Keys
from minna.runtime.http import ServerError

TEXTS = [f"this is text number {n}" for n in range(40)]


@pytest.fixture
def cache(tmp_path):
    with Cache(tmp_path / "deep" / "cache.sqlite") as store:
        yield store


def asked(texts, translator, cache, ticks=None):
    return ask(
        texts, translator=translator, cache=cache, advance=int if ticks is None else ticks.append
    )


def known(translator, cache, texts):
    keys = Keys(translator.identity)
    return [cache.get(keys.of(text)) for text in texts]


@pytest.mark.parametrize(
    "shape", [{}, {"workers": 4}, {"at_once": 8}, {"at_once": 3, "workers": 2}]
)
def test_each_distinct_text_is_asked_once_and_filed(cache, shape):
    translator, ticks = KanaTranslator(**shape), []
    found = asked([*TEXTS, *TEXTS[:9], TEXTS[0]], translator, cache, ticks)
    assert (found.new, found.answered, found.failed) == (40, 40, {})
    assert sorted(translator.asked) == sorted(TEXTS)
    assert known(translator, cache, TEXTS) == [to_kana(text) for text in TEXTS]
    assert sum(ticks) == 50
    again = asked([*TEXTS, "this one is new"], translator, cache)
    assert again.new == 1 and translator.asked[-1] == "this one is new"


def test_texts_of_one_call_are_of_like_length(cache):
    calls = []
    translator = KanaTranslator(at_once=4, breaks=lambda _, texts: calls.append(texts))
    asked([f"word {'x' * (n * 7 % 30)} {n}" for n in range(30)], translator, cache)
    assert all(max(map(len, call)) - min(map(len, call)) <= 6 for call in calls)


def test_another_direction_wording_or_translator_is_another_translation(cache):
    asked(TEXTS[:3], KanaTranslator(), cache)
    assert asked(TEXTS[:3], KanaTranslator(direction="ja-en"), cache).new == 3
    assert asked(TEXTS[:3], KanaTranslator(), cache).new == 0


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_came_before_a_stop_is_kept(cache, error):
    def breaks(translator, _):
        if len(translator.asked) >= 17:
            raise error

    translator = KanaTranslator(breaks=breaks)
    with pytest.raises(error):
        asked(TEXTS, translator, cache)
    assert translator.gave_up and len(translator.asked) == 17
    healthy = KanaTranslator()
    assert asked(TEXTS, healthy, cache).new == 23
    assert sorted(translator.asked + healthy.asked) == sorted(TEXTS)


def test_what_was_in_flight_when_another_failed_is_kept_too(cache):
    """One thread breaks while the other one waits for an answer that is already paid for."""
    waiting, go_on = threading.Event(), threading.Event()

    def breaks(_, texts):
        if texts == TEXTS[:1]:
            waiting.set()
            go_on.wait(5)
        else:
            waiting.wait(5)
            threading.Timer(0.05, go_on.set).start()
            raise RuntimeError

    translator = KanaTranslator(breaks=breaks, workers=2)
    with pytest.raises(RuntimeError):
        asked(TEXTS[:2], translator, cache)
    assert known(translator, cache, TEXTS[:2]) == [to_kana(TEXTS[0]), None]


def test_a_text_that_is_refused_costs_itself(cache):
    translator = RefusingTranslator("number 7", "number 31", at_once=4)
    found = asked([*TEXTS, TEXTS[7]], translator, cache)
    assert list(found.failed.values()) == ["no", "no"] and found.answered == 38
    assert translator.asked.count(TEXTS[7]) == 1
    # it is no answer: the next run asks again
    assert asked(TEXTS, KanaTranslator(), cache).new == 2


def test_a_server_that_chokes_on_a_text_is_asked_for_the_others(cache):
    def breaks(_, texts):
        if "number 5" in texts[0]:
            raise ServerError("status 500: out of luck", status=500, remedy="look")

    found = asked(TEXTS[:9], KanaTranslator(breaks=breaks, workers=2), cache)
    assert list(found.failed.values()) == ["status 500: out of luck"] and found.answered == 8


def test_texts_that_all_fail_are_told_from_a_translator_that_does(cache):
    long = [f"too long {n}" for n in range(30)]
    picky = RefusingTranslator("too long")
    found = asked([*long, TEXTS[0]], picky, cache)
    assert len(found.failed) == 30 and found.answered == 1
    assert 1 < picky.asked.count(PROBE) < 10
    with pytest.raises(DataError, match="translates nothing") as caught:
        asked(TEXTS[1:], RefusingTranslator("this", PROBE), cache)
    assert "is kept, and the same command goes on" in str(caught.value)


def test_a_dead_server_ends_the_run_before_it_has_failed_every_text(cache):
    def breaks(translator, _):
        tried.append(1)
        if len(translator.asked) >= 10:
            raise ServerError("connection refused", status=0, remedy="look at the server")

    tried: list[int] = []
    translator = KanaTranslator(breaks=breaks, workers=2)
    with pytest.raises(ServerError, match="connection refused"):
        asked((f"{text} again {n}" for n in range(100) for text in TEXTS), translator, cache)
    assert len(translator.asked) == 10 and len(tried) < 30


def test_few_texts_that_fail_do_not_hide_a_dead_server(cache):
    def breaks(*_):
        raise ServerError("connection refused", status=0, remedy="look at the server")

    with pytest.raises(ServerError):
        asked(TEXTS[:2], KanaTranslator(breaks=breaks), cache)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_wrong_key_or_address_ends_the_run_at_once(cache, status):
    def breaks(*_):
        tried.append(1)
        raise ServerError("who are you?", status=status, remedy="name the key")

    tried: list[int] = []
    with pytest.raises(ServerError, match="who are you"):
        asked(TEXTS, KanaTranslator(breaks=breaks), cache)
    assert len(tried) <= 3


def test_trouble_that_is_not_a_servers_is_no_matter_of_texts(cache):
    def breaks(*_):
        raise UsageError("no such device")

    with pytest.raises(UsageError, match="no such device"):
        asked(TEXTS, KanaTranslator(breaks=breaks), cache)


def test_half_a_character_is_filed_as_a_replacement(cache):
    translator = KanaTranslator(answers={TEXTS[0]: "半分\ud83d", TEXTS[1]: "\ud83d\ude00"})
    asked(TEXTS[:2], translator, cache)
    assert known(translator, cache, TEXTS[:2]) == ["半分\ufffd", "😀"]


def test_two_runs_may_share_a_cache(tmp_path, cache):
    file = cache.file
    with Cache(file) as other:
        other.put(b"k" * 32, "他の")
        assert cache.get(b"k" * 32) == "他の"
        cache.put(b"j" * 32, "この")
        assert other.get(b"j" * 32) == "この"


def test_a_torn_write_is_undone_and_costs_one_translation(tmp_path):
    """A copy of the files as a kill leaves them: the log cut in the middle of its last page."""
    file = tmp_path / "cache.sqlite"
    with Cache(file) as store:
        for n in range(5):
            store.put(bytes([n]) * 32, f"訳{n}" * 400)
        torn = tmp_path / "torn.sqlite"
        torn.write_bytes(file.read_bytes())
        log = file.with_name("cache.sqlite-wal").read_bytes()
        torn.with_name("torn.sqlite-wal").write_bytes(log[:-100])
    with Cache(torn) as store:
        found = [store.get(bytes([n]) * 32) for n in range(5)]
        assert found[:4] == [f"訳{n}" * 400 for n in range(4)] and found[4] is None
        store.put(bytes([4]) * 32, "again")
        assert store.get(bytes([4]) * 32) == "again"


@pytest.mark.parametrize("content", [b"this is a letter, not a database" * 40, None])
def test_a_file_that_is_no_cache_is_an_error_and_stays(tmp_path, content):
    file = tmp_path / "cache.sqlite"
    if content is None:
        file.mkdir()
    else:
        file.write_bytes(content)
    with pytest.raises(ArtifactError, match="--cache FILE"), Cache(file):
        pass
    assert content is None or file.read_bytes() == content


def test_a_full_disk_is_told_as_one(cache, monkeypatch):
    class Full:
        def execute(self, *_):
            raise sqlite3.OperationalError("database or disk is full")

        def close(self):
            pass

    monkeypatch.setattr(cache, "_connection", Full())
    with pytest.raises(ArtifactError, match="disk is full"):
        cache.put(b"k" * 32, "x")
