"""`minna label caption`: what a model says of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.label.caption import CaptionReport
    from minna.runtime.load import Device, Dtype


def caption(
    corpus: Annotated[Path, typer.Argument(help="A corpus of pictures.")],
    *,
    model: Annotated[Path, typer.Option(help="A model dir that captions: BLIP, GIT, ViT-GPT2.")],
    out: Annotated[Path, typer.Option("--out", help="The side-car directory to write.")],
    captions: Annotated[int, typer.Option(help="Captions of each picture.")] = 1,
    sampling: Annotated[
        str, typer.Option(help="nucleus (diverse: better for training), or beam.")
    ] = "nucleus",
    top_p: Annotated[float, typer.Option(help="Of nucleus sampling.")] = 0.9,
    beams: Annotated[int, typer.Option(help="Of beam search.")] = 3,
    max_new_tokens: Annotated[int, typer.Option(help="Longest caption.")] = 30,
    seed: Annotated[int, typer.Option(help="Of nucleus sampling.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="File that keeps captions (default: in MINNA_CACHE).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Caption the pictures of CORPUS into a side-car, which `minna corpus join` puts beside theirs.

    No picture is asked for twice: the same command goes on where it stopped.

    Example: minna label caption build/pictures --model blip-base --captions 3 --out build/said
    """
    from dataclasses import asdict

    from minna.cli.output import checked
    from minna.label.caption import caption as caption_corpus
    from minna.label.captioner import CaptionSettings, HubCaptioner

    settings = checked(
        CaptionSettings,
        {
            "captions": captions,
            "sampling": sampling,
            "top_p": top_p,
            "beams": beams,
            "max_new_tokens": max_new_tokens,
            "seed": seed,
        },
    )
    captioner = HubCaptioner(
        model, settings=settings, device=cast("Device", device), dtype=cast("Dtype", dtype)
    )
    report = caption_corpus(corpus, out=out, captioner=captioner, cache=cache)
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _words(report: CaptionReport) -> str:
    from minna.units import format_seconds

    first = {
        "made": f"made {report.path} in {format_seconds(report.wall_seconds)}",
        "unchanged": f"{report.path} is already there, from the same corpus, model and settings",
    }[report.state]
    told = ", ".join(f"{count} {why}" for why, count in report.problems.items())
    return "\n".join(
        [
            first,
            f"  pictures  {report.captioned} of {report.read} captioned ({told or 'no problem'})",
            f"  captions  {report.captions}, {report.asked} pictures asked for",
        ]
    )
