"""What rounding a model's weights costs: bits per byte of held-out text, and whose next token wins.

Every document is read token by token, as in generation (8-bit products included), eight side by
side; a figure beside it reads them whole, as evaluation and prompts do. Agreement is the share of
places at which the most likely next token is that of fp32.

    python bench/bench_quality.py MODEL --corpus DIR [--documents 32] [--tokens 256]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import torch

from minna.native.linear import NativeLinear
from minna.runtime import LoadedModel, load_model
from minna.runtime.cache import KeyValueCache
from minna.runtime.engine import cache_dtype
from minna.runtime.step import native_step

KINDS = ("fp32", "bf16", "int8", "int4")
ROWS = 8


@torch.inference_mode()
def token_by_token(model: LoadedModel, rows: torch.Tensor) -> torch.Tensor:
    """Logits [B, S, V] of token ids [B, S], one position a call."""
    step = native_step(model.decoder)
    dtype = cache_dtype(model.device, model.dtype) if step is None else step.cache_dtype
    cache = KeyValueCache(
        model.decoder.config, rows=len(rows), dtype=dtype, device=torch.device("cpu")
    )
    found: list[torch.Tensor] = []
    for column in rows.T:
        if step is not None:
            found.append(step(column.tolist(), cache))
            continue
        places, mask = cache.open(range(len(rows)), new=1)
        hidden = model.decoder(column[:, None], positions_BS=places, mask=mask, caches=cache.layers)
        cache.commit(range(len(rows)), added=[1] * len(rows))
        found.append(model.decoder.logits(hidden[:, 0]).float())
    return torch.stack(found, dim=1)


@torch.inference_mode()
def whole(model: LoadedModel, rows: torch.Tensor) -> torch.Tensor:
    """Logits [B, S, V] of token ids [B, S], all positions in one call."""
    return model.decoder.logits(model.decoder(rows)).float()


def main() -> None:
    """Print the table."""
    arguments = argparse.ArgumentParser(description="Quality of fp32, bf16, int8 and int4.")
    arguments.add_argument("model", type=Path)
    arguments.add_argument("--corpus", type=Path, required=True)
    arguments.add_argument("--documents", type=int, default=32)
    arguments.add_argument("--tokens", type=int, default=256)
    given = arguments.parse_args()
    first = load_model(given.model, device="cpu", dtype="fp32")
    end, size = first.eos_ids[0], given.tokens
    if size > first.decoder.config.context:
        raise SystemExit(f"the model reads {first.decoder.config.context} tokens, not {size}")
    ids = [first.tokenizer.encode(text) for text in held_out(given.corpus)]
    rows = torch.tensor([[end, *i[:size]] for i in ids if len(i) >= size][: given.documents])
    if not len(rows):
        raise SystemExit(f"no document of {given.corpus} has {size} tokens; ask for fewer")
    texts_read = [first.tokenizer.decode(row[1:].tolist()) for row in rows]
    nbytes = sum(len(text.encode()) for text in texts_read)
    print(f"{given.model}: {len(rows)} documents of {size} tokens, {nbytes} bytes\n")
    print("| weights | MB | bits per byte | read whole | greedy token as fp32 |")
    print("|---|---|---|---|---|")
    reference: list[torch.Tensor] = []
    for kind in KINDS:
        model = load_model(given.model, device="cpu", dtype=kind)
        bits, best = [0.0, 0.0], []
        for batch in rows.split(ROWS):
            inputs, wanted = batch[:, :-1], batch[:, 1:]
            for place, way in enumerate((token_by_token, whole)):
                logits = way(model, inputs)
                nats = torch.nn.functional.cross_entropy(
                    logits.flatten(0, 1), wanted.flatten(), reduction="sum"
                )
                bits[place] += float(nats) / math.log(2) / nbytes
                if place == 0:
                    best.append(logits.argmax(-1))
        reference = reference or best
        pairs = zip(best, reference, strict=True)
        same = sum(int((a == b).sum()) for a, b in pairs) / sum(b.numel() for b in best)
        print(f"| {kind} | {megabytes(model):.0f} | {bits[0]:.4f} | {bits[1]:.4f} | {same:.2%} |")


def held_out(corpus: Path) -> Iterator[str]:
    """The texts of a corpus that no training sees."""
    import pyarrow.parquet as pq

    for file in sorted((corpus / "data").glob("*.parquet")):
        table = pq.read_table(file, columns=["split", "text"])
        for split, text in zip(
            *(table[name].to_pylist() for name in table.column_names), strict=True
        ):
            if split == "test":
                yield text


def megabytes(model: LoadedModel) -> float:
    """What one token reads of the matrices, where our kernels are there."""
    own = [module for module in model.decoder.modules() if isinstance(module, NativeLinear)]
    return sum(module.bytes for module in own) / 1e6


if __name__ == "__main__":
    main()
