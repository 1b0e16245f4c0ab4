"""Data sets of the Hub, against a Hub in this process."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from tests.corpus.fake_hub import FakeHub, Repository

from minna.corpus import BuildSettings
from minna.corpus.sources import Source, content_id, open_source, rows
from minna.errors import DataError, UsageError

NAME = "lab/texts"


def lines(*texts: str) -> bytes:
    return "".join(json.dumps({"text": text, "url": "u"}) + "\n" for text in texts).encode()


def parquet(*texts: str) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"text": list(texts)}), sink)
    return sink.getvalue().to_pybytes()


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    served = FakeHub()
    served.repositories[NAME] = Repository()
    monkeypatch.setenv("HF_ENDPOINT", served.endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    yield served
    served.close()


def source(**settings: Any) -> Source:
    return open_source(BuildSettings(source=f"hub:{NAME}", **settings))


def texts(opened: Source) -> list[str]:
    return [document.text for shard in opened.shards() for document in shard.documents()]


FILES = {
    "README.md": b"# x",
    ".gitattributes": b"x",
    "LICENSE.txt": b"terms",
    "data/a.jsonl": lines("一", "二"),
    "data/b.parquet": parquet("三"),
    "c.txt": "四".encode(),
}


def test_all_data_files_are_read_and_one_commit_names_them(hub: FakeHub) -> None:
    commit = hub.repositories[NAME].commit(FILES)
    opened = source()
    assert opened.name == "hub:lab/texts"
    assert texts(opened) == ["四", "一", "二", "三"]
    identity = opened.identity()
    assert identity["commit"] == commit
    assert identity["files"] == 3
    assert source(files="data/*").identity()["names"] != identity["names"]
    assert opened.licences[0].url == f"{hub.endpoint}/datasets/{NAME}/tree/{commit}"


def test_files_and_field_choose_and_documents_cuts(hub: FakeHub) -> None:
    hub.repositories[NAME].commit({**FILES, "d.jsonl": b'{"body": "\xe4\xba\x94"}'})
    assert texts(source(files="data/*")) == ["一", "二", "三"]
    assert texts(source(files="d.jsonl", field="body")) == ["五"]
    hub.repositories[NAME].commit({"c.txt": "四\n五\n".encode()})
    assert texts(source(documents="line")) == ["四\n", "五\n"]
    with pytest.raises(DataError, match=r"no file of hub:lab/texts matches files='x\*'"):
        texts(source(files="x*"))


def test_the_identity_follows_the_branch_and_stays_with_the_commit(hub: FakeHub) -> None:
    first = hub.repositories[NAME].commit(FILES)
    before = source().identity()
    assert source(revision=first).identity() == before
    second = hub.repositories[NAME].commit({"a.jsonl": lines("新")})
    assert source().identity()["commit"] == second
    assert source(revision=first).identity() == before


def test_a_file_is_fetched_when_it_is_read_and_only_once(hub: FakeHub) -> None:
    hub.repositories[NAME].commit(FILES)
    opened = source()
    opened.identity()
    assert not any("/resolve/" in request for request in hub.requests)
    first = opened.shards()[0]
    assert next(iter(first.documents())).text == "四"
    assert {r.split("/")[-1] for r in hub.requests if "/resolve/" in r} == {"c.txt"}
    texts(opened)
    count = len(hub.requests)
    again = source()
    assert len(texts(again)) == 4
    assert len(hub.requests) == count + 1  # which commit is meant; nothing is fetched again


def test_an_interrupted_download_goes_on_at_the_block_where_it_broke(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)
    content = lines(*(f"{number}番目の文。" for number in range(2000)))
    hub.repositories[NAME].commit({"a.jsonl": content})
    hub.repositories[NAME].cut["a.jsonl"] = 10_000
    assert len(texts(source())) == 2000
    gets = [request for request in hub.requests if request.startswith("GET /datasets/")]
    assert len(gets) == 2
    assert gets[1].endswith("bytes=10000-")


def test_the_licence_is_the_card_s_else_the_one_of_the_settings(
    hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    repository = hub.repositories[NAME]
    repository.commit(FILES)
    assert source().licences[0].licence == "not stated"
    assert source(licence="mine").licences[0].licence == "mine"
    assert "is not used" not in capsys.readouterr().err
    repository.card = {"license": ["cc-by-sa-3.0", "gfdl"]}
    assert source(licence="mine").licences[0].licence == "cc-by-sa-3.0, gfdl"
    assert "licence='mine' is not used" in capsys.readouterr().err


def test_a_row_without_text_is_counted_and_a_file_of_another_layout_refused(hub: FakeHub) -> None:
    hub.repositories[NAME].commit({"a.jsonl": lines("一") + b"broken\n", "b.jsonl": b'{"x": 1}'})
    shards = source().shards()
    assert [document.problem for document in shards[0].documents()] == ["", "malformed"]
    with pytest.raises(DataError, match=r"b\.jsonl, line 1 has no field 'text'"):
        list(shards[1].documents())


def test_a_whole_file_and_a_cell_too_large_for_a_document_are_counted(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rows, "LARGEST", 8)
    long = "長い文である。" * 2
    hub.repositories[NAME].commit({"a.txt": long.encode(), "b.parquet": parquet("短い。", long)})
    found = [document for shard in source().shards() for document in shard.documents()]
    assert [(row.problem, row.text) for row in found] == [
        ("too_large", "a.txt, line 1"),
        ("", "短い。"),
        ("too_large", "b.parquet, row 2"),
    ]
    assert found[0].id == found[2].id == content_id(long.encode())


def test_a_revision_that_vanished_between_runs_is_named(hub: FakeHub) -> None:
    repository = hub.repositories[NAME]
    first = repository.commit(FILES)
    opened = source(revision=first)
    opened.identity()
    del repository.commits[first]
    with pytest.raises(DataError, match=rf"no revision '{first}'") as caught:
        texts(opened)
    assert "revision=main" in caught.value.remedy
    with pytest.raises(DataError, match=r"no revision 'v9' \(any more\)"):
        source(revision="v9").identity()


def test_a_file_that_vanished_is_named(hub: FakeHub) -> None:
    repository = hub.repositories[NAME]
    commit = repository.commit(dict(FILES))
    opened = source()
    opened.identity()
    del repository.commits[commit]["c.txt"]
    with pytest.raises(DataError, match=r"no file c\.txt at revision"):
        texts(opened)


@pytest.mark.parametrize(
    ("refuse", "message", "remedy"),
    [
        ((403, "GatedRepo"), "gated", "HF_TOKEN"),
        ((401, "RepoNotFound"), "does not exist, or is private", "HF_TOKEN"),
        ((403, ""), "status 403", "HF_TOKEN"),
        ((500, ""), "status 500", "later"),
    ],
)
def test_a_hub_that_refuses_says_why_and_what_to_do(
    hub: FakeHub, refuse: tuple[int, str], message: str, remedy: str
) -> None:
    hub.repositories[NAME].commit(FILES)
    opened = source()
    opened.identity()
    hub.repositories[NAME].refuse = refuse
    with pytest.raises(DataError, match=message) as caught:
        source().identity()
    assert remedy in caught.value.remedy
    if refuse[0] != 500:  # the library itself waits and asks again there
        with pytest.raises(DataError, match=message):
            texts(opened)


def test_a_repository_that_is_not_there_and_a_name_that_is_none(hub: FakeHub) -> None:
    with pytest.raises(DataError, match="hub:lab/other does not exist, or is private"):
        open_source(BuildSettings(source="hub:lab/other")).identity()
    for name in ("texts", "a/b/c", "/b"):
        with pytest.raises(UsageError, match="is named hub:OWNER/NAME"):
            open_source(BuildSettings(source=f"hub:{name}"))
    with pytest.raises(UsageError, match="is no name of a data set"):
        open_source(BuildSettings(source="hub:la b/te--xts")).identity()


def test_a_place_beside_the_hub_is_refused_and_a_repository_without_data(
    hub: FakeHub, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="--from"):
        source(path=tmp_path)
    hub.repositories[NAME].commit({"README.md": b"x", "loader.py": b"x"})
    with pytest.raises(DataError, match=r"holds no parquet, JSON lines or text file \(2 others\)"):
        source().identity()


def test_no_network_is_said_with_the_endpoint_that_was_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("HF_ENDPOINT", endpoint)
    with pytest.raises(DataError, match=rf"cannot fetch the list of files .* from {endpoint}") as e:
        source().identity()
    assert "HF_ENDPOINT" in e.value.remedy


def test_the_library_raises_for_a_size_that_is_wrong_and_so_do_we(
    hub: FakeHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories[NAME].commit({"a.jsonl": lines("一")})

    def short(*_args: object, **_more: object) -> None:
        raise OSError("Consistency check failed: file should be of size 9 but has size 3")

    opened = source()
    opened.identity()
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", short)
    with pytest.raises(DataError, match=r"cannot fetch a\.jsonl .*Consistency check failed"):
        texts(opened)
