"""The Markdown that the cards of pictures and of clips share: tables of counts, terms, check lists.

Those cards are short and say each thing once, in both languages side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from minna.artifact import Licence
from minna.corpus.card_blocks import Words, markdown

SPLITS: Final = ("train", "valid", "test")


def row(name: str, cells: Sequence[str]) -> str:
    """A line of a table."""
    return f"| {markdown(name).replace('|', '/')} | {' | '.join(cells)} |"


def count_table(title: str, counts: Mapping[str, int]) -> str:
    """A section with a number for each name."""
    rows = [row(name, [f"{count:,}"]) for name, count in counts.items()]
    return f"## {title}\n\n| | |\n|---|---:|\n" + ("\n".join(rows) or "| なし / none | 0 |")


def split_table(title: str, rows: Mapping[str, Sequence[str]]) -> str:
    """A section with a column for each split, and one for all of them."""
    header = "| | " + " | ".join((*SPLITS, "")) + " |\n|---|" + "---:|" * (len(SPLITS) + 1)
    return f"## {title}\n\n" + "\n".join([header, *(row(*one) for one in rows.items())])


def in_words(counts: Mapping[str, int], known: Mapping[str, Words]) -> dict[str, int]:
    """Counts by reason, the reason said in both languages."""
    return {
        f"{known[name].ja} / {known[name].en}" if name in known else name: count
        for name, count in counts.items()
    }


def terms(licences: Sequence[Licence]) -> str:
    """The section of licences."""
    told = "\n".join(map(_terms, licences)) or "- 記載なし / not stated"
    return f"## ライセンスと出典 / Licences and attribution\n\n{told}"


def _terms(item: Licence) -> str:
    credit = f". 出典 / credit: {markdown(item.attribution)}" if item.attribution else ""
    place = f" ({markdown(item.url)})" if item.url else ""
    return f"- {markdown(item.source)}: {markdown(item.licence)}{credit}{place}"


def to_confirm(legal: Sequence[str], *, japanese: Mapping[str, str]) -> str:
    """The sections of what the builder confirms.

    Args:
        legal: the notes.
        japanese: note -> the same in Japanese.
    """
    ours = "\n".join(f"- [ ] {japanese[note]}" for note in legal if note in japanese)
    english = "\n".join(f"- [ ] {markdown(note)}" for note in legal)
    sections = [
        f"## 作成者が確認する法的事項\n\n{ours}" if ours else "",
        f"## Legal notes the builder confirms\n\n{english or '- none'}",
    ]
    return "\n\n".join(filter(None, sections))
