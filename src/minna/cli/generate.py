"""`minna generate MODEL PROMPT...`: let a model go on from prompts."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit
from minna.errors import DataError

if TYPE_CHECKING:
    from minna.runtime.generate import GenerateSettings
    from minna.runtime.load import LoadedModel
    from minna.runtime.request import Result


_CANDIDATES = 5  # words shown for a [MASK], unless --top-k says otherwise


def generate(
    model: Annotated[Path, typer.Argument(help="A model dir, as transformers loads it.")],
    prompts: Annotated[
        list[str], typer.Argument(metavar="PROMPT...", help='"-" reads one a line from stdin.')
    ],
    *,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="At most so many tokens (default: 128, or what fits).")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="0 takes the most likely (default: the model's setting).")
    ] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Keep the most likely tokens up to this probability.")
    ] = None,
    top_k: Annotated[int | None, typer.Option(help="Keep the k most likely tokens.")] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1: tokens already there become less likely.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answer.")] = 0,
    samples: Annotated[int, typer.Option(help="Answers per prompt.")] = 1,
    dtype: Annotated[str, typer.Option(help="auto, fp32, bf16, fp16, int8 or int4.")] = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: torch's).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let MODEL go on from each PROMPT; a masked model (RoBERTa) fills each [MASK] instead.

    Example: minna generate build/quickstart/model 吾輩は猫である。 --max-new-tokens 64
    """
    texts = list(_prompts(prompts))

    import torch

    from minna.runtime.fill import is_masked
    from minna.runtime.generate import GenerateSettings, default_sampling
    from minna.runtime.load import check_dtype, load_model

    if threads is not None:
        torch.set_num_threads(threads)
    if is_masked(model):
        _fill(model, texts, top=top_k or _CANDIDATES, as_json=as_json)
        return
    loaded = load_model(model, dtype=check_dtype(dtype))
    sampling = default_sampling(
        loaded,
        seed=seed,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        repetition_penalty=repetition_penalty,
    )
    settings = GenerateSettings(max_new_tokens=max_new_tokens, sampling=sampling, samples=samples)
    _go_on(loaded, texts, settings, as_json=as_json)


def _go_on(
    model: LoadedModel, prompts: list[str], settings: GenerateSettings, *, as_json: bool
) -> None:
    """Print what follows the prompts; a single answer for people as it comes."""
    from minna.runtime.generate import generate as run

    try:
        if len(prompts) == 1 and settings.samples == 1 and not as_json:
            _stream(model, prompts[0], settings)
        else:
            _print(prompts, run(model, prompts, settings=settings), as_json=as_json)
        sys.stdout.flush()
    except BrokenPipeError:
        # the reader (head, less) has seen enough; nothing may be flushed into its pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fill(model: Path, prompts: list[str], *, top: int, as_json: bool) -> None:
    """Print what a masked model would put for each [MASK], best first."""
    from minna.runtime.fill import fill, load_masked

    encoder, words = load_masked(model)
    found = fill(encoder, words, prompts, top=top)
    lines: list[str] = []
    for one in found:
        lines.append(one.text)
        lines += ["  ".join(f"{w.text} {w.probability:.3f}" for w in place) for place in one.places]
    emit({"answers": [asdict(one) for one in found]}, as_json=as_json, text="\n".join(lines))


def _prompts(given: Iterable[str]) -> Iterable[str]:
    for prompt in given:
        if prompt != "-":
            yield prompt
            continue
        try:
            for line in sys.stdin.buffer:
                yield line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(f"stdin is not UTF-8: {error}", remedy="convert it first") from error


def _stream(model: LoadedModel, prompt: str, settings: GenerateSettings) -> None:
    from minna.runtime.generate import stream_text

    typer.echo(prompt, nl=False)
    for piece in stream_text(model, prompt, settings=settings):
        typer.echo(piece, nl=False)
    typer.echo()


def _print(prompts: list[str], results: list[Result], *, as_json: bool) -> None:
    answers = [
        {
            "prompt": prompts[result.request],
            "sample": result.sample,
            "text": result.text,
            "tokens": len(result.ids),
            "finish": result.finish,
            "logprob": sum(result.raw_logprobs),
            "seconds": round(result.timings.total, 4),
        }
        for result in results
    ]
    text = "\n".join(f"{answer['prompt']}{answer['text']}" for answer in answers)
    emit({"answers": answers}, as_json=as_json, text=text)
