"""Your own text: a file or a folder of .txt, .jsonl or .parquet, plain or .gz, .xz, .zst.

What a document is decides what a model learns about beginnings and ends, so for plain text it is a
setting and never guessed: a file, a line, or a block between empty lines. A broken line is an error
that names it and not a counted drop: these files are yours, and you can mend them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from minna.artifact import Licence
from minna.corpus.sources.dumps import Dump
from minna.corpus.sources.files import find_files
from minna.corpus.sources.language_codes import language_code
from minna.corpus.sources.rows import Facts, Layout, as_strings

FACTS: Final = ("title", "author", "url", "date", "timestamp", "source")
"""Fields beside the text that are kept as they are in `meta`."""


def local(
    path: Path,
    *,
    documents: Literal["file", "line", "blank-line"],
    field: str,
    licence: str,
    attribution: str,
    files: str = "",
) -> Dump:
    """Text files of the user.

    Args:
        path: a file or a folder (searched to the bottom, files in the order of their names).
        documents: what one document is in plain text.
        field: name of the text field or column.
        licence: terms of the text.
        attribution: whom to credit.
        files: only those of the folder whose names match, such as "*.jsonl".

    Raises:
        DataError: nothing there that can be read.
        UsageError: a file of an unknown format.
    """
    layout = Layout(
        field=field,
        columns=(*FACTS, "language"),
        describe=facts_beside,
        documents=documents,
        bad="refuse",
    )
    return Dump(
        "local",
        files=find_files(path, formats=("text", "json lines", "parquet"), pattern=files),
        layout=lambda _file: layout,
        licence=Licence(source="local", licence=licence, attribution=attribution),
    )


def facts_beside(row: Mapping[str, Any]) -> Facts:
    """What a row of nobody's known layout says: its `language` where it is a code, and `FACTS`."""
    return Facts(language_code(row.get("language")), as_strings(row, names=FACTS))
