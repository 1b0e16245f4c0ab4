"""Every text recipe of the paper on 1 to 64 devices, as one markdown table.

The table of docs/plan.md is this command's output, written there by the command itself, so that it
cannot say what the formulas do not (tests/plan/test_plan_page.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from minna.artifact.files import write_text_atomically
from minna.errors import UsageError
from minna.plan.choose import Plan, plan
from minna.plan.devices import Device
from minna.recipe import load, names
from minna.units import format_bytes, format_count, format_seconds

GPUS = (1, 2, 4, 8, 16, 32, 64)
_OURS = ("toy-", "modern-")
_COLUMNS = (
    "recipe",
    "parameters",
    "GPUs",
    "sharding",
    "checkpointing",
    "rows",
    "GB a rank",
    "tokens/s",
    "time",
)


def paper_recipes() -> list[str]:
    """Recipes of released models that learn from text: those that are not our own."""
    theirs = [name for name in names() if not name.startswith(_OURS)]
    return [name for name in theirs if load(name).stream.kind in ("text", "masked")]


def table(device: Device, *, recipes: Sequence[str], price: float | None = None) -> str:
    """Plan recipes on each number of devices; a row of the table each."""
    plans = [
        plan(load(name), gpus=gpus, device=device, price=price) for name in recipes for gpus in GPUS
    ]
    columns = _COLUMNS if price is None else (*_COLUMNS, "USD")
    rows = [columns, ["---"] * len(columns), *(_row(each) for each in plans)]
    return "\n".join(f"| {' | '.join(cells)} |".replace("| --- ", "|---") for cells in rows)


def write_into(page: Path, *, name: str, content: str) -> None:
    """Replace what stands in a page between `<!-- NAME -->` and `<!-- end -->`.

    Raises:
        UsageError: the page has no such place.
    """
    start, end = f"<!-- {name} -->\n", "\n<!-- end -->"
    text = page.read_text(encoding="utf-8")
    before, found, rest = text.partition(start)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise UsageError(
            f"{page} has no line {start.strip()} with {end.strip()} below it",
            remedy="write both lines where the table belongs",
        )
    write_text_atomically(page, f"{before}{start}{content}{end}{after}")


def _row(each: Plan) -> list[str]:
    first = [each.recipe.name, format_count(each.anatomy.parameters), str(each.work.ranks)]
    chosen = each.chosen
    if chosen is None:
        least = f"does not fit: {format_bytes(each.least_bytes)} at least"
        return [*first, least, *[""] * (5 if each.price is None else 6)]
    assert each.run_seconds is not None, "a way was chosen"
    way = chosen.way
    cells = [
        way.sharding if each.work.ranks > 1 else "alone",
        way.checkpointing,
        f"{way.rows}{'*' if each.rounded else ''}",
        f"{chosen.memory.total / 1e9:.1f}",
        format_count(chosen.tokens_per_second),
        format_seconds(each.run_seconds),
    ]
    if each.cost is not None:
        cells.append(f"{each.cost:,.0f}")
    return [*first, *cells]
