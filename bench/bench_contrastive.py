"""The contrastive losses beside plain ones: time and memory of forward and backward.

InfoNCE (CLIP), InfoLOOB with retrieval (CLOOB) and the sigmoid of every pair (SigLIP), on random
vectors of width 512 and length 1, in fp32 on one process. The plain ones are what one would write
down, and what is commonly done: whole matrices of pairs x pairs, and autograd. Ours take chunks of
rows, and say beside the loss how many pairs find each other; the plain ones do not.

Every measurement is a process of its own, and rounds are interleaved. What is timed is the loss and
its gradients by both sides and by the scale. Memory is how far the resident set grew above a level
taken after a run of 64 pairs (on a GPU: of what torch held). It is an error if the two sides do not
find the same loss and the same gradients.

    python bench/bench_contrastive.py [--rounds 5] [--pairs 1024 8192] [--device cpu]
    python bench/bench_contrastive.py --quick       a smoke run: 1 round of 256 pairs
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from machine import peak_bytes, processor
from tune_work import MALLOC, call, load_average, say, spread

HERE = Path(__file__).resolve()
WIDTH, SCALE, BIAS, HOPFIELD = 512, 14.3, -10.0, 8.0
LOSSES = ("InfoNCE", "InfoLOOB", "sigmoid")
SIDES = ("plain", "minna")
RELATIVE = 1e-3  # of a gradient's norm, in fp32 sums of other orders
COLUMNS = ("loss", "pairs", "plain, ms", "minna, ms", "plain / minna", "plain, MB", "minna, MB")


def main() -> None:
    """Run the rounds, print the table; or be one measurement."""
    options = parse()
    if options.measure:
        print(json.dumps(measure(options)))
        return
    if options.quick:
        options.rounds, options.pairs = 1, [256]
    cases = [(loss, pairs) for pairs in options.pairs for loss in LOSSES]
    found: dict[tuple[str, int], dict[str, list[dict[str, Any]]]] = {
        case: {side: [] for side in SIDES} for case in cases
    }
    for number in range(options.rounds):
        for loss, pairs in cases:
            for side in SIDES:
                one = call(
                    HERE,
                    "--measure",
                    python=sys.executable,
                    threads=options.threads,
                    arguments={
                        "loss": loss,
                        "side": side,
                        "pairs": pairs,
                        "device": options.device,
                        "seconds": options.seconds,
                    },
                    environment=MALLOC,
                )
                found[loss, pairs][side].append(one)
                say(
                    f"round {number + 1} {loss} {pairs} {side}: {1e3 * one['seconds']:.1f} ms, "
                    f"{one['bytes'] / 1e6:.0f} MB, load {load_average()}"
                )
            refuse_difference(
                loss, pairs, {side: all_[-1] for side, all_ in found[loss, pairs].items()}
            )
    print(table(found, options))


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1024, 8192])
    parser.add_argument("--seconds", type=float, default=2.0, help="of a measurement, at least")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--quick", action="store_true", help="1 round of 256 pairs")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--loss", choices=LOSSES, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a forward and a backward pass (median), bytes, and what came of it."""
    import torch

    pairs = options.pairs[0]
    loss_of = {"plain": plain, "minna": ours}[options.side](options.loss)
    run(loss_of, inputs(64, options.device))
    given = inputs(pairs, options.device)
    on_gpu = options.device == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
        level = torch.cuda.memory_allocated()
    else:
        forget_peak()
        level = peak_bytes()
    seconds: list[float] = []
    while sum(seconds) < options.seconds or len(seconds) < 3:
        start = time.perf_counter()
        value, gradients = run(loss_of, given)
        if on_gpu:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if on_gpu else peak_bytes()
    return {
        "seconds": statistics.median(seconds),
        "bytes": peak - level,
        "value": float(value.detach()) / pairs,
        "norms": [float(gradient.double().norm()) for gradient in gradients],
        "sums": [float((one.double() * probe(one)).sum()) for one in gradients],
    }


def inputs(pairs: int, device: str) -> list[Any]:
    """Both sides, scale and bias; half of each second is its first, as after some training."""
    import torch
    from torch.nn.functional import normalize

    generator = torch.Generator().manual_seed(pairs)
    first, noise = (normalize(torch.randn(pairs, WIDTH, generator=generator), dim=1) for _ in "ab")
    given = [first, normalize(first + noise, dim=1), torch.tensor(SCALE), torch.tensor(BIAS)]
    return [one.to(device).requires_grad_() for one in given]


def probe(gradient: Any) -> Any:
    """Random numbers of the gradient's shape: a sum with them sees every entry."""
    import torch

    generator = torch.Generator().manual_seed(7)
    return torch.randn(gradient.shape, generator=generator, dtype=torch.float64).to(gradient.device)


def run(loss_of: Callable[..., Any], given: list[Any]) -> tuple[Any, list[Any]]:
    """The loss, and its gradients by what it depends on."""
    import torch

    value = loss_of(*given)
    gradients = torch.autograd.grad(value, given, allow_unused=True)
    return value, [gradient for gradient in gradients if gradient is not None]


def ours(loss: str) -> Callable[..., Any]:
    """The losses of minna.objectives."""
    from minna.objectives import contrastive_losses as losses

    return {
        "InfoNCE": lambda a, b, scale, _bias: losses.info_nce(a, b, scale).loss,
        "sigmoid": lambda a, b, scale, bias: losses.sigmoid(a, b, scale, bias).loss,
        "InfoLOOB": lambda a, b, scale, _bias: (
            losses.info_loob(a, b, scale, hopfield=HOPFIELD, factor=1 / scale).loss
        ),
    }[loss]


def plain(loss: str) -> Callable[..., Any]:
    """The same, written down whole."""
    import torch
    from torch.nn import functional

    def info_nce(a: Any, b: Any, scale: Any, _bias: Any) -> Any:
        logits, labels = scale * a @ b.T, torch.arange(len(a), device=a.device)
        both = (
            functional.cross_entropy(one, labels, reduction="sum") for one in (logits, logits.T)
        )
        return sum(both) / 2

    def sigmoid(a: Any, b: Any, scale: Any, bias: Any) -> Any:
        sign = 2 * torch.eye(len(a), device=a.device) - 1
        return -functional.logsigmoid(sign * (scale * a @ b.T + bias)).sum()

    def retrieved(state: Any, stored: Any) -> Any:
        return functional.normalize((HOPFIELD * state @ stored.T).softmax(1) @ stored, dim=1)

    def info_loob(a: Any, b: Any, scale: Any, _bias: Any) -> Any:
        itself = torch.eye(len(a), device=a.device, dtype=torch.bool)

        def left_out(u: Any, v: Any) -> Any:
            k = scale * u @ v.T
            return (k.masked_fill(itself, -torch.inf).logsumexp(1) - k.diagonal()).sum()

        pictures = left_out(retrieved(a, a), retrieved(b, a))
        return (pictures + left_out(retrieved(b, b), retrieved(a, b))) / scale

    return {"InfoNCE": info_nce, "sigmoid": sigmoid, "InfoLOOB": info_loob}[loss]


def forget_peak() -> None:
    """Begin the peak of the resident set again, where the system can (Linux)."""
    file = Path("/proc/self/clear_refs")
    if file.exists():
        file.write_text("5", encoding="ascii")


def refuse_difference(loss: str, pairs: int, sides: dict[str, dict[str, Any]]) -> None:
    """Compare what both found.

    Raises:
        SystemExit: it is not the same, so nothing here can be compared.
    """
    left, right = (sides[side] for side in SIDES)
    apart = [abs(left["value"] - right["value"]) / max(1.0, abs(left["value"]))]
    for name in ("norms", "sums"):
        for one, other, norm in zip(left[name], right[name], left["norms"], strict=True):
            apart.append(abs(one - other) / norm)
    if max(apart) > RELATIVE:
        raise SystemExit(f"{loss} of {pairs} pairs differs by {max(apart):.2g}: {left} {right}")


def table(found: dict[tuple[str, int], dict[str, list[dict[str, Any]]]], options: Any) -> str:
    """Markdown: medians with range, ratios of rounds, memory."""
    import torch

    where = torch.cuda.get_device_name() if options.device == "cuda" else processor()
    setting = (
        f"{options.rounds} interleaved rounds, width {WIDTH}, fp32, forward and backward; "
        f"{options.threads} threads, torch {torch.__version__}, {where}; load average "
        f"{load_average()}"
    )
    lines = [
        setting,
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|---" * len(COLUMNS) + "|",
    ]
    for (loss, pairs), sides in found.items():
        times = {side: [1e3 * one["seconds"] for one in sides[side]] for side in SIDES}
        ratio = [one / other for one, other in zip(times["plain"], times["minna"], strict=True)]
        memory = {
            side: statistics.median(one["bytes"] for one in sides[side]) / 1e6 for side in SIDES
        }
        lines.append(
            f"| {loss} | {pairs:,} | {spread(times['plain'], digits=1)} "
            f"| {spread(times['minna'], digits=1)} | {spread(ratio, digits=2)} "
            f"| {memory['plain']:,.0f} | {memory['minna']:,.0f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
