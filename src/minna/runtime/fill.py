"""Hidden words in a text: what a masked language model would put there.

[MASK] is placed after tokenising, as an id: typed into the text it would be cut into other tokens.
The row begins with [CLS] and has no end mark, as in training; positions count from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from minna.errors import ArtifactError, UsageError
from minna.models.encoder import Encoder
from minna.models.family import FAMILIES
from minna.runtime.load import choose_device
from minna.runtime.weights import read_json, read_weights
from minna.tokenizer.load import Tokenizer, load_tokenizer

MASK = "[MASK]"


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A word for a hidden place: its text, id and probability."""

    text: str
    id: int
    probability: float


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A prompt, and for each [MASK] in it the most likely words, best first."""

    prompt: str
    places: tuple[tuple[Candidate, ...], ...]

    @property
    def text(self) -> str:
        """The prompt with the best word at each place."""
        pieces = self.prompt.split(MASK)
        best = [place[0].text for place in self.places]
        return "".join(piece + word for piece, word in zip(pieces, [*best, ""], strict=True))


def is_masked(path: Path) -> bool:
    """Whether a model dir holds a masked language model, by its config.json."""
    kind: Any = read_json(path / "config.json").get("model_type")
    return any(f.model_type == kind and f.objective == "masked_lm" for f in FAMILIES.values())


def load_masked(path: Path) -> tuple[Encoder, Tokenizer]:
    """Open a masked language model and its tokenizer.

    Raises:
        ArtifactError: it is of another kind, or its weights do not fit its config.
    """
    config = read_json(path / "config.json")
    kind = config.get("model_type")
    family = next((f for f in FAMILIES.values() if f.model_type == kind), None)
    if family is None or family.objective != "masked_lm":
        raise ArtifactError(
            f"{path} is no masked language model: config.json has model_type {kind!r}",
            remedy="fill-mask reads RoBERTa's model dirs",
        )
    shape = family.config_from_disk(config)
    with torch.device("meta"):
        encoder = Encoder(shape)
    weights = dict(family.from_disk(dict(read_weights(path)), shape))
    wrong = [
        f"{name} is {list(weights[name].shape)}, not {list(tensor.shape)}"
        for name, tensor in encoder.state_dict().items()
        if weights[name].shape != tensor.shape
    ]
    if wrong:
        raise ArtifactError(
            f"the weights in {path} do not fit its config.json: {'; '.join(wrong[:3])}",
            remedy="check that config.json and the weights belong together",
        )
    ours = {name: tensor.float().clone() for name, tensor in weights.items()}
    encoder.load_state_dict(ours, strict=True, assign=True)
    encoder = encoder.eval().requires_grad_(requires_grad=False)
    return encoder.to(choose_device("auto")), load_tokenizer(path)


def mask_ids(words: Tokenizer) -> tuple[int, int]:
    """Return the ids of [CLS] and [MASK].

    Raises:
        UsageError: the tokenizer has none.
    """
    ids = {piece.text: number for number, piece in enumerate(words.fields.pieces)}
    if "[CLS]" not in ids or MASK not in ids:
        raise UsageError(
            "the tokenizer has no [CLS] or no [MASK]",
            remedy='use the tokenizer of a masked model (specials = "rinna-32k")',
        )
    return ids["[CLS]"], ids[MASK]


def encode_masked(words: Tokenizer, text: str) -> list[int]:
    """Return [CLS] and the ids of a text in which [MASK] stands for hidden words."""
    start, mask = mask_ids(words)
    first, *rest = text.split(MASK)
    later = words.without_prefix()  # a space is put in front of a text, not of what follows a word
    ids = [start, *words.encode(first)]
    for piece in rest:
        ids += [mask, *later.encode(piece)]
    return ids


@torch.no_grad()
def fill(
    encoder: Encoder, words: Tokenizer, prompts: Sequence[str], *, top: int = 5
) -> list[Filled]:
    """Return the `top` most likely words for every [MASK] of every prompt.

    Raises:
        UsageError: a prompt without [MASK], or longer than the model's context.
    """
    _, mask = mask_ids(words)
    found: list[Filled] = []
    for prompt in prompts:
        ids = encode_masked(words, prompt)
        if mask not in ids:
            raise UsageError(
                f"there is no [MASK] in {prompt!r}",
                remedy="write [MASK] where a word is to be found",
            )
        if len(ids) > encoder.config.context:
            raise UsageError(
                f"the prompt has {len(ids)} tokens, and the model reads {encoder.config.context}",
                remedy="shorten it",
            )
        tokens = torch.tensor([ids], device=encoder.embed.weight.device)
        places = [number for number, id_ in enumerate(ids) if id_ == mask]
        logits = encoder.logits(encoder(tokens)[0, places]).float()[:, : words.vocab_size]
        best = logits.softmax(dim=-1).topk(min(top, logits.shape[1]))
        rows = zip(best.values.tolist(), best.indices.tolist(), strict=True)
        found.append(
            Filled(
                prompt=prompt,
                places=tuple(
                    tuple(
                        Candidate(text=words.decode([id_]), id=id_, probability=chance)
                        for chance, id_ in zip(*row, strict=True)
                    )
                    for row in rows
                ),
            )
        )
    return found
