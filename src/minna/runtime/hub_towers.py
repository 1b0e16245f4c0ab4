"""CLIP and SigLIP of transformers, asked for embeddings.

transformers makes the models of configs and of tensors that we read; text goes through our own
tokenizers, and pictures through our own preprocessing, so neither torchvision nor a network is
needed. CLIP reads a text at its first end mark, from left to right, so what is behind that does not
matter and texts are padded to their batch alone. SigLIP reads it at the last of its 64 places, and
looks at the padding: there all of them are needed.

Shape letters: N texts or pictures, E width of the shared space.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor

from minna.errors import ArtifactError
from minna.models.pictures.hub import fill
from minna.models.pictures.preprocess import Preprocess
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
from minna.tokenizer.folder import read_folder, read_object
from minna.tokenizer.load import Tokenizer
from minna.tokenizer.settings import SPACE

if TYPE_CHECKING:
    from PIL.Image import Image

CLASSES = {"clip": ("CLIPConfig", "CLIPModel"), "siglip": ("SiglipConfig", "SiglipModel")}
"""model_type -> transformers' classes."""

_OLD_EOS = 2  # in configs of before 2023, whatever the vocabulary: the highest id ends a text
_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a model reads a text.

    Attributes:
        words: its tokenizer.
        clean: what is done to a text first: nothing, lower case, or SigLIP's lower case without
            ASCII punctuation.
        front, end: ids before and behind a text.
        pad: fills the rest.
        places: of the longest text.
        fills: whether every row has that many, and on which side the text stands.
    """

    words: AnyTokenizer
    clean: Literal["nothing", "lower", "lower_plain"]
    front: tuple[int, ...]
    end: tuple[int, ...]
    pad: int
    places: int
    fills: Literal["no", "behind", "before"] = "no"

    def rows(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the ids of texts.

        Raises:
            DataError: a text holds a lone surrogate.
        """
        most = self.places - len(self.front) - len(self.end)
        out: list[list[int]] = []
        for text in texts:
            row = [*self.front, *self.words.encode(self._cleaned(text))[:most], *self.end]
            rest = [self.pad] * (self.places - len(row))
            if self.fills != "no":
                row = row + rest if self.fills == "behind" else rest + row
            out.append(row)
        return out

    def _cleaned(self, text: str) -> str:
        if self.clean == "nothing":
            return text
        if self.clean == "lower":
            return text.lower()
        plain = text.replace(SPACE, " ").lower().translate(_PUNCTUATION)
        return re.sub(r"\s+", " ", plain).strip()


class HubTowers:
    """A CLIP or SigLIP of transformers.

    Args:
        model: in eval mode.
        reading: how it reads texts.
        preprocess: how it sees pictures.
        path: where it was read from.
    """

    def __init__(self, model: Any, *, reading: Reading, preprocess: Preprocess, path: Path) -> None:
        self.model, self.reading, self.preprocess = model, reading, preprocess
        self.width = _width(model)
        self.scale = float(model.logit_scale.detach().exp())
        bias: Any = getattr(model, "logit_bias", None)
        self.bias = 0.0 if bias is None else float(bias.detach())
        self.name = path.name
        self._path = path

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
        rows = self.reading.rows(texts)
        found = np.zeros((len(rows), self.width), np.float32)
        for batch in by_length([len(row) for row in rows]):
            tokens, lengths = padded([rows[place] for place in batch], fill=self.reading.pad)
            asked = {"input_ids": tokens.to(self.model.device)}
            if self.reading.fills == "no":
                seen = torch.arange(tokens.shape[1]) < lengths[:, None]
                asked["attention_mask"] = seen.long().to(self.model.device)
            found[batch] = unit(_features(self.model.get_text_features(**asked)))
        return found

    @torch.inference_mode()
    def images(self, pictures: Iterable[Image]) -> Embeddings:
        """Return [N, E] of length 1."""
        parts: list[Embeddings] = []
        for group in groups(pictures):
            pixels = self.preprocess.pixels(group).to(self.model.device)
            parts.append(unit(_features(self.model.get_image_features(pixel_values=pixels))))
        return stacked(parts, width=self.width)


def open_hub(folder: Path, *, device: Device = "auto") -> HubTowers:
    """Open a CLIP or SigLIP as transformers writes it.

    Raises:
        ArtifactError: its weights, tokenizer or preprocessing do not fit, or are not there.
        MissingExtraError: transformers is not installed.
    """
    config = read_json(folder / "config.json")
    state = {
        name: tensor
        for name, tensor in read_weights(folder).items()
        if not name.endswith("position_ids")
    }
    model = fill(CLASSES[config["model_type"]], config=config, state=state)
    text = model.config.text_config
    reading = (_of_clip if config["model_type"] == "clip" else _of_siglip)(folder, text)
    if reading.words.vocab_size > text.vocab_size:
        raise ArtifactError(
            f"the tokenizer in {folder} has {reading.words.vocab_size} tokens, and the text tower "
            f"{text.vocab_size}",
            remedy="put the tokenizer there that the model was trained with",
        )
    preprocess = read_preprocess(folder, config)
    model = model.to(choose_device(device)).requires_grad_(False)
    return HubTowers(model, reading=reading, preprocess=preprocess, path=folder)


def _of_clip(folder: Path, text: Any) -> Reading:
    """How CLIP reads: between two marks, at the second.

    Raises:
        ArtifactError: the tokenizer has not both, or the model looks for another end.
    """
    words = open_tokenizer(folder)
    if words.bos_id < 0 or words.eos_id < 0:
        raise ArtifactError(
            f"the tokenizer in {folder} names no begin and end of a text, between which CLIP reads",
            remedy="put special_tokens_map.json or tokenizer_config.json there",
        )
    if text.eos_token_id not in (_OLD_EOS, words.eos_id):
        raise ArtifactError(
            f"the text tower looks for the end mark {text.eos_token_id}, and the tokenizer in "
            f"{folder} writes {words.eos_id}",
            remedy="correct eos_token_id in text_config of config.json",
        )
    return Reading(
        words=words,
        clean="nothing",
        front=(words.bos_id,),
        end=(words.eos_id,),
        pad=words.pad_id if words.pad_id >= 0 else words.eos_id,
        places=text.max_position_embeddings,
    )


def _of_siglip(folder: Path, text: Any) -> Reading:
    """How SigLIP reads: lower case, an end mark, and all places filled.

    Its first vocabulary is a SentencePiece model whose end mark is also what fills a row, and takes
    no ASCII punctuation; SigLIP 2 has Gemma's, a tokenizer.json.

    Raises:
        ArtifactError: the tokenizer has no end mark, or nothing to fill rows with.
    """
    words = open_tokenizer(folder)
    config = read_object(folder / "tokenizer_config.json")
    if isinstance(words, Tokenizer):
        named = {"eos_token": "</s>", "pad_token": "</s>"} | read_folder(folder).specials
        by_text = {piece.text: number for number, piece in enumerate(words.fields.pieces)}
        end, pad = (by_text.get(named[role], -1) for role in ("eos_token", "pad_token"))
    else:
        end, pad = words.eos_id, words.pad_id
    if end < 0 or pad < 0:
        raise ArtifactError(
            f"the tokenizer in {folder} names no end of a text, or nothing that fills a row",
            remedy="put special_tokens_map.json or tokenizer_config.json there",
        )
    gemma = str(config.get("tokenizer_class", "")).startswith(("Gemma", "Siglip2"))
    side = config.get("padding_side", "left" if gemma else "right")
    lower = config.get("do_lower_case", True)
    plain = isinstance(words, Tokenizer)
    return Reading(
        words=words,
        clean="nothing" if not lower else "lower_plain" if plain else "lower",
        front=(),
        end=(end,),
        pad=pad,
        places=text.max_position_embeddings,
        fills="before" if side == "left" else "behind",
    )


def _width(model: Any) -> int:
    """Width of the shared space: CLIP's projection, SigLIP's text head."""
    if model.config.model_type == "clip":
        return int(model.config.projection_dim)
    return int(model.config.text_config.projection_size)


def _features(output: Any) -> Tensor:
    """The projected features, which transformers 5 hands out inside an object."""
    return output if isinstance(output, Tensor) else output.pooler_output
