"""Head and cross-entropy in one, a chunk of tokens at a time.

The logits are the largest tensor of a step: 8,192 tokens x 32,000 words in fp32 is 1 GB, and
autograd would keep it, its log-softmax and its gradient. Here a chunk of logits lives only until
its loss and its gradients are taken, in the forward pass, where the softmax is at hand anyway:
nothing of size [tokens, vocabulary] is ever kept, and the head costs three matrix products, none of
them twice.

N tokens, C tokens of a chunk, V vocabulary, D width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
CHUNK_TOKENS = 1024
# A GPU wants larger products, and has the memory: 0.5 GB of bf16 logits at 32,000 words. Also
# fewer additions to the fp32 gradient of the head. Our choice by arithmetic, not yet measured.
GPU_CHUNK_TOKENS = 8192

ChunkLoss = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


def chunk_loss(logits_CV: Tensor, targets_C: Tensor) -> tuple[Tensor, Tensor]:
    """Summed cross-entropy of a chunk (fp32, nats) and its gradient by the logits.

    d loss / d logits = softmax(logits) - onehot(target), zero where the target is ignored.
    """
    logits = logits_CV.float()
    valid_C1 = (targets_C != IGNORE).unsqueeze(1)
    target_C1 = targets_C.clamp_min(0).unsqueeze(1)
    log_total_C1 = logits.logsumexp(dim=1, keepdim=True)
    chosen_C1 = logits.gather(1, target_C1)
    loss = ((log_total_C1 - chosen_C1) * valid_C1).sum()
    columns_1V = torch.arange(logits.shape[1], device=logits.device).unsqueeze(0)
    gradient = (logits - log_total_C1).exp() - (columns_1V == target_C1).float()
    return loss, (gradient * valid_C1).to(logits_CV.dtype)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx,
        hidden_ND: Tensor,
        weight_VD: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        dtype: torch.dtype,
        loss_of: ChunkLoss,
    ) -> Tensor:
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]  # pyright: ignore[reportAttributeAccessIssue]
        weight = weight_VD.to(dtype)
        bias = None if bias_V is None else bias_V.to(dtype)
        total = hidden_ND.new_zeros((), dtype=torch.float32)
        grad_hidden = torch.empty_like(hidden_ND) if needs_hidden else None
        grad_weight = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_weight else None
        grad_bias = (
            torch.zeros_like(bias_V, dtype=torch.float32)
            if bias_V is not None and needs_bias
            else None
        )
        chunk = GPU_CHUNK_TOKENS if hidden_ND.is_cuda else CHUNK_TOKENS
        for start in range(0, hidden_ND.shape[0], chunk):
            rows = slice(start, start + chunk)
            hidden = hidden_ND[rows].to(dtype)
            loss, gradient = loss_of(F.linear(hidden, weight, bias), targets_N[rows])
            total += loss
            if grad_hidden is not None:
                grad_hidden[rows] = gradient @ weight
            if grad_weight is not None:
                grad_weight += gradient.T @ hidden
            if grad_bias is not None:
                grad_bias += gradient.sum(0, dtype=torch.float32)
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)  # pyright: ignore[reportArgumentType]
        return total

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        (scale,) = grad_outputs
        grad_hidden, grad_weight, grad_bias = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        # In place: nothing else holds these buffers, and a second [V, D] copy is 100 MB at 32k x
        # 768.
        return (
            None if grad_hidden is None else grad_hidden.mul_(scale),
            None if grad_weight is None else grad_weight.mul_(scale),
            None if grad_bias is None else grad_bias.mul_(scale),
            None,
            None,
            None,
        )


def linear_cross_entropy(
    hidden_ND: Tensor,
    weight_VD: Tensor,
    targets_N: Tensor,
    *,
    bias_V: Tensor | None = None,
    loss_of: ChunkLoss = chunk_loss,
) -> Tensor:
    """Sum over N of -log softmax(hidden weight^T + bias)[target], in nats, fp32.

    Args:
        hidden_ND: final hidden states.
        weight_VD: the head; its product runs in the autocast dtype when autocast is on.
        targets_N: token ids; `IGNORE` (-100) counts for nothing.
        bias_V: of the head, where it has one.
        loss_of: `chunk_loss`, or the same compiled.

    Returns:
        A scalar; divide by the global number of targets (the loop does).
    """
    device = hidden_ND.device.type
    dtype = (
        torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight_VD.dtype
    )
    return _LinearCrossEntropy.apply(hidden_ND, weight_VD, bias_V, targets_N, dtype, loss_of)  # type: ignore[no-any-return]
