"""Rows with hidden words: which are hidden follows from the seed and the row's place alone.

So every epoch hides others (dynamic masking, Liu et al. 2019, section 4.1), and a run that goes on,
on however many ranks, hides what it would have hidden. Hiding comes after tokenising, as in
rinna's: a [MASK] typed into a text gives other tokens.

A row is [CLS] and S - 1 tokens of the ribbon of `text.py`; there is no [SEP] and no padding, and
attention goes across the documents of a row (RoBERTa's FULL-SENTENCES, section 4.2; rinna took one
document a row and padded the rest).

B rows of a batch, S tokens of a row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from minna.streams.shards import TokenShards
from minna.streams.text import TextStream, TextStreamSettings
from minna.tokenizer.load import Tokenizer
from minna.tokenizer.masks import mask_ids
from minna.tokenizer.proto import PieceType

IGNORE = -100  # as torch's cross-entropy and our objectives read it
Replace = Literal["all_mask", "bert"]
_MASKED, _RANDOM = 0.8, 0.1  # of BERT's hidden words; the rest stay as they are


@checked_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MaskedStreamSettings:
    """How documents become rows with hidden words.

    Attributes:
        row_tokens: [CLS] included.
        rows: as in a text stream.
        rate: share of the words of a row that are hidden, at least one.
        replace: "all_mask" puts [MASK] for each, as rinna did; "bert" for 80 %, any word for 10 %,
            and leaves 10 % (Devlin et al. 2019, section 3.1).
    """

    kind: Literal["masked"]
    row_tokens: int = Field(ge=3)
    rows: Literal["continuous", "document_start"] = "continuous"
    rate: float = Field(default=0.15, gt=0, lt=1)
    replace: Replace = "all_mask"


@dataclass(frozen=True, kw_only=True)
class MaskIds:
    """Ids that hiding needs.

    Attributes:
        cls: begins a row.
        mask: stands for a hidden word.
        special: [vocabulary] what is never hidden, and never put for a word.
    """

    cls: int
    mask: int
    special: npt.NDArray[np.bool_]

    @staticmethod
    def of(words: Tokenizer) -> MaskIds:
        """Find them in a tokenizer.

        Raises:
            UsageError: it has no [CLS] or [MASK].
        """
        cls, mask = mask_ids(words)
        kinds = [piece.type for piece in words.fields.pieces]
        special = np.isin(kinds, (PieceType.UNKNOWN, PieceType.CONTROL, PieceType.UNUSED))
        return MaskIds(cls=cls, mask=mask, special=special)

    def hide(
        self,
        row_S: npt.NDArray[np.int64],
        *,
        rate: float,
        replace: Replace,
        generator: np.random.Generator,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Hide words of a row that begins with [CLS]; return (tokens, targets), both [S]."""
        words = np.flatnonzero(~self.special[row_S])
        targets = np.full_like(row_S, IGNORE)
        tokens = row_S.copy()
        if not len(words):
            return tokens, targets
        chosen = words[generator.random(len(words)) < rate]
        if not len(chosen):
            chosen = generator.choice(words, 1)
        targets[chosen] = row_S[chosen]
        if replace == "all_mask":
            tokens[chosen] = self.mask
            return tokens, targets
        fate = generator.random(len(chosen))
        tokens[chosen[fate < _MASKED]] = self.mask
        other = chosen[(fate >= _MASKED) & (fate < _MASKED + _RANDOM)]
        tokens[other] = generator.choice(np.flatnonzero(~self.special), len(other))
        return tokens, targets


class MaskedStream:
    """An endless iterator of batches with `tokens` and `targets`, both [B, S].

    Args:
        shards: the training split.
        settings: row length and hiding.
        rows: rows per batch on this rank (B).
        words: the tokenizer.
        seed: fixes every shuffle and every hidden word.
        rank, ranks: this rank takes every `ranks`-th batch of the same global order.
    """

    def __init__(
        self,
        shards: TokenShards,
        *,
        settings: MaskedStreamSettings,
        rows: int,
        words: Tokenizer,
        seed: int,
        rank: int = 0,
        ranks: int = 1,
    ) -> None:
        self._settings = settings
        self._ids = MaskIds.of(words)
        self._seed = seed
        self._text = TextStream(
            shards,
            settings=TextStreamSettings(
                row_tokens=settings.row_tokens - 1, rows=settings.rows, attention="across"
            ),
            rows=rows,
            eos=words.eos_id,
            seed=seed,
            rank=rank,
            ranks=ranks,
        )

    def state_dict(self) -> dict[str, int]:
        """Where the stream stands, for all ranks alike."""
        return self._text.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go to a place."""
        self._text.load_state_dict(state)

    def figures(self) -> dict[str, float]:
        """Say nothing beside what is learned."""
        return {}

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        return self

    def __next__(self) -> dict[str, Tensor]:
        tokens, targets = [], []
        for place, window in self._text.next_windows():
            row = np.concatenate(([self._ids.cls], window[:-1]))
            hidden, asked = self._ids.hide(
                row,
                rate=self._settings.rate,
                replace=self._settings.replace,
                # apart from the seeds of shuffles, which are shorter
                generator=np.random.default_rng((self._seed, *place, 1)),
            )
            tokens.append(hidden)
            targets.append(asked)
        return {
            "tokens": torch.from_numpy(np.stack(tokens)),
            "targets": torch.from_numpy(np.stack(targets)),
        }
