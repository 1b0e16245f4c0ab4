"""Coloured shapes with Japanese captions, and an image tower that sees them: a world of 24 things."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from minna.corpus.pair_corpus import PairSettings, build_pairs
from minna.models.pictures.preprocess import Preprocess
from minna.models.pictures.towers import ImageTower, tower_to_disk
from minna.models.pictures.vit import Vit, config_from_disk

COLOURS = {
    "赤い": "#d22",
    "青い": "#22d",
    "緑の": "#2a2",
    "黄色い": "#dc2",
    "黒い": "#111",
    "紫の": "#a2c",
}
SHAPES = ("丸", "四角", "三角", "線")
CONCEPTS = tuple(f"{colour}{shape}" for colour in COLOURS for shape in SHAPES)
TINY_VIT = {
    "model_type": "vit",
    "image_size": 32,
    "patch_size": 8,
    "num_hidden_layers": 1,
    "hidden_size": 32,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
}


def drawn(concept: str, *, variant: int = 0) -> Image.Image:
    """A picture of a concept; variants are of other sizes and places."""
    colour = next(one for one in COLOURS if concept.startswith(one))
    shape = concept.removeprefix(colour)
    image = Image.new("RGB", (32, 32), "white")
    pen = ImageDraw.Draw(image)
    low, high = 4 + 2 * variant, 27 - variant
    box = (low, low, high, high)
    fill = COLOURS[colour]
    if shape == "丸":
        pen.ellipse(box, fill=fill)
    elif shape == "四角":
        pen.rectangle(box, fill=fill)
    elif shape == "三角":
        pen.polygon([(low, high), (high, high), ((low + high) // 2, low)], fill=fill)
    else:
        pen.line(box, fill=fill, width=4)
    return image


def make_pairs(root: Path, *, variants: int = 3) -> Path:
    """A pair corpus of every concept in several variants; `source` is the variant."""
    folder = root / "pictures"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number, concept in enumerate(CONCEPTS):
        for variant in range(variants):
            name = f"{number:02d}-{variant}.png"
            drawn(concept, variant=variant).save(folder / name)
            rows.append(
                {
                    "file": name,
                    "captions": [concept, f"{concept}の絵"],
                    "concept": concept,
                    "group": f"{number}-{variant}",
                }
            )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (folder / "captions.jsonl").write_text(lines, encoding="utf-8")
    settings = PairSettings(
        source="pictures",
        path=folder,
        licence="CC0-1.0",
        valid=0.15,
        test=0.0,
        near="off",
        workers=1,
    )
    build_pairs(settings=settings, out=root / "pairs")
    return root / "pairs"


def make_tower(root: Path, *, seed: int = 0) -> Path:
    """A tower of random weights, through which colours and shapes are still to be seen."""
    out = root / f"tower-{seed}"
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    tower = ImageTower(
        Vit(config_from_disk(TINY_VIT)), config=TINY_VIT, preprocess=Preprocess(size=32)
    )
    torch.nn.init.normal_(tower.body.positions, std=0.5)
    save_file(tower_to_disk(tower), out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(TINY_VIT), encoding="utf-8")
    text = json.dumps(tower.preprocess.to_disk())
    (out / "preprocessor_config.json").write_text(text, encoding="utf-8")
    return out
