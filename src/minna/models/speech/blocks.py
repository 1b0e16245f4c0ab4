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
from minna.models.speech.dropping import dropped


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
            return x_BFD + self.dropout(self._mixed(x, seen_B11F))
        return self.layer_norm(x_BFD + self.dropout(self._mixed(x_BFD, seen_B11F)))

    def _mixed(self, x_BFD: Tensor, seen_B11F: Tensor | None) -> Tensor:
        """What frames are told by those they attend to [B, F, D].

        A CPU has no fused kernel that drops; torch's way around it computes in fp32 whatever is
        asked, and passes over the weights eight times.
        """
        own = self.attention
        if not (self.training and own.dropout and x_BFD.device.type == "cpu"):
            return own(x_BFD, attention_mask=seen_B11F)[0]
        q_BHFd, k_BHFd, v_BHFd = (
            project(x_BFD).unflatten(-1, (own.num_heads, -1)).transpose(1, 2)
            for project in (own.q_proj, own.k_proj, own.v_proj)
        )
        scores_BHFF = (q_BHFd * own.scaling) @ k_BHFd.mT
        if seen_B11F is not None:
            scores_BHFF = scores_BHFF.masked_fill(~seen_B11F, float("-inf"))
        weights_BHFF = dropped(scores_BHFF.softmax(-1), own.dropout)
        return own.out_proj((weights_BHFF @ v_BHFd).transpose(1, 2).flatten(2))


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
