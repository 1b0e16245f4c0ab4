"""`minna release MODEL`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.release import PushSettings, ReleaseSettings


def release(
    model: Annotated[Path, typer.Argument(help="A model dir that was exported from a run.")],
    *,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    report: Annotated[
        list[Path] | None, typer.Option(help="A report of this model; may be given again.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model; else that of the folder.")] = "",
    author: Annotated[str, typer.Option(help="Who publishes it.")] = "",
    licence: Annotated[str, typer.Option(help="Of the weights; else the recipe's.")] = "",
    licence_file: Annotated[
        Path | None, typer.Option(help="Text of a licence other than apache-2.0 and mit.")
    ] = None,
    base_model: Annotated[
        str, typer.Option(help="Hub id of the model that training started from.")
    ] = "",
    confirm_legal: Annotated[
        bool,
        typer.Option(
            "--confirm-legal",
            help="I have checked the legal basis of training, personal data and opt-outs.",
        ),
    ] = False,
    push: Annotated[str, typer.Option(help="Upload to OWNER/NAME on the Hub.")] = "",
    public: Annotated[
        bool, typer.Option("--public", help="A new repository is public (else private).")
    ] = False,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="Upload as a pull request.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, print the files, write nothing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Make a publishable folder: model, card in Japanese and English, licences, provenance.

    Example: minna release build/model --report build/report --confirm-legal --out build/release
    """
    from minna.cli.output import checked
    from minna.release import PushSettings, ReleaseSettings
    from minna.release import release as write

    settings = checked(
        ReleaseSettings,
        {
            "name": name,
            "repo": push,
            "licence": licence,
            "licence_file": licence_file,
            "author": author,
            "base_model": base_model,
            "legal": "confirmed" if confirm_legal else "unconfirmed",
        },
    )
    target = None
    if push:
        target = checked(
            PushSettings,
            {
                "repo": push,
                "visibility": "public" if public else "private",
                "way": "pull-request" if pull_request else "commit",
            },
        )
    reports = report or []
    if dry_run:
        _show_plan(model, reports, out, settings, target, as_json=as_json)
        return
    write(model, reports=reports, out=out, settings=settings)
    result: dict[str, Any] = {"release": out.as_posix(), "pushed": None}
    lines = [f"released: {out} (its card is {out / 'README.md'})"]
    if target is not None:
        from minna.release import push as upload

        pushed = upload(out, settings=target)
        result["pushed"] = {"repo": pushed.repo, "answer": pushed.answer}
        lines.append(f"pushed to {pushed.repo}: {pushed.answer}")
    emit(result, as_json=as_json, text="\n".join(lines))


def _show_plan(
    model: Path,
    reports: list[Path],
    out: Path,
    settings: ReleaseSettings,
    target: PushSettings | None,
    *,
    as_json: bool,
) -> None:
    from dataclasses import asdict

    from minna.release import plan
    from minna.units import format_bytes

    files = plan(model, reports=reports, out=out, settings=settings)
    result = {
        "release": out.as_posix(),
        "files": [asdict(file) for file in files],
        "push": asdict(target) if target else None,
    }
    lines = [f"would write {out}:"]
    for file in files:
        size = format_bytes(file.bytes) if file.bytes is not None else "written"
        lines.append(f"  {size:>10}  {file.name}")
    if target:
        lines.append(f"would push to {target.repo} ({target.visibility}, as a {target.way})")
    emit(result, as_json=as_json, text="\n".join(lines))
