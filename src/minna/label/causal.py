"""Translations by a causal model dir of ours, through the one engine."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from minna import prompts
from minna.label.settings import Direction
from minna.label.translator import Refusal, licence_of_folder, parent_of_folder
from minna.label.wording import Wording
from minna.runtime.engine import Engine
from minna.runtime.load import Device, Dtype, load_model
from minna.runtime.request import Request, Result
from minna.tokenizer.coder import Coder, load_coder

USUAL_WORDING: Final = "pairs"
_SLOTS: Final = 16
_ROOM: Final = 32  # tokens any translation may have, beside its share of the source's
_SHARE: Final = 3  # own choice: Japanese rarely has more tokens than its English source


class CausalTranslator:
    """A causal model dir that goes on greedily from a prompt.

    Args:
        path: the model dir; it is opened with the first text.
        wording: how it is asked.
        direction: the languages.
        max_new_tokens: longest answer; None is 32 and three times the tokens of the text.
        device, dtype: where and in what it computes.

    Raises:
        ArtifactError: no model dir, or a damaged one.
    """

    at_once = 32
    workers = 1

    def __init__(
        self,
        path: Path,
        *,
        wording: Wording,
        direction: Direction,
        max_new_tokens: int | None = None,
        device: Device = "auto",
        dtype: Dtype = "auto",
    ) -> None:
        self.parent = parent_of_folder(path)
        self.licence = licence_of_folder(path)
        self.name = path.resolve().name
        self._path = path
        self._wording = wording
        self._direction = direction
        self._max_new_tokens = max_new_tokens
        self._device: Device = device
        self._dtype: Dtype = dtype

    @property
    def identity(self) -> Mapping[str, Any]:
        """Weights, type, prompt, languages, longest answer."""
        return {
            "kind": "causal",
            "model": self.parent.sha256,
            "dtype": self._dtype,
            "system": self._wording.system,
            "user": self._wording.user,
            "format": prompts.source(self._wording.format) if self._wording.format else "",
            "stops": list(self._wording.stops),
            "source": self._direction.source,
            "target": self._direction.target,
            "max_new_tokens": self._max_new_tokens,
        }

    def translate(self, texts: Sequence[str]) -> list[str | Refusal]:
        """Go on from a prompt for each text; see `Translator`.

        Raises:
            ArtifactError: the model cannot be opened.
            UsageError: no such device or type.
        """
        requests = [self._request(text) for text in texts]
        fitting = [request for request in requests if request is not None]
        results = iter(self._engine.run(fitting))
        return [
            Refusal("too long for the model's context")
            if request is None
            else self._said(next(results))
            for request in requests
        ]

    def _said(self, result: Result) -> str | Refusal:
        if result.finish == "length":
            return Refusal("the answer did not end and was cut")
        return self._wording.answer(result.text)

    def _request(self, text: str) -> Request | None:
        """The prompt for a text; None where it and a translation do not fit the context."""
        model = self._engine.model
        prompt = self._wording.prompt(text, direction=self._direction, end=self._coder.eos_text)
        ids = tuple(model.tokenizer.encode(prompt))
        size = len(model.tokenizer.encode(text))
        room = model.decoder.config.context - len(ids)
        if room < _ROOM + size:
            return None
        return Request(
            prompt=ids,
            max_new_tokens=min(room, self._max_new_tokens or _ROOM + _SHARE * size),
            stop_texts=self._wording.stop_texts(direction=self._direction),
            stops_after="text",
        )

    def give_up(self) -> None:
        """Nothing waits here."""

    @functools.cached_property
    def _engine(self) -> Engine:
        # one for all calls: what all prompts begin with is read once
        model = load_model(self._path, device=self._device, dtype=self._dtype)
        return Engine(model, slots=_SLOTS)

    @functools.cached_property
    def _coder(self) -> Coder:
        return load_coder(self._path)
