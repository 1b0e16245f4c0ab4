"""Models asked the same questions: who wins, by a rule; and that nothing is asked twice."""

from __future__ import annotations

import dataclasses
import json
import shutil

import pytest
from tests import toy_chain
from tests.cli.test_cli import run as call

from minna import artifact
from minna.corpus.dialogue_corpus import DialogueSettings, build_dialogues, read_dialogues
from minna.errors import DataError, UsageError
from minna.evaluate.duel import ANSWERS, PAGE, DuelSettings, duel, read_duel


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    root = tmp_path_factory.mktemp("home")
    kept = dict(toy_chain.SHAPES)
    toy_chain.SHAPES["gpt_neox"] = dataclasses.replace(kept["gpt_neox"], context=96)
    try:
        chain = toy_chain.make_chain(root)
        toy_chain.make_model(
            root / "other", run=chain.run, tokenizer=chain.tokenizer, family="gpt_neox", seed=1
        )
    finally:
        toy_chain.SHAPES.update(kept)
    build_dialogues(
        settings=DialogueSettings(source="keywords", path=chain.corpus), out=root / "dialogues"
    )
    rule = root / "rule.py"
    rule.write_text("def long(question, answer):\n    return len(answer)\n", encoding="utf-8")
    return root


def settings(home, **more):
    return DuelSettings(
        judge=f"rule:{home / 'rule.py'}:long", limit=20, answer_tokens=8, format="minna", **more
    )


def test_wins_are_counted_from_the_judges_scores_of_each_answer(home, tmp_path):
    models = [home / "model", home / "other"]
    done = duel(models, on=home / "dialogues", out=tmp_path / "duel", settings=settings(home))
    rows = [json.loads(line) for line in (done / ANSWERS).open(encoding="utf-8")]
    asked = {one.id: one for one in read_dialogues(home / "dialogues", split="test")}
    assert len(rows) == 20
    for row in rows:
        assert row["turns"] == [[t.role, t.text] for t in asked[row["id"]].turns[:-1]]
        assert all(one["score"] == len(one["text"]) for one in row["answers"].values())
    pairs = [(row["answers"]["model"]["score"], row["answers"]["other"]["score"]) for row in rows]
    result = read_duel(done)
    (met,) = result["meetings"]
    assert (met["model"], met["over"]) == ("other", "model")
    assert met["wins"] == sum(b > a for a, b in pairs) / 20
    assert met["losses"] == sum(b < a for a, b in pairs) / 20
    assert met["rate"]["value"] == pytest.approx(met["wins"] + met["ties"] / 2)
    assert met["rate"]["low"] <= met["rate"]["value"] <= met["rate"]["high"]
    scores = [one["score"]["value"] for one in result["models"]]
    assert scores == pytest.approx([sum(pair[side] for pair in pairs) / 20 for side in (0, 1)])
    page = (done / PAGE).read_text(encoding="utf-8")
    assert "http" not in page and "judged by rule:" in page
    before = (done / artifact.MANIFEST_NAME).read_bytes()
    duel(models, on=home / "dialogues", out=done, settings=settings(home))
    assert (done / artifact.MANIFEST_NAME).read_bytes() == before


def test_a_model_against_its_own_copy_ties(home, tmp_path):
    shutil.copytree(home / "model", tmp_path / "twin")
    done = duel(
        [home / "model", tmp_path / "twin"],
        on=home / "dialogues", out=tmp_path / "duel", settings=settings(home),
    )  # fmt: skip
    (met,) = read_duel(done)["meetings"]
    assert (met["wins"], met["ties"], met["losses"]) == (0, 1, 0)
    assert met["rate"] == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_what_cannot_meet_is_refused(home, tmp_path):
    given = {"on": home / "dialogues", "out": tmp_path / "duel"}
    with pytest.raises(UsageError, match="needs two models"):
        duel([home / "model"], **given, settings=settings(home))
    with pytest.raises(UsageError, match="named twice"):
        duel([home / "model"] * 2, **given, settings=settings(home))
    both = [home / "model", home / "other"]
    with pytest.raises(UsageError, match="has no chat template"):
        duel(both, **given, settings=dataclasses.replace(settings(home), format=""))
    with pytest.raises(DataError, match="none leaves room for 8 tokens"):
        short = toy_chain.make_model(
            tmp_path / "short", run=home / "run", tokenizer=home / "tokenizer", family="gpt2"
        )
        long = tmp_path / "long.jsonl"
        row = {"prompt": "長い" * 60, "completion": "はい。"}
        long.write_text(
            "".join(json.dumps(row | {"prompt": f"{n}{row['prompt']}"}) + "\n" for n in range(40))
        )
        asked = build_dialogues(
            settings=DialogueSettings(source="dialogues", path=long, licence="CC0-1.0", test=0.5),
            out=tmp_path / "long",
        )
        duel([short, home / "model"], on=asked.path, out=given["out"], settings=settings(home))
    assert not given["out"].exists()


def test_the_command_says_who_wins(home, tmp_path, monkeypatch, capsys):
    command = (
        f"minna duel {home / 'model'} {home / 'other'} --on {home / 'dialogues'} "
        f"--judge rule:keywords --out {tmp_path / 'duel'} --limit 5 --answer-tokens 4 --format minna"
    )
    status, out, _ = call(command, monkeypatch, capsys)
    assert status == 0 and "5 questions, judged by rule:keywords" in out
    assert "other over model: wins" in out
    status, out, _ = call(command + " --json", monkeypatch, capsys)
    assert json.loads(out)["questions"] == 5
