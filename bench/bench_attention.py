"""Our attention beside torch's flash and the compiled explicit one: forward and with gradients.

Each shape takes turns between the three in every round, so that a busy minute hits all; the table
shows the best of the rounds in milliseconds and the floating-point operations that the visible
pairs need (4 per pair and feature forward, 14 with gradients) per second. Documents are hidden from
torch by a mask, as it has no other way.

    python bench/bench_attention.py [--threads 2] [--rounds 5] [--precision bf16]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from minna.models.attention import (
    document_mask,
    document_starts,
    explicit_attention,
    fused_attention,
)
from minna.native import attention as native

# rows, tokens, heads, features of a head, tokens of a document (0: one document a row)
SHAPES = (
    (16, 512, 6, 64, 0),
    (64, 64, 4, 64, 0),
    (32, 128, 4, 64, 0),
    (16, 256, 6, 64, 0),
    (4, 2048, 12, 64, 0),
    (16, 512, 6, 64, 60),
)
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
Times = dict[str, tuple[float, float]]


def main() -> None:
    """Time every shape and print one table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--precision", choices=["bf16", "fp32"], default="bf16")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    dtype = torch.bfloat16 if options.precision == "bf16" else torch.float32
    if not native.ready(dtype):
        raise SystemExit("there is no native attention on this machine to compare")
    print(
        f"{options.precision}, {options.threads} threads, best of {options.rounds} interleaved "
        f"rounds, torch {torch.__version__}; ms (GFLOP/s)\n"
    )
    print("| rows x tokens x heads x features | pass | minna | torch flash | explicit, compiled |")
    print("|---|---|---|---|---|")
    for shape in SHAPES:
        for line in lines(shape, measure(shape, dtype=dtype, rounds=options.rounds)):
            print(line, flush=True)


def measure(shape: tuple[int, ...], *, dtype: torch.dtype, rounds: int) -> Times:
    """Return the best seconds of each way: forward, and forward with gradients."""
    B, S, H, head, length = shape
    torch.manual_seed(0)
    whole = torch.randn(B, S, 3 * H * head).to(dtype)
    q, k, v = (
        x.unflatten(-1, (H, head)).transpose(1, 2).detach().requires_grad_()
        for x in whole.split(H * head, dim=-1)
    )
    grad = torch.randn(B, S, H, head).to(dtype).transpose(1, 2)
    ways = attentions(B, S, length)
    best = {name: (float("inf"), float("inf")) for name in ways}
    for _ in range(rounds + 1):  # the first compiles
        for name, attend in ways.items():
            start = time.perf_counter()
            out = attend(q, k, v)
            middle = time.perf_counter()
            torch.autograd.grad(out, (q, k, v), grad)
            end = time.perf_counter()
            forward, both = best[name]
            best[name] = min(forward, middle - start), min(both, end - start)
    return best


def attentions(B: int, S: int, length: int) -> dict[str, Attend]:
    """The three ways to attend, by name."""
    starts, mask = None, None
    if length:
        segments = torch.arange(S).div(length, rounding_mode="floor").expand(B, S)
        starts, mask = document_starts(segments), document_mask(segments)
    torch.compiler.reset()
    compiled = torch.compile(explicit_attention, dynamic=False)
    return {
        "minna": lambda q, k, v: native.attention(q, k, v, starts_BS=starts),
        "flash": lambda q, k, v: fused_attention(q, k, v, mask=mask, dropout=0.0),
        "explicit": lambda q, k, v: compiled(q, k, v, mask=mask, dropout=0.0),
    }


def lines(shape: tuple[int, ...], times: Times) -> list[str]:
    """Two rows of the table: forward, and with gradients."""
    B, S, H, head, length = shape
    longest = length or S
    pairs = sum(i % longest + 1 for i in range(S))
    name = f"{B} x {S} x {H} x {head}" + (f", documents of {length}" if length else "")
    found = []
    for index, (step, each) in enumerate((("forward", 4), ("with gradients", 14))):
        flops = each * B * H * head * pairs
        ours = times["minna"][index]
        cells = [f"{ours * 1e3:.2f} ({flops / ours / 1e9:.0f})"]
        for other in ("flash", "explicit"):
            seconds = times[other][index]
            rate = flops / seconds / 1e9
            cells.append(f"{seconds * 1e3:.2f} ({rate:.0f}), {seconds / ours:.1f} times as long")
        found.append(f"| {name} | {step} | {' | '.join(cells)} |")
    return found


if __name__ == "__main__":
    main()
