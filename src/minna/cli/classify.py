"""`minna classify MODEL PICTURE...`: names for pictures, and how often such names are right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.evaluate.report import Metric, Report
    from minna.runtime.class_names import PictureClass, Templates
    from minna.runtime.classify import Named
    from minna.runtime.load import Device
    from minna.runtime.two_towers import TwoTowers


def classify(
    model: Annotated[Path, typer.Argument(help="A model dir of pictures and words.")],
    pictures: Annotated[
        list[str] | None, typer.Argument(help="Pictures, folders, or patterns such as 'a/*.png'.")
    ] = None,
    *,
    names: Annotated[
        Path | None,
        typer.Option(help="Class names: a line each, ID TAB NAME (.tsv), or .json."),
    ] = None,
    name: Annotated[
        list[str] | None, typer.Option(help="One class, again for each; aliases by comma: 犬,いぬ.")
    ] = None,
    templates: Annotated[
        str, typer.Option(help="photos, drawings, none, or a file with {} for the name.")
    ] = "photos",
    top: Annotated[int, typer.Option(min=1, help="Names shown for each picture.")] = 5,
    data: Annotated[
        Path | None,
        typer.Option(help="Measure instead: a folder per class, a tar of such, or a pair corpus."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="With --data: the report to write.")] = None,
    retrieval: Annotated[
        bool,
        typer.Option("--retrieval", help="With a pair corpus: find pictures by text, and back."),
    ] = False,
    captions: Annotated[
        str, typer.Option(help="With --retrieval: name (one text a picture) or all.")
    ] = "name",
    probe: Annotated[
        Path | None, typer.Option(help="With --data: train a linear probe on these, and score it.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of a corpus: train, valid, test or all.")] = "test",
    sources: Annotated[
        str | None, typer.Option(help="Of a corpus, by comma: noto,twemoji (default: all).")
    ] = None,
    index: Annotated[
        Path | None, typer.Option(help="With --data: folder of the vectors (default: the cache).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Say what pictures show, in names of your own; or measure how often that is right.

    Example: minna classify build/clip photo.jpg --name 犬 --name 猫 --name 自転車
    """
    from minna.runtime.class_names import read_templates

    _refuse_mixed(
        pictures,
        data,
        {"--out": out, "--probe": probe, "--index": index, "--sources": sources},
        retrieval=retrieval,
    )
    if data is not None:
        _check_measure(out, split, captions, names, name, retrieval=retrieval)
    classes = _classes(names, name)
    if data is None and classes is None:
        _refuse_without_names()
    chosen = read_templates(templates)
    if data is None:
        assert classes is not None
        _name(model, pictures or [], classes, chosen, top=top, device=device, as_json=as_json)
        return
    assert out is not None
    towers = open_model(model, device)
    shared = {"split": split, "sources": tuple(sources.split(",")) if sources else ()}
    if retrieval:
        report = _look(towers, model, data, out, {**shared, "captions": captions, "index": index})
    else:
        settings = {**shared, "templates": chosen, "probe": probe, "index": index}
        report = _measure(towers, model, data, out, classes, settings)
    result = report.model_dump(mode="json", by_alias=True) | {"path": out.as_posix()}
    emit(result, as_json=as_json, text="\n".join(_lines(report, out)))


def open_model(model: Path, device: str) -> TwoTowers:
    """Open a model dir on the device a word means, which is checked where it is looked for."""
    from minna.runtime.two_towers import open_two_towers

    return open_two_towers(model, device=cast("Device", device))


def _name(
    model: Path,
    pictures: list[str],
    classes: tuple[PictureClass, ...],
    templates: Templates,
    *,
    top: int,
    device: str,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from minna.runtime.classify import name_pictures
    from minna.runtime.places import find_files
    from minna.runtime.zero_shot import build_classifier

    files = find_files(pictures)
    towers = open_model(model, device)
    _warn_shared(classes)
    classifier = build_classifier(towers, classes, templates=templates)
    named, bad = name_pictures(towers, classifier, files, top=top)
    result: dict[str, Any] = {
        "model": towers.name,
        "templates": templates.title,
        "classes": len(classes),
        "pictures": [asdict(one) for one in named],
        "bad": [{"path": path, "problem": problem} for path, problem in bad.items()],
    }
    emit(result, as_json=as_json, text="\n".join(line for one in named for line in _table(one)))


def _table(named: Named) -> list[str]:
    rows = [f"  {guess.share:6.1%}  {guess.cosine:6.3f}  {guess.name}" for guess in named.guesses]
    return [named.path, *rows]


def _measure(
    towers: TwoTowers,
    model: Path,
    data: Path,
    out: Path,
    classes: tuple[PictureClass, ...] | None,
    settings: dict[str, Any],
) -> Report:
    from minna.evaluate.pictures import ZeroShotSettings, evaluate_zero_shot
    from minna.evaluate.report import read_report
    from minna.evaluate.subject import open_subject

    if classes is not None:
        _warn_shared(classes)
    done = evaluate_zero_shot(
        towers,
        model=open_subject(model, server=None).parent,
        data=data,
        out=out,
        classes=classes,
        settings=ZeroShotSettings(**settings),
    )
    return read_report(done)


def _look(
    towers: TwoTowers, model: Path, data: Path, out: Path, settings: dict[str, Any]
) -> Report:
    from minna.evaluate.pictures_retrieval import RetrievalSettings, evaluate_retrieval
    from minna.evaluate.report import read_report
    from minna.evaluate.subject import open_subject

    done = evaluate_retrieval(
        towers,
        model=open_subject(model, server=None).parent,
        data=data,
        out=out,
        settings=RetrievalSettings(**settings),
    )
    return read_report(done)


def _classes(names: Path | None, name: list[str] | None) -> tuple[PictureClass, ...] | None:
    from minna.errors import UsageError
    from minna.runtime.class_names import classes_of, read_classes

    if names is not None and name:
        raise UsageError("--names and --name both name the classes", remedy="use one of them")
    if names is not None:
        return read_classes(names)
    return classes_of(name) if name else None


def _warn_shared(classes: tuple[PictureClass, ...]) -> None:
    from minna.console import warn
    from minna.runtime.class_names import shared_names

    shared = shared_names(classes)
    if shared:
        told = ", ".join(f"{name} ({len(ids)} classes)" for name, ids in list(shared.items())[:5])
        more = ", ..." if len(shared) > 5 else ""  # noqa: PLR2004 - as many as were told
        warn(f"{len(shared)} names stand for more than one class: {told}{more}")


def _refuse_without_names() -> None:
    from minna.errors import UsageError

    raise UsageError(
        "nobody said what the pictures may show", remedy="give --names FILE, or --name 犬 --name 猫"
    )


def _refuse_mixed(
    pictures: list[str] | None, data: Path | None, of_data: dict[str, Any], *, retrieval: bool
) -> None:
    from minna.errors import UsageError

    if data is not None and pictures:
        raise UsageError(
            "pictures and --data were both given", remedy="name pictures, or measure on --data"
        )
    if data is not None:
        return
    if not pictures:
        raise UsageError(
            "there is no picture to name", remedy="give pictures or a folder, or measure: --data"
        )
    given = [option for option, value in of_data.items() if value is not None]
    given += ["--retrieval"] if retrieval else []
    if given:
        raise UsageError(
            f"{', '.join(given)} goes with --data", remedy="add --data, or leave it out"
        )


def _check_measure(
    out: Path | None,
    split: str,
    captions: str,
    names: Path | None,
    name: list[str] | None,
    *,
    retrieval: bool,
) -> None:
    from minna.errors import UsageError, nearest

    if out is None:
        raise UsageError("a measurement becomes a report", remedy="add --out build/report")
    for option, value, known in (
        ("--split", split, ("train", "valid", "test", "all")),
        ("--captions", captions, ("name", "all")),
    ):
        if value not in known:
            raise UsageError(
                f"{option} has no {value!r}{nearest(value, known)}",
                remedy=f"use one of {', '.join(known)}",
            )
    if retrieval and (names is not None or name):
        raise UsageError(
            "--retrieval looks with the corpus's own captions", remedy="leave the names out"
        )


def _lines(report: Report, out: Path) -> list[str]:
    """The figures for people."""
    lines = [f"{out}: {report.model_name}"]
    for task in report.tasks:
        prompt = f" ({task.prompt})" if task.prompt else ""
        lines.append(f"  {task.title['en']}{prompt}, {task.n:,} of {task.data.title}")
        lines += [
            f"    {name.replace('_', ' '):<20} {metric.value:8.2f}{_span(metric)}"
            for name, metric in task.metrics.items()
        ]
        lines += [
            f"    {key.replace('_', ' ')}: {value}"
            for key, value in task.conditions.items()
            if key in ("chance_top_1", "ceiling_top_1", "candidates", "bad_pictures") and value
        ]
    return [*lines, f"look at {out / 'report.html'}"]


def _span(metric: Metric) -> str:
    if metric.low is None or metric.high is None:
        return ""
    return f"  [{metric.low:.2f}, {metric.high:.2f}]"
