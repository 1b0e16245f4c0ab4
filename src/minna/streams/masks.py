"""What a model of dialogues will learn, as text: the check that every mask deserves.

A mask that is off by one, or all of one kind, trains without a word and shows in no loss curve. So
what was tokenised is turned back into text, in stretches of what is learned and what is not.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from minna import artifact
from minna.errors import UsageError
from minna.streams.chat import Documents
from minna.streams.shards import TokenShards
from minna.tokenizer.coder import load_coder


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A part of a document.

    Attributes:
        text: of its tokens, special ones as their own text.
        learned: whether training learns to write it.
        tokens: how many.
    """

    text: str
    learned: bool
    tokens: int


def stretches(tokens: Path, *, split: str = "train", limit: int = 5) -> list[list[Stretch]]:
    """Turn the first documents of token shards of dialogues back into text.

    Args:
        tokens: a tokens directory, or a run that has one.
        split: train, valid or test.
        limit: documents.

    Raises:
        UsageError: they are of plain text, of which everything is learned.
        ArtifactError: there are no token shards, or their tokenizer is gone.
    """
    place = tokens / "tokens" if (tokens / "tokens").is_dir() else tokens
    manifest = artifact.read_manifest(place, kind="tokens")
    if "format" not in manifest.settings:
        raise UsageError(
            f"{place} is plain text: every token of it is learned",
            remedy="--mask is for runs on dialogues",
        )
    coder = load_coder(Path(manifest.parent("tokenizer").path))
    documents = Documents(TokenShards(place, split=split))
    found: list[list[Stretch]] = []
    for number in range(min(limit, documents.count)):
        ids, learned = documents[number]
        pairs = zip(ids.tolist(), learned.tolist(), strict=True)
        parts = [
            (mark, [number for number, _ in group])
            for mark, group in itertools.groupby(pairs, key=lambda pair: pair[1])
        ]
        found.append(
            [
                Stretch(text=coder.decode_all(part), learned=mark, tokens=len(part))
                for mark, part in parts
            ]
        )
    return found
