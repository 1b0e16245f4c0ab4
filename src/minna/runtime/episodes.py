"""What a policy said and what came of it, in buffers of one size: the memory of PPO and GRPO.

Experience depends on the policy that made it, so it cannot be made again when a run goes on: it is
part of the checkpoint. As buffers of a module, saved with whatever holds them, it needs no format
of its own; every rank holds all of it, so a run goes on on any number of ranks.

N episodes, A tokens that an answer may have, W tokens of a prompt and its answer, B rows of a
batch, S places of a batch. An answer's token t stands at the place before it: where it was chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from minna.prompts import Turn

IGNORE = -100
_OF_TOKENS = (
    "old_logprobs",
    "reference_logprobs",
    "entropies",
    "old_values",
    "advantages",
    "returns",
)


@dataclass(frozen=True, kw_only=True)
class Said:
    """An answer as rewards see it.

    Attributes:
        turns: of the dialogue, up to the question.
        text: the answer, without what ends it.
        prompt_ids, answer_ids: as the policy read and wrote them.
        ended: whether the policy ended it, or it was cut off.
        logprobs: of each token of the answer, as it was drawn.
    """

    turns: tuple[Turn, ...]
    text: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    ended: bool
    logprobs: tuple[float, ...] = ()


class Episodes(nn.Module):
    """Buffers of `count` episodes.

    Args:
        count: N.
        prompt_tokens: longest prompt.
        answer_tokens: A.
    """

    ids: Tensor
    prompt: Tensor
    answer: Tensor
    ended: Tensor
    group: Tensor
    scores: Tensor

    def __init__(self, *, count: int, prompt_tokens: int, answer_tokens: int) -> None:
        super().__init__()
        self.answer_tokens = answer_tokens
        wide = prompt_tokens + answer_tokens
        self.register_buffer("ids", torch.zeros(count, wide, dtype=torch.int64))
        for name in ("prompt", "answer", "ended", "group"):
            self.register_buffer(name, torch.zeros(count, dtype=torch.int64))
        self.register_buffer("scores", torch.zeros(count))
        for name in _OF_TOKENS:
            self.register_buffer(name, torch.zeros(count, answer_tokens))

    def __len__(self) -> int:
        """Number of episodes."""
        return len(self.ids)

    def of(self, name: str) -> Tensor:
        """Return one of the buffers of tokens [N, A] by name."""
        return self.get_buffer(name)

    @property
    def mask(self) -> Tensor:
        """[N, A] where there is a token of an answer."""
        places = torch.arange(self.answer_tokens, device=self.ids.device)
        return places < self.answer[:, None]

    @torch.no_grad()
    def put(self, rows: Sequence[int], said: Sequence[Said], *, groups: Sequence[int]) -> None:
        """Write episodes; what was worked out about those before is forgotten."""
        for row, one, group in zip(rows, said, groups, strict=True):
            ids = [*one.prompt_ids, *one.answer_ids]
            self.ids[row] = 0
            self.ids[row, : len(ids)] = torch.tensor(ids)
            self.prompt[row], self.answer[row] = len(one.prompt_ids), len(one.answer_ids)
            self.ended[row], self.group[row] = int(one.ended), group
        for name in _OF_TOKENS:
            self.of(name)[list(rows)] = 0

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """Return a micro-batch: `tokens`, `targets` [B, S], and all that is known of each target.

        S is the longest of these rows; what is behind an episode is padding on the right, which a
        causal model does not see.
        """
        index = torch.as_tensor(rows, device=self.ids.device)
        prompt, answer = self.prompt[index, None], self.answer[index, None]
        size = int((prompt + answer).max()) - 1
        ids = self.ids[index]
        place = torch.arange(size, device=ids.device) - (prompt - 1)  # [B, S] which token of it
        asked = (place >= 0) & (place < answer)
        place = place.clamp(0, self.answer_tokens - 1)
        batch = {
            "tokens": ids[:, :size].contiguous(),
            "targets": ids[:, 1 : size + 1].where(asked, IGNORE),
        }
        for name in _OF_TOKENS:
            batch[name] = self.of(name)[index].gather(1, place).where(asked, 0.0)
        return batch

    @torch.no_grad()
    def keep(self, rows: Sequence[int], batch: dict[str, Tensor], known: dict[str, Tensor]) -> None:
        """Write numbers of targets [B, S], worked out on `batch(rows)`, to where they belong."""
        asked = batch["targets"] != IGNORE
        for place, row in enumerate(rows):
            for name, values in known.items():
                self.of(name)[row, : int(self.answer[row])] = values[place][asked[place]].float()

    @torch.no_grad()
    def keep_drawn(self, rows: Sequence[int], said: Sequence[Said]) -> None:
        """Take log-probabilities as they were drawn, also for a reference that nobody asks."""
        for row, one in zip(rows, said, strict=True):
            drawn = torch.tensor(one.logprobs)
            for name in ("old_logprobs", "reference_logprobs"):
                self.of(name)[row, : len(drawn)] = drawn

    def tensors(self) -> dict[str, Tensor]:
        """Every buffer by name."""
        return dict(self.named_buffers())
