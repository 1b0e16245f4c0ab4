"""What the verb asks of whoever translates: texts in, translations out, in their order.

A text that cannot be translated is an answer too (`Refusal`): it costs its row and not the run.
An exception means that the translator itself is in trouble.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from minna import artifact
from minna.artifact.files import sha256_file
from minna.artifact.manifest import Parent, canonical
from minna.artifact.terms import fingerprint, read_terms
from minna.artifact.verify import verify
from minna.errors import ArtifactError

_WEIGHTS = (".safetensors", ".bin", ".gguf", ".pt", ".msgpack", ".h5", ".ot")


@dataclass(frozen=True)
class Refusal:
    """Why one text has no translation, in a few words."""

    why: str


class Translator(Protocol):
    """Whoever translates, in one direction."""

    @property
    def name(self) -> str:
        """For people: who the translations are by."""
        ...

    @property
    def licence(self) -> str:
        """What its weights are under, as far as it says; "" where that is not known."""
        ...

    @property
    def parent(self) -> Parent:
        """Role "translator", with the hash that identifies it."""
        ...

    @property
    def identity(self) -> Mapping[str, Any]:
        """Everything that a translation depends on but the text: model, wording, direction."""
        ...

    @property
    def at_once(self) -> int:
        """Texts of one call; more than one are sorted by length first."""
        ...

    @property
    def workers(self) -> int:
        """Calls that may go on at the same time, each in a thread of its own."""
        ...

    def translate(self, texts: Sequence[str]) -> Sequence[str | Refusal]:
        """Translate texts, each by itself.

        Raises:
            MinnaError: the translator is in trouble, whatever the texts are.
        """
        ...

    def give_up(self) -> None:
        """Nobody waits any longer: calls in other threads should end soon."""
        ...


def parent_of_folder(path: Path) -> Parent:
    """Identify a model dir as a translator: by its manifest, else by what lies in it.

    Raises:
        ArtifactError: no model there, a damaged one, or a directory of another kind.
    """
    if not (path / "config.json").is_file():
        raise ArtifactError(
            f"{path} has no config.json, so it is no model dir", remedy="check the path"
        )
    if (path / artifact.MANIFEST_NAME).is_file():
        kind = artifact.read_manifest(path).kind
        if kind not in ("model", "release"):
            raise ArtifactError(
                f"{path} is a {kind}, and a model or a release is needed",
                remedy="a run becomes a model by: minna export RUN --out MODEL",
            )
        verify(path)
        return artifact.parent_of(path, role="translator")
    small = sorted(
        file for file in path.iterdir() if file.is_file() and file.suffix not in _WEIGHTS
    )
    content = [fingerprint(path), *([file.name, sha256_file(file)] for file in small)]
    return Parent(
        role="translator",
        kind="model",
        sha256=hashlib.sha256(canonical(content).encode()).hexdigest(),
        path=Path(os.path.abspath(path)).as_posix(),
    )


def parent_of_server(url: str, model: str) -> Parent:
    """Identify a model behind a server: nobody here can hash it, so its address stands for it."""
    return Parent(
        role="translator",
        kind="model",
        sha256=hashlib.sha256(canonical([url, model]).encode()).hexdigest(),
        path=f"{url} {model}",
    )


def licence_of_folder(path: Path) -> str:
    """Under which licence a model dir says its weights are; "" where it does not."""
    if (path / artifact.MANIFEST_NAME).is_file():
        found = dict.fromkeys(one.licence for one in artifact.read_manifest(path).licences)
        return ", ".join(found)
    return read_terms(path).licence
