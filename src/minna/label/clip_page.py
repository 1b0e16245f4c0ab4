"""report.html of a side-car of scores: what they tell apart, what a cut costs, pictures near cuts.

No number says where to cut. The page shows what a person decides by: both histograms on one scale,
for each cut the share of right and of shuffled pairs that pass, and pictures from both sides of it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow.parquet as pq
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from minna.artifact.files import write_text_atomically
from minna.corpus.card_plots import Series, histogram
from minna.corpus.pictures import BadPictureError, open_picture
from minna.corpus.read import files
from minna.label.clip_figures import CUTS, ClipFigures
from minna.metrics.roc import roc_curve
from minna.runtime.thumbnails import data_uri

PAGE_NAME: Final = "report.html"
_BINS: Final = 40
_LABELS: Final = 8
_SHOWN: Final = 8
_SHOWN_CUTS: Final = (0.1, 0.3, 0.5)
_SIDE: Final = 160
_CAPTIONS: Final = 4
_ROC: Final = 260


class _Shelf(NamedTuple):
    """Pictures that are shown together."""

    title: str
    japanese: str
    places: list[int]


def write_page(directory: Path, *, figures: ClipFigures, corpus: Path, model: str) -> None:
    """Write report.html into the directory of a side-car whose files are there.

    Raises:
        ArtifactError: the disk is full.
    """
    environment = Environment(
        loader=PackageLoader("minna.label"), autoescape=True, undefined=StrictUndefined
    )
    shelves = _shelves(figures)
    wanted = {place for shelf in shelves for place in shelf.places}
    cards = dict(_cards(corpus, directory, wanted))
    page = environment.get_template("clip_score.html").render(
        model=model,
        corpus=corpus.name,
        figures=figures,
        scored=len(figures.best),
        captions=len(figures.each),
        histogram=_histogram(figures),
        roc=_roc(figures),
        cuts=list(zip(CUTS, figures.cuts.tolist(), figures.shuffled_kept(), strict=True)),
        shelves=[
            {"title": s.title, "japanese": s.japanese, "cards": [cards[p] for p in s.places]}
            for s in shelves
        ],
    )
    write_text_atomically(directory / PAGE_NAME, page)


def _histogram(figures: ClipFigures) -> Markup:
    """Best captions beside best shuffled ones, in equal bins over both."""
    both = np.concatenate([figures.best, figures.shuffled_best]).astype(np.float64)
    low, high = float(both.min()), float(both.max())
    edges = np.linspace(low, high if high > low else low + 1e-3, _BINS + 1)
    every = _BINS // _LABELS
    series = [Series("kept", "matched / 組", _counted(figures.best, edges))]
    if len(figures.shuffled_best):
        shuffled = Series("read", "shuffled / 入れ替え", _counted(figures.shuffled_best, edges))
        series.insert(0, shuffled)
    return histogram(
        series,
        labels=[f"{edge:.2f}" if n % every == 0 else "" for n, edge in enumerate(edges)],
        key="scores",
        title="Scores of matched and shuffled pairs",
        axes=("cosine / コサイン", "pictures / 画像数"),
    )


def _counted(scores: np.ndarray[Any, Any], edges: np.ndarray[Any, Any]) -> Sequence[int]:
    return np.histogram(scores, bins=edges)[0].tolist()


def _roc(figures: ClipFigures) -> Markup:
    """The curve as a line in a square; nothing where nothing was shuffled."""
    if figures.auc_best is None:
        return Markup("")
    false, true = roc_curve(figures.best, figures.shuffled_best)
    points = " ".join(
        f"{_ROC * x:.1f},{_ROC * (1 - y):.1f}" for x, y in zip(false, true, strict=True)
    )
    return Markup(
        '<svg class="roc" role="img" viewBox="-1 -1 {side} {side}" aria-label="{about}">'
        '<rect x="0" y="0" width="{inner}" height="{inner}"/>'
        '<line x1="0" y1="{inner}" x2="{inner}" y2="0"/><polyline points="{points}"/></svg>'
    ).format(
        side=_ROC + 2,
        inner=_ROC,
        points=points,
        about=f"Area under the curve {figures.auc_best:.3f}",
    )


def _shelves(figures: ClipFigures) -> list[_Shelf]:
    """The lowest, those on both sides of some cuts, the highest."""
    order = np.argsort(figures.best, kind="stable")
    ordered = figures.places[order].tolist()
    found = [_Shelf("The lowest", "最も低いもの", ordered[:_SHOWN])]
    for share in _SHOWN_CUTS:
        middle = round(share * len(ordered))
        start = max(0, middle - _SHOWN // 2)
        cut = float(figures.cuts[CUTS.index(share)])
        found.append(
            _Shelf(
                f"Around the cut that leaves out {share:.0%} ({cut:.3f})",
                f"下位 {share:.0%} を除く境界の付近",
                ordered[start : start + _SHOWN],
            )
        )
    found.append(_Shelf("The highest", "最も高いもの", ordered[-_SHOWN:]))
    return found


def _cards(
    corpus: Path, sidecar: Path, wanted: Collection[int]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """What is shown of some rows; row groups without one of them are not read."""
    start = 0
    for number, file in enumerate(files(corpus)):
        first = start
        scores = pq.read_table(
            sidecar / "data" / f"{number:05d}.parquet", columns=["scores", "best"]
        )
        with pq.ParquetFile(file) as parquet:
            for group in range(parquet.num_row_groups):
                end = start + parquet.metadata.row_group(group).num_rows
                if here := [place for place in wanted if start <= place < end]:
                    table = parquet.read_row_group(group, columns=["captions", "image"])
                    for place in here:
                        (row,) = table.slice(place - start, 1).to_pylist()
                        (said,) = scores.slice(place - first, 1).to_pylist()
                        yield place, _card(row, said)
                start = end


def _card(row: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    try:
        image = data_uri(open_picture(row["image"]), side=_SIDE)
    except BadPictureError:
        image = ""
    texts = [caption["text"] for caption in row["captions"]]
    ordered = sorted(zip(said["scores"], texts, strict=True), reverse=True)
    return {
        "image": image,
        "score": f"{said['scores'][said['best']]:.3f}",
        "captions": [(text, f"{score:.3f}") for score, text in ordered[:_CAPTIONS]],
        "more": max(0, len(texts) - _CAPTIONS),
    }
