"""From samples to frames, and where a frame stands: convolutions, on transformers' weights.

Half of the work of a small encoder is here, before the first block, and transformers' own forward
pass is not the fastest way to the same numbers (tests/models/test_speech_encoder.py compares them):

- the first convolution reads 10 samples of one channel: as a product of matrices it takes a ninth
  of the time (0.7 ms instead of 6.6 for 20 s, 128 channels, bf16, one core). Behind it channels lie
  innermost, as norms over channels and the convolutions of a CPU want them;
- the convolution that tells places sees 128 frames in groups of few channels. On a CPU it goes by
  Fourier transforms, in fp32: a third of the step of the laptop shape otherwise.

The group norm runs over the time of a clip, so the zeros behind a shorter clip of a batch would
change it. transformers lets them (its base models are to be given no attention mask and hear the
padding as silence); here each clip is normed by itself, as if it were alone. Places are told by
what lies around a frame, so behind the end of a clip there are zeros before every such convolution,
as there are alone; transformers' data2vec puts them before the first only.

B clips, S samples, T steps between convolutions, F frames, C channels, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from minna.models.speech.config import SpeechConfig

_LOUDNESS_EPS = 1e-7  # of transformers' feature extractor


def normalised(samples_BS: Tensor, lengths: Sequence[int] | None) -> Tensor:
    """Shift and scale each clip to mean 0 and variance 1, zeros behind its end (fp32).

    Args:
        samples_BS: clips.
        lengths: samples of each; None: all of them.
    """
    x = _full(samples_BS)
    if lengths is None:
        variance, mean = torch.var_mean(x, 1, correction=0, keepdim=True)
        return (x - mean) * (variance + _LOUDNESS_EPS).rsqrt()
    out = torch.zeros_like(x)
    for row, length in enumerate(lengths):
        out[row, :length] = normalised(x[row : row + 1, :length], None)[0]
    return out


def conv_features(
    extractor: Any, samples_BS: Tensor, *, config: SpeechConfig, lengths: Sequence[int] | None
) -> Tensor:
    """Return what the convolutions hear [B, F, C], before any norm of it.

    Args:
        extractor: transformers' feature encoder.
        samples_BS: clips.
        config: of the encoder.
        lengths: samples of each; None: all of them.
    """
    x = samples_BS
    for index, layer in enumerate(extractor.conv_layers):
        conv = layer.conv
        kernel, stride = int(conv.kernel_size[0]), int(conv.stride[0])
        if index == 0:
            windows_BTK = x.unfold(1, kernel, stride)
            x_BTC = F.linear(windows_BTK, conv.weight[:, 0], conv.bias)
        else:
            x_BC1T = x.transpose(1, 2)[:, :, None]  # channels innermost in memory
            weight = conv.weight[:, :, None].contiguous(memory_format=torch.channels_last)
            x_BC1T = F.conv2d(x_BC1T, weight, conv.bias, stride=(1, stride))
            x_BTC = x_BC1T[:, :, 0].transpose(1, 2)
        if config.conv_norm == "layer":
            x_BTC = layer.layer_norm(x_BTC)
        elif index == 0:
            steps = None if lengths is None else [(n - kernel) // stride + 1 for n in lengths]
            x_BTC = _group_norm(layer.layer_norm, x_BTC, steps)
        x = F.gelu(x_BTC)
    return x


def _group_norm(norm: Any, x_BTC: Tensor, steps: Sequence[int] | None) -> Tensor:
    """Norm every channel over the time of its clip; what lies behind the end becomes 0.

    A clip by itself is a batch of time steps to a batch norm, whose way back over channels that lie
    innermost takes 13 ms where that of torch's group norm takes 370.
    """
    T = x_BTC.shape[1]
    rows: list[Tensor] = []
    for row_TC, n in zip(x_BTC.unbind(), steps or [T] * len(x_BTC), strict=True):
        seen_TC = row_TC[:n]
        normed_TC = F.batch_norm(
            seen_TC, None, None, norm.weight, norm.bias, training=True, eps=norm.eps
        )
        rows.append(normed_TC if n == T else F.pad(normed_TC, (0, 0, 0, T - n)))
    return torch.stack(rows)


def places(embed: Any, x_BFD: Tensor, *, config: SpeechConfig, seen_BF: Tensor | None) -> Tensor:
    """Return what is added to frames so that they know their places [B, F, D].

    Args:
        embed: transformers' positional convolutions.
        x_BFD: frames; zeros behind the end of a clip.
        config: of the encoder.
        seen_BF: which frames are there; None: all.
    """
    if config.family != "data2vec-audio":
        return F.gelu(_around(embed.conv, x_BFD))
    for layer in embed.layers:
        x_BFD = F.gelu(layer.layer_norm(_around(layer.conv, x_BFD)))
        if seen_BF is not None:
            x_BFD = x_BFD * seen_BF[..., None]
    return x_BFD


def _around(conv: Any, x_BFD: Tensor) -> Tensor:
    """Convolve frames with those around them; of an even kernel the last step is dropped."""
    weight: Tensor = conv.weight
    kernel, padding = weight.shape[2], weight.shape[2] // 2
    frames = x_BFD.shape[1]
    if x_BFD.device.type == "cpu" and kernel >= _LONG:
        return by_fourier(x_BFD, weight, groups=conv.groups, padding=padding) + conv.bias
    found = F.conv1d(x_BFD.transpose(1, 2), weight, conv.bias, padding=padding, groups=conv.groups)
    return found[:, :, :frames].transpose(1, 2)


_LONG = 32  # frames of a kernel


def by_fourier(x_BTD: Tensor, weight_DIK: Tensor, *, groups: int, padding: int) -> Tensor:
    """Correlate rows with a grouped kernel in fp32, as many steps as there are: [B, T, D].

    Args:
        x_BTD: rows.
        weight_DIK: as of conv1d; I channels see each other.
        groups: of channels.
        padding: zeros before the first step.
    """
    with torch.autocast(x_BTD.device.type, enabled=False):
        found = _Correlated.apply(_full(x_BTD), _full(weight_DIK), groups, padding)
    return found.to(x_BTD.dtype)  # type: ignore[no-any-return]


class _Correlated(torch.autograd.Function):
    """y[t] = sum over k of w[k] x[t + k - padding], as a product of spectra.

    With x shifted right by the padding, Y = X conj(W), so dX = dY W and dW = X conj(dY). Spectra
    are [frequency, group, ..., ...]: what is multiplied at a frequency lies together.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x_BTD: Tensor, weight_DIK: Tensor, groups: int, padding: int
    ) -> Tensor:
        B, T, D = x_BTD.shape
        kernel = weight_DIK.shape[2]
        size = _fast(T + kernel - 1)
        shifted = F.pad(x_BTD.transpose(1, 2), (padding, size - padding - T))
        x_LGBI = torch.fft.rfft(shifted).view(B, groups, -1, size // 2 + 1).permute(3, 1, 0, 2)
        w_GOIL = torch.fft.rfft(weight_DIK, size).view(groups, D // groups, -1, size // 2 + 1)
        w_LGOI = w_GOIL.permute(3, 0, 1, 2).contiguous()
        x_LGBI = x_LGBI.contiguous()
        ctx.save_for_backward(x_LGBI, w_LGOI)
        ctx.shape = size, T, kernel, padding
        return _rows(x_LGBI @ w_LGOI.mH, size)[:, :T]

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_LGBI, w_LGOI = ctx.saved_tensors
        size, T, kernel, padding = ctx.shape
        _, groups, B, inner = x_LGBI.shape
        padded = F.pad(grad_outputs[0].transpose(1, 2), (0, size - T))
        y_LGBO = torch.fft.rfft(padded).view(B, groups, -1, size // 2 + 1).permute(3, 1, 0, 2)
        y_LGBO = y_LGBO.contiguous()
        grad_x = grad_w = None
        if ctx.needs_input_grad[0]:
            grad_x = _rows(y_LGBO @ w_LGOI, size)[:, padding : padding + T]
        if ctx.needs_input_grad[1]:
            w_GOIL = (y_LGBO.mH @ x_LGBI).permute(1, 2, 3, 0)
            spread = torch.fft.irfft(w_GOIL.reshape(-1, inner, size // 2 + 1), size)
            grad_w = spread[..., :kernel]
        return grad_x, grad_w, None, None


def _rows(y_LGBO: Tensor, size: int) -> Tensor:
    """Rows of which these are the spectra [B, size, D]."""
    y_BDL = y_LGBO.permute(2, 1, 3, 0).flatten(1, 2)
    return torch.fft.irfft(y_BDL, size).transpose(1, 2)


def _full(x: Tensor) -> Tensor:
    """In fp32, or fp64 if it is."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _fast(size: int) -> int:
    """The next length that is 2^n or 3 x 2^n: transforms of these are fast."""
    power = 1 << (size - 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= size else power
