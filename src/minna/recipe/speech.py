"""What goes together where speech is heard: three ways of learning from sound, and recognition.

Nothing of it reads text: the samples of a corpus are written once as the streams read them
(`streams/sound_rows.py`), a recogniser's symbols are those of the inventory that its recipe names,
and HuBERT's labels come from a side-car of the corpus (`minna label kmeans`).
"""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from minna.console import say, warn
from minna.corpus.audio import RATE
from minna.corpus.frame_labels import Labels, open_labels
from minna.errors import UsageError
from minna.metrics.edits import Words, edit_counts, sound_units, word_units
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.objectives import (
    Ctc,
    CtcSettings,
    MaskedClusters,
    MaskedClustersSettings,
    QuantisedContrast,
    QuantisedContrastSettings,
    SelfDistillation,
    SelfDistillationSettings,
)
from minna.recipe.kinds import Kind, Scene
from minna.recipe.schema import Recipe
from minna.runtime.ctc import greedy
from minna.runtime.speech import beside_speech
from minna.streams import (
    ClipStream,
    ClipStreamSettings,
    SoundRows,
    UtteranceStream,
    UtteranceStreamSettings,
    write_sounds_of,
)
from minna.streams.clips import chosen, cut, utterances
from minna.streams.sound_rows import frames_of_each
from minna.tokenizer.coder import AnyTokenizer
from minna.tokenizer.sounds import VOCAB_NAME, Sounds, read_sounds
from minna.train.protocols import Evaluation, Evaluator, LearningRate, Objective, Stream
from minna.train.quality import nothing
from minna.train.ranks import ALONE, Ranks
from minna.train.schedule import Ahead
from minna.units import format_seconds

_Pretraining = MaskedClusters | QuantisedContrast | SelfDistillation
_SEED = 20_210_614  # of what is hidden of held-out clips; any number
_SHOWN = 6
_UNITS: dict[str, Callable[[Words], Sequence[Hashable]]] = {
    "word_error_rate": word_units,
    "phone_error_rate": functools.partial(sound_units, boundaries="left"),
}


@dataclass(frozen=True)
class _Nothing:
    """The vocabulary of an encoder that only hears."""

    vocab_size: int = 0


def _words(path: Path) -> AnyTokenizer:
    """Open the vocabulary of a run; streams and looks of speech know which it is."""
    found = read_sounds(path) if (path / VOCAB_NAME).is_file() else _Nothing()
    return cast("AnyTokenizer", found)


def _tokens(recipe: Recipe, corpus: Path, tokenizer: Path, out: Path, _threads: int) -> Path:
    sounds = read_sounds(tokenizer) if recipe.tokenizer.kind == "sounds" else None
    return write_sounds_of(corpus, sounds=sounds, vocabulary=tokenizer, out=out)


def pretraining_of(recipe: Recipe, model: SpeechEncoder, *, ranks: Ranks = ALONE) -> _Pretraining:
    """Return what a recipe pre-trains an encoder by, as it begins."""
    told, config, seed = recipe.objective, model.config, recipe.train.seed
    if isinstance(told, MaskedClustersSettings):
        return MaskedClusters(told, width=config.width, seed=seed)
    if isinstance(told, QuantisedContrastSettings):
        return QuantisedContrast(
            told, features=config.conv_widths[-1], width=config.width, seed=seed, ranks=ranks
        )
    assert isinstance(told, SelfDistillationSettings), "the recipe was checked"
    return SelfDistillation(told, model=model, seed=seed, ranks=ranks)


def _pretrains(recipe: Recipe, model: nn.Module, _words: AnyTokenizer, ranks: Ranks) -> Objective:
    """Make the objective; what one of the same shape learned before lies beside `init.from`."""
    assert isinstance(model, SpeechEncoder), "the recipe was checked"
    objective = pretraining_of(recipe, model, ranks=ranks)
    if recipe.init.from_:
        mine = objective.state_dict()
        known = beside_speech(Path(recipe.init.from_))
        fits = {k: v for k, v in known.items() if k in mine and mine[k].shape == v.shape}
        objective.load_state_dict(fits, strict=False)
        if known:
            say(f"{len(fits)} of {len(known)} tensors beside {recipe.init.from_} are gone on with")
    return objective


def _recognises(recipe: Recipe, _model: nn.Module, words: AnyTokenizer, ranks: Ranks) -> Objective:
    settings = cast("CtcSettings", recipe.objective)
    if not recipe.init.from_ and not recipe.trainable.get("convolutions", True):
        warn(
            "the convolutions are random and never learn (init.from is empty, and "
            "trainable.convolutions is false): give an encoder, or trainable.convolutions=true"
        )
    return Ctc(settings, vocab=words.vocab_size, ranks=ranks)


def _terms(recipe: Recipe) -> dict[str, float]:
    told = cast("MaskedClustersSettings | CtcSettings", recipe.objective)
    return told.weights


def _clips(scene: Scene) -> Stream:
    rows = SoundRows(scene.tokens, split="train")
    settings = cast("ClipStreamSettings", scene.recipe.stream)
    labels = _labels(scene.recipe, rows)
    stream = ClipStream(rows, settings=settings, labels=labels, **scene.place)
    _tell(rows, stream.numbers, stream.left_out)
    return stream


def _utterances(scene: Scene) -> Stream:
    rows = SoundRows(scene.tokens, split="train")
    settings = cast("UtteranceStreamSettings", scene.recipe.stream)
    model = cast("SpeechRecogniser", scene.model)
    width = model.config.width
    stream = UtteranceStream(rows, settings=settings, width=width, **scene.place)
    _tell(rows, stream.numbers, stream.left_out)
    return stream


def _tell(rows: SoundRows, numbers: np.ndarray, left_out: dict[str, int]) -> None:
    seconds = float(rows.samples_N[numbers].sum()) / RATE
    left = "".join(f", {count} are {why}" for why, count in left_out.items())
    say(f"training hears {len(numbers)} clips of {len(rows)}, {format_seconds(seconds)}{left}")


def _labels(recipe: Recipe, rows: SoundRows) -> Labels | None:
    """Open what HuBERT learns to say.

    Raises:
        UsageError: no side-car is named, or its clusters are not those of the objective.
        ArtifactError: it is of another corpus or rate.
    """
    told, stream = recipe.objective, cast("ClipStreamSettings", recipe.stream)
    if not isinstance(told, MaskedClustersSettings):
        return None
    if not stream.labels:
        raise UsageError(
            "HuBERT learns labels of frames, and stream.labels is empty",
            remedy="make them with `minna label kmeans CORPUS --features mfcc --out SIDECAR`, and "
            "give stream.labels=SIDECAR",
        )
    labels = open_labels(Path(stream.labels), rows.corpus, rate=stream.label_rate)
    if labels.clusters != told.clusters:
        raise UsageError(
            f"{stream.labels} has {labels.clusters} clusters, and objective.clusters is "
            f"{told.clusters}",
            remedy=f"give objective.clusters={labels.clusters}, or other labels",
        )
    return labels


def _held_out(scene: Scene) -> list[Evaluator]:
    """Every term of the loss on held-out clips, cut and hidden the same at every look."""
    rows = SoundRows(scene.tokens, split="valid")
    settings = cast("ClipStreamSettings", scene.recipe.stream)
    limit = scene.recipe.evaluate.valid_documents
    if not limit or not (rows.samples_N >= settings.shortest * RATE).any():
        return []
    labels = _labels(scene.recipe, rows)
    held = ClipStream(rows, settings=replace(settings, minutes=0), labels=labels, seed=_SEED)
    portions = _portions(held.numbers, rows, limit=limit, settings=settings)

    @torch.no_grad()
    def look(model: nn.Module) -> Evaluation:
        objective = cast("_Pretraining", scene.objective)
        batches = (held.batch(numbers, epoch=0) for numbers in portions)
        with _at_rest(objective):
            figures = _averages(objective, cast("SpeechEncoder", model), batches, scene)
        return Evaluation(figures={f"valid/{name}": value for name, value in figures.items()})

    return [look]


def _portions(
    numbers: np.ndarray,
    rows: SoundRows,
    *,
    limit: int,
    settings: ClipStreamSettings | UtteranceStreamSettings,
) -> list[np.ndarray]:
    """Return some of the clips, those of about one length together."""
    some = numbers[np.unique(np.linspace(0, len(numbers) - 1, min(limit, len(numbers)), dtype=int))]
    some = some[np.argsort(rows.samples_N[some], kind="stable")]
    frames = np.minimum(frames_of_each(rows.samples_N[some]), settings.attended)
    slices = cut(frames, row_frames=settings.row_tokens, counts="longest")
    return [some[one] for one in slices]


@contextlib.contextmanager
def _at_rest(module: nn.Module) -> Generator[None]:
    """An objective drops nothing, for as long as held-out clips are looked at."""
    before = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(before)


def _averages(
    objective: _Pretraining,
    model: SpeechEncoder,
    batches: Iterator[dict[str, Tensor]],
    scene: Scene,
) -> dict[str, float]:
    """Every term, averaged over what it counts."""
    sums: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for batch in batches:
        moved = {name: one.to(scene.numerics.device) for name, one in batch.items()}
        counts.update(objective.counts(moved))
        terms, _ = objective.loss(model, moved)
        for name, value in terms.items():
            sums[name] += float(value)  # type: ignore[assignment]
    return {name: sums[name] / count for name, count in counts.items() if count}


def _recognised(scene: Scene) -> list[Evaluator]:
    """Error rates of the best path on held-out clips, and what was heard in some of them."""
    rows = SoundRows(scene.tokens, split="valid")
    settings = cast("UtteranceStreamSettings", scene.recipe.stream)
    limit = scene.recipe.evaluate.valid_documents
    if not limit or not len(rows):
        return []
    sounds = cast("Sounds", scene.words)
    numbers, _ = chosen(rows, shortest=settings.shortest, longest=settings.longest, minutes=0)
    portions = _portions(numbers, rows, limit=limit, settings=settings)
    said = [sounds.words(rows.targets_of(int(n)).tolist()) for part in portions for n in part]

    @torch.no_grad()
    def look(model: nn.Module) -> Evaluation:
        hears = functools.partial(_best_paths, cast("SpeechRecogniser", model), rows, scene=scene)
        heard = [sounds.words(ids) for part in portions for ids in hears(part)]
        some = slice(None, None, len(said) // _SHOWN + 1)
        shown = zip(said[some], heard[some], strict=True)
        return Evaluation(
            figures={
                f"valid/{name}": _rate([*map(units, said)], [*map(units, heard)])
                for name, units in _UNITS.items()
            },
            samples=[{"prompt": sounds.told(a), "text": sounds.told(b)} for a, b in shown],
        )

    return [look]


def _best_paths(
    model: SpeechRecogniser, rows: SoundRows, numbers: np.ndarray, *, scene: Scene
) -> list[tuple[int, ...]]:
    batch = utterances(rows, numbers)
    device = torch.device(scene.numerics.device)
    said = model(batch["samples"].to(device), batch["lengths"].to(device))
    logprobs = said.logits.log_softmax(-1).cpu().numpy()
    return [
        greedy(own[:frames]).ids for own, frames in zip(logprobs, said.frames.tolist(), strict=True)
    ]


def _head_first(recipe: Recipe) -> LearningRate:
    """The schedule, behind the steps that the head has for itself if it has a rate of its own."""
    settings = cast("CtcSettings", recipe.objective)
    if settings.head_rate is None:
        return recipe.schedule
    return Ahead(steps=settings.frozen_steps, factor=settings.head_rate, then=recipe.schedule)


def _rate(said: list[Sequence[Hashable]], heard: list[Sequence[Hashable]]) -> float:
    counts_N4 = edit_counts(said, heard)
    return float(counts_N4[:, :3].sum() / max(1, counts_N4[:, 3].sum()))


def _data(tokens: Path) -> SoundRows:
    return SoundRows(tokens, split="train")


def _kind(
    objective: Callable[[Recipe, nn.Module, AnyTokenizer, Ranks], Objective],
    stream: Callable[[Scene], Stream],
    looks: Callable[[Scene], list[Evaluator]],
    *told: str,
) -> Kind:
    return Kind(
        objective=objective,
        stream=stream,
        looks=lambda scene, _stream: looks(scene),
        told=told,
        terms=_terms,
        quality=lambda _tokens: nothing,
        tokens=_tokens,
        words=_words,
        data=_data,
        compiles=False,
    )


_pretraining = functools.partial(_kind, _pretrains, _clips, _held_out)
SPEECH = {
    "masked_clusters": _pretraining("masked/accuracy"),
    "quantised_contrast": _pretraining("contrast/accuracy", "codes/perplexity"),
    "self_distillation": _pretraining("targets/deviation"),
}
RECOGNITION = replace(
    _kind(_recognises, _utterances, _recognised, "ctc/nats_per_symbol", "ctc/skipped"),
    schedule=_head_first,
)
