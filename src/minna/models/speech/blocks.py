"""A block of a speech encoder, of transformers' parts, and what runs the blocks.

The parts (attention, feed-forward, norms) are transformers', under its names; what they are put
together by is ours: a block may be computed again on the way back (`checkpointing`), is gathered as
one by FSDP2, and can tell what its feed-forward adds, which is what data2vec learns.

LayerDrop (Huang et al. 2016; Fan et al. 2020) skips a block for a whole batch. Among several ranks
a skipped block is run and what it says is thrown away: FSDP2 gathers a block's weights on all ranks
at once, and DDP waits for the gradient of every weight, so no rank may go another way.

B clips, F frames, D width.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn

from minna.models import checkpointing
from minna.models.checkpointing import Checkpointing


class SpeechBlock(nn.Module):
    """Attention to all frames of a clip, and a feed-forward.

    Args:
        hub: transformers' layer, whose parts it takes.
        norm: behind what each adds ("post"), or before what it reads ("pre").
    """

    def __init__(self, hub: Any, *, norm: Literal["post", "pre"]) -> None:
        super().__init__()
        self.norm: Literal["post", "pre"] = norm
        self.attention: Any = hub.attention
        self.dropout: Any = hub.dropout
        self.layer_norm: Any = hub.layer_norm
        self.feed_forward: Any = hub.feed_forward
        self.final_layer_norm: Any = hub.final_layer_norm

    def forward(self, x_BFD: Tensor, keep: Checkpointing, seen_B11F: Tensor | None) -> Tensor:
        """Return the next hidden states [B, F, D].

        Args:
            x_BFD: hidden states.
            keep: for the backward pass.
            seen_B11F: frames that are attended to; None: all.
        """
        return checkpointing.run(keep, self._next, x_BFD, seen_B11F)

    def told(self, x_BFD: Tensor, seen_B11F: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the next hidden states, and what the feed-forward added, both [B, F, D]."""
        attended = self._attended(x_BFD, seen_B11F)
        if self.norm == "pre":
            added = self.feed_forward(self.final_layer_norm(attended))
            return attended + added, added
        added = self.feed_forward(attended)
        return self.final_layer_norm(attended + added), added

    def _next(self, x_BFD: Tensor, seen_B11F: Tensor | None) -> Tensor:
        return self.told(x_BFD, seen_B11F)[0]

    def _attended(self, x_BFD: Tensor, seen_B11F: Tensor | None) -> Tensor:
        if self.norm == "pre":
            x = self.layer_norm(x_BFD)
            return x_BFD + self.dropout(self.attention(x, attention_mask=seen_B11F)[0])
        added = self.dropout(self.attention(x_BFD, attention_mask=seen_B11F)[0])
        return self.layer_norm(x_BFD + added)


def run_blocks(
    blocks: Iterable[Any],
    x_BFD: Tensor,
    *,
    seen_B11F: Tensor | None,
    keep: Checkpointing,
    layer_drop: float,
    into: list[Tensor] | None = None,
) -> Tensor:
    """Run blocks one after the other, each skipped with probability `layer_drop`.

    Args:
        blocks: `SpeechBlock`s.
        x_BFD: what enters the first.
        seen_B11F: frames that are attended to; None: all.
        keep: for the backward pass.
        layer_drop: 0 where nothing is learned.
        into: gets what leaves each block.
    """
    for block in blocks:
        skipped = layer_drop > 0 and float(torch.rand(())) < layer_drop
        if skipped and dist.is_initialized():
            x_BFD = torch.where(skip_mask(x_BFD), x_BFD, block(x_BFD, keep, seen_B11F))
        elif not skipped:
            x_BFD = block(x_BFD, keep, seen_B11F)
        if into is not None:
            into.append(x_BFD)
    return x_BFD


def skip_mask(like: Tensor) -> Tensor:
    """A true scalar on the device of `like`: `where` then keeps both sides in the graph."""
    return torch.ones((), dtype=torch.bool, device=like.device)
