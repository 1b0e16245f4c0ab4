"""Ids in GGUF: measured where its packages are, said not to be where they are not."""

from __future__ import annotations

import http.server
import json
import sys
import threading
import types
from pathlib import Path
from typing import Any, ClassVar

import pytest
from tests.tokenizer.made_up_corpus import sentences

from minna import artifact
from minna.errors import MissingExtraError
from minna.tokenizer import TokenizerSettings, in_gguf, load_tokenizer, train_tokenizer
from minna.tokenizer.match import PROBES, measure_match

TEXTS = [*PROBES, *sentences(100, seed=3)]


class FakeWriter:
    """Notes what it is told, as gguf.GGUFWriter's calls."""

    told: ClassVar[dict[str, Any]] = {}

    def __init__(self, path: Path, arch: str) -> None:
        self.told.clear()
        self.told["arch"] = arch

    def __getattr__(self, name: str) -> Any:
        return lambda *values: self.told.update({name: values})


def fake_server(answers: Any, questions: list[dict[str, Any]]) -> type:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            questions.append(question)
            body = json.dumps({"tokens": answers(question["content"])}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server:
        def __init__(self, params: Any) -> None:
            self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            self.listening_address = f"http://127.0.0.1:{self.http.server_port}"
            threading.Thread(target=self.http.serve_forever, daemon=True).start()

        def __del__(self) -> None:
            self.http.shutdown()
            self.http.server_close()

    return Server


def params() -> Any:
    return types.SimpleNamespace(model=types.SimpleNamespace())


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setitem(sys.modules, "xllamacpp", None)


@pytest.mark.usefixtures("without")
def test_without_the_packages_it_says_that_nothing_was_measured(bpe: Path, tmp_path: Path):
    found = measure_match(bpe, lines=["犬"])
    assert not found.gguf.measured
    assert "is not installed" in found.gguf.reason
    assert found.gguf_rate is None
    assert found.as_json()["gguf"]["measured"] is False
    with pytest.raises(MissingExtraError, match=r"minna\[gguf\]"):
        in_gguf.ids_in_gguf(load_tokenizer(bpe), texts=["犬"])
    with pytest.raises(MissingExtraError, match="gguf is needed"):
        in_gguf.write_vocabulary(load_tokenizer(bpe), tmp_path / "v.gguf")


def test_differing_ids_are_counted_with_examples(monkeypatch: pytest.MonkeyPatch, bpe: Path):
    words = load_tokenizer(bpe)
    questions: list[dict[str, Any]] = []
    other = {"犬": [1, 2, 3]}
    server = fake_server(lambda text: other.get(text, words.encode(text)), questions)
    monkeypatch.setitem(sys.modules, "gguf", types.SimpleNamespace(GGUFWriter=FakeWriter))
    fake = types.SimpleNamespace(CommonParams=params, Server=server)
    monkeypatch.setitem(sys.modules, "xllamacpp", fake)
    found = measure_match(bpe, lines=["犬", "猫"]).gguf
    assert (found.measured, found.probes_equal, found.lines_equal) == (True, len(PROBES) - 1, 1)
    assert found.examples == ("犬", "犬")
    assert len(questions) == len(PROBES) + 2
    assert all(not q["add_special"] and not q["parse_special"] for q in questions)
    assert FakeWriter.told["add_tokenizer_model"] == ("llama",)
    assert FakeWriter.told["add_eos_token_id"] == (2,)
    assert len(FakeWriter.told["add_token_list"][0]) == 500


@pytest.mark.parametrize("kind", ["bpe", "unigram", "rinna_like"])
def test_llama_cpp_gives_sentencepieces_ids(kind: str, request: pytest.FixtureRequest):
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    words = load_tokenizer(request.getfixturevalue(kind))
    for text, found in zip(TEXTS, in_gguf.ids_in_gguf(words, texts=TEXTS), strict=True):
        ids = words.encode(text)
        if kind == "unigram" and words.byte_ids[ids].any():
            assert found != ids, text  # llama.cpp's unigram knows no byte fallback: unknown pieces
        elif kind != "rinna_like" or "<" not in text:  # unknown to this small vocabulary
            assert found == ids, text


def test_the_manifest_counts_what_was_equal(corpus: Path, tmp_path: Path):
    pytest.importorskip("gguf")
    pytest.importorskip("xllamacpp")
    settings = TokenizerSettings(vocab_size=400, sample_bytes=20_000)
    out = train_tokenizer(corpus, out=tmp_path / "t", settings=settings)
    counts = artifact.read_manifest(out).counts
    assert counts["gguf_probes_equal"].value == counts["match_probes"].value == len(PROBES)
    assert counts["gguf_lines_equal"].value == counts["match_lines"].value
