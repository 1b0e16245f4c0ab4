"""Locked-image tuning beside open_clip, and a zero-shot classifier beside texts padded to 77.

Training: `minna train emoji-clip` (a text tower of 3 layers x 256 beside EfficientNet-Lite0 at 128
pixels, 256 pairs a step, CLIP's loss, AdamW) and open_clip's own training loop with a text
transformer of that shape and the same image tower through timm, locked. Both sides get the same
weights of the image tower, and it is an error if timm makes other features of the same pixels.

open_clip runs its image tower in every step; so does minna with `stream.features = "on_line"`, and
by default it does not: features lie in a cache, whose filling is timed apart. Opening pictures is
left out on both sides: batches of pixels and ids are read from one file and lie in memory. Rows
that say "own stream" are more: there captions are drawn and encoded, and features read or pictures
opened and cropped, as in a run.

What is timed is whole steps, from the beginning of one to the beginning of the next. Every round of
every variant is a process of its own, rounds are interleaved; seconds of the processor stand beside
those of the clock, which others' work lengthens.

Loss curves: the same 100 batches of features and ids in the same order. open_clip also trains the
very text tower that minna does, as a BERT of transformers with the same first weights: these two
curves must begin alike (it is an error if not) and are compared step by step. Equal captions are no
negatives of each other in minna, in open_clip they are: here they are on both sides.

Names: the paper's 1,000 class names in 37 templates, by a random text tower of japanese-clip's kind
(4 layers x 256, vocabulary of rinna's 32,000): `minna classify`'s own way from texts to
classifier, and all 37,000 texts padded to 77 in batches of 256 through transformers' RoBERTa, with
mask and positions as japanese-clip's evaluator gives them. It is an error if the classifiers
differ.

    python bench/bench_clip.py [--rounds 5] [--steps 3] [--threads 1] [--peer-python PATH]
    python bench/bench_clip.py --part train     only that: train, curves, fill or names
    python bench/bench_clip.py --quick          a smoke run: 1 round of 1 step, 20 names
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from clip_ours import (
    make_data,
    prepare,
    prepare_names,
    run_fill,
    run_minna,
    run_names,
    run_names_padded,
)
from machine import processor
from tune_work import MALLOC, call, load_average, say, spread, told

HERE = Path(__file__).resolve()
PARTS = ("train", "curves", "fill", "names")
OURS, ONLINE = "minna, features cached, own stream", "minna, tower in every step"
# name -> (side, how the tower sees, text tower, environment)
VARIANTS: dict[str, tuple[str, str, str, dict[str, str]]] = {
    "open_clip, lock_image_tower(freeze_bn_stats=True)": ("peer", "flag", "own", {}),
    "open_clip, lock_image_tower()": ("peer", "plain", "own", {}),
    "open_clip, locked, norms in eval mode": ("peer", "eval", "own", {}),
    "open_clip, norms in eval mode, our allocator settings": ("peer", "eval", "own", MALLOC),
    "open_clip, given features, our allocator settings": ("peer", "given", "own", MALLOC),
    "minna, tower in every step, pictures opened, own stream": ("minna", "opening", "", MALLOC),
    ONLINE: ("minna", "on_line", "", MALLOC),
    OURS: ("minna", "cached", "", MALLOC),
}
CURVES = {
    "open_clip, its own text transformer": ("peer", "own"),
    "open_clip, minna's text tower": ("peer", "bert"),
    "minna": ("minna", ""),
}
NAMES = {
    "transformers, padded to 77": "peer-padded",
    "minna's encoder, padded to 77": "minna-padded",
    "minna": "minna-names",
}
FEATURES_APART, LOSS_APART, WEIGHTS_APART = 1e-3, 2e-3, 1e-4
SAMPLED = 8  # after the first round, one batch of padded texts in so many
TEXTS = 256  # padded texts at once


def main() -> None:
    """Prepare what both sides read, run the parts, print their tables; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options)))
        return
    if options.quick:
        options.rounds, options.steps, options.curve_steps, options.names = 1, 1, 3, 20
    options.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.work) as name:
        folder = Path(name)
        asked = PARTS if options.part == "all" else (options.part,)
        machine = f"{options.threads} threads, {processor()}"
        print(f"{machine}, load average {load_average()} at the start\n")
        if asked != ("names",):
            make_data(options)
        if set(asked) & {"train", "curves"}:
            plan = prepare(folder, options)
            options.precision = plan["precision"]
            print(f"{check_tower(folder, options)}\n")
        parts = {"train": steps_table, "curves": curves_table, "fill": filled}
        for part in asked:
            print((parts | {"names": names_table})[part](folder, options), flush=True)
            print()


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("worker", nargs="?", choices=list(WORKERS), help=argparse.SUPPRESS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=3, help="timed steps of a round")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--curve-steps", type=int, default=100)
    parser.add_argument("--curve-precision", default="fp32", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--names", type=int, default=1000, help="class names")
    parser.add_argument("--part", default="all", choices=["all", *PARTS])
    parser.add_argument("--quick", action="store_true", help="1 round of 1 step, 20 names")
    parser.add_argument("--only", default="", help="variants whose names hold this, and ours")
    parser.add_argument("--corpus", type=Path, default=Path("build/emoji"))
    parser.add_argument("--tokenizer", type=Path, default=Path("build/emoji-tokenizer"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("build/bench-clip"))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--precision", default="auto", choices=["auto", "bf16", "fp32"])
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    for name in ("tower", "text"):
        parser.add_argument(f"--{name}", default="", help=argparse.SUPPRESS)
    for name in ("every", "batch", "templates", "views"):
        parser.add_argument(f"--{name}", type=int, default=1, help=argparse.SUPPRESS)
    return parser.parse_args()


def measured(
    worker: str,
    folder: Path,
    options: argparse.Namespace,
    *,
    environment: Any = MALLOC,
    **more: Any,
) -> dict[str, Any]:
    """One measurement in its own process, of either side."""
    ours = ("corpus", "tokenizer", "work", "data", "names", "precision", "warmup", "steps")
    arguments = {name: getattr(options, name) for name in ours} | {"folder": folder} | more
    return call(
        HERE,
        worker,
        python=options.peer_python if worker.startswith("peer") else sys.executable,
        threads=options.threads,
        arguments=arguments,
        environment=environment,
    )


def check_tower(folder: Path, options: argparse.Namespace) -> str:
    """Say how far timm's features of the same pixels are from ours.

    Raises:
        SystemExit: the tower in eval mode makes others: then nothing here can be compared.
    """
    found = measured("peer-tower", folder, options)
    text = (
        f"Features of 32 pictures, largest distance from ours in shares of their length: "
        f"{found['eval']:.1e} with timm's norms in eval mode; in a training loop "
        f"{found['flag']:.1e} after lock_image_tower(freeze_bn_stats=True), "
        f"{found['plain']:.1e} after lock_image_tower()."
    )
    if not found["eval"] < FEATURES_APART:
        raise SystemExit(f"the two sides do not see the same: {text}")
    return text


def steps_table(folder: Path, options: argparse.Namespace) -> str:
    """Markdown: seconds of a step, ratios, memory."""
    wanted = [name for name in VARIANTS if options.only in name or name in (OURS, ONLINE)]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in wanted}
    for number in range(options.rounds):
        for name in wanted:
            side, tower, text, environment = VARIANTS[name]
            one = measured(side, folder, options, environment=environment, tower=tower, text=text)
            (first, spent), (last, after) = one["ends"][options.warmup], one["ends"][-1]
            one["seconds"] = (last - first) / options.steps
            one["processor"] = (after - spent) / options.steps
            found[name].append(one)
            say(f"round {number + 1} {name}: {one['seconds']:.3f} s, load {load_average()}")
    heads = ("variant", "s a step, median (range)", "it / cached", "it / tower in every step")
    heads += ("processor, s a step", "peak memory, MB")
    setting = (
        f"{options.rounds} interleaved rounds of {options.steps} steps after {options.warmup} to "
        f"warm up, {options.precision}; load average {load_average()} at the end"
    )
    lines = [setting, "", *header(heads)]
    for name, rounds in found.items():
        ratios = [faster(rounds, found[base]) for base in (OURS, ONLINE)]
        lines.append(
            f"| {name} | {spread([one['seconds'] for one in rounds], digits=3)} | {ratios[0]} "
            f"| {ratios[1]} | {statistics.median(one['processor'] for one in rounds):.3f} "
            f"| {statistics.median(one['peak'] for one in rounds) / 1e6:,.0f} |"
        )
    return "\n".join(
        [*lines, "", told({name: rounds[0]["settings"] for name, rounds in found.items()})]
    )


def faster(rounds: list[dict[str, Any]], base: list[dict[str, Any]]) -> str:
    """Times as long as the base takes, round by round."""
    pairs = zip(rounds, base, strict=True)
    return spread([one["seconds"] / other["seconds"] for one, other in pairs], digits=2)


def header(columns: tuple[str, ...]) -> list[str]:
    """Return the first two lines of a table."""
    return [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]


def curves_table(folder: Path, options: argparse.Namespace) -> str:
    """Markdown: losses at some steps, and how far the two curves of one tower are apart.

    Raises:
        SystemExit: they do not begin alike.
    """
    curves: dict[str, list[float]] = {}
    for name, (side, text) in CURVES.items():
        more = {"warmup": 0, "steps": options.curve_steps, "precision": options.curve_precision}
        found = measured(side, folder, options, tower="given", text=text, **more)
        curves[name] = found["losses"]
        say(f"{name}: {found['losses'][-1]:.4f} at step {options.curve_steps}, {load_average()}")
    _, theirs, ours = curves.values()
    apart = [abs(one - other) for one, other in zip(theirs, ours, strict=True)]
    if not apart[0] < LOSS_APART:
        raise SystemExit(f"the losses of the first batch differ by {apart[0]:.4f}: {curves}")
    shown = [one for one in (1, 20, 50, 100) if one <= options.curve_steps]
    lines = [
        f"{options.curve_steps} steps on the same batches of features, {options.curve_precision}:",
        "",
        *header(("loss", *(f"step {one}" for one in shown))),
    ]
    for name, losses in curves.items():
        lines.append(f"| {name} | {' | '.join(f'{losses[one - 1]:.4f}' for one in shown)} |")
    compared = (
        f"open_clip with minna's text tower and minna: at most {max(apart):.1e} apart in "
        f"{len(apart)} steps, {statistics.mean(apart):.1e} in the mean."
    )
    return "\n".join([*lines, "", compared])


def filled(folder: Path, options: argparse.Namespace) -> str:
    """Say what filling the cache costs."""
    found = measured("minna-fill", folder, options, views=1 if options.quick else 0)
    seen = found["pictures"] * found["views"]
    return (
        f"Filling the cache: {found['pictures']} pictures x {found['views']} views in "
        f"{found['seconds']:.1f} s ({found['processor']:.1f} of the processor), "
        f"{seen / found['seconds']:.0f} views/s opened and seen in fp32, "
        f"{found['bytes'] / 1e6:.1f} MB on disk, peak memory {found['peak'] / 1e6:,.0f} MB; "
        f"load average {load_average()}"
    )


def names_table(folder: Path, options: argparse.Namespace) -> str:
    """Markdown: seconds for a classifier.

    Raises:
        SystemExit: the classifiers differ.
    """
    classes, templates = prepare_names(folder, options)
    lengths = json.loads((folder / "names.json").read_text(encoding="utf-8"))
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in NAMES}
    for number in range(options.rounds):
        for name, worker in NAMES.items():
            whole = options.quick or (number == 0 and worker == "peer-padded")
            every = 1 if whole else SAMPLED
            more = {"every": every, "batch": TEXTS, "templates": templates}
            one = measured(worker, folder, options, **more)
            found[name].append(one)
            say(f"round {number + 1} {name}: {one['seconds']:.1f} s, load {load_average()}")
    apart = max(one["apart"] for one in found["minna"])
    if not apart < WEIGHTS_APART:
        raise SystemExit(f"the classifiers differ by {apart}")
    heads = ("variant", "s, median (range)", "it / minna", "processor, s", "peak memory, MB")
    setting = (
        f"{classes} names x {templates} templates = {classes * templates} texts of "
        f"{lengths['mean']:.1f} tokens (longest {lengths['longest']}), fp32, {options.rounds} "
        f"interleaved rounds; after the first round one padded batch in {SAMPLED} is timed; "
        f"weights differ by at most {apart:.1e}; load average {load_average()}"
    )
    lines = [setting, "", *header(heads)]
    for name, rounds in found.items():
        lines.append(
            f"| {name} | {spread([one['seconds'] for one in rounds], digits=1)} "
            f"| {faster(rounds, found['minna'])} "
            f"| {statistics.median(one['processor'] for one in rounds):.1f} "
            f"| {statistics.median(one['peak'] for one in rounds) / 1e6:,.0f} |"
        )
    return "\n".join(lines)


def run_peer(options: argparse.Namespace) -> dict[str, Any]:
    """Train with open_clip."""
    import clip_peer

    return clip_peer.run_peer(options)


def run_tower(options: argparse.Namespace) -> dict[str, Any]:
    """Compare timm's features with ours."""
    import clip_peer

    return clip_peer.run_tower(options)


def run_padded(options: argparse.Namespace) -> dict[str, Any]:
    """Encode padded texts with transformers."""
    import clip_peer

    return clip_peer.run_padded(options)


WORKERS = {
    "minna": run_minna,
    "minna-fill": run_fill,
    "minna-names": run_names,
    "minna-padded": run_names_padded,
    "peer": run_peer,
    "peer-tower": run_tower,
    "peer-padded": run_padded,
}

if __name__ == "__main__":
    main()
