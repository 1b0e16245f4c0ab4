"""Where a fresh model's weights come from: any model dir we can read (`init.from`), or chance.

Going on from a released model must not need its numbers copied by hand, nor twice its memory:

- what `[model]` leaves out is read from the model dir's config.json (`completed`), what it states
  is compared with that, field by field, before anything slow begins (`refuse_other_shape`);
- tensors are copied one by one out of mapped files into the model that is trained. Llama 2 7 B is
  27 GB in fp32; a second whole copy would not fit where the first just does.

The run's own checkpoint comes later and wins.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from minna.console import say, warn
from minna.errors import ArtifactError, UsageError
from minna.models.dual import DualEncoder
from minna.models.family import FAMILIES, Family, Shape, config_of
from minna.models.scorer import SCORE, Scorer
from minna.models.speech.config import SpeechConfig
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.runtime.load import family_of
from minna.runtime.speech import begin_speech
from minna.runtime.towers import load_text_tower
from minna.runtime.weights import read_json, read_weights
from minna.tokenizer.settings import SoundsSettings
from minna.tokenizer.sounds import sounds_of_inventory

if TYPE_CHECKING:
    from minna.recipe.schema import Recipe

# With these a shape is whole: what else it leaves out has its default.
_WHOLE = ("family", "layers", "width", "heads", "ffn", "vocab")
# What training may change without making it another network.
_FREE = {"vocab", "dropout", "init_std", "embed_init_std", "residual_init"} | {
    "attention_dropout",
    "activation_dropout",
    "feature_dropout",
    "head_dropout",
    "layer_drop",
}
# A context is lengthened by turning more slowly: that is what such a run is for.
_LENGTH = {"context", "rotary_scaling", "rotary_bands"}
# Rows of these are words.
_WORDS = {"embed.weight", "head.weight"}


def initialise(model: nn.Module, recipe: Recipe) -> None:
    """Fill a model with random weights, or with those of the model dir `init.from`.

    Words that model has no rows for (a larger `model.vocab`) begin as the mean of all it knows.

    Raises:
        UsageError: its shape is not that of `[model]`.
        ArtifactError: it cannot be read, or its weights do not fit its config.json.
    """
    if not recipe.init.from_:
        model.initialise(seed=recipe.train.seed)  # type: ignore[operator] - every family has it
        if isinstance(model, DualEncoder) and recipe.init.text:
            load_text_tower(model, Path(recipe.init.text))
        return
    refuse_other_shape(recipe)
    path = Path(recipe.init.from_)
    if isinstance(model, SpeechEncoder | SpeechRecogniser):
        told = recipe.tokenizer
        sounds = sounds_of_inventory(told.inventory) if isinstance(told, SoundsSettings) else None
        begin_speech(model, path, sounds=sounds, seed=recipe.train.seed)
        return
    family, config = _base(path)
    theirs = family.config_from_disk(config)
    ours = dict(model.named_parameters())
    weights = read_weights(path)
    if isinstance(model, Scorer):
        weights = _begin_score(model, dict(weights), seed=recipe.train.seed)
        ours.pop(SCORE)
    with torch.no_grad():
        for name, tensor in family.from_disk(weights, theirs):
            if isinstance(model, Scorer) and name == "head.weight":
                continue
            _copy(ours.pop(name, None), tensor, name=name, path=path, vocab=theirs.vocab)
    assert not ours, f"{family.name}: from_disk gave no {', '.join(ours)}"
    say(f"weights of {path} ({family.model_type}, {theirs.vocab} words)")


def _begin_score(model: Scorer, weights: dict[str, Tensor], *, seed: int) -> dict[str, Tensor]:
    """Set the row that judges: a reward model's own, else drawn; return the other weights."""
    row = weights.pop(SCORE, None)
    model.initialise_score(seed=seed)
    if row is not None and row.shape == model.score.weight.shape:
        with torch.no_grad():
            model.score.weight.copy_(row)
    return weights


def refuse_other_shape(recipe: Recipe) -> None:
    """Compare `[model]` with the config.json of `init.from`.

    Raises:
        UsageError: naming each field that differs, by its name here and there.
        ArtifactError: there is no model dir of a known family.
    """
    path = Path(recipe.init.from_)
    family, config = _base(path)
    its = family.config_from_disk(config)
    shape = recipe.model
    if shape.family != family.name:
        raise UsageError(
            f"init.from {path} is of family {family.name}, and model.family is {shape.family}",
            remedy=f'write family = "{family.name}" in [model], or give another model dir',
        )
    mine = config_of(shape, vocab=shape.vocab or its.vocab or 0)
    lengthened = _LENGTH if getattr(its, "positions", "learned") == "rotary" else set[str]()
    said, found = asdict(mine), asdict(its)
    wrong = [
        f"{key} {found[key]!r} there, {said[key]!r} here"
        for key in said
        if key not in _FREE | lengthened and said[key] != found[key]
    ]
    if wrong:
        names = family.config_to_disk(mine), family.config_to_disk(its)
        keys = [key for key, value in names[1].items() if names[0].get(key) != value]
        raise UsageError(
            f"init.from {path} does not fit [model]: {'; '.join(wrong)} "
            f"(config.json: {', '.join(keys)})",
            remedy="leave the shape out of [model], so that it is read from there, or correct it",
        )
    if isinstance(mine, SpeechConfig):  # a head is drawn anew, and lengths have no end
        return
    if mine.vocab < its.vocab:
        raise UsageError(
            f"model.vocab is {mine.vocab}, and {path} has {its.vocab} words: none can be cut",
            remedy=f"leave model.vocab out, or give {its.vocab} or more",
        )
    if mine.context > its.context and all(
        said[key] == found[key] for key in _LENGTH & set(said) - {"context"}
    ):
        warn(
            f"model.context {mine.context} is longer than the {its.context} of {path}, and "
            "model.rotary_scaling is as it was: angles beyond were never seen in training"
        )


def completed(content: dict[str, Any]) -> dict[str, Any]:
    """Fill what `[model]` and `[tokenizer]` leave out from the config.json of `init.from`.

    A whole shape is left alone, so that a recipe stored in a run means the same for ever.

    Raises:
        ArtifactError: the model dir is of no known family, or its config.json cannot be read.
    """
    base: Any = (content.get("init") or {}).get("from")
    model: dict[str, Any] = content.get("model") or {}
    if not base or all(key in model for key in _WHOLE):
        return content
    path = Path(str(base))
    if not (path / "config.json").is_file():
        return content
    family, config = _base(path)
    its = family.config_from_disk(config)
    known = {key: value for key, value in asdict(its).items() if value is not None}
    shape = _shape_of(family.name)
    if shape is SpeechConfig:
        known.pop("vocab", None)  # its head writes other sounds
    read = {field.name: known[field.name] for field in fields(shape) if field.name in known}
    if model.get("family", family.name) != family.name:
        read = {}  # the comparison says what is wrong
    tokenizer: dict[str, Any] = dict(content.get("tokenizer") or {"kind": "base"})
    if tokenizer.get("kind") == "base":
        tokenizer.setdefault("vocab_size", its.vocab)
    return {**content, "model": {"family": family.name, **read, **model}, "tokenizer": tokenizer}


def _shape_of(family: str) -> type:
    """Return the class of a family's `[model]` section."""
    for cls in get_args(Shape):
        if family in (get_args(get_type_hints(cls)["family"])):
            return cls
    raise AssertionError(f"no section of {family}")


def _base(path: Path) -> tuple[Family, dict[str, Any]]:
    if not path.is_dir():
        raise ArtifactError(
            f"init.from {path} is not a directory",
            remedy=f"give a model dir of a family known here: {', '.join(FAMILIES)}",
        )
    config = read_json(path / "config.json")
    return family_of(config, path), config


def _copy(ours: Tensor | None, tensor: Tensor, *, name: str, path: Path, vocab: int) -> None:
    """Copy one tensor; of words, as many rows as there are.

    Raises:
        ArtifactError: its shape is not what the config.json beside it says.
    """
    assert ours is not None, f"no {name} in the model"
    fits = tensor.shape == ours.shape
    if name in _WORDS and tensor.ndim == ours.ndim:
        fits = tensor.shape[0] == vocab <= ours.shape[0] and tensor.shape[1:] == ours.shape[1:]
    if not fits:
        raise ArtifactError(
            f"{path}: the weights of {name} have shape {list(tensor.shape)}, and by config.json "
            f"they should have {[vocab if name in _WORDS else ours.shape[0], *ours.shape[1:]]}",
            remedy="check that config.json and the weights belong together",
        )
    ours[: len(tensor)].copy_(tensor)
    if len(ours) > len(tensor):
        ours[len(tensor) :] = tensor.mean(dim=0, dtype=torch.float32)
