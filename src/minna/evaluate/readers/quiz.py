"""Quiz questions of AI王: with passages (JAQKET v2), or closed book."""

from __future__ import annotations

import re
from collections.abc import Iterator

from minna.evaluate.readers.datafile import DataFile
from minna.evaluate.readers.rows import Row, from_list, read_rows, read_table
from minna.evaluate.records import Document

_LOOKED_AT = 5
_QUALIFIER = re.compile(r" \([^()]*\)$")


def jaqket(file: DataFile) -> Iterator[Document]:
    """A question with its retrieved passages.

    A question is left out if none of its first five passages holds an answer, in every version: the
    published runs of version 0.1 and 0.2 scored the same 1,164 questions, so what was left out did
    not depend on how many passages the prompt showed.
    """
    kept = file.chosen.version.passages
    for row in read_rows(file.path, task=file.task):
        passages = list(_passages(row))
        if not any(holds for _, _, holds in passages[:_LOOKED_AT]):
            continue
        answers = row.value("answers")
        yield Document(
            id=row.key("qid"),
            fields={"question": row.text("question")},
            answers=(
                row.only("answers", place="answers").texts("text")
                if isinstance(answers, dict)
                else row.texts("answers")
            ),
            passages=tuple((title, text) for title, text, _ in passages[:kept]),
        )


def aio(file: DataFile) -> Iterator[Document]:
    """A question and the answers the data name, the main one first.

    The first competition's answers are titles of Wikipedia, and a title's qualifier, as in
    竜王 (将棋の駒), is no part of the answer. The second one's other answers stand in a column of
    their own, separated by a comma and a space.
    """
    for row in read_table(file.path, task=file.task, separator="\t"):
        main = _QUALIFIER.sub("", row.text("original_answer"))
        others = str(row.value("original_additional_info")).split(", ")
        yield Document(
            id=row.key("qid"),
            fields={"question": row.text("original_question")},
            answers=tuple(dict.fromkeys(name for name in (main, *others) if name.strip())),
        )


def _passages(row: Row) -> Iterator[tuple[str, str, bool]]:
    """Title, text and whether it holds an answer: a list of objects, or an object of lists."""
    value = row.value("ctxs")
    if isinstance(value, dict):
        columns = [value.get(name) for name in ("title", "text", "has_answer")]
        lists = [column for column in columns if isinstance(column, list)]
        if len(lists) != len(columns) or len({len(column) for column in lists}) != 1:
            raise row.fault("'ctxs' must hold lists title, text and has_answer of one length")
        value = [
            {"title": title, "text": text, "has_answer": holds}
            for title, text, holds in zip(*lists, strict=True)
        ]
    for entry in from_list(value, place=f"{row.place}, ctxs"):
        holds = entry.value("has_answer")
        if not isinstance(holds, bool):
            raise entry.fault(f"'has_answer' must be true or false, and is {holds!r}")
        yield entry.text("title"), entry.text("text"), holds
