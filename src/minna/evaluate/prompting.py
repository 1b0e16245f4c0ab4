"""From a document to text: templates are filled once, and what was filled in is never read again.

A document may hold braces (code, sets, LaTeX), and a template filled field by field would read them
as fields; one pass over the template cannot. The prompts' strings decide scores to a colon or a
space, so nothing here strips, joins or adds anything that the task file does not say.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence

from minna.errors import DataError
from minna.evaluate.records import Document
from minna.evaluate.task import Chosen
from minna.prompts.sandbox import ChatTemplate

_FIELD = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_NEARLY = re.compile(r"\{\s*[A-Za-z_][A-Za-z0-9_]*\s*(?:[.\[!:][^{}]*)?\}")


def question_text(document: Document, *, chosen: Chosen) -> str:
    """What the model is asked: the prompt's `input` with the document in it.

    Raises:
        DataError: the template names a field the document does not have.
    """
    return fill(chosen.prompt.input, document=document, chosen=chosen)


def asked_fields(document: Document, *, chosen: Chosen) -> tuple[str, ...]:
    """The document's fields that its question shows: equal where two documents ask the same."""
    names = dict.fromkeys(_parse(chosen.prompt.input)[1::2])
    return tuple(document.fields[name] for name in names if name in document.fields)


def target_text(document: Document, *, chosen: Chosen) -> str:
    """What an example shows as its answer.

    Raises:
        DataError: as in `question_text`.
    """
    return fill(chosen.prompt.target, document=document, chosen=chosen)


def choice_texts(document: Document, *, chosen: Chosen) -> tuple[str, ...]:
    """The texts to choose from: the prompt's label words where it has some, else the document's."""
    return chosen.prompt.choices or document.choices


def context_text(
    examples: Sequence[tuple[str, str]],
    question: str,
    *,
    chosen: Chosen,
    chat: ChatTemplate | None = None,
) -> str:
    """The whole prompt: description, examples (question, answer), question.

    Args:
        examples: in the order they stand.
        question: as `question_text` gave it.
        chosen: the task.
        chat: the model's own template, for prompts of style "chat".
    """
    if chat is not None:
        return chat.render(turns_of(examples, question, chosen=chosen))
    shown = [asked + answered for asked, answered in examples]
    return chosen.prompt.description + chosen.prompt.separator.join([*shown, question])


def turns_of(
    examples: Sequence[tuple[str, str]], question: str, *, chosen: Chosen
) -> list[tuple[str, str]]:
    """The prompt as turns (role, text): system, examples as user and assistant, question."""
    system = chosen.prompt.system or chosen.prompt.description
    turns = [("system", system)] if system else []
    for asked, answered in examples:
        turns += [("user", asked), ("assistant", answered)]
    return [*turns, ("user", question)]


def fill(template: str, *, document: Document, chosen: Chosen) -> str:
    """Put a document's values where the template names them in braces, in one pass.

    Besides the document's own fields a template may name `passages` (all, each by the prompt's
    `passage`), `label` (the number of the right choice), `answer` (the first right answer, or the
    words of the right choice) and `choice0`, `choice1` ...

    Raises:
        DataError: a name that is none of these.
    """
    parts = _parse(template)
    if len(parts) == 1:
        return template
    values = document.fields
    filled = list(parts)
    for place in range(1, len(parts), 2):
        name = parts[place]
        value = values.get(name)
        filled[place] = (
            value if value is not None else _derived(name, document=document, chosen=chosen)
        )
    return "".join(filled)


@functools.lru_cache(maxsize=256)
def _parse(template: str) -> tuple[str, ...]:
    """Text and field names by turns.

    Raises:
        DataError: braces that are nearly a field, and would stand in the prompt as they are.
    """
    parts = tuple(_FIELD.split(template))
    for text in parts[::2]:
        near = _NEARLY.search(text)
        if near:
            raise DataError(
                f"a prompt has {near[0]!r}, which is no field: a field is {{name}}, without "
                "spaces, dots or further braces",
                remedy="write the column's name alone between the braces",
            )
    return parts


def _derived(name: str, *, document: Document, chosen: Chosen) -> str:
    choices = choice_texts(document, chosen=chosen)
    number = name.removeprefix("choice")
    if name == "answer" and document.answers:
        return document.answers[0]
    if name == "answer" and document.label is not None and 0 <= document.label < len(choices):
        return choices[document.label]
    if name == "label" and document.label is not None:
        return str(document.label)
    if name == "passages" and document.passages:
        return _passages(document, chosen=chosen)
    if number != name and number.isdigit() and int(number) < len(choices):
        return choices[int(number)]
    raise DataError(
        f"{chosen.name}: the prompt names {{{name}}}, and document {document.id!r} has no such "
        f"field (it has {', '.join(document.fields) or 'none'})",
        remedy="write a field that every document has, or mend the data file",
    )


def _passages(document: Document, *, chosen: Chosen) -> str:
    parts = _parse(chosen.prompt.passage)
    unknown = [name for name in parts[1::2] if name not in ("title", "text")]
    if unknown:
        raise DataError(
            f"{chosen.name}: a passage has a title and a text, and the prompt names {unknown[0]!r}",
            remedy="write {title} or {text} in `passage`",
        )
    rows = ({"title": title, "text": text} for title, text in document.passages)
    filled = (
        "".join(row[part] if place % 2 else part for place, part in enumerate(parts))
        for row in rows
    )
    return chosen.prompt.passage_separator.join(filled)
