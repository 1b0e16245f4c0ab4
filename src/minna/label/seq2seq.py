"""Translations by an encoder-decoder that transformers knows: Marian, NLLB, M2M-100, mBART, T5.

Opened as everything from elsewhere is: safetensors alone, no code of the model's own, nothing from
the network, no weight drawn at random. Texts are cut into lines (`pieces.py`), and the lines of a
whole call are translated in batches of like length: padding is paid for like text.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from minna.errors import MissingExtraError, UsageError
from minna.label.hub_model import DTYPES, FAILURES, open_hub_model, unreadable
from minna.label.pieces import Piece, cut
from minna.label.settings import Direction
from minna.label.translator import Refusal, licence_of_folder, parent_of_folder
from minna.label.wording import Wording
from minna.runtime.load import Device, Dtype, choose_device

USUAL_WORDING: Final = "bare"
_BATCH_TOKENS: Final = {"cpu": 2048, "cuda": 32768, "mps": 8192}
_LONGEST: Final = 200  # tokens of a stretch, wherever the model could read more (own choice)
_ROOM: Final = 32
_SHARE: Final = 3
_UNLIMITED: Final = 1024  # of a model with relative positions (T5)
_LIMITS: Final = ("max_position_embeddings", "n_positions")
_WHAT: Final = "a translation model"


class _Opened(NamedTuple):
    """Model and tokenizer.

    Attributes:
        most: tokens of a stretch.
        longest: new tokens that its decoder has places for.
        first: id that every translation begins with; None where the model needs none.
    """

    model: Any
    tokenizer: Any
    device: torch.device
    most: int
    longest: int
    first: int | None


class Seq2SeqTranslator:
    """A translation model in a folder.

    Args:
        path: the folder, with its tokenizer; opened with the first text.
        wording: what is put around a text, and the codes of the languages.
        direction: the languages.
        max_new_tokens: longest translation of a line; None is 32 and three times its tokens.
        device, dtype: where and in what it computes.

    Raises:
        ArtifactError: no model dir, or a damaged one.
        UsageError: the wording knows codes, and none for one of the languages.
    """

    at_once = 32
    workers = 1

    def __init__(
        self,
        path: Path,
        *,
        wording: Wording,
        direction: Direction,
        max_new_tokens: int | None = None,
        device: Device = "auto",
        dtype: Dtype = "auto",
    ) -> None:
        if dtype not in ("auto", *DTYPES):
            raise UsageError(
                f"a translation model has no {dtype} weights", remedy="use --dtype fp32 or bf16"
            )
        wanted = ((wording.codes, direction.source), (wording.tokens, direction.target))
        for table, language in wanted:
            if table and language not in table:
                raise UsageError(
                    f"wording {wording.name} has no code for {language} (it has "
                    f"{', '.join(table)})",
                    remedy="write one into a wording of your own (--prompt FILE.toml)",
                )
        self.parent = parent_of_folder(path)
        self.licence = licence_of_folder(path)
        self.name = path.resolve().name
        self._path = path
        self._wording = wording
        self._direction = direction
        self._max_new_tokens = max_new_tokens
        self._device: Device = device
        self._dtype: Dtype = dtype

    @property
    def identity(self) -> Mapping[str, Any]:
        """Weights, type, what is around the text, languages, longest translation."""
        return {
            "kind": "seq2seq",
            "model": self.parent.sha256,
            "dtype": self._dtype,
            "user": self._wording.user,
            "code": self._wording.codes.get(self._direction.source, ""),
            "token": self._wording.tokens.get(self._direction.target, ""),
            "source": self._direction.source,
            "target": self._direction.target,
            "longest": _LONGEST,
            "max_new_tokens": self._max_new_tokens,
        }

    def translate(self, texts: Sequence[str]) -> list[str | Refusal]:
        """Translate line by line; see `Translator`.

        Raises:
            MissingExtraError: transformers is not installed.
            ArtifactError: the folder is no model that transformers can open.
        """
        opened = self._opened
        cuts = [cut(text, size=self._size, most=opened.most) for text in texts]
        lines = {piece.text for pieces in cuts for piece in pieces or () if piece.translated}
        found = self._lines(sorted(lines, key=lambda line: (-self._size(line), line)))
        return [
            Refusal("a sentence is longer than the model reads")
            if pieces is None
            else _together(pieces, found)
            for pieces in cuts
        ]

    def give_up(self) -> None:
        """Nothing waits here."""

    def _size(self, text: str) -> int:
        return len(self._opened.tokenizer(self._asked(text))["input_ids"])

    def _asked(self, line: str) -> str:
        return self._wording.turns(line, direction=self._direction)[-1].text

    def _lines(self, lines: Sequence[str]) -> dict[str, str | Refusal]:
        """Translations of distinct lines, which come longest first."""
        budget = _BATCH_TOKENS[self._opened.device.type]
        found: dict[str, str | Refusal] = {}
        start = 0
        while start < len(lines):
            rows = max(1, budget // self._size(lines[start]))
            batch = lines[start : start + rows]
            found.update(zip(batch, self._batch(batch), strict=True))
            start += rows
        return found

    def _batch(self, lines: Sequence[str]) -> list[str | Refusal]:
        """Translations of some lines; half of them at a time where memory does not hold them."""
        try:
            return self._generate(lines)
        except torch.OutOfMemoryError as error:
            if len(lines) == 1:
                raise UsageError(
                    f"one line does not fit into the memory of {self._opened.device}",
                    remedy="use --device cpu, or --dtype bf16",
                ) from error
            half = len(lines) // 2
        # outside of the handler, which would hold the tensors that did not fit
        torch.cuda.empty_cache()
        return self._batch(lines[:half]) + self._batch(lines[half:])

    @torch.inference_mode()
    def _generate(self, lines: Sequence[str]) -> list[str | Refusal]:
        opened = self._opened
        asked = [self._asked(line) for line in lines]
        inputs = opened.tokenizer(asked, return_tensors="pt", padding=True)
        longest = int(inputs["input_ids"].shape[1])
        most = min(opened.longest, self._max_new_tokens or _ROOM + _SHARE * longest)
        forced = {} if opened.first is None else {"forced_bos_token_id": opened.first}
        ids_BS = opened.model.generate(
            input_ids=inputs["input_ids"].to(opened.device),
            attention_mask=inputs["attention_mask"].to(opened.device),
            max_new_tokens=most,
            do_sample=False,
            **forced,
        )
        texts = opened.tokenizer.batch_decode(ids_BS, skip_special_tokens=True)
        return [
            Refusal("the translation of a line did not end and was cut")
            if self._is_cut(ids_S, most)
            else text.strip()
            for text, ids_S in zip(texts, ids_BS, strict=True)
        ]

    def _is_cut(self, ids_S: torch.Tensor, most: int) -> bool:
        """Whether a row used up its tokens: the first is the start, unused ones are padding."""
        pad: Any = self._opened.model.config.pad_token_id
        return len(ids_S) > most and int(ids_S[-1]) != pad

    @functools.cached_property
    def _opened(self) -> _Opened:
        try:
            from transformers import AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("transformers", extra="transformers") from error
        device = choose_device(self._device)
        model = open_hub_model(
            self._path, "AutoModelForSeq2SeqLM", device=device, dtype=self._dtype, what=_WHAT
        )
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(
                self._path, local_files_only=True, trust_remote_code=False
            )
        except FAILURES as error:
            raise unreadable(self._path, error, what=_WHAT) from error
        code = self._wording.codes.get(self._direction.source)
        if code:
            tokenizer.src_lang = code
        token = self._wording.tokens.get(self._direction.target)
        first: Any = tokenizer.convert_tokens_to_ids(token) if token else None
        if token and first in (None, tokenizer.unk_token_id):
            raise UsageError(
                f"the tokenizer of {self._path} has no token {token!r}, with which wording "
                f"{self._wording.name} has every {self._direction.target} text begin",
                remedy="choose the wording of this model: --prompt bare, nllb, m2m100, mbart50, or "
                "a TOML file of your own",
            )
        limits = [int(n) for key in _LIMITS if (n := getattr(model.config, key, None))]
        places = min(limits, default=_UNLIMITED)
        return _Opened(
            model,
            tokenizer,
            device,
            most=min(_LONGEST, places // 2),
            longest=places - 1,
            first=first,
        )


def _together(pieces: Sequence[Piece], found: Mapping[str, str | Refusal]) -> str | Refusal:
    """Put the translations of a text's lines in their places."""
    parts = [found[piece.text] if piece.translated else piece.text for piece in pieces]
    for part in parts:
        if isinstance(part, Refusal):
            return part
    return "".join(map(str, parts)).strip()
