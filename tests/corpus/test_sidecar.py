"""A corpus and its translations become one corpus: same ids, same splits, other words."""

from __future__ import annotations

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.label.made_up import KanaTranslator, dialogue_corpus, to_kana
from tests.toy_chain import sentences

from minna import artifact
from minna.corpus import BuildSettings, batches, build_corpus, sidecar_rows, texts
from minna.corpus.dialogue_corpus import DIALOGUE_COLUMNS, read_dialogues
from minna.corpus.sidecar import join
from minna.errors import ArtifactError, DataError, UsageError
from minna.label import CheckSettings, TranslateSettings, translate

DIALOGUES = [
    ([f"Where is the red house number {n}?", f"It is behind hill number {n}."], "I do not know it." * (n % 3 == 0))
    for n in range(40)
]  # fmt: skip
BAD = {f"It is behind hill number {n}.": "それは丘の後ろにあります。" for n in (1, 5, 39)}


def labelled(corpus, tmp_path, *, name="sidecar", answers=None, **settings):
    return translate(
        corpus,
        out=tmp_path / name,
        translator=KanaTranslator(answers=answers or {}),
        settings=TranslateSettings(**settings),
        cache=tmp_path / f"{name}.cache",
    ).path


@pytest.fixture
def corpus(tmp_path):
    return dialogue_corpus(tmp_path, DIALOGUES)


def table(corpus, columns):
    return [
        row for batch in batches(corpus, split="all", columns=columns) for row in batch.to_pylist()
    ]


def test_kept_dialogues_have_their_ids_groups_splits_and_the_other_language(corpus, tmp_path):
    sidecar = labelled(corpus, tmp_path, answers=BAD)
    report = join(corpus, sidecar=sidecar, out=tmp_path / "ja")
    assert (report.state, report.read, report.kept, report.dropped) == (
        "built",
        40,
        37,
        {"numbers": 3},
    )
    assert sum(report.splits.values()) == 37 and report.splits["test"] > 0
    before = {row["id"]: row for row in table(corpus, DIALOGUE_COLUMNS)}
    after = table(tmp_path / "ja", DIALOGUE_COLUMNS)
    assert [row["id"] for row in after] == [
        i for i, row in before.items() if row["turns"][1]["text"] not in BAD
    ]
    for row in after:
        source = before[row["id"]]
        assert all(row[name] == source[name] for name in ("group", "split", "source", "licence"))
        assert row["turns"] == [
            {"role": t["role"], "text": to_kana(t["text"])} for t in source["turns"]
        ]
        assert row["rejected"] == to_kana(source["rejected"])
    assert len(list(read_dialogues(tmp_path / "ja", split="test"))) == report.splits["test"]


def test_the_joined_corpus_says_where_it_comes_from_and_who_translated_it(corpus, tmp_path):
    sidecar = labelled(corpus, tmp_path, answers=BAD)
    join(corpus, sidecar=sidecar, out=tmp_path / "ja")
    manifest = artifact.read_manifest(tmp_path / "ja", kind="corpus")
    assert manifest.parent("corpus").sha256 == artifact.parent_of(corpus, role="corpus").sha256
    assert manifest.parent("sidecar").sha256 == artifact.parent_of(sidecar, role="sidecar").sha256
    assert [(one.licence, one.attribution) for one in manifest.licences] == [("MIT", "somebody")]
    assert set(artifact.read_manifest(corpus).legal) < set(manifest.legal)
    assert any(
        "Machine-translated from English into Japanese by kana" in note for note in manifest.legal
    )
    count = {name: item.value for name, item in manifest.counts.items()}
    assert count["read"] == 40 == count["dialogues"] + count["dropped_numbers"]
    assert count["turns"] == 74 and count["text_bytes"] > count["characters"] > 0
    card = (tmp_path / "ja" / "card.md").read_text(encoding="utf-8")
    assert "機械翻訳" in card and "numbers" in card and to_kana("Where") in card
    assert artifact.inspect(tmp_path / "ja")[1] == []


def test_it_is_done_once_and_again_when_something_changed(corpus, tmp_path):
    sidecar = labelled(corpus, tmp_path)
    assert join(corpus, sidecar=sidecar, out=tmp_path / "ja").kept == 40
    before = (tmp_path / "ja" / "minna.json").read_bytes()
    assert join(corpus, sidecar=sidecar, out=tmp_path / "ja").state == "unchanged"
    assert (tmp_path / "ja" / "minna.json").read_bytes() == before
    other = labelled(corpus, tmp_path, name="other", answers=BAD)
    assert join(corpus, sidecar=other, out=tmp_path / "ja").kept == 37


def documents(tmp_path, lines, *, name="documents"):
    folder = tmp_path / f"{name}-source"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(lines), encoding="utf-8")
    settings = BuildSettings(
        source="local", path=folder / "a.txt", documents="line", language="any", licence="CC0-1.0",
        valid=0.1, test=0.1, dedup={"near": "off"}, shard_documents=25,
    )  # fmt: skip
    return build_corpus(settings=settings, out=tmp_path / name)


def test_documents_of_several_files_are_joined_in_a_stream(tmp_path, monkeypatch):
    lines = [
        f"The ship number {n} leaves the harbour and sails to the island over there."
        for n in range(60)
    ]
    corpus = documents(tmp_path, lines)
    assert len(list((corpus / "data").iterdir())) == 3
    bad = dict.fromkeys(
        lines[10:20], "船は港を出て、向こうの島へ向かって、すぐに、海を、渡って行きます。"
    )
    sidecar = labelled(corpus, tmp_path, answers=bad)
    assert len(list((sidecar / "data").iterdir())) == 3
    monkeypatch.setattr(sidecar_rows, "_GROUP_ROWS", 7)
    monkeypatch.setattr(sidecar_rows, "_FILE_BYTES", 1500)
    report = join(corpus, sidecar=sidecar, out=tmp_path / "ja")
    kept = [document for document in texts(corpus, split="all") if document.text not in bad]
    assert (
        report.unit == "documents"
        and report.dropped == {"numbers": 10}
        and report.kept == len(kept) == 50
    )
    after = list(texts(tmp_path / "ja", split="all"))
    assert [(d.id, d.group, d.text) for d in after] == [
        (d.id, d.group, to_kana(d.text)) for d in kept
    ]
    assert {row["language"] for row in table(tmp_path / "ja", ["language"])} == {"ja"}
    assert len(list((tmp_path / "ja" / "data").iterdir())) > 1
    card = (tmp_path / "ja" / "card.md").read_text(encoding="utf-8")
    assert "50 of 60" in card and "CC0" in card and "機械翻訳" in card


def test_a_side_car_of_another_corpus_is_refused(corpus, tmp_path):
    sidecar = labelled(corpus, tmp_path)
    other = dialogue_corpus(tmp_path, DIALOGUES[:-1], name="other")
    with pytest.raises(ArtifactError, match="made of another corpus"):
        join(other, sidecar=sidecar, out=tmp_path / "ja")
    text = documents(tmp_path, sentences(40, seed=1))
    with pytest.raises(ArtifactError, match="made of another corpus"):
        join(text, sidecar=sidecar, out=tmp_path / "ja")
    with pytest.raises(ArtifactError, match="is a corpus"):
        join(corpus, sidecar=other, out=tmp_path / "ja")
    assert not (tmp_path / "ja").exists()


def test_labels_of_another_kind_are_refused(corpus, tmp_path):
    parents = [artifact.parent_of(corpus, role="corpus")]
    with artifact.writing(
        tmp_path / "r", kind="sidecar", settings={"label": "rewards"}, parents=parents
    ) as draft:
        (draft.path / "x").write_text("x")
    with pytest.raises(UsageError, match="'rewards'"):
        join(corpus, sidecar=tmp_path / "r", out=tmp_path / "ja")


@pytest.mark.parametrize("out", ["corpus", "sidecar", "sidecar/data", "."])
def test_the_inputs_cannot_be_the_output(corpus, tmp_path, out):
    sidecar = labelled(corpus, tmp_path)
    with pytest.raises(UsageError, match="lies"):
        join(corpus, sidecar=sidecar, out=tmp_path / out)
    assert artifact.inspect(corpus)[1] == []


def test_a_damaged_side_car_is_refused(corpus, tmp_path):
    sidecar = labelled(corpus, tmp_path)
    file = sidecar / "data" / "00000.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged"):
        join(corpus, sidecar=sidecar, out=tmp_path / "ja")


@pytest.mark.parametrize("wrong", ["order", "short", "long"])
def test_rows_that_are_not_where_they_belong_are_seen(corpus, tmp_path, wrong):
    """A side-car whose manifest is right and whose rows are not: somebody wrote it by hand."""
    sidecar = labelled(corpus, tmp_path)
    rows = pq.read_table(sidecar / "data" / "00000.parquet")
    rows = {
        "order": rows.take([1, 0, *range(2, 40)]),
        "short": rows[:39],
        "long": pa.concat_tables([rows, rows[:1]]),
    }[wrong]
    made = artifact.read_manifest(sidecar)
    twin = tmp_path / "twin"
    with artifact.writing(
        twin, kind="sidecar", settings=made.settings, parents=made.parents
    ) as draft:
        (draft.path / "data").mkdir()
        pq.write_table(rows, draft.path / "data" / "00000.parquet")
    with pytest.raises(ArtifactError, match="in their order"):
        join(corpus, sidecar=twin, out=tmp_path / "ja")
    shutil.rmtree(twin / "data")
    with pytest.raises(ArtifactError, match="missing"):
        join(corpus, sidecar=twin, out=tmp_path / "ja")
    assert not (tmp_path / "ja").exists()


def test_a_side_car_that_keeps_nothing_makes_no_corpus(corpus, tmp_path):
    sidecar = labelled(corpus, tmp_path, checks=CheckSettings(ratio=(4, 5), slack=0))
    with pytest.raises(DataError, match=r"keeps none of 40 dialogues \(length: 40\)"):
        join(corpus, sidecar=sidecar, out=tmp_path / "ja")
    assert not (tmp_path / "ja").exists()
