"""`minna requests TASK`: what a model would be asked, written down without any model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from minna.cli.output import JsonOption, emit


def requests(
    task: Annotated[str, typer.Argument(help="A task, such as mgsm, or your own TOML file.")],
    *,
    tokenizer: Annotated[
        Path,
        typer.Option(help="A Hugging Face folder, or one that holds a SentencePiece .model."),
    ],
    max_length: Annotated[int, typer.Option(min=2, help="Tokens the model reads.")],
    out: Annotated[Path, typer.Option(help="The directory to write.")],
    data: Annotated[
        Path | None, typer.Option(help="The folder with the data set; else the Hub is asked.")
    ] = None,
    task_version: Annotated[
        str | None, typer.Option(help="Version of the task, such as 1.0.")
    ] = None,
    prompt_version: Annotated[
        str | None,
        typer.Option("--prompt-version", "--prompt", help="Version of the prompt, such as 0.4."),
    ] = None,
    num_fewshot: Annotated[
        int | None, typer.Option(help="Examples in front of each question.")
    ] = None,
    mode: Annotated[
        Literal["compat", "fixed"],
        typer.Option(help="compat: as the paper's harness asks. fixed: one set of examples."),
    ] = "compat",
    limit: Annotated[int | None, typer.Option(help="At most this many documents.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the exact requests of TASK as JSON lines, without running a model.

    Example: minna requests mgsm --num-fewshot 4 --prompt-version 0.4 --data data/mgsm
    --tokenizer build/model --max-length 2048 --out build/requests
    """
    from minna import artifact
    from minna.evaluate.readers import read_data
    from minna.evaluate.requests import build_requests, write_requests
    from minna.evaluate.task import choose
    from minna.tokenizer.coder import load_coder

    chosen = choose(task, version=task_version, prompt=prompt_version)
    coder = load_coder(tokenizer)
    splits = read_data(chosen, data=data)
    shots = chosen.task.shots if num_fewshot is None else num_fewshot
    settings: dict[str, Any] = {
        "task": chosen.name,
        "mode": mode,
        "shots": shots,
        "limit": limit,
        "max_length": max_length,
        "task_sha256": chosen.sha256(),
        "data_sha256": splits.sha256,
        "tokenizer_sha256": coder.sha256,
    }
    key = artifact.key_of("requests", settings=settings, parents=[])
    done = artifact.unchanged(out, key=key)
    if not done:
        _, asked = build_requests(
            chosen,
            splits,
            mode=mode,
            shots=shots,
            limit=limit,
            coder=coder,
            max_length=max_length,
        )
        with artifact.writing(out, kind="requests", settings=settings) as draft:
            write_requests(draft.path / "requests.jsonl", asked)
            draft.count("requests", len(asked), "requests")
            draft.count("shots", sum(request.shots for request in asked), "examples")
            draft.licences.append(
                artifact.Licence(
                    source=chosen.task.source.title,
                    licence=chosen.task.source.licence,
                    url=chosen.task.source.url,
                )
            )
    manifest = artifact.read_manifest(out, kind="requests")
    count, held = (int(manifest.counts[name].value) for name in ("requests", "shots"))
    emit(
        manifest.model_dump(mode="json") | {"path": out.as_posix()},
        as_json=as_json,
        text=f"{out}: {count} requests of {chosen.name}, {mode}, {held / count:.2f} examples each"
        + (", unchanged" if done else ""),
    )
