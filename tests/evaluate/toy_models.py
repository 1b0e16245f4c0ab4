"""Model dirs with random weights and a SentencePiece model trained on a few lines."""

from __future__ import annotations

import json
import random
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file
from tests.runtime.conftest import TEXT

from minna.evaluate.backends.base import Generation
from minna.evaluate.records import Candidate
from minna.models import Decoder, find_family
from minna.models.family import GptNeoXShape

VOCAB = 380
SHAPE = GptNeoXShape(layers=2, width=48, heads=3, ffn=96, context=96)


def train_sentencepiece(path: Path, *, vocab: int = VOCAB, kind: str = "bpe", **options) -> Path:
    """Write tokenizer.model into `path`, in rinna's settings unless told otherwise."""
    path.mkdir(parents=True, exist_ok=True)
    settings = {
        "byte_fallback": True,
        "character_coverage": 0.98,
        "normalization_rule_name": "identity",
        "add_dummy_prefix": False,
        "remove_extra_whitespaces": False,
    }
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT.splitlines() * 3),
        model_prefix=str(path / "tokenizer"),
        vocab_size=vocab,
        model_type=kind,
        minloglevel=2,
        **(settings | options),
    )
    (path / "tokenizer.vocab").unlink()
    return path / "tokenizer.model"


def write_weights(path: Path, *, shape=SHAPE, vocab: int = VOCAB + 4, seed: int = 0) -> Path:
    """Write config.json and weights, large enough that logits differ clearly."""
    path.mkdir(parents=True, exist_ok=True)
    family = find_family(shape.family)
    decoder = Decoder(shape.decoder(vocab))
    decoder.initialise(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in decoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    state = family.to_disk(decoder.state_dict(), decoder.config)
    state = {name: tensor.contiguous() for name, tensor in state.items()}
    save_file(state, path / "model.safetensors", metadata={"format": "pt"})
    config = family.config_to_disk(decoder.config) | {"bos_token_id": 1, "eos_token_id": 2}
    (path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    return path


def toy_model(path: Path) -> Path:
    """A whole model dir."""
    train_sentencepiece(path)
    return write_weights(path)


def random_groups(*, groups: int, context: int, seed: int = 0) -> list[list[Candidate]]:
    """Questions of random ids with 2 to 4 choices; some fill the model's context."""
    draw = random.Random(seed)
    found = []
    for number in range(groups):
        size = context - 3 if number == 0 else draw.randrange(1, 30)
        question = [draw.randrange(4, VOCAB) for _ in range(size)]
        choices = [
            [draw.randrange(4, VOCAB) for _ in range(draw.randrange(1, 5))]
            for _ in range(draw.randrange(2, 5))
        ]
        found.append(
            [
                Candidate(ids=tuple((question + choice)[: context + 1]), start=len(question))
                for choice in choices
            ]
        )
    return found


def generations(coder, *, eos: int, cap: int = 12) -> list[Generation]:
    """Jobs of different lengths, caps and ends."""
    prompts = [
        "吾輩は猫である。名前は",
        "The quick brown",
        "どこで",
        "しかもあとで聞くとそれは書生という",
    ]
    return [
        Generation(
            prompt=tuple(coder.encode(prompt)),
            max_new_tokens=cap + number,
            stop_ids=(eos,),
            stop_texts=("。", "\n") if number % 2 else (),
            text=prompt,
        )
        for number, prompt in enumerate(prompts)
    ]
