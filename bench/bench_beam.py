"""Beam search of CTC beside pyctcdecode 0.5.0: time, and how probable what is found is.

Both get the same logits out of one file: by default made-up ones of 42 symbols (40 phones, a
boundary, the blank) at 50 frames and 11 phones a second, as sure of themselves as a good model and
as a poor one; or those of a real model (`--logits FILE.npz`: arrays logits0000, logits0001 ... of
[T, 42], blank 0, boundary 1). Beam 20, no language model, one thread. pyctcdecode takes characters
for labels, so each phone is one. It runs as it comes (symbols below exp(-5) and prefixes 10 nats
behind are left out), and without that, which is the search the paper means.

Every measurement is a process of its own, rounds are interleaved. Reading the file and a first
call are not timed. "score" is the log of the probability, over all alignments, of the text each
side found (torch's CTC loss, fp64): what a beam search is for. pyctcdecode knows no boundary at the
ends of a text, so there its text gets the better of both. The error is that against the made-up
truth.

    python bench/bench_beam.py --peer-python PATH [--rounds 5] [--utterances 40] [--logits FILE.npz]
    python bench/bench_beam.py --peer-python PATH --quick      a smoke run: 1 round of 3
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from machine import processor
from tune_work import call, load_average, say, spread

HERE = Path(__file__).resolve()
PEER = HERE.parent / "beam_peer.py"
SYMBOLS, RATE = 42, 50
SURE = {"sure": 0.8, "unsure": 1.4}
# side -> (script, its own options)
SIDES: dict[str, tuple[str, dict[str, str]]] = {
    "pyctcdecode, as it comes": ("peer", {"pruning": "default"}),
    "pyctcdecode, nothing left out": ("peer", {"pruning": "none"}),
    "minna, numpy": ("minna", {"engine": "numpy"}),
    "minna": ("minna", {"engine": "native"}),
}
COLUMNS = ("logits", "side", "s per hour of audio", "pyctcdecode / this", "score", "better", "PER")


def main() -> None:
    """Run the rounds, print a table; or be one measurement."""
    options = parse()
    if options.worker:
        print(json.dumps(measure(options)))
        return
    if options.quick:
        options.rounds, options.utterances = 1, 3
    with tempfile.TemporaryDirectory() as folder:
        files = [options.logits] if options.logits else made(Path(folder), options.utterances)
        found: dict[Path, dict[str, list[dict[str, Any]]]] = {
            file: {side: [] for side in SIDES} for file in files
        }
        for number in range(options.rounds):
            for file in files:
                for side in SIDES:
                    one = run(side, file, options)
                    found[file][side].append(one)
                    say(
                        f"round {number + 1} {file.stem} {side}: {one['seconds']:.2f} s, "
                        f"load {load_average()}"
                    )
        print(table(found, options))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("worker", nargs="?", help=argparse.SUPPRESS)
    parser.add_argument("--peer-python")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--utterances", type=int, default=40)
    parser.add_argument("--beam", type=int, default=20)
    parser.add_argument("--logits", type=Path)
    parser.add_argument("--quick", action="store_true", help="1 round of 3 utterances")
    parser.add_argument("--engine", choices=["numpy", "native"], help=argparse.SUPPRESS)
    return parser.parse_args()


def made(folder: Path, utterances: int) -> list[Path]:
    """Write logits of utterances of 2 to 12 seconds, and what was said in them."""
    files: list[Path] = []
    for name, noise in SURE.items():
        generator = np.random.default_rng(0)
        arrays: dict[str, Any] = {}
        for number in range(utterances):
            logits, said = utterance(generator, noise=noise)
            arrays |= {f"logits{number:04d}": logits, f"said{number:04d}": said}
        files.append(folder / f"{name}.npz")
        np.savez(files[-1], **arrays)
    return files


def utterance(generator: np.random.Generator, *, noise: float) -> tuple[Any, Any]:
    """Logits of phones of 3 to 6 frames, each a spike over blanks with a rival beside it."""
    frames = generator.integers(3, 7, size=generator.integers(22, 132))
    said = generator.integers(2, SYMBOLS, size=len(frames))
    said[generator.random(len(said)) < 0.2] = 1
    said[1:][(said[1:] == 1) & (said[:-1] == 1)] = 2
    said[[0, -1]] = 2
    logits = noise * generator.normal(size=(frames.sum(), SYMBOLS))
    logits[:, 0] += 6
    at = np.cumsum(frames) - frames + 1
    rivals = 1 + (said - 1 + generator.integers(1, SYMBOLS - 1, size=len(said))) % (SYMBOLS - 1)
    for symbols, height in ((said, 11.0), (rivals, 11.0 - 4 / noise)):
        logits[at, symbols] += height
        logits[at + 1, symbols] += height * generator.random(len(said))
    return logits.astype(np.float32), said


def run(side: str, file: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One measurement in a process of its own."""
    script, own = SIDES[side]
    return call(
        PEER if script == "peer" else HERE,
        "run",
        python=options.peer_python if script == "peer" else sys.executable,
        threads=1,
        arguments={"logits": file, "beam": options.beam} | own,
        environment={},
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds over all utterances, and what was found."""
    from minna.native import beam as native
    from minna.runtime.ctc import Search, beam_search

    utterances, _ = read(options.logits)
    numpys = options.engine == "numpy"
    if not numpys and not native.ready():
        raise SystemExit("the native beam search cannot be had here")

    def decode(logits: Any) -> list[int]:
        logprobs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        if not numpys:
            return list(beam_search(logprobs, beam=options.beam)[0].ids)
        search = Search(SYMBOLS, beam=options.beam)
        for frame, row in enumerate(logprobs.astype(np.float64)):
            search.step(row, frame)
        return list(search.finish(1)[0].ids)

    decode(utterances[0][:50])
    ids: list[list[int]] = []
    seconds = 0.0
    for logits in utterances:
        start = time.perf_counter()
        ids.append(decode(logits))
        seconds += time.perf_counter() - start
    return {"seconds": seconds, "ids": ids}


def read(file: Path) -> tuple[list[Any], list[Any]]:
    """Logits, and what was said where that is known."""
    with np.load(file) as content:
        names = sorted(content.files)
        logits = [content[name] for name in names if name.startswith("logits")]
        return logits, [content[name] for name in names if name.startswith("said")]


def score(logits: Any, ids: list[int], *, bare: bool) -> float:
    """Log probability of a text; of a bare one the best with or without boundaries at its ends."""
    import torch
    from torch.nn.functional import ctc_loss

    logprobs = torch.tensor(logits, dtype=torch.float64).log_softmax(1)[:, None]
    found: list[float] = []
    for front, behind in ((0, 0), (1, 0), (0, 1), (1, 1)) if bare else ((0, 0),):
        text = [*[1] * front, *ids, *[1] * behind]
        target = torch.tensor([text], dtype=torch.long)
        lengths = torch.tensor([len(logprobs)]), torch.tensor([len(text)])
        found.append(-float(ctc_loss(logprobs, target, *lengths, reduction="sum")))
    return max(found)


def table(found: dict[Path, dict[str, list[dict[str, Any]]]], options: argparse.Namespace) -> str:
    """Markdown: times with range, ratios of rounds, scores."""
    from minna.metrics.edits import error_rate

    setting = (
        f"{options.rounds} interleaved rounds, beam {options.beam}, one thread, {processor()}; "
        f"load average {load_average()}"
    )
    lines = [
        setting,
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for file, sides in found.items():
        utterances, said = read(file)
        hours = sum(map(len, utterances)) / RATE / 3600
        peers = [one["seconds"] for one in sides["pyctcdecode, as it comes"]]
        scores = {
            side: [
                score(logits, ids, bare=SIDES[side][0] == "peer")
                for logits, ids in zip(utterances, all_[-1]["ids"], strict=True)
            ]
            for side, all_ in sides.items()
        }
        ours = scores["minna"]
        for side, all_ in sides.items():
            times = [one["seconds"] for one in all_]
            ratio = [one / other for one, other in zip(peers, times, strict=True)]
            rate = error_rate(said, all_[-1]["ids"], resamples=2).rate.value if said else math.nan
            pairs = list(zip(ours, scores[side], strict=True))
            ahead = sum(a > b + 1e-6 for a, b in pairs)
            behind = sum(b > a + 1e-6 for a, b in pairs)
            told = "" if side == "minna" else f"minna in {ahead}, this in {behind} of {len(pairs)}"
            lines.append(
                f"| {file.stem} | {side} | {spread([t / hours for t in times], digits=2)} "
                f"| {spread(ratio, digits=1)} | {statistics.mean(scores[side]):.3f} | {told} "
                f"| {100 * rate:.2f} % |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
