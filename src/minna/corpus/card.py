"""`card.md` and `dropped.json`: what a corpus is, in words, for the person who must answer for it.

Licence, legal basis and quality are three questions and get three sections: a licence that allows
copying says nothing about personal data, and Article 30-4 says nothing about attribution.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Final

from minna.artifact import replace_file
from minna.corpus import japanese
from minna.corpus.filters import FILTERS
from minna.corpus.journal import Journal
from minna.corpus.settings import BuildSettings
from minna.units import format_bytes

if TYPE_CHECKING:
    from minna.corpus.sources import Source

LEGAL_NOTES: Final = (
    (
        "Legal basis of training: in Japan, Article 30-4 of the Copyright Act permits using works "
        "for information analysis, to the extent necessary and not for enjoying what they express; "
        "its proviso excludes uses that unreasonably prejudice the copyright owner's interests "
        "(for example copying a database that is sold for such analysis). The builder confirms "
        "that this holds here; other countries have other law."
    ),
    (
        "Personal data: sources may name living people. The builder confirms that the use agrees "
        "with the Act on the Protection of Personal Information (or the law that applies)."
    ),
    (
        "Opt-outs: the builder confirms that reservations of rights known for the sources "
        "(robots.txt, terms of use, requests to be removed) were respected."
    ),
)
_DUPLICATE_REASON: Final = "the same text, after normalisation, came before"


def write_dropped(directory: Path, journal: Journal) -> None:
    """Write dropped.json: reason -> count and the first examples."""
    content = {
        reason: {"count": count, "examples": journal.examples.get(reason, [])}
        for reason, count in sorted(journal.dropped.items())
    }
    with replace_file(directory / "dropped.json") as file:
        file.write((json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())


def write_card(
    directory: Path, journal: Journal, *, source: Source, settings: BuildSettings
) -> None:
    """Write card.md."""
    sections = [
        f"# Corpus of Japanese text: {source.name}",
        _what(journal, source),
        "## Licences and attribution\n\n" + _licences(source),
        "## Splits\n\n" + _splits(journal, settings),
        "## Normalisation\n\n" + "\n".join(f"- {rule}" for rule in japanese.RULES),
        "## Filters and de-duplication\n\n" + _filters(journal, settings),
        "## Legal notes the builder confirms\n\n" + "\n".join(f"- {n}" for n in LEGAL_NOTES),
    ]
    with replace_file(directory / "card.md") as file:
        file.write(("\n\n".join(sections) + "\n").encode())


def _what(journal: Journal, source: Source) -> str:
    size = format_bytes(journal.text_bytes)
    return (
        f"{journal.kept:,} documents, {journal.characters:,} characters, {size} of UTF-8, kept of "
        f"{journal.read:,} documents read from `{source.name}`. Order is that of the source; "
        "near-duplicates across groups are not searched for."
    )


def _licences(source: Source) -> str:
    return "\n".join(
        f"- {item.source}: {item.licence}"
        + (f". Credit: {item.attribution}" if item.attribution else "")
        + (f" ({item.url})" if item.url else "")
        for item in source.licences
    )


def _splits(journal: Journal, settings: BuildSettings) -> str:
    rows = [f"| {name} | {journal.splits.get(name, 0):,} |" for name in ("train", "valid", "test")]
    return (
        f"By the hash of the group (valid {settings.valid}, test {settings.test} of the groups), "
        "so that what belongs together never stands on two sides.\n\n"
        "| split | documents |\n|---|---|\n" + "\n".join(rows)
    )


def _filters(journal: Journal, settings: BuildSettings) -> str:
    rows = [
        f"| {rule.name} | {rule.setting} = {getattr(settings.filters, rule.setting)} "
        f"| {rule.reason} | {journal.dropped.get(rule.name, 0):,} |"
        for rule in FILTERS
    ]
    rows.append(
        f"| duplicate | - | {_DUPLICATE_REASON} | {journal.dropped.get('duplicate', 0):,} |"
    )
    examples = [
        f"- {reason}: " + " / ".join(f"`{text.replace('`', ' ')}`" for text in texts)
        for reason, texts in sorted(journal.examples.items())
    ]
    table = "| filter | threshold | drops a document with | dropped |\n|---|---|---|---|\n"
    return table + "\n".join(rows) + ("\n\nExamples:\n\n" + "\n".join(examples) if examples else "")
