"""report.html of speech recognition: rates, what is taken for what, and clips as they were heard.

"12 % of the words are wrong" may be one vowel that is always too short, or one speaker. So the page
shows the commonest mistakes sound by sound, the same figures of each source and speaker, and clips
from the worst to the best with every mistake marked. Everything is inside the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from markupsafe import Markup

from minna.artifact.files import write_text_atomically
from minna.evaluate.bar_chart import Bar, Group, bar_chart
from minna.evaluate.page import PAGE_NAME, both_widths, environment
from minna.evaluate.report import Metric, Report, Task
from minna.evaluate.wording import metric_name
from minna.metrics.edits import BOUNDARY, aligned, edit_counts, sound_units
from minna.units import format_seconds

if TYPE_CHECKING:
    from minna.evaluate.speech import Heard

_CLIPS: Final = 40
_MISTAKES: Final = 24
_COMPARED: Final = 2000
"""Clips whose mistakes are counted sound by sound."""
_CELLS: Final = 4_000_000  # of one comparison

Pair = tuple[str | None, str | None]


def write_speech_page(directory: Path, *, report: Report, clips: Sequence[Heard]) -> None:
    """Write report.html of a report on recognised speech into its directory."""
    (task,) = report.tasks
    mistakes = _mistakes(clips)
    context: dict[str, Any] = {
        "report": report,
        "task": task,
        "facts": _facts(report, task),
        "bars": _bars(report, task),
        "mistakes": mistakes.most_common(_MISTAKES),
        "all_mistakes": sum(mistakes.values()),
        "clips": _shown(clips),
        "boundary": BOUNDARY,
    }
    text = environment(escape=True).get_template("speech.html").render(**context)
    write_text_atomically(directory / PAGE_NAME, text)


def _facts(report: Report, task: Task) -> list[tuple[str, str]]:
    facts = [
        ("clips", f"{task.n:,}"),
        ("speech", format_seconds(float(task.conditions["seconds"]))),
        ("decoding", str(task.conditions["decoding"])),
    ]
    return facts + ([("time", format_seconds(report.cost.seconds))] if report.cost else [])


def _bars(report: Report, task: Task) -> Markup:
    groups = [
        Group(label=metric_name(name), bars=(_bar(metric),))
        for name, metric in task.metrics.items()
        if "error_rate" in name
    ]
    said = ", ".join(f"{group.label} {bar.text}" for group in groups for bar in group.bars if bar)
    return both_widths(
        bar_chart,
        groups=groups,
        series=[report.model_name],
        name="rates",
        title=f"Error rates of {report.model_name}",
        description=f"Percent with 95 % intervals. {said}.",
    )


def _bar(metric: Metric) -> Bar:
    text = f"{metric.value:.1f}"
    if metric.low is not None and metric.high is not None:
        text += f" ({metric.low:.1f}–{metric.high:.1f})"
    return Bar(value=metric.value, low=metric.low, high=metric.high, text=text)


def _pairs(clip: Heard) -> list[Pair]:
    """What was said beside what was understood, sound by sound; none of a clip too long for it."""
    said = sound_units(clip.said, boundaries="counted")
    heard = sound_units(clip.heard, boundaries="counted")
    return aligned(said, heard) if len(said) * len(heard) <= _CELLS else []


def _mistakes(clips: Sequence[Heard]) -> Counter[Pair]:
    """How often a sound was taken for another; None: nothing."""
    step = -(-len(clips) // _COMPARED) or 1
    found: Counter[Pair] = Counter()
    for clip in clips[::step]:
        found.update(pair for pair in _pairs(clip) if pair[0] != pair[1])
    return found


def _shown(clips: Sequence[Heard]) -> list[dict[str, Any]]:
    """Clips from the worst to the best, evenly spread."""
    said, heard = (
        [sound_units(words, boundaries="counted") for words in some]
        for some in ([clip.said for clip in clips], [clip.heard for clip in clips])
    )
    counts_N4 = edit_counts(said, heard)
    rates = (counts_N4[:, :3].sum(axis=1) / counts_N4[:, 3].clip(1)).tolist()
    order = sorted(range(len(clips)), key=lambda place: (-rates[place], place))
    if len(order) > _CLIPS:
        order = [order[k * (len(order) - 1) // (_CLIPS - 1)] for k in range(_CLIPS)]
    return [
        {"clip": clips[place], "rate": 100 * rates[place], "pairs": _pairs(clips[place])}
        for place in order
    ]
