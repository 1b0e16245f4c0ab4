"""`minna search DIR QUERY...`: pictures found by Japanese text, or by a picture."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.runtime.search_page import Found


def search(
    place: Annotated[Path, typer.Argument(help="A folder of pictures, a tar, or a pair corpus.")],
    queries: Annotated[
        list[str], typer.Argument(metavar="QUERY...", help="What to look for: words, or a picture.")
    ],
    *,
    model: Annotated[Path, typer.Option(help="A model dir of pictures and words.")],
    index: Annotated[
        Path | None, typer.Option(help="Folder of the index (default: in MINNA_CACHE).")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="Pictures shown for each question.")] = 20,
    html: Annotated[
        Path | None, typer.Option(help="Write a page with the pictures into this file.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the pictures nearest to a Japanese text, or to another picture.

    The pictures are looked at once; afterwards only new and changed ones are.

    Example: minna search ~/Pictures 夕日の写真 --model build/clip --html found.html
    """
    from minna.cli.classify import open_model
    from minna.runtime.picture_index import update_index
    from minna.runtime.places import open_place
    from minna.runtime.search import ask
    from minna.runtime.search import search as look_up
    from minna.runtime.search_page import Found, write_search_page

    opened = open_place(place)
    towers = open_model(model, device)
    questions = [ask(towers, query) for query in queries]
    found_in = update_index(opened, towers, folder=index)
    found = [
        Found(question=question, hits=look_up(found_in, question.vector, top=top))
        for question in questions
    ]
    pictures = len(found_in.rows)
    if html is not None:
        write_search_page(html, found, place=opened, model=towers.name, pictures=pictures)
    result: dict[str, Any] = {
        "model": towers.name,
        "index": found_in.folder.as_posix(),
        "pictures": pictures,
        "added": found_in.added,
        "removed": found_in.removed,
        "bad": len(found_in.bad),
        "new_bad": [{"path": p, "problem": why} for p, why in found_in.new_bad.items()],
        "queries": [
            {"query": one.question.text, "hits": [asdict(hit) for hit in one.hits]} for one in found
        ],
    }
    if html is not None:
        result["html"] = html.as_posix()
    emit(result, as_json=as_json, text="\n".join(_lines(result, found)))


def _lines(result: dict[str, Any], found: list[Found]) -> list[str]:
    """What was found, for people."""
    changes = [f"{result[name]} {name}" for name in ("added", "removed") if result[name]]
    changes += [f"{result['bad']} that do not open"] if result["bad"] else []
    lines = [f"{result['pictures']:,} pictures{'; ' if changes else ''}{', '.join(changes)}"]
    for one in found:
        lines += ["", one.question.text]
        lines += [
            f"  {hit.score:6.3f}  {hit.path}{f'  {hit.title}' if hit.title else ''}"
            for hit in one.hits
        ]
    if "html" in result:
        lines += ["", f"look at {result['html']}"]
    return lines
