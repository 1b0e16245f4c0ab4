"""Terms of weights from elsewhere: under which licence, in which words, and whether they stay.

Whoever trains on somebody's weights takes their terms along. A model dir says them in the front
matter of its README.md (the Hub's model card) and in text files beside it; a run copies them, so
that its export and its release have them when the model dir is long gone.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from minna.artifact.files import write_text_atomically
from minna.errors import DataError

FOLDER = "terms"
"""Where a run keeps the terms of the weights it began with."""

# Licences that what is made of the weights stays under: community licences of model makers, use
# restrictions, share-alike, non-commercial and copyleft ones.
_KEPT = (
    "llama",
    "tongyi-qianwen",
    "gemma",
    "openrail",
    "creativeml-openrail",
    "bigscience-openrail",
    "bigscience-bloom-rail",
    "cc-by-sa",
    "cc-by-nc",
    "gpl",
    "agpl",
    "lgpl",
)
_TEXTS = re.compile(r"(licen[cs]e|notice|use_policy|copying)[\w.-]*", re.IGNORECASE)
_LARGEST_TEXT = 1_000_000  # bytes; the longest licences are a tenth of that
_RECORD = "terms.json"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a model dir says of its terms.

    Attributes:
        licence: its id in lower case, such as "llama2"; "" where none is named.
        texts: file name -> content of licence, notice and use policy.
    """

    licence: str = ""
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def stated(self) -> bool:
        """Whether anything is known."""
        return bool(self.licence or self.texts)

    def text_of(self, *stems: str) -> str:
        """The first text whose name begins so, such as "licen"; "" without one."""
        for name, text in self.texts.items():
            if name.lower().startswith(stems):
                return text
        return ""


def stays(licence: str) -> str:
    """Return the licence that weights made of weights under `licence` keep; "" where they need not.

    Qwen's is one licence under several names.
    """
    named = licence.strip().lower()
    if named.startswith("tongyi-qianwen"):
        return "tongyi-qianwen"
    return named if named.startswith(_KEPT) else ""


def read_terms(path: Path) -> Terms:
    """Read the terms of the model dir at `path`; a dir that says nothing has none.

    Raises:
        DataError: the front matter of its README.md is no YAML mapping.
    """
    texts = {
        file.name: file.read_text(encoding="utf-8", errors="replace")
        for file in sorted(path.iterdir())
        if file.is_file() and _TEXTS.fullmatch(file.name) and file.stat().st_size <= _LARGEST_TEXT
    }
    return Terms(licence=_licence_of(path / "README.md"), texts=texts)


def _licence_of(card: Path) -> str:
    """The licence that a model card names: `license`, or `license_name` where that is "other"."""
    if not card.is_file():
        return ""
    from huggingface_hub import metadata_load
    from yaml import YAMLError

    try:
        content: Any = metadata_load(card) or {}
    except (ValueError, YAMLError) as error:
        raise DataError(
            f"the front matter of {card} cannot be read: {error}",
            remedy="mend it, or take README.md out of the model dir (its terms are then unknown)",
        ) from error
    named = str(content.get("license") or "").strip().lower()
    if named in ("", "other"):
        named = str(content.get("license_name") or named).strip().lower()
    return stays(named) or named


def keep_terms(terms: Terms, run: Path) -> None:
    """Write terms into a run directory."""
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    for name, text in terms.texts.items():
        write_text_atomically(folder / name, text)
    write_text_atomically(folder / _RECORD, json.dumps({"licence": terms.licence}) + "\n")


def kept_terms(run: Path) -> Terms:
    """Read what `keep_terms` wrote; of a run that began with random weights, none."""
    record = run / FOLDER / _RECORD
    if not record.is_file():
        return Terms()
    licence = str(json.loads(record.read_text(encoding="utf-8"))["licence"])
    return Terms(licence=licence, texts=read_terms(record.parent).texts)


_BLOCKS, _BLOCK = 16, 65_536


def fingerprint(path: Path) -> str:
    """Hash of a model dir that tells it from any other without reading all of it.

    config.json whole; of each file of weights its name, its size, and 16 blocks of 64 KiB spread
    over it (the first holds the names and shapes): 27 GB take milliseconds, not a minute.
    """
    digest = hashlib.sha256((path / "config.json").read_bytes())
    files = sorted([*path.glob("*.safetensors"), *path.glob("*.bin")])
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}\n".encode())
        with file.open("rb") as content:
            for block in range(_BLOCKS):
                content.seek(max(0, (size - _BLOCK) * block // (_BLOCKS - 1)))
                digest.update(content.read(_BLOCK))
    return digest.hexdigest()
