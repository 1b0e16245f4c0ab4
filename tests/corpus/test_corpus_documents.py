import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

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

SETTINGS = BuildSettings(source="sentences", shard_documents=25, valid=0.1, test=0.2)


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
        "card.md", "data", "dropped.json", "minna.json",
    ]  # fmt: skip


def test_rows_are_in_source_order_at_most_shard_documents_a_file_and_groups_stay_whole(
    tmp_path, sentences
):
    build(sentences([40, 60]), out=tmp_path / "corpus", settings=SETTINGS)
    rows = [
        row
        for batch in batches(
            tmp_path / "corpus", split="all", columns=["group", "split", "licence", "text"]
        )
        for row in batch.to_pylist()
    ]
    numbers = [int(row["text"].split("番")[0].removeprefix("これは")) for row in rows]
    assert len(set(numbers)) == len(numbers)
    splits = {}
    for row in rows:
        assert splits.setdefault(row["group"], row["split"]) == row["split"]
        assert row["licence"] == "CC0-1.0"
    assert len(list((tmp_path / "corpus" / "data").iterdir())) == -(-len(rows) // 25)


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
        assert report.state == ("resumed" if fail_at >= 39 else "built")
        assert (report.kept, report.dropped) == (whole.kept, whole.dropped)
        assert contents(out) == contents(tmp_path / "whole")


KILLED = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.corpus.conftest import Sentences
from minna.corpus import BuildSettings, build
class Killed(Sentences):
    def _read(self, start, size):
        for document in super()._read(start, size):
            if document.id == KILL:
                os._exit(9)
            yield document
from minna.corpus.sources import content_id
KILL = content_id(b"70")
build(Killed([40, 60]), out=Path(sys.argv[2]),
      settings=BuildSettings(source="sentences", shard_documents=25, valid=0.1, test=0.2))
"""


def test_a_killed_process_leaves_nothing_half_written_and_is_gone_on_with(tmp_path, sentences):
    build(sentences([40, 60]), out=tmp_path / "whole", settings=SETTINGS)
    out = tmp_path / "killed"
    here = str(Path(__file__).parent)
    done = subprocess.run([sys.executable, "-c", KILLED, here, str(out)], check=False)
    assert done.returncode == 9
    assert not out.exists()
    report = build(sentences([40, 60]), out=out, settings=SETTINGS)
    assert report.state == "resumed"
    assert contents(out) == contents(tmp_path / "whole")


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


def test_limit_counts_kept_documents_also_over_an_interruption(tmp_path, sentences):
    settings = BuildSettings(source="sentences", limit=30, shard_documents=8)
    whole = build(sentences([40, 60]), out=tmp_path / "whole", settings=settings)
    assert whole.kept == 30
    source = sentences([40, 60], fail_at=20)
    with pytest.raises(RuntimeError):
        build(source, out=tmp_path / "cut", settings=settings)
    source.fail_at = None
    build(source, out=tmp_path / "cut", settings=settings)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_corpus_with_nothing_left_is_refused_with_the_reasons(tmp_path, sentences):
    settings = BuildSettings(source="sentences", filters=FilterSettings(min_characters=1000))
    with pytest.raises(DataError, match=r"12 documents read, 0 kept \(too_short: 12\)") as caught:
        build(sentences([12]), out=tmp_path / "corpus", settings=settings)
    assert "filters" in caught.value.remedy
    assert not (tmp_path / "corpus").exists()


def test_an_empty_split_is_warned_about(tmp_path, sentences, capsys):
    build(sentences([3]), out=tmp_path / "corpus", settings=BuildSettings(source="sentences"))
    assert "got no document" in capsys.readouterr().err


def test_splits_follow_the_fractions_and_do_not_depend_on_anything_but_the_group():
    places = [split_of(f"group {n}", valid=0.1, test=0.2) for n in range(5000)]
    assert abs(places.count("test") / 5000 - 0.2) < 0.02
    assert abs(places.count("valid") / 5000 - 0.1) < 0.02
    assert split_of("tatoeba-1", valid=0, test=0) == "train"


@pytest.mark.parametrize(
    "bad", [{"sauce": 1}, {"valid": 0.6, "test": 0.5}, {"limit": 0}, {"documents": "page"}]
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
