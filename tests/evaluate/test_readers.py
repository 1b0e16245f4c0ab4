"""Data sets in every format their makers publish, and every way in which they can be broken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from minna.errors import DataError, UsageError
from minna.evaluate.prompting import question_text, target_text
from minna.evaluate.readers import hub, read_data
from minna.evaluate.readers.texts import joined
from minna.evaluate.task import choose

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "tasks"
JCQ = {
    "q_id": 7,
    "question": "水を出すときに捻るものは？",
    **{
        f"choice{number}": word
        for number, word in enumerate(["蛇口", "取っ手", "流し", "釘", "棚"])
    },
    "label": 0,
}
PAIR = {"sentence_pair_id": "1", "sentence1": "犬がいる。", "sentence2": "動物がいる。"}
CTXS = [
    {"id": "1", "title": "題", "text": "本文", "score": "3.0", "has_answer": holds}
    for holds in (False, False, False, False, True, True)
]
QUIZ = {"qid": "Q1", "question": "何でしょう？", "answers": ["答え", "こたえ"], "ctxs": CTXS}


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    return path


def put_parquet(folder: Path, name: str, rows: Sequence[dict[str, Any]]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


# ---- the real data sets


@pytest.mark.parametrize(
    ("name", "scored", "shots"),
    [
        ("jcommonsenseqa", 1119, 8939),
        ("jnli", 2434, 0),
        ("jsquad", 4442, 0),
        ("mgsm", 250, 8),
        ("xwinograd_ja", 959, 0),
        ("jblimp", 331, 0),
        ("aio", 1000, 1992),
        ("jrte_pn", 553, 3888),
        ("en_ja", 500, 500),
        ("ja_en", 500, 500),
    ],
)
def test_the_real_files_are_found_and_counted(
    name: str, scored: int, shots: int, shared_data: Path
):
    chosen = choose(name)
    splits = read_data(chosen, data=shared_data)
    assert (len(splits.scored), len(splits.shots)) == (scored, shots)
    assert splits.files == tuple(sorted(splits.files))
    assert len(splits.sha256) == 64
    for document in (*splits.scored[:3], *splits.shots[:3]):
        assert "{" not in question_text(document, chosen=chosen)
        assert target_text(document, chosen=chosen)


def test_the_paragraphs_of_jsquad_are_its_groups(shared_data: Path):
    splits = read_data(choose("jsquad"), data=shared_data)
    assert len({document.group for document in splits.scored}) == 1145
    assert not any("[SEP]" in document.fields["context"] for document in splits.scored)


@pytest.mark.parametrize(
    ("name", "groups", "grouped"), [("jnli", 1076, 2152), ("xwinograd_ja", 402, 845)]
)
def test_rows_that_share_their_sentences_or_candidates_are_a_group(
    name: str, groups: int, grouped: int, shared_data: Path
):
    found = [d.group for d in read_data(choose(name), data=shared_data).scored if d.group]
    assert (len(set(found)), len(found)) == (groups, grouped)


def test_pairs_are_a_group_in_either_order_and_a_pair_alone_is_none(tmp_path: Path):
    turned = {**PAIR, "sentence1": PAIR["sentence2"], "sentence2": PAIR["sentence1"]}
    rows = [
        PAIR,
        {**turned, "sentence_pair_id": "2"},
        {**PAIR, "sentence1": "猫がいる。", "sentence_pair_id": "3"},
    ]
    put(tmp_path, "jnli/valid.jsonl", lines(*({**row, "label": "neutral"} for row in rows)))
    first, second, third = read_data(choose("jnli"), data=tmp_path).scored
    assert first.group == second.group != ""
    assert third.group == ""


def test_winograd_sentences_alone_tell_their_candidates(tmp_path: Path):
    rows = [
        {
            "sentence1": "犬は猫を見た。犬が速い。",
            "sentence2": "犬は猫を見た。猫が速い。",
            "answer": 1,
        },
        {
            "sentence1": "犬は猫を見た。猫が遅い。",
            "sentence2": "犬は猫を見た。犬が遅い。",
            "answer": 1,
        },
        {
            "sentence1": "鳥は魚を見た。鳥が速い。",
            "sentence2": "鳥は魚を見た。魚が速い。",
            "answer": 2,
        },
    ]
    put(tmp_path, "xwinograd_ja/test.jsonl", lines(*rows))
    first, second, third = read_data(choose("xwinograd_ja"), data=tmp_path).scored
    assert first.group == second.group != ""
    assert third.group == ""


def test_the_folder_may_be_the_data_set_itself(shared_data: Path):
    inside = read_data(choose("jnli"), data=shared_data / "jglue" / "jnli-v1.1")
    outside = read_data(choose("jnli"), data=shared_data)
    assert inside.files == ("valid-v1.1.json",)
    assert outside.files == ("jglue/jnli-v1.1/valid-v1.1.json",)
    assert inside.sha256 == outside.sha256
    assert inside.scored == outside.scored


def test_the_words_of_the_exemplars_are_taken_out(shared_data: Path):
    splits = read_data(choose("mgsm"), data=shared_data)
    assert splits.shots[0].fields["question"].startswith("ロジャーは")
    assert splits.shots[0].answers[0].startswith("ロジャーは最初")
    assert splits.scored[0].answers == ("18",)
    assert not any("," in document.answers[0] for document in splits.scored)


def test_both_winograd_sentences_hold_a_candidate_and_not_the_pronoun(shared_data: Path):
    first = read_data(choose("xwinograd_ja"), data=shared_data).scored[0]
    assert first.choices == (
        "狙撃兵はテロリストを撃った。狙撃兵は悪漢だったからだ。",
        "狙撃兵はテロリストを撃った。テロリストは悪漢だったからだ。",
    )
    assert first.label == 1


def test_quiz_answers_lose_the_qualifier_of_a_title_and_gain_the_other_answers(shared_data: Path):
    splits = read_data(choose("aio"), data=shared_data)
    assert not any(document.answers[0].endswith(")") for document in splits.shots)
    by_id = {document.id: document.answers for document in splits.scored}
    assert by_id["AIO02-0003"] == ("START", "新START")


# ---- formats without a real copy here


def test_the_official_and_the_hub_layout_of_jglue_give_the_same_documents(tmp_path: Path):
    rows = [
        PAIR | {"label": "neutral"},
        PAIR | {"sentence_pair_id": "2", "sentence2": "猫だ。", "label": "entailment"},
    ]
    put(tmp_path, "a/jnli-v1.3/valid-v1.3.json", lines(*rows))
    numbers = [rows[0] | {"label": 2}, rows[1] | {"label": 0}]
    put_parquet(tmp_path, "b/jnli/validation-00000-of-00002.parquet", numbers[:1])
    put_parquet(tmp_path, "b/jnli/validation-00001-of-00002.parquet", numbers[1:])
    official = read_data(choose("jnli"), data=tmp_path / "a")
    with pytest.raises(DataError, match="2 files"):
        read_data(choose("jnli"), data=tmp_path / "b")
    (tmp_path / "b/jnli/validation-00001-of-00002.parquet").unlink()
    hub_layout = read_data(choose("jnli"), data=tmp_path / "b")
    assert [document.label for document in official.scored] == [2, 0]
    assert hub_layout.scored == official.scored[:1]


def test_a_flat_jsquad_is_the_nested_one(tmp_path: Path):
    context = "梅雨 [SEP] 梅雨は雨季の一種である。"
    question = {"id": "a1p0q0", "question": "梅雨とは？"}
    nested = {
        "data": [
            {
                "title": "梅雨",
                "paragraphs": [
                    {
                        "context": context,
                        "qas": [question | {"answers": [{"text": "雨季", "answer_start": 3}]}],
                    }
                ],
            }
        ]
    }
    flat = question | {
        "title": "梅雨",
        "context": context,
        "answers": {"text": ["雨季"], "answer_start": [3]},
    }
    put(tmp_path, "a/jsquad/valid.json", json.dumps(nested))
    put_parquet(tmp_path, "b/jsquad/validation.parquet", [flat])
    one = read_data(choose("jsquad"), data=tmp_path / "a").scored
    other = read_data(choose("jsquad"), data=tmp_path / "b").scored
    assert one == other
    assert one[0].fields["context"] == "梅雨は雨季の一種である。"
    assert one[0].answers == ("雨季",)


@pytest.mark.parametrize("column", ["text", "sentence"])
def test_marc_ja_has_its_text_under_two_names(tmp_path: Path, column: str):
    rows = [
        {"review_id": "R1", column: "良い。", "label": "positive"},
        {"review_id": "R2", column: "悪い。", "label": 1},
    ]
    put(tmp_path, "marc_ja-v1.0/valid-v1.0.json", lines(*rows))
    documents = read_data(choose("marc_ja"), data=tmp_path).scored
    assert [document.label for document in documents] == [0, 1]
    assert documents[0].fields == {"query": "良い。"}


@pytest.mark.parametrize(("version", "kept"), [("0.1", 6), ("0.2", 5)])
def test_passages_are_cut_by_version_and_what_is_left_out_is_not(
    tmp_path: Path, version: str, kept: int
):
    late = QUIZ | {"qid": "Q2", "ctxs": [*CTXS[:4], CTXS[0], CTXS[5]]}  # only the sixth answers
    put(tmp_path, "jaqket_v2/valid.json", json.dumps([QUIZ, late], ensure_ascii=False))
    (document,) = read_data(choose("jaqket_v2", version=version), data=tmp_path).scored
    assert document.id == "Q1"
    assert document.answers == ("答え", "こたえ")
    assert len(document.passages) == kept


def test_jaqket_of_the_hub_has_lists_in_an_object(tmp_path: Path):
    columns = {name: [entry[name] for entry in CTXS] for name in ("title", "text", "has_answer")}
    row = QUIZ | {"answers": {"text": ["答え"], "answer_start": [-1]}, "ctxs": columns}
    put(tmp_path, "jaqket_v2/valid.jsonl", lines(row))
    (document,) = read_data(choose("jaqket_v2"), data=tmp_path).scored
    assert document.passages == (("題", "本文"),) * 5
    assert document.answers == ("答え",)


def test_a_csv_and_a_jsonl_of_summaries_are_the_same(tmp_path: Path):
    put(tmp_path, "a/xlsum_ja/test.csv", 'id,text,summary\n1,"本文、\n二行目",要約\n')
    row = {"id": "1", "text": "本文、\n二行目", "summary": "要約"}
    put(tmp_path, "b/japanese_test.jsonl", lines(row))
    one = read_data(choose("xlsum_ja"), data=tmp_path / "a").scored
    assert one == read_data(choose("xlsum_ja"), data=tmp_path / "b").scored
    assert one[0].answers == ("要約",)


def test_the_hubs_winograd_and_mgsm_have_columns(tmp_path: Path):
    rows = [
        {"sentence1": "甲。", "sentence2": "乙。", "answer": "2"},
        {"sentence1": "丙。", "sentence2": "丁。", "answer": 1},
    ]
    put(tmp_path, "xwinograd_ja/test.jsonl", lines(*rows))
    assert [doc.label for doc in read_data(choose("xwinograd_ja"), data=tmp_path).scored] == [1, 0]
    sums = [{"question": "1+1は？", "answer": None, "answer_number": 2}]
    steps = [
        {"question": "問題：1+2は？", "answer": "ステップごとの答え：3です。", "answer_number": 3}
    ]
    put(tmp_path, "mgsm/test.jsonl", lines(*sums))
    put(tmp_path, "mgsm/train.jsonl", lines(*steps))
    splits = read_data(choose("mgsm"), data=tmp_path)
    assert splits.scored[0].answers == ("2",)
    assert splits.shots[0].answers == ("3です。",)
    assert splits.shots[0].fields == {"question": "1+2は？"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("i 'm sorry , i don 't know .", "i'm sorry, i don't know."),
        ("he said , '' it 's nine o 'clock . ''", "he said, \"it's nine o'clock.\""),
        ("'' come in , '' the man said .", '"come in," the man said.'),
        ("ten minutes ' walk", "ten minutes' walk"),
        ("1,000 yen ?", "1,000 yen?"),
    ],
)
def test_english_words_become_text(words: str, text: str):
    assert joined(words, language=".en") == text


def test_japanese_words_become_text():
    assert joined("彼 は つら い 人生 を 送 っ た 。", language=".ja") == "彼はつらい人生を送った。"


# ---- a user's own tasks


def test_the_example_with_letters_is_read():
    chosen = choose(str(EXAMPLES / "jmmlu-like.toml"))
    splits = read_data(chosen, data=None)
    assert [document.label for document in splits.scored] == [0, 1, 2, 3, 0, 2]
    assert splits.files == ("data/jmmlu-like_dev.csv", "data/jmmlu-like_test.csv")
    assert question_text(splits.scored[1], chosen=chosen) == (
        "問題：水の化学式はどれか。\nA. CO2\nB. H2O\nC. NaCl\nD. O2\n答え："
    )
    assert target_text(splits.shots[0], chosen=chosen) == "C"


def test_the_example_with_samples_is_read_and_its_data_may_lie_elsewhere(tmp_path: Path):
    chosen = choose(str(EXAMPLES / "llm-jp-eval-like.toml"))
    splits = read_data(chosen, data=tmp_path)  # not there: the folder of the task file is next
    assert splits.scored[0].answers == ("山梨県",)
    assert len(splits.shots) == 3
    mine = {"instruction": "答えよ。", "samples": [{"input": "一足す一", "output": "二"}]}
    put(tmp_path, "llm-jp-eval-like_test.json", json.dumps(mine, ensure_ascii=False))
    splits = read_data(chosen, data=tmp_path)
    assert splits.shots == ()
    assert question_text(splits.scored[0], chosen=chosen) == (
        "### 指示:\n答えよ。\n\n### 入力:\n一足す一\n\n### 応答:\n"
    )


def own_task(folder: Path, *, rows: str, choices: str = "", target: str = "{q}") -> str:
    file = folder / "mine.toml"
    file.write_text(
        f"""
name = "mine"
title = {{ en = "mine", ja = "私の" }}
kind = "choice"
reader = "rows"
metrics = ["acc"]
shots = 0
version = "1"
prompt = "1"
[files]
scored = ["rows.*"]
[rows]
{rows}
[source]
title = "mine"
url = "https://example.org"
licence = "CC0"
[[versions]]
version = "1"
[[prompts]]
code = "1"
versions = []
input = "{target}"
{choices}
""",
        encoding="utf-8",
    )
    return str(file)


@pytest.mark.parametrize(
    ("rows", "choices", "row", "label"),
    [
        ('choices = ["c"]\nlabel = "y"', "", {"c": ["甲", "乙"], "y": 1}, 1),
        ('choices = ["c"]\nlabel = "y"', "", {"c": ["甲", "乙"], "y": "1"}, 1),
        ('choices = ["c"]\nlabel = "y"', "", {"c": ["甲", "乙"], "y": "B"}, 1),
        ('choices = ["c"]\nlabel = "y"', "", {"c": ["甲", "乙"], "y": "乙"}, 1),
        ('choices = ["a", "b"]\nlabel = "y"', "", {"a": "甲", "b": "乙", "y": "A"}, 0),
        ('label = "y"', 'choices = ["良い", "悪い"]', {"y": "悪い"}, 1),
        ('choices = ["c"]\nlabel = "y"\nlabels = ["1", "2"]', "", {"c": ["甲", "乙"], "y": "2"}, 1),
        ('label = "y"\nlabels = ["pos", "neg"]', 'choices = ["良", "悪"]', {"y": "neg"}, 1),
    ],
)
def test_a_label_may_be_an_index_a_letter_a_word_or_the_text(
    tmp_path: Path, rows: str, choices: str, row: dict[str, Any], label: int
):
    task = own_task(tmp_path, rows=rows, choices=choices)
    put(tmp_path, "rows.jsonl", lines({"q": "問い"} | row))
    (document,) = read_data(choose(task), data=None).scored
    assert document.label == label


def test_rows_have_ids_groups_and_plain_fields(tmp_path: Path):
    task = own_task(
        tmp_path, rows='id = "n"\ngroup = "g"\nlabel = "y"', choices='choices = ["良", "悪"]'
    )
    rows = [{"q": "問い", "n": 5, "g": "一", "y": 0, "score": 1.5, "none": None, "list": [1]}]
    put(tmp_path, "rows.json", json.dumps(rows))
    (document,) = read_data(choose(task), data=None).scored
    assert (document.id, document.group) == ("5", "一")
    assert document.fields["score"] == "1.5"
    assert document.fields["none"] == ""
    assert "list" not in document.fields


def test_a_tab_separated_file_has_no_quotes_and_parquet_is_read(tmp_path: Path):
    task = own_task(tmp_path, rows='label = "y"', choices='choices = ["良", "悪"]')
    put(tmp_path, "rows.tsv", 'q\ty\n"と言った\t1\n')
    assert read_data(choose(task), data=None).scored[0].fields["q"] == '"と言った'
    (tmp_path / "rows.tsv").unlink()
    put_parquet(tmp_path, "rows.parquet", [{"q": "問い", "y": 1}])
    assert read_data(choose(task), data=None).scored[0].label == 1


def test_a_prompt_that_names_what_the_rows_lack_is_refused_before_anything_runs(tmp_path: Path):
    task = own_task(
        tmp_path, rows='label = "y"', choices='choices = ["良", "悪"]', target="{qestion}"
    )
    put(tmp_path, "rows.jsonl", lines({"question": "問い", "y": 0}))
    with pytest.raises(DataError, match=r"\{qestion\}"):
        read_data(choose(task), data=None)


def test_a_reader_that_is_not_there_is_named(tmp_path: Path):
    task = Path(own_task(tmp_path, rows='label = "y"'))
    task.write_text(
        task.read_text(encoding="utf-8").replace('reader = "rows"', 'reader = "jnly"'),
        encoding="utf-8",
    )
    put(tmp_path, "rows.jsonl", lines({"q": "問い", "y": 0}))
    with pytest.raises(UsageError, match="did you mean 'jnli'"):
        read_data(choose(str(task)), data=None)


# ---- what is broken


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            lines({k: v for k, v in JCQ.items() if k != "choice3"}),
            "there is no column 'choice3'",
        ),
        (
            lines(JCQ, JCQ | {"q_id": 8, "label": 5}),
            "line 2: 'label' must be from 0 to 4, and is 5",
        ),
        (lines(JCQ | {"label": -1}), "from 0 to 4, and is -1"),
        (lines(JCQ | {"label": 1.5}), "or a number from 0, and is 1.5"),
        (lines(JCQ | {"label": True}), "and is true"),
        (lines(JCQ | {"label": "蛇口"}), 'and is "蛇口"'),
        (lines(JCQ | {"choice2": " "}), "'choice2' is empty"),
        (lines(JCQ | {"question": 3}), "'question' must be text, and is 3"),
        (lines(JCQ | {"q_id": None}), "'q_id' must be text, and is null"),
        (lines(JCQ, JCQ), "two documents have the id '7'"),
        (lines(JCQ) + '{"q_id": 8, "question": \n', "line 2: broken JSON"),
        ('{"q_id": 8, "question": \n', "broken JSON"),
        (lines(JCQ) + "[1, 2]\n", "line 2: there must be an object"),
        (lines(JCQ).encode() + b'{"q_id": "\xff"}\n', "line 2: not UTF-8"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("[]", "holds no rows"),
    ],
)
def test_bad_rows_are_named_by_task_file_line_and_rule(
    tmp_path: Path, content: str | bytes, said: str
):
    put(tmp_path, "jcommonsenseqa-v1.1/valid-v1.1.json", content)
    with pytest.raises(DataError) as error:
        read_data(choose("jcommonsenseqa"), data=tmp_path)
    assert said in error.value.rule
    assert error.value.rule.startswith("jcommonsenseqa: valid-v1.1.json")
    assert error.value.remedy


@pytest.mark.parametrize(
    ("task", "file", "content", "said"),
    [
        ("mgsm", "mgsm_ja.tsv", "問い\t3\t4\n", "line 1: there are 3 cells, and must be 2"),
        ("mgsm", "mgsm_ja.tsv", "問い\t三つ\n", "must be a whole number"),
        ("mgsm", "mgsm_ja.tsv", "\n", "is empty"),
        (
            "xwinograd_ja",
            "xwinograd/jp.tsv",
            "jp\ttest\ta\tb\t[\t[]\t[]\n",
            "'tokens' is broken JSON",
        ),
        (
            "xwinograd_ja",
            "xwinograd/jp.tsv",
            'jp\ttest\ta\tb\t["彼"]\t["彼", [0, 1], []]\t[["甲", [0, 1], [], true]]\n',
            "two candidates, one of them right, and are 1, 1 right",
        ),
        (
            "xwinograd_ja",
            "xwinograd_ja/test.csv",
            "sentence1,sentence2,answer\n甲,乙,0\n",
            "must be 1 or 2",
        ),
        ("jrte_pn", "jrte/pn.tsv", "p1\t2\t普通。\t{}\ttest\n", "must be 1, 0 or -1, and is 2"),
        (
            "jrte_pn",
            "jrte/pn.tsv",
            "p1\t1\t良い。\t{}\ttrain\n",
            "holds no document to be used as scored",
        ),
        ("xlsum_ja", "xlsum_ja/test.csv", "text,summary\n本文\n", "1 cells under 2 columns"),
        ("xlsum_ja", "xlsum_ja/test.csv", 'text,summary\n"本文,要約\n', "unexpected end of data"),
        ("xlsum_ja", "xlsum_ja/test.parquet", "PAR1", "not a whole parquet file"),
        ("jaqket_v2", "jaqket_v2/valid.jsonl", lines(QUIZ | {"ctxs": 3}), "must be a list"),
        (
            "jaqket_v2",
            "jaqket_v2/valid.jsonl",
            lines(QUIZ | {"answers": []}),
            "'answers' must be a list",
        ),
        (
            "jaqket_v2",
            "jaqket_v2/valid.jsonl",
            lines(QUIZ | {"ctxs": [CTXS[0] | {"has_answer": "yes"}]}),
            "'has_answer' must be true or false",
        ),
        (
            "jaqket_v2",
            "jaqket_v2/valid.jsonl",
            lines(QUIZ | {"ctxs": {"title": ["a"], "text": [], "has_answer": [True]}}),
            "of one length",
        ),
        ("en_ja", "enja/test.en", "a\n", "its translation test.ja is not"),
        ("aio", "aio_02_dev.txt", "qid\tquestion\nQ1\t何？\n", "no column 'original_answer'"),
    ],
)
def test_bad_files_of_other_formats_are_named_too(
    tmp_path: Path, task: str, file: str, content: str, said: str
):
    put(tmp_path, file, content)
    with pytest.raises(DataError) as error:
        read_data(choose(task), data=tmp_path)
    assert said in error.value.rule
    assert error.value.rule.startswith(task)


def test_translations_must_have_as_many_lines_and_none_empty(tmp_path: Path):
    put(tmp_path, "enja/test.en", "a\nb\n")
    put(tmp_path, "enja/test.ja", "あ\n")
    with pytest.raises(DataError, match=r"2 lines and test\.ja 1"):
        read_data(choose("en_ja"), data=tmp_path)
    put(tmp_path, "enja/test.ja", "あ\r\n\r\n")
    with pytest.raises(DataError, match="line 2"):
        read_data(choose("en_ja"), data=tmp_path)


def test_two_versions_are_an_error_that_names_both(tmp_path: Path):
    for version in ("v1.1", "v1.3"):
        row = lines(PAIR | {"label": "neutral"})
        put(tmp_path, f"jnli-{version}/valid-{version}.json", row)
    with pytest.raises(DataError) as error:
        read_data(choose("jnli"), data=tmp_path)
    assert "jnli-v1.1/valid-v1.1.json, jnli-v1.3/valid-v1.3.json" in error.value.rule
    assert len(read_data(choose("jnli"), data=tmp_path / "jnli-v1.3").scored) == 1


def test_a_missing_data_set_says_what_it_is_and_where_to_get_it(tmp_path: Path):
    with pytest.raises(DataError) as error:
        read_data(choose("jnli"), data=tmp_path)
    assert "valid-v1.*.json" in error.value.rule
    assert "https://github.com/yahoojapan/JGLUE" in error.value.remedy
    assert "CC BY-SA 4.0" in error.value.remedy
    with pytest.raises(UsageError, match="is not a folder"):
        read_data(choose("jnli"), data=tmp_path / "nowhere")
    with pytest.raises(DataError, match="aio"):
        read_data(choose("aio"), data=None)


# ---- the Hub


class RecordedHub:
    """What `minna.corpus`'s reader of the Hub answers, without the Hub."""

    names = (
        "JNLI/train/0000.parquet",
        "JNLI/validation/0000.parquet",
        "JNLI/validation/0001.parquet",
    )

    def __init__(self, repository: str, *, revision: str, files: str, **_: str) -> None:
        assert (repository, revision) == ("shunk031/JGLUE", "refs/convert/parquet")
        assert files == "JNLI/*.parquet"

    def identity(self) -> dict[str, Any]:
        return {"commit": "0123456789abcdef"}

    def shards(self) -> list[Any]:
        from types import SimpleNamespace

        return [SimpleNamespace(name=name) for name in self.names]


def test_the_hubs_parquet_is_read_with_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number, name in enumerate(RecordedHub.names):
        put_parquet(tmp_path, name, [PAIR | {"sentence_pair_id": str(number), "label": number}])
    monkeypatch.setattr(hub, "Hub", RecordedHub)
    monkeypatch.setattr(hub, "fetch_file", lambda _, *, name, commit: tmp_path / name)
    splits = read_data(choose("jnli"), data=None)
    assert [document.label for document in splits.scored] == [1, 2]
    assert [document.label for document in splits.shots] == [0]
    assert splits.files[1] == "hub:shunk031/JGLUE@0123456789ab/JNLI/validation/0000.parquet"


def test_a_split_the_hub_lacks_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hub, "Hub", RecordedHub)
    monkeypatch.setattr(RecordedHub, "names", ("JNLI/test/0000.parquet",))
    with pytest.raises(DataError, match="no split 'validation' of 'JNLI'"):
        read_data(choose("jnli"), data=None)


@pytest.mark.parametrize("pattern", ["/somewhere/test.jsonl", ""])
def test_a_pattern_that_is_none_is_named(tmp_path: Path, pattern: str):
    task = Path(own_task(tmp_path, rows='answers = ["y"]'))
    text = task.read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith("scored")]
    task.write_text(text.replace(line, f'scored = ["{pattern}"]'), encoding="utf-8")
    with pytest.raises(DataError, match="is no pattern of files below a folder"):
        read_data(choose(str(task)), data=None)


@pytest.mark.parametrize("column", ["qid", "question", "answers", "ctxs"])
def test_half_a_character_is_refused_when_it_is_read(tmp_path: Path, column: str):
    broken = json.loads(json.dumps(QUIZ))
    if column == "answers":
        broken["answers"][1] = "\ud83d"
    elif column == "ctxs":
        broken["ctxs"][4]["text"] = "\ud83d"
    else:
        broken[column] = "\ud83d"
    put(tmp_path, "jaqket_v2/valid.jsonl", json.dumps(broken) + "\n")
    with pytest.raises(DataError, match=r"valid\.jsonl: document .* holds half a character"):
        read_data(choose("jaqket_v2"), data=tmp_path)


def test_half_a_character_in_a_grouped_pair_is_refused_too(tmp_path: Path):
    row = {**PAIR, "sentence1": "\ud83d", "label": "neutral"}
    put(tmp_path, "jnli/valid.jsonl", json.dumps(row) + "\n")
    with pytest.raises(DataError, match="document '1' holds half a character"):
        read_data(choose("jnli"), data=tmp_path)


def test_a_task_without_a_copy_on_the_hub_says_so_and_where_its_data_are():
    with pytest.raises(
        DataError, match=r"no copy of its data set on the Hub is known[\s\S]*--data"
    ):
        read_data(choose("aio"), data=None)
