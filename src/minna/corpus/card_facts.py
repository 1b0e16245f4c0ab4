"""What a card is told from: what a build counted, and how it was set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath
from typing import Any, Final

from minna.artifact import Licence
from minna.corpus.card_blocks import Share
from minna.corpus.settings import BuildSettings
from minna.corpus.sources import CHOICES, settings_read
from minna.corpus.statistics import Statistics

NONE: Final = "—"
"""Stands where there is no value."""
_NOT_OF_THE_TEXT: Final = frozenset({"path", "workers", "part_bytes"})
"""Settings that no corpus depends on, or that name a place on one machine."""


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All a card is told from. `dedup` and `contamination` are those sections of `settings`."""

    name: str
    statistics: Statistics
    licences: Sequence[Licence]
    settings: Mapping[str, Any]

    @property
    def dedup(self) -> Mapping[str, Any]:
        """Settings of the de-duplication."""
        return self.settings.get("dedup", {})

    @property
    def contamination(self) -> Mapping[str, Any]:
        """Settings of the decontamination."""
        return self.settings.get("contamination", {})


def facts_of(
    statistics: Statistics, *, name: str, licences: Sequence[Licence], settings: BuildSettings
) -> Facts:
    """Gather what a card is told from; settings that the source does not read are none of it."""
    silent = _NOT_OF_THE_TEXT | (CHOICES - settings_read(settings.source))
    resolved = {key: value for key, value in asdict(settings).items() if key not in silent}
    return Facts(name=name, statistics=statistics, licences=licences, settings=resolved)


def share_of(part: int, whole: int) -> Share:
    """A part as a share; of nothing it is nothing."""
    return Share(part / whole if whole else 0.0)


def by_count(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The largest first, equal ones by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def shown_value(value: Any) -> str:
    """A setting as a machine writes it; of a path only the name, not where somebody keeps it."""
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, (list, tuple, set, frozenset)):
        return ", ".join(map(shown_value, value)) or NONE
    if value is None or value == "":
        return NONE
    return str(value).lower() if isinstance(value, bool) else str(value)
