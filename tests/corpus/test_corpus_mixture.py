"""Mixtures: shares and repeats exact, leaks found, components unchanged, and errors that help."""

from __future__ import annotations

import json
import shutil
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.corpus.made_corpora import english, japanese, row, write_corpus
from typer.testing import CliRunner

from minna import artifact
from minna.artifact import Licence
from minna.cli import corpus_mix
from minna.corpus import components, overlap, read
from minna.corpus.components import read_mixture, told_again
from minna.corpus.mixture import MixSettings, mix, parse_weight
from minna.corpus.overlap import find_overlap
from minna.errors import ArtifactError, DataError, UsageError


@pytest.fixture
def wiki(tmp_path):
    held = japanese(6, first=900, split="valid") + japanese(4, first=950, split="test")
    return write_corpus(tmp_path / "wiki", japanese(100) + held)


@pytest.fixture
def pile(tmp_path):
    rows = english(333) + english(5, first=900, split="valid")
    licences = (Licence(source="pile", licence="MIT"), Licence(source="made", licence="CC0-1.0"))
    return write_corpus(tmp_path / "pile", rows, licences=licences, legal=("confirm it", "and it"))


def told(corpus, split="train"):
    return Counter(document.text for document in read.texts(corpus, split=split))


def source_bytes(corpus):
    found = Counter()
    for document in read.texts(corpus, split="train"):
        found[document.source] += len(document.text.encode())
    return found


def test_whole_repeats_tell_every_document_so_often(wiki, pile, tmp_path):
    mixed = tmp_path / "mix"
    mixture = mix([(wiki, 3), (pile, 1)], out=mixed)
    assert told(mixed) == Counter(
        {text: 3 * n for text, n in told(wiki).items()} | dict(told(pile))
    )
    got = source_bytes(mixed)
    total = sum(got.values())
    assert [part.share for part in mixture.components] == [
        pytest.approx(got["wiki"] / total),
        pytest.approx(got["pile"] / total),
    ]
    assert mixture.bytes == total and mixture.documents == 633


def test_a_fraction_of_a_repeat_is_met_within_a_document_a_file(wiki, pile, tmp_path):
    mixed = tmp_path / "mix"
    mixture = mix([(wiki, 2.5), (pile, 0.25)], out=mixed)
    counts = told(mixed)
    assert {counts[text] for text in told(wiki)} == {2, 3}
    assert {counts[text] for text in told(pile)} == {0, 1}
    got = source_bytes(mixed)
    for part, source in zip(mixture.components, ("wiki", "pile"), strict=True):
        largest = max(len(t.encode()) for t in told(mixed.parent / source))
        wanted = part.bytes * part.repeats
        number_of_files = len(read.files(mixed.parent / source))
        assert abs(got[source] - wanted) <= (largest + 1) * number_of_files
    again = mix([(wiki, 2.5), (pile, 0.25)], out=tmp_path / "again")
    assert again == mixture and told(tmp_path / "again") == counts
    mix([(wiki, 2.5), (pile, 0.25)], out=tmp_path / "other", settings=MixSettings(seed=1))
    assert told(tmp_path / "other") != counts


@given(
    st.lists(st.integers(1, 500), min_size=1, max_size=80),
    st.floats(0.01, 0.99),
    st.integers(0, 3),
)
def test_over_epochs_every_document_gets_its_turn(sizes, rest, seed):
    sizes = np.asarray(sizes)
    epochs = [told_again(sizes, rest=rest, epoch=epoch, seed=seed, number=2) for epoch in range(12)]
    for taken in epochs:
        assert abs(sizes[taken].sum() - rest * sizes.sum()) <= 2 * sizes.max()
    for last in (1, 5, 12):
        times = np.sum(epochs[:last], axis=0)
        assert np.all(np.abs(times - rest * last) < 1)


def test_components_come_interleaved_in_proportion_whatever_columns_are_asked(wiki, pile, tmp_path):
    mixed = tmp_path / "mix"
    mix([(wiki, 5), (pile, 1)], out=mixed)
    texts = [d.text for d in read.texts(mixed, split="train")]
    sources = [d.source for d in read.texts(mixed, split="train")]
    whole = sources.count("wiki") / len(sources)
    for end in range(100, len(sources), 50):
        assert sources[:end].count("wiki") / end == pytest.approx(whole, abs=12 / end)
    pairs = [pair for batch in read.text_batches(mixed, split="train") for pair in zip(*batch, strict=True)]  # fmt: skip
    assert pairs == list(zip(texts, sources, strict=True))
    ids = [i for b in read.batches(mixed, split="train", columns=["id"]) for i in b.column(0).to_pylist()]  # fmt: skip
    assert ids == [d.id for d in read.texts(mixed, split="train")]


def test_held_out_documents_come_once_and_all_has_every_row_once(wiki, pile, tmp_path):
    mixed = tmp_path / "mix"
    mix([(wiki, 5), (pile, 0.5)], out=mixed)
    assert told(mixed, "valid") == told(wiki, "valid") + told(pile, "valid")
    assert told(mixed, "test") == told(wiki, "test")
    assert told(mixed, "all") == told(wiki, "all") + told(pile, "all")
    counts = artifact.read_manifest(mixed).counts
    assert (counts["train"].value, counts["valid"].value, counts["test"].value) == (433, 11, 4)
    assert counts["epoch_documents"].value == round(500 + 166.5)


def test_shares_are_those_of_the_bytes_and_no_document_is_left_out_by_default(wiki, pile, tmp_path):
    settings = MixSettings(by="share")
    mixture = mix([(wiki, 30), (pile, 10)], out=tmp_path / "mix", settings=settings)
    assert [part.share for part in mixture.components] == pytest.approx([0.75, 0.25], abs=1e-5)
    assert min(part.repeats for part in mixture.components) == 1
    assert set(told(tmp_path / "mix")) == {*told(wiki), *told(pile)}
    small = MixSettings(by="share", bytes=2000)
    cut = mix([(wiki, 30), (pile, 10)], out=tmp_path / "cut", settings=small)
    assert cut.bytes == pytest.approx(2000, rel=1e-4)
    assert all(part.repeats < 1 for part in cut.components)
    got = source_bytes(tmp_path / "cut")
    assert got["wiki"] == pytest.approx(1500, abs=3 * 90)
    assert got["pile"] == pytest.approx(500, abs=9 * 120)


def test_a_share_that_needs_too_many_repeats_names_the_numbers_and_three_ways_out(
    wiki, pile, tmp_path
):
    with pytest.raises(
        UsageError, match=r"repeated 4\d\.\d times, over --max-repeats 16"
    ) as caught:
        mix([(wiki, 7), (pile, 3)], out=tmp_path / "mix", settings=MixSettings(by="share", bytes=400_000))  # fmt: skip
    assert "--bytes" in caught.value.remedy and "--max-repeats 4" in caught.value.remedy
    most = int(caught.value.remedy.split("--bytes ")[1].split(" ")[0])
    mix([(wiki, 7), (pile, 3)], out=tmp_path / "mix", settings=MixSettings(by="share", bytes=most))


def test_a_document_held_out_anywhere_is_trained_on_nowhere(tmp_path):
    both, leak, first, second = (row(f"文{n}") for n in range(4))

    def held(one, split):
        return {**one, "split": split}

    old = write_corpus(
        tmp_path / "old", [both, leak, held(first, "valid"), held(second, "test"), *japanese(30)]
    )
    new = write_corpus(
        tmp_path / "new", [both, held(leak, "valid"), first, held(second, "valid"), *english(30)]
    )
    mixed = tmp_path / "mix"
    mixture = mix([(old, 1), (new, 1)], out=mixed)
    assert mixture.shared == 4
    assert [part.left_out for part in mixture.components] == [1, 2]
    train, valid, test = (told(mixed, split) for split in ("train", "valid", "test"))
    assert train["文0"] == 2  # trained on in both, as often as asked
    assert train["文1"] == 0 and valid["文1"] == 1
    assert train["文2"] == 0 and valid["文2"] == 1
    assert (test["文3"], valid["文3"]) == (1, 0)
    assert not set(train) & (set(valid) | set(test))
    assert [part.documents for part in mixture.components] == [31, 31]
    assert sum(told(mixed, "all").values()) == 34 + 34 - 3


def test_ids_compared_in_portions_are_the_ids_compared_at_once(tmp_path):
    rows = japanese(80)
    left = write_corpus(tmp_path / "a", rows)
    moved = [{**r, "split": "valid"} if n % 3 else r for n, r in enumerate(rows[20:])]
    right = write_corpus(tmp_path / "b", [*moved, *english(20)])
    corpora = [read.parts(left), read.parts(right)]
    whole, cut = find_overlap(corpora), find_overlap(corpora, ids_at_once=7)
    assert whole.shared == cut.shared == 60
    for one, other in zip(whole.left_out, cut.left_out, strict=True):
        assert np.array_equal(one, other)
    assert [len(one) for one in whole.left_out] == [40, 0]


def test_ids_are_read_once_however_many_portions_they_are_compared_in(tmp_path, monkeypatch):
    corpora = [
        read.parts(write_corpus(tmp_path / name, japanese(50, first=first)))
        for name, first in (("a", 0), ("b", 30))
    ]
    rows = Counter()

    def counted(part, *, split, columns):
        for batch in read.part_batches(part, split=split, columns=columns):
            rows[tuple(columns)] += batch.num_rows
            yield batch

    monkeypatch.setattr(overlap, "part_batches", counted)
    assert find_overlap(corpora, ids_at_once=3).shared == 20
    assert rows["id", "split"] == 100


def test_ids_become_the_numbers_they_are_written_as_and_others_are_refused(tmp_path):
    ids = ["0000000000000000", "ffffffffffffffff", "0123456789abcdef", "fedcba9876543210"]
    column = pa.array(["x" * 16, *ids])
    numbers = components.id_numbers(column.slice(1), file=tmp_path / "a.parquet")
    assert numbers.tolist() == [int(one, 16) for one in ids]
    for bad in ("", "0" * 15, "0" * 17, "0" * 15 + "g", "0" * 15 + "F", "0" * 13 + "あ", None):
        with pytest.raises(ArtifactError, match=r"a\.parquet has an id that is not 16 hex digits"):
            components.id_numbers(pa.array([ids[0], bad]), file=tmp_path / "a.parquet")


def test_an_id_twice_in_one_corpus_is_not_shared(tmp_path):
    twice = write_corpus(tmp_path / "a", [*japanese(5), *japanese(5)])
    other = write_corpus(tmp_path / "b", english(5))
    found = find_overlap([read.parts(twice), read.parts(other)])
    assert found.shared == 0 and [len(one) for one in found.left_out] == [0, 0]


def test_a_mixture_is_an_intact_corpus_with_terms_and_a_card_in_two_languages(
    wiki, pile, tmp_path, capsys
):
    mixed = tmp_path / "mix"
    mix([(wiki, 5), (pile, 0.5)], out=mixed)
    manifest, findings = artifact.inspect(mixed)
    assert manifest.kind == "corpus" and findings == []
    assert [licence.source for licence in manifest.licences] == ["made", "pile"]
    assert manifest.legal == ["confirm it", "and it"]
    assert [parent.role for parent in manifest.parents] == ["component", "component"]
    page = (mixed / "card.md").read_text(encoding="utf-8")
    for words in ("told 5 times", "5 回読まれる", "x 0.5", "once in 2 epochs", "100 |", "CC0-1.0"):
        assert words in page
    assert "wiki is told 5 times" in capsys.readouterr().err
    content = json.loads((mixed / "mixture.json").read_text(encoding="utf-8"))
    assert [part["path"] for part in content["components"]] == ["../wiki", "../pile"]
    before = (mixed / "minna.json").stat().st_mtime_ns
    mix([(wiki, 5), (pile, 0.5)], out=mixed)
    assert (mixed / "minna.json").stat().st_mtime_ns == before


def test_a_mixture_can_be_moved_with_its_components_but_not_without(wiki, pile, tmp_path):
    mix([(wiki, 1), (pile, 1)], out=tmp_path / "mix")
    before = told(tmp_path / "mix")
    other = tmp_path / "elsewhere"
    shutil.copytree(tmp_path, other, ignore=shutil.ignore_patterns("elsewhere"))
    assert told(other / "mix") == before
    shutil.rmtree(other / "wiki")
    with pytest.raises(ArtifactError, match=r"reads the corpus \.\./wiki") as caught:
        read.files(other / "mix")
    assert "minna corpus mix" in caught.value.remedy


def test_a_component_made_again_since_is_refused(wiki, tmp_path):
    mix([(wiki, 2)], out=tmp_path / "mix")
    shutil.rmtree(wiki)
    write_corpus(wiki, japanese(50))
    with pytest.raises(ArtifactError, match="made again since"):
        next(read.texts(tmp_path / "mix", split="train"))


def test_a_damaged_page_of_numbers_is_said(wiki, tmp_path):
    mix([(wiki, 2)], out=tmp_path / "mix")
    file = tmp_path / "mix" / "mixture.json"
    file.write_text(file.read_text(encoding="utf-8")[:-9], encoding="utf-8")
    with pytest.raises(ArtifactError, match="is not a mixture"):
        read_mixture(tmp_path / "mix")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("wiki", "must be CORPUS=WEIGHT"),
        ("=3", "must be CORPUS=WEIGHT"),
        ("wiki=many", "must be a number, not 'many'"),
    ],
)
def test_a_weight_that_is_none_says_how_to_write_one(text, words):
    with pytest.raises(UsageError, match=words):
        parse_weight(text)
    assert parse_weight("a=b/wiki=2.5") == (parse_weight("a=b/wiki=1")[0], 2.5)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_a_weight_that_is_impossible_is_refused(weight, wiki, tmp_path):
    with pytest.raises(UsageError, match="must be a number over 0"):
        mix([(wiki, weight)], out=tmp_path / "mix")


@pytest.mark.parametrize("weight", [1e308, 1e-320, 1e7])
def test_a_weight_out_of_all_proportion_is_refused(weight, wiki, tmp_path):
    with pytest.raises(UsageError, match="between 1e-06 and 1e\\+06"):
        mix([(wiki, weight)], out=tmp_path / "mix")


def test_a_mixture_is_not_written_over_into_or_around_a_component(wiki, tmp_path):
    for out in (wiki, wiki / "inside", wiki.parent):
        with pytest.raises(UsageError, match="is the place of the component"):
            mix([(wiki, 1.0)], out=out)
    assert (wiki / "data").is_dir()


def test_other_impossible_mixtures_are_refused_with_the_way_out(wiki, pile, tmp_path):
    out = tmp_path / "mix"
    shutil.copytree(wiki, tmp_path / "again")
    with pytest.raises(UsageError, match="is the same corpus as"):
        mix([(wiki, 1), (tmp_path / "again", 2)], out=out)
    with pytest.raises(UsageError, match="needs shares"):
        mix([(wiki, 1)], out=out, settings=MixSettings(bytes=100))
    with pytest.raises(UsageError, match="needs a component"):
        mix([], out=out)
    with pytest.raises(ArtifactError, match="does not exist"):
        mix([(tmp_path / "nowhere", 1)], out=out)
    none = write_corpus(tmp_path / "none", japanese(3, split="valid"))
    with pytest.raises(DataError, match="no training documents"):
        mix([(wiki, 1), (none, 1)], out=out)
    odd = write_corpus(tmp_path / "odd", [{**row("文"), "id": "number seven"}])
    with pytest.raises(ArtifactError, match="not 16 hex digits"):
        mix([(wiki, 1), (odd, 1)], out=out)
    assert not out.exists()
    mix([(wiki, 2), (pile, 1)], out=tmp_path / "inner")
    with pytest.raises(UsageError, match="is a mixture itself") as caught:
        mix([(tmp_path / "inner", 3)], out=out)
    assert caught.value.remedy == "name wiki=6 pile=3 in its place"
    with pytest.raises(ArtifactError, match="was not made by minna"):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "letters.txt").write_text("dear", encoding="utf-8")
        mix([(wiki, 1)], out=tmp_path / "mine")


def test_the_verb_prints_what_was_got_for_people_and_for_machines(wiki, pile, tmp_path):
    import typer

    app = typer.Typer()
    app.command("mix")(corpus_mix.mix)
    run = CliRunner()
    out = str(tmp_path / "mix")
    asked = [f"{wiki}=3", f"{pile}=1", "--by", "share", "--out", out]
    words = run.invoke(app, asked)
    assert words.exit_code == 0, words.exception
    assert "wiki   75.00% of the bytes" in words.stdout
    content = json.loads(run.invoke(app, [*asked, "--json"]).stdout)
    assert content["by"] == "share" and len(content["components"]) == 2
    wrong = run.invoke(app, [*asked[:2], "--by", "weight", "--out", out])
    assert isinstance(wrong.exception, UsageError)
    size = run.invoke(app, [*asked, "--bytes", "1k"])
    assert size.exit_code == 0 and "1 kB" in size.stdout
