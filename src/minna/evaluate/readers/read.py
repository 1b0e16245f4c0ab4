"""From a folder to documents, all of them checked before a model is even loaded.

An evaluation may run for hours; what is wrong with its data (a label out of range, the same id
twice, a prompt that names a column the file lacks) is said in the first second.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from minna.errors import DataError, UsageError, nearest
from minna.evaluate.prompting import choice_texts, question_text, target_text
from minna.evaluate.readers import jglue, mathematics, own, quiz, sentences, texts
from minna.evaluate.readers.datafile import DataFile
from minna.evaluate.readers.hub import fetch
from minna.evaluate.readers.locate import locate, not_on_hub
from minna.evaluate.records import Document, Splits
from minna.evaluate.task import Chosen

Reader = Callable[[DataFile], Iterable[Document]]
Role = Literal["scored", "shots"]

_SURROGATE = re.compile("[\ud800-\udfff]")

READERS: dict[str, Reader] = {
    "aio": quiz.aio,
    "jaqket": quiz.jaqket,
    "jblimp": sentences.jblimp,
    "jcommonsenseqa": jglue.jcommonsenseqa,
    "jnli": jglue.jnli,
    "jrte_pn": texts.jrte_pn,
    "jsquad": jglue.jsquad,
    "marc_ja": jglue.marc_ja,
    "mgsm": mathematics.mgsm,
    "parallel": texts.parallel,
    "rows": own.rows,
    "xlsum": texts.xlsum,
    "xwinograd": sentences.xwinograd,
}
"""What `reader` in a task file may be."""


COMPANIONS: dict[str, Callable[[Path], Path]] = {"parallel": texts.translation_of}
"""The file a reader reads beside the one that was found: it counts in the hash as well."""

TWINS = frozenset({"jnli", "xwinograd"})
"""Readers that group documents by what they share: one that shares nothing has no group."""


def read_data(chosen: Chosen, *, data: Path | None) -> Splits:
    """Read a task's data set.

    Args:
        chosen: the task.
        data: a folder that is the data set or holds it at any depth; None takes the copy on the
            Hugging Face Hub (a user's own task: the folder of its file).

    Returns:
        What is scored, and what examples are drawn from: () where there is no train split.

    Raises:
        DataError: the data set is missing, in two versions, or broken; names file and line.
        UsageError: `data` is no folder, or the task names a reader that is not there.
    """
    if data is None and chosen.folder is None:
        if not chosen.task.source.hub:
            raise not_on_hub(chosen)
        found = fetch(chosen)
        return read_files(
            chosen, scored=found.scored, shots=found.shots, base=found.base, prefix=found.prefix
        )
    scored, shots = locate(chosen, data=data)
    base = next(folder for folder in (data, chosen.folder) if folder is not None)
    return read_files(chosen, scored=scored, shots=shots, base=base)


def read_files(
    chosen: Chosen, *, scored: Sequence[Path], shots: Sequence[Path], base: Path, prefix: str = ""
) -> Splits:
    """Read and check files that were found.

    Args:
        chosen: the task.
        scored: files of the split that is scored.
        shots: files of the split for examples.
        base: the folder their names in the report begin at.
        prefix: what stands in front of those names.
    """
    documents = _documents(chosen, scored, role="scored")
    examples = _documents(chosen, shots, role="shots")
    paths = {*scored, *shots}
    beside = COMPANIONS.get(chosen.task.reader)
    if beside is not None:
        paths |= {beside(path) for path in paths}
    names = {
        (path.relative_to(base) if path.is_relative_to(base) else path).as_posix(): path
        for path in paths
    }
    digest = hashlib.sha256()
    for name in sorted(names):
        digest.update(names[name].read_bytes())
    return Splits(
        scored=documents,
        shots=examples,
        sha256=digest.hexdigest(),
        files=tuple(prefix + name for name in sorted(names)),
    )


def _documents(chosen: Chosen, paths: Sequence[Path], *, role: Role) -> tuple[Document, ...]:
    reader = READERS.get(chosen.task.reader)
    if reader is None:
        raise UsageError(
            f"{chosen.task.name}: no reader {chosen.task.reader!r}"
            f"{nearest(chosen.task.reader, READERS)}",
            remedy=f"readers: {', '.join(READERS)}; for your own files: rows",
        )
    found = tuple(
        document
        for path in paths
        for document in reader(DataFile(path=path, chosen=chosen, role=role))
    )
    names = ", ".join(path.name for path in paths)
    if paths and not found:
        raise DataError(
            f"{chosen.task.name}: {names} holds no document to be used as {role}",
            remedy="check that the file is of this task",
        )
    _check(chosen, found, where=f"{chosen.task.name}: {names}")
    return _singles_apart(found) if chosen.task.reader in TWINS else found


def _singles_apart(documents: Sequence[Document]) -> tuple[Document, ...]:
    """The documents of all files, with no group where only one has it."""
    sizes = Counter(document.group for document in documents)
    return tuple(
        dataclasses.replace(document, group="") if sizes[document.group] == 1 else document
        for document in documents
    )


def _texts_of(document: Document) -> Iterator[str]:
    yield from (document.id, *document.fields.values(), *document.choices, *document.answers)
    for passage in document.passages:
        yield from passage


def _check(chosen: Chosen, documents: Sequence[Document], *, where: str) -> None:
    """What every format must keep: ids are unique, something is right, the prompt can be filled."""
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise DataError(
                f"{where}: two documents have the id {document.id!r}",
                remedy="give each its own: answers are stored by it",
            )
        seen.add(document.id)
        if any(map(_SURROGATE.search, _texts_of(document))):
            raise DataError(
                f"{where}: document {document.id!r} holds half a character (a lone surrogate)",
                remedy="mend that row: \\ud83d and the like come in pairs",
            )
        if chosen.task.kind == "generate":
            if not document.answers:
                raise DataError(
                    f"{where}: document {document.id!r} has no right answer",
                    remedy="leave it out, or name the column with `answers` in the task file",
                )
            continue
        choices = choice_texts(document, chosen=chosen)
        if document.label is None or not 0 <= document.label < len(choices):
            raise DataError(
                f"{where}: the label of document {document.id!r} must be from 0 to "
                f"{len(choices) - 1}, and is {document.label}",
                remedy="mend that label, or the choices of the prompt",
            )
    for document in documents[:1]:
        question_text(document, chosen=chosen)
        target_text(document, chosen=chosen)
