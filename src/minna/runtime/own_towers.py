"""Our dual encoders and rinna's, asked for embeddings.

A text is [CLS] (or what else begins a text, `tokenizer/first.py`) and its tokens, cut to what the
model was trained on, 77 with rinna's; no end mark. rinna's vocabulary knows no capital letters and
its folders rarely say so, so their texts are made lower-case here. Positions count from 0 and
padding is not attended to: left out, as transformers' RoBERTa would, results become silently worse.

Shape letters: N texts or pictures, E width of the shared space.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from minna.errors import ArtifactError, UsageError
from minna.models.dual import DualEncoder
from minna.models.pictures.towers import ImageTower, make_tower
from minna.models.weights import dual
from minna.runtime.embedding_batches import (
    Embeddings,
    by_length,
    groups,
    padded,
    stacked,
    unit,
)
from minna.runtime.load import Device, choose_device
from minna.runtime.towers import model_digest, read_preprocess
from minna.runtime.weights import read_json, read_weights
from minna.tokenizer.coder import AnyTokenizer, open_tokenizer
from minna.tokenizer.first import first_id
from minna.tokenizer.load import MODEL_NAMES, load_tokenizer

if TYPE_CHECKING:
    from PIL.Image import Image


class OwnTowers:
    """A dual encoder with its tokenizer.

    Args:
        model: in eval mode; without an image tower it embeds texts only.
        words: its tokenizer.
        path: where it was read from.
    """

    def __init__(self, model: DualEncoder, words: AnyTokenizer, *, path: Path) -> None:
        self.model, self.words = model, words
        self.width, self.scale, self.bias = model.config.width, model.scale, model.bias
        self.name = path.name
        self._path = path
        self._first = first_id(words)
        self._looks: ImageTower | None = model.image.fused() if model.image else None

    @property
    def digest(self) -> str:
        """Hex sha256 of config, tokenizer, preprocessing and weights."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        return model_digest(self._path)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Embeddings:
        """Return [N, E] of length 1.

        Raises:
            DataError: a text holds a lone surrogate.
        """
        most = self.model.config.text.context - 1
        flat, offsets = self.words.encode_batch(list(texts))
        rows = [
            [self._first, *flat[start : min(end, start + most)].tolist()]
            for start, end in itertools.pairwise(offsets)
        ]
        found = np.zeros((len(rows), self.width), np.float32)
        device = self.model.text_projection.weight.device
        for batch in by_length([len(row) for row in rows]):
            tokens, lengths = padded([rows[place] for place in batch], fill=self._first)
            found[batch] = unit(self.model.embed_text(tokens.to(device), lengths.to(device)))
        return found

    @torch.inference_mode()
    def images(self, pictures: Iterable[Image]) -> Embeddings:
        """Return [N, E] of length 1.

        Raises:
            UsageError: it embeds texts only.
        """
        tower = self._looks
        if tower is None:
            raise UsageError(
                f"{self.name} embeds texts only, and was given pictures",
                remedy="give a CLIP, CLOOB or SigLIP model",
            )
        device = self.model.text_projection.weight.device
        parts = [
            unit(self.model.embed_features(tower(tower.preprocess.pixels(group).to(device))))
            for group in groups(pictures)
        ]
        return stacked(parts, width=self.width)


def open_dual(folder: Path) -> DualEncoder:
    """Open a dual encoder, ours or rinna's, in fp32 and eval mode, on the CPU.

    Raises:
        ArtifactError: it is none, or its weights do not fit its config.
    """
    content = read_json(folder / "config.json")
    config = dual.config_from_disk(content)
    state = read_weights(folder)
    image = None
    if config.image:
        preprocess = read_preprocess(folder, content)
        image = make_tower(config.image, dual.vision_state(state), preprocess=preprocess)
    with torch.device("meta"):
        model = DualEncoder(config)
    expected = model.state_dict()
    ours = {name: one.float().clone() for name, one in dual.without_image(state, config)}
    for name, tensor in ours.items():
        if tensor.shape != expected[name].shape:
            raise ArtifactError(
                f"the tensor of {name!r} has shape {list(tensor.shape)}, and config.json says "
                f"{list(expected[name].shape)}",
                remedy="check that config.json and the weights belong together",
            )
    model.load_state_dict(ours, strict=True, assign=True)
    model.image = image
    return model.eval().requires_grad_(requires_grad=False)


def open_own(folder: Path, *, device: Device = "auto") -> OwnTowers:
    """Open a dual encoder with its tokenizer.

    Raises:
        ArtifactError: the folder holds none, or lacks its tokenizer, or has that of another.
    """
    rinnas = dual.is_rinnas(read_json(folder / "config.json"))
    model = open_dual(folder)
    words = _rinnas_words(folder) if rinnas else open_tokenizer(folder)
    if words.vocab_size > model.config.text.vocab:
        raise ArtifactError(
            f"the tokenizer in {folder} has {words.vocab_size} tokens, and the text tower "
            f"{model.config.text.vocab}",
            remedy="put the tokenizer there that the model was trained with",
        )
    return OwnTowers(model.to(choose_device(device)), words, path=folder)


def _rinnas_words(folder: Path) -> AnyTokenizer:
    if not any((folder / name).is_file() for name in MODEL_NAMES):
        raise ArtifactError(
            f"{folder} has no tokenizer ({' or '.join(MODEL_NAMES)})",
            remedy="rinna's CLIP and CLOOB read with that of japanese-roberta-base: put its "
            "spiece.model there",
        )
    return load_tokenizer(folder, case="lower")
