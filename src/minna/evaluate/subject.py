"""Who is judged: a model dir of ours, any Hugging Face folder, or a server; and who answers for it.

A report must say which weights it is about. Ours have a manifest whose hash says it; of a
stranger's folder every file is hashed, which for 7 billion parameters takes some ten seconds.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from minna import artifact
from minna.artifact.files import sha256_file
from minna.artifact.manifest import Parent, canonical
from minna.artifact.verify import verify
from minna.console import say
from minna.errors import ArtifactError, MinnaError, UsageError
from minna.evaluate.backends.base import Backend
from minna.evaluate.settings import EvaluateSettings
from minna.models.family import FAMILIES
from minna.runtime.load import LoadedModel, load_model
from minna.runtime.weights import read_json
from minna.tokenizer.coder import load_coder


@dataclass(frozen=True, kw_only=True)
class Server:
    """How a model behind a URL is asked.

    Attributes:
        name: the model's name there.
        tokenizer: folder of its tokenizer; without it only answers can be asked for.
        key_variable: name of the environment variable that holds the API key; "" sends none.
        max_length: tokens the model reads; None asks the server.
        concurrency: requests in flight.
    """

    name: str
    tokenizer: Path | None = None
    key_variable: str = ""
    max_length: int | None = None
    concurrency: int = 8


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and its identity.

    Attributes:
        name: for people.
        parent: role "model", with the hash that identifies it.
        path: its folder; None behind a server.
        url: of the server; "" for a folder.
        server: how it is asked there.
    """

    name: str
    parent: Parent
    path: Path | None = None
    url: str = ""
    server: Server | None = None

    def load(self, settings: EvaluateSettings) -> LoadedModel:
        """Open it with our engine.

        Raises:
            ArtifactError: not a model dir, or of a family that the engine does not know.
            UsageError: the model is behind a server.
        """
        return load_model(self._folder(), device=settings.device, dtype=settings.dtype)

    def backend(self, settings: EvaluateSettings) -> Backend:
        """Open it with the backend that the settings ask for.

        Raises:
            ArtifactError: the folder is no model of that backend.
        """
        if self.server is not None:
            from minna.evaluate.backends.endpoint import EndpointBackend
            from minna.runtime.http import HttpSettings

            return EndpointBackend(
                self.url,
                model=self.server.name,
                tokenizer=self.server.tokenizer,
                context=self.server.max_length,
                settings=HttpSettings(
                    key_variable=self.server.key_variable, concurrency=self.server.concurrency
                ),
            )
        path = self._folder()
        chosen = settings.backend
        if chosen == "auto":
            chosen = "minna" if settings.way == "plain" or self._is_ours() else "transformers"
        if chosen == "minna":
            from minna.evaluate.backends.engine import EngineBackend

            return EngineBackend(
                self.load(settings), way=settings.way, batch_tokens=settings.batch_tokens
            )
        if settings.way == "plain":
            raise UsageError(
                "the plain way is our engine's, and this model runs by transformers",
                remedy="leave --plain out",
            )
        from minna.evaluate.backends.transformers import TransformersBackend

        return TransformersBackend(
            path,
            device=settings.device,
            dtype=settings.dtype,
            batch_tokens=settings.batch_tokens,
        )

    def _folder(self) -> Path:
        if self.path is None:
            raise UsageError(
                f"{self.url} is a server, and bits per byte are measured on a model dir",
                remedy="leave --corpus out, or give the folder of the model",
            )
        return self.path

    def _is_ours(self) -> bool:
        """Whether our engine knows the family, and this member of it."""
        config = read_json(self._folder() / "config.json")
        for family in FAMILIES.values():
            if family.model_type == config.get("model_type"):
                try:
                    family.config_from_disk(config)
                except MinnaError as error:
                    say(f"{self.name} runs by transformers: {error}")
                    return False
                return True
        return False


def open_subject(model: Path | str, *, server: Server | None = None) -> Subject:
    """Identify a model: the folder it lies in (its manifest is checked), or the server it is on.

    Args:
        model: a folder, or the base URL of a server that speaks OpenAI's protocol.
        server: how that server is asked.

    Raises:
        ArtifactError: no model there, damaged, or a directory of another kind.
        UsageError: a server without a name, or a name for a folder.
    """
    if str(model).startswith(("http://", "https://")):
        return _served(str(model), server)
    if server is not None:
        raise UsageError(
            f"{model} is a folder: its name and tokenizer are its own",
            remedy="leave --served-name and what belongs to it out",
        )
    path = Path(model)
    if not path.is_dir():
        raise ArtifactError(f"{path} is not a directory", remedy="give the path of a model dir")
    if (path / artifact.MANIFEST_NAME).is_file():
        kind = artifact.read_manifest(path).kind
        if kind not in ("model", "release"):
            raise ArtifactError(
                f"{path} is a {kind}, and a model or a release is needed",
                remedy="a run becomes a model by: minna export RUN --out MODEL",
            )
        verify(path)
        parent = artifact.parent_of(path, role="model")
    else:
        read_json(path / "config.json")
        parent = Parent(
            role="model",
            kind="model",
            sha256=_hash_folder(path),
            path=Path(os.path.abspath(path)).as_posix(),
        )
    return Subject(name=path.resolve().name, path=path, parent=parent)


def _served(url: str, server: Server | None) -> Subject:
    """A model behind a server: nobody here can hash its weights, so its address stands for it."""
    if server is None:
        raise UsageError(
            f"{url} may serve several models", remedy="name one of them: --served-name NAME"
        )
    vocabulary = load_coder(server.tokenizer).sha256 if server.tokenizer else ""
    content = canonical([url, server.name, vocabulary])
    parent = Parent(
        role="model",
        kind="model",
        sha256=hashlib.sha256(content.encode()).hexdigest(),
        path=f"{url} {server.name}",
    )
    return Subject(name=server.name, parent=parent, url=url, server=server)


def _hash_folder(path: Path) -> str:
    files = sorted(file for file in path.iterdir() if file.is_file())
    hashes = [[file.name, sha256_file(file)] for file in files]
    return hashlib.sha256(canonical(hashes).encode()).hexdigest()
