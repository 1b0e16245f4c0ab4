"""MGSM: url-nlp's own files (a table without header, exemplars as JSON), and the Hub's columns."""

from __future__ import annotations

from collections.abc import Iterator

from minna.evaluate.readers.datafile import DataFile
from minna.evaluate.readers.rows import Row, read_cells, read_object, read_rows
from minna.evaluate.records import Document

_QUESTION = "問題："
_STEPS = "ステップごとの答え："


def mgsm(file: DataFile) -> Iterator[Document]:
    """A question; an example shows the steps to its answer, a scored one only the number.

    問題： and ステップごとの答え： stand in the exemplars and not in the test set, so they
    are taken out here and the prompts put them in everywhere.
    """
    for row in _rows(file):
        steps = row.values.get("answer")
        answer = row.text("answer").replace(_STEPS, "") if steps is not None else _number(row)
        yield Document(
            id=row.key("id" if "id" in row.values else ""),
            fields={"question": row.text("question").replace(_QUESTION, "")},
            answers=(answer,),
        )


def _rows(file: DataFile) -> list[Row]:
    if file.path.suffix.lower() == ".tsv":
        return read_cells(file.path, task=file.task, columns=("question", "answer_number"))
    rows = read_rows(file.path, task=file.task)
    if len(rows) > 1 or "question" in rows[0].values:
        return rows
    whole = read_object(file.path, task=file.task)  # {"1": {"q": ..., "a": ...}, ...}
    entries = [(name, whole.only(name, place=f"item {name!r}")) for name in whole.values]
    return [
        Row(
            values={"id": name, "question": entry.text("q"), "answer": entry.text("a")},
            place=entry.place,
            number=number,
        )
        for number, (name, entry) in enumerate(entries)
    ]


def _number(row: Row) -> str:
    """The number as digits: the test set writes 2,125 and 18."""
    value = row.value("answer_number")
    text = (value if isinstance(value, str) else str(value)).replace(",", "").strip()
    if isinstance(value, bool) or not text.removeprefix("-").isdecimal():
        raise row.fault(f"'answer_number' must be a whole number, and is {value!r}")
    return str(int(text))
