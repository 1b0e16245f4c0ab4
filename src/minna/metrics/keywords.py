"""A task whose answers a rule can judge: write a sentence with these words, in this style.

    user:       「海」「青」で丁寧な文
    assistant:  海は青いです。

Reinforcement needs rewards that nobody has to label and that a model cannot argue with. The prompt
says everything the rule needs, so a reward is a function of prompt and answer alone. It does not
see meaning: keywords with です behind them score as a real sentence does, so a reward that rises
says nothing without samples beside it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from minna.errors import DataError
from minna.metrics.polite import Style, style_of

END_MARKS: Final = "。！？!?"
QUOTE: Final = "「"
REPEATED: Final = 4
"""Characters of the run that an answer must not hold three times."""
_TIMES: Final = 3
_ASKED: Final[dict[Style, str]] = {"polite": "で丁寧な文", "plain": "で普通の文"}
_STYLES: Final[dict[str, Style]] = {words: style for style, words in _ASKED.items()}
_PROMPT: Final = re.compile("((?:「[^「」]+」)+)(" + "|".join(_STYLES) + ")")
_KANJI: Final = "\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_RUN: Final = re.compile(
    f"(?<![{_KANJI}々〇])[{_KANJI}][{_KANJI}々〇]{{0,5}}(?![{_KANJI}々〇])|[ァ-ヺ][ァ-ヺー]+"
)


def runs(text: str) -> tuple[str, ...]:
    """What of a text can be a keyword, in order of appearance, each once.

    Unbroken runs of kanji (1 to 6 characters, 々 and 〇 after the first) and of katakana (2 or
    more, ー after the first). One that lies within another of the same text is left out: an answer
    that uses 海岸 would use 海 as well.
    """
    found: dict[str, None] = dict.fromkeys(_RUN.findall(text))
    return tuple(run for run in found if not any(run in other and run != other for other in found))


def ask(keywords: Sequence[str], *, style: Style) -> str:
    """The user's turn that asks for a sentence with the keywords, in a style."""
    return "".join(f"「{word}」" for word in keywords) + _ASKED[style]


def asked(user_turn: str) -> tuple[tuple[str, ...], Style]:
    """Take back the keywords and the style that `ask` made the user's turn of.

    Raises:
        DataError: it is no such turn.
    """
    match = _PROMPT.fullmatch(user_turn)
    if match is None:
        raise DataError(
            "a keyword prompt must be 「海」「青」で丁寧な文 (or で普通の文), not "
            f"{user_turn[:80]!r}",
            remedy="use this reward with prompts of `minna corpus build keywords`",
        )
    return tuple(match[1][1:-1].split("」「")), _STYLES[match[2]]


def keyword_score(prompt: str, answer: str) -> float:
    """How well an answer does what the prompt asks: 1 is all of it, -2 the least.

    The share of the keywords that stand in the answer (0 to 1); minus 1 where its last sentence is
    of the other style; minus 1 where it is malformed (`malformed`). White space around it does not
    count. An empty answer has no style and no keyword: -2.

    Raises:
        DataError: the prompt is not one of `ask`.
    """
    keywords, style = asked(prompt)
    answer = answer.strip()
    if not answer:
        return -2.0
    share = sum(word in answer for word in keywords) / len(keywords)
    return share - (style_of(answer) != style) - bool(malformed(answer))


def malformed(text: str) -> str:
    """Say why a text is no finished sentence, or "" where it is one.

    It must not be empty, must end in 。！？ (or ! ?), must hold no 「 (the sign of the prompt: an
    answer that copies the question uses all its keywords) and no run of four characters three
    times, overlapping or not.
    """
    if not text:
        return "empty"
    if text[-1] not in END_MARKS:
        return "no end of a sentence"
    if QUOTE in text:
        return "a quotation"
    seen: dict[str, int] = {}
    for start in range(len(text) - REPEATED + 1):
        run = text[start : start + REPEATED]
        seen[run] = seen.get(run, 0) + 1
        if seen[run] == _TIMES:
            return "a run of four characters three times"
    return ""
