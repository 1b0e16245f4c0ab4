"""`card.md`, `card.html` and `dropped.json`: a corpus in words, for the person who answers for it.

Licence, legal basis and quality are three questions and get three sections: a licence that allows
copying says nothing about personal data, and Article 30-4 says nothing about attribution. Both
formats and both languages are told from one list of sections, and no date stands in them, so the
same build writes the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from minna.artifact import Licence, replace_file
from minna.corpus.card_blocks import (
    LANGUAGES,
    Section,
    as_html,
    as_markdown,
    cut,
    is_number,
    markdown,
    quoted,
    shown,
)
from minna.corpus.card_facts import facts_of
from minna.corpus.card_sections import accounting, sections
from minna.corpus.card_words import LEGAL_NOTES, LEGAL_NOTES_JA
from minna.corpus.settings import BuildSettings
from minna.corpus.statistics import Statistics

__all__ = ["LEGAL_NOTES", "LEGAL_NOTES_JA", "accounting", "write_card", "write_dropped"]


def write_dropped(directory: Path, statistics: Statistics) -> None:
    """Write dropped.json: reason -> count and the first examples."""
    content = {
        reason: {"count": count, "examples": statistics.examples.get(reason, [])}
        for reason, count in sorted(statistics.dropped.items())
    }
    with replace_file(directory / "dropped.json") as file:
        text = json.dumps(content, ensure_ascii=False, indent=1) + "\n"
        # a lone surrogate (of a file name, say) becomes \udcff, which is how JSON spells it
        file.write(text.encode("utf-8", "backslashreplace"))


def write_card(
    directory: Path,
    statistics: Statistics,
    *,
    name: str,
    licences: Sequence[Licence],
    settings: BuildSettings,
) -> None:
    """Write card.md and card.html, each in Japanese and in English.

    Args:
        directory: of the corpus.
        statistics: what the build counted.
        name: of the source.
        licences: terms and credits of the source.
        settings: what it was built with.

    Raises:
        AssertionError: the counts do not account for every document.
    """
    told = sections(facts_of(statistics, name=name, licences=licences, settings=settings))
    for file_name, text in (("card.md", _markdown(name, told)), ("card.html", _html(name, told))):
        with replace_file(directory / file_name) as file:
            file.write(text.encode())


def _markdown(name: str, told: Sequence[Section]) -> str:
    text = _render("corpus_card.md", name, told)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _html(name: str, told: Sequence[Section]) -> str:
    return _render("corpus_card.html", name, told)


def _render(template: str, name: str, told: Sequence[Section]) -> str:
    environment = Environment(
        loader=PackageLoader("minna.corpus"),
        autoescape=template.endswith(".html"),  # values in Markdown pass `cell`, `text` or `quoted`
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: dict[str, Any] = {
        "cell": as_html if template.endswith(".html") else as_markdown,
        "text": markdown,
        "quoted": quoted,
        "shown": shown,
        "cut": cut,
        "is_number": is_number,
    }
    environment.filters.update(filters)
    return environment.get_template(template).render(
        name=name, sections=told, languages=LANGUAGES, titles=_TITLES
    )


_TITLES = {"ja": "コーパスカード：", "en": "Corpus card: "}
