"""A plan in words, for people.

Numbers are told to three figures: the bytes are good for a tenth, the speed for less. What a plan
cannot know stands below it every time, because a table of days looks surer than it is.
"""

from __future__ import annotations

from minna.plan.choose import Estimate, Plan
from minna.plan.formulas import LINK_SHARE, PARTS, USABLE
from minna.units import format_bytes, format_count, format_seconds

UNKNOWN = (
    "the share of the peak that a run reaches: {share:.0%} is {why}",
    "what looks, checkpoints and waiting for data add to the time",
    "what driver, libraries and gaps take: {spare:.0%} of the memory are left to them",
)


def lines(plan: Plan) -> list[str]:
    """The whole plan."""
    a, work, recipe = plan.anatomy, plan.work, plan.recipe
    frozen = "" if a.learning == a.parameters else f", {a.learning:,} of them learn"
    facts = {
        "recipe": f"{recipe.name}: {recipe.description}",
        "devices": f"{work.ranks} x {plan.device.name}; {work.precision} products",
        "model": f"{a.parameters:,} parameters{frozen}, {a.units} layers of {a.unit:,}; "
        f"{format_count(a.flops)} FLOPs per token",
        "step": _step(plan),
    }
    if a.beside:
        facts["beside"] = (
            f"{format_bytes(a.beside)} on every rank for reference, critic and reward model "
            "(those that the recipe has, each as large as the model)"
        )
    verdict = _refusal(plan) if plan.chosen is None else _verdict(plan, plan.chosen)
    return [*_named(facts), "", *_memory(plan), "", *_named(verdict), "", *_unknown(plan)]


def settings(plan: Plan, chosen: Estimate) -> str:
    """What to write behind `minna train RECIPE` for the chosen way; "" where nothing."""
    train, way = plan.recipe.train, chosen.way
    words = {
        "tokens_per_step": (plan.work.step_tokens, train.tokens_per_step),
        "micro_batch_rows": (way.rows, train.micro_batch_rows),
        "checkpointing": (way.checkpointing, train.checkpointing),
    }
    changed = [f"train.{key}={new}" for key, (new, old) in words.items() if new != old]
    if plan.work.ranks > 1 and way.sharding != train.sharding:
        changed.append(f"train.sharding={way.sharding}")
    return " ".join(changed)


def _named(facts: dict[str, str]) -> list[str]:
    return [f"{name:<9} {text}" for name, text in facts.items()]


def _step(plan: Plan) -> str:
    work, wanted = plan.work, plan.recipe.train.tokens_per_step
    text = f"{work.step_tokens:,} tokens in rows of {work.row_tokens:,}"
    if work.step_tokens != wanted:
        once = work.row_tokens * work.ranks
        text += f"; the recipe's {wanted:,} are no multiple of the {once:,} of one row on each rank"
    return text


def _memory(plan: Plan) -> list[str]:
    """Bytes of each way at the recipe's rows."""
    columns = ("sharding", "checkpointing", *PARTS, "total", "")
    table: list[tuple[str, ...]] = [columns]
    for each in plan.ways:
        parts = (format_bytes(getattr(each.memory, part)) for part in PARTS)
        total = format_bytes(each.memory.total)
        verdict = "fits" if each.fits else "too much"
        table.append((each.way.sharding, each.way.checkpointing, *parts, total, verdict))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rows_at_once = plan.ways[0].way.rows
    head = f"one rank at its fullest moment, {rows_at_once} rows at once; {_room(plan)}"
    rows = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in table)
    return [head, *rows]


def _room(plan: Plan) -> str:
    whole = format_bytes(1e9 * plan.device.memory_gb)
    return f"room for {format_bytes(plan.usable_bytes)} of {whole}"


def _verdict(plan: Plan, chosen: Estimate) -> dict[str, str]:
    way, takes = chosen.way, chosen.seconds
    told = settings(plan, chosen)
    return {
        "fits": f"{way.sharding}, checkpointing {way.checkpointing}, {way.rows} rows x "
        f"{chosen.micro_batches} micro-batches: {format_bytes(chosen.memory.total)} a rank",
        "settings": told or "the recipe's own",
        "traffic": _traffic(plan, chosen),
        "speed": f"{format_count(chosen.tokens_per_second)} tokens/s; a step takes "
        f"{takes.step:.3g} s: products {takes.products:.3g} s at {plan.device.share:.0%} of the "
        f"peak, optimiser {takes.optimiser:.2g} s, waiting for traffic {takes.waiting:.2g} s",
        "run": _run(plan),
    }


def _traffic(plan: Plan, chosen: Estimate) -> str:
    if plan.work.ranks == 1:
        return "none"
    how = (
        "beside the last micro-batch's backward pass"
        if chosen.way.sharding == "replicate"
        else "beside all products"
    )
    speed = LINK_SHARE * plan.device.wire(plan.work.ranks)
    return (
        f"{format_bytes(chosen.traffic)} a step and rank, {chosen.seconds.traffic:.2g} s at "
        f"{format_bytes(speed)}/s ({LINK_SHARE:.0%} of the link), {how}"
    )


def _run(plan: Plan) -> str:
    assert plan.steps is not None and plan.run_seconds is not None, "a way was chosen"
    tokens = plan.steps * plan.work.step_tokens
    text = (
        f"{plan.steps:,} steps = {format_count(tokens)} tokens, "
        f"{tokens * plan.anatomy.flops:.2e} FLOPs: {format_seconds(plan.run_seconds)}"
    )
    if plan.cost is not None:
        hours = plan.work.ranks * plan.run_seconds / 3600
        text += f", {hours:,.0f} device hours, {plan.cost:,.0f} USD at {plan.price:g} an hour"
    return text


def _refusal(plan: Plan) -> dict[str, str]:
    least = min(each.memory.total for each in plan.ways)
    more = (
        f"{plan.would_fit} of them would do: --gpus {plan.would_fit}"
        if plan.would_fit
        else "no number of them would do: choose a device with more memory"
    )
    return {
        "fits": f"no way: at least {format_bytes(least)} a rank with the recipe's rows, "
        f"{format_bytes(plan.least_bytes)} with the fewest; {_room(plan)}",
        "remedy": more,
    }


def _unknown(plan: Plan) -> list[str]:
    values = {
        "share": plan.device.share,
        "why": "an assumption from what others report"
        if plan.device.key != "cpu"
        else "what small models reach on CPUs here",
        "spare": 1 - USABLE,
    }
    told = [text.format(**values) for text in UNKNOWN]
    if plan.recipe.stream.kind == "experience":
        told.append("how long answers take to draw and to judge: the time is that of updates alone")
    return ["what a plan cannot know:", *(f"  - {text}" for text in told)]
