"""Does transformers see the same model in this folder as minna does?

Most users will load it there, and most complaints about Japanese models are ids that differ between
two tokenizers. So the folder is opened with both before it gets its name: same ids, same logits, or
no release.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any, Final

import torch

from minna.console import warn
from minna.errors import ArtifactError, MissingExtraError
from minna.runtime.load import LoadedModel, load_model

STRINGS: Final = (
    "私は昨日、図書館で本を読みました。",
    "日本の首都は東京です。English も 123 も混ざります。",
    "ｶﾀｶﾅと①㈱、～〜、𠮷野家😀",
    "一行目\n二行目  空白ふたつ",
    " 先頭の空白と末尾の空白 ",
    "文の途中の</s>は文字のまま",
)
# fp32 on both sides; the two add in another order (measured: 4e-6 at 4 M parameters)
_TOLERANCE: Final = 1e-3


@dataclass(frozen=True, kw_only=True)
class Check:
    """What came out.

    Attributes:
        version: of transformers.
        strings: how many were compared.
        ids_equal: for how many both tokenizers gave the same ids.
        largest_difference: of two logits, over all strings.
    """

    version: str
    strings: int
    ids_equal: int
    largest_difference: float


def transformers_is_there() -> bool:
    """Whether transformers is installed, without importing it."""
    return util.find_spec("transformers") is not None


def check_with_transformers(folder: Path, *, claimed_match: float | None) -> Check | None:
    """Load a folder with transformers and with minna, and compare ids and logits.

    Args:
        folder: a model dir.
        claimed_match: the match rate of match.json; 1.0 makes a difference in ids an error.

    Returns:
        What was compared; None, after a warning, where transformers is not installed.

    Raises:
        ArtifactError: the folder does not load there, or gives something else.
    """
    if not transformers_is_there():
        missing = MissingExtraError("transformers", extra="transformers")
        warn(f"the release is not checked against transformers: {missing}")
        return None
    ours = load_model(folder, device="cpu", dtype="fp32", layout="plain")
    tokenizer, model = _load(folder)
    equal = 0
    largest = 0.0
    for text in STRINGS:
        ids = ours.tokenizer.encode(text)
        theirs: list[int] = tokenizer.encode(text, add_special_tokens=False)
        if ids == theirs:
            equal += 1
        elif claimed_match == 1.0:
            raise ArtifactError(
                f"transformers reads {text!r} as {theirs[:8]}..., minna as {ids[:8]}...",
                remedy="train the tokenizer again, and export again",
            )
        largest = max(largest, _difference(ours, model, ids))
    if not largest <= _TOLERANCE:
        raise ArtifactError(
            f"transformers computes other logits from this folder: they differ by {largest:.3g} "
            f"(up to {_TOLERANCE} is rounding)",
            remedy="export the model again; if it stays, config.json says something else than "
            "the weights need",
        )
    return Check(
        version=metadata.version("transformers"),
        strings=len(STRINGS),
        ids_equal=equal,
        largest_difference=largest,
    )


def _load(folder: Path) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ArtifactError(
            f"transformers cannot load this model: {error}",
            remedy="export the model again; if it stays, report it with its config.json",
        ) from error
    finally:
        logging.enable_progress_bar()
    return tokenizer, model.eval()


@torch.inference_mode()
def _difference(ours: LoadedModel, theirs: Any, ids: list[int]) -> float:
    tokens = torch.tensor([ids[: ours.decoder.config.context]])
    mine = ours.decoder.logits(ours.decoder(tokens))
    other: torch.Tensor = theirs(tokens).logits
    return float((mine - other).abs().max())
