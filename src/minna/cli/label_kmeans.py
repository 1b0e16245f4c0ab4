"""`minna label kmeans`: a cluster for each frame of a corpus of speech."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.label.kmeans_report import KmeansReport
    from minna.runtime.load import Device


def kmeans(
    corpus: Annotated[Path, typer.Argument(help="A corpus of clips.")],
    *,
    features: Annotated[
        str, typer.Option(help="mfcc, or the model dir of an encoder whose layer is clustered.")
    ],
    out: Annotated[Path, typer.Option("--out", help="The side-car directory to write.")],
    layer: Annotated[
        int | None, typer.Option(help="Of the model, from 1; HuBERT takes the middle one.")
    ] = None,
    clusters: Annotated[int | None, typer.Option(help="How many (default: 100).")] = None,
    sample: Annotated[
        int | None, typer.Option(help="Frames that centres are found on (default: 200,000).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Whose frames those are (default: train).")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Of sample and centres.")] = None,
    centres: Annotated[
        Path | None, typer.Option(help="A side-car whose centres are taken; none are looked for.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Label every frame of CORPUS with its nearest cluster: targets of HuBERT's pre-training.

    The same command goes on where it stopped. Labels know their rate, corpus and model, and a
    recipe that counts on others refuses them.

    Example: minna label kmeans build/speech --features mfcc --clusters 100 --out build/labels
    """
    from dataclasses import asdict

    from minna.errors import UsageError
    from minna.label.frame_features import Mfcc
    from minna.label.kmeans import label_kmeans, label_layer

    options = {"clusters": clusters, "sample": sample, "split": split, "seed": seed}
    given = {name: value for name, value in options.items() if value is not None}
    settings = _settings(given, centres)
    shared: dict[str, Any] = {"out": out, "settings": settings, "centres": centres}
    if features == "mfcc":
        if layer is not None:
            raise UsageError(
                f"--layer {layer} is a model's, and cepstra have none", remedy="leave it out"
            )
        report = label_kmeans(corpus, features=Mfcc(), **shared)
    else:
        if layer is None:
            raise UsageError(
                f"{features} has several layers", remedy="name one: --layer 6 is HuBERT's, of 12"
            )
        of = cast("Device", device)
        report = label_layer(corpus, folder=Path(features), layer=layer, device=of, **shared)
    result = asdict(report) | {"path": report.path.as_posix()}
    emit(result, as_json=as_json, text=_words(report))


def _settings(given: dict[str, Any], centres: Path | None) -> Any:
    """How centres are found, refused where none are looked for."""
    from minna.errors import UsageError, nearest
    from minna.label.kmeans import KmeansSettings

    if centres is not None and given:
        raise UsageError(
            f"--{', --'.join(given)} say how centres are found, and --centres gives them",
            remedy="leave one of them out",
        )
    splits = ("train", "valid", "test", "all")
    if given.get("split", "train") not in splits:
        raise UsageError(
            f"--split has no {given['split']!r}{nearest(given['split'], splits)}",
            remedy=f"use one of {', '.join(splits)}",
        )
    return KmeansSettings(**given)


def _words(report: KmeansReport) -> str:
    from minna.units import format_seconds

    first = {
        "made": f"made {report.path} in {format_seconds(report.wall_seconds)}",
        "unchanged": f"{report.path} is already there, from the same corpus and features",
    }[report.state]
    size = f"{report.rate} a second, {report.label_bytes:,} bytes"
    alike = f"as many as {report.perplexity:.1f} equal ones"
    lines = [
        first,
        f"  labels    {report.frames:,} of {report.clips:,} clips, {size}",
        f"  clusters  {report.used} of {report.clusters} used, {alike}",
        f"  distance  {report.distance:.4g} (sample of {report.sampled:,}: {report.inertia:.4g})",
    ]
    if report.agreement is not None:
        told = report.agreement
        lines.append(
            f"  phones    PNMI {told.pnmi:.3f}, phone purity {told.phone_purity:.3f}, cluster "
            f"purity {told.cluster_purity:.3f}, on {told.frames:,} timed frames"
        )
    return "\n".join(lines)
