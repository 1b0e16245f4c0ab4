"""The task files: every prompt of the paper's harness to the colon, and what a file may not say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from minna.errors import DataError, UsageError
from minna.evaluate.prompting import question_text, target_text
from minna.evaluate.readers.read import READERS
from minna.evaluate.records import Document
from minna.evaluate.task import choose, task_names

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "prompts"
# documents whose values are the golden files' own placeholders: rendering must give them back
DOCUMENTS = {
    "jcommonsenseqa": Document(
        id="0",
        fields={"question": "{question}"},
        choices=tuple(f"{{choice{number}}}" for number in range(5)),
        label=2,
    ),
    "jnli": Document(
        id="0", fields={"premise": "{premise}", "hypothesis": "{hypothesis}"}, label=0
    ),
    "marc_ja": Document(id="0", fields={"query": "{query}"}, label=0),
    "jsquad": Document(
        id="0",
        fields={name: f"{{{name}}}" for name in ("title", "context", "question")},
        answers=("{answer0}",),
    ),
    "jaqket_v2": Document(
        id="0",
        fields={"question": "{question}"},
        answers=("{answer0}",),
        passages=tuple((f"{{title{number}}}", f"{{text{number}}}") for number in range(5)),
    ),
    "xlsum_ja": Document(id="0", fields={"text": "{text}"}, answers=("{summary}",)),
    "mgsm": Document(id="0", fields={"question": "{question}"}, answers=("{answer}",)),
}


def golden() -> list[tuple[str, dict[str, Any]]]:
    return [
        (name, expected)
        for task in DOCUMENTS
        for name, expected in json.loads(
            (GOLDEN / f"{task}.json").read_text(encoding="utf-8")
        ).items()
    ]


def names_of_prompts() -> set[str]:
    return {
        f"{name}-{version.version}-{prompt.code}"
        for name in DOCUMENTS
        for task in [choose(name).task]
        for version in task.versions
        for prompt in task.prompts
        if not prompt.versions or version.version in prompt.versions
    }


@pytest.mark.parametrize(("name", "expected"), golden(), ids=[name for name, _ in golden()])
def test_every_prompt_is_the_harness_one_to_the_character(name: str, expected: dict[str, Any]):
    chosen = choose(name)
    document = DOCUMENTS[chosen.task.name]
    assert chosen.name == name
    assert chosen.prompt.description == expected["description"]
    assert question_text(document, chosen=chosen) == expected["input"]
    assert target_text(document, chosen=chosen) == expected["target"]
    assert chosen.prompt.separator == expected["fewshot_sep"]
    if "stop_sep" in expected:
        assert chosen.prompt.stop == expected["stop_sep"]
    assert list(chosen.prompt.choices) == expected.get("choices", [])


def test_the_golden_files_hold_every_prompt_there_is_of_their_tasks():
    known = {name for name, _ in golden()}
    # the harness's ten passages take the prompts of five
    assert {name for name in names_of_prompts() if not name.startswith("jaqket_v2-0.1")} == known


def test_every_task_has_its_reader_its_default_and_its_source():
    for name in task_names():
        chosen = choose(name)
        task = chosen.task
        assert task.name == name
        assert task.reader in READERS
        assert task.source.url.startswith("https://")
        assert task.source.licence
        assert set(task.title) == {"en", "ja"}


def test_the_number_of_the_choice_is_shown_and_its_text_is_scored_in_prompt_02():
    chosen = choose("jcommonsenseqa", prompt="0.2")
    assert target_text(DOCUMENTS["jcommonsenseqa"], chosen=chosen) == "2"
    assert not chosen.prompt.choices


def test_jnli_draws_one_of_each_label_from_version_13_only():
    assert choose("jnli-1.3").version.balanced_shots
    assert not choose("jnli-1.2").version.balanced_shots
    assert not choose("jnli-1.1").version.balanced_shots


def test_an_article_begins_and_ends_where_the_markers_of_its_prompt_stand():
    for prompt in choose("xlsum_ja").task.prompts:
        assert prompt.article_marker in prompt.description + prompt.input
        assert prompt.input.endswith(prompt.summary_marker)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("jnlli", "did you mean 'jnli'"),
        ("jnli-1.4", "no version '1.4'"),
        ("jsquad-1.2-0.1", "no prompt '0.1'"),
        ("jnli-1.1-0.9", "0.2, 0.3, 0.4, 0.5, 0.6"),
        ("nowhere.toml", "no task file"),
    ],
)
def test_what_is_unknown_is_an_error_and_never_the_nearest(name: str, said: str):
    with pytest.raises(UsageError, match=said):
        choose(name)


def test_a_file_that_is_no_task_is_named_with_the_field(tmp_path: Path):
    file = tmp_path / "mine.toml"
    file.write_text('name = "mine"\nkindd = "choice"\n', encoding="utf-8")
    with pytest.raises(DataError, match="mine.toml is not a task"):
        choose(str(file))
    file.write_text("name = \n", encoding="utf-8")
    with pytest.raises(DataError, match="is not TOML"):
        choose(str(file))
