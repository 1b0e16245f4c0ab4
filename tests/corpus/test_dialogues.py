"""Dialogues out of every layout that instruction data comes in."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from minna.corpus.dialogues import Dialogues
from minna.errors import DataError
from minna.prompts import Turn

ASK, TELL = Turn("user", "空は何色？"), Turn("assistant", "青です。")
HH = "\n\nHuman: 空は何色？\n\nAssistant: 青です。\n\nHuman: 海は？\n\nAssistant: "
LAYOUTS = {
    "openai": {"messages": [{"role": "user", "content": ASK.text}, {"role": "assistant", "content": TELL.text}]},
    "sharegpt": {"conversations": [{"from": "human", "value": ASK.text}, {"from": "gpt", "value": TELL.text}, {"from": "human", "value": "?"}]},
    "utterances": {"utterances": [{"name": "user", "text": ASK.text}, {"name": "agent", "text": TELL.text}]},
    "flan": {"inputs": ASK.text, "targets": TELL.text, "task": "x"},
    "completion": {"prompt": ASK.text, "completion": TELL.text},
    "alpaca": {"instruction": ASK.text, "input": "", "output": TELL.text},
    "dolly": {"instruction": ASK.text, "context": "", "response": TELL.text, "category": "qa"},
}  # fmt: skip


def write(path, rows):
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_turns(layout, tmp_path):
    (found,) = Dialogues(write(tmp_path / "a.jsonl", [LAYOUTS[layout]]))
    assert (found.turns, found.rejected) == ((ASK, TELL), "")


def test_an_input_makes_the_instruction_a_system_turn(tmp_path):
    row = {"instruction": "訳せ", "input": "sky", "output": "空"}
    (found,) = Dialogues(write(tmp_path / "a.json", [row]))
    assert found.turns == (Turn("system", "訳せ"), Turn("user", "sky"), Turn("assistant", "空"))
    array = tmp_path / "b.json"
    array.write_text(json.dumps([row, row]), encoding="utf-8")
    assert [one.id for one in Dialogues(array)] == [found.id] * 2


@pytest.mark.parametrize(
    "row",
    [
        {"chosen": HH + "青か緑。", "rejected": HH + "知らない"},
        {
            "prompt": HH.removesuffix("\n\nAssistant: "),
            "chosen": HH + "青か緑。",
            "rejected": HH + "知らない",
        },
        {
            "prompt": [
                {"role": "user", "content": ASK.text},
                {"role": "assistant", "content": TELL.text},
                {"role": "user", "content": "海は？"},
            ],
            "chosen": [{"role": "assistant", "content": "青か緑。"}],
            "rejected": [{"role": "assistant", "content": "知らない"}],
        },
    ],
)
def test_preferences_are_read_as_turns_and_a_worse_answer(row, tmp_path):
    (found,) = Dialogues(write(tmp_path / "a.jsonl", [row]))
    assert found.turns == (ASK, TELL, Turn("user", "海は？"), Turn("assistant", "青か緑。"))
    assert found.rejected == "知らない"


@pytest.mark.parametrize(("label", "better"), [(1, "A"), (0, "B")])
def test_shp_says_which_answer_is_better_by_its_label(label, better, tmp_path):
    row = {"history": "Q", "human_ref_A": "A", "human_ref_B": "B", "labels": label}
    (found,) = Dialogues(write(tmp_path / "a.jsonl", [row]))
    assert found.turns[-1].text == better and {found.turns[-1].text, found.rejected} == {"A", "B"}


def test_what_is_no_dialogue_is_counted_by_its_reason(tmp_path):
    def messages(*turns):
        return {"messages": [{"role": role, "content": text} for role, text in turns]}

    rows = [
        LAYOUTS["openai"],
        messages(("user", "a"), ("user", "b"), ("assistant", "c")),
        messages(("user", "a")),
        messages(("user", " "), ("assistant", "c")),
        messages(("tool", "a"), ("assistant", "c")),
        {"messages": [{"role": "user", "content": None}]},
        {"chosen": HH + "同じ", "rejected": HH + "同じ"},
        {"chosen": HH + "a", "rejected": "\n\nHuman: 別\n\nAssistant: b"},
        {"chosen": "text" + HH + "a", "rejected": HH + "b"},
    ]
    found = Dialogues(write(tmp_path / "a.jsonl", rows))
    for _ in range(2):  # counts are those of one reading
        assert len(list(found)) == 1
        assert dict(found.dropped) == {
            "turns out of order": 1,
            "no answer": 1,
            "empty turn": 1,
            "a turn of 'tool'": 1,
            "a turn that is no text": 1,
            "both answers are the same": 1,
            "the two answers are to different turns": 1,
            "text before the first turn": 1,
        }


def test_files_of_another_layout_and_damaged_ones_are_named(tmp_path):
    with pytest.raises(DataError, match=r"a.jsonl:1 is of no known layout: it has 'a', 'b'"):
        list(Dialogues(write(tmp_path / "a.jsonl", [{"a": 1, "b": 2}])))
    (tmp_path / "b.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"x', encoding="utf-8")
    with pytest.raises(DataError, match=r"b.jsonl:2 is no JSON"):
        list(Dialogues(tmp_path / "b.jsonl"))
    (tmp_path / "c.json").write_text("[1, ", encoding="utf-8")
    with pytest.raises(DataError, match=r"c.json is no JSON array"):
        list(Dialogues(tmp_path / "c.json"))
    (tmp_path / "d.jsonl").write_text("3\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"d.jsonl:1 is no JSON object"):
        list(Dialogues(tmp_path / "d.jsonl"))


def test_parquet_and_compressed_files_are_read_like_lines(tmp_path):
    pq.write_table(pa.Table.from_pylist([LAYOUTS["openai"]] * 2), tmp_path / "a.parquet")
    text = json.dumps(LAYOUTS["openai"], ensure_ascii=False) + "\n"
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(text.encode()))
    assert [one.turns for one in Dialogues(tmp_path)] == [(ASK, TELL)] * 3


def test_the_japanese_dialogues_of_anthropic_hh_are_all_read(shared_data):
    found = Dialogues(shared_data / "instruction_ja" / "data.jsonl")
    read = list(found)
    assert len(read) == 669 and not found.dropped
    assert all([turn.role for turn in one.turns] == ["user", "assistant"] for one in read)
