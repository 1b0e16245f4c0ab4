"""Articles that are too long for the model (xlsum_ja), shortened in words and not in tokens.

The harness gives every article of a prompt the same share of the room and keeps whole sentences
("。") up to it. `compat` does exactly that to the finished prompt, with its oddities: where the
prompt's marker also stands in the description (0.4, 0.5), the description counts as an article.
`fixed` cuts each article where a sentence ends, before the prompt is put together.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable

from minna.errors import DataError
from minna.evaluate.task import Prompt
from minna.tokenizer.coder import Coder

_SENTENCE = "。"
_END = re.compile(r"[。！？!?\n]+")


def shorten_prompt(context: str, *, prompt: Prompt, coder: Coder, room: int, where: str) -> str:
    """The harness's rule: the finished prompt with its articles cut so that it has room.

    Args:
        context: description, examples and question.
        prompt: names what an article stands behind and what stands behind an article.
        coder: counts tokens.
        room: tokens the prompt may have (the rule may still miss it by a few).
        where: task and document, for the error.

    Raises:
        DataError: an article holds the prompt's own marker, so that it cannot be told apart.
    """
    if len(coder.encode(context)) <= room:
        return context
    before, *parts = context.split(prompt.article_marker)
    if prompt.summary_marker in before:
        parts, before = [before, *parts], ""
    share = room // max(len(parts), 1)
    shortened = [before]
    for part in parts:
        article, marker, rest = part.partition(prompt.summary_marker)
        if not marker or prompt.summary_marker in rest:
            raise DataError(
                f"{where}: an article holds {prompt.article_marker!r} or "
                f"{prompt.summary_marker!r}, by which the prompt is taken apart",
                remedy="leave the document out, or use mode fixed",
            )
        whole = prompt.article_marker + article
        shortened.append(_first_sentences(whole, prompt=prompt, coder=coder, share=share))
        shortened.append(marker + rest)
    return "".join(shortened)


def _first_sentences(text: str, *, prompt: Prompt, coder: Coder, share: int) -> str:
    sentences = text.split(_SENTENCE)

    def tokens(count: int) -> int:
        return len(coder.encode(_SENTENCE.join(sentences[:count])))

    # more sentences are never fewer tokens, so halving finds the first number that is too many
    kept = bisect.bisect_right(range(1, len(sentences) + 1), share, key=tokens)
    if kept == len(sentences):
        return text
    if kept == 0:
        return coder.decode(coder.encode(sentences[0])[:share]) + prompt.stop
    return _SENTENCE.join(sentences[:kept]) + _SENTENCE + prompt.stop


def fit_article(question: str, *, prompt: Prompt, room: int, tokens: Callable[[str], int]) -> str:
    """A question whose article ends with a sentence, early enough for the whole to have room.

    Where not even the first sentence has room, the article ends within it.

    Args:
        question: as the prompt's `input` made it.
        prompt: names what stands before and behind the article.
        room: tokens the question may have.
        tokens: counts those of a text.
    """
    if tokens(question) <= room:
        return question
    start = question.find(prompt.article_marker) + len(prompt.article_marker)
    end = question.rfind(prompt.summary_marker) if prompt.summary_marker else len(question)
    article = question[start:end].rstrip()
    behind = question[start + len(article) :]

    def cut(length: int) -> str:
        return question[: start + length] + behind

    def longest(lengths: list[int]) -> int:
        return bisect.bisect_right(lengths, room, key=lambda length: tokens(cut(length)))

    ends = [match.end() for match in _END.finditer(article)]
    kept = longest(ends)
    if kept:
        return cut(ends[kept - 1])
    return cut(longest(list(range(1, len(article) + 1))))
