"""Small pictures and packages of drawings, made where a test needs them."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from minna.corpus.sources.npm import PinnedPackage, integrity


def scene(seed: int = 0, *, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A smooth picture of its own: no two seeds look alike."""
    grid = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC)


def saved(image: Image.Image, form: str = "PNG", **options) -> bytes:
    out = io.BytesIO()
    image.save(out, form, **options)
    return out.getvalue()


def picture(seed: int = 0, form: str = "PNG", **options) -> bytes:
    return saved(scene(seed), form, **options)


def tar(path: Path, members: dict[str, bytes]) -> Path:
    mode = "w:gz" if path.suffix == ".tgz" else "w"
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def package(folder: Path, name: str, files: dict[str, bytes], *, version: str = "1.0.0"):
    """An npm archive in a folder, and its pin."""
    blank = PinnedPackage(name=name, version=version, bytes=0, integrity="")
    path = tar(folder / blank.filename, {f"package/{file}": data for file, data in files.items()})
    content = path.read_bytes()
    return PinnedPackage(
        name=name,
        version=version,
        bytes=len(content),
        integrity=integrity(hashlib.sha512(content).digest()),
    )


def svg(colour: str, shape: str = '<circle cx="8" cy="8" r="6"/>') -> bytes:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><g fill="{colour}">'
        f"{shape}</g></svg>"
    ).encode()


def annotations(folder: str, names: dict[str, list[str]]) -> dict[str, bytes]:
    """A file of CLDR: emoji -> name and keywords."""
    told = {emoji: {"tts": [words[0]], "default": words} for emoji, words in names.items()}
    return {f"{folder}/ja/annotations.json": json.dumps({folder: {"annotations": told}}).encode()}


def emoji_row(emoji: str, kind: str, subgroup: str = "", *, skintone: object = "") -> dict:
    return {"emoji": emoji, "group": kind, "subgroups": subgroup, "skintone": skintone}
