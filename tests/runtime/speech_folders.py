"""Folders of tiny speech models, as exports write them."""

from __future__ import annotations

import json

import torch
from safetensors.torch import save_file

from minna.models.speech.config import SpeechConfig
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.models.weights.speech import (
    PRETRAINING,
    config_to_disk,
    encoder_to_disk,
    recogniser_to_disk,
)
from minna.tokenizer.sounds import Sounds, sounds_of_inventory, write_sounds


def shape(family="hubert", **more):
    places = {} if family == "data2vec-audio" else {"position_kernel": 16}
    usual = {"layers": 2, "width": 32, "heads": 2, "ffn": 48, "conv_widths": (16,) * 7}
    return SpeechConfig(family=family, position_groups=4, **(usual | places | more))


def write_encoder(folder, *, family="hubert", seed=0, **more):
    model = SpeechEncoder(shape(family, **more))
    model.initialise(seed=seed)
    _write(folder, encoder_to_disk(model.state_dict()), config_to_disk(model.config))
    save_file({"head": torch.zeros(1)}, folder / PRETRAINING)
    return folder


def write_recogniser(folder, *, family="hubert", sounds: Sounds | None = None, seed=0, **more):
    sounds = sounds or sounds_of_inventory("open-jtalk")
    model = SpeechRecogniser(shape(family, vocab=sounds.size, **more))
    model.initialise(seed=seed)
    state = recogniser_to_disk(model.state_dict(), model.config)
    _write(folder, state, config_to_disk(model.config))
    write_sounds(folder, sounds)
    return folder


def _write(folder, state, config):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: one.contiguous() for name, one in state.items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
