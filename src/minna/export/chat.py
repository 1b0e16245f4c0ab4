"""A prompt format in a model dir, as the chat template that everybody's tools read.

chat_template.jinja is the only place where the format stands: `minna chat`, transformers, vLLM and
llama.cpp all ask through it. transformers needs two things besides. The template writes the token
that ends a text, so it must have a name; and that token must become its id, where our tokenizers
otherwise keep what is typed as text (`split_special_tokens`): a stranger's turn that spells "</s>"
then ends one in transformers too, unless `sanitize_control_tokens` is set. minna keeps it text.
"""

from __future__ import annotations

import json
from pathlib import Path

from minna.artifact.files import write_text_atomically
from minna.errors import DataError
from minna.prompts import Format, chat_template
from minna.tokenizer.coder import load_coder
from minna.tokenizer.folder import read_object

_CONFIG = "tokenizer_config.json"


def write_chat_template(folder: Path, fmt: Format) -> None:
    """Write chat_template.jinja for a format, and settle tokenizer_config.json for it.

    Args:
        folder: a model dir in the making, its tokenizer's files already there. A template that came
            with them is replaced: the model was tuned on this one.
        fmt: what the model was tuned on.

    Raises:
        ArtifactError: no tokenizer is there.
        DataError: it names no token that ends a text.
    """
    end = load_coder(folder).eos_text
    if not end:
        raise DataError(
            f"the tokenizer in {folder} names no token that ends a text, and the chat template of "
            f"format {fmt.name} writes it",
            remedy=f'name it: "eos_token" in {_CONFIG}',
        )
    config = read_object(folder / _CONFIG)
    config.pop("chat_template", None)
    named = read_object(folder / "special_tokens_map.json") | config
    # what stands behind a special token was trained without a space of the tokenizer's in front
    config |= {"split_special_tokens": False, "legacy": False}
    if not named.get("eos_token"):
        config["eos_token"] = end
    write_text_atomically(folder / _CONFIG, json.dumps(config, ensure_ascii=False, indent=1) + "\n")
    (folder / "chat_template.json").unlink(missing_ok=True)
    write_text_atomically(folder / "chat_template.jinja", chat_template(fmt))
