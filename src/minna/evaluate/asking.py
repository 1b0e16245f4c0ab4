"""Prompts with their examples, as the two modes put them together, and as far as they fit.

The room a prompt has is `max_length` less what the answer may take. When a prompt is too long,
`compat` does what the harness does (fewer examples for this question, drawn anew; shorter articles;
else nothing, and the model reads only the end). `fixed` decides once for the whole task, so that
every question has the same examples in front.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from minna.errors import DataError, UsageError
from minna.evaluate.articles import fit_article, shorten_prompt
from minna.evaluate.prompting import (
    choice_texts,
    context_text,
    question_text,
    target_text,
    turns_of,
)
from minna.evaluate.records import Document, Splits
from minna.evaluate.shots import compat_prompts, fixed_examples, shots_that_fit, spread
from minna.evaluate.task import Chosen
from minna.prompts.sandbox import ChatTemplate
from minna.tokenizer.coder import Coder

GOLD_MARGIN = 10  # tokens that "gold+10" allows beyond the right answer
Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A document with the prompt it is asked by, and what that holds.

    Attributes:
        document: what is asked about.
        context: the whole prompt.
        examples: (question, answer) of each example in it.
        question: the last part of it.
        cap: tokens an answer may have; 0 where none is asked for.
    """

    document: Document
    context: str
    examples: tuple[Pair, ...]
    question: str
    cap: int

    def turns(self, chosen: Chosen) -> tuple[Pair, ...]:
        """The prompt as (role, text) turns of a chat."""
        return tuple(turns_of(self.examples, self.question, chosen=chosen))


class Prompter:
    """Prompts of one task; what an example shows is rendered once, however often it is drawn."""

    def __init__(self, chosen: Chosen, chat: ChatTemplate | None = None) -> None:
        self.chosen = chosen
        self._chat = chat
        self._shown: dict[int, Pair] = {}

    def question(self, document: Document) -> str:
        """What is asked about a document."""
        return question_text(document, chosen=self.chosen)

    def example(self, document: Document) -> Pair:
        """Question and answer of an example."""
        key = id(document)  # the splits keep every document alive
        if key not in self._shown:
            answer = target_text(document, chosen=self.chosen)
            self._shown[key] = (self.question(document), answer)
        return self._shown[key]

    def context(self, examples: Sequence[Pair], question: str) -> str:
        """The whole prompt."""
        return context_text(examples, question, chosen=self.chosen, chat=self._chat)

    def ask(
        self, document: Document, *, question: str, examples: Sequence[Pair], cap: int
    ) -> Asked:
        """The prompt of one document."""
        return Asked(
            document=document,
            context=self.context(examples, question),
            examples=tuple(examples),
            question=question,
            cap=cap,
        )


def answer_room(cap: int, *, max_length: int) -> int:
    """Tokens kept free behind a prompt in `fixed`: the cap, but at most a quarter of the model's.

    A model of 256 tokens would otherwise have no room for a question that may be answered in 256.
    """
    return min(cap, max_length // 4)


def ask_compat(
    prompter: Prompter,
    splits: Splits,
    *,
    shots: int,
    limit: int | None,
    coder: Coder | None,
    max_length: int | None,
) -> list[Asked]:
    """The prompts of the paper's harness, in its order.

    Raises:
        UsageError: a tokenizer or the model's length is needed and missing, or documents are.
        DataError: a prompt that does not fit however short, named with its document.
    """
    chosen = prompter.chosen
    shrinks = chosen.version.drop_shots_to_fit
    articles = bool(chosen.prompt.article_marker)
    if coder is None and (shrinks or articles or isinstance(chosen.task.cap.compat, str)):
        raise _needs(chosen, "the model's tokenizer", "--tokenizer DIR")
    if max_length is None and (shrinks or articles):
        raise _needs(chosen, "how many tokens the model reads", "--max-length N")

    def compose(document: Document, examples: Sequence[Document]) -> Asked | None:
        asked = prompter.ask(
            document,
            question=prompter.question(document),
            examples=[prompter.example(example) for example in examples],
            cap=_cap(document, chosen=chosen, coder=coder),
        )
        if coder is None or max_length is None:
            return asked
        room = max_length - asked.cap
        if shrinks and len(coder.encode(asked.context)) > room:
            return None
        if articles:
            return _shortened(asked, chosen=chosen, coder=coder, room=room)
        return asked

    return list(compat_prompts(chosen, splits, shots=shots, limit=limit, compose=compose))


def ask_fixed(
    prompter: Prompter,
    splits: Splits,
    *,
    shots: int,
    limit: int | None,
    coder: Coder | None,
    max_length: int | None,
) -> list[Asked]:
    """One set of examples for the whole task, as many as fit; documents in the order of the file.

    Without a tokenizer (an endpoint) nothing is measured, and all examples stay.

    Raises:
        UsageError: fewer documents than examples asked for.
        DataError: the prompt names a field that a document does not have.
    """
    chosen = prompter.chosen
    drawn, scored = fixed_examples(chosen, splits, shots=shots)
    examples = [prompter.example(document) for document in drawn]
    asked = [(document, prompter.question(document)) for document in scored]
    cap = chosen.task.cap.fixed if chosen.task.kind == "generate" else 0
    if coder is None or max_length is None:
        asked = spread(asked, limit)
    else:
        room = max_length - answer_room(cap, max_length=max_length) - len(coder.bos_ids)
        if chosen.prompt.article_marker:
            asked = spread(asked, limit)
            examples, asked = _fit_articles(prompter, examples, asked, coder=coder, room=room)
        else:
            examples = _fitting(prompter, examples, asked, coder=coder, room=room)
            asked = spread(asked, limit)
    return [
        prompter.ask(document, question=question, examples=examples, cap=cap)
        for document, question in asked
    ]


def _cap(document: Document, *, chosen: Chosen, coder: Coder | None) -> int:
    """The harness's cap: for most tasks the longest right answer, in the model's own tokens."""
    cap = chosen.task.cap.compat
    if chosen.task.kind != "generate" or isinstance(cap, int) or coder is None:
        return cap if isinstance(cap, int) and chosen.task.kind == "generate" else 0
    longest = max((len(coder.encode(answer)) for answer in document.answers), default=0)
    if longest == 0:
        raise DataError(
            f"{chosen.name}: the right answers of document {document.id!r} are no tokens",
            remedy="mend that row of the data file, or use --mode fixed",
        )
    return longest + (GOLD_MARGIN if cap == "gold+10" else 0)


def _shortened(asked: Asked, *, chosen: Chosen, coder: Coder, room: int) -> Asked:
    where = f"{chosen.name}: document {asked.document.id!r}"
    context = shorten_prompt(
        asked.context, prompt=chosen.prompt, coder=coder, room=room, where=where
    )
    if chosen.prompt.separator == "<NL>":  # the harness's rinna prompt, cut or not
        context = context.replace("<NL><NL>", "<NL>")
    return dataclasses.replace(asked, context=context)


def _fitting(
    prompter: Prompter,
    examples: list[Pair],
    asked: list[tuple[Document, str]],
    *,
    coder: Coder,
    room: int,
) -> list[Pair]:
    """As many of the examples as leave 95 % of the questions their room."""
    if not examples:
        return examples
    overheads = [
        len(coder.encode(prompter.context(examples[:count], "")))
        for count in range(len(examples) + 1)
    ]
    lengths = [
        len(coder.encode(question + max(_behind(document, prompter), key=len)))
        for document, question in asked
    ]
    return examples[: shots_that_fit(overheads, lengths, room=room)]


def _behind(document: Document, prompter: Prompter) -> tuple[str, ...]:
    """Texts of which one must fit behind the question."""
    if prompter.chosen.task.kind == "generate":
        return ("",)
    return choice_texts(document, chosen=prompter.chosen) or ("",)


def _fit_articles(
    prompter: Prompter,
    examples: list[Pair],
    asked: list[tuple[Document, str]],
    *,
    coder: Coder,
    room: int,
) -> tuple[list[Pair], list[tuple[Document, str]]]:
    """Cut articles: an example gets an equal share of the room, a question all that is left."""

    def tokens(text: str) -> int:
        return len(coder.encode(text))

    prompt = prompter.chosen.prompt
    share = room // (len(examples) + 1)
    cut = [
        (fit_article(asked_, prompt=prompt, room=share - tokens(answer), tokens=tokens), answer)
        for asked_, answer in examples
    ]
    left = room - tokens(prompter.context(cut, ""))
    return cut, [
        (document, fit_article(question, prompt=prompt, room=left, tokens=tokens))
        for document, question in asked
    ]


def _needs(chosen: Chosen, what: str, remedy: str) -> UsageError:
    return UsageError(
        f"{chosen.name}: in mode compat its prompts depend on {what}, which is not given",
        remedy=f"give {remedy}, or use --mode fixed",
    )
