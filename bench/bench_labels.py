"""K-means labels of speech beside the usual way: a dump of features, scikit-learn, labels from it.

The usual way is that of HuBERT's recipe: features of all frames to disk in float32, MiniBatchKMeans
(20 starts, batches of 10,000, up to 100 passes, 100 batches of patience), then labels of the dump.
Ours is `minna label kmeans`: no dump. Both find centres on a sample of the same size.

`mfcc`: 100 clusters of cepstra, theirs by Kaldi's own code. `layer`: 500 clusters of a layer of a
HuBERT of base's width (random weights, 6 of 12 layers), theirs by transformers. Speech is made up:
clips of 2 to 12 s of gliding harmonics and noise, FLAC in a corpus; it is never heard twice the
same, and both sides read the same file.

Every measurement is a process of its own, rounds are interleaved. Seconds are those of the whole
work, opening the model left out. Disk is features and labels, of ours labels and their index; the
centres, which both keep, are left out. "distance" is the mean squared distance of all frames of the
corpus from the nearest centre, by one and the same code: lower is better.

    python bench/bench_labels.py --peer-python PATH [--rounds 5] [--minutes 10] [--part mfcc]
    python bench/bench_labels.py --peer-python PATH --quick    a smoke run: 1 round of half a minute
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from machine import peak_bytes, processor
from tune_work import call, load_average, say, spread

HERE = Path(__file__).resolve()
PEER = HERE.parent / "labels_peer.py"
RATE = 16_000
CLUSTERS = {"mfcc": 100, "layer": 500}
LAYER = 6
SIDES = ("dump and scikit-learn", "minna")
COLUMNS = (
    *("features", "side", "s per hour of speech", "dump / minna", "MB per hour on disk"),
    *("dump / minna", "peak MB", "distance"),
)


def main() -> None:
    """Run the rounds, print a table; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(measure(options)))
        return
    if options.quick:
        options.rounds, options.minutes, options.sample = 1, 0.5, 10_000
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        made = prepare(work, options)
        found: dict[str, dict[str, list[dict[str, Any]]]] = {
            part: {side: [] for side in SIDES} for part in options.part
        }
        for number in range(options.rounds):
            for part in options.part:
                for side in SIDES:
                    one = run(part, side, made, work / f"{part}-{number}-{side[0]}", options)
                    found[part][side].append(one)
                    told = {name: round(value, 2) for name, value in one["parts"].items()}
                    say(f"round {number + 1} {part} {side}: {told}, load {load_average()}")
        print(table(found, made, options))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("worker", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--peer-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--sample", type=int, default=200_000)
    parser.add_argument("--part", nargs="+", choices=list(CLUSTERS), default=list(CLUSTERS))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--quick", action="store_true", help="1 round of half a minute")
    for name in ("corpus", "out", "model"):
        parser.add_argument(f"--{name}", type=Path, help=argparse.SUPPRESS)
    for name in ("layer", "clusters"):
        parser.add_argument(f"--{name}", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--features", help=argparse.SUPPRESS)
    return parser.parse_args()


def prepare(work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Write the corpus and the model; return where they lie and how long the speech is."""
    from minna import artifact
    from minna.corpus.audio import store_clip
    from minna.corpus.clip_rows import ClipRow, write_rows

    generator = np.random.default_rng(0)
    rows: list[ClipRow] = []
    left = 60 * options.minutes
    while left > 0:
        samples = speech(generator, seconds=float(generator.uniform(2, 12)))
        left -= len(samples) / RATE
        strings = dict.fromkeys(("source", "licence", "transcript", "kana", "phones"), "")
        rows.append(
            ClipRow(
                **strings,
                id=f"{len(rows):016x}",
                group=str(len(rows)),
                split="train",
                speaker="made",
                audio=store_clip(samples),
                samples=len(samples),
                rate=RATE,
                times=(),
            )
        )
    with artifact.writing(work / "corpus", kind="corpus", settings={}) as draft:
        tally = write_rows(rows, data=draft.path / "data")
        draft.count("clips", tally.kept, "clips")
        draft.count("seconds", tally.seconds, "seconds")
    model = write_model(work / "model") if "layer" in options.part else None
    return {"corpus": work / "corpus", "model": model, "hours": tally.seconds / 3600}


def speech(generator: np.random.Generator, *, seconds: float) -> Any:
    """Harmonics that glide, swell and change their colour, over noise."""
    time_ = np.arange(int(seconds * RATE)) / RATE
    pitch = generator.uniform(90, 220) * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time_))
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    wave = 0.02 * generator.normal(size=len(time_))
    for number in range(1, 25):
        colour = np.sin(2 * np.pi * generator.uniform(1, 5) * time_ + generator.uniform(0, 6))
        wave += np.maximum(colour, 0) * np.sin(number * phase) / number
    loud = np.maximum(0.02, np.sin(2 * np.pi * generator.uniform(1.5, 3) * time_))
    return (0.15 * loud * wave).astype(np.float32)


def write_model(folder: Path) -> Path:
    """Write a HuBERT of base's shape with random weights and six layers."""
    from dataclasses import replace

    from safetensors.torch import save_file

    from minna.models.speech.config import base
    from minna.models.speech.encoder import SpeechEncoder
    from minna.models.weights.speech import config_to_disk, encoder_to_disk

    folder.mkdir()
    model = SpeechEncoder(replace(base("hubert"), layers=LAYER))
    model.initialise(seed=0)
    state = {name: one.contiguous() for name, one in encoder_to_disk(model.state_dict()).items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    text = json.dumps(config_to_disk(model.config))
    (folder / "config.json").write_text(text, encoding="utf-8")
    return folder


def run(
    part: str, side: str, made: dict[str, Any], out: Path, options: argparse.Namespace
) -> dict[str, Any]:
    """One measurement in a process of its own."""
    arguments = {
        "corpus": made["corpus"],
        "out": out,
        "features": part,
        "clusters": CLUSTERS[part],
        "sample": options.sample,
    }
    if part == "layer":
        arguments |= {"model": made["model"], "layer": LAYER}
    return call(
        HERE if side == "minna" else PEER,
        "run",
        python=sys.executable if side == "minna" else options.peer_python,
        threads=options.threads,
        arguments=arguments,
        environment={},
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Label the corpus; say what it took."""
    from minna.label.frame_features import LayerFeatures, Mfcc
    from minna.label.kmeans import KmeansSettings, label_kmeans

    settings = KmeansSettings(clusters=options.clusters, sample=options.sample)
    features: Any = Mfcc()
    if options.features == "layer":
        from minna.runtime.speech import open_encoder

        features = LayerFeatures(open_encoder(options.model, device="cpu"), layer=options.layer)
        features.digest  # noqa: B018 - hashing the weights is part of opening
    start = time.perf_counter()
    label_kmeans(
        options.corpus,
        out=options.out,
        features=features,
        layer=options.layer,
        settings=settings,
    )
    seconds = time.perf_counter() - start
    return {
        "seconds": seconds,
        "parts": {"all": seconds},
        "disk": sum(file.stat().st_size for file in (options.out / "data").iterdir()),
        "memory": peak_bytes(),
        "centres": str(options.out / "centres.safetensors"),
    }


def distance(part: str, made: dict[str, Any], file: str) -> float:
    """Mean squared distance of all frames from the nearest of some centres."""
    import torch
    from safetensors.torch import load_file

    from minna.corpus.clip_read import read_clips
    from minna.label.clustering import assign
    from minna.label.frame_features import LayerFeatures, Mfcc
    from minna.runtime.speech import open_encoder

    features: Any = Mfcc()
    if part == "layer":
        features = LayerFeatures(open_encoder(made["model"], device="cpu"), layer=LAYER)
    whole = file.endswith(".npy")
    centres = torch.from_numpy(np.load(file)) if whole else load_file(file)["centres"]
    squared = [
        assign(features.of(c.audio), centres)[1] for c in read_clips(made["corpus"], split="all")
    ]
    return float(torch.cat(squared).double().mean())


def table(
    found: dict[str, dict[str, list[dict[str, Any]]]],
    made: dict[str, Any],
    options: argparse.Namespace,
) -> str:
    """Markdown: times with range, ratios of rounds, disk, memory, distance."""
    setting = (
        f"{options.rounds} interleaved rounds, {60 * made['hours']:.1f} minutes of speech, "
        f"{options.threads} threads, {processor()}; load average {load_average()}"
    )
    lines = [setting, "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
    hours = made["hours"]
    for part, sides in found.items():
        usual, ours = (sides[side] for side in SIDES)
        ratio = [a["seconds"] / b["seconds"] for a, b in zip(usual, ours, strict=True)]
        disk = usual[0]["disk"] / ours[0]["disk"]
        for side, all_ in sides.items():
            times = [one["seconds"] / hours for one in all_]
            memory = statistics.median(one["memory"] for one in all_) / 1e6
            both = (spread(ratio, digits=2), f"{disk:,.0f}") if side == "minna" else ("", "")
            lines.append(
                f"| {part}, {CLUSTERS[part]} clusters | {side} | {spread(times, digits=1)} "
                f"| {both[0]} | {all_[0]['disk'] / 1e6 / hours:,.2f} | {both[1]} | {memory:,.0f} "
                f"| {distance(part, made, all_[-1]['centres']):.5g} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
