"""`minna tokenizer train` and `minna tokenizer audit`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.tokenizer.settings import TokenizerSettings

app = typer.Typer(
    help="Learn a vocabulary from a corpus; measure one on a text.", no_args_is_help=True
)


@app.command("train")
def train(
    corpus: Annotated[Path, typer.Argument(help="A corpus directory.")],
    *,
    out: Annotated[Path, typer.Option("--out", help="The tokenizer directory to write.")],
    preset: Annotated[
        str,
        typer.Option(
            help="minna: BPE, identity, byte fallback, no space in front. rinna: as in 2021, NFKC "
            "inside, a space in front, unknown characters lost. rinna-3.6b, rinna-bilingual: as in "
            "2023, see docs/tokenizers.md. The options below change a preset."
        ),
    ] = "minna",
    vocab_size: Annotated[
        str | None, typer.Option(help="Number of pieces, such as 4096 or 32k (minna: 8192).")
    ] = None,
    kind: Annotated[
        Literal["bpe", "unigram"] | None, typer.Option(help="The algorithm (minna: bpe).")
    ] = None,
    coverage: Annotated[
        float | None, typer.Option(help="Share of characters with a piece of their own (0.9995).")
    ] = None,
    language: Annotated[
        list[str] | None,
        typer.Option(help="Share of a language in the sample, such as ja=0.5; once for each."),
    ] = None,
    sample_bytes: Annotated[str, typer.Option(help="Bytes of text to learn from.")] = "32M",
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Train a SentencePiece tokenizer on the split "train" of CORPUS, with its Hugging Face folder.

    Example: minna tokenizer train build/corpus --vocab-size 8k --out build/tokenizer
    """
    from minna import artifact
    from minna.tokenizer.train import train_tokenizer
    from minna.units import parse_count

    changes: dict[str, Any] = {
        "kind": kind,
        "vocab_size": None if vocab_size is None else parse_count(vocab_size),
        "character_coverage": coverage,
        "languages": _shares(language) if language else None,
        "sample_bytes": parse_count(sample_bytes),
        "seed": seed,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    settings = _settings(preset, given)
    train_tokenizer(corpus, out=out, settings=settings)
    manifest = artifact.read_manifest(out, kind="tokenizer")
    rate = manifest.counts["match_rate"].value
    emit(
        manifest.model_dump(mode="json") | {"path": out.as_posix()},
        as_json=as_json,
        text=f"{out}: {settings.kind}, {settings.vocab_size} pieces, "
        f"ids equal in tokenizer.json for {rate:.2%} of the strings tried",
    )


def _settings(preset: str, changes: dict[str, Any]) -> TokenizerSettings:
    import dataclasses

    from pydantic import TypeAdapter, ValidationError

    from minna.errors import UsageError, nearest
    from minna.tokenizer.settings import PRESETS, TokenizerSettings

    if preset not in PRESETS:
        raise UsageError(
            f"{preset!r} is not a preset (known: {', '.join(PRESETS)}){nearest(preset, PRESETS)}",
            remedy="name one of these",
        )
    values = dataclasses.asdict(PRESETS[preset]) | changes
    try:
        return TypeAdapter(TokenizerSettings).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        name = str(problem["loc"][0]) if problem["loc"] else "settings"
        value = f" is {values[name]!r}" if name in values else ""
        raise UsageError(
            f"{name}{value}: {problem['msg'].removeprefix('Value error, ')}",
            remedy="see minna tokenizer train --help",
        ) from error


def _shares(words: list[str]) -> dict[str, float]:
    from minna.errors import UsageError

    shares: dict[str, float] = {}
    for word in words:
        name, _, share = word.partition("=")
        try:
            shares[name] = float(share)
        except ValueError as error:
            raise UsageError(
                f"--language must be a name and a share, not {word!r}",
                remedy="write for example --language ja=0.5 --language en=0.5",
            ) from error
    return shares


@app.command("audit")
def audit(
    paths: Annotated[
        list[Path], typer.Argument(help="Tokenizer directories, model dirs, or .model files.")
    ],
    *,
    on: Annotated[
        list[Path], typer.Option("--on", help="A corpus whose held-out text is measured.")
    ],
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the tables as Markdown.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Compare tokenizers on the split "valid" of one corpus or several.

    Example: minna tokenizer audit build/bpe-4k build/bpe-8k --on build/corpus
    """
    from minna.tokenizer.audit import audit_tokenizer, held_out
    from minna.tokenizer.tables import render

    held = {corpus.as_posix(): held_out(corpus) for corpus in on}
    documents = [document for _, part in held.values() for document in part]
    audits = [audit_tokenizer(path, documents=documents) for path in paths]
    notes = [
        f'{len(part)} documents of the split "{split}" of {corpus}'
        for corpus, (split, part) in held.items()
    ]
    result = {
        "corpora": [
            {"corpus": corpus, "split": split, "documents": len(part)}
            for corpus, (split, part) in held.items()
        ],
        "tokenizers": [item.as_json() for item in audits],
    }
    text = render(audits, style="markdown" if markdown else "plain")
    emit(result, as_json=as_json, text="\n".join([text, *notes]))
