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
from minna.errors import ArtifactError, UsageError
from minna.evaluate.backends.base import Backend
from minna.evaluate.settings import EvaluateSettings
from minna.models.family import FAMILIES
from minna.runtime.load import LoadedModel, load_model
from minna.runtime.weights import read_json


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and its identity.

    Attributes:
        name: for people.
        path: its folder.
        parent: role "model", with the hash that identifies it.
    """

    name: str
    path: Path
    parent: Parent

    def load(self, settings: EvaluateSettings) -> LoadedModel:
        """Open it with our engine.

        Raises:
            ArtifactError: not a model dir, or of a family that the engine does not know.
        """
        return load_model(self.path, device=settings.device, dtype=settings.dtype)

    def backend(self, settings: EvaluateSettings) -> Backend:
        """Open it with the backend that the settings ask for.

        Raises:
            ArtifactError: the folder is no model of that backend.
        """
        chosen = settings.backend
        if chosen == "auto":
            chosen = "minna" if self._is_ours() else "transformers"
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
            self.path,
            device=settings.device,
            dtype=settings.dtype,
            batch_tokens=settings.batch_tokens,
        )

    def _is_ours(self) -> bool:
        kind = read_json(self.path / "config.json").get("model_type")
        return any(family.model_type == kind for family in FAMILIES.values())


def open_subject(path: Path) -> Subject:
    """Identify the model in a folder, checking its manifest where it has one.

    Raises:
        ArtifactError: no model there, damaged, or a directory of another kind.
    """
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


def _hash_folder(path: Path) -> str:
    files = sorted(file for file in path.iterdir() if file.is_file())
    hashes = [[file.name, sha256_file(file)] for file in files]
    return hashlib.sha256(canonical(hashes).encode()).hexdigest()
