"""Dialogues once through the tokenizer: ids, and beside them a byte each for what is learned.

The mask is made where the text is known, and only here. Everything popular that went wrong with
instruction tuning went wrong quietly in masks: a template without marks that learns nothing, an
answer cut off whole, its first token left out. So a dialogue without a learned token is an error,
what is left out is counted by its reason, and `minna inspect RUN --mask` shows what was made.

A dialogue that is longer than a row loses its oldest questions with their answers, never the last
answer; one that is too long even so is left out.

Three contents: "answers" (a document is a dialogue), "pairs" (documents in twos, the same turns
with the better and the worse answer; the last one alone is learned), "prompts" (up to where the
answer begins, with the turns as text beside it, which rewards look at).
"""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict as plain
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from minna import artifact
from minna.artifact.atomic import Draft
from minna.console import progress, say, warn
from minna.corpus.dialogue_corpus import read_dialogues
from minna.corpus.dialogues import Dialogue
from minna.errors import DataError
from minna.prompts import Format, Turn
from minna.streams.shards import MASK, TokenShards, token_dtype
from minna.tokenizer.chat import ChatCoder, Row
from minna.tokenizer.coder import AnyTokenizer, training_tokenizer

Content = Literal["answers", "pairs", "prompts"]
TURNS = ".turns"
"""Ending of the file beside a shard of prompts: their turns, one JSON array a line."""
_SPLITS = ("train", "valid", "test")
_SHARD_DOCUMENTS = 100_000


@dataclass
class _Gathered:
    """Documents of a shard in the making."""

    ids: list[npt.NDArray[np.int64]] = field(default_factory=list[npt.NDArray[np.int64]])
    learned: list[npt.NDArray[np.bool_]] = field(default_factory=list[npt.NDArray[np.bool_]])
    sizes: list[int] = field(default_factory=list[int])
    turns: list[tuple[Turn, ...]] = field(default_factory=list[tuple[Turn, ...]])

    def add(self, row: Row, turns: tuple[Turn, ...]) -> None:
        self.ids.append(row.ids)
        self.learned.append(row.learned)
        self.sizes.append(sum(len(turn.text.encode()) for turn in turns))
        self.turns.append(turns)


def write_dialogues(
    corpus: Path, *, tokenizer: Path, fmt: Format, content: Content, room: int, out: Path
) -> Path:
    """Tokenise every split of a dialogue corpus into `out`; does nothing when it is that already.

    Args:
        corpus: a corpus of dialogues.
        tokenizer: of the model that will learn.
        fmt: the prompt format.
        content: what a document is.
        room: tokens that a document may take (of a pair, both together; of a prompt, up to where
            the answer begins).
        out: where the shards go.

    Raises:
        DataError: the tokenizer names no end of text, a turn cannot be laid out, or nothing is
            left to train on.
        ArtifactError: an input is not what it should be.
    """
    parents = [
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
        artifact.parent_of(tokenizer, role="tokenizer"),
    ]
    words = training_tokenizer(tokenizer)
    settings: dict[str, Any] = {
        "dtype": token_dtype(words.vocab_size).str,
        "eos": words.eos_id,
        "content": content,
        "room": room,
        "format": plain(fmt),
    }
    if artifact.unchanged(out, key=artifact.key_of("tokens", settings=settings, parents=parents)):
        return out
    maker = _Maker(words, fmt, content=content, room=room)
    with (
        artifact.writing(out, kind="tokens", settings=settings, parents=parents) as draft,
        progress() as bar,
    ):
        task = bar.add_task("tokenising dialogues", total=len(_SPLITS), note="")
        for split in _SPLITS:
            for number, gathered in enumerate(_shards(maker, read_dialogues(corpus, split=split))):
                stem = draft.path / f"{split}-{number:05d}"
                _write(stem, gathered, dtype=token_dtype(words.vocab_size), content=content)
            bar.advance(task)
        _finish(draft, maker, corpus=corpus, dtype=token_dtype(words.vocab_size))
    return out


def _finish(draft: Draft, maker: _Maker, *, corpus: Path, dtype: np.dtype[Any]) -> None:
    """Count what there is and what is not; say it."""
    for split in _SPLITS:
        _count(draft, split, dtype)
    for reason, count in maker.left_out.items():
        draft.count(f"left_out_{reason.replace(' ', '_')}", count, "dialogues")
    told = ", ".join(f"{count} {reason}" for reason, count in maker.left_out.items())
    if not draft.counts["train_documents"].value:
        raise DataError(
            f"the corpus {corpus} has no dialogue to train on with {maker.content} in rows of "
            f"{maker.room} tokens (left out: {told or 'none'})",
            remedy="give longer rows, or another corpus (pairs need two answers to compare)",
        )
    documents, learned, tokens = (
        int(draft.counts[f"train_{name}"].value) for name in ("documents", "learned", "tokens")
    )
    say(f"{documents} documents of {maker.content}; {learned} of {tokens} tokens are learned")
    if told:
        why = f"; the first: {maker.refusal}" if maker.refusal else ""
        warn(f"dialogues left out: {told}{why}")
    if maker.shortened:
        warn(f"{maker.shortened} dialogues lost their oldest turns to fit {maker.room} tokens")


def _count(draft: Draft, split: str, dtype: np.dtype[Any]) -> None:
    """Count a split. A function, so that its memory maps are gone before the folder is renamed."""
    shards = TokenShards(draft.path, split=split, dtype=dtype)
    draft.count(f"{split}_documents", shards.documents, "documents")
    draft.count(f"{split}_tokens", shards.tokens, "tokens")
    learned = sum(int(shard.learned.sum()) for shard in shards.shards if shard.learned is not None)
    draft.count(f"{split}_learned", learned, "tokens")
    draft.count(f"{split}_bytes", shards.bytes, "bytes of UTF-8")


class _Maker:
    """Dialogues to documents of one content, and what it left out."""

    def __init__(self, words: AnyTokenizer, fmt: Format, *, content: Content, room: int) -> None:
        self.coder = ChatCoder(words, fmt)
        self.content: Content = content
        self.room = room
        self.left_out: Counter[str] = Counter()
        self.refusal = ""  # why the first of those was none of the format's
        self.shortened = 0

    def documents(self, dialogue: Dialogue) -> list[tuple[Row, tuple[Turn, ...]]]:
        """The documents of a dialogue: none (counted), one, or two."""
        if self.content == "pairs" and not dialogue.rejected:
            self.left_out["without a second answer"] += 1
            return []
        turns, shortened = self.coder.folded(dialogue.turns), False
        while True:
            try:
                rows = self._rows(turns, dialogue.rejected)
            except DataError as error:
                self.left_out["that the format cannot hold"] += 1
                self.refusal = self.refusal or error.rule
                return []
            if self._size(rows) <= self.room:
                break
            shorter = _without_oldest(turns)
            if shorter is None:
                self.left_out["longer than a row"] += 1
                return []
            turns, shortened = shorter, True
        self.shortened += shortened
        return [(row, turns) for row in rows]

    def _rows(self, turns: tuple[Turn, ...], rejected: str) -> list[Row]:
        if self.content == "prompts":
            asked = turns[:-1] if turns[-1].role == "assistant" else turns
            ids = np.array(self.coder.prompt(asked), np.int64)
            return [Row(ids=ids, learned=np.zeros(len(ids), np.bool_))]
        better = self.coder.encode(turns)
        if self.content == "answers":
            return [better]
        worse = self.coder.encode((*turns[:-1], Turn("assistant", rejected)))
        return [_last_alone(better), _last_alone(worse)]

    def _size(self, rows: list[Row]) -> int:
        """Places taken: what ends an answer is read only where a reward stands behind it."""
        spared = 1 if self.content == "answers" else 0
        return sum(len(row.ids) - spared for row in rows)


def _last_alone(row: Row) -> Row:
    """Of a pair earlier answers are part of the question: only the last is learned."""
    learned = row.learned.copy()
    places = np.flatnonzero(~learned)
    # what is learned at the end, behind the last token that is not
    learned[: places[-1] + 1 if len(places) else 0] = False
    return Row(ids=row.ids, learned=learned)


def _without_oldest(turns: tuple[Turn, ...]) -> tuple[Turn, ...] | None:
    """Leave out the oldest question with its answer; None where but one is left."""
    told = 1 if turns[0].role == "system" else 0
    rest = turns[told + 2 :]
    return (*turns[:told], *rest) if rest else None


def _shards(maker: _Maker, dialogues: Iterable[Dialogue]) -> Iterator[_Gathered]:
    gathered = _Gathered()
    for dialogue in dialogues:
        for row, turns in maker.documents(dialogue):
            gathered.add(row, turns)
        if len(gathered.ids) >= _SHARD_DOCUMENTS:
            yield gathered
            gathered = _Gathered()
    if gathered.ids:
        yield gathered


def _write(stem: Path, gathered: _Gathered, *, dtype: np.dtype[Any], content: Content) -> None:
    """Write STEM.bin, STEM.mask (and STEM.turns), and last STEM.npy."""
    lengths = np.array([len(ids) for ids in gathered.ids], np.int64)
    index = np.stack(
        (
            np.concatenate(([0], np.cumsum(lengths))),
            np.concatenate(([0], np.cumsum(np.array(gathered.sizes, np.int64)))),
        )
    )
    buffer = io.BytesIO()
    np.save(buffer, index, allow_pickle=False)
    files = {
        ".bin": np.concatenate(gathered.ids).astype(dtype).tobytes(),
        MASK: np.concatenate(gathered.learned).tobytes(),
        ".npy": buffer.getvalue(),
    }
    if content == "prompts":
        lines = [
            json.dumps([[turn.role, turn.text] for turn in turns], ensure_ascii=False)
            for turns in gathered.turns
        ]
        files = {TURNS: ("\n".join(lines) + "\n").encode(), **files}
    for ending, data in files.items():
        with artifact.replace_file(stem.with_name(stem.name + ending)) as out:
            out.write(data)


def read_turns(shards: TokenShards) -> list[tuple[Turn, ...]]:
    """Return the turns of every document of shards of prompts, up to the question."""
    found: list[tuple[Turn, ...]] = []
    for shard in sorted(shards.path.glob(f"{shards.split}-*{TURNS}")):
        for line in shard.read_bytes().split(b"\n")[:-1]:
            turns = tuple(Turn(role, text) for role, text in cast("list[Any]", json.loads(line)))
            found.append(turns[:-1] if turns[-1].role == "assistant" else turns)
    return found
