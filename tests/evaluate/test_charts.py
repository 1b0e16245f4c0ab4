"""What a chart shows is where its numbers say: read back from the SVG's own geometry."""

from __future__ import annotations

import itertools
import math
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minna.evaluate.bar_chart import Bar, Group, bar_chart
from minna.evaluate.radar_chart import MOST_AXES, Outline, radar_chart
from minna.evaluate.svg import NARROW, SERIES, WIDE, fitted, text_width

WIDTHS = pytest.mark.parametrize("width", [WIDE, NARROW])
Box = tuple[float, float, float, float]


def parsed(svg: str) -> ET.Element:
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    labelled = (root.get("aria-labelledby") or "").split()
    ids = {element.get("id"): element.text for element in root if element.get("id")}
    assert set(labelled) == set(ids) and all(ids.values())
    return root


def with_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [e for e in root.iter() if name in (e.get("class") or "").split()]


def number(element: ET.Element, name: str) -> float:
    return float(element.get(name) or "nan")


def size(root: ET.Element) -> tuple[float, float]:
    _, _, width, height = map(float, (root.get("viewBox") or "").split())
    return width, height


def box(text: ET.Element) -> Box:
    wide = text_width(text.text or "", number(text, "font-size"))
    shift = {"start": 0.0, "middle": wide / 2, "end": wide}[text.get("text-anchor") or "start"]
    left, base, tall = number(text, "x") - shift, number(text, "y"), number(text, "font-size")
    return left, base - 0.8 * tall, left + wide, base + 0.2 * tall


def overlap(first: Box, second: Box) -> bool:
    return (
        first[0] < second[2] - 0.01
        and second[0] < first[2] - 0.01
        and first[1] < second[3] - 0.01
        and second[1] < first[3] - 0.01
    )


def check_texts(root: ET.Element, *, but: str = "") -> None:
    width, height = size(root)
    texts = [t for t in root.iter("text") if not but or but not in (t.get("class") or "")]
    boxes = [(text.text, box(text)) for text in texts]
    for text, (left, top, right, bottom) in boxes:
        assert left >= -7 and right <= width + 7 and top >= -1 and bottom <= height + 1, text
    for (one, first), (two, second) in itertools.combinations(boxes, 2):
        assert not overlap(first, second), (one, two)


def groups_of(values: list[list[float]], chance: float | None = None) -> list[Group]:
    return [
        Group(
            label=f"課題 {place} JCommonsenseQA",
            note="exact match, 3-shot, n 1,119",
            bars=tuple(
                Bar(value=v, low=max(0, v - 4), high=min(100, v + 3), text=f"{v:.1f}") for v in row
            ),
            chance=chance,
        )
        for place, row in enumerate(values)
    ]


def drawn(values: list[list[float]], width: int, **rest: float) -> ET.Element:
    series = [f"model {k}" for k in range(len(values[0]))]
    groups = groups_of(values, rest.pop("chance", None))
    return parsed(
        bar_chart(groups, series=series, name="b", title="t", description="d", width=width, **rest)
    )


def axis(root: ET.Element) -> tuple[float, float]:
    """Where the ends of the scale stand."""
    places = sorted({number(line, "x1") for line in with_class(root, "grid")})
    return places[0], places[-1]


@WIDTHS
@given(
    st.integers(1, SERIES).flatmap(
        lambda k: st.lists(
            st.lists(st.floats(0, 100, allow_subnormal=False), min_size=k, max_size=k),
            min_size=1,
            max_size=5,
        )
    )
)
@settings(max_examples=25, deadline=None)
def test_bars_are_as_long_as_their_values_and_whiskers_stand_at_their_ends(
    width: int, values: list[list[float]]
) -> None:
    root = drawn(values, width)
    left, right = axis(root)
    assert right - left > 0.4 * width
    flat = [value for row in values for value in row]
    bars = [e for e in with_class(root, "bar") if e.tag == "rect"]
    paths = [p for p in with_class(root, "whisker") if p.tag == "path"]
    assert len(bars) == len(paths) == len(flat)
    for value, bar, path in zip(flat, bars, paths, strict=True):
        assert number(bar, "width") == pytest.approx(value / 100 * (right - left), abs=0.02)
        assert number(bar, "x") == pytest.approx(left, abs=0.01)
        low, high = map(float, re.findall(r"^M([\d.]+) [\d.]+H([\d.]+)", path.get("d") or "")[0])
        assert low == pytest.approx(left + max(0, value - 4) / 100 * (right - left), abs=0.02)
        assert left - 0.01 <= low <= high <= right + 0.01
        middle = number(bar, "y") + number(bar, "height") / 2
        assert float((path.get("d") or "").split("H")[0].split()[1]) == pytest.approx(
            middle, abs=0.01
        )
    check_texts(root)


@WIDTHS
def test_bars_of_a_group_do_not_touch_and_every_series_has_its_colour(width: int) -> None:
    root = drawn([[10.0, 20, 30, 40, 50, 60], [60.0, 50, 40, 30, 20, 10]], width, chance=25.0)
    bars = [e for e in with_class(root, "bar") if e.tag == "rect"]
    spans = [(number(b, "y"), number(b, "y") + number(b, "height")) for b in bars]
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(spans))
    assert [b.get("class") for b in bars] == [f"bar s{k}" for k in range(6)] * 2
    left, right = axis(root)
    marks = [line for line in with_class(root, "chance") if "key" not in (line.get("class") or "")]
    assert [number(m, "x1") for m in marks] == [
        pytest.approx(left + (right - left) / 4, abs=0.01)
    ] * 2
    names = {text.text for text in root.iter("text")}
    assert {"chance level", "95 % interval", *(f"model {k}" for k in range(6))} <= names


@WIDTHS
def test_long_words_are_cut_and_never_reach_the_bars(width: int) -> None:
    groups = [
        Group(
            label="とても長い課題の名前" * 6,
            note="metric " * 30,
            bars=(Bar(value=50, text="50.0 (1–99)"),),
        )
    ]
    root = parsed(
        bar_chart(groups, series=["m"], name="b", title="t", description="d", width=width)
    )
    check_texts(root)
    assert any((t.text or "").endswith("…") for t in root.iter("text"))
    if width == WIDE:
        left, _ = axis(root)
        assert all(box(t)[2] < left for t in with_class(root, "label"))


def test_missing_bars_no_intervals_negative_values_and_other_scales_are_drawn() -> None:
    groups = [
        Group(label="a", bars=(Bar(value=-30, text="-30"), None)),
        Group(label="b", bars=(Bar(value=60, text="60"), Bar(value=20, text="20"))),
    ]
    root = parsed(bar_chart(groups, series=["x", "y"], name="b", title="t", description="d"))
    bars = [e for e in with_class(root, "bar") if e.tag == "rect"]
    left, right = axis(root)
    zero = (left + right) / 2
    assert number(bars[0], "x") + number(bars[0], "width") == pytest.approx(zero, abs=0.02)
    assert number(bars[1], "x") == pytest.approx(zero, abs=0.02)
    assert not with_class(root, "whisker")
    small = [Group(label="bits", bars=(Bar(value=1.5, text="1.500"),))]
    root = parsed(bar_chart(small, series=["m"], name="b", title="t", description="d", top=2))
    left, right = axis(root)
    assert number(with_class(root, "bar")[0], "width") == pytest.approx(
        0.75 * (right - left), abs=0.02
    )
    assert [t.text for t in with_class(root, "tick")] == ["0", "0.5", "1", "1.5", "2"]


@WIDTHS
@given(
    st.integers(3, MOST_AXES).flatmap(
        lambda k: st.lists(
            st.tuples(*[st.floats(0, 100, allow_subnormal=False)] * k), min_size=1, max_size=4
        )
    )
)
@settings(max_examples=25, deadline=None)
def test_radar_corners_stand_at_their_angle_and_distance(
    width: int, outlines: list[tuple[float, ...]]
) -> None:
    axes = [f"JCommonsense{k}" for k in range(len(outlines[0]))]
    lines = [Outline(name=f"model {k}", values=values) for k, values in enumerate(outlines)]
    root = parsed(radar_chart(axes, lines, name="r", title="t", description="d", width=width))
    rim = with_class(root, "ring")[-1]
    corners = [tuple(map(float, p.split(","))) for p in (rim.get("points") or "").split()]
    top = corners[0]
    centre = (width / 2, number(with_class(root, "grid")[0], "y1"))
    radius = centre[1] - top[1]
    assert radius >= 60 and top[0] == pytest.approx(centre[0], abs=0.01)
    shapes = with_class(root, "outline")
    assert len(shapes) == len(lines)
    for line in lines:
        (shape,) = [e for e in shapes if e.findtext("title") == line.name]
        points = [tuple(map(float, p.split(","))) for p in (shape.get("points") or "").split()]
        for k, (value, (x, y)) in enumerate(zip(line.values, points, strict=True)):
            angle = 2 * math.pi * k / len(axes)  # clockwise from the top
            assert x == pytest.approx(centre[0] + radius * value / 100 * math.sin(angle), abs=0.03)
            assert y == pytest.approx(centre[1] - radius * value / 100 * math.cos(angle), abs=0.03)
    check_texts(root, but="tick")


def test_words_that_are_markup_are_text() -> None:
    words = "</text><script>&\"'"
    groups = [Group(label=words, note=words, bars=(Bar(value=1, text=words),))]
    svg = bar_chart(groups, series=[words], name="b", title=words, description=words)
    root = parsed(svg)
    assert "<script" not in svg
    assert words in {t.text for t in root.iter("text")}


@given(st.text(max_size=60), st.floats(20, 200))
@settings(deadline=None)
def test_fitted_text_fits_and_is_a_beginning(text: str, width: float) -> None:
    found = fitted(text, 13, width)
    assert text_width(found, 13) <= width
    assert found == text or text.startswith(found.removesuffix("…"))


def test_every_class_of_a_chart_has_a_style() -> None:
    root = drawn([[10.0, 20]], WIDE, chance=5.0)
    classes = {c for e in root.iter() for c in (e.get("class") or "").split()}
    folder = Path(__file__).resolve().parents[2] / "src/minna/evaluate/templates"
    style = (folder / "style.css").read_text(encoding="utf-8").replace("{{ number }}", "0 .s1")
    unstyled = {"key", "bar"}  # take the style of their other classes
    assert {c for c in classes if f".{c}" not in style} <= unstyled
