"""The task bits_per_byte: what a model pays for held-out text, beside n-grams and a compressor.

Version 1: every document of the split alone, after one `</s>`, its own `</s>` included; a document
of n UTF-8 bytes counts n + 1. Intervals are a percentile bootstrap over groups, as documents of one
group (translations of one sentence, one work) err together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minna import artifact
from minna.evaluate.documents import HeldOut, held_out, nats_of
from minna.evaluate.references import Measured, measure_references
from minna.evaluate.report import Data, Metric, Part, Reference, Task
from minna.evaluate.settings import EvaluateSettings
from minna.metrics import ratio_interval
from minna.runtime.load import LoadedModel

BITS_PER_BYTE: Final = "bits_per_byte"
VERSION: Final = "1"

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Bits:
    """The task as measured, with what the page shows documents from."""

    task: Task
    held: HeldOut
    nats: Floats

    def items(self) -> Iterator[dict[str, object]]:
        """One row per document: enough to compare two models document by document."""
        for document, size, cost in zip(
            self.held.documents, self.held.bytes, self.nats, strict=True
        ):
            yield {
                "id": document.id,
                "group": document.group,
                "source": document.source,
                "bytes": int(size),
                "nats": round(float(cost), 6),
            }


def measure_bits(model: LoadedModel, *, corpus: Path, settings: EvaluateSettings) -> Bits:
    """Score the held-out documents of a corpus.

    Raises:
        ArtifactError: the likelihoods are not numbers.
        DataError: the split is empty.
        UsageError: the tokenizer has no end of text.
    """
    held = held_out(corpus, split=settings.split, limit=settings.limit, model=model)
    nats = nats_of(model, held.tokens)
    references = measure_references(corpus, held=held, model=model, settings=settings)
    figures = _Figures(held, settings)
    return Bits(task=_task(model, held, nats, references, figures, corpus), held=held, nats=nats)


class _Figures:
    """The figures of any part of the held-out documents, with their intervals."""

    def __init__(self, held: HeldOut, settings: EvaluateSettings) -> None:
        self.held = held
        self._groups = held.groups
        self._settings = settings
        self.split = settings.split

    def of_model(
        self, nats: Floats, *, chosen: NDArray[np.bool_] | None = None
    ) -> dict[str, Metric]:
        """Every figure of a model, over all or the chosen documents."""
        held = self.held
        bits = nats / math.log(2)
        tokens = held.tokens.lengths
        return {
            BITS_PER_BYTE: self.ratio(bits, held.bytes, "bits/byte", chosen=chosen),
            "bits_per_character": self.ratio(
                bits, held.characters, "bits/character", chosen=chosen
            ),
            "perplexity_per_token": self.ratio(
                nats, tokens, "perplexity/token", chosen=chosen, then=math.exp
            ),
            "tokens_per_byte": self.ratio(tokens, held.bytes, "tokens/byte", chosen=chosen),
        }

    def of_reference(self, measured: Measured, *, model_nats: Floats) -> Reference:
        """Bits per byte of a reference, and the model's minus it (below zero: the model wins)."""
        if measured.nats is None:
            metrics = {BITS_PER_BYTE: Metric(value=measured.bits_per_byte, unit="bits/byte")}
        else:
            above = (model_nats - measured.nats) / math.log(2)
            metrics = {
                BITS_PER_BYTE: self.ratio(
                    measured.nats / math.log(2), self.held.bytes, "bits/byte"
                ),
                "model_minus_reference": self.ratio(above, self.held.bytes, "bits/byte"),
            }
        return Reference(metrics=metrics, conditions=measured.conditions)

    def ratio(
        self,
        above: Floats | NDArray[np.int64],
        below: NDArray[np.int64],
        unit: str,
        *,
        chosen: NDArray[np.bool_] | None = None,
        then: Callable[[float], float] = float,
    ) -> Metric:
        """One sum over another, with its interval; `then` is monotone."""
        part = slice(None) if chosen is None else chosen
        found = ratio_interval(
            above[part],
            below[part],
            groups=self._groups[part],
            resamples=self._settings.resamples,
            seed=self._settings.seed,
        )
        return Metric(
            value=then(found.value), low=then(found.low), high=then(found.high), unit=unit
        )


def _task(
    model: LoadedModel,
    held: HeldOut,
    nats: Floats,
    references: dict[str, Measured],
    figures: _Figures,
    corpus: Path,
) -> Task:
    sources = held.sources
    parts = {str(name): sources == name for name in np.unique(sources)}
    settings = artifact.read_manifest(corpus).settings
    return Task(
        name=BITS_PER_BYTE,
        version=VERSION,
        main=BITS_PER_BYTE,
        n=len(held.documents),
        data=Data(
            sha256=held.sha256(),
            title=str(settings.get("source", corpus.name)),
            split=figures.split,
        ),
        conditions={
            "context": "each document alone, after one </s>",
            "bytes": int(held.bytes.sum()),
            "characters": int(held.characters.sum()),
            "tokens": len(held.tokens.ids),
            "groups": len(np.unique(held.groups)),
            "device": model.device.type,
            "dtype": model.precision,
        },
        metrics=figures.of_model(nats),
        sources={
            name: Part(n=int(chosen.sum()), metrics=figures.of_model(nats, chosen=chosen))
            for name, chosen in parts.items()
        },
        references={
            name: figures.of_reference(measured, model_nats=nats)
            for name, measured in references.items()
        },
    )
