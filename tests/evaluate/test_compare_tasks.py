"""Model against model over the paper's tasks: what is tested, what is refused, what is written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.made_reports import made_report

from minna.errors import ArtifactError, UsageError
from minna.evaluate.compare_page import write_comparison
from minna.evaluate.comparison import compare
from minna.evaluate.report import read_items, write_items
from minna.metrics.paired import holm, mcnemar

TASKS = ["jcommonsenseqa", "jsquad", "xlsum_ja"]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("several")
    return [
        made_report(root / "a", model="a", skill=0.5, count=150, tasks=TASKS),
        made_report(root / "b", model="b", skill=0.7, count=150, tasks=[*TASKS, "mgsm"]),
        made_report(root / "c", model="c", skill=0.5, count=150, tasks=TASKS),
    ]


def right(path: Path, task: str) -> list[bool]:
    main = {"jcommonsenseqa": "acc", "jsquad": "exact_match"}[task]
    return [row["scores"][main] == 1 for row in read_items(path, task)]


def test_p_is_mcnemars_where_scores_are_right_or_wrong_and_corrected_over_the_tasks(
    reports: list[Path],
) -> None:
    found = compare(reports)
    assert [entry.task.name for entry in found.tasks] == TASKS
    assert found.partial == {"mgsm": [reports[1].as_posix()]}
    for entry in found.tasks[:2]:
        ours = right(reports[0], entry.task.name)
        for path, row in zip(reports[1:], entry.rows[1:], strict=True):
            theirs = right(path, entry.task.name)
            pairs = list(zip(ours, theirs, strict=True))
            assert row.test == "mcnemar"
            assert row.p == mcnemar(pairs.count((True, False)), pairs.count((False, True)))
            assert row.difference is not None
            shift = 100 * (sum(theirs) - sum(ours)) / len(ours)
            assert row.difference.value == pytest.approx(shift)
            assert row.difference.unit == "percent"
    assert found.tasks[2].rows[1].test == "bootstrap"
    for place in (1, 2):
        raw = [entry.rows[place].p for entry in found.tasks]
        assert None not in raw
        corrected = [entry.rows[place].p_holm for entry in found.tasks]
        assert corrected == holm([p for p in raw if p is not None])
    assert all(entry.rows[1].significant for entry in found.tasks)
    assert not any(entry.rows[2].significant for entry in found.tasks[:2])
    assert found.tasks[0].rows[0].difference is None


def test_the_table_the_json_and_the_pages_say_the_same(reports: list[Path], tmp_path: Path) -> None:
    found = compare(reports)
    table = found.table()
    content = json.loads(json.dumps(found.as_json()))
    write_comparison(tmp_path / "out", found)
    page = (tmp_path / "out" / "compare.html").read_text(encoding="utf-8")
    summary = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    for entry in content["tasks"]:
        assert [row["significant"] for row in entry["rows"]] == [
            row.significant
            for row in next(e for e in found.tasks if e.task.name == entry["task"]).rows
        ]
        for row in entry["rows"][1:]:
            words = f"{row['difference']['value']:+.2f}"
            assert words in table and words in page and words in summary
    assert "not in every report: mgsm" in table and "mgsm" in summary
    assert "no clear difference" in table and "<b>higher</b>" in page and "**higher**" in summary
    assert page.count("<svg") == 2 and "rinna/" not in page


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"mode": "fixed"}, "mode is 'compat'"),
        ({"prompt": "0.3"}, "on jcommonsenseqa: prompt is '0.2'"),
        ({"count": 40}, "scored documents"),
        ({"tasks": ["mgsm"]}, "no task in common"),
    ],
)
def test_mixtures_are_refused_and_what_differs_is_named(
    reports: list[Path], tmp_path: Path, other: dict[str, object], named: str
) -> None:
    values = {"count": 150, "tasks": TASKS, "model": "d"} | other
    strange = made_report(tmp_path / "strange", **values)  # pyright: ignore[reportArgumentType]
    with pytest.raises(UsageError, match=named):
        compare([reports[0], strange])


Edit = Callable[[dict[str, Any]], None]


def changed(source: Path, out: Path, edit: Edit) -> Path:
    """A copy of a report whose task entries are edited."""
    shutil.copytree(source, out)
    content = json.loads((out / "report.json").read_text(encoding="utf-8"))
    for task in content["tasks"]:
        edit(task)
    (out / "report.json").write_text(json.dumps(content), encoding="utf-8")
    return out


def other_requests(task: dict[str, Any]) -> None:
    task["hashes"]["requests"] = "0" * 64


@pytest.fixture
def fixed(tmp_path: Path) -> Path:
    return made_report(tmp_path / "fixed", mode="fixed", count=20, tasks=TASKS)


def test_fixed_refuses_models_that_were_asked_different_prompts(
    fixed: Path, tmp_path: Path
) -> None:
    strange = changed(fixed, tmp_path / "other", other_requests)
    rows = read_items(strange, "jcommonsenseqa")
    rows[:3] = [row | {"context": "短い例：" + row["context"]} for row in rows[:3]]
    write_items(strange, "jcommonsenseqa", rows)
    named = "asked different prompts on jcommonsenseqa: 3 of 20 prompts are not the same"
    with pytest.raises(UsageError, match=named):
        compare([fixed, strange])


def test_a_chat_template_is_part_of_the_model_so_other_prompts_are_told_and_not_refused(
    fixed: Path, tmp_path: Path
) -> None:
    one = changed(fixed, tmp_path / "one", lambda task: task.update(style="chat"))
    two = changed(one, tmp_path / "two", other_requests)
    for task in TASKS:
        rows = [row | {"context": "<s>" + row["context"]} for row in read_items(two, task)]
        write_items(two, task, rows)
    found = compare([one, two])
    for entry in found.tasks:
        assert [row.note for row in entry.rows] == ["", "20 of 20 prompts are not the same"]


def test_compat_tells_that_tokenizers_made_other_requests(
    reports: list[Path], tmp_path: Path
) -> None:
    found = compare([reports[0], changed(reports[2], tmp_path / "other", other_requests)])
    note = "the longest answers or stop texts are not the same"
    assert found.as_json()["tasks"][0]["rows"][1]["note"] == note
    write_comparison(tmp_path / "out", found)
    for text in (
        found.table(),
        (tmp_path / "out" / "compare.html").read_text(encoding="utf-8"),
        (tmp_path / "out" / "compare.md").read_text(encoding="utf-8"),
    ):
        assert text.count(note) == len(TASKS)


def test_shots_that_were_used_count_in_fixed_and_those_asked_for_in_compat(
    fixed: Path, reports: list[Path], tmp_path: Path
) -> None:
    def fewer(task: dict[str, Any]) -> None:
        task["conditions"]["shots_wanted"] = task["shots"]
        task["shots"] = 1

    fitted = changed(fixed, tmp_path / "fewer", fewer)
    with pytest.raises(UsageError, match=r"\(shots\) is '3'.*\n.*--num-fewshot 1 "):
        compare([fixed, fitted])
    found = compare([reports[0], changed(reports[2], tmp_path / "compat", fewer)])
    assert [entry.task.name for entry in found.tasks] == TASKS


def test_items_changed_by_hand_are_refused(reports: list[Path], tmp_path: Path) -> None:
    strange = made_report(tmp_path / "x", model="x", count=150, tasks=TASKS)
    rows = read_items(strange, "jsquad")
    write_items(strange, "jsquad", [rows[0] | {"gold": ["別の答え"]}, *rows[1:]])
    with pytest.raises(ArtifactError, match="are not the same"):
        compare([reports[0], strange])
    write_items(strange, "jsquad", rows[1:])
    with pytest.raises(ArtifactError, match="other items of jsquad"):
        compare([reports[0], strange])


def test_the_order_of_items_does_not_matter_and_a_model_equals_itself(
    reports: list[Path], tmp_path: Path
) -> None:
    again = made_report(tmp_path / "again", model="a", skill=0.5, count=150, tasks=TASKS)
    for task in TASKS:
        write_items(again, task, reversed(read_items(again, task)))
    found = compare([reports[0], again])
    for entry in found.tasks:
        row = entry.rows[1]
        assert row.difference is not None and row.difference.value == 0
        assert row.p == 1 and not row.significant


def test_more_models_than_colours_are_in_the_tables_and_the_page_says_so(
    reports: list[Path], tmp_path: Path
) -> None:
    found = compare([reports[0]] * 8)
    write_comparison(tmp_path, found)
    page = (tmp_path / "compare.html").read_text(encoding="utf-8")
    assert "first 6 of 8 models" in page
