"""A corpus of dialogues: what is kept, what goes and why, and that no question straddles a split."""

from __future__ import annotations

import json
import tracemalloc

import pyarrow.parquet as pq
import pytest
from tests.toy_chain import make_corpus
from typer.testing import CliRunner

from minna import artifact
from minna.cli.corpus import app
from minna.corpus import (
    DIALOGUE_COLUMNS,
    BuildSettings,
    DialogueSettings,
    build_dialogues,
    dialogue_rows,
    holds_dialogues,
    read_dialogues,
    texts,
)
from minna.corpus.sources import DESCRIPTIONS, open_source
from minna.errors import ArtifactError, DataError, UsageError
from minna.prompts import Turn

RUN = CliRunner()


def chat(*texts):
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[n % 2], "content": text} for n, text in enumerate(texts)]}


def write(path, rows):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def settings(path, **values):
    return DialogueSettings(source="dialogues", path=path, **{"licence": "MIT", **values})


def build(tmp_path, rows, **values):
    path = write(tmp_path / "a.jsonl", rows)
    return build_dialogues(settings=settings(path, **values), out=tmp_path / "corpus")


def rows_of(corpus):
    return [
        row
        for file in sorted((corpus / "data").iterdir())
        for row in pq.read_table(file).to_pylist()
    ]


def test_a_file_becomes_a_corpus_with_its_columns_terms_and_counts(tmp_path):
    rows = [
        chat("空は？", "青い。", "海は？", "青い。"),
        {"prompt": "1+1", "chosen": "2", "rejected": "3"},
    ]
    report = build(tmp_path, rows, valid=0, test=0, attribution="me")
    assert (report.state, report.read, report.kept) == ("built", 2, 2)
    assert (report.turns, report.rejected, report.unanswered) == (6, 1, 0)
    assert report.splits == {"train": 2, "valid": 0, "test": 0} and not report.dropped
    first, second = rows_of(report.path)
    assert tuple(first) == DIALOGUE_COLUMNS
    assert (first["source"], first["licence"], first["split"]) == ("dialogues", "MIT", "train")
    assert [turn["text"] for turn in first["turns"]] == ["空は？", "青い。", "海は？", "青い。"]
    assert (first["rejected"], second["rejected"]) == ("", "3")
    manifest = artifact.read_manifest(report.path, kind="corpus")
    assert [(one.licence, one.attribution) for one in manifest.licences] == [("MIT", "me")]
    assert any("not masked" in note for note in manifest.legal)
    card = (report.path / "card.md").read_text(encoding="utf-8")
    for words in ("2 件の対話を残した", "2 dialogues kept", "空は？", "MIT"):
        assert words in card
    assert artifact.inspect(report.path)[1] == []


def test_dialogues_come_back_as_they_were_written_in_order(tmp_path):
    report = build(
        tmp_path, [chat(f"{n}は？", f"{n}だ。") for n in range(300)], valid=0.2, test=0.2
    )
    everything = list(read_dialogues(report.path, split="all"))
    assert [one.turns[0].text for one in everything] == [f"{n}は？" for n in range(300)]
    assert everything[7].turns == (Turn("user", "7は？"), Turn("assistant", "7だ。"))
    parts = {name: list(read_dialogues(report.path, split=name)) for name in report.splits}
    assert {name: len(found) for name, found in parts.items()} == report.splits
    assert all(len(found) > 30 for found in parts.values())
    assert sorted(one.id for found in parts.values() for one in found) == sorted(
        one.id for one in everything
    )
    with pytest.raises(UsageError, match="did you mean 'train'"):
        list(read_dialogues(report.path, split="trian"))


def test_texts_are_normalised_and_line_breaks_within_a_turn_stay(tmp_path):
    report = build(
        tmp_path,
        [{"prompt": "ﾃｽﾄ　です\r\n二行目？", "chosen": "Ａ\n\nＢ ", "rejected": "Ａ\u200b"}],
    )
    (one,) = read_dialogues(report.path, split="all")
    assert [turn.text for turn in one.turns] == [
        "テスト です\n二行目？",
        "A\n\nB",
    ] and one.rejected == "A"


def test_what_is_left_out_is_counted_by_its_reason(tmp_path):
    rows = [
        chat("空は？", "青い。"),
        chat("空は？", "青い。 "),  # the same once it is normalised
        {"prompt": "空は？", "chosen": "青い。", "rejected": "赤い。"},  # another comparison
        {"prompt": "空は？", "chosen": "青い。", "rejected": "赤い。 "},  # the same one
        chat("空は？", "\u200b"),
        {"prompt": "空は？", "chosen": "Ａ", "rejected": "A"},
        {"prompt": "空は？", "chosen": "A", "rejected": "\u200b"},
        {"messages": [{"role": "tool", "content": "x"}]},
        chat("空は？"),
        chat("空は？", "赤い。", "本当？"),  # loses its last turn
    ]
    report = build(tmp_path, rows)
    assert report.dropped == {
        "the same turns came before": 2,
        "empty turn": 2,
        "both answers are the same": 1,
        "a turn of 'tool'": 1,
        "no answer": 1,
    }
    assert (report.read, report.kept) == (10, 3)
    assert [len(one.turns) for one in read_dialogues(report.path, split="all")] == [2, 2, 2]


def test_a_thousand_reasons_do_not_fill_the_manifest(tmp_path):
    rows = [{"messages": [{"role": f"speaker {n}", "content": "x"}]} for n in range(200)]
    report = build(tmp_path, [chat("空は？", "青い。"), *rows])
    assert len(report.dropped) == 21 and report.dropped["other reasons"] == 180


def test_a_question_never_straddles_a_split_nor_do_its_answers(tmp_path):
    rows = [chat(f"{n % 50}は？ ", f"{n}だ。", "続きは？", "ない。") for n in range(400)]
    rows += [{"prompt": f"{n}は？", "chosen": f"良い{n}", "rejected": "悪い"} for n in range(50)]
    report = build(tmp_path, rows, valid=0.2, test=0.2)
    splits = {}
    for row in rows_of(report.path):
        splits.setdefault(row["turns"][0]["text"], set()).add((row["group"], row["split"]))
    assert len(splits) == 50 and all(len(found) == 1 for found in splits.values())
    assert {split for ((_, split),) in splits.values()} == {"train", "valid", "test"}


@pytest.mark.parametrize(
    "prompt", ["空は？", "\n\nHuman: 空は？\n\nAssistant:", [{"role": "user", "content": "空は？"}]]
)
def test_preferences_of_plain_answers_are_read_behind_their_prompt(prompt, tmp_path):
    report = build(tmp_path, [{"prompt": prompt, "chosen": " 青い。", "rejected": " 赤い。"}])
    (one,) = read_dialogues(report.path, split="all")
    assert (
        one.turns == (Turn("user", "空は？"), Turn("assistant", "青い。"))
        and one.rejected == "赤い。"
    )


def test_preferences_without_a_question_or_an_answer_are_none(tmp_path):
    hh = "\n\nHuman: 空は？"
    rows = [
        chat("空は？", "青い。"),
        {"chosen": "青い。", "rejected": "赤い。"},
        {"chosen": hh, "rejected": hh + "\n\nAssistant: 赤い。"},
        {"chosen": [], "rejected": []},
    ]
    assert build(tmp_path, rows).dropped == {"no answer": 3}


def test_unanswered_questions_are_kept_when_asked_for(tmp_path):
    asked = "\n\nHuman: 海は？\n\nAssistant:"
    rows = [
        chat("空は？", "青い。", "海は？"),
        chat("山は？"),
        {"prompt": asked},
        {"prompt": [{"role": "user", "content": "川は？"}]},
        {"prompt": "湖は？", "completion": "深い。"},
    ]
    report = build(tmp_path, rows, unanswered="keep")
    assert (report.kept, report.unanswered) == (5, 4)
    found = [[turn.text for turn in one.turns] for one in read_dialogues(report.path, split="all")]
    assert found == [
        ["空は？", "青い。", "海は？"],
        ["山は？"],
        ["海は？"],
        ["川は？"],
        ["湖は？", "深い。"],
    ]
    with pytest.raises(DataError, match="a.jsonl:3 is of no known layout: it has 'prompt'"):
        build(tmp_path, rows)


def test_the_same_call_does_nothing_and_another_setting_or_file_builds_again(tmp_path):
    rows = [chat(f"{n}は？", "ある。") for n in range(20)]
    assert build(tmp_path, rows).state == "built"
    again = build(tmp_path, rows)
    assert (again.state, again.kept) == ("unchanged", 20)
    assert build(tmp_path, rows, limit=5).kept == 5
    assert build(tmp_path, rows, limit=5, licence="CC0").state == "built"
    assert build(tmp_path, rows[:4], limit=5, licence="CC0").kept == 4


def test_large_corpora_are_cut_into_files_and_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(dialogue_rows, "_ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(dialogue_rows, "_FILE_ROWS", 20)
    report = build(tmp_path, [chat(f"{n}は？", "ある。") for n in range(50)])
    files = sorted((report.path / "data").iterdir())
    assert [file.name for file in files] == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert [pq.ParquetFile(file).metadata.num_row_groups for file in files] == [3, 3, 2]
    numbers = [int(one.turns[0].text[:-2]) for one in read_dialogues(report.path, split="all")]
    assert numbers == list(range(50))


def test_reading_holds_a_row_group_and_not_the_corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(dialogue_rows, "_ROW_GROUP_BYTES", 200_000)
    report = build(tmp_path, [chat(f"{n}は？", f"{n}" * 2000) for n in range(1000)])
    assert report.text_bytes > 5_000_000
    tracemalloc.start()
    assert sum(1 for _ in read_dialogues(report.path, split="all")) == 1000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2_500_000


def test_a_build_that_stopped_half_way_leaves_nothing_of_itself(tmp_path, monkeypatch):
    rows = [chat(f"{n}は？", "ある。") for n in range(50)]
    monkeypatch.setattr(dialogue_rows, "_ROW_GROUP_ROWS", 7)
    monkeypatch.setattr(dialogue_rows, "_FILE_ROWS", 7)
    whole = dialogue_rows._table

    def stop(group):
        if group[0].turns[0].text == "28は？":
            raise KeyboardInterrupt
        return whole(group)

    monkeypatch.setattr(dialogue_rows, "_table", stop)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, rows)
    assert not (tmp_path / "corpus").exists()
    monkeypatch.setattr(dialogue_rows, "_table", whole)
    monkeypatch.setattr(dialogue_rows, "_FILE_ROWS", 100)
    report = build(tmp_path, rows)
    assert report.kept == 50 and len(list((report.path / "data").iterdir())) == 1


def test_nothing_left_and_files_of_no_use_are_errors_that_say_so(tmp_path):
    with pytest.raises(
        DataError, match=r"no dialogue is left .* 1 rows read, 0 kept \(no answer: 1\)"
    ):
        build(tmp_path, [chat("空は？")])
    with pytest.raises(DataError, match="does not exist"):
        build_dialogues(settings=settings(tmp_path / "nothing"), out=tmp_path / "corpus")
    with pytest.raises(DataError, match="2 is no JSON"):
        (tmp_path / "b.jsonl").write_text(
            '{"prompt": "a", "completion": "b"}\n{"x', encoding="utf-8"
        )
        build_dialogues(settings=settings(tmp_path / "b.jsonl"), out=tmp_path / "corpus")
    assert not (tmp_path / "corpus").exists()


def test_documents_and_dialogues_are_told_apart_in_words(tmp_path):
    text = make_corpus(tmp_path / "text", count=50)
    report = build(tmp_path, [chat("空は？", "青い。")])
    assert holds_dialogues(report.path) and not holds_dialogues(text)
    with pytest.raises(
        ArtifactError, match=r"holds documents, not dialogues[^$]*corpus build keywords --from"
    ):
        read_dialogues(text, split="train")
    with pytest.raises(ArtifactError, match="corpus holds dialogues, not documents"):
        next(texts(report.path, split="train"))
    with pytest.raises(UsageError, match="gives dialogues, and documents are needed"):
        open_source(BuildSettings(source="dialogues", path=tmp_path))
    with pytest.raises(
        ArtifactError, match="is a corpus of documents, and one of dialogues would replace it"
    ):
        build_dialogues(settings=settings(tmp_path / "a.jsonl"), out=text)
    assert next(texts(text, split="train")).text


def test_an_out_that_lies_in_the_source_is_refused(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    write(folder / "a.jsonl", [chat("空は？", "青い。")])
    for path, out in ((folder, folder / "out"), (folder, folder), (folder / "a.jsonl", folder)):
        with pytest.raises(UsageError, match="is where the source"):
            build_dialogues(settings=settings(path), out=out)
    assert (folder / "a.jsonl").is_file()


def test_the_command_builds_prints_and_takes_settings(tmp_path):
    path = write(
        tmp_path / "a.jsonl", [chat(f"{n}は？", "ある。") for n in range(9)] + [chat("川は？")]
    )
    out = tmp_path / "corpus"
    call = ["build", "dialogues", "--from", str(path), "--licence", "MIT", "--out", str(out)]
    first = RUN.invoke(app, call)
    assert (
        first.exit_code == 0
        and "dialogues 9 of 10" in first.stdout
        and "no answer 1" in first.stdout
    )
    assert artifact.read_manifest(out).settings["valid"] == 0.02  # not the default of text
    told = json.loads(
        RUN.invoke(app, [*call, "unanswered=keep", "--valid", "0.5", "--json"]).stdout
    )
    assert (told["state"], told["kept"], told["unanswered"]) == ("built", 10, 1)
    assert artifact.read_manifest(out).settings["valid"] == 0.5
    printed = RUN.invoke(app, ["cat", str(out), "--limit", "2"]).stdout.splitlines()
    assert [tuple(json.loads(line)) for line in printed] == [DIALOGUE_COLUMNS] * 2
    assert json.loads(printed[0])["turns"][0] == {"role": "user", "text": "0は？"}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--field", "text"], "--field does not apply to the source dialogues"),
        (["--workers", "2", "--language", "ja"], "--language, --workers does not apply"),
        (["--decontaminate", "x"], "--decontaminate does not apply"),
        (["seed=1"], "does not read seed, and seed=1 was given"),
        (["compared=0.5"], "does not read compared"),
        (["unansered=keep"], "did you mean 'unanswered'"),
        (["unanswered=maybe"], "unanswered is 'maybe'"),
        (["--valid", "0.6", "--test", "0.5"], "must be under 1"),
        (["filters.min_kana=0.1"], "filters is not a setting"),
    ],
)
def test_options_that_do_not_apply_are_refused(words, said, tmp_path):
    path = write(tmp_path / "a.jsonl", [chat("空は？", "青い。")])
    call = ["build", "dialogues", "--from", str(path), "--out", str(tmp_path / "c"), *words]
    outcome = RUN.invoke(app, call)
    assert isinstance(outcome.exception, UsageError) and said in str(outcome.exception)
    assert not (tmp_path / "c").exists()


def test_a_source_without_a_place_and_a_misspelt_one_are_said(tmp_path):
    out = str(tmp_path / "c")
    assert "needs the place of its data" in str(
        RUN.invoke(app, ["build", "dialogues", "--out", out]).exception
    )
    wrong = RUN.invoke(app, ["build", "dialogue", "--out", out]).exception
    assert "did you mean 'dialogues'" in str(wrong)


def test_sources_of_dialogues_are_listed():
    assert {"dialogues", "keywords", "tatoeba"} <= set(DESCRIPTIONS)


def test_the_japanese_dialogues_of_anthropic_hh_make_a_corpus(shared_data, tmp_path):
    path = shared_data / "instruction_ja" / "data.jsonl"
    report = build_dialogues(settings=settings(path), out=tmp_path / "corpus")
    assert (report.read, report.kept, report.turns) == (669, 669, 1338)
    assert all(report.splits.values())
    assert any("\n" in one.turns[-1].text for one in read_dialogues(report.path, split="train"))
