"""Hidden words in a text: what a masked language model would put there.

[MASK] is placed after tokenising, as an id: typed into the text it would be cut into other tokens.
The row begins with [CLS] and has no end mark, as in training; positions count from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from minna.errors import ArtifactError, UsageError
from minna.models.encoder import Encoder
from minna.runtime.load import check_shapes, choose_device, family_of
from minna.runtime.weights import read_json, read_weights
from minna.tokenizer.load import Tokenizer, load_tokenizer
from minna.tokenizer.masks import MASK, mask_ids


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
    """Whether a model dir holds a masked language model, by its config.json.

    Raises:
        ArtifactError: there is none, or it names no family known here.
    """
    return family_of(read_json(path / "config.json"), path).objective == "masked_lm"


def load_masked(path: Path) -> tuple[Encoder, Tokenizer]:
    """Open a masked language model and its tokenizer.

    Raises:
        ArtifactError: it is of another kind, or its weights do not fit its config.
    """
    config = read_json(path / "config.json")
    family = family_of(config, path)
    if family.objective != "masked_lm":
        raise ArtifactError(
            f"{path} is no masked language model ({family.name})",
            remedy="fill-mask reads RoBERTa's model dirs",
        )
    shape = family.config_from_disk(config)
    with torch.device("meta"):
        encoder = Encoder(shape)
    state = read_weights(path)
    check_shapes(state, encoder, family)
    weights = family.from_disk(dict(state), shape)
    ours = {name: tensor.float().clone() for name, tensor in weights}
    encoder.load_state_dict(ours, strict=True, assign=True)
    encoder = encoder.eval().requires_grad_(requires_grad=False)
    return encoder.to(choose_device("auto")), load_tokenizer(path)


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
