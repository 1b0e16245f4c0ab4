"""JGLUE: the official files (JSON lines; JSQuAD one SQuAD object), and the Hub's columns.

The Hub's copies hold labels as numbers, JSQuAD flat, and MARC-ja's text under another name; the
documents that come out are the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from minna.evaluate.readers.datafile import DataFile, group_of
from minna.evaluate.readers.rows import Row, from_list, read_rows
from minna.evaluate.records import Document

NLI = ("entailment", "contradiction", "neutral")
SENTIMENT = ("positive", "negative")
_CHOICES = 5


def jcommonsenseqa(file: DataFile) -> Iterator[Document]:
    """A question and its five choices."""
    names = [f"choice{number}" for number in range(_CHOICES)]
    for row in read_rows(file.path, task=file.task):
        choices = tuple(row.text(name) for name in names)
        yield Document(
            id=row.key("q_id"),
            fields={"question": row.text("question")},
            choices=choices,
            label=row.label("label", [str(number) for number in range(_CHOICES)]),
        )


def jnli(file: DataFile) -> Iterator[Document]:
    """Two sentences and whether the second follows.

    1,076 pairs of the validation set are there twice, as A, B and as B, A: each is one group.
    """
    yield from (_inference(row) for row in read_rows(file.path, task=file.task))


def marc_ja(file: DataFile) -> Iterator[Document]:
    """A review (`text` in the official files, `sentence` on the Hub) and its sentiment."""
    for row in read_rows(file.path, task=file.task):
        name = "sentence" if "sentence" in row.values else "text"
        yield Document(
            id=row.key("review_id" if "review_id" in row.values else ""),
            fields={"query": row.text(name)},
            label=row.label("label", SENTIMENT),
        )


def jsquad(file: DataFile) -> Iterator[Document]:
    """A paragraph, its title, a question and the passages of it that answer."""
    rows = read_rows(file.path, task=file.task)
    if len(rows) == 1 and "data" in rows[0].values:
        rows = list(_flat(rows[0]))
    for row in rows:
        context = row.text("context").split("[SEP]")[-1].strip()
        yield Document(
            id=row.key("id"),
            fields={
                "title": row.text("title"),
                "context": context,
                "question": row.text("question"),
            },
            answers=_answers(row),
            group=group_of(context),
        )


def _inference(row: Row) -> Document:
    first, second = row.text("sentence1"), row.text("sentence2")
    return Document(
        id=row.key("sentence_pair_id"),
        fields={"premise": first, "hypothesis": second},
        label=row.label("label", NLI),
        group=group_of(first, second),
    )


def _flat(whole: Row) -> Iterator[Row]:
    """The questions of a SQuAD file, each with its paragraph and title."""
    for article in from_list(whole.value("data"), place=whole.place):
        for paragraph in from_list(article.value("paragraphs"), place=article.place):
            above = {"title": article.value("title"), "context": paragraph.value("context")}
            for question in from_list(paragraph.value("qas"), place=paragraph.place):
                yield Row(
                    values={**question.values, **above},
                    place=question.place,
                    number=question.number,
                )


def _answers(row: Row) -> tuple[str, ...]:
    """Official: a list of objects with `text`; on the Hub: an object whose `text` is a list."""
    value = row.value("answers")
    if isinstance(value, dict):
        return row.only("answers", place="answers").texts("text")
    entries = from_list(value, place=f"{row.place}, answers")
    if not entries:
        raise row.fault("'answers' is empty", remedy="leave questions without an answer out")
    return tuple(entry.text("text") for entry in entries)
