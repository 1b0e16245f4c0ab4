"""Captions by a model that transformers knows: BLIP, GIT, an image encoder with a text decoder.

Diverse captions train a model of pictures and words better than the likeliest one (Li et al. 2022,
on BLIP), so they are drawn by nucleus sampling. Each draw has a random stream of its own, from the
seed, the picture and its number: a picture gets the same captions in any batch, and in a run that
was stopped and gone on with. A greedy search over logits with Gumbel noise is such a draw (Maddison
et al. 2014), and transformers then need not know of it.

B pictures times captions, V words.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, Self

import numpy as np
import torch
from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass
from torch import Tensor

from minna.artifact.manifest import Parent
from minna.errors import ArtifactError, MissingExtraError, UsageError
from minna.label.hub_model import DTYPES, FAILURES, open_hub_model, unreadable
from minna.label.translator import licence_of_folder, parent_of_folder
from minna.models.pictures.preprocess import Preprocess
from minna.runtime.load import Device, Dtype, choose_device
from minna.runtime.towers import read_preprocess
from minna.runtime.weights import read_json

if TYPE_CHECKING:
    from PIL.Image import Image

_AUTO: Final = "AutoModelForImageTextToText"
_WHAT: Final = "a model that captions pictures"
_AT_ONCE: Final = {"cpu": 8, "cuda": 64, "mps": 16}
_ASKED: Final = ("image_token_id", "image_token_index")
"""In configs of models that are asked about a picture in words."""
_TOP_P, _BEAMS = 0.9, 3


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CaptionSettings:
    """How pictures are captioned.

    Attributes:
        captions: of each picture; equal ones are kept once.
        sampling: "nucleus" draws them, "beam" takes the likeliest found.
        top_p: of nucleus sampling: words are drawn from the likeliest that make up this share.
        beams: of beam search.
        max_new_tokens: longest caption.
        seed: of nucleus sampling.
    """

    captions: int = Field(default=1, ge=1, le=64)
    sampling: Literal["nucleus", "beam"] = "nucleus"
    top_p: float = Field(default=_TOP_P, gt=0, le=1)
    beams: int = Field(default=_BEAMS, ge=1)
    max_new_tokens: int = Field(default=30, ge=1)
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.sampling == "beam":
            if self.top_p != _TOP_P or self.seed:
                raise ValueError("top_p and seed belong to nucleus sampling, and beam was chosen")
            if self.captions > self.beams:
                raise ValueError(f"{self.beams} beams end in {self.beams} captions at most")
        elif self.beams != _BEAMS:
            raise ValueError("beams belong to beam search: give sampling=beam")
        return self

    @property
    def identity(self) -> dict[str, Any]:
        """What a caption depends on of these."""
        own = {"top_p": self.top_p, "seed": self.seed}
        if self.sampling == "beam":
            own = {"beams": self.beams}
        return {
            "sampling": self.sampling,
            "captions": self.captions,
            "max_new_tokens": self.max_new_tokens,
            **own,
        }


class Captioner(Protocol):
    """Whoever captions pictures."""

    @property
    def name(self) -> str:
        """For people."""
        ...

    @property
    def licence(self) -> str:
        """Of its weights, as far as it says."""
        ...

    @property
    def parent(self) -> Parent:
        """Role "captioner", with the hash that identifies it."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that a caption depends on but the picture."""
        ...

    @property
    def at_once(self) -> int:
        """Pictures of one call."""
        ...

    def caption(self, pictures: Sequence[Image], *, digests: Sequence[str]) -> list[list[str]]:
        """Caption pictures, each by itself.

        Args:
            pictures: opened.
            digests: of their files.
        """
        ...


class _Opened(NamedTuple):
    model: Any
    tokenizer: Any
    preprocess: Preprocess
    device: torch.device


class HubCaptioner:
    """A captioning model in a folder; opened with the first picture.

    Args:
        path: the folder, with its tokenizer and preprocessor_config.json.
        settings: how it captions.
        device, dtype: where and in what it computes.

    Raises:
        ArtifactError: no model dir, or a damaged one.
        UsageError: a model that is asked in words, or a type it has no weights of.
    """

    def __init__(
        self,
        path: Path,
        *,
        settings: CaptionSettings,
        device: Device = "auto",
        dtype: Dtype = "auto",
    ) -> None:
        if dtype not in ("auto", *DTYPES):
            raise UsageError(f"{_WHAT} has no {dtype} weights", remedy="use --dtype fp32 or bf16")
        self.parent = parent_of_folder(path).model_copy(update={"role": "captioner"})
        config = read_json(path / "config.json")
        if any(name in config for name in _ASKED):
            raise UsageError(
                f"{path} is a {config.get('model_type')}, which is asked about a picture in words",
                remedy="give a model that captions by itself: BLIP, GIT, ViT-GPT2",
            )
        self.licence = licence_of_folder(path)
        self.name = path.resolve().name
        self._path, self._settings = path, settings
        self._device: Device = device
        self._dtype: Dtype = dtype

    @property
    def identity(self) -> Mapping[str, Any]:
        """Weights, type, and how captions are drawn."""
        return {
            "kind": "captioner",
            "model": self.parent.sha256,
            "dtype": self._dtype,
            **self._settings.identity,
        }

    @property
    def at_once(self) -> int:
        """Pictures of one call: fewer where each gets several captions."""
        return max(1, _AT_ONCE[choose_device(self._device).type] // self._settings.captions)

    def caption(self, pictures: Sequence[Image], *, digests: Sequence[str]) -> list[list[str]]:
        """Caption pictures; see `Captioner`.

        Raises:
            MissingExtraError: transformers is not installed.
            ArtifactError: the folder is no model that transformers can open and that captions.
            UsageError: one picture does not fit into memory.
        """
        pixels = self._opened.preprocess.pixels(list(pictures))
        return self._batch(pixels, list(digests))

    def _batch(self, pixels_BCHW: Tensor, digests: list[str]) -> list[list[str]]:
        """Captions of some pictures; half of them at a time where memory does not hold them."""
        try:
            return self._generate(pixels_BCHW, digests)
        except torch.OutOfMemoryError as error:
            if len(digests) == 1:
                raise UsageError(
                    f"one picture does not fit into the memory of {self._opened.device}",
                    remedy="use --device cpu, --dtype bf16 or fewer --captions",
                ) from error
            half = len(digests) // 2
        # outside of the handler, which would hold the tensors that did not fit
        torch.cuda.empty_cache()
        first = self._batch(pixels_BCHW[:half], digests[:half])
        return first + self._batch(pixels_BCHW[half:], digests[half:])

    @torch.inference_mode()
    def _generate(self, pixels_BCHW: Tensor, digests: list[str]) -> list[list[str]]:
        opened, settings = self._opened, self._settings
        pixels = pixels_BCHW.to(opened.device, opened.model.dtype)
        if settings.sampling == "beam":
            how = {"num_beams": settings.beams, "num_return_sequences": settings.captions}
        else:
            pixels = pixels.repeat_interleave(settings.captions, 0)
            numbers = range(settings.captions)
            streams = [_stream(settings.seed, one, n) for one in digests for n in numbers]
            how = {"num_beams": 1, "logits_processor": [Nucleus(settings.top_p, streams)]}
        try:
            ids = opened.model.generate(
                pixel_values=pixels,
                max_new_tokens=settings.max_new_tokens,
                do_sample=False,
                **how,
            )
        except (ValueError, TypeError) as error:
            raise unreadable(self._path, error, what=_WHAT) from error
        texts = opened.tokenizer.batch_decode(ids, skip_special_tokens=True)
        each = settings.captions
        return [texts[start : start + each] for start in range(0, len(texts), each)]

    @functools.cached_property
    def _opened(self) -> _Opened:
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("transformers", extra="transformers") from error
        device = choose_device(self._device)
        model = open_hub_model(self._path, _AUTO, device=device, dtype=self._dtype, what=_WHAT)
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(
                self._path, local_files_only=True, trust_remote_code=False
            )
        except FAILURES as error:
            raise unreadable(self._path, error, what=_WHAT) from error
        if tokenizer is None or not hasattr(tokenizer, "batch_decode"):
            raise ArtifactError(
                f"{self._path} has no tokenizer that transformers can open",
                remedy="put the one that came with the weights there",
            )
        preprocess = read_preprocess(self._path, read_json(self._path / "config.json"))
        return _Opened(model, tokenizer, preprocess, device)


class Nucleus:
    """Logits with noise: the largest is a draw from the likeliest words (Holtzman et al. 2020).

    Args:
        top_p: share of all chances that the words drawn from make up, at least.
        streams: random numbers of each row.
    """

    def __init__(self, top_p: float, streams: Sequence[np.random.Generator]) -> None:
        self._top_p, self._streams = top_p, streams

    def __call__(self, ids_BS: Tensor, logits_BV: Tensor) -> Tensor:
        """Return what the largest is taken of; called by transformers for every word."""
        del ids_BS
        chances = logits_BV.float().softmax(1)
        ordered, places = chances.sort(dim=1, descending=True)
        # a word stays if those before it do not make up the share
        goes = ordered.cumsum(1) - ordered >= self._top_p
        goes = torch.zeros_like(goes).scatter(1, places, goes)
        noise = np.stack([one.gumbel(size=logits_BV.shape[1]) for one in self._streams])
        noisy = chances.log() + torch.from_numpy(noise).to(chances)
        return noisy.masked_fill(goes, -torch.inf)


def _stream(seed: int, digest: str, number: int) -> np.random.Generator:
    mixed = hashlib.sha256(f"{seed} {digest} {number}".encode()).digest()
    return np.random.default_rng(int.from_bytes(mixed[:16], "big"))
