"""Where the processes that `torchrun` started meet.

One process may meet the others several times: a pipeline trains, trains again and evaluates. The
store in which they leave their addresses outlives a meeting (torchrun keeps it), and torch writes
every meeting under the same names, so whoever is quick would read where the others stood the last
time and call at a door that is shut. Here each meeting has names of its own.
"""

from __future__ import annotations

import functools
import itertools
from datetime import timedelta

import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

_MEETINGS = itertools.count()  # every process goes to all of them, so all count alike


def meet(backend: str, *, patience: timedelta) -> None:
    """Join the other ranks to the default process group of torch.

    Args:
        backend: what carries tensors, as `torch.distributed.init_process_group` names it.
        patience: how long to wait for ranks that do not come, and for one that does not answer.

    Raises:
        RuntimeError: of torch; the ranks did not come together.
    """
    number = next(_MEETINGS)
    store, rank, count = _store(patience)
    store.set_timeout(patience)
    names = PrefixStore(f"meeting-{number}", store)
    dist.init_process_group(backend, store=names, rank=rank, world_size=count, timeout=patience)


@functools.cache
def _store(patience: timedelta) -> tuple[Store, int, int]:
    """The store that MASTER_ADDR and MASTER_PORT name; where rank 0 keeps it, it lives as long."""
    return next(rendezvous("env://", timeout=patience))
