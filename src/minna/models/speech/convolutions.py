"""From samples to frames, and where a frame stands: convolutions, on transformers' weights.

Half of the work of a small encoder is here, before the first block, and transformers' own forward
pass is not the fastest way to the same numbers (tests/models/test_speech_encoder.py compares them):

- the first convolution reads 10 samples of one channel: a product of matrices. Behind it channels
  lie innermost, as norms over channels and the convolutions of a CPU want them. A norm over the
  time of a clip needs no second look at what was heard: mean and variance of a channel follow from
  those of the 10 samples (w C w), so the norm is a scale of the weights. Both ways took 62 ms (32 s
  of speech, 128 channels, fp32, one core without AVX-512); product, norm and what put the clips
  together again took 413. Gradients on speech are nearer to those of fp64 (7e-7, before 3e-5);
- the others go back as products of matrices on a CPU (`_Strided`): 173 ms instead of 850 of torch's
  own for the second of the seven, there. In bf16 both are as fast (one core with AVX-512 BF16), but
  for each new length torch's writes machine code for 5 ms;
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
        if index == 0 and config.conv_norm == "group":
            steps = None if lengths is None else [(n - kernel) // stride + 1 for n in lengths]
            x_BTC = _heard_and_normed(x.unfold(1, kernel, stride), layer, steps)
        elif index == 0:
            x_BTC = F.linear(x.unfold(1, kernel, stride), conv.weight[:, 0], conv.bias)
        else:
            x_BTC = _over_channels(x, conv, stride=stride)
        if config.conv_norm == "layer":
            x_BTC = layer.layer_norm(x_BTC)
        x = F.gelu(x_BTC)
    return x


def _heard_and_normed(windows_BTK: Tensor, layer: Any, steps: Sequence[int] | None) -> Tensor:
    """The first convolution and a norm of every channel over the time of its clip [B, T, C].

    What lies behind the end of a clip becomes 0.

    Args:
        windows_BTK: samples that each step reads.
        layer: convolution and norm.
        steps: of each clip; None: all.
    """
    conv, norm = layer.conv, layer.layer_norm
    T = windows_BTK.shape[1]
    exact = torch.float32 if windows_BTK.device.type == "mps" else torch.float64
    with torch.autocast(windows_BTK.device.type, enabled=False):
        windows_BTK = windows_BTK.to(exact)
        if steps is None:
            centred_BTK = windows_BTK - windows_BTK.mean(1, keepdim=True)
            count_B11 = T
        else:
            count_B11 = torch.tensor(steps, device=windows_BTK.device)[:, None, None]
            seen_BT1 = torch.arange(T, device=windows_BTK.device)[:, None] < count_B11
            windows_BTK = torch.where(seen_BT1, windows_BTK, 0)
            mean_B1K = windows_BTK.sum(1, keepdim=True) / count_B11
            centred_BTK = torch.where(seen_BT1, windows_BTK - mean_B1K, 0)
        covariance_BKK = centred_BTK.mT @ centred_BTK / count_B11
        weight_CK = conv.weight[:, 0].to(exact)
        variance_BC = (weight_CK @ covariance_BKK * weight_CK).sum(-1)
        scale_BC = norm.weight * (variance_BC + norm.eps).rsqrt()
        weight_BKC = (scale_BC[..., None] * weight_CK).mT.to(conv.weight.dtype)
        centred_BTK = centred_BTK.to(conv.weight.dtype)
        # what the norm takes away again, so that its gradient is 0 and not none
        shift_C = norm.bias if conv.bias is None else norm.bias + (conv.bias - conv.bias)
    x_BTC = torch.baddbmm(shift_C, centred_BTK, weight_BKC)
    for row, count in enumerate(steps or ()):
        x_BTC[row, count:] = 0
    return x_BTC


def _over_channels(x_BTC: Tensor, conv: Any, *, stride: int) -> Tensor:
    """A convolution of steps that see all channels; channels lie innermost in memory."""
    if x_BTC.device.type == "cpu":
        weight_OCK = conv.weight
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            x_BTC, weight_OCK = x_BTC.to(kind), weight_OCK.to(kind)
        with torch.autocast("cpu", enabled=False):
            found: Tensor = _Strided.apply(x_BTC, weight_OCK, stride)  # type: ignore[assignment]
    else:
        found = _convolved(x_BTC, conv.weight, stride)
    return found if conv.bias is None else found + conv.bias


def _convolved(x_BTC: Tensor, weight_OCK: Tensor, stride: int) -> Tensor:
    x_BC1T = x_BTC.transpose(1, 2)[:, :, None]
    weight_OC1K = weight_OCK[:, :, None].contiguous(memory_format=torch.channels_last)
    return F.conv2d(x_BC1T, weight_OC1K, stride=(1, stride))[:, :, 0].transpose(1, 2)


class _Strided(torch.autograd.Function):
    """A convolution whose way back is products of matrices.

    With channels innermost, `stride` steps one behind the other are a row of a matrix that lies in
    memory already, and so is every further tap (kernel 3, stride 2: steps 2t and 2t + 1 are one
    matrix, 2t + 2 another), so nothing is copied.
    """

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, x_BTC: Tensor, weight_OCK: Tensor, stride: int
    ) -> Tensor:
        ctx.save_for_backward(x_BTC, weight_OCK)
        ctx.stride = stride
        return _convolved(x_BTC, weight_OCK, stride)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x_BTC, weight_OCK = ctx.saved_tensors
        stride, kernel = ctx.stride, weight_OCK.shape[2]
        y_BTO, x_BTC = grad_outputs[0].contiguous(), x_BTC.contiguous()
        weight_KCO = weight_OCK.permute(2, 1, 0)
        grad_w_KCO = torch.zeros(weight_KCO.shape, dtype=_full(weight_KCO[:0]).dtype)
        grad_x = torch.empty_like(x_BTC)
        grad_x[:, y_BTO.shape[1] * stride :] = 0
        for first in range(0, kernel, stride):
            taps = slice(first, min(first + stride, kernel))
            weight_RO = weight_KCO[taps].flatten(0, 1)
            grad_w_RO = grad_w_KCO[taps].flatten(0, 1)
            for row, y_TO in enumerate(y_BTO):
                read_RT = _taps(x_BTC[row], y_TO, taps, stride).T
                if read_RT.dtype == grad_w_RO.dtype:
                    grad_w_RO.addmm_(read_RT, y_TO)
                else:  # a sum over clips in bf16 would lose what the last ones add
                    grad_w_RO += read_RT @ y_TO
                grad_x_TR = _taps(grad_x[row], y_TO, taps, stride)
                torch.addmm(grad_x_TR, y_TO, weight_RO.T, beta=float(first > 0), out=grad_x_TR)
        return grad_x, grad_w_KCO.permute(2, 1, 0).to(weight_OCK.dtype), None


def _taps(x_TC: Tensor, y_TO: Tensor, taps: slice, stride: int) -> Tensor:
    """Return what some taps read at every step, side by side, as a view [T', R]."""
    C = x_TC.shape[1]
    start = x_TC.storage_offset() + taps.start * C
    return x_TC.as_strided((len(y_TO), (taps.stop - taps.start) * C), (stride * C, 1), start)


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
