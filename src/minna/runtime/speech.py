"""A speech encoder or recogniser in use: opened from its folder, asked for one recording at a time.

Labels, transcripts and scores all ask here, so a recording says the same in each of them, whatever
its length: what is longer than 30 s is heard in windows (`windows.py`). In fp32, since labels are
compared and stored.

Names: S samples at 16 kHz, F frames of 20 ms, D width, V symbols.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from minna.console import say
from minna.errors import ArtifactError, UsageError
from minna.models.speech.config import SpeechConfig, frames_of
from minna.models.speech.encoder import SpeechEncoder
from minna.models.speech.recogniser import SpeechRecogniser
from minna.models.weights.speech import (
    PRETRAINING,
    config_from_disk,
    encoder_from_disk,
    recogniser_from_disk,
)
from minna.runtime.load import Device, choose_device
from minna.runtime.towers import digest_of, weight_files
from minna.runtime.weights import read_json, read_tensors, read_weights
from minna.runtime.windows import by_windows
from minna.tokenizer.sounds import VOCAB_NAME, Sounds, read_sounds

Float32 = NDArray[np.float32]
_M = TypeVar("_M", bound=nn.Module)

_TOGETHER: Final = 4  # windows in a batch, on a GPU


class Encoder(Protocol):
    """Whatever has hidden states of recordings."""

    @property
    def name(self) -> str:
        """Of its folder."""
        ...

    @property
    def digest(self) -> str:
        """Hex sha256 of config and weights."""
        ...

    @property
    def layers(self) -> int:
        """Blocks."""
        ...

    @property
    def width(self) -> int:
        """D."""
        ...

    def hidden(self, samples_S: Float32, *, layer: int) -> Tensor:
        """Return what block `layer` says, counted from 1, of each frame: [F, D]."""
        ...


class Recogniser(Protocol):
    """Whatever says which sounds are in recordings."""

    @property
    def name(self) -> str:
        """Of its folder."""
        ...

    @property
    def sounds(self) -> Sounds:
        """Its symbols."""
        ...

    def logprobs(self, samples_S: Float32) -> Float32:
        """Return log-probabilities of the symbols in each frame: [F, V]."""
        ...


class OpenEncoder:
    """An encoder from a folder.

    Args:
        model: in eval mode.
        path: where it was read from.
    """

    def __init__(self, model: SpeechEncoder, path: Path) -> None:
        self.model, self._path = model, path
        self.name = path.resolve().name
        self.layers, self.width = model.config.layers, model.config.width

    @property
    def digest(self) -> str:
        """Hex sha256 of config and weights."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        return speech_digest(self._path)

    @torch.inference_mode()
    def hidden(self, samples_S: Float32, *, layer: int) -> Tensor:
        """Return what block `layer` says, counted from 1, of each frame: [F, D].

        Raises:
            UsageError: there is no such block.
        """
        if not 1 <= layer <= self.layers:
            raise UsageError(
                f"{self.name} has {self.layers} layers, and layer {layer} was asked for",
                remedy=f"count from 1 to {self.layers}",
            )
        device = self.model.masked_spec_embed.device

        def hear(samples_BS: Tensor) -> Tensor:
            return self.model(samples_BS.to(device), upto=layer).hidden

        if not frames_of(len(samples_S)):
            return torch.zeros(0, self.width, device=device)
        return by_windows(samples_S, hear, together=_together(device))


class OpenRecogniser:
    """A recogniser from a folder.

    Args:
        model: in eval mode.
        sounds: its symbols.
        path: where it was read from.
    """

    def __init__(self, model: SpeechRecogniser, sounds: Sounds, path: Path) -> None:
        self.model, self.sounds, self._path = model, sounds, path
        self.name = path.resolve().name

    @property
    def digest(self) -> str:
        """Hex sha256 of config, symbols and weights."""
        return self._digest

    @functools.cached_property
    def _digest(self) -> str:
        return speech_digest(self._path, [VOCAB_NAME])

    @torch.inference_mode()
    def logprobs(self, samples_S: Float32) -> Float32:
        """Return log-probabilities of the symbols in each frame: [F, V]; no frames below 25 ms."""
        device = self.model.lm_head.weight.device

        def hear(samples_BS: Tensor) -> Tensor:
            return self.model(samples_BS.to(device)).logits.float().log_softmax(-1)

        if not frames_of(len(samples_S)):
            return np.zeros((0, self.sounds.size), np.float32)
        return by_windows(samples_S, hear, together=_together(device)).cpu().numpy()


def open_encoder(path: Path, *, device: Device = "auto") -> OpenEncoder:
    """Open the encoder in a folder of HuBERT, wav2vec 2.0 or data2vec, also a recogniser's.

    Raises:
        ArtifactError: it is none, or its weights do not fit its config.
        MissingExtraError: transformers is not installed.
    """
    config = config_from_disk(read_json(path / "config.json"))
    model = SpeechEncoder(config)
    _fill(model, encoder_from_disk(read_weights(path), config), path)
    return OpenEncoder(_at_rest(model, device), path)


def open_recogniser(path: Path, *, device: Device = "auto") -> OpenRecogniser:
    """Open a recogniser: HubertForCTC, Wav2Vec2ForCTC or Data2VecAudioForCTC, with vocab.json.

    Raises:
        ArtifactError: it is none, it does not say which sounds it writes, or its weights do not fit
            its config.
        MissingExtraError: transformers is not installed.
    """
    config = config_from_disk(read_json(path / "config.json"))
    if config.vocab is None:
        raise ArtifactError(
            f"{path} is an encoder of speech and writes nothing: it has no head",
            remedy="tune it to recognise speech first (docs/speech.md)",
        )
    sounds = read_sounds(path)
    _refuse_other_vocab(config, sounds, path)
    model = SpeechRecogniser(config)
    _fill(model, recogniser_from_disk(read_weights(path), config), path)
    return OpenRecogniser(_at_rest(model, device), sounds, path)


def begin_speech(
    model: SpeechEncoder | SpeechRecogniser, path: Path, *, sounds: Sounds | None, seed: int
) -> None:
    """Give a model the weights of a folder to go on from.

    A recogniser's head is taken where it writes the very same symbols, else it is drawn.

    Args:
        model: of the shape that the folder has.
        path: an encoder or a recogniser.
        sounds: symbols of the recogniser that is trained; None for an encoder.
        seed: of a head that is drawn.

    Raises:
        ArtifactError: the folder is neither, or its weights do not fit its config.
    """
    if isinstance(model, SpeechEncoder):
        model.load_state_dict(open_encoder(path, device="cpu").model.state_dict())
        say(f"weights of {path} ({model.config.family})")
        return
    if (path / VOCAB_NAME).is_file() and sounds == read_sounds(path):
        model.load_state_dict(open_recogniser(path, device="cpu").model.state_dict())
        say(f"weights of {path} ({model.config.family}), with its head")
        return
    model.body.load_state_dict(open_encoder(path, device="cpu").model.state_dict())
    model.initialise_head(seed=seed)
    say(f"weights of {path} ({model.config.family}); the head is drawn")


def beside_speech(path: Path) -> dict[str, Tensor]:
    """Return what was learned beside the encoder of a folder of ours; {} where nothing lies there.

    Raises:
        ArtifactError: the file is damaged.
    """
    return read_tensors(path / PRETRAINING) if (path / PRETRAINING).is_file() else {}


def speech_digest(path: Path, beside: Iterable[str] = ()) -> str:
    """Hex sha256 of what decides what a folder's model says: config, weights, and files `beside`.

    Raises:
        ArtifactError: one is missing.
    """
    weights = [file for file in weight_files(path) if file.name != PRETRAINING]
    return digest_of(path, [path / "config.json", *(path / name for name in beside), *weights])


def _refuse_other_vocab(config: SpeechConfig, sounds: Sounds, path: Path) -> None:
    if sounds.size != config.vocab:
        raise ArtifactError(
            f"{path / VOCAB_NAME} has {sounds.size} symbols, and config.json {config.vocab}",
            remedy="put the vocab.json there that the model was trained with",
        )


def _fill(model: nn.Module, tensors: Iterable[tuple[str, Tensor]], path: Path) -> None:
    """Put tensors into a model.

    Raises:
        ArtifactError: one is missing, unknown or of another shape.
    """
    expected: dict[str, Tensor] = model.state_dict()
    state: dict[str, Tensor] = {}
    for name, tensor in tensors:
        if name in expected and tensor.shape != expected[name].shape:
            raise ArtifactError(
                f"{path}: the tensor {name!r} has shape {list(tensor.shape)}, and config.json says "
                f"{list(expected[name].shape)}",
                remedy="check that config.json and the weights belong together",
            )
        state[name] = tensor.float()
    found: Any = model.load_state_dict(state, strict=False)
    odd = [*found.missing_keys, *found.unexpected_keys]
    if odd:
        raise ArtifactError(
            f"{path}: {len(odd)} tensors do not fit the config: {odd[0]}, ...",
            remedy="check that config.json and the weights belong together",
        )


def _at_rest(model: _M, device: Device) -> _M:
    return model.to(choose_device(device)).eval().requires_grad_(False)


def _together(device: torch.device) -> int:
    return 1 if device.type == "cpu" else _TOGETHER
