"""Head and log-probability of each token in one, a chunk at a time: what preferences and PPO learn.

Cross-entropy sums over tokens at once (`linear_cross_entropy.py`); a ratio or a preference needs
each token's log-probability, with a gradient of its own. Kept for the backward pass are the hidden
states and one number a token; logits are computed again, so [tokens, vocabulary] is never held.

N tokens, C tokens of a chunk, V vocabulary, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minna.objectives.linear_cross_entropy import CHUNK_TOKENS, GPU_CHUNK_TOKENS


class _LinearLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        targets_N: Tensor,
        temperature: float,
        dtype: torch.dtype,
    ) -> tuple[Tensor, Tensor]:
        weight = weight_VD.to(dtype)
        chosen, entropy, total = [], [], []
        for rows in _chunks(hidden_ND):
            logits = F.linear(hidden_ND[rows].to(dtype), weight).float() / temperature
            total_C = logits.logsumexp(1)
            logprobs = logits - total_C[:, None]
            chosen.append(logprobs.gather(1, targets_N[rows, None])[:, 0])
            entropy.append(-(logprobs.exp() * logprobs).sum(1))
            total.append(total_C)
        empty = hidden_ND.new_zeros(0, dtype=torch.float32)
        total_N = torch.cat([empty, *total])
        ctx.save_for_backward(hidden_ND, weight_VD, targets_N, total_N)
        ctx.temperature, ctx.dtype = temperature, dtype  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        entropy_N = torch.cat([empty, *entropy])
        ctx.mark_non_differentiable(entropy_N)
        return torch.cat([empty, *chosen]), entropy_N

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        grad_N = grad_outputs[0]
        hidden_ND, weight_VD, targets_N, total_N = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        dtype, temperature = ctx.dtype, ctx.temperature  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        weight = weight_VD.to(dtype)
        grad_hidden = torch.empty_like(hidden_ND)
        needs_weight = ctx.needs_input_grad[1]  # pyright: ignore[reportAttributeAccessIssue]
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        for rows in _chunks(hidden_ND):
            hidden = hidden_ND[rows].to(dtype)
            logits = F.linear(hidden, weight).float() / temperature
            # d log p(target) / d logits = (onehot - softmax) / temperature
            gradient = -(logits - total_N[rows, None]).exp()
            gradient.scatter_add_(1, targets_N[rows, None], torch.ones_like(gradient[:, :1]))
            gradient = (gradient * (grad_N[rows, None] / temperature)).to(dtype)
            grad_hidden[rows] = (gradient @ weight).to(grad_hidden.dtype)
            if grad_weight is not None:
                grad_weight += gradient.T @ hidden
        return grad_hidden, grad_weight, None, None, None


def _chunks(hidden_ND: Tensor) -> list[slice]:
    size = GPU_CHUNK_TOKENS if hidden_ND.is_cuda else CHUNK_TOKENS
    return [slice(start, start + size) for start in range(0, len(hidden_ND), size)]


def linear_logprobs(
    hidden_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, *, temperature: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Return log softmax(hidden weight^T / temperature)[target] and the entropy, both [N], in nats.

    Args:
        hidden_ND: final hidden states.
        weight_VD: rows of the head that may be chosen; padded ones are left out by the caller.
        targets_N: ids below V.
        temperature: the one that answers are drawn with.

    Returns:
        Both in fp32; the entropy has no gradient.
    """
    device = hidden_ND.device.type
    dtype = (
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
    )
    return _LinearLogprobs.apply(hidden_ND, weight_VD, targets_N, temperature, dtype)  # type: ignore[no-any-return]
