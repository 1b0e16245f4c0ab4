"""`corpus filter`: the pictures whose captions fit, by the scores of a side-car.

Where to cut is a choice: a score of one model means nothing in another, so a share of the pictures
is named (`quantile`), or a score that was looked up on the side-car's page (`threshold`). What is
held out is left as it is unless all is asked for: a test set that was chosen by a score says
little about a model that is judged by a like one.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal, Self

import numpy as np
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from minna import artifact
from minna.artifact import Draft, Manifest
from minna.artifact.verify import verify
from minna.console import say, warn
from minna.corpus.card_blocks import markdown
from minna.corpus.join_pairs import counted, finish, written_with
from minna.corpus.pair_corpus import holds_pairs
from minna.corpus.pair_rows import PAIR_COLUMNS, Caption, PairRow, write_rows
from minna.corpus.sidecar_rows import JoinedRows, open_sidecar, refuse_own_place
from minna.errors import ArtifactError, DataError

LOW: Final = "low_score"
_LABELS: Final = {"clip-score": "label clip-score"}
_SPLITS: Final = ("train", "valid", "test")
_VERSION: Final = 1
"""Part of every key: raise it when rows are made differently."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FilterSettings:
    """Which pictures stay.

    Attributes:
        quantile: share of the scores that lie below the cut.
        threshold: the cut itself; one of both is given.
        by: a picture's score is that of its best caption ("best"), the mean over them by weight
            ("mean"), or each caption is judged by itself and a picture stays with those left
            ("each").
        splits: what is filtered; of "train" alone, valid and test stay as they are.
    """

    quantile: float | None = Field(default=None, gt=0, lt=1)
    threshold: float | None = Field(default=None, ge=-1, le=1)
    by: Literal["best", "mean", "each"] = "best"
    splits: Literal["train", "all"] = "train"

    @model_validator(mode="after")
    def _one_cut(self) -> Self:
        if (self.quantile is None) == (self.threshold is None):
            raise ValueError("give a quantile or a threshold, and not both")
        return self


@dataclasses.dataclass(frozen=True, kw_only=True)
class FilterReport:
    """What a filter did.

    Attributes:
        path: the corpus.
        state: built, or unchanged (nothing to do).
        read: pictures of the corpus.
        kept: of them.
        captions: of those kept.
        cut: the score below which they went.
        judged: pictures that were judged; the others are held out.
        dropped: reason -> pictures.
        splits: split -> pictures kept.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["built", "unchanged"]
    read: int
    kept: int
    captions: int
    cut: float
    judged: int
    dropped: dict[str, int]
    splits: dict[str, int]
    wall_seconds: float


def filter_pairs(
    corpus: Path, *, sidecar: Path, out: Path, settings: FilterSettings
) -> FilterReport:
    """Write the corpus of those pictures that stay, or do nothing when it is there.

    Raises:
        ArtifactError: no corpus of pictures or no side-car, a damaged one, or one of another
            corpus.
        UsageError: a side-car of another label, or `out` is where corpus or side-car lies.
        DataError: nothing is judged, or nothing stays.
    """
    refuse_own_place((corpus, sidecar), out)
    if not holds_pairs(corpus):
        raise ArtifactError(
            f"{corpus} holds no pictures, and scores of captions filter those",
            remedy="give the corpus that the side-car was made of",
        )
    manifest, parents = open_sidecar(
        corpus, sidecar, labels=_LABELS, used="pictures are filtered by scores of their captions"
    )
    values: dict[str, Any] = {
        "source": "filter",
        "label": "clip-score",
        "version": _VERSION,
        **dataclasses.asdict(settings),
    }
    if artifact.unchanged(out, key=artifact.key_of("corpus", settings=values, parents=parents)):
        say(f"{out}: this corpus is filtered by this side-car already")
        return _report(out, state="unchanged")
    verify(sidecar)
    with artifact.writing(out, kind="corpus", settings=values, parents=parents) as draft:
        shutil.rmtree(draft.path / "data", ignore_errors=True)  # what an interrupted one left
        source = artifact.read_manifest(corpus)
        draft.licences, draft.legal = list(source.licences), list(source.legal)
        _filter(draft, corpus, sidecar, settings, manifest)
    return _report(out, state="built")


def _filter(
    draft: Draft, corpus: Path, sidecar: Path, settings: FilterSettings, manifest: Manifest
) -> None:
    scores, judged = _scores(JoinedRows(corpus, sidecar), settings)
    if not len(scores):
        raise DataError(
            f"no picture of {corpus} in split {settings.splits} has a score",
            remedy="look at the column `problem` of the side-car, or give --splits all",
        )
    cut = settings.threshold
    if cut is None:
        assert settings.quantile is not None, "one of both is given"
        cut = float(np.quantile(scores, settings.quantile))
    joined, groups = JoinedRows(corpus, sidecar), set[str]()
    rows = counted(_kept(joined, cut, settings), groups)
    tally = write_rows(rows, data=draft.path / "data")
    finish(
        draft,
        tally,
        name="filter",
        read=joined.read,
        groups=len(groups),
        dropped=joined.dropped,
        more=_section(manifest, cut, settings, judged=judged),
    )
    draft.count("cut", cut, "cosine")
    draft.count("judged", judged, "pictures")
    if settings.quantile is not None and not joined.dropped[LOW]:
        warn(f"nothing lies below {cut:g}: the lowest {settings.quantile:.0%} of the scores tie")


def _is_judged(row: dict[str, Any], settings: FilterSettings) -> bool:
    return settings.splits == "all" or row["split"] == "train"


def _judgements(
    row: dict[str, Any], label: dict[str, Any], by: Literal["best", "mean", "each"]
) -> Sequence[float]:
    """The scores that are compared with the cut: one of the picture, or one of each caption."""
    scores: list[float] = label["scores"]
    if by == "best":
        return [max(scores)]
    if by == "mean":
        weights = [caption["weight"] for caption in row["captions"]]
        return [float(np.average(scores, weights=weights))]
    return scores


def _scores(joined: JoinedRows, settings: FilterSettings) -> tuple[np.ndarray[Any, Any], int]:
    """All scores that are compared with the cut, and of how many pictures."""
    found: list[float] = []
    judged = 0
    for row, label in joined.every(("id", "split", "captions"), ("scores", "problem")):
        if _is_judged(row, settings):
            judged += 1
            if not label["problem"]:
                found += _judgements(row, label, settings.by)
    return np.array(found, dtype=np.float64), judged


def _kept(joined: JoinedRows, cut: float, settings: FilterSettings) -> Iterator[PairRow]:
    for row, label in joined.every(PAIR_COLUMNS, ("scores", "problem")):
        captions = [Caption(**caption) for caption in row["captions"]]
        if _is_judged(row, settings):
            if label["problem"]:
                joined.dropped[label["problem"]] += 1
                continue
            fits = [score >= cut for score in _judgements(row, label, settings.by)]
            if not any(fits):
                joined.dropped[LOW] += 1
                continue
            if settings.by == "each":
                captions = [one for one, good in zip(captions, fits, strict=True) if good]
        yield written_with(row, tuple(captions))


def _section(manifest: Manifest, cut: float, settings: FilterSettings, *, judged: int) -> str:
    """What the card says of the filter."""
    by = {"best": "its best caption", "mean": "its captions' mean", "each": "each caption"}
    what = "all splits" if settings.splits == "all" else "the training split alone"
    asked = "" if settings.quantile is None else f", the lowest {settings.quantile:.0%}"
    model = markdown(str(manifest.settings["by"]))
    digest = str(manifest.settings["digest"])[:12]
    return (
        "\n## スコアによる選別 / Chosen by score\n\n"
        f"- {model} ({digest}) によるコサインが {cut:.4f} 未満のものを除いた。\n"
        f"- Of {judged:,} pictures ({what}) those below a cosine of {cut:.4f}{asked} by "
        f"{by[settings.by]} went; scored by {model} ({digest}).\n"
    )


def _report(path: Path, *, state: Literal["built", "unchanged"]) -> FilterReport:
    manifest = artifact.read_manifest(path, kind="corpus")
    count = {name: item.value for name, item in manifest.counts.items()}
    return FilterReport(
        path=path,
        state=state,
        read=int(count["read"]),
        kept=int(count["pairs"]),
        captions=int(count["captions"]),
        cut=count["cut"],
        judged=int(count["judged"]),
        dropped={
            name.removeprefix("dropped_"): int(value)
            for name, value in count.items()
            if name.startswith("dropped_")
        },
        splits={split: int(count[split]) for split in _SPLITS},
        wall_seconds=manifest.wall_seconds,
    )
