"""A world of colours in which a model of pictures and words really works, without any weights.

A picture is its mean colour, a text the mean of the colours it names, and what else a text says
moves its vector a little: so names find their pictures, templates change figures, and everything is
known beforehand.
"""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from minna import artifact
from minna.corpus.pair_rows import Caption, PairRow, write_rows

COLOURS = {
    "赤": (222, 28, 28), "青": (28, 60, 222), "緑": (30, 170, 60), "黄色": (240, 225, 40), "紫": (150, 40, 190),
    "黒": (20, 20, 20), "水色": (120, 210, 245), "茶色": (130, 80, 40),
}  # fmt: skip
WIDTH = 8
_PLANE = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)


class ColourTowers:
    """Fulfils TwoTowers; counts what it was asked."""

    width = WIDTH
    scale = 20.0
    bias = 0.0

    def __init__(self, name: str = "colours", noise: float = 0.05) -> None:
        self.name, self.noise = name, noise
        self.digest = hashlib.sha256(f"{name} {noise}".encode()).hexdigest()
        self.encoded: list[str] = []
        self.batches: list[int] = []

    def texts(self, texts):
        self.encoded += texts
        rows = []
        for text in texts:
            named = [rgb for word, rgb in COLOURS.items() if word in text]
            colour = _centred(np.mean(named, axis=0)) if named else np.zeros(3)
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "little")
            other = np.random.default_rng(seed).normal(size=WIDTH - 3) * self.noise
            rows.append(np.concatenate([colour, other]))
        return _unit(np.array(rows, dtype=np.float32).reshape(-1, WIDTH) @ _PLANE)

    def images(self, pictures):
        pictures = list(pictures)
        self.batches.append(len(pictures))
        means = [np.asarray(one, dtype=np.float64).reshape(-1, 3).mean(axis=0) for one in pictures]
        rows = [np.concatenate([_centred(mean), np.full(WIDTH - 3, 1e-3)]) for mean in means]
        return _unit(np.array(rows, dtype=np.float32).reshape(-1, WIDTH) @ _PLANE)


def paint(colour, *, seed: int = 0, size: int = 12, spread: int = 12, kind: str = "PNG") -> bytes:
    """A picture of one colour and some noise."""
    rgb = COLOURS[colour] if isinstance(colour, str) else colour
    noise = np.random.default_rng(seed).integers(-spread, spread + 1, (size, size, 3))
    out = io.BytesIO()
    Image.fromarray(np.clip(np.array(rgb) + noise, 0, 255).astype(np.uint8)).save(out, kind)
    return out.getvalue()


def write_folder(root: Path, *, each: int = 3, names=tuple(COLOURS), folders=None) -> Path:
    """ROOT/FOLDER/N.png; a folder is called as its colour unless `folders` says otherwise."""
    for name in names:
        below = root / (folders or {}).get(name, name)
        below.mkdir(parents=True)
        for seed in range(each):
            (below / f"{seed}.png").write_bytes(paint(name, seed=seed))
    return root


def write_pairs(out: Path, rows: list[PairRow]) -> Path:
    """A pair corpus of these rows."""
    with artifact.writing(out, kind="corpus", settings={"rows": [row.id for row in rows]}) as draft:
        tally = write_rows(rows, data=draft.path / "data")
        draft.count("pairs", tally.kept, "pairs")
        draft.count("captions", tally.captions, "captions")
        for split in ("train", "valid", "test"):
            draft.count(split, tally.splits[split], "pairs")
        draft.licences = [artifact.Licence(source="made", licence="CC0-1.0")]
    return out


def pair(
    number: int, colour: str, *, source="one", split="test", concept=None, more=(), image=None
) -> PairRow:
    """A row: the colour's name, further captions, and a picture of it."""
    image = paint(colour, seed=number) if image is None else image
    captions = (Caption(f"{colour}の四角", "keyword", 0.5), Caption(colour, "name", 1.0), *more)
    concept = colour if concept is None else concept
    return PairRow(
        id=f"{number:016x}", group=concept or f"g{number}", split=split, source=source, licence="CC0-1.0",
        concept=concept, image=image, width=12, height=12, captions=captions,
    )  # fmt: skip


def write_model(path: Path) -> Path:
    """A folder that has an identity; what it says is up to whoever opens it."""
    path.mkdir(parents=True)
    (path / "config.json").write_text(json.dumps({"model_type": "colours"}), encoding="utf-8")
    return path


def _centred(rgb):
    return (np.asarray(rgb, dtype=np.float64) - 120) / 120


def _unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
