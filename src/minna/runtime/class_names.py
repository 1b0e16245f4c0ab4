"""What classes are called and in which sentences: the two lists a zero-shot classifier is made of.

Both decide figures by points, so nothing is guessed: a template without a slot for the name gives
every class the same text, and a name that stands for two classes is a ceiling (9 of the paper's
1,000 names do: nobody can tell the two kinds of クレーン apart). The first is refused, the second
told.

Names are read from plain lists, from ID TAB NAME tables, and from JSON, also in the form in which
the paper's 1,000 names and 37 templates are published. Several names of one class (犬,いぬ) are
aliases: commas in a line of text, a list in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

from minna.errors import DataError, UsageError

_SLOT = re.compile(r"\{c?\}")
_COLUMNS = 2
OWN_TEMPLATES: Final = ("drawings", "photos")
PLAIN: Final = "none"
_TEMPLATES_REMEDY = "write {} where the name stands, such as {}の写真"


@dataclass(frozen=True, kw_only=True)
class PictureClass:
    """One class: how its data are labelled, and what it is called.

    Attributes:
        id: as folders name it (n02084071); the row number where a list has names alone.
        names: at least one; the first is shown, all of them are asked with.
    """

    id: str
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        """What people are shown."""
        return self.names[0]


@dataclass(frozen=True, kw_only=True)
class Templates:
    """Sentences with a slot.

    Attributes:
        title: "none", "drawings", "photos" or a file's name.
        texts: each with {} or {c} where the name stands.
    """

    title: str
    texts: tuple[str, ...]


WITHOUT: Final = Templates(title=PLAIN, texts=("{}",))
"""The name alone."""


def fill(template: str, name: str) -> str:
    """The sentence with the name in its slot."""
    return _SLOT.sub(lambda _: name, template)


def read_classes(file: Path) -> tuple[PictureClass, ...]:
    """Read class names from a .json, .tsv (ID TAB NAME) or text file (a class a line).

    Raises:
        DataError: not readable, a class without a name, fewer than two classes, an id twice.
    """
    if file.suffix.lower() == ".json":
        classes = _classes_of_json(_json(file), file)
    else:
        lines = _lines(file)
        if any("\t" in line for line in lines.values()):
            classes = [_class_of_row(line, number, file) for number, line in lines.items()]
        else:
            classes = [
                _class(str(place), line.split(","), where=f"line {number} of {file}")
                for place, (number, line) in enumerate(lines.items())
            ]
    return checked_classes(classes, where=str(file))


def classes_of(names: Sequence[str]) -> tuple[PictureClass, ...]:
    """Make classes of names as typed, aliases with commas: 犬,いぬ.

    Raises:
        DataError: an empty name, or fewer than two.
    """
    made = [
        _class(str(place), name.split(","), where=f"name {place + 1}")
        for place, name in enumerate(names)
    ]
    return checked_classes(made, where="the names given")


def checked_classes(classes: Iterable[PictureClass], *, where: str) -> tuple[PictureClass, ...]:
    """The classes, if one can choose between them.

    Raises:
        DataError: fewer than two, or two with the same id.
    """
    found = tuple(classes)
    if len(found) < 2:  # noqa: PLR2004 - there is nothing to tell apart
        raise DataError(
            f"a classifier needs at least two classes, and {where} has {len(found)}",
            remedy="add what it should be told apart from",
        )
    seen: set[str] = set()
    for one in found:
        if one.id in seen:
            raise DataError(f"the class {one.id!r} stands twice in {where}", remedy="name it once")
        seen.add(one.id)
    return found


def shared_names(classes: Sequence[PictureClass]) -> dict[str, tuple[str, ...]]:
    """Names that stand for more than one class, with the ids of those."""
    owners: dict[str, list[str]] = {}
    for one in classes:
        for name in dict.fromkeys(one.names):
            owners.setdefault(name, []).append(one.id)
    return {name: tuple(ids) for name, ids in owners.items() if len(ids) > 1}


def read_templates(choice: str) -> Templates:
    """The templates of a word (none, drawings, photos) or of a .txt or .json file.

    Raises:
        UsageError: neither a word nor a file.
        DataError: the file cannot be read, is empty, or a template has no slot.
    """
    if choice == PLAIN:
        return WITHOUT
    if choice in OWN_TEMPLATES:
        own = resources.files("minna.runtime") / "templates" / f"{choice}.txt"
        lines = own.read_text(encoding="utf-8").splitlines()
        return Templates(title=choice, texts=tuple(line for line in lines if line))
    file = Path(choice)
    if not file.is_file():
        raise UsageError(
            f"there are no templates {choice!r}: no such file, and no such list",
            remedy=f"use {', '.join((PLAIN, *OWN_TEMPLATES))}, or a file of templates",
        )
    is_json = file.suffix.lower() == ".json"
    texts: list[Any] = _only_list(_json(file), file) if is_json else list(_lines(file).values())
    if not texts:
        raise DataError(f"{file} holds no template", remedy=_TEMPLATES_REMEDY)
    for number, text in enumerate(texts, start=1):
        if not isinstance(text, str) or not _SLOT.search(text):
            raise DataError(
                f"template {number} of {file} has no slot for the name: {text!r}",
                remedy=_TEMPLATES_REMEDY,
            )
    return Templates(title=file.stem, texts=tuple(texts))


def _class(identity: str, names: Iterable[str], *, where: str) -> PictureClass:
    kept = tuple(dict.fromkeys(name.strip() for name in names if name.strip()))
    if not kept:
        raise DataError(f"{where}: the class {identity!r} has no name", remedy="give it one")
    return PictureClass(id=identity, names=kept)


def _class_of_row(line: str, number: int, file: Path) -> PictureClass:
    columns = line.split("\t")
    if len(columns) != _COLUMNS or not columns[0].strip():
        raise DataError(
            f"line {number} of {file} has {len(columns)} columns, not an id and a name: {line!r}",
            remedy="write ID TAB NAME, with commas between several names of a class",
        )
    return _class(columns[0].strip(), columns[1].split(","), where=f"line {number} of {file}")


def _classes_of_json(content: Any, file: Path) -> list[PictureClass]:
    """From [name or [names]], {id: name or [names]}, or {set: [...]}, as published sets are."""
    if isinstance(content, dict) and not _is_set(content):
        pairs = [(str(key), value) for key, value in content.items()]
    else:
        pairs = [(str(place), value) for place, value in enumerate(_only_list(content, file))]
    made: list[PictureClass] = []
    for identity, value in pairs:
        names: list[Any] = value if isinstance(value, list) else [value]
        if not all(isinstance(name, str) for name in names):
            raise DataError(
                f"the class {identity!r} of {file} is no name and no list of names: {value!r}",
                remedy='write ["犬", ["猫", "ねこ"]] or {"n02084071": "犬"}',
            )
        made.append(_class(identity, names, where=str(file)))
    return made


def _is_set(content: dict[str, Any]) -> bool:
    """Whether an object is {name of a set: [...]}: as a single class it would make no sense."""
    return len(content) == 1 and isinstance(next(iter(content.values())), list)


def _only_list(content: Any, file: Path) -> list[Any]:
    if isinstance(content, dict) and _is_set(content):
        content = next(iter(content.values()))
    if not isinstance(content, list):
        raise DataError(
            f"{file} must hold a list, or one list under one name",
            remedy="see docs/pictures-use.md",
        )
    return content


def _json(file: Path) -> Any:
    try:
        return json.loads(_text(file))
    except ValueError as error:
        raise DataError(f"{file} is not JSON: {error}", remedy="mend the file") from error


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise UsageError(f"{file} does not exist", remedy="check the path") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} cannot be read as UTF-8 text: {error}") from error


def _lines(file: Path) -> dict[int, str]:
    """The lines that hold anything, by number from 1."""
    lines = _text(file).replace("\r\n", "\n").split("\n")
    return {number: line for number, line in enumerate(lines, start=1) if line.strip()}
