"""`minna corpus filter`: a corpus of pictures without those whose captions do not fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.corpus.filter_pairs import FilterReport


def filter_by_score(
    corpus: Annotated[Path, typer.Argument(help="A corpus of pictures with captions.")],
    *,
    sidecar: Annotated[
        Path, typer.Option("--sidecar", help="Its scores, by `minna label clip-score`.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Where the smaller corpus goes.")],
    quantile: Annotated[
        float | None, typer.Option(help="Leave out this share of the scores, the lowest.")
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Leave out what is below this cosine.")
    ] = None,
    by: Annotated[
        str, typer.Option(help="A picture is judged by its best caption, their mean, or each.")
    ] = "best",
    splits: Annotated[
        str, typer.Option(help="train (what is held out stays as it is), or all.")
    ] = "train",
    as_json: JsonOption = False,
) -> None:
    """Write CORPUS anew without pictures of low scores; ids, groups and splits stay.

    Example: minna corpus filter build/emoji --sidecar build/scores --quantile 0.3 --out build/fit
    """
    from dataclasses import asdict

    from minna.cli.output import checked
    from minna.corpus.filter_pairs import FilterSettings, filter_pairs

    settings = checked(
        FilterSettings,
        {"quantile": quantile, "threshold": threshold, "by": by, "splits": splits},
    )
    report = filter_pairs(corpus, sidecar=sidecar, out=out, settings=settings)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _words(report: FilterReport) -> str:
    def counts(numbers: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in numbers.items())

    first = "filtered into" if report.state == "built" else "already there:"
    return "\n".join(
        [
            f"{first} {report.path}",
            f"  pictures  {report.kept} of {report.read} ({counts(report.splits)})",
            f"  judged    {report.judged}, by a cut at {report.cut:.4f}",
            f"  captions  {report.captions}",
            f"  dropped   {counts(report.dropped) or 'none'}",
        ]
    )
