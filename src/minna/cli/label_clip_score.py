"""`minna label clip-score`: how well captions fit their pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.label.clip_score import ClipScoreReport


def clip_score(
    corpus: Annotated[Path, typer.Argument(help="A corpus of pictures with captions.")],
    *,
    model: Annotated[Path, typer.Option(help="A model dir of pictures and words: CLIP, CLOOB ...")],
    out: Annotated[Path, typer.Option("--out", help="The side-car directory to write.")],
    seed: Annotated[int, typer.Option(min=0, help="Which captions are shuffled.")] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Score every caption of CORPUS, beside captions of other pictures; report.html shows cuts.

    The same command goes on where it stopped. `minna corpus filter` then leaves out the lowest.

    Example: minna label clip-score build/pictures --model build/clip --out build/scores
    """
    from dataclasses import asdict

    from minna.cli.classify import open_model
    from minna.label.clip_score import clip_score as score_corpus

    towers = open_model(model, device)
    report = score_corpus(corpus, out=out, towers=towers, model=model, seed=seed)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _words(report: ClipScoreReport) -> str:
    from minna.units import format_seconds

    first = {
        "made": f"made {report.path} in {format_seconds(report.wall_seconds)}",
        "unchanged": f"{report.path} is already there, from the same corpus and model",
    }[report.state]
    told = ", ".join(f"{count} {why}" for why, count in report.problems.items())
    lines = [
        first,
        f"  pictures  {report.scored} of {report.read} scored ({told or 'none without a score'})",
        f"  captions  {report.captions}",
    ]
    if report.auc is not None and report.auc_best is not None:
        lines.append(
            f"  ROC AUC   {report.auc_best:.3f} by the best caption of each picture, "
            f"{report.auc:.3f} by every caption"
        )
    cuts = ", ".join(f"{share}: {cut:.3f}" for share, cut in report.cuts.items())
    return "\n".join([*lines, f"  below     {cuts}", f"  page      {report.path / 'report.html'}"])
