"""What goes together where models learn from dialogues, preferences and rewards (`kinds.py`)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import nn

from minna import prompts
from minna.console import warn
from minna.models import Decoder
from minna.models.family import config_of
from minna.models.scorer import Scorer
from minna.objectives import (
    DPO,
    GRPO,
    PPO,
    BradleyTerry,
    CausalLM,
    DPOSettings,
    GRPOSettings,
    PPOSettings,
    Reference,
)
from minna.recipe import tuning_evaluators as looks
from minna.recipe.kinds import MASKED, TEXT, Kind, Scene
from minna.recipe.pictures import PICTURES, SENTENCES
from minna.recipe.schema import Recipe
from minna.recipe.speech import RECOGNITION, SPEECH
from minna.runtime.episodes import Episodes
from minna.runtime.reward import RULE, load_scorer, open_reward
from minna.streams import (
    Actors,
    ChatStream,
    ChatStreamSettings,
    Documents,
    Experience,
    ExperienceSettings,
    PairStreamSettings,
    read_turns,
    write_dialogues,
)
from minna.streams.dialogues import Content
from minna.tokenizer.coder import AnyTokenizer
from minna.train.protocols import Objective, Stream
from minna.train.quality import nothing, perplexity
from minna.train.ranks import Ranks

_Dialogues = ChatStreamSettings | PairStreamSettings | ExperienceSettings


def _tokens(content: Content) -> Callable[[Recipe, Path, Path, Path, int], Path]:
    def write(recipe: Recipe, corpus: Path, tokenizer: Path, out: Path, _threads: int) -> Path:
        stream = cast("_Dialogues", recipe.stream)
        room = stream.row_tokens
        if isinstance(stream, ExperienceSettings):
            room = stream.prompt_tokens
        fmt = prompts.load(stream.format)
        return write_dialogues(
            corpus, tokenizer=tokenizer, fmt=fmt, content=content, room=room, out=out
        )

    return write


def _dialogues(scene: Scene, *, pairs: bool) -> Stream:
    stream = cast("ChatStreamSettings | PairStreamSettings", scene.recipe.stream)
    words = scene.words
    return ChatStream(
        scene.shards,
        room=stream.row_tokens,
        rows=stream.rows,
        batch_rows=scene.recipe.train.micro_batch_rows,
        fill=words.pad_id if words.pad_id >= 0 else words.eos_id,
        side_by_side=2 if pairs else 1,
        **scene.place,
    )


def _scorer(recipe: Recipe, vocab: int) -> Decoder:
    size = recipe.model.vocab or vocab
    config = config_of(recipe.model, vocab=size)
    return Scorer(config)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - checked


def _dpo(recipe: Recipe, model: nn.Module, words: AnyTokenizer, _ranks: Ranks) -> Objective:
    settings = cast("DPOSettings", recipe.objective)
    return DPO(settings, reference=Reference(model), vocab=_known(model, words))


def _episodes(stream: ExperienceSettings) -> Episodes:
    return Episodes(
        count=stream.rollout_rows,
        prompt_tokens=stream.prompt_tokens,
        answer_tokens=stream.answer_tokens,
    )


def _ppo(recipe: Recipe, model: nn.Module, words: AnyTokenizer, _ranks: Ranks) -> Objective:
    stream = cast("ExperienceSettings", recipe.stream)
    settings = cast("PPOSettings", recipe.objective)
    assert isinstance(model, Decoder), "decoders answer"
    return PPO(
        settings,
        critic=_critic(settings, stream, model),
        width=model.config.width,
        episodes=_episodes(stream),
        reference=Reference(model),
        vocab=_known(model, words),
        temperature=stream.temperature,
    )


def _critic(settings: PPOSettings, stream: ExperienceSettings, policy: Decoder) -> Scorer | None:
    """A critic as it begins: the policy's trunk and a row of zeros, or the reward model itself."""
    if settings.critic == "head":
        return None
    if settings.critic == "reward":
        scorer, config = load_scorer(Path(stream.reward))
        scorer.offset = float(config.get("reward_bias", 0.0))
        return scorer.requires_grad_(requires_grad=True)
    critic = Scorer(policy.config)
    with torch.no_grad():
        theirs = dict(policy.named_parameters())
        for name, parameter in critic.named_parameters():
            if name in theirs:
                parameter.copy_(theirs[name])
    nn.init.zeros_(critic.score.weight)
    return critic


def _grpo(recipe: Recipe, model: nn.Module, words: AnyTokenizer, _ranks: Ranks) -> Objective:
    stream = cast("ExperienceSettings", recipe.stream)
    settings = cast("GRPOSettings", recipe.objective)
    return GRPO(
        settings,
        episodes=_episodes(stream),
        reference=Reference(model) if settings.kl else None,
        vocab=_known(model, words),
        temperature=stream.temperature,
    )


def _known(model: nn.Module, words: AnyTokenizer) -> int:
    """Words that may be chosen: rows of a padded vocabulary are none."""
    assert isinstance(model, Decoder), "only decoders choose words"
    return min(words.vocab_size, model.config.vocab)


def _experience(scene: Scene) -> Stream:
    stream = cast("ExperienceSettings", scene.recipe.stream)
    assert isinstance(scene.model, Decoder), "decoders answer"
    assert isinstance(scene.objective, PPO | GRPO), "these learn from experience"
    reward = open_reward(
        stream.reward,
        words=scene.words,
        least_accuracy=stream.least_accuracy,
        device=scene.numerics.device,
    )
    _warn_of_other_format(stream)
    return Experience(
        (Documents(scene.shards), read_turns(scene.shards)),
        actors=Actors(
            policy=scene.model,
            learner=scene.objective,
            reward=reward,
            words=scene.words,
            autocast=scene.numerics.autocast,
            ranks=scene.ranks,
        ),
        settings=stream,
        rows=scene.recipe.train.micro_batch_rows,
        rows_per_step=scene.recipe.train.tokens_per_step // stream.row_tokens,
        seed=scene.recipe.train.seed,
    )


def _warn_of_other_format(stream: ExperienceSettings) -> None:
    """Say so where a reward model learned another prompt format than the policy speaks."""
    template = Path(stream.reward) / "chat_template.jinja"
    if stream.reward.startswith(RULE) or not template.is_file():
        return
    if template.read_text(encoding="utf-8") != prompts.chat_template(prompts.load(stream.format)):
        warn(
            f"the reward model {stream.reward} learned another prompt format than stream.format "
            f"{stream.format}: it judges texts of a kind that it has not seen"
        )


def _terms(names: tuple[str, ...], **weights: float) -> dict[str, float]:
    return {name: weights.get(name.rpartition("/")[2], 0.0) for name in names}


_KINDS = {
    ("causal_lm", "text"): TEXT,
    ("masked_lm", "masked"): MASKED,
    ("causal_lm", "chat"): Kind(
        objective=lambda _recipe, _model, _words, _ranks: CausalLM(),
        tokens=_tokens("answers"),
        stream=lambda scene: _dialogues(scene, pairs=False),
        terms=lambda _recipe: {"next_token": 1.0},
        looks=looks.of_answers,
        quality=lambda _tokens: perplexity,
    ),
    ("bradley_terry", "pairs"): Kind(
        model=_scorer,
        objective=lambda _recipe, _model, _words, _ranks: BradleyTerry(),
        tokens=_tokens("pairs"),
        stream=lambda scene: _dialogues(scene, pairs=True),
        terms=lambda _recipe: _terms(BradleyTerry.terms, pairs=1.0),
        looks=looks.of_rewards,
        quality=lambda _tokens: nothing,
        told=("pairs/accuracy", "pairs/margin"),
    ),
    ("dpo", "pairs"): Kind(
        objective=_dpo,
        tokens=_tokens("pairs"),
        stream=lambda scene: _dialogues(scene, pairs=True),
        terms=lambda _recipe: _terms(DPO.terms, pairs=1.0),
        looks=looks.of_preferences,
        quality=lambda _tokens: nothing,
        told=("pairs/accuracy", "pairs/margin"),
        compares=True,
    ),
    ("ppo", "experience"): Kind(
        objective=_ppo,
        tokens=_tokens("prompts"),
        stream=_experience,
        terms=lambda recipe: _terms(
            PPO.terms, policy=1.0, value=cast("PPOSettings", recipe.objective).value_weight
        ),
        looks=looks.of_experience,
        quality=lambda _tokens: nothing,
        told=("objective/scores", "objective/kl", "answers/ended"),
        compares=True,
        compiles=False,
    ),
    ("grpo", "experience"): Kind(
        objective=_grpo,
        tokens=_tokens("prompts"),
        stream=_experience,
        terms=lambda _recipe: _terms(GRPO.terms, policy=1.0),
        looks=looks.of_experience,
        quality=lambda _tokens: nothing,
        told=("objective/scores", "objective/kl", "answers/ended"),
        compares=True,
        compiles=False,
    ),
    **{(told, "pictures"): PICTURES for told in ("clip", "cloob", "siglip")},
    **{(told, "sentences"): SENTENCES for told in ("clip", "cloob", "siglip")},
    **{(told, "clips"): kind for told, kind in SPEECH.items()},
    ("ctc", "utterances"): RECOGNITION,
}


def kind_of(recipe: Recipe) -> Kind:
    """Return what goes with a recipe's objective and stream (which `check` has seen fit)."""
    return _KINDS[recipe.objective.kind, recipe.stream.kind]
