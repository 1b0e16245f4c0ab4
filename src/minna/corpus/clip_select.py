"""Second pass over a clip corpus: which clips are copies, and what must stay on one side.

Clips that sound the same, sample by sample, are one, whatever file each is in: the first stays.
What a source knows to belong together (pieces of one recording, what one speaker said, readings of
one text) is one group, and copies pull their groups together: a held-out clip must not have been
trained on under another name.

C clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from minna.corpus.passes.blobs import seen_columns
from minna.corpus.passes.grouping import (
    Int64,
    are_good,
    digests,
    first_of,
    group_hashes,
    joined,
    told_groups,
)
from minna.corpus.passes.select import exact_copies
from minna.corpus.passes.stage import Part

_LEVELS = (5, 50, 95)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What is decided about every clip, in the order of the source.

    Attributes:
        stays: whether it is written [C].
        names: the clip that names its group [C]: the first of all that belong together.
        told: names of groups, of those clips that name others' groups.
        dropped: reason -> clips.
        notes: note -> clips that stay.
        levels: of those that stay, in dB under full scale: the 5th, 50th and 95th percentile.
        low_rate: of those that stay, how many have under 16,000 samples a second.
    """

    stays: npt.NDArray[np.bool_]
    names: Int64
    told: dict[int, str] = field(default_factory=dict[int, str])
    dropped: Counter[str] = field(default_factory=Counter[str])
    notes: Counter[str] = field(default_factory=Counter[str])
    levels: tuple[float, ...] = ()
    low_rate: int = 0


def select(parts: Sequence[Part], *, rate: int) -> Selection:
    """Decide about all clips that were described.

    Args:
        parts: of the first pass.
        rate: samples of a second, under which a clip counts as one of a low rate.
    """
    names = ("problem", "note", "digest", "sound", "group", "level", "rate")
    tables = [seen_columns(part, *names) for part in parts]
    starts = np.cumsum([0, *(table.num_rows for table in tables)])
    good = joined([are_good(table) for table in tables], np.bool_)
    sounds = digests(tables, "sound")
    groups = joined([group_hashes(table) for table in tables], np.uint64)
    found = np.flatnonzero(good)
    links = found[exact_copies(sounds[found])]
    stays = good.copy()
    stays[links[:, 1]] = False
    alone = groups == 0
    groups[alone] = digests(tables)[alone, 0]
    first = first_of(groups, links, good)
    dropped: Counter[str] = Counter()
    for table in tables:
        dropped.update(reason for reason in table.column("problem").to_pylist() if reason)
    dropped["duplicate"] = len(links)
    notes = joined([np.asarray(table.column("note").to_pylist()) for table in tables], np.str_)
    levels = joined([np.asarray(table.column("level")) for table in tables], np.float32)[stays]
    rates = joined([np.asarray(table.column("rate")) for table in tables], np.int32)[stays]
    return Selection(
        stays=stays,
        names=first,
        told=told_groups(parts, first, starts),
        dropped=+dropped,
        notes=Counter(note for note in notes[stays].tolist() if note),
        levels=tuple(np.percentile(levels, _LEVELS).tolist()) if len(levels) else (),
        low_rate=int((rates < rate).sum()),
    )
