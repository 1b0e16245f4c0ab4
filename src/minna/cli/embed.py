"""`minna embed MODEL ...`: vectors of texts or pictures, and how well they say what is alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.evaluate.similarity import Likened
    from minna.runtime.two_towers import TwoTowers
    from minna.runtime.vector_files import Batch

_LINES = 2048
_SHOWN = 20


def embed(
    model: Annotated[Path, typer.Argument(help="A model dir: text embedder, CLIP, CLOOB, SigLIP.")],
    texts: Annotated[list[str] | None, typer.Argument(help="Texts.")] = None,
    *,
    file: Annotated[Path | None, typer.Option(help="A text a line, UTF-8.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="A folder of pictures, a tar, or a pair corpus.")
    ] = None,
    sts: Annotated[
        Path | None,
        typer.Option(help="Sentence pairs with people's scores (JSTS): measure instead."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where vectors go: .npy, .parquet or .jsonl.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Turn texts or pictures into vectors of length one; their products say what is alike.

    Example: minna embed build/embedder 犬が走る 子犬が駆ける 株価が下がる
    """
    from minna.cli.classify import open_model

    _check(texts, file, pictures, sts, out)
    if sts is not None:
        from minna.evaluate.similarity import read_likened

        pairs = read_likened(sts)
        _measure(open_model(model, device), pairs, sts, as_json=as_json)
        return
    if out is None:
        assert texts is not None
        _show(open_model(model, device), texts, as_json=as_json)
        return
    from minna.runtime.vector_files import check_kind, write_vectors

    check_kind(out)
    towers = open_model(model, device)
    batches, what = _batches(towers, texts, file, pictures)
    count = write_vectors(out, batches, width=towers.width, what=what)
    result = {"path": out.as_posix(), "rows": count, "width": towers.width, "model": towers.name}
    emit(result, as_json=as_json, text=f"{out}: {count:,} vectors of {towers.width} numbers")


def _check(
    texts: list[str] | None,
    file: Path | None,
    pictures: Path | None,
    sts: Path | None,
    out: Path | None,
) -> None:
    from minna.errors import UsageError

    given = {"texts": texts or None, "--file": file, "--pictures": pictures, "--sts": sts}
    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        told = " and ".join(named) or "nothing"
        raise UsageError(
            f"one thing at a time is embedded, and {told} was given",
            remedy="give texts, --file, --pictures or --sts",
        )
    if sts is not None and out is not None:
        raise UsageError("--sts measures and writes no vectors", remedy="leave --out out")
    if out is None and sts is None and (texts is None or len(texts) > _SHOWN):
        raise UsageError("the vectors need a place", remedy="add --out vectors.npy")
    if texts is not None and not all(text.strip() for text in texts):
        raise UsageError("an empty text has no meaning to embed", remedy="leave it out")


def _batches(
    towers: TwoTowers, texts: list[str] | None, file: Path | None, pictures: Path | None
) -> tuple[Iterator[Batch], str]:
    """Vectors as they are made, and what they are of."""
    if pictures is not None:
        return _of_pictures(towers, pictures), "path"
    lines = _lines_of(file) if file is not None else iter(texts or ())
    return _of_texts(towers, lines), "text"


def _of_texts(towers: TwoTowers, lines: Iterator[str]) -> Iterator[Batch]:
    import itertools

    from minna.runtime.zero_shot import unit_rows

    while batch := list(itertools.islice(lines, _LINES)):
        yield batch, unit_rows(towers.texts(batch))


def _lines_of(file: Path) -> Iterator[str]:
    """The lines of a file that hold anything; the others are counted."""
    from minna.console import warn
    from minna.errors import DataError, UsageError

    empty = found = 0
    try:
        with file.open(encoding="utf-8-sig", newline="\n") as lines:
            for line in lines:
                text = line.rstrip("\r\n")
                if text.strip():
                    found += 1
                    yield text
                else:
                    empty += 1
    except FileNotFoundError as error:
        raise UsageError(f"{file} does not exist", remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text: {error}") from error
    if not found:
        raise DataError(f"{file} has no line with a text", remedy="write a text a line")
    if empty:
        warn(f"{empty} empty lines of {file} are left out: rows are not line numbers")


def _of_pictures(towers: TwoTowers, pictures: Path) -> Iterator[Batch]:
    from minna.console import progress
    from minna.errors import DataError
    from minna.runtime.picture_batches import refuse_all_bad, seen, tell_bad
    from minna.runtime.places import open_place

    place = open_place(pictures)
    paths = [entry.path for entry in place.entries()]
    if not paths:
        raise DataError(f"there is no picture in {pictures}", remedy="give the folder they lie in")
    bad: dict[str, str] = {}
    found = 0
    with progress() as bar:
        task = bar.add_task("pictures", total=len(paths), note="")
        for batch, vectors in seen(towers, place.read(paths), bad=bad):
            found += len(batch)
            bar.update(task, completed=found + len(bad))
            yield [content.path for content in batch], vectors
    if not found:
        refuse_all_bad(bad, where=place.name)
    tell_bad(bad, among=len(paths))


def _show(towers: TwoTowers, texts: list[str], *, as_json: bool) -> None:
    """Cosines of a few texts, without a file."""
    from minna.runtime.zero_shot import unit_rows

    vectors = unit_rows(towers.texts(texts))
    cosines = [[round(float(one), 4) for one in row] for row in vectors @ vectors.T]
    rows = [
        f"{'  '.join(f'{value:6.3f}' for value in row)}  {text}"
        for row, text in zip(cosines, texts, strict=True)
    ]
    result = {"model": towers.name, "texts": texts, "cosines": cosines}
    emit(result, as_json=as_json, text="\n".join(rows))


def _measure(towers: TwoTowers, pairs: list[Likened], sts: Path, *, as_json: bool) -> None:
    from dataclasses import asdict

    from minna.evaluate.similarity import measure_similarity

    found = measure_similarity(towers, pairs)
    lines = [f"{sts}: {found.pairs:,} pairs of {found.sentences:,} sentences, {towers.name}"]
    lines += [
        f"  {name:<9} {one.value:.4f}  [{one.low:.4f}, {one.high:.4f}]"
        for name, one in (("Spearman", found.spearman), ("Pearson", found.pearson))
    ]
    result = asdict(found) | {"model": towers.name, "path": sts.as_posix()}
    emit(result, as_json=as_json, text="\n".join(lines))
