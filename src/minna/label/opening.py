"""Which translator a call means: a server, a translation model, or a causal model dir."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings_class

from minna.errors import UsageError
from minna.label import endpoint
from minna.label.endpoint import EndpointTranslator
from minna.label.settings import Direction
from minna.label.translator import Translator
from minna.label.wording import load
from minna.runtime.http import HttpSettings
from minna.runtime.load import Device, Dtype
from minna.runtime.weights import read_json


@dataclass(frozen=True, kw_only=True)
class Server:
    """A model behind an OpenAI-compatible server.

    Attributes:
        url: base URL, such as http://127.0.0.1:8000/v1.
        model: its name there.
        http: key, patience, requests in flight.
    """

    url: str
    model: str
    http: HttpSettings


@settings_class(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class TranslatorSettings:
    """How a translator is asked.

    Attributes:
        prompt: the wording, by name or path; "" takes the usual one of its kind.
        format: prompt format of a causal model dir, by name or path; "" for none.
        max_new_tokens: longest answer; None: the server's own limit, or one by the text's length.
        device, dtype: of a model dir.
    """

    prompt: str = ""
    format: str = ""
    max_new_tokens: int | None = Field(default=None, ge=1)
    device: Device = "auto"
    dtype: Dtype = "auto"


def open_server(
    server: Server, *, direction: Direction, settings: TranslatorSettings
) -> Translator:
    """A chat model behind a server.

    Raises:
        UsageError: a bad URL, no key, no such wording, or a prompt format for a server.
    """
    if settings.format:
        raise UsageError(
            "a server lays out its messages itself, by its model's chat template",
            remedy="leave --format out",
        )
    return EndpointTranslator(
        server.url,
        model=server.model,
        wording=load(settings.prompt or endpoint.USUAL_WORDING),
        direction=direction,
        max_new_tokens=settings.max_new_tokens,
        settings=server.http,
    )


def open_model(path: Path, *, direction: Direction, settings: TranslatorSettings) -> Translator:
    """A model dir: an encoder-decoder by transformers, a causal model by our engine.

    Nothing is read but its config and hashes: the weights wait for the first text.

    Raises:
        ArtifactError: no model dir, or a damaged one.
        UsageError: no such wording, format, device or type.
    """
    if _is_encoder_decoder(path):
        if settings.format:
            raise UsageError(
                f"{path} is a translation model, and prompt formats are for causal ones",
                remedy="leave --format out",
            )
        from minna.label import seq2seq

        return seq2seq.Seq2SeqTranslator(
            path,
            wording=load(settings.prompt or seq2seq.USUAL_WORDING),
            direction=direction,
            max_new_tokens=settings.max_new_tokens,
            device=settings.device,
            dtype=settings.dtype,
        )
    from minna.label import causal

    return causal.CausalTranslator(
        path,
        wording=load(settings.prompt or causal.USUAL_WORDING, format_name=settings.format),
        direction=direction,
        max_new_tokens=settings.max_new_tokens,
        device=settings.device,
        dtype=settings.dtype,
    )


def open_back(path: Path, *, direction: Direction, settings: TranslatorSettings) -> Translator:
    """The model dir that translated, for the way back (`direction` is that way).

    Raises:
        UsageError: a translation model that is not told the languages, so it knows one way only.
    """
    if _is_encoder_decoder(path):
        from minna.label import seq2seq

        wording = load(settings.prompt or seq2seq.USUAL_WORDING)
        if not wording.tokens and "{target" not in wording.user:
            raise UsageError(
                f"{path} is not told which language to translate into (wording {wording.name}), so "
                "it translates one way only",
                remedy="name the model for the way back: --back-model DIR",
            )
    return open_model(path, direction=direction, settings=settings)


def _is_encoder_decoder(path: Path) -> bool:
    return read_json(path / "config.json").get("is_encoder_decoder") is True
