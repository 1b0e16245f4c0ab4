"""`minna label translate` and `minna corpus join` as people call them."""

from __future__ import annotations

import json
import re

import pytest
from tests.label.made_up import dialogue_corpus, serving, to_kana
from tests.toy_chain import make_chain
from typer.testing import CliRunner

from minna import artifact
from minna.cli import verbs
from minna.cli.main import app
from minna.corpus.dialogue_corpus import read_dialogues
from minna.errors import DataError, MinnaError

RUN = CliRunner()
verbs.register(app)
DIALOGUES = [
    [f"What is thing number {n}?", f"Thing number {n} is a small red thing."] for n in range(12)
]


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "home"))
    return dialogue_corpus(tmp_path, DIALOGUES)


def call(*arguments):
    done = RUN.invoke(app, [str(argument) for argument in arguments])
    if done.exception is not None and not isinstance(done.exception, SystemExit | MinnaError):
        raise done.exception
    return done


def test_from_english_dialogues_to_a_japanese_corpus(corpus, tmp_path):
    with serving() as server:
        told = [
            "label",
            "translate",
            corpus,
            "--endpoint",
            server.url,
            "--translator",
            "toy",
            "--out",
            tmp_path / "ja",
        ]
        done = call(*told, "--round-trip", "--fetch-workers", 3)
        assert (
            done.exit_code == 0
            and "dialogues 12 of 12 kept" in done.stdout
            and "dropped   none" in done.stdout
        )
        asked = len(server.bodies)
        assert asked == 48 and server.most_flying <= 3
        again = call(*told, "--round-trip", "--json")
        assert json.loads(again.stdout)["state"] == "unchanged" and len(server.bodies) == asked
        # without the way back it is another side-car, of which every text is known
        assert json.loads(call(*told, "--json").stdout)["asked"] == 0
        changed = json.loads(
            call(*told, "checks.ratio=[0.5,9]", 'checks.off=["copy"]', "--json").stdout
        )
        assert changed["state"] == "made" and changed["asked"] == 0
        manifest = artifact.read_manifest(tmp_path / "ja")
        assert manifest.settings["ratio"] == [0.5, 9] and manifest.settings["checks"]["off"] == [
            "copy"
        ]
    assert (tmp_path / "home" / "translations.sqlite").is_file()
    done = call(
        "corpus", "join", corpus, "--sidecar", tmp_path / "ja", "--out", tmp_path / "joined"
    )
    assert done.exit_code == 0 and "dialogues 12 of 12" in done.stdout
    found = {
        d.id: [t.text for t in d.turns] for d in read_dialogues(tmp_path / "joined", split="all")
    }
    for dialogue in read_dialogues(corpus, split="all"):
        assert found[dialogue.id] == [to_kana(turn.text) for turn in dialogue.turns]
    cat = call("corpus", "cat", tmp_path / "joined", "--limit", 1)
    assert "What" not in cat.stdout and json.loads(cat.stdout)["turns"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("", "one translator is needed, and none"),
        ("--endpoint http://127.0.0.1:9/v1 --translator toy --model x", "two was named"),
        ("--endpoint http://127.0.0.1:9/v1", "--translator NAME"),
        ("--translator toy", "belong to a server"),
        ("--model x --fetch-workers 3", "belong to a server"),
        ("--model x --api-key-env KEY", "belong to a server"),
        ("--endpoint http://127.0.0.1:9/v1 --translator toy --dtype fp32", "belong to a model dir"),
        ("--model x --back-model y", "--round-trip"),
        ("--model nosuch", "config.json"),
        ("--endpoint ftp://x --translator toy", "http://"),
        ("--endpoint http://127.0.0.1:9/v1 --translator toy --to fr", "--help"),
        ("--endpoint http://127.0.0.1:9/v1 --translator toy --from xx", "'xx'"),
        ("--endpoint http://127.0.0.1:9/v1 --translator toy --prompt nosuch", "no wording"),
        ("--endpoint http://127.0.0.1:9/v1 --translator toy checks.ofd=1", "did you mean 'off'"),
        ("--endpoint http://127.0.0.1:9/v1 --translator toy --api-key-env NO_SUCH_KEY", "NO_SUCH_KEY"),
    ],
)  # fmt: skip
def test_a_wrong_call_says_what_is_wrong(corpus, tmp_path, options, said):
    done = call("label", "translate", corpus, "--out", tmp_path / "ja", *options.split())
    assert done.exit_code == 1 and isinstance(done.exception, MinnaError)
    assert said in str(done.exception) and not (tmp_path / "ja").exists()


@pytest.mark.parametrize("verb", ["label translate", "corpus join"])
def test_the_verbs_have_help_with_an_example(verb):
    done = call(*verb.split(), "--help")
    assert done.exit_code == 0
    assert f"minna {verb}" in re.sub(r"\s+", " ", done.stdout).partition("Example")[2]


def test_a_model_whose_answers_never_end_is_no_translator(corpus, tmp_path):
    model = make_chain(tmp_path / "chain").model
    told = [
        "label",
        "translate",
        corpus,
        "--model",
        model,
        "--out",
        tmp_path / "ja",
        "--device",
        "cpu",
        "--json",
    ]
    small = ["--max-new-tokens", 4, "--prompt", str(short(tmp_path))]
    done = call(*told, *small, "--round-trip", "--back-model", model)
    # not one text ended, and neither did the probe: the model is at fault
    assert isinstance(done.exception, DataError) and "translates nothing" in str(done.exception)
    assert not (tmp_path / "ja").exists()


def short(tmp_path):
    own = tmp_path / "short.toml"
    own.write_text(
        'name = "s"\ndescription = "d"\nsource = "s"\nuser = "{text}"\n', encoding="utf-8"
    )
    return own
