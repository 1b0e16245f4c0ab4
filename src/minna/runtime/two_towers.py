"""Whatever gives texts and pictures vectors of one space, behind one protocol.

Classification, search and filtering ask no more than this, so a CLIP of LAION, rinna's CLOOB and
yesterday's run are compared by the same code. What a folder holds is told by its text tower, never
by its name: rinna's CLIP calls itself "clip" like OpenAI's, and is another model.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from minna.errors import ArtifactError, nearest
from minna.models.weights.dual import is_dual
from minna.runtime.embedding_batches import Embeddings
from minna.runtime.hub_towers import CLASSES, open_hub
from minna.runtime.load import Device
from minna.runtime.own_towers import open_own
from minna.runtime.weights import read_json

if TYPE_CHECKING:
    from PIL.Image import Image


class TwoTowers(Protocol):
    """Texts and pictures as vectors [N, E], float32, each of length 1."""

    @property
    def width(self) -> int:
        """E."""
        ...

    @property
    def scale(self) -> float:
        """What cosines are multiplied with to be logits: exp(logit_scale), or CLOOB's 1 / tau."""
        ...

    @property
    def bias(self) -> float:
        """What is added to them; 0 but for SigLIP."""
        ...

    @property
    def name(self) -> str:
        """Of its folder."""
        ...

    @property
    def digest(self) -> str:
        """Hex sha256 of config, tokenizer, preprocessing and weights."""
        ...

    def texts(self, texts: Sequence[str]) -> Embeddings:
        """Return [N, E] of texts."""
        ...

    def images(self, pictures: Iterable[Image]) -> Embeddings:
        """Return [N, E] of pictures; a text embedder refuses."""
        ...


def open_two_towers(path: Path, *, device: Device = "auto") -> TwoTowers:
    """Open a model dir: ours, rinna's CLIP or CLOOB, or transformers' CLIP or SigLIP.

    Args:
        path: the folder, with its tokenizer.
        device: "auto" takes cuda, then mps, then cpu.

    Raises:
        ArtifactError: it is none of these, or its parts do not fit each other.
        MissingExtraError: it is one of transformers', and that is not installed.
    """
    config = read_json(path / "config.json")
    if is_dual(config):
        return open_own(path, device=device)
    kind: Any = config.get("model_type")
    text: Any = config.get("text_config")
    tower = text.get("model_type") if isinstance(text, dict) else None
    if kind in CLASSES and tower in (None, f"{kind}_text_model"):
        return open_hub(path, device=device)
    raise ArtifactError(
        f"{path} has model_type {kind!r} with a text tower {tower!r}, which gives no embeddings "
        f"here{nearest(str(kind), CLASSES)}",
        remedy="give a dual encoder of ours or rinna's, or a CLIP or SigLIP of transformers",
    )
