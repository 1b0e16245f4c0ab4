"""transformers' generate with our ends: every row has its own cap, stop ids and stop texts.

transformers stops a batch by one set of ends, and its stop strings are matched on tokens. Here each
row's text is streamed as in our engine, so both give the same answers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from minna.evaluate.backends.base import Finish, Generated, Generation
from minna.runtime.text import TextStream
from minna.tokenizer.coder import Coder


class _Row:
    """One answer in the making."""

    def __init__(self, job: Generation, *, coder: Coder) -> None:
        self._job = job
        self._text = TextStream(coder, stop_texts=job.stop_texts, stops_after=job.stops_after)
        self.ids: list[int] = []
        self.finish: Finish | None = None
        self._finite = True

    def take(self, token: int) -> bool:
        """Take a token; return whether the answer is complete (further tokens are ignored)."""
        if self.finish is not None:
            return True
        self.ids.append(token)
        if token in self._job.stop_ids:
            self.finish = "stop"
        else:
            self._text.feed(token)
            if self._text.stopped:
                self.finish = "stop-text"
            elif len(self.ids) == self._job.max_new_tokens:
                self.finish = "length"
        return self.finish is not None

    def judge(self, largest: float) -> None:
        """Note whether the largest logit, from which the next token follows, is a number."""
        if self.finish is None and not math.isfinite(largest):
            self._finite = False

    def answer(self) -> Generated:
        self._text.close()
        assert self.finish is not None, "generate ended before every row did"
        # what was held back may turn out to be the stop text
        finish = "stop-text" if self._text.stopped else self.finish
        return Generated(
            ids=tuple(self.ids), finish=finish, text=self._text.text, finite=self._finite
        )


@torch.inference_mode()
def continue_greedily(
    model: Any, jobs: Sequence[Generation], *, coder: Coder, device: torch.device
) -> list[Generated]:
    """Answer jobs in one batch, padded on the left."""
    from transformers import GenerationConfig

    longest = max(len(job.prompt) for job in jobs)
    ids = [[*[0] * (longest - len(job.prompt)), *job.prompt] for job in jobs]
    mask = [[0] * (longest - len(job.prompt)) + [1] * len(job.prompt) for job in jobs]
    rows = [_Row(job, coder=coder) for job in jobs]

    def ended(input_ids: Tensor, _scores: Any, **_more: Any) -> Tensor:
        done = [row.take(t) for row, t in zip(rows, input_ids[:, -1].tolist(), strict=True)]
        return torch.tensor(done, device=input_ids.device)

    def tokens_only(_input_ids: Tensor, scores: Tensor) -> Tensor:
        """Padded rows of the vocabulary are no tokens."""
        scores[:, coder.vocab_size :] = -torch.inf
        # a NaN is larger than anything, so the maximum shows it
        for row, largest in zip(rows, scores.amax(-1).tolist(), strict=True):
            row.judge(largest)
        return scores

    model.generate(
        torch.tensor(ids, device=device),
        attention_mask=torch.tensor(mask, device=device),
        generation_config=GenerationConfig(
            do_sample=False,
            max_new_tokens=max(job.max_new_tokens for job in jobs),
            pad_token_id=0,
        ),
        stopping_criteria=[ended],
        logits_processor=[tokens_only],
    )
    return [row.answer() for row in rows]
