"""`label clip-score`: how well each caption fits its picture, by a model of pictures and words.

Captions of the web are often of something else, and a model that draws learns that too: the paper
dropped the pairs of Stable Diffusion's corpus under a score of its CLOOB. A score means something
only inside one model, and only beside that of captions that do not belong, so each picture is also
compared with the captions of another one: what is told apart, and what a cut costs, is on the page.

The side-car has a file for each file of the corpus, its rows in the same order. A run that was
stopped goes on behind the last file that is whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from minna import artifact
from minna.artifact import Draft
from minna.console import progress, say, warn
from minna.corpus.pair_corpus import holds_pairs
from minna.corpus.read import part_batches, parts
from minna.errors import ArtifactError, DataError
from minna.label.clip_figures import CUTS, ClipFigures, read_figures
from minna.label.clip_page import write_page
from minna.label.translator import parent_of_folder
from minna.runtime.picture_batches import seen
from minna.runtime.places import Content
from minna.units import format_count

if TYPE_CHECKING:
    from minna.runtime.two_towers import TwoTowers

LABEL: Final = "clip-score"
"""`label` in the settings of such a side-car."""
SCHEMA: Final = pa.schema(
    [
        ("id", pa.string()),
        ("scores", pa.list_(pa.float32())),
        ("best", pa.int32()),
        ("shuffled", pa.list_(pa.float32())),
        ("problem", pa.string()),
    ]
)
_COLUMNS: Final = ("id", "group", "captions", "image")
_VERSION: Final = 1
"""Part of every side-car's key: raise it when rows are made differently."""
_TRIES: Final = 50  # others that are looked at for one of another group
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ClipScoreReport:
    """What a run did.

    Attributes:
        path: the side-car.
        state: made, or unchanged (nothing to do).
        model: who judged.
        read: pictures of the corpus.
        scored: of them, those that open and have a caption.
        captions: of the scored ones.
        auc: chance that a caption scores above one of another picture; None where there was none.
        auc_best: the same of the best caption of a picture.
        problems: why pictures have no score -> pictures.
        cuts: share of pictures below -> score of their best caption.
        wall_seconds: how long it took.
    """

    path: Path
    state: Literal["made", "unchanged"]
    model: str
    read: int
    scored: int
    captions: int
    auc: float | None
    auc_best: float | None
    problems: dict[str, int]
    cuts: dict[str, float]
    wall_seconds: float


def clip_score(
    corpus: Path, *, out: Path, towers: TwoTowers, model: Path, seed: int = 0
) -> ClipScoreReport:
    """Score the captions of a corpus of pictures; a side-car of the same is left as it is.

    Args:
        corpus: the corpus.
        out: the side-car directory.
        towers: who judges.
        model: its folder.
        seed: whose captions each picture is also compared with.

    Raises:
        ArtifactError: not a corpus of pictures, `out` holds something else, or no model dir.
        UsageError: the model has no image tower.
        DataError: no picture opens.
    """
    if not holds_pairs(corpus):
        raise ArtifactError(
            f"{corpus} holds no pictures, and their captions are what is scored",
            remedy="make a corpus of them: minna corpus build pictures --from PATH --out DIR",
        )
    judge = parent_of_folder(model).model_copy(update={"role": "scorer"})
    parents = [artifact.parent_of(corpus, role="corpus", kind="corpus"), judge]
    values = _values(towers, seed)
    if artifact.unchanged(out, key=artifact.key_of("sidecar", settings=values, parents=parents)):
        say(f"{out}: this corpus is scored by {towers.name} already")
        return _report(out, state="unchanged")
    with artifact.writing(out, kind="sidecar", settings=values, parents=parents) as draft:
        _write(corpus, draft, towers, seed)
        figures = read_figures(draft.path)
        _count(draft, figures, corpus)
        write_page(draft.path, figures=figures, corpus=corpus, model=towers.name)
        draft.licences = list(artifact.read_manifest(corpus).licences)
        draft.legal = list(artifact.read_manifest(corpus).legal)
    report = _report(out, state="made")
    _warn(report)
    return report


def _values(towers: TwoTowers, seed: int) -> dict[str, Any]:
    """Everything that decides what the side-car holds."""
    return {
        "label": LABEL,
        "by": towers.name,
        "digest": towers.digest,
        "seed": seed,
        "version": _VERSION,
    }


def _write(corpus: Path, draft: Draft, towers: TwoTowers, seed: int) -> None:
    """Write the files that are not there yet."""
    with progress() as bar:
        task = bar.add_task("clip-score", total=None, note="")
        done = 0
        for part in parts(corpus):
            target = draft.path / "data" / f"{part.number:05d}.parquet"
            if target.is_file():
                continue  # of a run that was stopped
            with (
                artifact.replace_file(target) as file,
                pq.ParquetWriter(file, SCHEMA, compression="zstd") as out,
            ):
                batches = part_batches(part, split="all", columns=_COLUMNS)
                for number, batch in enumerate(batches):
                    generator = np.random.default_rng((seed, part.number, number))
                    rows = _scored(batch.to_pylist(), towers, generator)
                    out.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
                    done += len(rows)
                    bar.update(task, completed=done, note=f"{format_count(done)} pictures")


class _Group(NamedTuple):
    """Rows of a corpus, and the vectors of what their captions say."""

    rows: list[dict[str, Any]]
    vectors: Floats
    place: dict[str, int]

    def fits(self, picture: Floats, row: dict[str, Any]) -> list[float]:
        """Cosines of a picture and the captions of a row."""
        said = [self.place[caption["text"]] for caption in row["captions"]]
        return (self.vectors[said] @ picture).tolist()


def _scored(
    rows: list[dict[str, Any]], towers: TwoTowers, generator: np.random.Generator
) -> list[dict[str, Any]]:
    """The side-car's rows for a row group of the corpus."""
    texts = dict.fromkeys(caption["text"] for row in rows for caption in row["captions"])
    group = _Group(rows, towers.texts(list(texts)), {text: n for n, text in enumerate(texts)})
    others = _others(rows, generator)
    bad: dict[str, str] = {}
    pictures = dict(_pictures(rows, towers, bad))
    found: list[dict[str, Any]] = []
    for number, row in enumerate(rows):
        problem = bad.get(str(number), "" if row["captions"] else "no_caption")
        scores: list[float] = []
        shuffled: list[float] = []
        if not problem:
            scores = group.fits(pictures[number], row)
            other = others[number]
            shuffled = [] if other is None else group.fits(pictures[number], rows[other])
        best = int(np.argmax(scores)) if scores else -1
        found.append(
            {
                "id": row["id"],
                "scores": scores,
                "best": best,
                "shuffled": shuffled,
                "problem": problem,
            }
        )
    return found


def _pictures(
    rows: list[dict[str, Any]], towers: TwoTowers, bad: dict[str, str]
) -> Iterator[tuple[int, Floats]]:
    """The vector of each picture that opens, by its row's number."""
    contents = (Content(path=str(number), data=row["image"]) for number, row in enumerate(rows))
    for batch, vectors in seen(towers, contents, bad=bad):
        yield from ((int(one.path), vector) for one, vector in zip(batch, vectors, strict=True))


def _others(rows: list[dict[str, Any]], generator: np.random.Generator) -> list[int | None]:
    """For each row another one whose captions are not its own, of another group."""
    order = generator.permutation(len(rows))
    found: list[int | None] = [None] * len(rows)
    for place, row in enumerate(order.tolist()):
        for step in range(1, min(len(rows), _TRIES)):
            other = int(order[(place + step) % len(rows)])
            if rows[other]["group"] != rows[row]["group"] and rows[other]["captions"]:
                found[row] = other
                break
    return found


def _count(draft: Draft, figures: ClipFigures, corpus: Path) -> None:
    """Record what was found.

    Raises:
        DataError: no picture has a score.
    """
    if not len(figures.best):
        told = ", ".join(f"{why}: {count}" for why, count in figures.problems.items())
        raise DataError(
            f"none of the {figures.read} pictures of {corpus} has a score ({told or 'no rows'})",
            remedy="look at the pictures; a corpus that `minna corpus build` made has none such",
        )
    draft.count("read", figures.read, "pictures")
    draft.count("scored", len(figures.best), "pictures")
    draft.count("captions", len(figures.each), "captions")
    for why, count in Counter(figures.problems).most_common():
        draft.count(f"problem_{why}", count, "pictures")
    if figures.auc is not None and figures.auc_best is not None:
        draft.count("auc", round(figures.auc, 6), "chance, caption against shuffled caption")
        draft.count("auc_best", round(figures.auc_best, 6), "chance, best against best shuffled")
    for share, cut in zip(CUTS, figures.cuts.tolist(), strict=True):
        draft.count(f"cut_{share:.0%}", round(cut, 6), "cosine of the best caption")


def _report(path: Path, *, state: Literal["made", "unchanged"]) -> ClipScoreReport:
    manifest = artifact.read_manifest(path, kind="sidecar")
    count = {name: item.value for name, item in manifest.counts.items()}

    def named(prefix: str) -> dict[str, float]:
        return {n.removeprefix(prefix): v for n, v in count.items() if n.startswith(prefix)}

    return ClipScoreReport(
        path=path,
        state=state,
        model=str(manifest.settings["by"]),
        read=int(count["read"]),
        scored=int(count["scored"]),
        captions=int(count["captions"]),
        auc=count.get("auc"),
        auc_best=count.get("auc_best"),
        problems={name: int(value) for name, value in named("problem_").items()},
        cuts=named("cut_"),
        wall_seconds=manifest.wall_seconds,
    )


def _warn(report: ClipScoreReport) -> None:
    if report.problems:
        told = ", ".join(f"{count} {why}" for why, count in report.problems.items())
        warn(f"{sum(report.problems.values())} of {report.read} pictures have no score: {told}")
    if report.auc is None:
        warn("every picture is of one group, so no captions could be shuffled: see what a cut does")
