"""Which examples stand before which question. The harness draws anew for every question; we do not.

`compat` replays the recipe of the paper's harness: one `random.Random(42)` shuffles the documents
and then draws the examples of each in that order, so one draw more or less changes every later
prompt (1,000 of 1,000 example slots of a published log come out as here). `fixed` draws once for
the whole task: every model sees the same examples, and a model reads them once instead of 5,595
times.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from minna.errors import DataError, UsageError
from minna.evaluate.prompting import asked_fields
from minna.evaluate.records import Document, Splits
from minna.evaluate.task import Chosen

SEED = 42
FITTING_SHARE = 0.95

Draw = Callable[[int], list[Document]]
T = TypeVar("T")


def compat_prompts(
    chosen: Chosen,
    splits: Splits,
    *,
    shots: int,
    limit: int | None,
    compose: Callable[[Document, Sequence[Document]], T | None],
) -> Iterator[T]:
    """What `compose` makes of each document and its examples, in the harness's order.

    Args:
        chosen: the task.
        splits: its data.
        shots: examples per question; fewer where `compose` says that they do not fit (each try
            draws again, as the harness does).
        limit: the first so many of the shuffled documents.
        compose: makes the prompt, or None where that is too long.

    Raises:
        UsageError: the task has a train split and the user has not, or it is too small.
        DataError: a question is too long even without examples.
    """
    rnd = random.Random(SEED)  # noqa: S311 - a recipe to replay, not a secret
    documents = list(splits.scored)
    rnd.shuffle(documents)
    train = _train_draw(chosen, splits, shots=shots, rnd=rnd)
    for document in documents[:limit]:
        draw = train or _without_train(splits, document=document, rnd=rnd)
        for count in range(shots, -1, -1):
            made = compose(document, draw(count) if count else [])
            if made is not None:
                yield made
                break
        else:
            raise DataError(
                f"{chosen.name}: document {document.id!r} does not fit the model's context even "
                "without examples",
                remedy="use a model with a longer context, or mode fixed, which cuts such a prompt",
            )


def fixed_examples(
    chosen: Chosen, splits: Splits, *, shots: int
) -> tuple[list[Document], list[Document]]:
    """The task's one set of examples, and the documents that are scored, both in a fixed order.

    A document of the train split that asks what a scored one asks is no example. Without a train
    split the examples are drawn from the scored split: they, every document of their groups, and
    every one that asks the same are then held apart and not scored. What is held apart follows from
    `shots` alone, never from the model, so that models are scored on the same documents.

    Raises:
        UsageError: fewer documents than examples asked for.
    """
    pool = _without_leaks(chosen, splits, shots=shots)
    rnd = random.Random(SEED)  # noqa: S311
    # words for the labels mean the same in every document; numbers of choices do not
    draw = _drawing(chosen, pool, rnd=rnd, balanced=bool(chosen.prompt.choices))
    examples = draw(shots)
    if splits.shots or not examples:
        return examples, list(splits.scored)
    held = {id(example) for example in examples}
    groups = {example.group for example in examples if example.group}
    shown = {asked_fields(example, chosen=chosen) for example in examples} - {()}
    scored = [
        document
        for document in pool
        if id(document) not in held
        and document.group not in groups
        and asked_fields(document, chosen=chosen) not in shown
    ]
    if not scored:
        raise UsageError(
            f"{chosen.name}: with {shots} examples held apart, none of {len(pool)} documents is "
            "left to be scored",
            remedy="ask for fewer examples, or give a train split",
        )
    return examples, scored


def _without_leaks(chosen: Chosen, splits: Splits, *, shots: int) -> Sequence[Document]:
    """What examples are drawn from: nothing that would show a scored question with its answer."""
    pool = splits.shots or splits.scored
    _check_enough(chosen, pool, shots=shots)
    if not (splits.shots and shots):
        return pool
    scored = {asked_fields(document, chosen=chosen) for document in splits.scored} - {()}
    clean = [doc for doc in splits.shots if asked_fields(doc, chosen=chosen) not in scored]
    if len(clean) < shots:
        raise UsageError(
            f"{chosen.name}: {shots} examples are asked for, and {len(clean)} of "
            f"{len(splits.shots)} documents of the train split are not among the scored questions",
            remedy="ask for fewer examples (--num-fewshot), or give another train split",
        )
    return clean


def shots_that_fit(overheads: Sequence[int], questions: Sequence[int], *, room: int) -> int:
    """How many examples the whole task gets: as many as 95 % of the questions have room for.

    Args:
        overheads: tokens of everything but the question, with 0, 1, 2 ... examples.
        questions: tokens of each question with what is asked for behind it.
        room: tokens the model reads.

    Returns:
        A count below len(overheads); 0 where even that is too many.
    """
    place = math.ceil(FITTING_SHARE * len(questions)) - 1
    needed = sorted(questions)[place] if questions else 0
    return max((k for k, extra in enumerate(overheads) if extra + needed <= room), default=0)


def spread(items: list[T], limit: int | None) -> list[T]:
    """At most `limit` of them, evenly from the first to the last, in their order."""
    if limit is None or limit >= len(items):
        return items
    return [items[number * len(items) // limit] for number in range(limit)]


def _train_draw(chosen: Chosen, splits: Splits, *, shots: int, rnd: random.Random) -> Draw | None:
    """How examples are drawn from the train split; None where the task itself has none."""
    if splits.shots:
        _check_enough(chosen, splits.shots, shots=shots)
        return _drawing(chosen, splits.shots, rnd=rnd, balanced=chosen.version.balanced_shots)
    if shots and chosen.task.files.shots:
        wanted = " or ".join(chosen.task.files.shots)
        raise UsageError(
            f"{chosen.name}: mode compat draws its {shots} examples from the train split, and "
            f"{wanted} is not in the data directory",
            remedy=f"get it from {chosen.task.source.url}, or use --mode fixed, which holds "
            "examples apart from the scored documents",
        )
    _check_enough(chosen, splits.scored, shots=shots + 1 if shots else 0)
    return None


def _without_train(splits: Splits, *, document: Document, rnd: random.Random) -> Draw:
    """The harness's rule: one example too many is drawn, and the question itself is dropped."""

    def draw(count: int) -> list[Document]:
        drawn = rnd.sample(splits.scored, count + 1)
        return [example for example in drawn if example != document][:count]

    return draw


def _drawing(
    chosen: Chosen, pool: Sequence[Document], *, rnd: random.Random, balanced: bool
) -> Draw:
    """Plain: any documents. Balanced: each label its share, and the rest to the least drawn."""
    if not balanced:
        return lambda count: rnd.sample(pool, count)
    groups: dict[int | None, list[Document]] = {}
    for document in pool:
        groups.setdefault(document.label, []).append(document)

    def draw(count: int) -> list[Document]:
        wanted = {label: int(len(group) / len(pool) * count) for label, group in groups.items()}
        for _ in range(count - sum(wanted.values())):
            wanted[min(wanted, key=wanted.__getitem__)] += 1
        picked: list[Document] = []
        for label, group in groups.items():
            if wanted[label] > len(group):
                raise UsageError(
                    f"{chosen.name}: {wanted[label]} examples of label {label} are needed, and "
                    f"there are {len(group)}",
                    remedy="ask for fewer examples, or give a larger train split",
                )
            picked += rnd.sample(group, wanted[label])
        rnd.shuffle(picked)
        return picked

    return draw


def _check_enough(chosen: Chosen, pool: Sequence[Document], *, shots: int) -> None:
    if len(pool) < shots:
        raise UsageError(
            f"{chosen.name}: {shots} examples are asked for, and there are {len(pool)} documents",
            remedy="ask for fewer examples (--num-fewshot), or give a larger train split",
        )
