"""A tokenizer whose tokens cross seams, made-up tasks and documents."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from minna.evaluate.records import Document, Splits
from minna.evaluate.task import Chosen, Task

PIECES = ["答え", "答えは", "はい", "いいえ", "です", "ab", "abc", "bc", "。\n", "<NL>", "問題"]


class LongestMatch:
    """Takes the longest known piece at each place, else the character: joins change the ids."""

    def __init__(
        self,
        *,
        eos_text: str = "</s>",
        chat_template: str | None = None,
        bos_ids: tuple[int, ...] = (),
    ) -> None:
        self.bos_ids = bos_ids
        self.eos_text = eos_text
        self.eos_id = 1 if eos_text else -1
        self.special_texts = {"eos_token": eos_text} if eos_text else {}
        self.chat_template = chat_template
        self.vocab_size = 0x110000 + 2 + len(PIECES)
        self.sha256 = "0" * 64
        self._pieces = sorted(PIECES, key=len, reverse=True)
        self._ids = {piece: 0x110000 + 2 + number for number, piece in enumerate(PIECES)}
        self._texts = {number: piece for piece, number in self._ids.items()}

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        while text:
            if self.eos_text and text.startswith(self.eos_text):
                ids.append(1)
                text = text[len(self.eos_text) :]
                continue
            piece = next((p for p in self._pieces if text.startswith(p)), text[0])
            ids.append(self._ids.get(piece, ord(piece) + 2 if len(piece) == 1 else 0))
            text = text[len(piece) :]
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        return self.decode_all(number for number in ids if number != 1)

    def decode_all(self, ids: Iterable[int]) -> str:
        return "".join(self.eos_text if n == 1 else self._texts.get(n) or chr(n - 2) for n in ids)


class Characters(LongestMatch):
    """One id for each character, so that lengths can be counted by eye."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._pieces = []


def make_task(**changes: Any) -> Chosen:
    """A generation task with one version and one prompt; `prompt` and `version` change those."""
    prompt = {"code": "1", "versions": (), "input": "問:{question}\n答:"}
    prompt |= changes.pop("prompt", {})
    version = {"version": "1.0"} | changes.pop("version", {})
    values: dict[str, Any] = {
        "name": "made",
        "title": {"en": "made up"},
        "kind": "generate",
        "reader": "rows",
        "metrics": ("exact_match",),
        "shots": 2,
        "version": "1.0",
        "prompt": "1",
        "files": {"scored": ("valid.json",), "shots": ("train.json",)},
        "source": {"title": "made up", "url": "https://example.org/made", "licence": "CC0-1.0"},
        "versions": (version,),
        "prompts": (prompt,),
    }
    task = Task.model_validate(values | changes)
    return Chosen(task=task, version=task.versions[0], prompt=task.prompts[0])


def make_documents(count: int, *, prefix: str = "d", **rest: Any) -> tuple[Document, ...]:
    """Questions that differ, each with one answer."""
    return tuple(
        Document(
            id=f"{prefix}{number}",
            fields={"question": f"{prefix}の{number}番"},
            answers=(f"{number}です",),
            **rest,
        )
        for number in range(count)
    )


def make_splits(scored: tuple[Document, ...], shots: tuple[Document, ...] = ()) -> Splits:
    return Splits(scored=scored, shots=shots, sha256="0" * 64)
