"""Head and log-probability of each token in one, a chunk at a time: what preferences and PPO learn.

Cross-entropy sums over tokens at once (`linear_cross_entropy.py`); a ratio or a preference needs
each token's log-probability, with a gradient of its own. Kept for the backward pass are the hidden
states and one number a token; logits are computed again, so [tokens, vocabulary] is never held,
but where it is small: then probabilities are kept (in fp32: 1 - p of a sure word is nothing in
bf16), and a product less is computed.

N tokens, C tokens of a chunk, V vocabulary, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from minna.objectives.linear_cross_entropy import CHUNK_TOKENS, GPU_CHUNK_TOKENS

_KEPT_BYTES = 32_000_000


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
        learns = any(ctx.needs_input_grad)  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        keeps = learns and 4 * len(targets_N) * len(weight) <= _KEPT_BYTES
        chosen, entropy, total, kept = [], [], [], []
        for rows in _chunks(hidden_ND):
            logits = _logits(hidden_ND[rows].to(dtype), weight, temperature)
            total_C = logits.logsumexp(1)
            logprobs = logits.sub_(total_C[:, None])
            chosen.append(logprobs.gather(1, targets_N[rows, None])[:, 0])
            chances = logprobs.exp()
            entropy.append(-torch.linalg.vecdot(chances, logprobs))
            total.append(total_C)
            if keeps:
                kept.append(chances)
        empty = hidden_ND.new_zeros(0, dtype=torch.float32)
        ctx.save_for_backward(hidden_ND, weight_VD, targets_N, torch.cat([empty, *total]), *kept)
        ctx.temperature, ctx.dtype = temperature, dtype  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        entropy_N = torch.cat([empty, *entropy])
        ctx.mark_non_differentiable(entropy_N)
        return torch.cat([empty, *chosen]), entropy_N

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        grad_N = grad_outputs[0]
        hidden_ND, weight_VD, targets_N, total_N, *kept = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        dtype, temperature = ctx.dtype, ctx.temperature  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
        weight = weight_VD.to(dtype)
        grad_hidden = torch.empty_like(hidden_ND)
        needs_weight = ctx.needs_input_grad[1]  # pyright: ignore[reportAttributeAccessIssue]
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        for place, rows in enumerate(_chunks(hidden_ND)):
            hidden = hidden_ND[rows].to(dtype)
            if kept:
                chances = kept[place]
            else:
                logits = _logits(hidden, weight, temperature)
                chances = (logits - total_N[rows, None]).exp_()
            # d log p(target) / d logits = (onehot - softmax) / temperature
            scale_C = grad_N[rows, None] / temperature
            gradient = chances * -scale_C
            gradient = gradient.scatter_add_(1, targets_N[rows, None], scale_C).to(dtype)
            grad_hidden[rows] = (gradient @ weight).to(grad_hidden.dtype)
            if grad_weight is not None:
                grad_weight += gradient.T @ hidden
        return grad_hidden, grad_weight, None, None, None


def _logits(hidden_CD: Tensor, weight_VD: Tensor, temperature: float) -> Tensor:
    logits_CV = F.linear(hidden_CD, weight_VD).float()
    return logits_CV if temperature == 1.0 else logits_CV / temperature


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
