"""minna's own side of bench_speech.py, and what both sides read.

Training is what `minna train laptop-hubert-1` (`laptop-wav2vec2`) does: the parts that the recipe
is built into, and the loop's own step.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from machine import peak_bytes

RECIPES = {"hubert": "laptop-hubert-1", "wav2vec2": "laptop-wav2vec2"}
OVERRIDES: tuple[str, ...] = ('train.device="cpu"',)
RATE = 16_000
LOOKED = 100  # batches of our stream, whose mean length the peer's batches get


def make_corpus(options: argparse.Namespace) -> Path:
    """Return the corpus asked for, or speak some sentences of ROHAN (once: `--work`)."""
    from minna.corpus import ClipSettings, build_clips

    if options.corpus is not None:
        return options.corpus
    out = options.work / f"corpus-{options.sentences}"
    settings = ClipSettings(
        source="synth",
        path=options.data / "speech" / "rohan4600.txt",
        limit=options.sentences,
        licence="CC0",
    )
    build_clips(settings=settings, out=out)
    return out


def make_labels(corpus: Path, options: argparse.Namespace) -> Path:
    """Return 100 clusters of MFCC for the frames of the corpus (once: `--work`)."""
    from minna import artifact
    from minna.label.frame_features import Mfcc
    from minna.label.kmeans import label_kmeans

    out = options.work / f"labels-{artifact.read_manifest(corpus).key[:12]}"
    label_kmeans(corpus, out=out, features=Mfcc())
    return out


def recipe_of(family: str, options: argparse.Namespace) -> Any:
    """Read the recipe, for as many steps as are run."""
    from minna.recipe import load

    steps = options.warmup + options.steps
    overrides = [
        *OVERRIDES,
        f"stream.minutes={options.minutes:g}",
        f"schedule.warmup={max(1, steps // 10)}",
        f"train.steps={steps}",
    ]
    if family == "hubert":
        overrides.append(f"stream.labels={json.dumps(str(options.labels))}")
    return load(RECIPES[family], overrides=overrides)


def parts_of(family: str, options: argparse.Namespace, *, precision: str) -> tuple[Any, Any, Any]:
    """Return (recipe, parts, numerics) of a run that begins."""
    from minna.recipe.build import build_parts
    from minna.recipe.tuning import kind_of
    from minna.tokenizer.sound_folder import write_vocabulary
    from minna.train.precision import decide

    recipe = recipe_of(family, options)
    words = write_vocabulary(options.work / "no-tokenizer", recipe.tokenizer)
    tokens = options.folder / "tokens"
    kind_of(recipe).tokens(recipe, options.corpus, words, tokens, 1)
    numerics = decide(device="cpu", precision=precision, compile_="off")  # type: ignore[arg-type]
    parts = build_parts(recipe, tokens=tokens, tokenizer=words, numerics=numerics, fresh=True)
    return recipe, parts, numerics


def prepare(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Write what the peer reads: clips, and for each family first weights and a plan."""
    plans: dict[str, dict[str, Any]] = {}
    for family in options.family:
        recipe, parts, numerics = parts_of(family, options, precision=options.precision)
        seconds = write_clips(options.folder / "clips", parts.stream, recipe, options)
        own = [next(parts.stream)["samples"].numel() / RATE for _ in range(LOOKED)]
        plans[family] = plan_of(recipe, numerics) | {
            "accumulation": parts.accumulation,
            "rows": max(1, round(float(np.mean(own) / np.mean(seconds)))),
            "clips": len(seconds),
            "seconds": float(np.sum(seconds)),
        }
        out = options.folder / family
        write_weights(out, parts)
        (out / "plan.json").write_text(json.dumps(plans[family]), encoding="utf-8")
    return plans


def plan_of(recipe: Any, numerics: Any) -> dict[str, Any]:
    """What the peer is told of a recipe."""
    told, optim, masks = recipe.objective, recipe.optim, recipe.stream.masks
    steps = recipe.train.steps
    plan = {
        "precision": numerics.precision,
        "rates": [optim.lr * recipe.schedule.scale(step, steps) for step in range(steps)],
        "betas": list(optim.betas),
        "eps": optim.eps,
        "decay": optim.weight_decay,
        "clip": optim.clip,
        "longest": round(recipe.stream.longest * RATE),
        "start_probability": masks.start_probability,
        "span": masks.span,
        "least": masks.least,
        "feature_gradient": told.feature_gradient,
        "features_weight": told.features_weight,
    }
    if told.kind == "masked_clusters":
        return plan | {"temperature": told.temperature, "unmasked_weight": told.unmasked_weight}
    return plan | {
        "negatives": told.negatives,
        "code_temperature": told.temperature,
        "temperature_decay": told.temperature_decay,
        "temperature_end": told.temperature_end,
    }


def write_clips(folder: Path, stream: Any, recipe: Any, options: argparse.Namespace) -> Any:
    """Write the clips that are trained on, decoded, and a label for each frame.

    Returns:
        Seconds that are heard of each.
    """
    from minna.corpus.frame_labels import open_labels
    from minna.models.speech.config import frames_of
    from minna.streams import SoundRows

    rows = SoundRows(options.folder / "tokens", split="train")
    labels = open_labels(options.labels, options.corpus)
    audio = [rows.audio_of(int(number)) for number in stream.numbers]
    said = [
        labels.of(rows.id_of(int(number)), 0, frames_of(len(one)))
        for number, one in zip(stream.numbers, audio, strict=True)
    ]
    folder.mkdir(exist_ok=True)
    # 16 bits are what they were before they became numbers in [-1, 1)
    np.save(folder / "samples.npy", (np.concatenate(audio) * 32768).astype(np.int16))
    np.save(folder / "labels.npy", np.concatenate(said).astype(np.int16))
    for name, all_ in (("starts", audio), ("label-starts", said)):
        np.save(folder / f"{name}.npy", np.cumsum([0, *map(len, all_)]))
    return np.minimum([len(one) / RATE for one in audio], recipe.stream.longest)


def write_weights(out: Path, parts: Any) -> None:
    """Write a model as transformers reads it, what its objective learns beside it."""
    from minna.artifact.tensors import save_tensors
    from minna.models.weights import speech

    config, objective = parts.model.config, parts.objective
    fields, state = speech.config_to_disk(config), parts.model.state_dict()
    head = objective.to_disk()
    if config.family == "wav2vec2":
        fields |= objective.settings.disk_fields
        tensors = speech.pretraining_to_disk(state, head, config)
    else:
        tensors = speech.encoder_to_disk(state)
    out.mkdir(parents=True, exist_ok=True)
    (out / "config.json").write_text(json.dumps(fields), encoding="utf-8")
    for name, all_ in (("model", tensors), ("head", head), ("all", tensors | head)):
        plain = {key: one.detach().contiguous() for key, one in all_.items()}
        save_tensors(plain, out / f"{name}.safetensors", metadata={"format": "pt"})


class Counted:
    """A stream, and how many seconds each of its batches was."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.seconds: list[float] = []

    def __next__(self) -> Any:
        """Return its next batch."""
        batch = next(self._stream)
        self.seconds.append(batch["samples"].numel() / RATE)
        return batch


def run_minna(options: argparse.Namespace) -> dict[str, Any]:
    """Train with minna's own step, write the weights; figures of every step."""
    from minna.train.step import take_step

    (family,) = options.family
    recipe, parts, numerics = parts_of(family, options, precision=options.precision)
    stream = Counted(parts.stream)
    parts = replace(parts, stream=stream)
    parts.model.train()
    ends = [(time.perf_counter(), time.process_time())]
    losses: list[float] = []
    total = recipe.train.steps
    for step in range(total):
        done = take_step(parts, step=step, total=total, autocast=numerics.autocast())
        losses.append(done.loss)
        ends.append((time.perf_counter(), time.process_time()))
    peak = peak_bytes()
    write_weights(options.trained, parts)
    heard = np.reshape(stream.seconds, (total, -1)).sum(1).tolist()
    return {
        "ends": ends,
        "heard": heard,
        "computed": heard,  # cut to one length: nothing is padding
        "losses": losses,
        "peak": peak,
        "settings": {
            "precision": numerics.precision,
            "attention": "sdpa",
            "frames of a batch": f"{recipe.stream.row_tokens} x {parts.accumulation}",
        },
    }


def run_held_out(options: argparse.Namespace) -> dict[str, Any]:
    """Every term of the loss on held-out clips, in fp32, whoever trained the weights."""
    from safetensors.torch import load_file

    from minna.models.weights import speech
    from minna.train.precision import evaluating

    (family,) = options.family
    recipe, parts, _ = parts_of(family, options, precision="fp32")
    model, objective = parts.model, parts.objective
    state = load_file(options.trained / "all.safetensors")
    model.load_state_dict(dict(speech.encoder_from_disk(state, model.config)))
    names = set(objective.to_disk())
    left = objective.load_state_dict({name: state[name] for name in names}, strict=False)
    assert not left.unexpected_keys, left
    if "steps" in objective.state_dict():
        objective.steps.fill_(recipe.train.steps)
    if family == "hubert":  # nats of hidden frames alone
        objective.settings = replace(objective.settings, unmasked_weight=0.0)
    with evaluating(model):
        (look,) = parts.evaluators
        return {"figures": look(model).figures}
