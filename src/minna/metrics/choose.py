"""Which of several texts a model chose, from their log-likelihoods.

A long choice has a lower likelihood than a short one for its length alone. The harness of the paper
reports the plain sum (`acc`) and the sum per character (`acc_norm`); others count UTF-8 bytes. On
published runs the first two differ by up to 9 points (jcommonsenseqa, japanese-gpt-1b: 34.8 and
25.7), so each has its own name. The first of equals wins, everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence

from minna.errors import DataError


def by_sum(logprobs: Sequence[float]) -> int:
    """Index of the likeliest choice."""
    if not logprobs:
        raise DataError("there is nothing to choose from")
    return max(range(len(logprobs)), key=logprobs.__getitem__)


def by_characters(logprobs: Sequence[float], texts: Sequence[str]) -> int:
    """Index of the choice with the highest log-likelihood per character.

    Raises:
        DataError: no choices, or one that is empty.
    """
    return by_sum(_per_unit(logprobs, [len(text) for text in texts]))


def by_bytes(logprobs: Sequence[float], texts: Sequence[str]) -> int:
    """Index of the choice with the highest log-likelihood per UTF-8 byte.

    Raises:
        DataError: no choices, or one that is empty.
    """
    return by_sum(_per_unit(logprobs, [len(text.encode()) for text in texts]))


def sentence_won(logprobs: Sequence[float], *, gold: int) -> bool:
    """Whether the right sentence is likelier than every other; a tie is not won."""
    return all(logprobs[gold] > value for i, value in enumerate(logprobs) if i != gold)


def sentence_won_as_harness(
    logprobs: Sequence[float], greedy: Sequence[bool], *, gold: int
) -> bool:
    """The same by the paper's harness, which compares (log-likelihood, is greedy).

    Of two sentences of equal likelihood the one that greedy decoding would have produced wins; a
    tie of both is not won.
    """
    pairs = list(zip(logprobs, greedy, strict=True))
    return all(pairs[gold] > pair for i, pair in enumerate(pairs) if i != gold)


def _per_unit(logprobs: Sequence[float], units: Sequence[int]) -> list[float]:
    if 0 in units:
        raise DataError(
            f"choice {units.index(0)} is empty, and has no log-likelihood per character",
            remedy="mend the data set: every choice needs a text",
        )
    return [logprob / count for logprob, count in zip(logprobs, units, strict=True)]
