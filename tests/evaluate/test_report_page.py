"""The page and the summary of judged tasks: every figure is there, no text can break out."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.evaluate.made_reports import NASTY, made_report

from minna.artifact.verify import verify
from minna.errors import ArtifactError
from minna.evaluate.beside import rows_beside
from minna.evaluate.browser import MOST_ITEMS, chance_level, embedded, evenly, safe_json
from minna.evaluate.page import write_page
from minna.evaluate.report import (
    Metric,
    Report,
    average_of,
    read_items,
    read_report,
    write_items,
)
from minna.evaluate.wording import short_title, shots_words, shown, shown_p, signed

NEOX = "rinna/japanese-gpt-neox-3.6b"


class Page(HTMLParser):
    """Texts, scripts and tags of a page, by the rules of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self._open: dict[str, str | None] | None = None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "script":
            self._open = dict(attrs)
            self.scripts.append((self._open, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._open = None

    def handle_data(self, data: str) -> None:
        if self._open is not None:
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_report(tmp_path_factory.mktemp("made") / "report", count=250)


def page_of(path: Path) -> Page:
    return Page((path / "report.html").read_text(encoding="utf-8"))


def test_every_main_figure_stands_on_the_page_and_in_the_summary(made: Path) -> None:
    report, page = read_report(made), page_of(made)
    summary = (made / "report.md").read_text(encoding="utf-8")
    assert verify(made).kind == "report"
    assert report.average is not None
    for text in (page.text, summary):
        assert shown(report.average) in text
        for task in report.tasks:
            assert shown(task.metrics[task.main]) in text
            assert task.title["en"] in text
    for task in report.tasks:
        assert task.title["ja"] in page.text and task.data.sha256[:12] in page.text
    assert "33.3" in page.text  # the chance level of JNLI
    assert page.tags.count("svg") == 4  # bars and radar, each for wide and narrow


def test_published_rows_stand_only_beside_compat_and_say_what_is_of_other_rules(
    made: Path, tmp_path: Path
) -> None:
    text = page_of(made).text
    assert "Their prompts and task versions may differ" in text
    assert "rinna/japanese-gpt-neox-3.6b" in text and "41.79†" in text
    # mgsm is of this report's own version, prompt, shots and 250 items; jnli 1.1 is another version
    # and jcommonsenseqa has 1,119 items
    row = text.split("models/rinna", 1)[1].split("rinna/japanese-gpt-neox-3.6b prompt 0.2", 1)[1]
    assert row.split()[1:3] == ["31.6†", "34.4†"]
    report = read_report(made)
    own = next(
        row
        for row in rows_beside(report, report.tasks)
        if row.name == NEOX and row.source.endswith("models/rinna")
    )
    names = [task.name for task in report.tasks]
    assert [n for n, cell in zip(names, own.cells, strict=True) if cell and cell.same] == ["mgsm"]
    fixed = page_of(made_report(tmp_path / "fixed", mode="fixed", count=5))
    assert "Published rows" not in fixed.text and "rinna/" not in fixed.text
    part = page_of(made_report(tmp_path / "part", tasks=["jnli", "mgsm"], count=5))
    assert "41.79" not in part.text and "average" not in part.text.lower()
    assert part.tags.count("svg") == 2  # two tasks make no radar


def test_items_are_embedded_whole_spread_evenly_and_cannot_break_out(made: Path) -> None:
    source = (made / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert not re.search(r"""(src|href)\s*=|https?://|@import|url\(""", source)
    data = {a["data-task"]: json.loads(text) for a, text in page.scripts if "data-task" in a}
    report = read_report(made)
    assert list(data) == [task.name for task in report.tasks]
    assert len(page.scripts) == len(data) + 1  # and the one that shows them
    for task in report.tasks:
        rows = read_items(made, task.name)
        items = data[task.name]
        assert [i["id"] for i in items] == [rows[k * 250 // 200]["id"] for k in range(200)]
        assert NASTY in items[1]["context"]
        by_id = {row["id"]: row for row in rows}
        for item in items:
            score = by_id[item["id"]]["scores"][task.main]
            assert item["right"] is (None if task.name == "xlsum_ja" else score == 1)
            if "choices" in item:
                assert math.isclose(sum(c["share"] for c in item["choices"]), 1, abs_tol=1e-3)
                assert sum(c["gold"] for c in item["choices"]) == 1
    assert "200 of 250" in page.text


def rewritten(made: Path, out: Path, edit: Callable[[dict[str, Any]], None]) -> tuple[str, str]:
    """Page and summary of a report whose content is edited."""
    shutil.copytree(made, out)
    content = read_report(made).model_dump(mode="json", by_alias=True)
    edit(content)
    write_page(out, report=Report.model_validate(content))
    return page_of(out).text, (out / "report.md").read_text(encoding="utf-8")


def test_a_report_of_a_part_says_so_at_its_head(made: Path, tmp_path: Path) -> None:
    told = "Only a part: at most 1,000 items of a task."
    texts = rewritten(made, tmp_path / "part", lambda content: content.update(limit=1000))
    assert all(told in text for text in texts)
    assert "Only a part" not in page_of(made).text


def test_what_an_earlier_run_answered_is_told_and_gives_no_share(
    made: Path, tmp_path: Path
) -> None:
    def resumed(content: dict[str, Any]) -> None:
        content["tasks"][0]["cost"].update(answered=17)
        content["cost"].update(answered=247)

    text, summary = rewritten(made, tmp_path / "resumed", resumed)
    assert "250 17 in this run" in text and "250 (17 in this run)" in summary
    assert "answered by an earlier one" in text and "time of the last run 5 min" in text
    whole = page_of(made).text
    assert "in this run" not in whole
    assert whole.count(" %)") == text.count(" %)") + 2  # of the task and of all together


def test_fewer_examples_than_asked_for_are_told_beside_the_score(
    made: Path, tmp_path: Path
) -> None:
    def fewer(content: dict[str, Any]) -> None:
        content["tasks"][1]["conditions"]["shots_wanted"] = 5
        content["tasks"][1]["style"] = "chat"

    for text in rewritten(made, tmp_path / "fewer", fewer):
        assert "3 of 5 shots, chat" in text
    report = read_report(tmp_path / "fewer")
    assert shots_words(report.tasks[1]) == "3-shot"


def test_a_title_that_is_too_long_for_a_chart_is_the_tasks_name(made: Path) -> None:
    task = read_report(made).task("jnli")
    assert short_title(task) == "JNLI"
    long = task.model_copy(update={"title": {"en": "Translation, English to Japanese"}})
    assert short_title(long) == "jnli"


@given(
    st.recursive(st.text() | st.integers(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
@settings(max_examples=60, deadline=None)
def test_safe_json_is_the_same_data_and_holds_no_markup(value: Any) -> None:
    text = str(safe_json(value))
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value


def test_half_a_character_of_a_model_breaks_neither_items_nor_page(tmp_path: Path) -> None:
    row = {
        "id": "a",
        "text": "\ud83d",
        "scores": {"acc": 1.0},
        "gold": ["x"],
        "prediction": "\ud83d",
    }
    write_items(tmp_path, "t", [row])
    assert read_items(tmp_path, "t")[0]["text"] == "\ufffd"
    str(embedded([row], main="acc")).encode()


def test_a_long_prompt_keeps_its_beginning_and_its_end() -> None:
    row = {"id": "a", "context": "始" * 1000 + "中" * 1000 + "終" * 1000, "scores": {"acc": 0.0}}
    (item,) = json.loads(str(embedded([row], main="acc")))
    assert item["context"].startswith("始" * 400) and item["context"].endswith("終" * 900)
    assert "1,700 characters" in item["context"]


@given(st.integers(0, 1000))
def test_items_are_all_or_200_without_a_second_time(count: int) -> None:
    found = [row["id"] for row in evenly([{"id": number} for number in range(count)])]
    assert len(found) == min(count, MOST_ITEMS) and found == sorted(set(found))


def test_chance_is_one_over_the_choices_and_none_for_answers_in_words() -> None:
    rows = [{"continuations": ["a", "b"]}, {"continuations": ["a", "b", "c", "d"]}]
    assert chance_level(rows, main="acc") == pytest.approx(37.5)
    assert chance_level(rows, main="mcc") is None
    assert chance_level([{"continuations": []}], main="acc") is None
    assert chance_level([], main="acc") is None


def test_an_average_has_the_interval_of_independent_parts() -> None:
    parts = [
        Metric(value=50, low=47, high=53, unit="percent"),
        Metric(value=70, low=66, high=74, unit="percent"),
    ]
    found = average_of(60, parts)
    assert (found.low, found.high) == (pytest.approx(57.5), pytest.approx(62.5))
    assert average_of(60, [parts[0], Metric(value=1, unit="percent")]).low is None


def test_figures_in_words() -> None:
    metric = Metric(value=1.25, low=-0.5, high=3.0, unit="percent")
    assert shown(metric) == "1.25 (-0.50 to 3.00)"
    assert signed(metric) == "+1.25 (-0.50 to +3.00)"
    assert shown(Metric(value=0.5, unit="coefficient")) == "0.500"
    assert (shown_p(0.0004), shown_p(0.031)) == ("< 0.001", "0.031")


def change(made: Path, out: Path, edit: Any) -> Path:
    out.mkdir()
    (out / "minna.json").write_bytes((made / "minna.json").read_bytes())
    content = json.loads((made / "report.json").read_text(encoding="utf-8"))
    edit(content)
    (out / "report.json").write_text(json.dumps(content), encoding="utf-8")
    return out


def test_a_report_of_schema_1_is_refused_with_what_to_do(made: Path, tmp_path: Path) -> None:
    old = change(made, tmp_path / "old", lambda content: content.update(schema=1))
    with pytest.raises(ArtifactError, match=r"schema 1, and schema 2 is read here\n.*evaluate"):
        read_report(old)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda c: c["tasks"].append(c["tasks"][0]), "stands twice"),
        (lambda c: c["tasks"][0].update(main="bleu"), "main metric 'bleu'"),
        (lambda c: c["tasks"][0].update(name="../x"), "name"),
        (lambda c: c.update(tasks=[]), "tasks"),
        (lambda c: c.update(surprise=1), "surprise"),
    ],
)
def test_contents_that_contradict_themselves_are_refused(
    made: Path, tmp_path: Path, edit: Any, named: str
) -> None:
    with pytest.raises(ArtifactError, match=named):
        read_report(change(made, tmp_path / "x", edit))


def test_items_that_are_gone_or_no_items_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_items(made, "none")
    (tmp_path / "items").mkdir()
    (tmp_path / "items" / "t.jsonl").write_text("[1]\n", encoding="utf-8")
    with pytest.raises(ArtifactError, match="no item"):
        read_items(tmp_path, "t")


def test_a_report_survives_its_own_json(made: Path) -> None:
    report = read_report(made)
    assert Report.model_validate_json(report.model_dump_json(by_alias=True)) == report
    assert [task.full_name for task in report.tasks][:2] == [
        "jcommonsenseqa-1.1-0.2",
        "jnli-1.3-0.2",
    ]
