"""The plain loop that `bench_train.py` compares with: what a good engineer writes in an afternoon.

One file, a GPT-NeoX in 60 lines, bf16 autocast over fp32 weights, torch's attention, cross-entropy
in chunks of 1,024 tokens (recomputed in the backward pass, so that logits are never kept), fused
AdamW, torch.compile. It reads the same model dir and rows as the others.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

CHUNK = 1024


class Block(nn.Module):
    """Attention and MLP, one after the other."""

    def __init__(self, width: int, heads: int, ffn: int, eps: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=eps), nn.LayerNorm(width, eps=eps)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, ffn), nn.Linear(ffn, width)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Take and return [B, S, width]."""
        B, S, D = x.shape
        # transformers keeps q, k and v of a head together
        heads = self.qkv(self.norm1(x)).view(B, S, self.heads, 3 * D // self.heads)
        q, k, v = heads.transpose(1, 2).chunk(3, dim=-1)
        q, k = turn(q, cos, sin), turn(k, cos, sin)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(B, S, D))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Gpt(nn.Module):
    """Embedding, blocks, norm, head."""

    def __init__(self, config: dict[str, float], *, row: int) -> None:
        super().__init__()
        width, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        eps, vocab = config["layer_norm_eps"], int(config["vocab_size"])
        self.embed = nn.Embedding(vocab, width)
        self.blocks = nn.ModuleList(
            Block(width, heads, int(config["intermediate_size"]), eps)
            for _ in range(int(config["num_hidden_layers"]))
        )
        self.norm, self.head = nn.LayerNorm(width, eps=eps), nn.Linear(width, vocab, bias=False)
        half = torch.arange(0, width // heads, 2) / (width // heads)
        angle = torch.outer(torch.arange(row).float(), 10000.0**-half).repeat(1, 2)
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def forward(self, tokens: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of [B, S] tokens and targets."""
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x, self.cos[: x.shape[1]], self.sin[: x.shape[1]])
        x, targets = self.norm(x).flatten(0, 1), targets.flatten()
        pieces = zip(x.split(CHUNK), targets.split(CHUNK), strict=True)
        total = sum(checkpoint(self.chunk, h, t, use_reentrant=False) for h, t in pieces)
        return total / targets.numel()

    def chunk(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Summed loss of a chunk."""
        return F.cross_entropy(self.head(hidden).float(), targets, reduction="sum")


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions."""
    left, right = x.chunk(2, dim=-1)
    return (x * cos + torch.cat((-right, left), dim=-1) * sin).to(x.dtype)


def load(folder: Path, *, row: int) -> Gpt:
    """Read the GPT-NeoX model dir at `folder`."""
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    model = Gpt(config, row=row)
    theirs = load_file(folder / "model.safetensors")
    names = {
        "gpt_neox.embed_in": "embed",
        "gpt_neox.final_layer_norm": "norm",
        "embed_out": "head",
        "lm_head": "head",
        "gpt_neox.layers": "blocks",
        "input_layernorm": "norm1",
        "post_attention_layernorm": "norm2",
        "attention.query_key_value": "qkv",
        "attention.dense": "out",
        "mlp.dense_h_to_4h": "up",
        "mlp.dense_4h_to_h": "down",
    }
    ours = {}
    for name, tensor in theirs.items():
        for before, after in names.items():
            name = name.replace(before, after)  # noqa: PLW2901 - one name, several replacements
        ours[name] = tensor
    model.load_state_dict(ours)
    return model
