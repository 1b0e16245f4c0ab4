"""One evaluation on several devices: torchrun starts ranks, rank 0 judges, the others help it.

Only rank 0 builds prompts, files answers and writes the report; the other ranks hold a copy of the
model and serve until it is done, so nothing of the judge has to know that there are several. Work
goes out in rounds, longest first and dealt like cards there and back, so that ranks finish together
(a rank with twice the tokens makes all wait), and a run that is killed keeps all rounds but one. A
group of candidates is never divided: its choices share what they read.

What travels is JSON through gloo: numbers survive exactly, and nothing is ever unpickled.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.distributed as dist

from minna.errors import MinnaError, UsageError
from minna.evaluate.backends.base import Backend, Generated, Generation, Likelihood, Reading
from minna.evaluate.records import Candidate
from minna.runtime.meeting import meet
from minna.tokenizer.coder import Coder

_ROUND = 256  # items per rank and round: several batches, so that a round's end costs little
_NEEDED = ("RANK", "MASTER_ADDR", "MASTER_PORT")
_PATIENCE = dt.timedelta(days=1)  # ranks wait while rank 0 scores; torchrun ends the orphans


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The process' place among those that torchrun started."""

    rank: int
    world: int


class RankError(MinnaError):
    """A rank failed; its message follows."""


def join() -> Ranks | None:
    """Join the other ranks and take this one's GPU, to be called before the model is loaded.

    Returns:
        None where torchrun did not start this process, or started it alone.

    Raises:
        UsageError: fewer GPUs than ranks on this machine, or a part of torchrun's variables.
    """
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        return None
    missing = [name for name in _NEEDED if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"WORLD_SIZE is {world}, and {', '.join(missing)} is not set: the ranks cannot meet",
            remedy="start with torchrun, or unset WORLD_SIZE to evaluate in one process",
        )
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.is_available():
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"rank {local} of this machine has no GPU of its own: there are "
                f"{torch.cuda.device_count()}",
                remedy="start as many processes as there are GPUs (torchrun --nproc-per-node)",
            )
        torch.cuda.set_device(local)
    # gloo: what travels is small and lies in main memory
    meet("gloo", patience=_PATIENCE)
    return Ranks(rank=dist.get_rank(), world=world)


def serve(backend: Backend, ranks: Ranks) -> None:
    """On a rank other than 0: work until rank 0 is done.

    An error is reported to rank 0, which raises it; this rank then waits for what comes next.
    """
    assert ranks.rank > 0
    while (order := _broadcast(None)) is not None:
        _gather(_work(backend, order, ranks=ranks))
    dist.destroy_process_group()


def dismiss() -> None:
    """On rank 0: let the other ranks end."""
    _broadcast({"done": True})
    dist.destroy_process_group()


class DistributedBackend:
    """On rank 0: a local backend and the same on the other ranks, until `dismiss`."""

    def __init__(self, local: Backend, ranks: Ranks) -> None:
        assert ranks.rank == 0
        self._local = local
        self._ranks = ranks
        self.name: str = local.name
        self.coder: Coder | None = local.coder
        self.max_length: int = local.max_length
        self.id_limit: int | None = local.id_limit
        self.eos_ids: tuple[int, ...] = local.eos_ids
        self.reading = Reading()

    def conditions(self) -> dict[str, Any]:
        """Those of the local backend, and how many ranks there are."""
        return self._local.conditions() | {"ranks": self._ranks.world}

    def likelihoods(
        self, groups: Sequence[Sequence[Candidate]]
    ) -> Iterator[tuple[int, list[Likelihood]]]:
        """Score groups on all ranks; see `base.Backend`.

        Raises:
            RankError: a rank failed, with its message.
        """
        costs = [sum(len(candidate.ids) for candidate in group) for group in groups]
        for numbers in self._rounds(costs):
            items = [[asdict(candidate) for candidate in groups[n]] for n in numbers]
            for number, found in zip(numbers, self._round("likelihoods", items), strict=True):
                yield number, [Likelihood(**entry) for entry in found]

    def generate(self, jobs: Sequence[Generation]) -> Iterator[tuple[int, Generated]]:
        """Answer jobs on all ranks; see `base.Backend`.

        Raises:
            RankError: a rank failed, with its message.
        """
        costs = [len(job.prompt) + len(job.text) + job.max_new_tokens for job in jobs]
        for numbers in self._rounds(costs):
            items = [asdict(jobs[n]) for n in numbers]
            for number, found in zip(numbers, self._round("generate", items), strict=True):
                yield number, Generated(**(found | {"ids": tuple(found["ids"])}))

    def _rounds(self, costs: Sequence[int]) -> Iterator[list[int]]:
        """Item numbers, most expensive first, cut into rounds."""
        order = sorted(range(len(costs)), key=lambda number: (-costs[number], number))
        size = _ROUND * self._ranks.world
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def _round(self, call: str, items: list[Any]) -> list[Any]:
        order = {"call": call, "items": items}
        _broadcast(order)
        replies = _gather(_work(self._local, order, ranks=self._ranks))
        for rank, reply in enumerate(replies):
            if "error" in reply:
                raise RankError(f"rank {rank}: {reply['error']}", remedy=reply["remedy"])
        found: list[Any] = [None] * len(items)
        for rank, reply in enumerate(replies):
            self.reading.tokens += reply["tokens"]
            self.reading.spared += reply["spared"]
            for place, answer in zip(
                deal(len(items), rank=rank, world=self._ranks.world), reply["found"], strict=True
            ):
                found[place] = answer
        return found


def deal(items: int, *, rank: int, world: int) -> list[int]:
    """Which of `items`, sorted by cost, a rank gets: dealt there and back (0 1 2 2 1 0 ...)."""
    turn = [*range(world), *reversed(range(world))]
    return [place for place in range(items) if turn[place % (2 * world)] == rank]


def _work(backend: Backend, order: dict[str, Any], *, ranks: Ranks) -> dict[str, Any]:
    """Do this rank's share of an order; an error is an answer too, or the others would wait."""
    mine = [order["items"][place] for place in deal(len(order["items"]), **asdict(ranks))]
    before = asdict(backend.reading)
    found: list[Any] = [None] * len(mine)
    try:
        if order["call"] == "likelihoods":
            groups = [
                [Candidate(ids=tuple(entry["ids"]), start=entry["start"]) for entry in group]
                for group in mine
            ]
            for number, likelihoods in backend.likelihoods(groups):
                found[number] = [asdict(entry) for entry in likelihoods]
        else:
            for number, generated in backend.generate([_generation(entry) for entry in mine]):
                found[number] = asdict(generated)
    except MinnaError as error:
        return {"error": error.rule, "remedy": error.remedy}
    except Exception as error:  # noqa: BLE001 - a bug of ours: the others must not wait for it
        traceback.print_exc()
        return {"error": f"{type(error).__name__}: {error}", "remedy": ""}
    after = asdict(backend.reading)
    return {"found": found} | {name: after[name] - before[name] for name in before}


def _generation(entry: dict[str, Any]) -> Generation:
    return Generation(
        prompt=tuple(entry["prompt"]),
        max_new_tokens=entry["max_new_tokens"],
        stop_ids=tuple(entry["stop_ids"]),
        stop_texts=tuple(entry["stop_texts"]),
        text=entry["text"],
        messages=tuple((role, said) for role, said in entry["messages"]),
        stops_after=entry["stops_after"],
    )


def _broadcast(order: dict[str, Any] | None) -> dict[str, Any] | None:
    """Rank 0 gives an order, the others get it; None when there is nothing more to do."""
    data = _bytes_of(order)
    size = torch.tensor([len(data)])
    dist.broadcast(size, src=0)
    if dist.get_rank():
        data = torch.empty(int(size), dtype=torch.uint8)
    dist.broadcast(data, src=0)
    value = _value_of(data)
    return None if value.get("done") else value


def _gather(reply: dict[str, Any]) -> list[dict[str, Any]]:
    """Every rank gives a reply; rank 0 gets them all, in the order of ranks."""
    data = _bytes_of(reply)
    sizes = [torch.zeros(1, dtype=torch.int64) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(data)]))
    if dist.get_rank():
        dist.send(data, dst=0)
        return []
    replies = [reply]
    for rank in range(1, dist.get_world_size()):
        theirs = torch.empty(int(sizes[rank]), dtype=torch.uint8)
        dist.recv(theirs, src=rank)
        replies.append(_value_of(theirs))
    return replies


def _bytes_of(value: dict[str, Any] | None) -> torch.Tensor:
    text = json.dumps(value, ensure_ascii=True)
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _value_of(data: torch.Tensor) -> dict[str, Any]:
    return json.loads(bytes(data.numpy()))
