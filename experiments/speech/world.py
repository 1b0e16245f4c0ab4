"""What is heard: Japanese and English speech that is made, words that were recorded, parts of them.

And how answers are counted: gains are relative, as the paper's, and clips are drawn for both models
at once, with what all seeds made of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from minna import artifact
from minna.corpus import ClipSettings, build_clips
from minna.corpus.clip_read import read_clips
from minna.corpus.clip_rows import ClipRow, write_rows
from minna.corpus.read import batches
from minna.errors import DataError
from minna.evaluate.report import read_items
from minna.evaluate.speech import TASK
from minna.evaluate.speech_measures import rows_of
from minna.metrics.interval import Interval, statistic_interval

Floats = NDArray[np.float64]
Gains = dict[tuple[str, str, float], Interval]
"""(the worse model, the better, minutes of labels) -> the share of its errors that is saved."""
PAIRS: Final = (
    *(("en", "ja"), ("en-one", "ja"), ("none", "ja"), ("none", "en"), ("none", "en-one")),
    *(("en-one", "en"), ("ja-1", "ja")),
)
"""What is compared; the second is to be the better one."""
TEXTS: Final = ("ita-emotion.txt", "ita-recitation.txt", "rohan4600.txt")
RESAMPLES: Final = 10_000


def corpora(said: Mapping[str, Any], *, data: Path, out: Path) -> dict[str, Path]:
    """Build the corpora that are not there: ja, en, en-one and real."""
    speech = data / "speech"
    text = out / "text" / "ja.txt"
    content = b"".join((speech / name).read_bytes() for name in TEXTS)
    if not text.is_file() or text.read_bytes() != content:
        text.parent.mkdir(parents=True, exist_ok=True)
        with artifact.replace_file(text) as file:
            file.write(content)
    english: dict[str, Any] = {
        "source": "synth-en",
        "path": data / "enja" / "train.en",
        "licence": "CC BY",
        "attribution": "Tanaka corpus",
    }
    asked = {
        "ja": ClipSettings(
            source="synth",
            path=text,
            licence="public domain (ITA), CC0 (ROHAN)",
            **said["ja"],
        ),
        "en": ClipSettings(**english, **said["en"]),
        "en-one": ClipSettings(**english, **said["en-one"]),
        "real": ClipSettings(
            source="clips",
            path=speech,
            splits="stated",
            licence="CC BY-SA 4.0",
            attribution="Tofugu and WaniKani",
        ),
    }
    return {
        name: build_clips(settings=settings, out=out / name).path
        for name, settings in asked.items()
    }


def part(
    corpus: Path,
    *,
    minutes: float,
    shortest: float,
    held_out: int,
    out: Path,
    behind: Path | None = None,
) -> Path:
    """Write some clips of a corpus as a corpus; one of the same is left as it is.

    A run writes all samples of its corpus beside itself, and labels are found for every clip: what
    is never heard would cost more than what is. Rows of a corpus that is spoken stand in a drawn
    order, so its first ones are a sample.

    Args:
        corpus: of clips.
        minutes: of the training split.
        shortest: seconds; shorter clips of that split are passed over.
        held_out: clips of each other split, at most.
        out: where it goes.
        behind: another part, behind whose last clip of the training split this one begins.

    Raises:
        DataError: the corpus has less.
    """
    settings: dict[str, Any] = {"source": "part", "minutes": minutes, "shortest": shortest}
    settings["held_out"] = held_out
    parents = [artifact.parent_of(corpus, role="corpus", kind="corpus")]
    if behind is not None:
        parents.append(artifact.parent_of(behind, role="behind", kind="corpus"))
    if artifact.unchanged(out, key=artifact.key_of("corpus", settings=settings, parents=parents)):
        return out
    over = set[str]() if behind is None else _ids(behind)
    some = _some(corpus, minutes=minutes, shortest=shortest, held_out=held_out, over=over)
    with artifact.writing(out, kind="corpus", settings=settings, parents=parents) as draft:
        tally = write_rows(some, data=draft.path / "data")
        reached = tally.split_seconds.get("train", 0.0) / 60
        if reached < minutes:
            raise DataError(
                f"{minutes:g} minutes of {corpus} were asked for, and there are {reached:.1f} in "
                f"clips of {shortest:g} s or more" + (f" behind {behind}" if behind else ""),
                remedy="ask for fewer in experiments/speech/settings.toml",
            )
        draft.count("clips", tally.kept, "clips")
        draft.count("seconds", round(tally.seconds, 3), "seconds")
        for split in ("train", "valid", "test"):
            draft.count(split, tally.splits[split], "clips")
        draft.licences = list(artifact.read_manifest(corpus).licences)
        draft.legal = list(artifact.read_manifest(corpus).legal)
    return out


def _some(
    corpus: Path, *, minutes: float, shortest: float, held_out: int, over: set[str]
) -> Iterator[ClipRow]:
    """Rows of a part; `over` are ids of the training split of which none is left when it begins."""
    left = {"valid": held_out, "test": held_out}
    heard = 0.0
    for batch in batches(corpus, split="all", columns=ClipRow._fields):
        for values in batch.to_pylist():
            row = ClipRow(**values | {"times": tuple(values["times"])})
            if row.split in left:
                left[row.split] -= 1
                if left[row.split] >= 0:
                    yield row
            elif over:
                over.discard(row.id)
            elif row.seconds >= shortest and heard < 60 * minutes:
                heard += row.seconds
                yield row


def _ids(corpus: Path) -> set[str]:
    return {clip.id for clip in read_clips(corpus, split="train", audio="left")}


def gains_of(found: Mapping[tuple[str, float], Sequence[Path]], rate: str) -> Gains:
    """Compare all pairs that are there.

    Args:
        found: (model, minutes) -> reports of its seeds, all on the same clips.
        rate: of error.
    """
    counted = {key: edits(reports, rate) for key, reports in found.items()}
    minutes = list(dict.fromkeys(of for _, of in found))
    return {
        (worse, better, of): gain(
            counted[worse, of][1][:, 0], counted[better, of][1][:, 0], groups=counted[worse, of][0]
        )
        for worse, better in PAIRS
        for of in minutes
        if (worse, of) in counted and (better, of) in counted
    }


def gap_of(
    found: Mapping[tuple[str, float], Sequence[Path]], rate: str, *, minutes: Sequence[float]
) -> Interval | None:
    """How much more is gained with the fewest labels than with the most; None where not asked."""
    models, sizes = PAIRS[0], (min(minutes), max(minutes))
    if any((model, of) not in found for model in models for of in sizes):
        return None
    counted = {(model, of): edits(found[model, of], rate) for of in sizes for model in models}
    few, many = ((counted[models[0], of][1][:, 0], counted[models[1], of][1][:, 0]) for of in sizes)
    return gap(few, many, groups=counted[models[0], sizes[0]][0])


def judged(gains: Gains, more: Interval | None) -> dict[str, dict[str, bool]]:
    """Whether each claim holds, by models and minutes: its interval is above zero.

    A claim some of whose models were not asked is not judged.

    Args:
        gains: of one rate of error on one set of clips.
        more: gained with the fewest labels than with the most.
    """

    def holds(*pairs: tuple[str, str]) -> dict[str, bool]:
        if not all(any(key[:2] == pair for key in gains) for pair in pairs):
            return {}
        return {
            (f"{better} over {worse}, " if pairs[1:] else "") + f"{minutes:g} min": one.low > 0
            for (worse, better, minutes), one in gains.items()
            if (worse, better) in pairs
        }

    return {
        "japanese": holds(("en", "ja")),
        "one_voice": holds(("en-one", "ja")),
        "voices": holds(("en-one", "en")),
        "pretraining": holds(("none", "ja"), ("none", "en"), ("none", "en-one")),
        "few": {} if more is None else {"difference": more.low > 0},
        "iterations": holds(("ja-1", "ja")),
    }


def edits(reports: Sequence[Path], rate: str) -> tuple[list[str], Floats]:
    """What several reports on the same clips count together.

    Returns:
        Groups [N] of the clips, and [N, 2] edits and reference units, summed over the reports.
    """
    asked: list[tuple[str, str]] = []
    total = np.zeros((0, 2))
    for report in reports:
        items = read_items(report, TASK)
        clips = [(str(item["id"]), str(item["group"] or item["id"])) for item in items]
        rows_N2 = rows_of(rate, [one["gold"][0] for one in items], [one["text"] for one in items])
        if not asked:
            asked, total = clips, np.zeros_like(rows_N2)
        assert clips == asked, "all models hear the same clips"
        total = total + rows_N2
    return [group for _, group in asked], total


def gain(worse_N: Floats, better_N: Floats, *, groups: Sequence[str]) -> Interval:
    """Share of the edits of one model that another does not make, over the same clips."""
    rows_N2 = np.stack([worse_N, better_N], axis=-1)
    return statistic_interval(rows_N2, _gain, groups=groups, resamples=RESAMPLES)


def gap(
    few: tuple[Floats, Floats], many: tuple[Floats, Floats], *, groups: Sequence[str]
) -> Interval:
    """How much larger the gain is of the first pair of models than that of the second."""
    rows_N4 = np.stack([*few, *many], axis=-1)
    return statistic_interval(
        rows_N4,
        lambda sums: _gain(sums[..., :2]) - _gain(sums[..., 2:]),
        groups=groups,
        resamples=RESAMPLES,
    )


def _gain(sums: Floats) -> Floats:
    worse, better = sums[..., 0], sums[..., 1]
    return (worse - better) / np.maximum(worse, 1)  # edits are whole: none is a gain of none
