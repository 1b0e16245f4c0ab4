"""Records side by side: a markdown table and one picture for each track.

Only records of the same rules and the same held-out text stand in one table. Those of a machine
outside the track's class stand below the others, without a rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from minna.artifact.files import write_text_atomically
from minna.errors import UsageError
from minna.speedrun.chart import line_chart
from minna.speedrun.record import Record, read_record
from minna.units import format_count

_HEAD = (
    "| rank | what | bits per byte | steps | tokens | tokens/s | minutes | machine |",
    "|---|---|---|---|---|---|---|---|",
)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The records of one track, the best first, those without a rank last."""

    track: str
    description: str
    records: tuple[Record, ...]

    def table(self) -> str:
        """The markdown table."""
        ranked = [record for record in self.records if not record.outside_class]
        rows = [
            _row(str(ranked.index(record) + 1) if record in ranked else "–", record)
            for record in self.records
        ]
        return "\n".join((*_HEAD, *rows))

    def chart(self) -> str:
        """The curves, as SVG; records of the same words are numbered."""
        curves = {}
        for record in self.records:
            name, number = record.what, 2
            while name in curves:
                name, number = f"{record.what} ({number})", number + 1
            curves[name] = record.curve
        return line_chart(curves, title=self.description)


def compare(paths: Sequence[Path], *, out: Path | None) -> list[Standing]:
    """Rank the records in `paths`, track by track.

    Args:
        paths: directories of speed runs.
        out: folder for TRACK.svg of each track; None draws nothing.

    Raises:
        UsageError: two records of one track have other rules or another held-out text.
        ArtifactError: a path is no record.
    """
    records = [(path, read_record(path)) for path in paths]
    standings: list[Standing] = []
    for name in dict.fromkeys(record.track["name"] for _, record in records):
        mine = [(path, record) for path, record in records if record.track["name"] == name]
        _refuse_unlike(mine)
        best = sorted(
            (record for _, record in mine),
            key=lambda record: (bool(record.outside_class), record.bits_per_byte),
        )
        description = best[0].track["description"]
        standings.append(Standing(track=name, description=description, records=tuple(best)))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for standing in standings:
            write_text_atomically(out / f"{standing.track}.svg", standing.chart())
    return standings


def _row(rank: str, record: Record) -> str:
    machine = "; ".join((record.machine.short(), *record.outside_class))
    cells = (
        rank,
        record.what,
        f"{record.bits_per_byte:.4f}",
        f"{record.steps:,}",
        format_count(record.tokens),
        format_count(round(record.tokens / record.seconds)),
        f"{record.seconds / 60:.2f}",
        machine,
    )
    return "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in cells) + " |"


def _refuse_unlike(records: Sequence[tuple[Path, Record]]) -> None:
    first_path, first = records[0]
    for path, record in records[1:]:
        if record.rules() != first.rules():
            unlike = [k for k, value in record.rules().items() if value != first.rules()[k]]
            what = f"other rules ({', '.join(unlike)})"
        elif record.held_out.sha256 != first.held_out.sha256:
            what = "another held-out text"
        else:
            continue
        raise UsageError(
            f"{path} and {first_path} are of one track, {first.track['name']}, but have {what}",
            remedy="compare them apart, or run one of them again",
        )
