"""The data of the GPU pack: token shards and their tokenizer, small enough to carry.

A lent GPU has no network and no corpus, so what it trains on is made where the corpus is. Two bytes
a token under a vocabulary of 65,536: 60 MB hold 30 M tokens, 45 s of an H100 at 600,000 tokens/s,
so a longer run tells them again.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

LIMIT_BYTES = 60_000_000
_NAME = "bundle.json"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """What a bundle holds; `files` are name -> (sha256, bytes)."""

    vocab: int
    eos: int
    train_tokens: int
    valid_documents: int
    bytes: int
    files: dict[str, tuple[str, int]]


def pack(out: Path, *, corpus: Path, tokenizer: Path, limit: int = LIMIT_BYTES) -> Bundle:
    """Write `out`/tokens, `out`/tokenizer and `out`/bundle.json.

    Raises:
        DataError: more than `limit` bytes, or nothing to train on.
    """
    from minna.artifact.files import write_text_atomically
    from minna.errors import DataError
    from minna.streams import TokenShards, write_tokens
    from minna.tokenizer.load import load_tokenizer

    words = load_tokenizer(tokenizer)
    write_tokens(corpus, tokenizer=tokenizer, out=out / "tokens")
    if (out / "tokenizer").exists():
        shutil.rmtree(out / "tokenizer")
    shutil.copytree(tokenizer, out / "tokenizer")
    files = dict(_digests(out))
    size = sum(size for _, size in files.values())
    if size > limit:
        raise DataError(
            f"the bundle {out} has {size / 1e6:.1f} MB, and {limit / 1e6:.0f} MB is what travels",
            remedy="give a smaller corpus (`minna corpus build ... --limit`)",
        )
    bundle = Bundle(
        vocab=words.vocab_size,
        eos=words.eos_id,
        train_tokens=TokenShards(out / "tokens", split="train").tokens,
        valid_documents=TokenShards(out / "tokens", split="valid").documents,
        bytes=size,
        files=files,
    )
    write_text_atomically(out / _NAME, json.dumps(asdict(bundle), indent=1) + "\n")
    return bundle


def open_bundle(folder: Path, *, limit: int = LIMIT_BYTES) -> Bundle:
    """Read a bundle and check every file.

    Raises:
        ArtifactError: not a bundle, too large, or a file is missing or changed.
    """
    from minna.errors import ArtifactError

    again = "make it again: python bench/gpu_pack.py --pack DIR --corpus C --tokenizer T"
    if not (folder / _NAME).is_file():
        raise ArtifactError(f"{folder} is no bundle: it has no {_NAME}", remedy=again)
    content: dict[str, Any] = json.loads((folder / _NAME).read_text(encoding="utf-8"))
    files = {name: (str(digest), int(size)) for name, (digest, size) in content["files"].items()}
    bundle = Bundle(**content | {"files": files})
    if bundle.bytes > limit:
        raise ArtifactError(f"{folder} has {bundle.bytes} bytes, over {limit}", remedy=again)
    found = dict(_digests(folder))
    wrong = sorted(name for name in files if found.get(name) != files[name])
    if wrong:
        raise ArtifactError(
            f"{folder}: missing or changed since it was packed: {', '.join(wrong[:4])}",
            remedy=again,
        )
    return bundle


def rows(
    folder: Path, *, micro_rows: int, row_tokens: int, attention: str, eos: int
) -> Iterator[dict[str, Any]]:
    """Batches of the bundle's training text, as minna's own stream makes them."""
    from minna.streams import TextStream, TextStreamSettings, TokenShards

    settings = TextStreamSettings(
        row_tokens=row_tokens,
        attention="within" if attention == "within" else "across",
    )
    shards = TokenShards(folder / "tokens", split="train")
    return TextStream(shards, settings=settings, rows=micro_rows, eos=eos, seed=0)


def _digests(folder: Path) -> Iterator[tuple[str, tuple[str, int]]]:
    from minna.artifact.files import sha256_file

    for part in ("tokens", "tokenizer"):
        for path in sorted((folder / part).rglob("*")):
            if path.is_file():
                name = path.relative_to(folder).as_posix()
                yield name, (sha256_file(path), path.stat().st_size)
