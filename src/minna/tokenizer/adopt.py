"""The tokenizer of a model dir from elsewhere, as a tokenizer directory of ours.

Continued pre-training keeps the vocabulary of its base model. Files are copied as they are, so that
ids stay what they were, and get a manifest, so that a run can name what it was trained with. What
transformers reads only with code of a hub (Qwen's tiktoken file), or no longer (vocab.json with
merges.txt), gets its equal in tokenizer.json; an `auto_map`, which names such code, stays behind.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from minna import artifact
from minna.artifact.files import sha256_file, write_text_atomically
from minna.tokenizer.coder import training_tokenizer
from minna.tokenizer.fast import FastTokenizer
from minna.tokenizer.folder import read_object
from minna.tokenizer.load import MODEL_NAMES
from minna.tokenizer.tiktoken import find_tiktoken

FILES = (
    *MODEL_NAMES,
    "tokenizer.json",
    "vocab.json",
    "merges.txt",
    "qwen.tiktoken",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "match.json",
)
"""What a folder may hold of a tokenizer."""

_CONFIG = "tokenizer_config.json"


def adopt_tokenizer(base: Path, *, out: Path) -> Path:
    """Copy the tokenizer of the model dir `base` into the tokenizer directory `out`.

    Returns:
        `out`; nothing is done where it is that tokenizer already.

    Raises:
        ArtifactError: `base` holds no tokenizer.
        DataError: it cannot be read.
    """
    words = training_tokenizer(base)
    names = {*FILES, *(file.name for file in [find_tiktoken(base)] if file)}
    found = [base / name for name in sorted(names) if (base / name).is_file()]
    settings = {"kind": "base", "files": {file.name: sha256_file(file) for file in found}}
    if artifact.unchanged(out, key=artifact.key_of("tokenizer", settings=settings, parents=[])):
        return out
    with artifact.writing(out, kind="tokenizer", settings=settings) as draft:
        for file in found:
            shutil.copyfile(file, draft.path / file.name)
        _settle_config(draft.path, words)
        draft.count("vocabulary", words.vocab_size, "pieces")
    return out


def _settle_config(out: Path, words: Any) -> None:
    """Let transformers open the folder without code of a hub: as the file that is there."""
    config = read_object(out / _CONFIG)
    if isinstance(words, FastTokenizer) and not (out / "tokenizer.json").is_file():
        write_text_atomically(out / "tokenizer.json", words.as_json())
        config |= words.special_texts
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        config.setdefault("clean_up_tokenization_spaces", False)
    elif config.pop("auto_map", None) is None:
        return  # as it was, to the byte
    elif (out / "tokenizer.json").is_file():
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
    config.pop("auto_map", None)
    text = json.dumps(config, ensure_ascii=False, indent=1) + "\n"
    write_text_atomically(out / _CONFIG, text)
