"""Qwen 1 written down plainly from its paper and files, sharing nothing with our decoder.

transformers never had it. One row at a time, no cache; names and shapes as on disk.
"""

from __future__ import annotations

import torch


def qwen_logits(disk, config, tokens):
    """Logits [S, V] of one row of tokens, from tensors with Qwen's names."""
    heads, head = config["num_attention_heads"], config["kv_channels"]
    eps, S = config["layer_norm_epsilon"], len(tokens)
    get = lambda name: disk[f"transformer.{name}"].double()  # noqa: E731

    def norm(x, weight):
        return x / (x.square().mean(-1, keepdim=True) + eps).sqrt() * weight

    def turn(x):
        # feature j of the first half and j of the second are one plane
        out = torch.empty_like(x)
        for place in range(S):
            for j in range(head // 2):
                angle = torch.tensor(place * config["rotary_emb_base"] ** (-2 * j / head))
                a, b = x[place, :, j], x[place, :, j + head // 2]
                out[place, :, j] = a * angle.cos() - b * angle.sin()
                out[place, :, j + head // 2] = b * angle.cos() + a * angle.sin()
        return out

    x = get("wte.weight")[tokens]
    hidden = torch.ones(S, S, dtype=torch.bool).triu(1)
    for n in range(config["num_hidden_layers"]):
        normed = norm(x, get(f"h.{n}.ln_1.weight"))
        mixed = normed @ get(f"h.{n}.attn.c_attn.weight").T + get(f"h.{n}.attn.c_attn.bias")
        q, k, v = (part.view(S, heads, head) for part in mixed.chunk(3, dim=-1))
        q, k = turn(q), turn(k)
        scores = torch.einsum("ihd,jhd->hij", q, k) / head**0.5
        weights = scores.masked_fill(hidden, float("-inf")).softmax(-1)
        mixed = torch.einsum("hij,jhd->ihd", weights, v).reshape(S, heads * head)
        x = x + mixed @ get(f"h.{n}.attn.c_proj.weight").T
        normed = norm(x, get(f"h.{n}.ln_2.weight"))
        straight = normed @ get(f"h.{n}.mlp.w1.weight").T
        gate = normed @ get(f"h.{n}.mlp.w2.weight").T
        x = x + (straight * gate * torch.sigmoid(gate)) @ get(f"h.{n}.mlp.c_proj.weight").T
    return norm(x, get("ln_f.weight")) @ disk["lm_head.weight"].double().T
