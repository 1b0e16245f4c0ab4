"""`minna label translate`, `caption`, `clip-score` and `kmeans`: side-cars for a corpus."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minna.cli.label_caption import caption
from minna.cli.label_clip_score import clip_score
from minna.cli.label_kmeans import kmeans
from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.label import (
        Server,
        TranslateReport,
        TranslateSettings,
        Translator,
        TranslatorSettings,
    )

app = typer.Typer(
    help="Label a corpus, as a side-car beside it.", no_args_is_help=True, rich_markup_mode=None
)
app.command("caption")(caption)
app.command("clip-score")(clip_score)
app.command("kmeans")(kmeans)


@app.callback()
def _labels() -> None:
    """Label a corpus, as a side-car beside it."""


@app.command("translate")
def translate(
    corpus: Annotated[Path, typer.Argument(help="A corpus of dialogues, documents or pictures.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Other settings, such as checks.ratio=[0.2,2].")
    ] = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="The side-car directory to write.")],
    endpoint: Annotated[
        str | None, typer.Option(help="Base URL of an OpenAI-compatible server, .../v1.")
    ] = None,
    translator: Annotated[str | None, typer.Option(help="The model's name on the server.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="A model dir: a translation model, or a causal one.")
    ] = None,
    target: Annotated[str, typer.Option("--to", help="ja or en.")] = "ja",
    source: Annotated[str, typer.Option("--from", help="Language of the corpus.")] = "en",
    prompt: Annotated[
        str,
        typer.Option(
            help="How it is asked: instruct (servers), bare, nllb, m2m100, mbart50 (translation "
            "models), pairs, instruct-ja (causal ones), or your own .toml."
        ),
    ] = "",
    prompt_format: Annotated[
        str, typer.Option("--format", help="Prompt format of a causal model dir: youri-chat, ...")
    ] = "",
    round_trip: Annotated[
        bool, typer.Option("--round-trip", help="Translate back too, and compare with the source.")
    ] = False,
    back_model: Annotated[
        Path | None, typer.Option(help="Who translates back; without it the same model.")
    ] = None,
    fetch_workers: Annotated[int, typer.Option(min=1, help="Requests at once to a server.")] = 8,
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable that holds the server's API key.")
    ] = "",
    timeout: Annotated[float, typer.Option(help="Seconds to wait for an answer.")] = 120.0,
    max_new_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer (default: the server's limit).")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="File that keeps translations (default: in MINNA_CACHE).")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16, int8 or int4.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Translate CORPUS into a side-car; each row is kept, or dropped with a reason.

    What is translated is never asked again: the same command goes on where it stopped.

    Example: minna label translate build/hh --endpoint http://127.0.0.1:8000/v1 --translator
    NAME --out build/hh-ja
    """
    from dataclasses import asdict

    from minna.cli.output import checked
    from minna.label import TranslatorSettings
    from minna.label import translate as translate_corpus

    settings = _settings(source, target, overrides or [], round_trip=round_trip)
    how = checked(
        TranslatorSettings,
        {
            "prompt": prompt,
            "format": prompt_format,
            "max_new_tokens": max_new_tokens,
            "device": device,
            "dtype": dtype,
        },
    )
    server = _server(
        endpoint,
        translator,
        {"key_variable": api_key_env, "timeout": timeout, "concurrency": fetch_workers},
    )
    _refuse_mixed(server, model, back_model, settings, how)

    there, back = _opened(server, model, back_model, settings, how)
    report = translate_corpus(
        corpus, out=out, translator=there, back=back, settings=settings, cache=cache
    )
    emit(asdict(report) | {"path": report.path.as_posix()}, as_json=as_json, text=_words(report))


def _settings(
    source: str, target: str, overrides: list[str], *, round_trip: bool
) -> TranslateSettings:
    """Languages and checks, refused before anything is opened."""
    from minna.label import TranslateSettings
    from minna.settings import checked, with_overrides

    options = {"source": source, "target": target, "round_trip": "on" if round_trip else "off"}
    example = 'checks.ratio=[0.2,2] checks.off=["numbers"]'
    settings = checked(
        TranslateSettings,
        with_overrides(options, overrides, example=example),
        remedy="minna label translate --help",
    )
    _ = settings.direction  # a language that is not known is an error here
    return settings


def _server(url: str | None, name: str | None, http: dict[str, Any]) -> Server | None:
    """The server that is meant.

    Raises:
        UsageError: half of it is missing, or what belongs to one is given without it.
    """
    from minna.errors import UsageError
    from minna.label import Server
    from minna.runtime.http import HttpSettings

    if url is not None and name is not None:
        return Server(url=url, model=name, http=HttpSettings(**http))
    if url is not None:
        raise UsageError(
            f"{url} may serve several models", remedy="name one of them: --translator NAME"
        )
    usual = HttpSettings()
    if name is not None or any(value != getattr(usual, key) for key, value in http.items()):
        raise UsageError(
            "--translator, --api-key-env, --timeout and --fetch-workers belong to a server",
            remedy="give its URL: --endpoint URL",
        )
    return None


def _refuse_mixed(
    server: Server | None,
    model: Path | None,
    back_model: Path | None,
    settings: TranslateSettings,
    how: TranslatorSettings,
) -> None:
    """One translator, and no option that it does not read.

    Raises:
        UsageError: none or two, or such an option.
    """
    from minna.errors import UsageError

    if (server is None) == (model is None):
        raise UsageError(
            f"one translator is needed, and {'none' if server is None else 'two'} was named",
            remedy="give --endpoint URL --translator NAME, or --model DIR",
        )
    if server is not None and (back_model or how.device != "auto" or how.dtype != "auto"):
        raise UsageError(
            "--back-model, --device and --dtype belong to a model dir, and a server was named",
            remedy="leave them out",
        )
    if back_model is not None and settings.round_trip == "off":
        raise UsageError(
            "--back-model is for the way back, and none was asked for", remedy="add --round-trip"
        )


def _opened(
    server: Server | None,
    model: Path | None,
    back_model: Path | None,
    settings: TranslateSettings,
    how: TranslatorSettings,
) -> tuple[Translator, Translator | None]:
    """Who translates, and who translates back."""
    from minna.label import open_back, open_model, open_server

    way, back = settings.direction, settings.direction.back
    if server is not None:
        there = open_server(server, direction=way, settings=how)
        again = open_server(server, direction=back, settings=how)
    else:
        assert model is not None
        there = open_model(model, direction=way, settings=how)
        if settings.round_trip == "off":
            return there, None
        if back_model is None:
            again = open_back(model, direction=back, settings=how)
        else:
            again = open_model(back_model, direction=back, settings=how)
    return there, again if settings.round_trip == "on" else None


def _words(report: TranslateReport) -> str:
    from minna.units import format_seconds

    first = {
        "made": f"made {report.path} in {format_seconds(report.wall_seconds)}",
        "unchanged": f"{report.path} is already there, from the same corpus, translator and "
        "settings: nothing was asked",
    }[report.state]
    dropped = ", ".join(f"{reason} {number}" for reason, number in report.dropped.items())
    lines = [
        first,
        f"  {report.unit} {report.kept} of {report.read} kept",
        f"  dropped   {dropped or 'none'}",
        f"  texts     {report.texts}, {report.asked} asked, {report.failed} without a translation",
    ]
    return "\n".join(lines)
