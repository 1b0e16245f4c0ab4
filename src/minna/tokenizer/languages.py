"""Learning from several languages: a share of the sample for each, and its own coverage.

English counts drown Japanese ones: where half of the text is English, the characters that 99.95 %
of *all* text needs leave out kanji that one Japanese character in a thousand is. So each language
has a sample of its own, and the characters that its own coverage asks for get a piece.
"""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from minna.errors import ArtifactError, DataError
from minna.tokenizer.sample import Reservoir, Sample


def says_languages(corpus: Path) -> bool:
    """Whether every file of the corpus has a column `language`.

    Raises:
        ArtifactError: not a corpus, or a file of it is damaged.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from minna.corpus.read import files

    try:
        return all("language" in pq.read_schema(file).names for file in files(corpus))
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(
            f"a file of {corpus} cannot be read: {error}",
            remedy=f"look with: minna inspect {corpus}; then build the corpus again",
        ) from error


def texts_with_languages(corpus: Path) -> Iterator[tuple[list[str], list[str]]]:
    """Yield (texts, their languages) of the split "train", batch by batch.

    Raises:
        DataError: the corpus does not say languages.
    """
    from minna.corpus.read import batches

    if not says_languages(corpus):
        raise DataError(
            f"shares of languages need a column `language`, and {corpus} has none",
            remedy="build the corpus again with this version, or leave `languages` out",
        )
    for batch in batches(corpus, split="train", columns=["text", "language"]):
        texts, languages = (cast("list[str]", column.to_pylist()) for column in batch.columns)
        yield texts, languages


def draw_by_language(
    batches: Iterable[tuple[Sequence[str], Sequence[str]]],
    *,
    shares: Mapping[str, float],
    limit_bytes: int,
    seed: int,
) -> dict[str, Sample]:
    """Draw a sample of each language, so that their bytes stand to each other as `shares` do.

    A language with less text than its share makes all samples smaller, never the shares others.

    Args:
        batches: (texts, their languages); documents of other languages are passed over.
        shares: of each language, summing to 1.
        limit_bytes: of all samples together.
        seed: the same seed, the same samples.

    Raises:
        DataError: a language of `shares` has no text here.
    """
    reservoirs = {
        name: Reservoir(limit_bytes=round(share * limit_bytes), seed=seed + number)
        for number, (name, share) in enumerate(shares.items())
    }
    found: collections.Counter[str] = collections.Counter()
    for texts, languages in batches:
        found.update(languages)
        for name, reservoir in reservoirs.items():
            reservoir.show(t for t, other in zip(texts, languages, strict=True) if other == name)
    for name, reservoir in reservoirs.items():
        if not reservoir.seen_bytes:
            there = ", ".join(f"{key or 'not stated'}: {n}" for key, n in found.most_common())
            raise DataError(
                f"languages asks for {name!r}, and no document of the training split is in it "
                f"({there or 'no documents'})",
                remedy="build a corpus with that language, or change `languages`",
            )
    total = min(
        min(reservoir.seen_bytes, reservoir.limit_bytes) / share
        for reservoir, share in zip(reservoirs.values(), shares.values(), strict=True)
    )
    for reservoir, share in zip(reservoirs.values(), shares.values(), strict=True):
        reservoir.shrink(round(share * total))
    return {name: reservoir.sample() for name, reservoir in reservoirs.items()}


def covered_characters(lines: Iterable[str], *, coverage: float) -> set[str]:
    """The most frequent characters that make up `coverage` of the text, as SentencePiece counts."""
    counts: collections.Counter[str] = collections.Counter()
    for line in lines:
        counts.update(line)
    total = sum(counts.values())
    kept: set[str] = set()
    held = 0
    for character, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if held >= coverage * total:
            break
        kept.add(character)
        held += count
    return kept


def cut_at_uncovered(lines: list[str], *, covered: set[str]) -> list[str]:
    """Cut lines where a character stands that gets no piece, so that no piece is learnt across."""
    uncovered = {character for line in lines for character in line} - covered
    if not uncovered:
        return lines
    cut = re.compile("[" + "".join(map(re.escape, sorted(uncovered))) + "]+")
    return [part for line in lines for part in cut.split(line) if part]
