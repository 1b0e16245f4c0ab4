"""The processes of one run, and the few words they exchange beside gradients.

Everything that decides what a run does next (counts of a step, seconds spent, a signal to stop, an
error) must be the same on every rank, or the next collective waits forever. So it is agreed upon
here, over gloo on the CPU, whatever carries the gradients: two sums of a few numbers a step. What
is compared between ranks is compared by hash; nothing is ever unpickled here.

`torchrun` (which SLURM and Kubernetes start) sets RANK, WORLD_SIZE, LOCAL_RANK and the address to
meet at; without them a run is alone and nothing of torch.distributed is touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

import torch
import torch.distributed as dist

from minna.errors import TrainingError, UsageError
from minna.runtime.meeting import meet

_T = TypeVar("_T")
_SETUP = timedelta(days=2)  # rank 0 may tokenise a corpus for hours while the others wait


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """One process among `count`.

    Attributes:
        rank: its number, from 0; rank 0 talks and writes.
        count: how many there are.
        local: its number on its machine, which is the number of its GPU.
        control: the gloo group of small exchanges; None alone.
        patience: how long to wait for a rank where all meet.
    """

    rank: int = 0
    count: int = 1
    local: int = 0
    control: dist.ProcessGroup | None = None
    patience: timedelta = timedelta(minutes=30)

    @property
    def alone(self) -> bool:
        """Whether there is but one."""
        return self.count == 1

    @property
    def first(self) -> bool:
        """Whether this is the one that talks and writes."""
        return self.rank == 0

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Add numbers over all ranks (fp64, so that counts stay exact)."""
        return self._reduce(numbers, dist.ReduceOp.SUM)

    def largest(self, numbers: Sequence[float]) -> list[float]:
        """Take the largest of each number over all ranks."""
        return self._reduce(numbers, dist.ReduceOp.MAX)

    def _reduce(self, numbers: Sequence[float], how: dist.ReduceOp.RedOpType) -> list[float]:
        if self.alone:
            return list(numbers)
        tensor = torch.tensor(numbers, dtype=torch.float64)
        dist.all_reduce(tensor, how, group=self.control)
        return tensor.tolist()

    def gather(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Return the tensor of every rank, in their order (one shape, on the CPU)."""
        if self.alone:
            return [tensor]
        found = [torch.empty_like(tensor) for _ in range(self.count)]
        dist.all_gather(found, tensor, group=self.control)
        return found

    def beside(self) -> Ranks:
        """Return the same ranks with a channel of their own, for another thread."""
        if self.alone:
            return self
        return replace(self, control=_small_exchanges(self.patience))

    def wait(self) -> None:
        """Return when every rank is here."""
        self.sum([0.0])

    def together(self, work: Callable[[], _T]) -> _T:
        """Do `work` on every rank; when it fails on any, all stop, and the failing one says why.

        Raises:
            TrainingError: it failed on another rank.
        """
        failed: BaseException | None = None
        result: _T | None = None
        try:
            result = work()
        except Exception as error:  # noqa: BLE001 - told to the others first, then raised
            failed = error
        counts = self.sum([float(failed is not None and r == self.rank) for r in range(self.count)])
        if failed is not None:
            raise failed
        if any(counts):
            which = [rank for rank, count in enumerate(counts) if count]
            raise TrainingError(
                f"rank {', '.join(map(str, which))} stopped, so rank {self.rank} does",
                remedy=f"read what rank {which[0]} printed",
            )
        return result  # type: ignore[return-value]

    def first_then_all(self, work: Callable[[], _T]) -> _T:
        """Do `work` on rank 0 while the others wait, then on them, who find it done.

        Raises:
            TrainingError: it failed on another rank.
        """
        result = self.together(work if self.first else lambda: None)
        if self.alone:
            return result  # type: ignore[return-value]
        return self.together((lambda: result) if self.first else work)  # type: ignore[return-value]

    def refuse_difference(self, facts: Mapping[str, str]) -> None:
        """Compare facts (recipe, inputs, code) with those of rank 0.

        Raises:
            TrainingError: on every rank, naming the facts and the ranks that have another.
        """
        if self.alone:
            return
        own = torch.tensor([_fingerprint(text) for text in facts.values()], dtype=torch.int64)
        all_of_them = self.gather(own)
        wrong = {
            name: [r for r, theirs in enumerate(all_of_them) if theirs[k] != all_of_them[0][k]]
            for k, name in enumerate(facts)
        }
        said = [
            f"{name} of rank {', '.join(map(str, ranks))} is not that of rank 0"
            for name, ranks in wrong.items()
            if ranks
        ]
        if said:
            raise TrainingError(
                f"the ranks of this run do not agree: {'; '.join(said)}",
                remedy="start every rank with the same command, code and input directories",
            )


ALONE = Ranks()


def seed_of(*numbers: int) -> int:
    """Mix numbers (a seed, a step, a rank) to a seed of their own."""
    return _fingerprint(" ".join(map(str, numbers)))


def _fingerprint(text: str) -> int:
    """63 bits of a hash, as a number that gloo carries."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@contextlib.contextmanager
def joined(*, device: str, wait_seconds: float) -> Generator[Ranks]:
    """Meet the other ranks that `torchrun` started, for the length of a run.

    Args:
        device: "cpu" or "cuda"; gradients go over gloo or NCCL.
        wait_seconds: how long to wait for ranks that do not come, and for one that does not answer.

    Raises:
        UsageError: there are more ranks on this machine than GPUs.
        TrainingError: not all ranks came.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield ALONE
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    if device == "cuda":
        if local >= torch.cuda.device_count():
            raise UsageError(
                f"local rank {local} needs a GPU of its own, and there are "
                f"{torch.cuda.device_count()} here",
                remedy="start as many processes per machine as it has GPUs (--nproc-per-node)",
            )
        torch.cuda.set_device(local)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    patience = timedelta(seconds=wait_seconds)
    started = time.monotonic()
    try:
        meet(backend, patience=patience)
        control = _small_exchanges(patience)
    except (
        dist.DistStoreError,
        dist.DistNetworkError,
        dist.DistBackendError,
        RuntimeError,
    ) as error:
        if dist.is_initialized():
            dist.destroy_process_group()
        raise TrainingError(
            f"rank {rank} waited {time.monotonic() - started:.0f} s for {count} ranks to come "
            f"together, in vain: {str(error).splitlines()[0]}",
            remedy="see whether every machine was started, with the same --nnodes, "
            "--nproc-per-node and --rdzv-endpoint, and can reach that endpoint",
        ) from error
    try:
        yield Ranks(rank=rank, count=count, local=local, control=control, patience=patience)
    finally:
        dist.destroy_process_group()


def _small_exchanges(patience: timedelta) -> dist.ProcessGroup:
    """Make a group for small exchanges: a rank that died on its way there is not waited for.

    Once all are there a dead one is seen at once, and a busy one may take its time.
    """
    control = dist.new_group(backend="gloo", timeout=patience)
    assert isinstance(control, dist.ProcessGroup), "every rank is in this group"
    control.set_timeout(_SETUP)
    return control


def gone(error: RuntimeError) -> bool:
    """Whether a torch error is how the loss of another rank shows."""
    if isinstance(error, dist.DistError):
        return True
    signs = ("Connection closed by peer", "Connection reset", "gloo", "NCCL", "Socket", "Timed out")
    return any(sign in str(error) for sign in signs)
