"""`evaluate`: a model dir and a corpus in, a report directory out.

Task bits_per_byte, version 1: every document of the split alone, after one `</s>`, its own `</s>`
included; a document of n UTF-8 bytes counts n + 1. Intervals are a percentile bootstrap over
groups, as documents of one group (translations of one sentence, one work) err together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from minna import artifact
from minna.artifact.atomic import Draft
from minna.artifact.verify import verify
from minna.console import say
from minna.errors import ArtifactError
from minna.evaluate.documents import HeldOut, held_out, nats_of
from minna.evaluate.page import write_page
from minna.evaluate.references import Measured, measure_references
from minna.evaluate.report import (
    Data,
    Metric,
    Part,
    Reference,
    Report,
    Task,
    write_items,
    write_report,
)
from minna.evaluate.settings import EvaluateSettings
from minna.metrics import ratio_interval
from minna.runtime.load import LoadedModel, load_model

BITS_PER_BYTE: Final = "bits_per_byte"
VERSION: Final = "1"
MODE: Final = "fixed"

Floats = NDArray[np.float64]


def evaluate(model: Path, *, corpus: Path, out: Path, settings: EvaluateSettings) -> Path:
    """Measure the model dir (or release) `model` on held-out documents of `corpus`.

    A report of the same model, corpus and settings is left as it is.

    Returns:
        `out`.

    Raises:
        ArtifactError: the model is damaged, its likelihoods are not numbers, `out` holds another
            kind of directory.
        DataError: the split is empty.
        UsageError: the tokenizer has no end of text, or the device is not there.
    """
    _refuse_other_kinds(model)
    parents = [
        artifact.parent_of(model, role="model"),
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
    ]
    values = asdict(settings) | {"task": BITS_PER_BYTE, "version": VERSION, "mode": MODE}
    values["references"] = list(settings.references)
    if artifact.unchanged(out, key=artifact.key_of("report", settings=values, parents=parents)):
        say(f"{out}: this model is evaluated on this corpus with these settings already")
        return out
    verify(model)
    loaded = load_model(model, device=settings.device, dtype=settings.dtype)
    with artifact.writing(out, kind="report", settings=values, parents=parents) as draft:
        held = held_out(corpus, split=settings.split, limit=settings.limit, model=loaded)
        nats = nats_of(loaded, held.tokens)
        references = measure_references(corpus, held=held, model=loaded, settings=settings)
        figures = _Figures(held, settings)
        report = Report(
            mode=MODE,
            model=parents[0].sha256,
            model_name=model.resolve().name,
            tasks=[_task(loaded, held, nats, references, figures, corpus)],
        )
        write_report(draft.path, report)
        write_items(draft.path, BITS_PER_BYTE, _items(held, nats))
        write_page(draft.path, report=report, held=held, nats=nats)
        _count(draft, held)
        # examples of the text stand in report.html
        draft.licences = list(artifact.read_manifest(corpus).licences)
    return out


def _refuse_other_kinds(model: Path) -> None:
    kind = artifact.read_manifest(model).kind
    if kind not in ("model", "release"):
        raise ArtifactError(
            f"{model} is a {kind}, and a model or a release is needed",
            remedy="a run becomes a model by: minna export RUN --out MODEL",
        )


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
            "dtype": str(model.dtype).removeprefix("torch."),
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


def _items(held: HeldOut, nats: Floats) -> Iterator[dict[str, object]]:
    """One row per document: enough to compare two models document by document."""
    for document, size, cost in zip(held.documents, held.bytes, nats, strict=True):
        yield {
            "id": document.id,
            "group": document.group,
            "source": document.source,
            "bytes": int(size),
            "nats": round(float(cost), 6),
        }


def _count(draft: Draft, held: HeldOut) -> None:
    draft.count("documents", len(held.documents), "documents")
    draft.count("bytes", int(held.bytes.sum()), "bytes")
    draft.count("tokens", len(held.tokens.ids), "tokens")
