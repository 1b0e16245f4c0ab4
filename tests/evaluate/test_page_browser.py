"""The report opened in a real browser: its labels do not touch, its script finds items."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.evaluate.made_reports import made_report

from minna.evaluate.browser import MOST_ITEMS
from minna.evaluate.compare_page import write_comparison
from minna.evaluate.comparison import compare
from minna.evaluate.report import read_items

pytestmark = pytest.mark.full

_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
)
_GEOMETRY = """
const visible = [...document.querySelectorAll("svg.chart")].filter((svg) => svg.getClientRects().length);
const place = (element) => {
  const { left, top, right, bottom } = element.getBoundingClientRect();
  return { left, top, right, bottom };
};
const found = {
  scrolls: document.documentElement.scrollWidth > window.innerWidth,
  width: window.innerWidth,
  hidden: [...document.querySelectorAll(".tasks")].map((box) => box.scrollWidth - box.clientWidth),
  charts: visible.map((svg) => ({
    id: svg.id,
    frame: place(svg),
    texts: [...svg.querySelectorAll("text:not(.tick)")].map((t) => ({ text: t.textContent, ...place(t) })),
    bars: [...svg.querySelectorAll("rect.bar")].map(place),
    grid: [...svg.querySelectorAll("line.grid")].map(place),
  })),
};
"""
_FILTER = """
const found = {};
const item = () => [...document.querySelectorAll("#list .mark")].map((mark) => mark.textContent);
const pick = (id, value, event) => {
  const element = document.getElementById(id);
  element.value = value;
  element.dispatchEvent(new Event(event, { bubbles: true }));
};
const press = (value) => document.querySelector(`#verdicts [value=${value}]`).click();
pick("task", "jsquad", "change");
found.first = item().length;
document.getElementById("more").click();
found.second = item().length;
press("right");
found.right = document.getElementById("counter").textContent;
found.onlyRight = item().every((word) => word === "right");
press("wrong");
found.wrong = document.getElementById("counter").textContent;
found.onlyWrong = item().every((word) => word === "wrong");
press("all");
pick("search", "問題1：", "input");
found.searched = document.getElementById("counter").textContent;
const box = document.querySelector("#list details");
box.open = true;
pick("task", "xlsum_ja", "change");
found.graded = document.getElementById("verdicts").disabled;
pick("task", "jnli", "change");
pick("search", "jnli-0001", "input");
const opened = document.querySelector("#list details");
opened.open = true;
setTimeout(() => {
  found.prompt = opened.querySelector("pre").textContent;
  found.meters = [...opened.querySelectorAll(".meter i")].map((bar) => bar.style.width);
  found.title = document.title;
  say(found);
}, 200);
"""


@pytest.fixture(scope="module")
def browser() -> str:
    for name in _NAMES:
        if path := shutil.which(name):
            return path
    pytest.skip("no Chromium on this machine (Debian: apt-get install chromium)")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_report(tmp_path_factory.mktemp("browsed") / "report", count=250)


def evaluated(browser: str, page: Path, script: str, *, folder: Path, width: int) -> Any:
    """What a script that is added to a copy of the page says."""
    say = (
        "const say = (found) => { const out = document.createElement('output'); out.id = 'said';"
        " out.textContent = JSON.stringify(found); document.body.append(out); };"
    )
    end = "" if "say(found)" in script else "say(found);"
    text = page.read_text(encoding="utf-8")
    copy = folder / "copy.html"
    added = f"<script>window.addEventListener('load', () => {{ {say}\n{script}\n{end} }});</script>"
    copy.write_text(text.replace("</body>", added + "</body>"), encoding="utf-8")
    done = subprocess.run(
        [
            browser,
            *_FLAGS,
            f"--user-data-dir={folder / 'profile'}",
            f"--window-size={width},1600",
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        timeout=120,
        check=False,
    )
    dom = done.stdout.decode("utf-8")
    said = re.search(r'<output id="said">(.*?)</output>', dom, re.DOTALL)
    assert said is not None, done.stderr.decode("utf-8", "replace")[-2000:]
    return json.loads(html.unescape(said.group(1)))


def overlap(first: dict[str, float], second: dict[str, float]) -> bool:
    slack = 1.0  # boxes of text hold empty lines above and below the letters
    return (
        first["left"] < second["right"] - slack
        and second["left"] < first["right"] - slack
        and first["top"] < second["bottom"] - 4 * slack
        and second["top"] < first["bottom"] - 4 * slack
    )


def check_charts(found: Any, *, kind: str) -> None:
    assert found["charts"] and not found["scrolls"]
    for chart in found["charts"]:
        assert chart["id"].endswith(kind)
        frame, texts = chart["frame"], chart["texts"]
        assert frame["right"] <= found["width"]
        for place, text in enumerate(texts):
            assert frame["left"] - 2 <= text["left"] and text["right"] <= frame["right"] + 2, text
            for other in texts[:place]:
                assert not overlap(text, other), (text, other)
        for bar in chart["bars"]:
            assert not any(overlap(bar, text) for text in texts), bar


@pytest.mark.parametrize(("width", "kind"), [(1000, "-wide"), (500, "-narrow")])
def test_labels_of_the_charts_do_not_touch(
    browser: str, made: Path, tmp_path: Path, width: int, kind: str
) -> None:
    page = made / "report.html"
    found = evaluated(browser, page, _GEOMETRY, folder=tmp_path, width=width)
    assert [chart["id"] for chart in found["charts"]] == [f"bars{kind}", f"radar{kind}"]
    check_charts(found, kind=kind)
    bars = found["charts"][0]
    left = min(line["left"] for line in bars["grid"])
    right = max(line["right"] for line in bars["grid"])
    content = json.loads((made / "report.json").read_text(encoding="utf-8"))
    for task, bar in zip(content["tasks"], bars["bars"], strict=True):
        share = (bar["right"] - bar["left"]) / (right - left)
        assert share == pytest.approx(task["metrics"][task["main"]]["value"] / 100, abs=0.01)


@pytest.mark.parametrize("width", [800, 1000, 1400])
def test_the_table_of_tasks_fits_a_desk(
    browser: str, made: Path, tmp_path: Path, width: int
) -> None:
    found = evaluated(browser, made / "report.html", _GEOMETRY, folder=tmp_path, width=width)
    assert found["hidden"] == [0] and not found["scrolls"]


@pytest.mark.parametrize(("width", "kind"), [(1000, "-wide"), (500, "-narrow")])
def test_a_comparison_is_drawn_as_well(
    browser: str, made: Path, tmp_path: Path, width: int, kind: str
) -> None:
    other = made_report(
        tmp_path / "b", model="another-model-with-a-rather-long-name-実験", skill=0.7, count=250
    )
    write_comparison(tmp_path / "out", compare([made, other]))
    page = tmp_path / "out" / "compare.html"
    found = evaluated(browser, page, _GEOMETRY, folder=tmp_path, width=width)
    check_charts(found, kind=kind)
    assert len(found["charts"][0]["bars"]) == 16


def test_items_are_filtered_searched_and_opened(browser: str, made: Path, tmp_path: Path) -> None:
    found = evaluated(browser, made / "report.html", _FILTER, folder=tmp_path, width=1000)
    rows = read_items(made, "jsquad")
    shown = [rows[k * len(rows) // MOST_ITEMS] for k in range(MOST_ITEMS)]
    right = sum(row["scores"]["exact_match"] == 1 for row in shown)
    assert (found["first"], found["second"]) == (20, 40)
    assert found["right"] == f"{right} of 200 items" and found["onlyRight"]
    assert found["wrong"] == f"{200 - right} of 200 items" and found["onlyWrong"]
    assert found["searched"] == "1 of 200 items"
    assert found["graded"] is True
    (item,) = [row for row in read_items(made, "jnli") if row["id"] == "jnli-0001"]
    assert found["prompt"] == item["context"]
    assert len(found["meters"]) == 3
    assert sum(float(width.rstrip("%")) for width in found["meters"]) == pytest.approx(100, abs=0.3)
    assert "stolen" not in found["title"]
