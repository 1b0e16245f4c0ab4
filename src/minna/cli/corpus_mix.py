"""`minna corpus mix`: several corpora read as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.corpus.components import Mixture


def mix(
    components: Annotated[list[str], typer.Argument(help="Corpora, each as CORPUS=WEIGHT.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="Where the mixture goes.")],
    by: Annotated[
        str, typer.Option(help="What a weight is: repeats (per epoch) or share (of the bytes).")
    ] = "repeats",
    size: Annotated[
        str | None,
        typer.Option(
            "--bytes", help="With --by share: size of an epoch, such as 10G; may leave text out."
        ),
    ] = None,
    max_repeats: Annotated[float, typer.Option(help="Most repeats a share may need.")] = 16.0,
    seed: Annotated[int, typer.Option(help="Fixes what a fraction of a repeat takes.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Read several corpora as one, each so and so often; no text is copied.

    Example: minna corpus mix build/wiki=5 build/cc100=1 --out build/mix
    """
    from minna.cli.output import checked
    from minna.corpus.mixture import MixSettings, parse_weight
    from minna.corpus.mixture import mix as mix_corpora
    from minna.units import parse_count

    settings = checked(
        MixSettings,
        {
            "by": by,
            "bytes": None if size is None else parse_count(size),
            "max_repeats": max_repeats,
            "seed": seed,
        },
    )
    mixture = mix_corpora([parse_weight(text) for text in components], out=out, settings=settings)
    result = {"path": out.as_posix(), **mixture.model_dump(), "bytes": round(mixture.bytes)}
    emit(result, as_json=as_json, text=_words(mixture, out))


def _words(mixture: Mixture, out: Path) -> str:
    from minna.units import format_bytes

    width = max(len(part.name) for part in mixture.components)
    rows = [
        f"  {part.name:<{width}}  {part.share:7.2%} of the bytes, {part.repeats:g} x "
        f"{format_bytes(part.bytes)} in {part.documents} documents"
        for part in mixture.components
    ]
    epoch = f"{format_bytes(mixture.bytes)} in about {round(mixture.documents)} documents"
    return "\n".join([f"mixed {out}: an epoch is {epoch}", *rows])
