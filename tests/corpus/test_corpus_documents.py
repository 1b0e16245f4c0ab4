import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pydantic import ValidationError
from tests.corpus.conftest import Sentences

from minna.artifact import inspect, read_manifest
from minna.corpus import (
    BuildSettings,
    FilterSettings,
    batches,
    build,
    build_corpus,
    split_of,
    texts,
)
from minna.corpus import documents as documents_module
from minna.errors import DataError

# parts of about ten sentences: a hundred go through every pass in ten parts
SETTINGS = BuildSettings(
    source="sentences", shard_documents=25, valid=0.1, test=0.2, part_bytes=300, workers=1
)


def contents(path: Path) -> dict[str, str]:
    return {name: entry.sha256 for name, entry in read_manifest(path).files.items()}


def test_a_build_counts_splits_licences_and_reasons(tmp_path, sentences):
    report = build(sentences([40, 60]), out=tmp_path / "corpus", settings=SETTINGS)
    assert report.state == "built"
    assert report.read == 100
    assert report.kept + sum(report.dropped.values()) == 100
    assert set(report.dropped) == {"duplicate", "too_short"}
    assert sum(report.splits.values()) == report.kept
    manifest, findings = inspect(tmp_path / "corpus")
    assert findings == []
    assert manifest.licences[0].licence == "CC0-1.0"
    assert any("30-4" in note for note in manifest.legal)
    dropped = json.loads((tmp_path / "corpus" / "dropped.json").read_text(encoding="utf-8"))
    assert dropped["too_short"]["examples"][0] == "あ"
    card = (tmp_path / "corpus" / "card.md").read_text(encoding="utf-8")
    for words in ("CC0-1.0", "nobody", "too_short", "NFKC", "30-4", "personal", "train"):
        assert words.lower() in card.lower()
    assert sorted(p.name for p in (tmp_path / "corpus").iterdir()) == [
        "card.html", "card.md", "data", "dropped.json", "minna.json",
    ]  # fmt: skip


def test_rows_are_in_source_order_at_most_shard_documents_a_file_and_groups_stay_whole(
    tmp_path, sentences
):
    build(sentences([40, 60]), out=tmp_path / "corpus", settings=SETTINGS)
    columns = ["group", "split", "licence", "language", "meta", "text"]
    rows = [
        row
        for batch in batches(tmp_path / "corpus", split="all", columns=columns)
        for row in batch.to_pylist()
    ]
    numbers = [int(row["text"].split("番")[0].removeprefix("これは")) for row in rows]
    assert len(set(numbers)) == len(numbers)
    splits = {}
    for row in rows:
        assert splits.setdefault(row["group"], row["split"]) == row["split"]
        assert (row["licence"], row["language"], row["meta"]) == ("CC0-1.0", "ja", "{}")
    assert len(list((tmp_path / "corpus" / "data").iterdir())) == -(-len(rows) // 25)


def test_the_corpus_does_not_depend_on_parts_and_processes(tmp_path, sentences):
    whole = build(sentences([40, 60]), out=tmp_path / "whole", settings=SETTINGS)
    for name, changed in {
        "one-part": {"part_bytes": 1_000_000},
        "small": {"part_bytes": 1},
        "two-processes": {"part_bytes": 1500, "workers": 2},
    }.items():
        settings = BuildSettings(**(vars(SETTINGS) | changed))
        report = build(sentences([40, 60]), out=tmp_path / name, settings=settings)
        assert (report.kept, report.dropped) == (whole.kept, whole.dropped)
        assert contents(tmp_path / name) == contents(tmp_path / "whole")


def test_a_build_interrupted_at_any_moment_goes_on_and_gives_the_same_bytes(tmp_path, sentences):
    whole = build(sentences([40, 60]), out=tmp_path / "whole", settings=SETTINGS)
    for fail_at in (0, 3, 39, 40, 55, 99):
        out = tmp_path / f"cut-{fail_at}"
        source = sentences([40, 60], fail_at=fail_at)
        with pytest.raises(RuntimeError):
            build(source, out=out, settings=SETTINGS)
        assert not out.exists()
        source.fail_at = None
        report = build(source, out=out, settings=SETTINGS)
        assert report.state == "resumed"
        assert (report.kept, report.dropped) == (whole.kept, whole.dropped)
        assert contents(out) == contents(tmp_path / "whole")


def test_gone_on_with_in_parts_of_another_size_it_starts_afresh(tmp_path, sentences):
    build(sentences([40, 60]), out=tmp_path / "whole", settings=SETTINGS)
    with pytest.raises(RuntimeError):
        build(sentences([40, 60], fail_at=70), out=tmp_path / "cut", settings=SETTINGS)
    other = BuildSettings(**(vars(SETTINGS) | {"part_bytes": 777}))
    build(sentences([40, 60]), out=tmp_path / "cut", settings=other)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


KILLED = """
import os, sys, uuid
from pathlib import Path
from tests.corpus.conftest import Sentences
from tests.corpus.test_corpus_documents import SETTINGS
from minna.artifact import files
from minna.corpus import build
left = int(sys.argv[2])
def flushed(handle, _fsync=os.fsync):
    global left
    _fsync(handle)
    left -= 1
    if not left:
        os._exit(9)
os.fsync = flushed
build(Sentences([40, 60]), out=Path(sys.argv[1]), settings=SETTINGS)
"""


@pytest.mark.parametrize(
    "writes",
    [2, 61, 111, pytest.param(range(3, 135, 13), marks=pytest.mark.full)],
    ids=lambda value: str(value) if isinstance(value, int) else "many",
)
def test_killed_in_the_middle_of_any_write_it_goes_on_to_the_same_bytes(
    tmp_path, sentences, writes
):
    build(sentences([40, 60]), out=tmp_path / "whole", settings=SETTINGS)
    for number in [writes] if isinstance(writes, int) else writes:
        out = tmp_path / f"killed-{number}"
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(out), str(number)],
            check=False,
            cwd=Path(__file__).parents[2],
        )
        assert done.returncode == 9
        assert not (out / "minna.json").exists()
        assert build(sentences([40, 60]), out=out, settings=SETTINGS).state == "resumed"
        assert contents(out) == contents(tmp_path / "whole")
        assert not list(out.rglob("*.tmp")) + list(out.rglob("stage"))


def test_a_script_without_a_guard_may_build_with_several_processes(tmp_path, sentences):
    script = tmp_path / "build.py"
    script.write_text(
        "import dataclasses, sys\n"
        "from pathlib import Path\n"
        "from tests.corpus.conftest import Sentences\n"
        "from tests.corpus.test_corpus_documents import SETTINGS\n"
        "from minna.corpus import build\n"
        "settings = dataclasses.replace(SETTINGS, workers=2, part_bytes=1500)\n"
        "print(build(Sentences([40, 60]), out=Path(sys.argv[1]), settings=settings).kept)\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "corpus")],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    whole = build(sentences([40, 60]), out=tmp_path / "whole", settings=SETTINGS)
    assert done.stdout.split() == [str(whole.kept)]
    assert contents(tmp_path / "corpus") == contents(tmp_path / "whole")


@pytest.mark.full
def test_killed_at_ten_random_moments_with_two_processes_it_ends_in_the_same_bytes(
    tmp_path, shared_data
):
    def command(out: Path) -> list[str]:
        return [
            sys.executable, "-m", "minna.cli.main", "corpus", "build", "aozora",
            "--from", str(shared_data / "aozora" / "aozora.tar.xz"), "--limit", "400",
            "--out", str(out), "--workers", "2", "part_bytes=1000000",
        ]  # fmt: skip

    start = time.monotonic()
    subprocess.run(command(tmp_path / "whole"), check=True, capture_output=True)
    took = time.monotonic() - start
    random_ = random.Random(0)
    killed = 0
    while killed < 10:
        out = tmp_path / f"killed-{killed}"
        process = subprocess.Popen(
            command(out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            process.wait(timeout=took * random_.uniform(0.1, 1.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        if (out / "minna.json").exists():
            shutil.rmtree(out)  # it was faster than the killer: this one does not count
            continue
        killed += 1
        subprocess.run(command(out), check=True, capture_output=True)
        assert contents(out) == contents(tmp_path / "whole")
        shutil.rmtree(out)


def test_killed_while_the_stage_is_cleared_away_it_starts_afresh(tmp_path, sentences, monkeypatch):
    build(sentences([40, 60]), out=tmp_path / "whole", settings=SETTINGS)

    def halfway(path: Path) -> None:
        for file in sorted(path.rglob("*.npy"))[:5]:
            file.unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(documents_module.shutil, "rmtree", halfway)
        build(sentences([40, 60]), out=tmp_path / "cut", settings=SETTINGS)
    build(sentences([40, 60]), out=tmp_path / "cut", settings=SETTINGS)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


@pytest.mark.skipif(sys.platform == "win32", reason="no such limit there")
def test_many_parts_do_not_need_many_open_files(tmp_path, sentences):
    import resource

    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = len(list(Path("/dev/fd").iterdir())) + 30
    settings = BuildSettings(**(vars(SETTINGS) | {"part_bytes": 1}))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
        report = build(sentences([120]), out=tmp_path / "corpus", settings=settings)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert report.read == 120


def test_a_document_stays_in_its_split_when_near_copies_are_added(tmp_path):
    from tests.corpus.test_corpus_copies import built, prose

    rows = [prose(seed) for seed in range(40)]
    (tmp_path / "a").mkdir()
    _, before = built(tmp_path / "a", rows, valid=0.2, test=0.3)
    splits = {
        document.text: row for document, row in zip(before, splits_of(tmp_path / "a"), strict=True)
    }
    longer = [*rows, *[row + "終わりです。" for row in rows]]
    report, after = built(tmp_path, longer, valid=0.2, test=0.3)
    assert report.dropped == {"near_duplicate": 40}
    assert {d.text: row for d, row in zip(after, splits_of(tmp_path), strict=True)} == splits
    assert len(set(splits.values())) == 3


def splits_of(folder: Path) -> list[str]:
    return [
        split
        for batch in batches(folder / "corpus", split="all", columns=["split"])
        for split in batch.column(0).to_pylist()
    ]


@pytest.mark.full
def test_the_whole_of_aozora_is_clean_and_its_readings_stand_where_they_say(tmp_path, shared_data):
    import pyarrow.parquet as pq

    archive = shared_data / "aozora" / "aozora.tar.xz"
    out = tmp_path / "aozora"
    report = build_corpus(settings=BuildSettings(source="aozora", path=archive), out=out)
    count = read_manifest(report).counts
    assert count["read"].value == 6110
    assert count["documents"].value > 6000
    assert count["readings"].value > 1_000_000
    clean = {document.id: document.text for document in texts(out, split="all")}
    for mark, most in {"［＃": 0, "底本：": 0, "入力：": 0, "校正：": 0, "《": 5, "｜": 4}.items():
        assert sum(mark in text for text in clean.values()) <= most, mark
    for file in (out / "readings").iterdir():
        for row in pq.read_table(file).to_pylist():
            assert clean[row["id"]].startswith(row["base"], row["start"])


def test_the_same_call_again_does_nothing_and_another_setting_builds_again(
    tmp_path, sentences, monkeypatch
):
    first = build(sentences([40]), out=tmp_path / "corpus", settings=SETTINGS)
    monkeypatch.setattr(documents_module, "writing", None)
    again = build(sentences([40]), out=tmp_path / "corpus", settings=SETTINGS)
    assert again.state == "unchanged"
    assert (again.kept, again.dropped, again.splits) == (first.kept, first.dropped, first.splits)
    monkeypatch.undo()
    other = BuildSettings(source="sentences", limit=10)
    assert build(sentences([40]), out=tmp_path / "corpus", settings=other).state == "built"


def test_limit_takes_the_first_documents_of_the_source(tmp_path, sentences):
    settings = BuildSettings(**(vars(SETTINGS) | {"limit": 30}))
    whole = build(sentences([40, 60]), out=tmp_path / "whole", settings=settings)
    assert whole.read == 30
    build(sentences([30]), out=tmp_path / "short", settings=SETTINGS)
    kept = {
        name: [document.text for document in texts(tmp_path / name, split="all")]
        for name in ("whole", "short")
    }
    assert kept["whole"] == kept["short"]


def test_a_corpus_with_nothing_left_is_refused_with_the_reasons(tmp_path, sentences):
    settings = BuildSettings(source="sentences", filters=FilterSettings(min_characters=1000))
    with pytest.raises(
        DataError, match=r"12 documents read, 0 kept \(duplicate: 1, too_short: 11\)"
    ) as caught:
        build(sentences([12]), out=tmp_path / "corpus", settings=settings)
    assert "filters" in caught.value.remedy
    assert not (tmp_path / "corpus").exists()


def test_a_source_without_documents_and_a_wrong_language_are_refused(tmp_path, sentences):
    with pytest.raises(DataError, match="0 documents read"):
        build(sentences([0]), out=tmp_path / "none", settings=SETTINGS)
    settings = BuildSettings(**(vars(SETTINGS) | {"language": "en"}))
    with pytest.raises(DataError, match=r"language: 1\d") as caught:
        build(sentences([14]), out=tmp_path / "english", settings=settings)
    assert "language=any" in caught.value.remedy


def test_an_empty_split_is_warned_about(tmp_path, sentences, capsys):
    build(sentences([3]), out=tmp_path / "corpus", settings=BuildSettings(source="sentences"))
    assert "got no document" in capsys.readouterr().err


def test_splits_follow_the_fractions_and_do_not_depend_on_anything_but_the_group():
    places = [split_of(f"group {n}", valid=0.1, test=0.2) for n in range(5000)]
    assert abs(places.count("test") / 5000 - 0.2) < 0.02
    assert abs(places.count("valid") / 5000 - 0.1) < 0.02
    assert split_of("tatoeba-1", valid=0, test=0) == "train"


@pytest.mark.parametrize(
    "bad",
    [
        {"sauce": 1},
        {"valid": 0.6, "test": 0.5},
        {"limit": 0},
        {"documents": "page"},
        {"dedup": {"bands": 30, "rows": 8}},
        {"dedup": {"near": "maybe"}},
        {"contamination": {"ngram": 2}},
    ],
)
def test_wrong_settings_are_refused(bad):
    with pytest.raises(ValidationError):
        BuildSettings(source="local", **bad)


def test_a_pipeline_gets_the_path_from_settings_alone(tmp_path):
    (tmp_path / "text.txt").write_text("これは試験です。\n\nこれも試験です。\n", encoding="utf-8")
    settings = BuildSettings(source="local", path=tmp_path / "text.txt", documents="blank-line")
    path = build_corpus(settings=settings, out=tmp_path / "corpus")
    assert [d.text for d in texts(path, split="all")] == ["これは試験です。", "これも試験です。"]
    assert build_corpus(settings=settings, out=tmp_path / "corpus") == path


def test_the_source_of_the_tests_is_what_it_says():
    shard = Sentences([3]).shards()[0]
    assert [raw.text for raw in shard.documents()][1] == "これは1番目の文です。"
