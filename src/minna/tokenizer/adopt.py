"""The tokenizer of a model dir from elsewhere, as a tokenizer directory of ours.

Continued pre-training keeps the vocabulary of its base model. Files are copied as they are, so that
ids stay what they were, and get a manifest, so that a run can name what it was trained with. So far
this takes SentencePiece models (Llama 2, rinna's); a tokenizer.json or a tiktoken file alone is
refused.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from minna import artifact
from minna.artifact.files import sha256_file
from minna.errors import ArtifactError
from minna.tokenizer.load import MODEL_NAMES, load_tokenizer

FILES = (
    *MODEL_NAMES,
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "match.json",
)
"""What a folder may hold of a tokenizer."""


def adopt_tokenizer(base: Path, *, out: Path) -> Path:
    """Copy the tokenizer of the model dir `base` into the tokenizer directory `out`.

    Returns:
        `out`; nothing is done where it is that tokenizer already.

    Raises:
        ArtifactError: `base` holds no SentencePiece model.
        DataError: the model cannot be read.
    """
    if not any((base / name).is_file() for name in MODEL_NAMES):
        raise ArtifactError(
            f"{base} holds no SentencePiece model ({' or '.join(MODEL_NAMES)})",
            remedy="training reads those alone so far; a tokenizer.json or a tiktoken file is read "
            "only in evaluation",
        )
    found = [base / name for name in FILES if (base / name).is_file()]
    settings = {"kind": "base", "files": {file.name: sha256_file(file) for file in found}}
    if artifact.unchanged(out, key=artifact.key_of("tokenizer", settings=settings, parents=[])):
        return out
    words = load_tokenizer(base)
    with artifact.writing(out, kind="tokenizer", settings=settings) as draft:
        for file in found:
            shutil.copyfile(file, draft.path / file.name)
        draft.count("vocabulary", words.vocab_size, "pieces")
    return out
