"""What a recipe is: one TOML file, checked whole before anything is built from it.

Every section is a frozen dataclass beside the code that reads it, and each component sees only its
own. Numbers that follow from others (tokens per step, epochs, FLOPs) are computed here and printed
before step 0, never configured twice. An unknown key is an error with its full path and the nearest
name, because a misspelt hyper-parameter that silently keeps its default costs a whole run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, cast, get_args, get_origin

from pydantic import ConfigDict, Field, Tag, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from minna.console import warn
from minna.errors import UsageError, nearest
from minna.models.adapters import AdapterSettings
from minna.models.family import FAMILIES, DualShape, ModelShape
from minna.models.speech.config import SpeechConfig
from minna.objectives import (
    BradleyTerrySettings,
    CausalLMSettings,
    ClipSettings,
    CloobSettings,
    CtcSettings,
    DPOSettings,
    GRPOSettings,
    MaskedClustersSettings,
    MaskedLMSettings,
    PPOSettings,
    QuantisedContrastSettings,
    SelfDistillationSettings,
    SiglipSettings,
)
from minna.recipe.init import completed
from minna.recipe.speech_checks import check_speech, speech_objective
from minna.runtime.reward import RULE
from minna.settings import Shelf, by_kind, merge, with_overrides
from minna.streams import (
    ChatStreamSettings,
    ClipStreamSettings,
    ExperienceSettings,
    MaskedStreamSettings,
    PairStreamSettings,
    PictureStreamSettings,
    SentenceStreamSettings,
    TextStreamSettings,
    UtteranceStreamSettings,
)
from minna.streams.experience import check_rollout
from minna.tokenizer.settings import AnyTokenizerSettings
from minna.train.loop import TrainSettings
from minna.train.optim import OptimSettings
from minna.train.schedule import Schedule

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class InitSettings:
    """Where weights come from when the run has no checkpoint of its own.

    Attributes:
        from_: a model dir (`from` in TOML), ours or any of a family known here; what [model] leaves
            out is read from its config.json. "" draws weights at random.
        image: of a dual encoder, the image tower: a folder (a ViT, the vision half of a CLIP, our
            own), or "lite0", which is fetched once. "" draws it at random.
        text: of a dual encoder, the text tower: the model dir of a masked language model.
    """

    from_: Annotated[str, Field(alias="from")] = ""
    image: str = ""
    text: str = ""


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class EvaluateSettings:
    """What is looked at along the way.

    Attributes:
        valid_documents: how many documents of the valid split are scored.
        prompts: continued at every look, for the report; of dialogues, asked.
        sample_tokens: longest continuation.
        temperature, top_p: of those continuations.
    """

    valid_documents: int = Field(default=500, ge=0)
    prompts: tuple[str, ...] = ()
    sample_tokens: int = Field(default=40, ge=1)
    temperature: float = Field(default=0.7, ge=0)
    top_p: float = Field(default=0.9, gt=0, le=1)


StreamSettings = Annotated[
    Annotated[TextStreamSettings, Tag("text")]
    | Annotated[MaskedStreamSettings, Tag("masked")]
    | Annotated[ChatStreamSettings, Tag("chat")]
    | Annotated[PairStreamSettings, Tag("pairs")]
    | Annotated[ExperienceSettings, Tag("experience")]
    | Annotated[PictureStreamSettings, Tag("pictures")]
    | Annotated[SentenceStreamSettings, Tag("sentences")]
    | Annotated[ClipStreamSettings, Tag("clips")]
    | Annotated[UtteranceStreamSettings, Tag("utterances")],
    by_kind(
        *("text", "masked", "chat", "pairs", "experience"),
        *("pictures", "sentences", "clips", "utterances"),
    ),
]
ObjectiveSettings = Annotated[
    Annotated[CausalLMSettings, Tag("causal_lm")]
    | Annotated[MaskedLMSettings, Tag("masked_lm")]
    | Annotated[BradleyTerrySettings, Tag("bradley_terry")]
    | Annotated[DPOSettings, Tag("dpo")]
    | Annotated[PPOSettings, Tag("ppo")]
    | Annotated[GRPOSettings, Tag("grpo")]
    | Annotated[ClipSettings, Tag("clip")]
    | Annotated[CloobSettings, Tag("cloob")]
    | Annotated[SiglipSettings, Tag("siglip")]
    | Annotated[MaskedClustersSettings, Tag("masked_clusters")]
    | Annotated[QuantisedContrastSettings, Tag("quantised_contrast")]
    | Annotated[SelfDistillationSettings, Tag("self_distillation")]
    | Annotated[CtcSettings, Tag("ctc")],
    by_kind(
        *("causal_lm", "masked_lm", "bradley_terry", "dpo", "ppo", "grpo"),
        *("clip", "cloob", "siglip"),
        *("masked_clusters", "quantised_contrast", "self_distillation", "ctc"),
    ),
]
# Which streams an objective reads.
_STREAMS_OF = {
    "causal_lm": ("text", "chat"),
    "masked_lm": ("masked",),
    "bradley_terry": ("pairs",),
    "dpo": ("pairs",),
    "ppo": ("experience",),
    "grpo": ("experience",),
    "clip": ("pictures", "sentences"),
    "cloob": ("pictures", "sentences"),
    "siglip": ("pictures", "sentences"),
    "masked_clusters": ("clips",),
    "quantised_contrast": ("clips",),
    "self_distillation": ("clips",),
    "ctc": ("utterances",),
}
_LEARNS = {
    "masked_lm": "masked_lm",
    "clip": "contrastive",
    "cloob": "contrastive",
    "siglip": "contrastive",
    "masked_clusters": "speech",
    "quantised_contrast": "speech",
    "self_distillation": "speech",
    "ctc": "speech",
}
# These begin from a model that knows something, and compare with it exactly.
_GOES_ON = ("bradley_terry", "dpo", "ppo", "grpo")
_EXACT = ("dpo", "ppo", "grpo")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Recipe:
    """A model and everything that is needed to train it.

    Attributes:
        source: where the numbers come from; "own choice" marks what nobody published.
    """

    name: str
    description: str
    source: str
    licence: str = "apache-2.0"
    tokenizer: AnyTokenizerSettings
    model: ModelShape
    stream: StreamSettings
    objective: ObjectiveSettings = CausalLMSettings()
    optim: OptimSettings
    schedule: Schedule
    train: TrainSettings
    init: InitSettings = InitSettings()
    adapter: AdapterSettings = AdapterSettings()
    trainable: dict[str, bool] = Field(default_factory=dict)
    evaluate: EvaluateSettings = EvaluateSettings()


_UNIONS: dict[str, Any] = {
    "tokenizer": AnyTokenizerSettings,
    "model": ModelShape,
    "stream": StreamSettings,
    "objective": ObjectiveSettings,
    "optim": OptimSettings,
    "schedule": Schedule,
}


def _classes(union: Any) -> tuple[type, ...]:
    """Return the classes that a section may be."""
    chosen = get_args(get_args(union)[0])
    return tuple(get_args(one)[0] if get_origin(one) is Annotated else one for one in chosen)


# For naming the nearest key.
_SECTIONS: dict[str, tuple[type, ...]] = {
    **{name: _classes(union) for name, union in _UNIONS.items()},
    "train": (TrainSettings,),
    "init": (InitSettings,),
    "adapter": (AdapterSettings,),
    "evaluate": (EvaluateSettings,),
}


def _kinds(union: Any) -> set[str]:
    """Return what tells the classes of a section apart, which pydantic puts into a key's path."""
    chosen = get_args(get_args(union)[0])
    tags = {tag.tag for one in chosen for tag in get_args(one) if isinstance(tag, Tag)}
    named = (getattr(one, "kind", None) for one in chosen)
    return tags | {kind for kind in named if isinstance(kind, str)}


_TAGS = {name: _kinds(union) for name, union in _UNIONS.items()} | {"model": set(FAMILIES)}


_SHELF = Shelf(kind="recipe", package="minna", folder="recipes")


def names() -> list[str]:
    """Names of the recipes that minna brings."""
    return _SHELF.names()


def load(name: str, *, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe by name or path, with overrides such as "train.steps=200".

    Raises:
        UsageError: no such recipe, a bad key or value anywhere, an override that is not key=value.
    """
    content = _SHELF.content(name)
    if base := content.pop("extends", None):
        parent = _SHELF.content(base)
        if "extends" in parent:
            raise UsageError(
                f"recipe {name!r} extends {base!r}, which extends another: one level is allowed",
                remedy="extend the root recipe directly",
            )
        content = merge(parent, content)
    example = "train.steps=200 optim.lr=3e-4"
    return check(completed(with_overrides(content, overrides, example=example)))


def check(content: Mapping[str, Any]) -> Recipe:
    """Validate the content of a recipe.

    Raises:
        UsageError: what is wrong, with the full path of the key.
    """
    try:
        recipe = TypeAdapter(Recipe).validate_python(dict(content))
    except ValidationError as error:
        raise UsageError(
            "the recipe is not valid: " + "; ".join(_explain(item) for item in error.errors()),
            remedy="correct the key or value; `minna list recipes NAME` prints a whole recipe",
        ) from error
    _check_across(recipe)
    warn_of_odd_settings(recipe)
    return recipe


def resolved(recipe: Recipe) -> dict[str, Any]:
    """Return the whole recipe as plain data, every default written out."""
    return TypeAdapter(Recipe).dump_python(recipe, mode="json", by_alias=True)


def to_toml(recipe: Recipe) -> str:
    """Write the resolved recipe as TOML that `load` reads back."""
    content = resolved(recipe)
    tables = {key: value for key, value in content.items() if isinstance(value, dict)}
    lines = [f"{key} = {_toml(content[key])}" for key in content if key not in tables]
    for name, table in tables.items():
        if rows := {key: value for key, value in table.items() if value is not None}:
            lines += ["", f"[{name}]", *(f"{_key(k)} = {_toml(v)}" for k, v in rows.items())]
    return "\n".join(lines) + "\n"


def _explain(item: Any) -> str:
    """Say one pydantic error with the key's path as the user wrote it."""
    path = [str(part) for part in item["loc"]]
    if len(path) > 1 and path[1] in _TAGS.get(path[0], ()):  # which class it was taken for
        del path[1]
    where = ".".join(path)
    if item["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
        classes = _SECTIONS.get(path[0], ()) if len(path) > 1 else (Recipe,)
        known = [field.name for cls in classes for field in dataclasses.fields(cls)]
        return f"unknown key {where}{nearest(path[-1], known)}"
    if item["type"] in ("missing", "missing_argument"):
        return f"{where} is missing"
    return f"{where} = {item['input']!r}: {item['msg']}"


def _check_across(recipe: Recipe) -> None:
    """Check what no section can see alone."""
    if recipe.stream.row_tokens > recipe.model.context:
        raise UsageError(
            f"stream.row_tokens {recipe.stream.row_tokens} exceeds model.context "
            f"{recipe.model.context}",
            remedy="shorten the rows or lengthen the context",
        )
    learns, told = FAMILIES[recipe.model.family].objective, recipe.objective.kind
    if learns != _LEARNS.get(told, "causal_lm"):
        kind = {"contrastive": "clip", "speech": speech_objective(recipe)}.get(learns, learns)
        raise UsageError(
            f"model.family {recipe.model.family} learns by {learns}, and objective.kind is {told}",
            remedy=f'write kind = "{kind}" in [objective]',
        )
    if recipe.stream.kind not in _STREAMS_OF[told]:
        kinds = _STREAMS_OF[told]
        raise UsageError(
            f"objective {told} reads a stream of kind {' or '.join(map(repr, kinds))}, not "
            f"{recipe.stream.kind!r}",
            remedy=f'write kind = "{kinds[0]}" in [stream]',
        )
    if isinstance(recipe.model, SpeechConfig):
        check_speech(recipe)
    check_step_tokens(recipe, ranks=1)
    _check_tuning(recipe)
    if recipe.adapter.used:
        _check_adapter(recipe)
    if isinstance(recipe.model, DualShape):
        _check_dual(recipe, recipe.model)


def _check_dual(recipe: Recipe, shape: DualShape) -> None:
    """Check that towers and stream belong together."""
    stream = recipe.stream
    sees = bool(recipe.init.image) or shape.tower != "none"
    if sees != isinstance(stream, PictureStreamSettings):
        raise UsageError(
            f"the model has {'an' if sees else 'no'} image tower, and stream.kind is {stream.kind}",
            remedy="give init.image (or model.tower) and a stream of pictures, or neither",
        )
    locked = not any(learns and "image" in key for key, learns in recipe.trainable.items())
    if isinstance(stream, PictureStreamSettings) and stream.features == "cached" and not locked:
        raise UsageError(
            "the image tower learns, and stream.features is cached: what it said before is not "
            "what it says later",
            remedy='give stream.features="on_line", or leave the image tower locked',
        )
    if recipe.init.from_:
        raise UsageError(
            "a dual encoder begins from two towers, and init.from names one model",
            remedy="give init.image and init.text",
        )
    if recipe.train.sharding == "shard":
        raise UsageError(
            "a dual encoder is whole on every rank, and train.sharding is shard",
            remedy="leave train.sharding at auto (each rank then has a copy)",
        )


def _check_tuning(recipe: Recipe) -> None:
    """Check what learning from preferences and rewards asks for."""
    told, stream = recipe.objective.kind, recipe.stream
    if told in _GOES_ON and not recipe.init.from_:
        raise UsageError(
            f"objective {told} goes on from a model that knows something, and init.from is empty",
            remedy="give a model dir with init.from=DIR",
        )
    model_dropout: float = getattr(recipe.model, "dropout", 0.0)
    for name, share in (("model", model_dropout), ("adapter", recipe.adapter.dropout)):
        if told in _EXACT and share:
            raise UsageError(
                f"objective {told} compares log-probabilities, and {name}.dropout {share} blurs "
                "them",
                remedy=f"give {name}.dropout=0",
            )
    if isinstance(stream, ExperienceSettings):
        _check_experience(recipe, stream)


def _check_experience(recipe: Recipe, stream: ExperienceSettings) -> None:
    told = recipe.objective
    if not stream.reward:
        raise UsageError(
            "stream.reward is empty, and somebody must judge answers",
            remedy="give a reward model's folder, rule:NAME or rule:FILE.py:FUNCTION",
        )
    if told.kind == "grpo" and stream.samples < 2:  # noqa: PLR2004 - a group
        raise UsageError(
            f"objective grpo compares the answers to one prompt, and stream.samples is "
            f"{stream.samples}",
            remedy="give stream.samples=8 or so",
        )
    if stream.old_logprobs == "drawn" and not (isinstance(told, GRPOSettings) and not told.kl):
        raise UsageError(
            "stream.old_logprobs is drawn, and the objective asks its models about every answer "
            "anyway (a critic, or a penalty)",
            remedy="leave it at scored, or give objective.kind=grpo objective.kl=0",
        )
    if isinstance(told, PPOSettings) and recipe.adapter.used and told.critic != "head":
        raise UsageError(
            f"objective.critic is {told.critic}, a second network, beside adapters that save one",
            remedy="give objective.critic=head, or adapter.rank=0",
        )
    if isinstance(told, PPOSettings) and told.critic == "reward" and stream.reward.startswith(RULE):
        raise UsageError(
            f"objective.critic is reward, and stream.reward is {stream.reward}, which is no "
            "network",
            remedy="give objective.critic=own",
        )
    if recipe.train.sharding == "shard":
        raise UsageError(
            "answers are drawn by each rank from a whole model, and train.sharding is shard",
            remedy="leave train.sharding at auto (each rank then has a copy)",
        )
    check_rollout(stream, rows_per_step=recipe.train.tokens_per_step // stream.row_tokens)


def _check_adapter(recipe: Recipe) -> None:
    """Check that adapters have weights to sit on and nobody else touches those."""
    if not recipe.init.from_:
        raise UsageError(
            f"adapter.rank is {recipe.adapter.rank}, and init.from names no weights: adapters "
            "learn beside weights that know something",
            remedy="give a model dir with init.from=DIR, or adapter.rank=0 to train all weights",
        )
    if recipe.objective.kind in _LEARNS:
        raise UsageError(
            f"adapters are for decoders, and model.family is {recipe.model.family}",
            remedy="leave [adapter] out",
        )
    if recipe.trainable:
        raise UsageError(
            "[adapter] freezes every weight, and [trainable] says "
            f"{', '.join(f'{key} = {learns}' for key, learns in recipe.trainable.items())}",
            remedy="use one of them; adapter.targets chooses which matrices get an adapter",
        )
    if recipe.train.sharding == "shard" and recipe.adapter.base != "fp32":
        raise UsageError(
            f"adapter.base {recipe.adapter.base} cannot be shared out in parts: one gathered "
            "layer must be of one type",
            remedy="leave train.sharding at auto (each rank then has a small copy), or "
            "adapter.base=fp32",
        )


def warn_of_odd_settings(recipe: Recipe) -> None:
    """Say what is allowed and hardly meant."""
    if recipe.schedule.warmup >= recipe.train.steps:
        warn(
            f"schedule.warmup {recipe.schedule.warmup} is not below train.steps "
            f"{recipe.train.steps}: the rate never reaches its peak"
        )


def check_step_tokens(recipe: Recipe, *, ranks: int) -> int:
    """Return how many micro-batches a rank accumulates for one update.

    Raises:
        UsageError: train.tokens_per_step is not a multiple of what the ranks take at once.
    """
    rows, row = recipe.train.micro_batch_rows, recipe.stream.row_tokens
    once = rows * row * ranks
    tokens = recipe.train.tokens_per_step
    if tokens % once:
        low = max(once, tokens // once * once)
        raise UsageError(
            f"train.tokens_per_step {tokens} is not a multiple of {once} "
            f"({rows} rows x {row} tokens x {ranks} ranks)",
            remedy=f"nearest are {low} and {low + once}",
        )
    return tokens // once


def attended(recipe: Recipe) -> int:
    """Return how many tokens of a row attend to each other at most."""
    return getattr(recipe.stream, "attended", recipe.stream.row_tokens)


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() else _toml(key)


def _toml(value: Any) -> str:
    """One value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        return "{" + ", ".join(f"{_key(k)} = {_toml(v)}" for k, v in inner.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in cast("list[Any]", value)) + "]"
    return repr(value)
