"""What contrastive losses share: chunks of rows, pairs among columns, gradients that are known.

N pairs of this rank, M pairs of all ranks, C rows of a chunk, D width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from minna.objectives.gathering import Among, gathered, largest

# 8 MB of logits stay in a CPU's cache; a GPU wants larger products
CHUNK_LOGITS = 2**21
GPU_CHUNK_LOGITS = 2**25
KEPT_LOGITS = 2**22  # so many are kept rather than computed twice: 16 MB


class _Tied(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: torch.autograd.function.FunctionCtx, value: Tensor, *both: Tensor
    ) -> Tensor:
        ctx.save_for_backward(*both[len(both) // 2 :])
        return value.clone()

    @staticmethod
    def backward(
        ctx: torch.autograd.function.FunctionCtx, *grad_outputs: Tensor
    ) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        gradients = ctx.saved_tensors  # pyright: ignore[reportAttributeAccessIssue]
        scaled = [grad_outputs[0] * gradient for gradient in gradients]
        return None, *scaled, *([None] * len(scaled))


def tied(value: Tensor, *pairs: tuple[Tensor, Tensor]) -> Tensor:
    """Return a number whose gradients are known already.

    Args:
        value: the number.
        pairs: a tensor, and the gradient of the number by it.
    """
    learned = [(tensor, gradient) for tensor, gradient in pairs if tensor.requires_grad]
    if not learned:
        return value
    tensors = [tensor for tensor, _ in learned]
    gradients = [gradient.to(tensor.dtype).view_as(tensor) for tensor, gradient in learned]
    return _Tied.apply(value, *tensors, *gradients)  # type: ignore[no-any-return]


class Pairs:
    """Where the pairs of rows lie among the columns, and which columns are no negatives.

    Attributes:
        rows, columns: N and M.
        among: the ranks.
        own_N: column of each row's pair.
        candidates_N: columns that a row is compared with, its pair among them.
    """

    def __init__(self, a_ND: Tensor, b_MD: Tensor, *, same_N: Tensor | None, among: Among) -> None:
        self.rows, self.columns, self.among = len(a_ND), len(b_MD), among
        self._on_gpu = a_ND.is_cuda
        self.own_N = torch.arange(self.rows, device=a_ND.device) + among.rank * self.rows
        self._same_N = same_N
        self._same_M = None if same_N is None else gathered(same_N, among)
        self.candidates_N = a_ND.new_full((self.rows,), self.columns)
        if same_N is not None and self._same_M is not None:
            ordered_M = self._same_M.sort().values
            like_N = torch.searchsorted(ordered_M, same_N, right=True)
            like_N -= torch.searchsorted(ordered_M, same_N)
            self.candidates_N -= like_N - 1

    @property
    def few(self) -> bool:
        """Whether their logits may be kept."""
        return are_few(self.rows, self.columns)

    def chunks(self) -> Iterator[slice]:
        """Rows of each chunk."""
        return chunks(self.rows, self.columns, on_gpu=self._on_gpu)

    def at(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Where the pairs of a chunk lie in it."""
        own_C = self.own_N[rows]
        return torch.arange(len(own_C), device=own_C.device), own_C

    def logits(self, a_ND: Tensor, b_MD: Tensor, scale: Tensor, rows: slice) -> Tensor:
        """Cosines of a chunk, scaled [C, M]; -inf where a column is neither pair nor negative."""
        logits = (a_ND[rows] * scale) @ b_MD.T
        if self._same_N is not None and self._same_M is not None:
            hidden = self._same_N[rows, None] == self._same_M
            hidden[self.at(rows)] = False
            logits.masked_fill_(hidden, -math.inf)
        return logits


class Best:
    """Who is nearest to whom, as chunks go by.

    Attributes:
        own_N: scaled cosine of each pair.
        column_M: largest of those of a column and rows that are not its pair, so far.
    """

    def __init__(self, pairs: Pairs, a_ND: Tensor) -> None:
        self._pairs = pairs
        self.own_N, self._row_N = a_ND.new_empty(2, len(a_ND)).unbind()
        self.column_M = a_ND.new_full((pairs.columns,), -math.inf)

    def see(self, logits_CM: Tensor, rows: slice) -> Tensor:
        """Look at a chunk, which is given back as it was; return what is said of its pairs."""
        at = self._pairs.at(rows)
        own_C = self.own_N[rows] = logits_CM[at]
        logits_CM[at] = -math.inf
        self._row_N[rows] = logits_CM.amax(1)
        self.column_M = torch.maximum(self.column_M, logits_CM.amax(0))
        logits_CM[at] = own_C
        return own_C

    def found(self) -> Tensor:
        """1 where a pair is nearer than all else, in both directions [2, N]."""
        column_N = largest(self.column_M.clone(), self._pairs.among)[self._pairs.own_N]
        return torch.stack([self.own_N > self._row_N, self.own_N > column_N]).to(self.own_N.dtype)


def no_gradients(a_ND: Tensor, b_MD: Tensor, scale: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Zeros that `learn` adds to."""
    return torch.zeros_like(a_ND), torch.zeros_like(b_MD), torch.zeros_like(scale)


def learn(
    gradient_CM: Tensor,
    rows: slice,
    given: tuple[Tensor, Tensor, Tensor],
    gradients: tuple[Tensor, Tensor, Tensor],
) -> None:
    """Add what a chunk's gradient by its logits says of both sides and of the scale."""
    a_ND, b_MD, scale = given
    grad_a, grad_b, grad_scale = gradients
    pulled_CD = gradient_CM @ b_MD
    grad_a[rows] = pulled_CD * scale
    grad_b.addmm_(gradient_CM.T, a_ND[rows] * scale)
    grad_scale += (pulled_CD * a_ND[rows]).sum()


def learns(*tensors: Tensor) -> bool:
    """Whether anybody will ask for a gradient."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def are_few(rows: int, columns: int) -> bool:
    """Whether so many logits may be kept."""
    return rows * columns <= KEPT_LOGITS


def chunks(rows: int, columns: int, *, on_gpu: bool) -> Iterator[slice]:
    """Rows of each chunk."""
    size = max(1, (GPU_CHUNK_LOGITS if on_gpu else CHUNK_LOGITS) // max(columns, 1))
    return (slice(start, start + size) for start in range(0, rows, size))


def widened(tensor: Tensor) -> Tensor:
    """The tensor in fp32, or fp64 if it is."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def full_precision(tensor: Tensor) -> torch.autocast:
    """Return a context without autocast."""
    return torch.autocast(tensor.device.type, enabled=False)
