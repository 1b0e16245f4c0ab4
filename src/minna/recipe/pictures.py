"""What goes together where words and pictures, or words and words, are learned side by side.

A locked image tower is opened when the model is made and looks once at every picture, whatever
number of runs follow (`runtime/features.py`); from then on training reads captions and features. A
tower that learns sees pictures anew in every batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from minna import artifact
from minna.corpus.pictures import open_picture
from minna.errors import UsageError
from minna.metrics.retrieval import positive_ranks
from minna.models.dual import DualEncoder
from minna.models.dual_shape import DualShape, build_dual
from minna.models.pictures.shapes import fresh_tower
from minna.objectives import ClipSettings, CloobSettings, Contrastive, SiglipSettings
from minna.recipe.kinds import Kind, Scene
from minna.recipe.schema import Recipe
from minna.runtime.class_names import read_templates
from minna.runtime.features import Features, Which, fill
from minna.runtime.towers import open_tower, tower_folder
from minna.streams import (
    PictureRows,
    PictureStream,
    PictureStreamSettings,
    SentenceStream,
    write_pictures,
    write_sentences,
)
from minna.streams.captions import Drawer
from minna.streams.pictures import Texts, things
from minna.tokenizer.coder import AnyTokenizer
from minna.train.protocols import Evaluation, Evaluator, Objective, Stream
from minna.train.quality import nothing
from minna.train.ranks import Ranks

_Settings = ClipSettings | CloobSettings | SiglipSettings
_BATCH = 256  # texts at once
_PICTURES = 32  # pictures at once


def _tokens(recipe: Recipe, corpus: Path, tokenizer: Path, out: Path, _threads: int) -> Path:
    stream = cast("PictureStreamSettings", recipe.stream)
    return write_pictures(
        corpus,
        tokenizer=tokenizer,
        sources=stream.sources,
        pictures="read" if stream.features == "on_line" else "left",
        out=out,
    )


def _sentences(_recipe: Recipe, corpus: Path, tokenizer: Path, out: Path, _threads: int) -> Path:
    return write_sentences(corpus, tokenizer=tokenizer, out=out)


def _model(recipe: Recipe, vocab: int) -> DualEncoder:
    """Make a dual encoder around its image tower, which is locked unless [trainable] says not."""
    shape = cast("DualShape", recipe.model)
    if recipe.init.image:
        tower = open_tower(tower_folder(recipe.init.image))
    else:
        tower = fresh_tower(shape.tower)
    size = vocab if shape.vocab is None else shape.vocab
    return build_dual(shape, vocab=size, tower=tower, **_scores(recipe.objective))


def _scores(told: Any) -> dict[str, Any]:
    """What a dual encoder must know of the loss: which scale it has."""
    if isinstance(told, CloobSettings) and told.inv_tau != "learned":
        return {"scores": "cloob", "inv_tau": told.inv_tau, "scale_hopfield": told.hopfield}
    return {"scores": "siglip" if isinstance(told, SiglipSettings) else "clip"}


def _objective(recipe: Recipe, _model: nn.Module, _words: AnyTokenizer, ranks: Ranks) -> Objective:
    return Contrastive(cast("_Settings", recipe.objective), ranks=ranks)


def _terms(_recipe: Recipe) -> dict[str, float]:
    return {name: 1.0 if name == "loss/pairs" else 0.0 for name in Contrastive.terms}


def _place(scene: Scene) -> dict[str, Any]:
    train, row = scene.recipe.train, scene.recipe.stream.row_tokens
    return {
        "words": scene.words,
        "row_tokens": row,
        "batch_rows": train.micro_batch_rows,
        "step_rows": train.tokens_per_step // row,
        **scene.place,
    }


def _pictures(scene: Scene) -> Stream:
    stream = cast("PictureStreamSettings", scene.recipe.stream)
    model = cast("DualEncoder", scene.model)
    rows = PictureRows(scene.tokens, split="train")
    things(rows, step_rows=_place(scene)["step_rows"])  # before minutes of looking at pictures
    seen, preprocess = None, None
    if stream.features == "cached":
        seen = _features(scene, split="train", sources=stream.sources, views=stream.views + 1)
        _refuse_other_rows(seen, rows)
        if model.config.centre == "on":
            model.image_mean.copy_(torch.from_numpy(seen.mean()))
    else:
        assert model.image is not None, "the recipe was checked"
        preprocess = model.image.preprocess
    templates = stream.captions.templates
    return PictureStream(
        rows,
        seen=seen,
        preprocess=preprocess,
        drawer=Drawer(
            stream.captions, templates=read_templates(templates).texts if templates else ()
        ),
        **_place(scene),
    )


def _features(
    scene: Scene, *, split: str, sources: tuple[str, ...] = (), views: int = 1
) -> Features:
    if not scene.recipe.init.image:
        raise UsageError(
            "a locked image tower of random weights sees nothing, and init.image is empty",
            remedy="give init.image=DIR (a ViT, a CLIP) or init.image=lite0; or learn it too: "
            'trainable.image=true stream.features="on_line"',
        )
    corpus = Path(artifact.read_manifest(scene.tokens, kind="tokens").parent("corpus").path)
    tower = tower_folder(scene.recipe.init.image)
    pixels = cast("DualShape", scene.recipe.model).pixels
    which = Which(split=split, sources=tuple(sources), views=views, pixels=pixels)
    return fill(corpus, tower=tower, which=which, device=scene.numerics.device)


def _refuse_other_rows(seen: Features, rows: PictureRows) -> None:
    if len(seen) != len(rows):
        raise UsageError(
            f"there are features of {len(seen)} pictures, and {len(rows)} train",
            remedy=f"remove {seen.path}: they are computed anew",
        )


def _looks(scene: Scene, _stream: Stream) -> list[Evaluator]:
    """Retrieval among held-out pictures, by their first caption."""
    rows = PictureRows(scene.tokens, split="valid")
    limit = min(scene.recipe.evaluate.valid_documents, len(rows))
    if limit < 2:  # noqa: PLR2004 - nothing to tell apart
        return []
    numbers = np.unique(np.linspace(0, len(rows) - 1, limit).astype(np.int64))
    captions = [one[0].text for one in rows.captions_of(numbers)]
    distinct = list(dict.fromkeys(captions))
    place = {text: number for number, text in enumerate(distinct)}
    positives = np.asarray([(k, place[text]) for k, text in enumerate(captions)])
    stream = cast("PictureStreamSettings", scene.recipe.stream)
    features = None
    if stream.features == "cached":
        features = torch.from_numpy(_features(scene, split="valid").plain()[numbers])

    @torch.no_grad()
    def look(model: nn.Module) -> Evaluation:
        assert isinstance(model, DualEncoder), "two towers"
        seen = _seen(model, rows, numbers) if features is None else features
        embedded = model.embed_features(seen.to(model.text_projection.weight.device)).float()
        images = nn.functional.normalize(embedded, dim=1).cpu().numpy()
        texts = _embedded(model, distinct, scene)
        return Evaluation(
            figures={
                **_recall("valid/of_text", positive_ranks(images, texts, positives)),
                **_recall("valid/by_text", positive_ranks(texts, images, positives[:, ::-1])),
            }
        )

    return [look]


def _seen(model: DualEncoder, rows: PictureRows, numbers: np.ndarray) -> torch.Tensor:
    """What the tower, as it is now, makes of pictures [N, W]."""
    tower = model.image
    assert tower is not None, "the recipe was checked"
    device = model.text_projection.weight.device
    found: list[torch.Tensor] = []
    for start in range(0, len(numbers), _PICTURES):
        contents = rows.images_of(numbers[start : start + _PICTURES])
        pixels = tower.preprocess.pixels([open_picture(one) for one in contents])
        found.append(tower(pixels.to(device)).float())
    return torch.cat(found)


def _embedded(model: DualEncoder, texts: Sequence[str], scene: Scene) -> np.ndarray:
    """Texts in the shared space [N, E], of length 1."""
    read = Texts(scene.words, row_tokens=scene.recipe.stream.row_tokens)
    device = model.text_projection.weight.device
    found: list[torch.Tensor] = []
    for start in range(0, len(texts), _BATCH):
        batch = read.batch(texts[start : start + _BATCH])
        rows = model.embed_text(batch["tokens"].to(device), batch["lengths"].to(device))
        found.append(nn.functional.normalize(rows.float(), dim=1).cpu())
    return torch.cat(found).numpy()


def _recall(name: str, ranks: np.ndarray) -> dict[str, float]:
    """Recall at 1 and 5 of those that have something to find."""
    return {f"{name}_{k}": float((ranks[ranks > 0] <= k).mean()) for k in (1, 5)}


def _pairs_of_sentences(scene: Scene) -> Stream:
    return SentenceStream(PictureRows(scene.tokens, split="train"), **_place(scene))


def _sentence_looks(scene: Scene, _stream: Stream) -> list[Evaluator]:
    """Whether the second of a held-out group is found by the first, among all the second ones."""
    rows = PictureRows(scene.tokens, split="valid")
    limit = min(scene.recipe.evaluate.valid_documents, len(rows))
    if limit < 2:  # noqa: PLR2004 - nothing to tell apart
        return []
    groups = rows.captions_of(np.arange(limit))
    positives = np.stack([np.arange(limit)] * 2, axis=1)

    @torch.no_grad()
    def look(model: nn.Module) -> Evaluation:
        assert isinstance(model, DualEncoder), "an embedder"
        one, other = (_embedded(model, [g[k].text for g in groups], scene) for k in (0, 1))
        return Evaluation(figures=_recall("valid/found", positive_ranks(one, other, positives)))

    return [look]


def _data(tokens: Path) -> PictureRows:
    return PictureRows(tokens, split="train")


PICTURES = Kind(
    objective=_objective,
    stream=_pictures,
    terms=_terms,
    looks=_looks,
    quality=lambda _tokens: nothing,
    tokens=_tokens,
    model=_model,
    data=_data,
    told=("pairs/above_chance", "retrieval/by_text"),
    compiles=False,
)
SENTENCES = Kind(
    objective=_objective,
    stream=_pairs_of_sentences,
    terms=_terms,
    looks=_sentence_looks,
    quality=lambda _tokens: nothing,
    tokens=_sentences,
    model=_model,
    data=_data,
    told=("pairs/above_chance", "retrieval/by_text"),
    compiles=False,
)
