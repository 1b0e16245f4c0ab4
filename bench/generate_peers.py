"""How `bench_generate.py` opens each engine on the same weights, and asks it greedily.

Each `open_*` returns (answer, bytes, settings): `answer(prompts, new)` gives the number of tokens
made, `bytes` is what one token reads of the matrices, head included.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Prompts = list[list[int]]
Opened = tuple[Callable[[Prompts, int], int], int, dict[str, Any]]
_INNER = {
    "attention_norm": "attn_norm",
    "attention.qkv": "attn_qkv",
    "attention.out": "attn_output",
    "mlp_norm": "ffn_norm",
    "mlp.up": "ffn_up",
    "mlp.down": "ffn_down",
}
_OUTER = {"embed": "token_embd", "final_norm": "output_norm", "head": "output"}


def open_minna(folder: Path, dtype: str, threads: int) -> Opened:
    """Our engine."""
    import torch

    from minna.native.linear import NativeLinear
    from minna.runtime import Engine, Request, load_model

    torch.set_num_threads(threads)
    model = load_model(folder, device="cpu", dtype=dtype)
    native = [m for m in model.decoder.modules() if isinstance(m, NativeLinear)]

    def answer(asked: Prompts, new: int) -> int:
        requests = [Request(prompt=tuple(p), max_new_tokens=new, stop_ids=()) for p in asked]
        return sum(len(r.ids) for r in Engine(model, slots=len(asked)).run(requests))

    kernels = "native" if native else type(model.decoder.head).__name__
    return answer, sum(m.bytes for m in native), {"kernels": kernels, "torch": torch.__version__}


def open_transformers(folder: Path, dtype: str, threads: int) -> Opened:
    """Greedy generate of transformers; "int8" is torch's quantize_dynamic on fp32."""
    import torch
    import transformers

    torch.set_num_threads(threads)
    transformers.logging.set_verbosity_error()
    kind = torch.bfloat16 if dtype == "bf16" else torch.float32
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=kind).eval()
    linear = [m for m in model.modules() if isinstance(m, torch.nn.Linear)]
    numbers = sum(m.weight.numel() for m in linear)
    if dtype == "int8":
        model = torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)

    def answer(asked: Prompts, new: int) -> int:
        ids = torch.tensor(asked)
        out = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            pad_token_id=3,
            max_new_tokens=new,
            min_new_tokens=new,
            use_cache=True,
        )
        return out.numel() - ids.numel()

    size = {"fp32": 4, "bf16": 2, "int8": 1}[dtype]
    attention = model.config._attn_implementation  # noqa: SLF001 - the only place that tells
    settings = {"transformers": transformers.__version__, "attention": attention}
    return answer, numbers * size, settings | {"torch": torch.__version__}


def open_llama_cpp(folder: Path, kind: str, threads: int) -> Opened:
    """llama.cpp behind xllamacpp, the very same GPT-NeoX in GGUF; its keys and values are fp16."""
    import json

    import xllamacpp

    asked_first = json.loads((folder / "gguf.json").read_text(encoding="utf-8"))
    server: dict[int, Any] = {}

    def start(rows: int) -> Any:
        if rows not in server:
            server.clear()
            params = xllamacpp.CommonParams()
            params.model.path = str(folder / f"{kind}.gguf")
            params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
            params.n_parallel, params.n_ctx = rows, rows * 512
            params.verbosity = 0
            server[rows] = xllamacpp.Server(params)
        return server[rows]

    def answer(asked: Prompts, new: int) -> int:
        order = {
            "prompt": asked if len(asked) > 1 else asked[0],
            "n_predict": new,
            "temperature": 0,
            "ignore_eos": True,
            "cache_prompt": False,
        }
        given = start(len(asked)).handle_completions(order)
        if "usage" not in given and not isinstance(given, list):
            raise RuntimeError(f"llama.cpp answered {str(given)[:200]}")
        answers = given if isinstance(given, list) else [given]
        written = sum(answer["tokens_predicted"] for answer in answers)
        if written != len(asked) * new:
            raise RuntimeError(f"llama.cpp wrote {written} tokens, not {len(asked) * new}")
        return written

    version = getattr(xllamacpp, "__version__", "?")
    return answer, asked_first[kind], {"xllamacpp": version, "architecture": "gptneox"}


def write_gguf(folder: Path, kind: str) -> int:
    """Write KIND.gguf beside the model; return the bytes of its matrices, embedding left out."""
    import gguf
    import numpy as np

    from minna.runtime import load_model

    decoder = load_model(folder, device="cpu", dtype="fp32", layout="plain").decoder
    config, form = decoder.config, gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(str(folder / f"{kind}.gguf"), "gptneox")
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.width)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.ffn)
    writer.add_rope_dimension_count(config.rotary_width)
    writer.add_head_count(config.heads)
    writer.add_parallel_residual(config.residual == "parallel")
    writer.add_layer_norm_eps(config.norm_eps)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([f"<{number}>" for number in range(config.vocab)])
    writer.add_token_scores([0.0] * config.vocab)
    writer.add_token_types([1] * config.vocab)
    read = 0
    for name, tensor in decoder.state_dict().items():
        stem, end = name.rsplit(".", 1)
        if stem.startswith("layers."):
            _, number, inner = stem.split(".", 2)
            stem = f"blk.{number}.{_INNER[inner]}"
        else:
            stem = _OUTER[stem]
        values = tensor.numpy().astype(np.float32)
        if values.ndim == 1:
            writer.add_tensor(f"{stem}.{end}", values)
            continue
        packed = gguf.quants.quantize(values, form)
        writer.add_tensor(f"{stem}.{end}", packed, raw_dtype=form)
        read += 0 if stem == "token_embd" else packed.nbytes
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return read


def read_bandwidth(threads: int) -> float:
    """GB/s at which this machine reads memory far larger than its caches: best of 30 sums."""
    import time

    import torch

    from minna.native.linear import decode_library

    torch.set_num_threads(threads)
    numbers = torch.empty(1 << 27)
    if (kernels := decode_library()) is not None:
        kernels.large_pages(numbers.data_ptr(), numbers.nbytes)
    numbers.fill_(1.0)
    best = float("inf")
    for _ in range(30):
        start = time.perf_counter()
        numbers.sum()
        best = min(best, time.perf_counter() - start)
    return numbers.nbytes / best / 1e9
