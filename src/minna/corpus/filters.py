"""The filters: cheap signs that a document is not prose worth learning from. Drop with a reason.

Each is a comparison of one measure (`profile.py`) with one threshold. Profile and filters together
run at 23 MB/s on sentences and 40 on novels (bench_cleaning.py). Thresholds were set so that real
text passes: they drop 3 of 207,995 Tatoeba sentences (numbers and names) and 9 of 6,110 works
of Aozora (seven in Latin script or classical Chinese, one without text, and one poem of which five
lines in six are the same). The filters for web pages that good books fail (short lines, lines
without an end, smell) are there, but off.

A measure of few characters or lines says nothing: each filter says from how many on it judges.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as settings_class

from minna.corpus.language import HEADING, languages
from minna.corpus.profile import Profiles, profile
from minna.corpus.words import hash_of, load_words, read_words

Mask = npt.NDArray[np.bool_]

_FEW_CHARACTERS: Final = 10
_PHRASE: Final = 20
_FEW_LINES: Final = 5
_FEW_WORDS: Final = 20


@settings_class(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class FilterSettings:
    """Thresholds of the filters; a share is of the characters that are not white space.

    `min_*` drops what is below, `max_*` what is above; 0 and 1 switch a filter of a share off.

    Attributes:
        words: files with unwanted words, one a line; `max_words` hits per 1,000 characters pass.
        max_smell: machine-translation and template score (`smell.py`); 1 is off.
    """

    min_characters: int = Field(default=2, ge=1)
    max_characters: int = Field(default=5_000_000, ge=1)
    max_replacement: float = Field(default=0.001, ge=0, le=1)
    max_symbols: float = Field(default=0.5, ge=0, le=1)
    max_digits: float = Field(default=0.6, ge=0, le=1)
    max_one_character: float = Field(default=0.5, ge=0.25, le=1)
    max_repeated_lines: float = Field(default=0.5, ge=0, le=1)
    max_repeated_grams: float = Field(default=0.5, ge=0, le=1)
    max_top_gram: float = Field(default=0.6, ge=0, le=1)
    max_bullets: float = Field(default=0.9, ge=0, le=1)
    max_ellipses: float = Field(default=0.9, ge=0, le=1)
    max_short_lines: float = Field(default=1.0, ge=0, le=1)
    min_ended_lines: float = Field(default=0.0, ge=0, le=1)
    min_japanese: float = Field(default=0.3, ge=0, le=1)
    min_kana: float = Field(default=0.02, ge=0, le=1)
    min_latin: float = Field(default=0.5, ge=0, le=1)
    min_stop_words: float = Field(default=0.1, ge=0, le=1)
    min_mean_word: float = Field(default=2.5, ge=0)
    max_mean_word: float = Field(default=10.0, ge=0)
    words: tuple[Path, ...] = ()
    max_words: float = Field(default=1.0, ge=0)
    max_smell: float = Field(default=1.0, ge=0, le=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """One rule.

    Attributes:
        name: the reason written beside a dropped document.
        setting: the field of FilterSettings that holds its threshold.
        reason: what it means to be dropped for it; `reason_ja` in Japanese.
        drops: tells which documents go.
        language: the language it judges, "" for all.
    """

    name: str
    setting: str
    reason: str
    reason_ja: str
    drops: Callable[[Profiles, float], Mask]
    language: Literal["", "ja", "en"] = ""


class Judgement(NamedTuple):
    """What the filters say of a batch of documents.

    Attributes:
        reasons: name of the first filter that drops each document, None where it stays.
        languages: ja, en or other: as the source said, else as the text tells.
        profiles: the measures.
    """

    reasons: list[str | None]
    languages: list[str]
    profiles: Profiles


def _too_short(seen: Profiles, threshold: float) -> Mask:
    return seen.characters < threshold


def _too_long(seen: Profiles, threshold: float) -> Mask:
    return seen.characters > threshold


def _replacement(seen: Profiles, threshold: float) -> Mask:
    return seen.replacement > threshold


def _symbols(seen: Profiles, threshold: float) -> Mask:
    return (seen.characters >= _PHRASE) & (seen.symbols > threshold)


def _digits(seen: Profiles, threshold: float) -> Mask:
    return (seen.characters >= _PHRASE) & (seen.digits > threshold)


def _one_character(seen: Profiles, threshold: float) -> Mask:
    return (seen.characters >= _FEW_CHARACTERS) & (seen.one_character > threshold)


def _repeated_lines(seen: Profiles, threshold: float) -> Mask:
    return (seen.lines >= _FEW_LINES) & (seen.repeated_lines > threshold)


def _repeated_grams(seen: Profiles, threshold: float) -> Mask:
    return seen.repeated_grams > threshold


def _top_gram(seen: Profiles, threshold: float) -> Mask:
    return seen.top_gram > threshold


def _bullets(seen: Profiles, threshold: float) -> Mask:
    return (seen.lines >= _FEW_LINES) & (seen.bullets > threshold)


def _ellipses(seen: Profiles, threshold: float) -> Mask:
    return (seen.lines >= _FEW_LINES) & (seen.ellipses > threshold)


def _short_lines(seen: Profiles, threshold: float) -> Mask:
    return (seen.lines >= _FEW_LINES) & (seen.short_lines > threshold)


def _ended_lines(seen: Profiles, threshold: float) -> Mask:
    return (seen.lines >= _FEW_LINES) & (seen.ended_lines < threshold)


def _not_japanese(seen: Profiles, threshold: float) -> Mask:
    return seen.japanese < threshold


def _no_kana(seen: Profiles, threshold: float) -> Mask:
    return (seen.characters >= HEADING) & (seen.kana < threshold)


def _not_english(seen: Profiles, threshold: float) -> Mask:
    return seen.latin < threshold


def _no_stop_words(seen: Profiles, threshold: float) -> Mask:
    return (seen.words >= _FEW_WORDS) & (seen.stop_words < threshold)


def _short_words(seen: Profiles, threshold: float) -> Mask:
    return (seen.words >= _FEW_WORDS) & (seen.mean_word < threshold)


def _long_words(seen: Profiles, threshold: float) -> Mask:
    return (seen.words >= _FEW_WORDS) & (seen.mean_word > threshold)


def _words(seen: Profiles, threshold: float) -> Mask:
    return seen.listed > threshold


def _smell(seen: Profiles, threshold: float) -> Mask:
    return seen.smell > threshold


_OF_ALL: Final = (
    Filter(
        name="too_short",
        setting="min_characters",
        reason="fewer characters than this (white space not counted)",
        reason_ja="空白を除いた文字数がこの値に満たない",
        drops=_too_short,
    ),
    Filter(
        name="too_long",
        setting="max_characters",
        reason="more characters than this: a dump, not a document",
        reason_ja="文字数がこの値を超える（文書ではなくデータのダンプ）",
        drops=_too_long,
    ),
    Filter(
        name="replacement_characters",
        setting="max_replacement",
        reason="a larger share of U+FFFD: it was decoded wrongly before it came here",
        reason_ja="置換文字 U+FFFD の割合がこの値を超える（以前に誤った文字コードで読まれている）",
        drops=_replacement,
    ),
    Filter(
        name="symbols",
        setting="max_symbols",
        reason="a larger share of symbols and punctuation in 20 characters or more: tables, menus",
        reason_ja="20文字以上で、記号と句読点の割合がこの値を超える（表、罫線、メニューなど）",
        drops=_symbols,
    ),
    Filter(
        name="digits",
        setting="max_digits",
        reason="a larger share of digits in 20 characters or more: tables, numbers of all kinds",
        reason_ja="20文字以上で、数字の割合がこの値を超える（数表、番号の一覧など）",
        drops=_digits,
    ),
    Filter(
        name="one_character",
        setting="max_one_character",
        reason="one character makes up a larger share of 10 characters or more",
        reason_ja="10文字以上で、一つの文字がこの値を超える割合を占める",
        drops=_one_character,
    ),
    Filter(
        name="repeated_lines",
        setting="max_repeated_lines",
        reason="of 5 lines or more, a larger share of the characters is in lines that came before",
        reason_ja="5行以上で、すでに現れた行の繰り返しが文字数のこの割合を超える",
        drops=_repeated_lines,
    ),
    Filter(
        name="repeated_grams",
        setting="max_repeated_grams",
        reason="of 50 characters or more, a larger share of ten-character runs came before",
        reason_ja="50文字以上で、すでに現れた10文字の並びの割合がこの値を超える",
        drops=_repeated_grams,
    ),
    Filter(
        name="top_gram",
        setting="max_top_gram",
        reason="of 50 characters or more, one ten-character run covers a larger share",
        reason_ja="50文字以上で、同じ10文字の並び一つがこの値を超える割合を覆う",
        drops=_top_gram,
    ),
    Filter(
        name="bullets",
        setting="max_bullets",
        reason="of 5 lines or more, a larger share begins with a bullet: a list without prose",
        reason_ja="5行以上で、箇条書きの記号で始まる行の割合がこの値を超える（文章のない一覧）",
        drops=_bullets,
    ),
    Filter(
        name="ellipses",
        setting="max_ellipses",
        reason="of 5 lines or more, a larger share ends in an ellipsis: teasers cut off",
        reason_ja="5行以上で、「…」で終わる行の割合がこの値を超える（途中で切れた見出しの一覧）",
        drops=_ellipses,
    ),
    Filter(
        name="short_lines",
        setting="max_short_lines",
        reason="of 5 lines or more, a larger share has fewer than 10 characters: menus (and verse)",
        reason_ja="5行以上で、10文字未満の行の割合がこの値を超える（メニューなど。詩も該当する）",
        drops=_short_lines,
    ),
    Filter(
        name="unended_lines",
        setting="min_ended_lines",
        reason="of 5 lines or more, a smaller share ends in punctuation or a closing bracket",
        reason_ja="5行以上で、句点や閉じ括弧で終わる行の割合がこの値に満たない",
        drops=_ended_lines,
    ),
    Filter(
        name="words",
        setting="max_words",
        reason="more hits of the given word lists per 1,000 characters",
        reason_ja="指定した語のリストに当たる回数が1,000文字あたりこの値を超える",
        drops=_words,
    ),
    Filter(
        name="smell",
        setting="max_smell",
        reason="a higher machine-translation and template score (a heuristic)",
        reason_ja="機械翻訳・定型文らしさの点数（経験則）がこの値を超える",
        drops=_smell,
    ),
)
_OF_ONE_LANGUAGE: Final = (
    Filter(
        name="not_japanese",
        setting="min_japanese",
        reason="a smaller share of kana and kanji",
        reason_ja="かなと漢字の割合がこの値に満たない",
        drops=_not_japanese,
        language="ja",
    ),
    Filter(
        name="no_kana",
        setting="min_kana",
        reason="a smaller share of kana in 30 characters or more: probably Chinese, or a list",
        reason_ja="30文字以上で、かなの割合がこの値に満たない（おそらく中国語か一覧）",
        drops=_no_kana,
        language="ja",
    ),
    Filter(
        name="not_english",
        setting="min_latin",
        reason="a smaller share of Latin letters",
        reason_ja="ラテン文字の割合がこの値に満たない",
        drops=_not_english,
        language="en",
    ),
    Filter(
        name="no_stop_words",
        setting="min_stop_words",
        reason="of 20 words or more, a smaller share are English function words: a list, or code",
        reason_ja="20語以上で、英語の機能語の割合がこの値に満たない（一覧やプログラムなど）",
        drops=_no_stop_words,
        language="en",
    ),
    Filter(
        name="short_words",
        setting="min_mean_word",
        reason="of 20 words or more, the mean length is smaller",
        reason_ja="20語以上で、語の平均の長さがこの値に満たない",
        drops=_short_words,
        language="en",
    ),
    Filter(
        name="long_words",
        setting="max_mean_word",
        reason="of 20 words or more, the mean length is larger",
        reason_ja="20語以上で、語の平均の長さがこの値を超える",
        drops=_long_words,
        language="en",
    ),
)
FILTERS: Final = _OF_ALL + _OF_ONE_LANGUAGE
"""All filters, in the order in which they are asked."""

LANGUAGE: Final = "language"
"""The reason without a threshold, asked between the filters of all languages and those of one."""


def judge(
    texts: Sequence[str],
    known: Sequence[str],
    *,
    settings: FilterSettings,
    wanted: Literal["ja", "en", "any"] = "ja",
) -> Judgement:
    """Judge normalised documents.

    Args:
        texts: the documents.
        known: what the source says of the language of each: ja, en, other, or "" for unknown.
        settings: thresholds.
        wanted: the language asked for; "any" keeps Japanese and English.

    Raises:
        MinnaError: a word list cannot be read (`read_words`).
    """
    seen = profile(texts, listed=load_words(settings.words))
    told = languages(seen)
    spoken = [said or heard for said, heard in zip(known, told, strict=True)]
    here = np.array(spoken)
    masks = {rule.name: _drops(rule, seen, settings) for rule in _OF_ALL}
    masks[LANGUAGE] = ~np.isin(here, ("ja", "en") if wanted == "any" else (wanted,))
    for rule in _OF_ONE_LANGUAGE:
        masks[rule.name] = _drops(rule, seen, settings) & (here == rule.language)
    names = (None, *masks)
    first = np.zeros(len(texts), dtype=np.int64)
    for number, mask in enumerate(masks.values(), start=1):
        first[mask & (first == 0)] = number
    return Judgement([names[number] for number in first.tolist()], spoken, seen)


def _drops(rule: Filter, seen: Profiles, settings: FilterSettings) -> Mask:
    return rule.drops(seen, getattr(settings, rule.setting))


def resolved(settings: FilterSettings) -> dict[str, Any]:
    """The settings as a corpus key holds them: word lists by their content, not by their place.

    Raises:
        MinnaError: a word list cannot be read.
    """
    plain = asdict(settings)
    plain["words"] = hash_of(read_words(settings.words)) if settings.words else ""
    return plain
