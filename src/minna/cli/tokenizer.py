"""`minna tokenizer train` and `minna tokenizer audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from minna.cli.output import JsonOption, emit

app = typer.Typer(
    help="Learn a vocabulary from a corpus; measure one on a text.", no_args_is_help=True
)


@app.command("train")
def train(
    corpus: Annotated[Path, typer.Argument(help="A corpus directory.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="The tokenizer directory to write.")],
    vocab_size: Annotated[
        str, typer.Option(help="Number of pieces, such as 4096 or 32k.")
    ] = "8192",
    kind: Annotated[Literal["bpe", "unigram"], typer.Option(help="The algorithm.")] = "bpe",
    style: Annotated[
        Literal["minna", "rinna"],
        typer.Option(
            help="minna: identity, byte fallback, no space in front. rinna: as in 2021, NFKC "
            "inside, a space in front, unknown characters lost."
        ),
    ] = "minna",
    sample_bytes: Annotated[str, typer.Option(help="Bytes of text to learn from.")] = "32M",
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a SentencePiece tokenizer on the split "train" of CORPUS, with its Hugging Face folder.

    Example: minna tokenizer train build/corpus --vocab-size 8k --out build/tokenizer
    """
    import dataclasses

    from pydantic import TypeAdapter, ValidationError

    from minna import artifact
    from minna.errors import UsageError
    from minna.tokenizer.train import RINNA_SETTINGS, TokenizerSettings, train_tokenizer
    from minna.units import parse_count

    base = RINNA_SETTINGS if style == "rinna" else TokenizerSettings()
    values = dataclasses.asdict(base) | {
        "kind": kind,
        "vocab_size": parse_count(vocab_size),
        "sample_bytes": parse_count(sample_bytes),
        "seed": seed,
    }
    try:
        settings = TypeAdapter(TokenizerSettings).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0])
        raise UsageError(
            f"{name} is {values[name]!r}: {problem['msg']}",
            remedy=f"give another --{name.replace('_', '-')}",
        ) from error
    train_tokenizer(corpus, out=out, settings=settings)
    manifest = artifact.read_manifest(out, kind="tokenizer")
    rate = manifest.counts["match_rate"].value
    emit(
        manifest.model_dump(mode="json") | {"path": out.as_posix()},
        as_json=as_json,
        text=f"{out}: {settings.kind}, {settings.vocab_size} pieces, "
        f"ids equal in tokenizer.json for {rate:.2%} of the strings tried",
    )


@app.command("audit")
def audit(
    paths: Annotated[list[Path], typer.Argument(help="Tokenizer directories, or model dirs.")],
    *,
    on: Annotated[Path, typer.Option("--on", help="The corpus whose held-out text is measured.")],
    as_json: JsonOption = False,
) -> None:
    """Compare tokenizers on the split "valid" of a corpus.

    Example: minna tokenizer audit build/bpe-4k build/bpe-8k --on build/corpus
    """
    from minna.tokenizer.audit import audit_tokenizer, held_out_texts

    split, texts = held_out_texts(on)
    audits = [audit_tokenizer(path, texts=texts) for path in paths]
    head = ("pieces", "used", "bytes/token", "chars/token", "bytes", "unknown", "back", "match")
    width = max(len(item.path) for item in audits)
    lines = [f"{'':{width}}  " + "  ".join(f"{name:>11}" for name in head)]
    for item in audits:
        match = "-" if item.match_rate is None else f"{item.match_rate:.2%}"
        cells = (
            f"{item.vocab_size}", f"{item.pieces_used}",
            f"{item.bytes_per_token:.3f}", f"{item.characters_per_token:.3f}",
            f"{item.byte_fallback_rate:.3%}", f"{item.unknown_rate:.3%}",
            f"{item.round_trip_rate:.2%}", match,
        )  # fmt: skip
        lines.append(f"{item.path:{width}}  " + "  ".join(f"{cell:>11}" for cell in cells))
    lines.append(f'{len(texts)} documents of the split "{split}" of {on}')
    result = {
        "corpus": on.as_posix(),
        "split": split,
        "documents": len(texts),
        "tokenizers": [item.as_json() for item in audits],
    }
    emit(result, as_json=as_json, text="\n".join(lines))
