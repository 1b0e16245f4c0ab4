"""A reward model on disk: transformers' ...ForSequenceClassification with one label.

Its scores are in deviations from the mean of held-out references: the deviation is divided into the
one row that judges, and what is left of the mean stands in config.json as `reward_bias` (that class
has no bias, and between two answers it does not matter). What it told apart on held-out pairs is
written beside it, so that PPO can refuse one that knows nothing.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from minna.console import warn
from minna.models import find_family
from minna.models.scorer import SCORE, Scorer

_ENDINGS = ("LMHeadModel", "ForCausalLM")
_KIND = "ForSequenceClassification"


def reward_weights(model: Scorer, *, family: str) -> dict[str, Tensor]:
    """Return the tensors by Hugging Face's names, scores brought to deviation 1."""
    record = find_family(family)
    state = {name: t for name, t in model.state_dict().items() if name not in (SCORE, "held_out")}
    disk = record.to_disk(state, model.config)
    return {**disk, SCORE: model.score.weight / model.known.deviation}


def reward_config(model: Scorer, *, family: str, pad: int, eos: int) -> dict[str, Any]:
    """Return what config.json says beside the shape.

    transformers finds the end of an answer by what fills rows behind it. Where that is nothing, or
    what ends a text, none is named: it then reads one answer at a time, and reads it right.
    """
    if pad < 0 or pad == eos:
        what = "names no token that fills rows" if pad < 0 else "fills rows with what ends a text"
        warn(f"the tokenizer {what}: transformers reads this reward model one answer at a time")
    known = model.known
    name = find_family(family).auto_class
    for ending in _ENDINGS:
        name = name.removesuffix(ending)
    return {
        "architectures": [name + _KIND],
        "id2label": {"0": "reward"},
        "label2id": {"reward": 0},
        "pad_token_id": None if pad < 0 or pad == eos else pad,
        "reward_bias": -known.mean / known.deviation,
        "reward_accuracy": known.accuracy,
        "reward_pairs": known.pairs,
    }
