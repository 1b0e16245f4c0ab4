"""Settings from people: checked whole, with an error that names the key and the nearest right one.

Recipes, pipelines, tracks and verbs all read settings; what `section.key=value` means, where a name
is looked up and how a wrong one is told stands here once.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Callable, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import Discriminator, TypeAdapter, ValidationError

from minna.errors import UsageError, nearest

T = TypeVar("T")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shelf:
    """TOML files of one kind: those that minna brings have names, those of users paths.

    Attributes:
        kind: what one of them is, in words: "recipe".
        package: the package whose data they are.
        folder: theirs in the package.
    """

    kind: str
    package: str
    folder: str

    def names(self) -> list[str]:
        """Names of those that minna brings."""
        files = (resources.files(self.package) / self.folder).iterdir()
        return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))

    def text(self, name: str) -> str:
        """Return the TOML text, by name or path.

        Raises:
            UsageError: there is none.
        """
        known = self.names()
        if name in known:
            file = resources.files(self.package) / self.folder / f"{name}.toml"
            return file.read_text(encoding="utf-8")
        if name.endswith(".toml") and Path(name).is_file():
            return Path(name).read_text(encoding="utf-8")
        raise UsageError(
            f"no {self.kind} {name!r}{nearest(name, known)}",
            remedy=f"{self.kind}s here: {', '.join(known)}; or give the path of a .toml file",
        )

    def content(self, name: str) -> dict[str, Any]:
        """Return the tables, by name or path.

        Raises:
            UsageError: there is none, or it is not TOML.
        """
        try:
            return tomllib.loads(self.text(name))
        except tomllib.TOMLDecodeError as error:
            raise UsageError(
                f"{self.kind} {name} is not TOML: {error}", remedy="correct it"
            ) from error


def by_kind(usual: str, *others: str) -> Discriminator:
    """Tell the classes of a section apart by `kind`; one that is not of the others is the usual.

    So it may be left out, and a wrong one is told what the usual class takes.
    """

    def kind(settings: Any) -> str:
        named: Any = (
            cast("dict[str, Any]", settings).get("kind")
            if isinstance(settings, dict)
            else getattr(settings, "kind", None)
        )
        return named if named in others else usual

    return Discriminator(kind)


def merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Merge nested tables, the top one winning.

    A table that names another `kind` or `family` replaces the one below: its keys would not fit.
    """
    out = dict(base)
    for key, value in top.items():
        below = out.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            lower, upper = cast("Mapping[str, Any]", below), cast("Mapping[str, Any]", value)
            other = any(t in upper and upper[t] != lower.get(t) for t in ("kind", "family"))
            out[key] = dict(upper) if other and len(upper) > 1 else merge(lower, upper)
        else:
            out[key] = value
    return out


def with_overrides(
    content: Mapping[str, Any], overrides: Iterable[str], *, example: str
) -> dict[str, Any]:
    """Return settings with `section.key=value` words laid over them.

    Args:
        content: nested tables.
        overrides: the words; a value is TOML, or text where it is not.
        example: shown when a word is not of this form.

    Raises:
        UsageError: a word without "=" or with an empty key.
    """
    result = dict(content)
    for text in overrides:
        path, equals, value = text.partition("=")
        if not equals or not all(path.split(".")):
            raise UsageError(
                f"an override must be section.key=value, not {text!r}",
                remedy=f"write for example {example}",
            )
        try:
            parsed: Any = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            parsed = value
        for key in reversed(path.split(".")):
            parsed = {key: parsed}
        result = merge(result, parsed)
    return result


def checked(
    kind: type[T],
    content: Mapping[str, Any],
    *,
    remedy: str,
    naming: Callable[[str], str] = str,
) -> T:
    """Make a settings object.

    Args:
        kind: a pydantic dataclass.
        content: nested tables of plain values.
        remedy: what to do about a wrong one.
        naming: how the path of a key is shown, such as "--key".

    Raises:
        UsageError: an unknown key, or a value that is not allowed.
    """
    try:
        return TypeAdapter(kind).validate_python(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        path = [str(part) for part in first["loc"]]
        said = first["msg"].removeprefix("Value error, ")
        if not path:  # of several settings together
            raise UsageError(said, remedy=remedy) from error
        name = naming(".".join(path))
        if first["type"] in ("unexpected_keyword_argument", "extra_forbidden"):
            known = _fields(kind, path[:-1])
            raise UsageError(
                f"{name} is not a setting{nearest(path[-1], known)}",
                remedy=f"known here: {', '.join(known)}" if known else remedy,
            ) from error
        value = "" if isinstance(first["input"], dict) else f" is {first['input']!r}"
        raise UsageError(f"{name}{value}: {said}", remedy=remedy) from error


def _fields(kind: Any, path: list[str]) -> list[str]:
    """Names of the settings of a section."""
    for name in path:
        field = getattr(kind, "__pydantic_fields__", {}).get(name)
        kind = field.annotation if field is not None else None
    return (
        [field.name for field in dataclasses.fields(kind)] if dataclasses.is_dataclass(kind) else []
    )
