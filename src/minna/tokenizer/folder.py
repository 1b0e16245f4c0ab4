"""What the JSON files beside a tokenizer say: special tokens, added tokens, the chat template.

transformers has spread these over five files since 2019, and folders of every age are evaluated. A
later file wins where two name the same thing, as it does there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minna.errors import DataError

ROLES = tuple(f"{role}_token" for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"))


@dataclass(frozen=True, kw_only=True)
class Folder:
    """A tokenizer folder without its vocabulary.

    Attributes:
        specials: text of each special token that has a role, such as {"eos_token": "</s>"}.
        more_specials: further special tokens, without a role.
        added: ids of tokens that are not in the vocabulary's own file (or are named again there).
        added_specials: which of `added` are special.
        chat_template: Jinja source, None without one.
        literals: whether a special token typed in a text stays text (`split_special_tokens`).
        legacy: whether each stretch between special tokens gets its own space in front, as the
            SentencePiece tokenizers of transformers did unless told otherwise.
        tokenizer_class: transformers' name of the class, "" where none is given.
        add_bos: whether transformers puts the bos token in front of a text; None where the config
            does not say.
        eos_id: of config.json or generation_config.json, -1 where neither names one.
    """

    specials: dict[str, str]
    more_specials: tuple[str, ...]
    added: dict[str, int]
    added_specials: frozenset[str]
    chat_template: str | None
    literals: bool
    legacy: bool
    tokenizer_class: str
    add_bos: bool | None
    eos_id: int

    @property
    def special_texts(self) -> frozenset[str]:
        """Texts of all special tokens."""
        return frozenset(self.specials.values()) | {*self.more_specials} | self.added_specials


def read_folder(path: Path) -> Folder:
    """Read the JSON files of the folder at `path`; all of them may be missing.

    Raises:
        DataError: one is not a JSON object.
    """
    config = read_object(path / "tokenizer_config.json")
    named = config | read_object(path / "special_tokens_map.json")
    decoder: dict[str, Any] = config.get("added_tokens_decoder") or {}
    added = {str(k): int(v) for k, v in read_object(path / "added_tokens.json").items()}
    added |= {_content(entry): int(number) for number, entry in decoder.items()}
    more: list[Any] = []
    for key in ("additional_special_tokens", "extra_special_tokens"):
        value: Any = named.get(key) or []
        more += list(value.values()) if isinstance(value, dict) else value
    return Folder(
        specials={role: _content(named[role]) for role in ROLES if named.get(role)},
        more_specials=tuple(_content(entry) for entry in more),
        added=added,
        added_specials=frozenset(
            _content(entry)
            for entry in decoder.values()
            if isinstance(entry, dict) and entry.get("special")
        ),
        chat_template=_chat_template(path, config),
        literals=config.get("split_special_tokens") is True,
        legacy=config.get("legacy") is not False,
        tokenizer_class=str(config.get("tokenizer_class") or ""),
        add_bos=None if config.get("add_bos_token") is None else bool(config["add_bos_token"]),
        eos_id=_eos_id(path),
    )


def _chat_template(path: Path, config: dict[str, Any]) -> str | None:
    alone = path / "chat_template.jinja"
    if alone.is_file():
        return alone.read_text(encoding="utf-8")
    value: Any = read_object(path / "chat_template.json").get("chat_template")
    value = value or config.get("chat_template")
    if isinstance(value, list):
        by_name: dict[str, str] = {entry["name"]: entry["template"] for entry in value}
        return by_name.get("default")
    return value or None


def _eos_id(path: Path) -> int:
    for name in ("generation_config.json", "config.json"):
        value: Any = read_object(path / name).get("eos_token_id")
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, int):
            return value
    return -1


def _content(entry: Any) -> str:
    """A token is a string, or an object that carries it with flags."""
    return str(entry["content"]) if isinstance(entry, dict) else str(entry)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON object; {} where there is no such file.

    Raises:
        DataError: it is not a JSON object.
    """
    if not path.is_file():
        return {}
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}", remedy="fetch or make it again") from error
    if not isinstance(value, dict):
        raise DataError(f"{path} must hold a JSON object", remedy="fetch or make it again")
    return value  # pyright: ignore[reportUnknownVariableType] - keys of JSON objects are strings
