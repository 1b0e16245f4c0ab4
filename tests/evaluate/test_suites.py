"""Suites, the average that is the paper's number, and what others published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from minna.errors import UsageError
from minna.evaluate.published import published
from minna.evaluate.suite import average, read_suite, suite_names

AVERAGES = {
    "japanese-gpt-neox-small": 27.42,
    "japanese-gpt-1b": 36.92,
    "japanese-gpt-neox-3.6b": 41.79,
    "bilingual-gpt-neox-4b": 40.03,
    "japanese-gpt-neox-3.6b-instruction-sft": 43.82,
    "japanese-gpt-neox-3.6b-instruction-sft-v2": 45.23,
    "japanese-gpt-neox-3.6b-instruction-ppo": 46.32,
    "bilingual-gpt-neox-4b-instruction-sft": 47.75,
    "bilingual-gpt-neox-4b-instruction-ppo": 47.18,
}
EIGHT = {
    "jcommonsenseqa": {"acc": 0.5, "acc_norm": 0.9},
    "jnli": {"acc": 0.5},
    "marc_ja": {"acc": 0.5},
    "jsquad": {"exact_match": 50.0, "f1": 99.0},
    "jaqket_v2": {"exact_match": 50.0},
    "xlsum_ja": {"rouge2": 50.0},
    "xwinograd_ja": {"acc": 0.5},
    "mgsm": {"acc": 0.1},
}


@pytest.mark.parametrize("model", AVERAGES)
def test_the_averages_of_the_published_files_are_those_of_the_facts(model: str, shared_data: Path):
    file = shared_data / "jp-harness" / f"rinna-{model}.json"
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    assert average(results) == AVERAGES[model]


@pytest.mark.parametrize("model", AVERAGES)
def test_the_values_in_the_package_are_those_of_the_published_files(model: str, shared_data: Path):
    file = shared_data / "jp-harness" / f"rinna-{model}.json"
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    (row,) = [
        row
        for row in published()
        if row.name == f"rinna/{model}" and row.source.startswith("Stability-AI")
    ]
    ours = {
        name.removesuffix("-1.0-none") if name.startswith("xwino") else name: values
        for name, values in row.metrics.items()
    }
    for full, values in results.items():
        name = full if full in ours else f"{full}-1.0-0.0"
        assert ours[name] == {k: v for k, v in values.items() if not k.endswith("_stderr")}
    assert len(ours) == len(results) == len(row.scores)


def test_the_averages_in_the_package_follow_from_the_values_in_it():
    rows = [row for row in published() if row.metrics]
    assert {row.name.removeprefix("rinna/"): row.average for row in rows} == AVERAGES
    assert all(average(row.metrics) == row.average for row in rows)
    assert {row.mode for row in published()} == {"compat"}


def test_a_published_row_says_by_which_prompt_and_versions_it_was_made():
    (row,) = [
        row for row in published() if row.name.endswith("3.6b-instruction-ppo") and row.metrics
    ]
    assert row.prompt == "0.4"
    assert row.versions == read_suite("jp8").version_sets["paper"]
    assert row.scores["jsquad"] == ("exact_match", 51.62089149031968)
    (small,) = [row for row in published() if row.name.endswith("neox-small") and row.metrics]
    assert small.versions["jaqket_v2"] == "0.2"


def test_the_average_is_one_metric_of_each_task_and_acc_is_a_fraction():
    assert average(EIGHT) == 45.0
    assert average({f"{name}-1.0-0.2": values for name, values in EIGHT.items()}) == 45.0
    assert average(EIGHT | {"jblimp": {"acc": 0.0}}) == 45.0


def test_a_suites_mean_is_of_per_cents():
    percents = {
        name: {key: value * 100 if key == "acc" else value for key, value in metrics.items()}
        for name, metrics in EIGHT.items()
    }
    assert read_suite("jp8").mean(percents) == 45.0


@pytest.mark.parametrize("gone", EIGHT)
def test_without_one_of_the_eight_there_is_no_average(gone: str):
    assert average({name: values for name, values in EIGHT.items() if name != gone}) is None
    assert average(EIGHT | {gone: {"chrf": 1.0}}) is None


def test_two_versions_of_a_task_have_no_average_and_an_open_suite_has_none():
    assert average(EIGHT | {"jnli-1.1-0.2": {"acc": 0.1}}) is None
    open_suite = read_suite("ja-open")
    assert open_suite.mean({task: {"acc": 1.0} for task in open_suite.shots}) is None


@pytest.mark.parametrize(
    ("prompt", "plain", "summaries", "mathematics"),
    [
        ("base", "0.2", "0.0", "0.0"),
        ("0.2", "0.2", "0.0", "0.0"),
        ("alpaca", "0.3", "0.3", "0.3"),
        ("rinna-sft", "0.4", "0.4", "0.4"),
        ("rinna-bilingual", "0.5", "0.5", "0.5"),
        ("llama2", "0.6", "0.6", "0.6"),
    ],
)
def test_a_named_prompt_is_the_code_each_task_has(
    prompt: str, plain: str, summaries: str, mathematics: str
):
    chosen = [entry.name for entry, _ in read_suite("jp8").choose(prompt=prompt, versions="paper")]
    assert chosen == [
        f"jcommonsenseqa-1.1-{plain}",
        f"jnli-1.1-{plain}",
        f"marc_ja-1.1-{plain}",
        f"jsquad-1.1-{plain}",
        f"jaqket_v2-0.1-{plain}",
        f"xlsum_ja-1.0-{summaries}",
        "xwinograd_ja-1.0-none",
        f"mgsm-1.0-{mathematics}",
    ]


def test_the_suite_takes_the_harness_own_list_and_the_papers_shots_by_default():
    chosen = read_suite("jp8").choose()
    assert [(entry.name, shots) for entry, shots in chosen] == [
        ("jcommonsenseqa-1.1-0.2", 3),
        ("jnli-1.3-0.2", 3),
        ("marc_ja-1.1-0.2", 3),
        ("jsquad-1.1-0.2", 2),
        ("jaqket_v2-0.2-0.2", 1),
        ("xlsum_ja-1.0-0.0", 1),
        ("xwinograd_ja-1.0-none", 0),
        ("mgsm-1.0-0.0", 5),
    ]


def test_an_open_suite_takes_each_tasks_own_prompt():
    chosen = [entry.name for entry, _ in read_suite("ja-open").choose()]
    assert chosen[0] == "jcommonsenseqa-1.1-0.2"
    assert chosen[2] == "jsquad-1.2-0.2"
    assert chosen[-1] == "ja_en-1.0-1"
    assert len(chosen) == 10


def test_an_unknown_suite_prompt_or_version_is_named_with_those_there_are():
    assert suite_names() == ["ja-open", "jp8"]
    with pytest.raises(UsageError, match="did you mean 'jp8'"):
        read_suite("jp9")
    with pytest.raises(UsageError, match=r"alpaca \(0.3\)"):
        read_suite("jp8").choose(prompt="0.9")
    with pytest.raises(UsageError, match="versions: ja8, paper"):
        read_suite("jp8").choose(versions="2023")
