"""The contrastive losses as one would write them down, whole matrices at a time, by autograd."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def hidden(same, count):
    """Columns that are neither a row's pair nor its negatives."""
    if same is None:
        return torch.zeros(count, count, dtype=torch.bool)
    return (same[:, None] == same[None]) & ~torch.eye(count, dtype=torch.bool)


def info_nce(a, b, scale, same=None):
    logits = (scale * a @ b.T).masked_fill(hidden(same, len(a)), -torch.inf)
    labels = torch.arange(len(a))
    one_way = F.cross_entropy(logits, labels, reduction="none")
    return (one_way + F.cross_entropy(logits.T, labels, reduction="none")) / 2


def sigmoid(a, b, scale, bias, same=None):
    sign = 2 * torch.eye(len(a), dtype=a.dtype) - 1
    each = -F.logsigmoid(sign * (scale * a @ b.T + bias))
    return each.masked_fill(hidden(same, len(a)), 0).sum(1)


def retrieved(state, stored, beta):
    return F.normalize((beta * state @ stored.T).softmax(1) @ stored, dim=1)


def info_loob(x, y, inv_tau, beta, factor, same=None):
    def left_out(u, v):
        k = inv_tau * u @ v.T
        leave = hidden(same, len(u)) | torch.eye(len(u), dtype=torch.bool)
        alone = leave.all(1)
        # a row without negatives is taken out before the log, whose gradient there is nan
        kept = torch.where(alone[:, None], torch.zeros_like(k), k.masked_fill(leave, -torch.inf))
        return (kept.logsumexp(1) - k.diagonal()).masked_fill(alone, 0)

    images = left_out(retrieved(x, x, beta), retrieved(y, x, beta))
    texts = left_out(retrieved(y, y, beta), retrieved(x, y, beta))
    return factor * (images + texts)
