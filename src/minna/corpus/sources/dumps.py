"""The dumps the paper's models were trained on, in the layouts people have on their disks.

Each is a layout, a licence and nothing else. Whether a dump's own word for the language is taken
differs: an edition of Wikipedia is written in one language; CC-100, mC4, RedPajama's web part and
the Pile were sorted by a classifier that was wrong often enough, so there the text decides.
"""

from __future__ import annotations

import ast
import functools
import itertools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from minna.artifact import Licence
from minna.corpus.sources.files import find_files
from minna.corpus.sources.language_codes import language_code
from minna.corpus.sources.rows import Facts, Layout, as_strings, file_shard
from minna.corpus.sources.source import Shard
from minna.corpus.sources.streams import describe_files

_EDITION = re.compile(r"(?:^|/)[0-9]{8}\.([a-z][a-z-]+)(?:/|$)")  # 20231101.ja
_WEB_TERMS = "rights stay with the authors of the pages; Common Crawl terms of use"


class Dump:
    """Files of one layout.

    Args:
        name: the word in the `source` column.
        files: name and place of each; one file is one shard.
        layout: of a file of this name, at this place.
        licence: of the whole.
    """

    def __init__(
        self,
        name: str,
        *,
        files: Sequence[tuple[str, Path]],
        layout: Callable[[Path], Layout],
        licence: Licence,
    ) -> None:
        self.name = name
        self.licences: Sequence[Licence] = (licence,)
        self._files = list(files)
        self._layout = layout

    def identity(self) -> dict[str, Any]:
        """Hash over the names and contents of the files, and what the reader was told.

        Languages that folders name are part of it, as runs in the order of the files: the same
        file is another document in another folder.
        """
        layouts = [self._layout(file) for _, file in self._files]
        runs = [
            f"{language}: {len(list(run))}"
            for language, run in itertools.groupby(layout.language for layout in layouts)
        ]
        told = {"languages": runs} if any(layout.language for layout in layouts) else {}
        return describe_files(self._files) | layouts[0].settings() | told

    def shards(self) -> Sequence[Shard]:
        """One file is one shard."""
        return [
            file_shard(name, fetch=functools.partial(Path, file), layout=self._layout(file))
            for name, file in self._files
        ]


# ---- Wikipedia


def wikipedia(path: Path, *, files: str = "") -> Dump:
    """The Hub's wikimedia/wikipedia: parquet with id, url, title, text; folders like 20231101.ja.

    The language is the folder's; that of 20231101.simple is English.
    """
    return Dump(
        "wikipedia",
        files=find_files(path, formats=("parquet",), pattern=files, what="wikipedia"),
        layout=_wikipedia_layout,
        licence=Licence(
            source="wikipedia",
            licence="CC BY-SA 3.0 and GFDL",
            attribution="Wikipedia contributors; each article's history names them (its url is in "
            "meta)",
            url="https://dumps.wikimedia.org/legal.html",
        ),
    )


def _wikipedia_layout(file: Path) -> Layout:
    found = _EDITION.search("/".join(file.absolute().parts[-3:-1]))
    return Layout(
        columns=("title", "url"),
        describe=_title_and_url,
        language=language_code(found.group(1)) if found else "",
    )


def _title_and_url(row: Mapping[str, Any]) -> Facts:
    return Facts("", as_strings(row, names=("title", "url")))


# ---- CC-100


def cc100(path: Path, *, files: str = "") -> Dump:
    """CC-100 (statmt.org): ja.txt.xz, a line a paragraph, an empty line between documents."""
    return Dump(
        "cc100",
        files=find_files(path, formats=("text",), pattern=files, what="cc100"),
        layout=_paragraphs,
        licence=Licence(
            source="cc100",
            licence=_WEB_TERMS,
            attribution="CC-100: Wenzek et al. 2020 and Conneau et al. 2020, from Common Crawl",
            url="https://data.statmt.org/cc-100/",
        ),
    )


def _paragraphs(_file: Path) -> Layout:
    return Layout(documents="blank-line")


# ---- C4


def c4(path: Path, *, files: str = "") -> Dump:
    """C4 and mC4 (allenai/c4): .json.gz of lines with text, timestamp and url."""
    return Dump(
        "c4",
        files=find_files(path, formats=("json lines",), pattern=files, what="c4"),
        layout=_web_pages,
        licence=Licence(
            source="c4",
            licence="ODC-BY 1.0",
            attribution="C4 / mC4: Raffel et al. 2020, Xue et al. 2021, Allen Institute for AI; "
            "from Common Crawl, whose terms of use hold too",
            url="https://huggingface.co/datasets/allenai/c4",
        ),
    )


def _web_pages(_file: Path) -> Layout:
    return Layout(describe=_url_and_time)


def _url_and_time(row: Mapping[str, Any]) -> Facts:
    return Facts("", as_strings(row, names=("url", "timestamp")))


# ---- the Pile


def pile(path: Path, *, files: str = "") -> Dump:
    """The Pile: .jsonl.zst of lines with text and meta.pile_set_name, which becomes `set`."""
    return Dump(
        "pile",
        files=find_files(path, formats=("json lines", "parquet"), pattern=files, what="pile"),
        layout=_pile_layout,
        licence=Licence(
            source="pile",
            licence="each of its 22 sets has its own (meta `set` names it)",
            attribution="The Pile: Gao et al. 2020, EleutherAI",
            url="https://arxiv.org/abs/2201.07311",
        ),
    )


def _pile_layout(_file: Path) -> Layout:
    return Layout(columns=("meta",), describe=_pile_set)


_PILE_ENGLISH: Final = frozenset(
    {"ArXiv", "Enron Emails", "FreeLaw", "NIH ExPorter", "PubMed Abstracts", "PubMed Central"}
    | {"USPTO Backgrounds", "Wikipedia (en)", "HackerNews"}
)
"""Sets that are English by how they were made; the rest holds code, mail or other tongues."""


def _pile_set(row: Mapping[str, Any]) -> Facts:
    name = _object(row.get("meta")).get("pile_set_name")
    if not isinstance(name, str):
        return Facts("", {})
    return Facts("en" if name in _PILE_ENGLISH else "", {"set": name})


# ---- RedPajama


def redpajama(path: Path, *, files: str = "") -> Dump:
    """RedPajama-Data-1T: lines with text and meta, an object or one written as a string.

    The subset's own `meta.language` is taken where it is one code; its code part has a list of
    programming languages there, which says nothing about the words.
    """
    return Dump(
        "redpajama",
        files=find_files(path, formats=("json lines",), pattern=files, what="redpajama"),
        layout=_redpajama_layout,
        licence=Licence(
            source="redpajama",
            licence="each of its 7 subsets has its own (meta `set`, `source` or `url` names it)",
            attribution="RedPajama-Data-1T: Together Computer 2023",
            url="https://huggingface.co/datasets/togethercomputer/RedPajama-Data-1T",
        ),
    )


def _redpajama_layout(_file: Path) -> Layout:
    return Layout(describe=_redpajama_meta)


_REDPAJAMA_KEPT = ("title", "url", "timestamp", "source", "arxiv_id", "short_book_title")


def _redpajama_meta(row: Mapping[str, Any]) -> Facts:
    meta = _object(row.get("meta")) or row  # raw Common Crawl parts have their fields in the row
    kept = as_strings(meta, names=_REDPAJAMA_KEPT)
    subset = row.get("red_pajama_subset")
    if isinstance(subset, str):
        kept["set"] = subset
    return Facts(language_code(meta.get("language")), kept)


# ---- what they share


def _object(value: object) -> dict[str, Any]:
    """A dictionary: as it is, or written as JSON or as Python in a string; {} for anything else."""
    if isinstance(value, str):
        value = _read_object(value)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _read_object(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None  # facts beside the text: the document itself is fine
