"""Pictures written again with other captions: translated ones, or generated ones beside their own.

The pictures themselves, their ids, groups and splits stay as they are, byte for byte.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from minna.artifact import Draft
from minna.artifact.files import write_text_atomically
from minna.corpus.pair_card import CardFacts, card
from minna.corpus.pair_measure import settled
from minna.corpus.pair_rows import PAIR_COLUMNS, Caption, PairRow, Tally, write_rows
from minna.corpus.sidecar_rows import JoinedRows
from minna.errors import DataError

GENERATED: Final = "caption"
"""`label` of side-cars of captions that a model made."""
_SPLITS: Final = ("train", "valid", "test")


def write_pictures(draft: Draft, joined: JoinedRows, *, settings: Mapping[str, Any]) -> None:
    """Write the rows that a side-car makes of its corpus into a draft, with counts and card.

    Args:
        draft: of the corpus.
        joined: the corpus beside its side-car.
        settings: of the join: `label`, and the `weight` of generated captions.

    Raises:
        DataError: no row is kept.
    """
    if settings["label"] == GENERATED:
        rows = _with_generated(joined, weight=float(settings["weight"]))
    else:
        rows = _translated(joined)
    groups: set[str] = set()
    tally = write_rows(counted(rows, groups), data=draft.path / "data")
    finish(draft, tally, name="join", read=joined.read, groups=len(groups), dropped=joined.dropped)


def _translated(joined: JoinedRows) -> Iterator[PairRow]:
    """The rows that are kept, each with those of its captions that have a translation."""
    for row, label in joined.rows(PAIR_COLUMNS, ("captions",)):
        captions = settled(
            Caption(one["text"], _translated_kind(own["kind"]), own["weight"])
            for own, one in zip(row["captions"], label["captions"], strict=True)
            if not one["reason"]
        )
        if captions:
            yield written_with(row, captions)
        else:
            joined.dropped["empty"] += 1  # nothing but spaces was left of it


def _translated_kind(kind: str) -> str:
    """What a caption is when it is translated: a name stays a name, a generated one generated."""
    return "translation" if kind == "caption" else kind


def _with_generated(joined: JoinedRows, *, weight: float) -> Iterator[PairRow]:
    """All rows, with what a model said of their pictures behind what was there."""
    for row, label in joined.every(PAIR_COLUMNS, ("captions",)):
        own = [Caption(**caption) for caption in row["captions"]]
        more = [Caption(text, "generated", weight) for text in label["captions"]]
        yield written_with(row, settled([*own, *more]))


def written_with(row: dict[str, Any], captions: tuple[Caption, ...]) -> PairRow:
    """A row of a corpus with these captions."""
    row["captions"] = captions
    return PairRow(**row)


def counted(rows: Iterable[PairRow], groups: set[str]) -> Iterator[PairRow]:
    """The rows, while their groups are gathered."""
    for row in rows:
        groups.add(row.group)
        yield row


def finish(
    draft: Draft,
    tally: Tally,
    *,
    name: str,
    read: int,
    groups: int,
    dropped: Counter[str],
    more: str = "",
) -> None:
    """Put counts and the card beside rows that were made of another corpus.

    Args:
        draft: its licences and legal notes are set.
        tally: what was written.
        name: of what was done, for the card.
        read: rows of the other corpus.
        groups: of those written.
        dropped: reason -> rows.
        more: a section that the card ends with.

    Raises:
        DataError: nothing was written.
    """
    told = ", ".join(f"{reason}: {number}" for reason, number in dropped.most_common())
    if not tally.kept:
        raise DataError(
            f"none of {read} pictures is kept ({told or 'the corpus is empty'})",
            remedy="look at the rows of the side-car, and at what was asked for",
        )
    numbers = {
        "read": (read, "pictures"),
        "pairs": (tally.kept, "pictures"),
        "captions": (tally.captions, "captions"),
        "groups": (groups, "groups"),
        "image_bytes": (tally.image_bytes, "bytes"),
        "text_bytes": (tally.text_bytes, "bytes"),
        "characters": (tally.characters, "characters"),
        **{split: (tally.splits[split], "pictures") for split in _SPLITS},
        **{f"source_{source}": (count, "pictures") for source, count in tally.sources.items()},
        **{f"dropped_{reason}": (count, "pictures") for reason, count in dropped.most_common()},
    }
    for key, (value, unit) in numbers.items():
        draft.count(key, value, unit)
    facts = CardFacts(
        name=name,
        read=read,
        groups=groups,
        near=0,
        tally=tally,
        dropped=dict(dropped.most_common()),
        licences=draft.licences,
        legal=draft.legal,
    )
    write_text_atomically(draft.path / "card.md", card(facts) + more)
