"""A speed-run track at toy size: made-up sentences, a model of a moment."""

from __future__ import annotations

import json

from tests.test_chain import FAST, SMALL
from tests.toy_chain import sentences

SLOW = ("train.device", "train.evaluate_every")


def write_track(folder, *, name="toy-track", minutes=5, cores=1, more=(), count=900, seed=0):
    """TRACK.toml and its text in `folder`; 12 steps at most, whatever the machine."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / f"text-{seed}.txt"
    text.write_text("\n".join(sentences(count, seed=seed)), encoding="utf-8")
    fast = [word for word in FAST if not word.startswith(SLOW)]
    overrides = [*fast, *SMALL["gpt_neox"][1], "tokenizer.vocab_size=420", *more]
    file = folder / f"{name}.toml"
    file.write_text(
        f"""
name = "{name}"
description = "A toy"
minutes = {minutes}
recipe = "toy-gpt-neox"
overrides = {json.dumps(overrides)}
[machine]
device = "cpu"
cores = {cores}
[corpus]
source = "local"
path = "{text.as_posix()}"
documents = "line"
test = 0.1
valid = 0.05
licence = "CC0-1.0"
""",
        encoding="utf-8",
    )
    return file
