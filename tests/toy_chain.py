"""A whole chain at toy size, made by hand: corpus, tokenizer, a made-up run, a model dir.

The model is random, so that nothing has to be trained before a room that only reads it can be tested.
"""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from minna import artifact
from minna.corpus import BuildSettings, build_corpus
from minna.models import Decoder, find_family
from minna.models.family import (
    Gpt2Shape,
    GptNeoXShape,
    LlamaShape,
    Qwen2Shape,
    Qwen3Shape,
    QwenShape,
)
from minna.tokenizer import TokenizerSettings, load_tokenizer, train_tokenizer

PLACES = ["東京", "京都", "学校", "公園", "図書館", "駅", "海", "山", "北海道", "喫茶店"]
PEOPLE = ["私", "彼女", "先生", "友達", "母", "田中さん", "医者", "学生", "トム", "猫"]
DEEDS = ["本を読みました", "走っている", "手紙を書いた", "寝ていた", "コーヒーを飲む", "歌います"]
TIMES = ["昨日", "毎朝", "来週の月曜日", "3時に", "いつも", "夜", "春", "夏休みに", "冬"]

SHAPES = {
    "gpt_neox": GptNeoXShape(layers=2, width=32, heads=2, ffn=64, context=64, tied=True),
    "gpt2": Gpt2Shape(layers=2, width=32, heads=2, ffn=64, context=64),
    "llama": LlamaShape(layers=2, width=32, heads=4, kv_heads=2, ffn=64, context=64),
    "qwen": QwenShape(layers=2, width=32, heads=4, ffn=64, context=64),
    "qwen2": Qwen2Shape(layers=2, width=32, heads=4, kv_heads=2, ffn=64, context=64),
    "qwen3": Qwen3Shape(layers=2, width=32, heads=4, kv_heads=2, head_dim=16, ffn=64, context=64),
}


@dataclass(frozen=True)
class Chain:
    corpus: Path
    tokenizer: Path
    run: Path
    model: Path


def sentences(count: int, *, seed: int) -> list[str]:
    pick = random.Random(seed).choice
    return [
        f"{pick(TIMES)}、{pick(PEOPLE)}は{pick(PLACES)}で{pick(PEOPLE)}と{pick(DEEDS)}。"
        for _ in range(count)
    ]


def make_corpus(root: Path, *, seed: int = 0, count: int = 1200, licence: str = "CC0-1.0") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    text = root / "text.txt"
    text.write_text("\n".join(sentences(count, seed=seed)), encoding="utf-8")
    settings = BuildSettings(
        source="local",
        path=text,
        documents="line",
        test=0.1,
        valid=0.05,
        licence=licence,
        attribution="作り話製作委員会",
    )
    return build_corpus(settings=settings, out=root / "corpus")


def run_settings(family: str = "gpt_neox") -> dict[str, Any]:
    return {
        "name": f"toy-{family}",
        "description": "A toy",
        "source": "own choice",
        "licence": "apache-2.0",
        "model": {"family": family},
        "objective": {"kind": "causal_lm"},
        "optim": {"kind": "muon", "lr": 0.004, "matrix_lr": 0.02},
        "schedule": {"kind": "stable_decay", "warmup": 40},
        "train": {"steps": 1400, "tokens_per_step": 4096, "seed": 0},
        "init": {"from": ""},
    }


def make_run(out: Path, *, corpus: Path, tokenizer: Path, settings: dict[str, Any]) -> Path:
    parents = [
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
        artifact.parent_of(tokenizer, role="tokenizer"),
    ]
    data = artifact.read_manifest(corpus)
    with artifact.writing(out, kind="run", settings=settings, parents=parents) as draft:
        (draft.path / "recipe.toml").write_text('name = "toy"\n', encoding="utf-8")
        draft.count("steps", 1400, "steps")
        draft.count("tokens", 1400 * 4096, "tokens")
        draft.count("parameters", 30_000, "parameters")
        draft.licences, draft.legal = list(data.licences), list(data.legal)
    return out


def make_model(out: Path, *, run: Path, tokenizer: Path, family: str, seed: int = 0) -> Path:
    words = load_tokenizer(tokenizer)
    record = find_family(family)
    decoder = Decoder(SHAPES[family].decoder(words.vocab_size))
    decoder.initialise(seed=seed)
    ids = {
        "bos_token_id": words.bos_id,
        "eos_token_id": words.eos_id,
        "pad_token_id": words.pad_id,
    }
    config = record.config_to_disk(decoder.config) | ids | {"dtype": "float32"}
    advised = ids | {"do_sample": True, "temperature": 0.7, "top_p": 0.9}
    parents = [artifact.parent_of(run, role="run", kind="run")]
    with artifact.writing(out, kind="model", settings={"seed": seed}, parents=parents) as draft:
        with torch.no_grad():
            state = record.to_disk(decoder.state_dict(), decoder.config)
        state = {name: tensor.clone().contiguous() for name, tensor in state.items()}
        save_file(state, draft.path / "model.safetensors", metadata={"format": "pt"})
        for name, content in (("config.json", config), ("generation_config.json", advised)):
            (draft.path / name).write_text(json.dumps(content), encoding="utf-8")
        for name in artifact.read_manifest(tokenizer).files:
            shutil.copyfile(tokenizer / name, draft.path / name)
        draft.count("parameters", sum(t.numel() for t in state.values()), "parameters")
        manifest = artifact.read_manifest(run)
        draft.licences, draft.legal = list(manifest.licences), list(manifest.legal)
    return out


def make_chain(root: Path, *, family: str = "gpt_neox", licence: str = "CC0-1.0") -> Chain:
    corpus = make_corpus(root, licence=licence)
    tokenizer = train_tokenizer(
        corpus, out=root / "tokenizer", settings=TokenizerSettings(vocab_size=420)
    )
    run = make_run(
        root / "run",
        corpus=corpus,
        tokenizer=tokenizer,
        settings=run_settings(family),
    )
    model = make_model(root / "model", run=run, tokenizer=tokenizer, family=family)
    return Chain(corpus=corpus, tokenizer=tokenizer, run=run, model=model)
