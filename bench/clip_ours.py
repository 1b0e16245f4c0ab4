"""minna's own sides of bench_clip.py, and what both sides read.

Training is what `minna train emoji-clip` does: the parts that the recipe is built into, and the
loop's own step. Only dropout and centring are off, which open_clip has not.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from machine import peak_bytes

RECIPE = "emoji-clip"
WARMUP, CLIP = 20, 1.0
OVERRIDES = (
    "model.dropout=0.0",
    'model.centre="off"',
    f"schedule.warmup={WARMUP}",
    "schedule.floor=1.0",
    f"optim.clip={CLIP}",
    'train.device="cpu"',
)
CHECKED = 32  # pictures whose features are compared
PIXEL_BATCHES = 2  # read again and again
SHAPE = {"layers": 4, "width": 256, "heads": 4, "ffn": 1024, "vocab": 32000}
ROW, SHARED = 77, 512  # tokens of a text and width of the shared space, as japanese-clip has them


def make_data(options: argparse.Namespace) -> None:
    """Build the emoji corpus and its tokenizer where they are missing (once: `--corpus`)."""
    from minna.corpus import PairSettings, build_pairs
    from minna.tokenizer.train import TokenizerSettings, train_tokenizer

    if not (options.corpus / "minna.json").is_file():
        build_pairs(settings=PairSettings(source="emoji"), out=options.corpus)
    if not (options.tokenizer / "minna.json").is_file():
        settings = TokenizerSettings(vocab_size=2048)
        train_tokenizer(options.corpus, out=options.tokenizer, settings=settings)


def recipe_of(features: str) -> Any:
    """Read the recipe, its image tower's features from the cache or computed for every batch."""
    from minna.recipe import load

    return load(RECIPE, overrides=[*OVERRIDES, f'stream.features="{features}"'])


def parts_of(options: argparse.Namespace, *, features: str, precision: str) -> tuple[Any, Any]:
    """Return (parts, numerics) of a run."""
    from minna.recipe.build import build_parts
    from minna.recipe.tuning import kind_of
    from minna.train.precision import decide

    recipe = recipe_of(features)
    numerics = decide(device="cpu", precision=precision, compile_="off")  # type: ignore[arg-type]
    tokens = kind_of(recipe).tokens(
        recipe, options.corpus, options.tokenizer, options.work / f"tokens-{features}", 1
    )
    parts = build_parts(
        recipe, tokens=tokens, tokenizer=options.tokenizer, numerics=numerics, fresh=True
    )
    return parts, numerics


def prepare(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write batches, the text tower's first weights and the plan, for both sides."""
    from minna.runtime.towers import open_tower, tower_folder

    seeing, numerics = parts_of(options, features="on_line", precision=options.precision)
    reading, _ = parts_of(options, features="cached", precision=options.precision)
    pad = pad_id(options.tokenizer)
    write_batches(folder, seeing.stream, name="pixels", count=PIXEL_BATCHES, pad=pad)
    write_batches(folder, reading.stream, name="features", count=options.curve_steps, pad=pad)
    tower = tower_folder("lite0")
    checked = np.load(folder / "pixels.npy")[0][:CHECKED]
    np.save(folder / "features-check.npy", plainly_seen(open_tower(tower), checked))
    model, recipe = seeing.model, recipe_of("on_line")
    write_text_tower(folder, model, pad=pad)
    plan = {
        "lr": recipe.optim.lr,
        "betas": list(recipe.optim.betas),
        "eps": recipe.optim.eps,
        "decay": recipe.optim.weight_decay,
        "clip": CLIP,
        "warmup": WARMUP,
        "precision": numerics.precision,
        "vocab": model.config.text.vocab,
        "row_tokens": recipe.stream.row_tokens,
        "pixels": recipe.model.pixels,
        "rows": recipe.train.micro_batch_rows,
        "tower": str(tower / "model.safetensors"),
    }
    (folder / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    return plan


def pad_id(tokenizer: Path) -> int:
    """Return what a text is padded with."""
    from minna.tokenizer.coder import training_tokenizer

    return training_tokenizer(tokenizer).pad_id


def plainly_seen(tower: Any, pixels: np.ndarray) -> np.ndarray:
    """Features in fp32 by the network as it was published: its norms apart."""
    import torch

    with torch.inference_mode():
        return tower(torch.from_numpy(pixels)).numpy()


def write_batches(folder: Path, stream: Any, *, name: str, count: int, pad: int) -> None:
    """Write the next batches: pictures (or features), ids and lengths."""
    batches = [next(stream) for _ in range(count)]
    np.save(folder / f"{name}.npy", np.stack([one[name].numpy() for one in batches]))
    widest = max(one["tokens"].shape[1] for one in batches)
    tokens = np.full((count, len(batches[0]["tokens"]), widest), pad, np.int64)
    for number, one in enumerate(batches):
        tokens[number, :, : one["tokens"].shape[1]] = one["tokens"].numpy()
    np.save(folder / f"{name}-tokens.npy", tokens)
    np.save(folder / f"{name}-lengths.npy", np.stack([one["lengths"].numpy() for one in batches]))


def write_text_tower(
    folder: Path, model: Any, *, pad: int, kind: str = "bert", name: str = "text"
) -> None:
    """Write a text tower as a BERT of transformers, its projection beside it."""
    import torch

    from minna.artifact.tensors import save_tensors
    from minna.models.weights import roberta

    out = folder / name
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    state = {key: one.detach().contiguous() for key, one in model.text.state_dict().items()}
    body = roberta.body_to_disk(state, model.config.text, prefix="")
    save_tensors(body, out / "model.safetensors", metadata={"format": "pt"})
    config = {**roberta.config_to_disk(model.config.text), "model_type": kind, "pad_token_id": pad}
    (out / "config.json").write_text(json.dumps(config), encoding="utf-8")
    projection = model.text_projection.weight.detach().to(torch.float32).numpy()
    np.save(folder / f"{name.removesuffix('text')}projection.npy", projection)


def batches_of(folder: Path, *, name: str, count: int, same: bool) -> Iterator[dict[str, Any]]:
    """Read batches that `write_batches` wrote, again and again.

    Args:
        folder: where.
        name: pixels or features.
        count: batches asked for.
        same: whether equal captions are known to be equal, which open_clip does not ask.
    """
    import torch

    pictures, tokens, lengths = (
        np.array(np.load(folder / f"{name}{rest}.npy", mmap_mode="r")[:count])
        for rest in ("", "-tokens", "-lengths")
    )
    made: list[dict[str, Any]] = []
    for one, ids, row_lengths in zip(pictures, tokens, lengths, strict=True):
        batch = {name: one, "tokens": ids, "lengths": row_lengths}
        made.append({key: torch.from_numpy(array) for key, array in batch.items()})
        if same:
            _, numbers = np.unique(ids, axis=0, return_inverse=True)
            made[-1]["same"] = torch.from_numpy(numbers)
    return iter([made[step % len(made)] for step in range(count)])


def run_minna(options: argparse.Namespace) -> dict[str, Any]:
    """Train some steps; the ends of each, the losses, the peak of memory.

    `cached` and `opening` are the recipe's own stream: captions are drawn and encoded, features
    read from the cache or pictures opened and cropped. `on_line` and `given` read the batches that
    the peer reads.
    """
    from dataclasses import replace

    import torch

    from minna.train.step import take_step

    own = options.tower in ("cached", "opening")
    features = "on_line" if options.tower in ("on_line", "opening") else "cached"
    parts, numerics = parts_of(options, features=features, precision=options.precision)
    steps = options.warmup + options.steps
    if not own:
        name = "pixels" if options.tower == "on_line" else "features"
        same = options.tower == "on_line"
        parts = replace(parts, stream=batches_of(options.folder, name=name, count=steps, same=same))
    ends = [(time.perf_counter(), time.process_time())]
    losses: list[float] = []
    for step in range(steps):
        done = take_step(parts, step=step, total=10**6, autocast=numerics.autocast())
        losses.append(done.loss)
        ends.append((time.perf_counter(), time.process_time()))
    return {
        "ends": ends,
        "losses": losses,
        "peak": peak_bytes(),
        "settings": {
            "precision": numerics.precision,
            "tower": options.tower,
            "batches": "its own stream" if own else "those of the peer",
            "threads": torch.get_num_threads(),
        },
    }


def run_fill(options: argparse.Namespace) -> dict[str, Any]:
    """Compute the features of the training split into an empty cache, as a run would."""
    from minna.runtime.features import Which, fill
    from minna.runtime.towers import tower_folder

    recipe = recipe_of("cached")
    views = options.views or recipe.stream.views + 1
    which = Which(
        split="train",
        sources=tuple(recipe.stream.sources),
        views=views,
        pixels=recipe.model.pixels,
    )
    begin, spent = time.perf_counter(), time.process_time()
    seen = fill(
        options.corpus, tower=tower_folder("lite0"), which=which, cache=options.folder / "c"
    )
    return {
        "seconds": time.perf_counter() - begin,
        "processor": time.process_time() - spent,
        "pictures": len(seen),
        "views": views,
        "bytes": sum(file.stat().st_size for file in seen.path.iterdir()),
        "peak": peak_bytes(),
    }


def prepare_names(folder: Path, options: argparse.Namespace) -> tuple[int, int]:
    """Write a random text tower of japanese-clip's kind and its texts; return (names, templates).

    Texts are written as its evaluator pads them, [CLS] in front, for the side that reads them so.
    """
    from minna.artifact.files import write_text_atomically
    from minna.export.dual import write_dual
    from minna.export.files import ExportSettings
    from minna.models.dual import DualConfig, DualEncoder
    from minna.models.encoder import EncoderConfig
    from minna.runtime.class_names import fill

    out = folder / "names-model"
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(options.data / "rinna" / "google_sp.model", out / "spiece.model")
    text = EncoderConfig(**SHAPE, context=ROW, position_rows=ROW + 2)
    model = DualEncoder(DualConfig(text=text, width=SHARED))
    model.initialise(seed=0)
    words = words_of(out)
    write_dual(out, model, words=words, settings=ExportSettings(dtype="float32"))
    write_text_tower(folder, model, pad=words.pad_id, kind="roberta", name="names-text")
    classes, templates = names_of(options)
    texts = [fill(text, one.name) for one in classes for text in templates.texts]
    tokens, lengths = padded_rows(texts, words)
    np.save(folder / "names-tokens.npy", tokens)
    np.save(folder / "names-lengths.npy", lengths)
    told = {"mean": float(lengths.mean()), "longest": int(lengths.max())}
    write_text_atomically(folder / "names.json", json.dumps(told))
    return len(classes), len(templates.texts)


def words_of(folder: Path) -> Any:
    """Open the tokenizer as rinna's folders are opened: its vocabulary knows no capital letters."""
    from minna.tokenizer.load import load_tokenizer

    return load_tokenizer(folder, case="lower")


def names_of(options: argparse.Namespace) -> tuple[Any, Any]:
    """Read the paper's class names, as many as asked for, and its templates."""
    from minna.runtime.class_names import read_classes, read_templates

    home = options.data / "imagenet-ja"
    classes = read_classes(home / "jp_classnames.json")[: options.names]
    return classes, read_templates(str(home / "jp_zeroshot_classification_templates.json"))


def padded_rows(texts: list[str], words: Any) -> tuple[np.ndarray, np.ndarray]:
    """Texts as rows of 77 ids with their lengths, [CLS] put in front by hand, cut, no end mark."""
    from minna.tokenizer.first import first_id

    flat, offsets = words.encode_batch(texts)
    lengths = np.minimum(np.diff(offsets) + 1, ROW).astype(np.int64)
    tokens = np.full((len(texts), ROW), words.pad_id, np.int64)
    tokens[:, 0] = first_id(words)
    for row, (start, length) in enumerate(zip(offsets, lengths, strict=False)):
        tokens[row, 1:length] = flat[start : start + length - 1]
    return tokens, lengths


def run_names(options: argparse.Namespace) -> dict[str, Any]:
    """Build the classifier as `minna classify` does, from texts, into an empty cache."""
    from minna.runtime.own_towers import OwnTowers, open_dual
    from minna.runtime.zero_shot import build_classifier

    out = options.folder / "names-model"
    towers = OwnTowers(open_dual(out), words_of(out), path=out)
    classes, templates = names_of(options)
    towers.texts(["暖機"])
    cache = options.folder / "classifiers"
    shutil.rmtree(cache, ignore_errors=True)
    begin, spent = time.perf_counter(), time.process_time()
    found = build_classifier(towers, classes, templates=templates, cache=cache)
    seconds, processor = time.perf_counter() - begin, time.process_time() - spent
    result = {"seconds": seconds, "processor": processor, "peak": peak_bytes()}
    expected = options.folder / "names-weights.npy"
    if expected.is_file():
        result["apart"] = float(np.abs(found.weights[found.columns] - np.load(expected)).max())
    return result


def run_names_padded(options: argparse.Namespace) -> dict[str, Any]:
    """Our encoder on texts padded to 77, padding computed and hidden; every `--every`-th batch."""
    import torch

    from minna.models.unpadded import seen
    from minna.runtime.own_towers import open_dual

    folder = options.folder
    model = open_dual(folder / "names-model")
    text = model.text
    tokens, lengths = (
        torch.from_numpy(np.load(folder / f"names-{name}.npy")) for name in ("tokens", "lengths")
    )
    places = torch.arange(ROW)
    starts = list(range(0, len(tokens), options.batch))
    chosen = [starts[0], *starts[:: options.every]]  # the first one warms up
    count, ends = 0, []
    with torch.inference_mode():
        for start in chosen:
            ids = tokens[start : start + options.batch]
            rows = seen(lengths[start : start + options.batch], row_tokens=ROW)
            x = text.embed_norm(text.embed(ids) + text.positions(places) + text.types.weight[0])
            for layer in text.layers:
                x = layer(x, "none", rows)
            torch.nn.functional.normalize(model.text_projection(x[:, 0]), dim=-1)
            ends.append((time.perf_counter(), time.process_time()))
            count += len(ids)
    share = (count - min(options.batch, len(tokens))) / len(tokens)
    seconds, processor = (last - first for first, last in zip(ends[0], ends[-1], strict=True))
    return {"seconds": seconds / share, "processor": processor / share, "peak": peak_bytes()}
