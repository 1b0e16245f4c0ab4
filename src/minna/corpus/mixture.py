"""`corpus mix`: several corpora read as one, each so and so often, without copying a byte.

Much web text beside little good text is the rule in Japanese, and the published code of the paper's
GPTs can weigh CC-100 to Wikipedia 1 to 5. A mixture is a page of numbers: repeats happen in the
order of reading, so that a source told five times is stored and tokenised once.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna import artifact
from minna.artifact import Draft, Parent
from minna.artifact.files import replace_file, write_text_atomically
from minna.console import warn
from minna.corpus.components import (
    GOOD_REPEATS,
    MIXTURE_NAME,
    Component,
    Mixture,
    left_out_name,
    read_mixture,
)
from minna.corpus.mixture_card import card
from minna.corpus.overlap import find_overlap
from minna.corpus.read import Measured, measure, parts
from minna.errors import DataError, UsageError
from minna.units import format_bytes

_DIGITS = 9  # of repeats: what a float adds behind them would cost a pass over a file for nothing
_LEAST, _MOST = 1e-6, 1e6
_SPLITS = ("train", "valid", "test")


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class MixSettings:
    """How weights are read.

    Attributes:
        by: "repeats": a weight is how often an epoch tells a component; "share": what part of an
            epoch's bytes it gets.
        bytes: size of an epoch (shares only); None takes the smallest in which no document of any
            component is left out.
        max_repeats: most repeats that a share may need.
        seed: fixes which documents a fraction of a repeat takes.
    """

    by: Literal["repeats", "share"] = "repeats"
    bytes: int | None = Field(default=None, ge=1)
    max_repeats: float = Field(default=16.0, gt=0)
    seed: int = Field(default=0, ge=0)


def parse_weight(text: str) -> tuple[Path, float]:
    """Read CORPUS=WEIGHT.

    Raises:
        UsageError: no weight, or not a number over 0.
    """
    place, equals, weight = text.rpartition("=")
    if not equals or not place:
        raise UsageError(
            f"a component must be CORPUS=WEIGHT, not {text!r}",
            remedy="write for example build/wiki=5 build/cc100=1",
        )
    try:
        number = float(weight)
    except ValueError as error:
        raise UsageError(
            f"the weight of {place} must be a number, not {weight!r}",
            remedy=f"write for example {place}=2.5",
        ) from error
    return Path(place), number


def mix(
    weights: Sequence[tuple[Path, float]], *, out: Path, settings: MixSettings | None = None
) -> Mixture:
    """Write the mixture of some corpora at `out`; does nothing when it is there already.

    Args:
        weights: each corpus with its weight, in the order its documents are told.
        out: a directory that becomes a corpus.
        settings: what the weights mean.

    Raises:
        UsageError: a weight is impossible, or a corpus is named twice or is a mixture itself.
        DataError: a component has no training documents.
        ArtifactError: a component is no corpus, or `out` holds something else.
    """
    settings = settings or MixSettings()
    _refuse_impossible(weights, settings)
    parents = [artifact.parent_of(path, role="component", kind="corpus") for path, _ in weights]
    _refuse_twice(weights, parents)
    _refuse_own_place(weights, out)
    _refuse_mixtures(weights, settings)
    values: dict[str, Any] = {
        **dataclasses.asdict(settings),
        "weights": [weight for _, weight in weights],
    }
    if artifact.unchanged(out, key=artifact.key_of("corpus", settings=values, parents=parents)):
        found = read_mixture(out)
        assert found is not None, "a corpus with the key of a mixture is one"
        return found
    with artifact.writing(out, kind="corpus", settings=values, parents=parents) as draft:
        mixture = _write(draft, weights, parents, out=out, settings=settings)
    _warn(mixture)
    return mixture


def _refuse_own_place(weights: Sequence[tuple[Path, float]], out: Path) -> None:
    """A mixture written over, into or around a component would delete it."""
    place = out.resolve()
    for path, _ in weights:
        own = path.resolve()
        if place == own or place.is_relative_to(own) or own.is_relative_to(place):
            raise UsageError(
                f"--out {out} is the place of the component {path}, which the mixture reads",
                remedy="choose an --out beside the components",
            )


def _write(
    draft: Draft,
    weights: Sequence[tuple[Path, float]],
    parents: list[Parent],
    *,
    out: Path,
    settings: MixSettings,
) -> Mixture:
    """Compare, measure, and put the page of numbers together."""
    corpora = [parts(path) for path, _ in weights]
    overlap = find_overlap(corpora)
    found = [
        measure([dataclasses.replace(part, left_out=ids) for part in corpus])
        for corpus, ids in zip(corpora, overlap.left_out, strict=True)
    ]
    sizes = [one.bytes["train"] for one in found]
    _refuse_empty(weights, sizes)
    repeats = _repeats(weights, sizes, settings)
    total = sum(size * times for size, times in zip(sizes, repeats, strict=True))
    mixture = Mixture(
        by=settings.by,
        seed=settings.seed,
        shared=overlap.shared,
        components=[
            Component(
                path=_relative(path, start=out),
                sha256=parents[index].sha256,
                repeats=repeats[index],
                documents=found[index].documents["train"],
                bytes=sizes[index],
                asked=weight,
                share=sizes[index] * repeats[index] / total,
                left_out=len(overlap.left_out[index]),
            )
            for index, (path, weight) in enumerate(weights)
        ],
    )
    write_text_atomically(draft.path / MIXTURE_NAME, mixture.model_dump_json(indent=1) + "\n")
    for index, ids in enumerate(overlap.left_out):
        if len(ids):
            with replace_file(draft.path / left_out_name(index)) as file:
                np.save(file, ids, allow_pickle=False)
    _count(draft, mixture, found)
    _gather_terms(draft, [path for path, _ in weights])
    words = card(mixture, licences=draft.licences, legal=draft.legal)
    write_text_atomically(draft.path / "card.md", words)
    return mixture


def _repeats(
    weights: Sequence[tuple[Path, float]], sizes: list[int], settings: MixSettings
) -> list[float]:
    """How often an epoch tells each component.

    Raises:
        UsageError: a share is more than the component's repeats allow.
    """
    if settings.by == "repeats":
        return [weight for _, weight in weights]
    whole = sum(weight for _, weight in weights)
    shares = [weight / whole for _, weight in weights]
    total = settings.bytes or max(s / share for s, share in zip(sizes, shares, strict=True))
    repeats = [share * total / size for share, size in zip(shares, sizes, strict=True)]
    most = settings.max_repeats
    for (path, _), share, size, times in zip(weights, shares, sizes, repeats, strict=True):
        if times > most * (1 + 10**-_DIGITS):
            raise UsageError(
                f"{share:.3g} of {format_bytes(total)} is {format_bytes(share * total)}, and "
                f"{path} has {format_bytes(size)}: it would be repeated {times:.1f} times, over "
                f"--max-repeats {most:g}",
                remedy=f"give --bytes {int(most * size / share)} or less, a smaller share, more "
                f"text for it, or --max-repeats {math.ceil(times)}",
            )
    return [max(round(times, _DIGITS), 10**-_DIGITS) for times in repeats]


def _refuse_impossible(weights: Sequence[tuple[Path, float]], settings: MixSettings) -> None:
    if not weights:
        raise UsageError("a mixture needs a component", remedy="write build/wiki=5 build/cc100=1")
    for path, weight in weights:
        if not (math.isfinite(weight) and weight > 0):
            raise UsageError(
                f"the weight of {path} is {weight:g}, and it must be a number over 0",
                remedy="leave the component out, or give for example 0.5 for half of it",
            )
        if not _LEAST <= weight <= _MOST:
            raise UsageError(
                f"the weight of {path} is {weight:g}, and it must lie between {_LEAST:g} and "
                f"{_MOST:g}",
                remedy="give all weights in another unit: only their ratios, or repeats, count",
            )
    if settings.bytes is not None and settings.by == "repeats":
        raise UsageError(
            f"--bytes {settings.bytes} needs shares: repeats give the size of the mixture already",
            remedy="add --by share, or leave --bytes out",
        )


def _refuse_twice(weights: Sequence[tuple[Path, float]], parents: list[Parent]) -> None:
    seen: dict[str, Path] = {}
    for (path, weight), parent in zip(weights, parents, strict=True):
        if parent.sha256 in seen:
            raise UsageError(
                f"{path} is the same corpus as {seen[parent.sha256]}",
                remedy=f"name it once, with its whole weight (this one has {weight:g})",
            )
        seen[parent.sha256] = path


def _refuse_mixtures(weights: Sequence[tuple[Path, float]], settings: MixSettings) -> None:
    """Refuse mixtures of mixtures: what one says of repeats would no longer be what happens."""
    for path, weight in weights:
        inner = read_mixture(path)
        if inner is None:
            continue
        instead = "its components"
        if settings.by == "repeats":
            instead = " ".join(
                f"{(path / part.path).resolve().name}={part.repeats * weight:g}"
                for part in inner.components
            )
        raise UsageError(
            f"{path} is a mixture itself, and mixtures are made of corpora with documents",
            remedy=f"name {instead} in its place",
        )


def _refuse_empty(weights: Sequence[tuple[Path, float]], sizes: list[int]) -> None:
    for (path, _), size in zip(weights, sizes, strict=True):
        if not size:
            raise DataError(
                f"{path} has no training documents of its own to mix",
                remedy="leave it out, or build it with more documents",
            )


def _count(draft: Draft, mixture: Mixture, found: list[Measured]) -> None:
    """Count every document once, as a plain corpus does, and what an epoch comes to."""
    draft.count("documents", sum(sum(one.documents.values()) for one in found), "documents")
    draft.count("text_bytes", sum(sum(one.bytes.values()) for one in found), "bytes")
    for split in _SPLITS:
        draft.count(split, sum(one.documents[split] for one in found), "documents")
    draft.count("epoch_documents", round(mixture.documents), "documents, repeats counted")
    draft.count("epoch_bytes", round(mixture.bytes), "bytes, repeats counted")
    draft.count("shared", mixture.shared, "documents in more than one component")
    left_out = sum(part.left_out for part in mixture.components)
    draft.count("left_out", left_out, "copies that another component holds out")


def _gather_terms(draft: Draft, corpora: list[Path]) -> None:
    manifests = [artifact.read_manifest(path) for path in corpora]
    draft.licences = list(dict.fromkeys(one for m in manifests for one in m.licences))
    draft.legal = list(dict.fromkeys(note for m in manifests for note in m.legal))


def _relative(path: Path, *, start: Path) -> str:
    """The way from the mixture to a component, so that both can be moved together."""
    place = Path(os.path.abspath(path))
    try:
        return Path(os.path.relpath(place, os.path.abspath(start))).as_posix()
    except ValueError:  # another drive (Windows): there is no way
        return place.as_posix()


def _warn(mixture: Mixture) -> None:
    for part in mixture.components:
        if part.repeats > GOOD_REPEATS:
            warn(
                f"{part.name} is told {part.repeats:g} times in an epoch: beyond about "
                f"{GOOD_REPEATS}, repeats teach less and less (Muennighoff et al. 2023)"
            )
    if mixture.shared:
        left_out = sum(part.left_out for part in mixture.components)
        warn(
            f"{mixture.shared} documents are in more than one component; {left_out} copies are not "
            "read, because another component holds the same document out for valid or test"
        )
