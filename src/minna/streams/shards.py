"""Token shards: the corpus once through the tokenizer, then read as memory-mapped integers.

A random batch from a memory map costs microseconds (113 M tokens/s measured, four orders above what
two cores can train), so there are no loader workers to start, kill or resume. Two bytes a token up
to a vocabulary of 65,536.

One corpus file gives one shard per split, written whole or not at all, so an interrupted pass goes
on with the next file. Each document ends in `</s>`. Of a mixture, each component's file is
tokenised once, and `repeats.json` says how often an epoch tells each shard.
"""

from __future__ import annotations

import functools
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from minna import artifact
from minna.artifact.files import write_text_atomically
from minna.console import progress
from minna.corpus import read
from minna.errors import ArtifactError, DataError
from minna.tokenizer.coder import AnyTokenizer, training_tokenizer
from minna.units import format_count

_SPLITS = ("train", "valid", "test")
_UINT16_VOCABULARY = 1 << 16
_REPEATS = "repeats.json"
MASK = ".mask"
"""Ending of the file beside a shard that says which of its tokens are learned, a byte each."""


def token_dtype(vocab_size: int) -> np.dtype[Any]:
    """Return the integer type of a shard on disk (little-endian)."""
    return np.dtype("<u2" if vocab_size <= _UINT16_VOCABULARY else "<u4")


def write_tokens(corpus: Path, *, tokenizer: Path, out: Path, threads: int = 2) -> Path:
    """Tokenise every split of a corpus into `out`; does nothing when `out` is already that.

    Raises:
        DataError: the corpus has no training documents, or the tokenizer no end of text.
        ArtifactError: an input is not what it should be.
    """
    parents = [
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
        artifact.parent_of(tokenizer, role="tokenizer"),
    ]
    words = training_tokenizer(tokenizer)
    if words.eos_id < 0:
        raise DataError(
            f"the tokenizer {tokenizer} names no token that ends a text, and every document ends "
            "in one",
            remedy='name it: "eos_token" in tokenizer_config.json',
        )
    settings: dict[str, Any] = {"dtype": token_dtype(words.vocab_size).str, "eos": words.eos_id}
    if artifact.unchanged(out, key=artifact.key_of("tokens", settings=settings, parents=parents)):
        return out
    parts = read.parts(corpus)
    with (
        artifact.writing(out, kind="tokens", settings=settings, parents=parents) as draft,
        progress() as bar,
    ):
        task = bar.add_task("tokenising", total=len(parts), note="")
        for part in parts:
            for split in _SPLITS:
                stem = draft.path / f"{split}-{part.number:05d}"
                _write_shard(part, split, words, stem, threads)
            bar.advance(task)
        _write_repeats(draft.path, parts)
        for split in _SPLITS:
            _count(draft, split, token_dtype(words.vocab_size))
        if not draft.counts["train_documents"].value:
            raise DataError(
                f"the corpus {corpus} has no training documents",
                remedy="build it with more documents, or with smaller --valid and --test",
            )
    return out


def _count(draft: artifact.Draft, split: str, dtype: np.dtype[Any]) -> None:
    """Count a split. A function, so that its memory maps are gone before the folder is renamed."""
    shards = TokenShards(draft.path, split=split, dtype=dtype)
    draft.count(f"{split}_documents", shards.documents, "documents")
    draft.count(f"{split}_tokens", shards.tokens, "tokens")
    draft.count(f"{split}_bytes", shards.bytes, "bytes of UTF-8, one more a document")


def _write_repeats(out: Path, parts: list[read.Part]) -> None:
    """Write repeats.json, unless every document is told once."""
    if all(part.repeats == 1 for part in parts):
        return
    repeats = {f"{part.number:05d}": part.repeats for part in parts}
    content = {"seed": parts[0].seed, "repeats": repeats}
    write_text_atomically(out / _REPEATS, json.dumps(content, indent=1) + "\n")


def _write_shard(
    part: read.Part, split: str, words: AnyTokenizer, stem: Path, threads: int
) -> None:
    """Write STEM.bin (tokens) and, last, STEM.npy (offsets and bytes): the mark of a whole one."""
    index_file = stem.with_name(stem.name + ".npy")
    if index_file.is_file():
        return
    lengths: list[npt.NDArray[np.int64]] = []
    sizes: list[int] = []
    dtype = token_dtype(words.vocab_size)
    with artifact.replace_file(stem.with_name(stem.name + ".bin")) as out:
        for texts in read.part_texts(part, split=split):
            flat, offsets = words.encode_batch(texts, threads=threads)
            ended = np.insert(flat, offsets[1:], words.eos_id)
            out.write(ended.astype(dtype).tobytes())
            lengths.append(np.diff(offsets).astype(np.int64) + 1)
            sizes.extend(len(text.encode()) + 1 for text in texts)
    counts = np.concatenate(lengths) if lengths else np.zeros(0, np.int64)
    offsets = np.concatenate(([0], np.cumsum(counts)))
    ends = np.concatenate(([0], np.cumsum(np.asarray(sizes, dtype=np.int64))))
    buffer = io.BytesIO()
    np.save(buffer, np.stack((offsets, ends)), allow_pickle=False)
    with artifact.replace_file(index_file) as out:
        out.write(buffer.getvalue())


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One shard: `tokens` [tokens] and `offsets` [documents + 1], both memory-mapped.

    Attributes:
        byte_ends: [documents + 1] where each document begins in bytes.
        repeats: how often an epoch tells each document.
        seed, number: of the mixture, and of the shard in it: what a fraction of a repeat takes.
        learned: [tokens] whether training learns to write each, of dialogues; None is all.
    """

    tokens: npt.NDArray[np.unsignedinteger[Any]]
    offsets: npt.NDArray[np.int64]
    byte_ends: npt.NDArray[np.int64]
    repeats: float = 1.0
    seed: int = 0
    number: int = 0
    learned: npt.NDArray[np.bool_] | None = None

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.offsets) - 1


class TokenShards:
    """One split of a tokens directory."""

    def __init__(self, path: Path, *, split: str, dtype: np.dtype[Any] | None = None) -> None:
        self.path, self.split = path, split
        if dtype is None:
            dtype = np.dtype(artifact.read_manifest(path, kind="tokens").settings["dtype"])
        self.dtype = dtype
        self._repeats: dict[str, float] = {}
        self._seed = 0
        if split == "train" and (path / _REPEATS).is_file():
            content = json.loads((path / _REPEATS).read_text(encoding="utf-8"))
            self._repeats, self._seed = content["repeats"], content["seed"]
        stems = sorted(path.glob(f"{split}-*.npy"))
        self.shards = [shard for stem in stems if (shard := self._open(stem)).documents]

    def _open(self, index_file: Path) -> Shard:
        index = np.load(index_file, mmap_mode="r", allow_pickle=False)
        file = index_file.with_suffix(".bin")
        offsets: npt.NDArray[np.int64] = index[0]
        expected = int(offsets[-1]) * self.dtype.itemsize
        actual = file.stat().st_size if file.is_file() else 0
        if actual != expected:
            raise ArtifactError(
                f"token shard {file} has {actual} bytes, not {expected}",
                remedy=f"remove {self.path} and run the same command again: it is made anew",
            )
        tokens = (
            np.memmap(file, dtype=self.dtype, mode="r") if expected else np.zeros(0, self.dtype)
        )
        number = index_file.stem.rpartition("-")[2]
        mask = index_file.with_suffix(MASK)
        return Shard(
            tokens=tokens,
            offsets=offsets,
            byte_ends=index[1],
            repeats=self._repeats.get(number, 1.0),
            seed=self._seed,
            number=int(number),
            learned=np.memmap(mask, dtype=np.bool_, mode="r") if mask.is_file() else None,
        )

    @functools.cached_property
    def documents(self) -> int:
        """Number of documents."""
        return sum(shard.documents for shard in self.shards)

    @functools.cached_property
    def tokens(self) -> int:
        """Number of tokens, the end of each document counted."""
        return sum(int(shard.offsets[-1]) for shard in self.shards)

    @functools.cached_property
    def bytes(self) -> int:
        """UTF-8 bytes of the text, one more for the end of each document."""
        return sum(int(shard.byte_ends[-1]) for shard in self.shards)

    @functools.cached_property
    def epoch_tokens(self) -> float:
        """Tokens of an epoch, repeats counted (on average over epochs)."""
        return sum(int(shard.offsets[-1]) * shard.repeats for shard in self.shards)

    @functools.cached_property
    def epoch_bytes(self) -> float:
        """Bytes of an epoch, repeats counted (on average over epochs)."""
        return sum(int(shard.byte_ends[-1]) * shard.repeats for shard in self.shards)

    def words(self) -> str:
        """What there is, for the lines before step 0; what repeats make of it."""
        told = (
            f"{format_count(self.tokens)} tokens, {format_count(self.documents)} documents, "
            f"{self.bytes / self.tokens:.2f} bytes per token"
        )
        if all(shard.repeats == 1 for shard in self.shards):
            return told
        return f"{told}; an epoch tells {format_count(self.epoch_tokens)} of them, repeats counted"

    def epochs(self, *, tokens: float, row_tokens: int) -> float:  # noqa: ARG002 - rows are full
        """How often `tokens` of training tell all of it."""
        return tokens / self.epoch_tokens
