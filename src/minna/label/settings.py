"""What a translation is asked for, and when it is kept."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna.errors import UsageError, nearest

Check = Literal["copy", "language", "loop", "length", "numbers", "addresses", "code"]
_STRICT = ConfigDict(extra="forbid")

LANGUAGES: Final = {
    "en": ("English", "英語"),
    "ja": ("Japanese", "日本語"),
    "zh": ("Chinese", "中国語"),
    "ko": ("Korean", "韓国語"),
    "fr": ("French", "フランス語"),
    "de": ("German", "ドイツ語"),
    "es": ("Spanish", "スペイン語"),
    "it": ("Italian", "イタリア語"),
    "pt": ("Portuguese", "ポルトガル語"),
    "ru": ("Russian", "ロシア語"),
    "vi": ("Vietnamese", "ベトナム語"),
    "th": ("Thai", "タイ語"),
    "id": ("Indonesian", "インドネシア語"),
}
"""Code of a language -> its name in English and in Japanese, for prompts."""

# Characters of a translation for one of its source. English to Japanese: machine translations of
# 1,338 turns of Anthropic HH lie between 0.27 and 1.25, 50,000 sentences of the Tanaka corpus
# between 0.23 and 2.36, 99.8 % of them between 0.33 and 1.75. Other pairs: own choice.
_RATIOS: Final = {("en", "ja"): (0.25, 1.75), ("ja", "en"): (0.57, 4.0)}
_ANY_RATIO: Final = (0.1, 5.0)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class CheckSettings:
    """When a translation is kept.

    Attributes:
        off: checks that are left out.
        ratio: least and most characters for one of the source; None takes those of the languages
            (English to Japanese 0.25 to 1.75, from measured translations).
        slack: characters that may be fewer or more than that: short texts vary (own choice).
        chrf: least chrF2 (0 to 100) between the source and what comes back from the translation
            (own choice; of 1,000 pairs of unrelated turns of Anthropic HH, 99 % have under 29).
        chrf_characters: shorter sources are not compared: "Sure." may come back as "Yes.".
    """

    off: tuple[Check, ...] = ()
    ratio: tuple[float, float] | None = None
    slack: int = Field(default=10, ge=0)
    chrf: float = Field(default=40.0, ge=0, le=100)
    chrf_characters: int = Field(default=20, ge=0)


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class Direction:
    """From one language into another, by their codes."""

    source: str
    target: str

    def __post_init__(self) -> None:
        """Refuse languages that have no name here, and a way from one into itself."""
        for code in (self.source, self.target):
            if code not in LANGUAGES:
                raise UsageError(
                    f"no language {code!r} is known here{nearest(code, LANGUAGES)}",
                    remedy=f"use one of {', '.join(LANGUAGES)}",
                )
        if self.source == self.target:
            raise UsageError(
                f"a translation goes from one language into another, not from {self.source} into "
                "itself",
                remedy="give the language of the corpus with --from",
            )

    @property
    def back(self) -> Direction:
        """The way back."""
        return Direction(source=self.target, target=self.source)

    @property
    def ratio(self) -> tuple[float, float]:
        """Least and most characters of a translation for one of its source."""
        return _RATIOS.get((self.source, self.target), _ANY_RATIO)

    def __str__(self) -> str:
        return f"{LANGUAGES[self.source][0]} to {LANGUAGES[self.target][0]}"


@dataclass(frozen=True, kw_only=True, config=_STRICT)
class TranslateSettings:
    """What is asked for.

    Attributes:
        source: language of the corpus.
        target: language of the side-car: one that is told from the text, since it is checked.
        round_trip: whether each translation is translated back and compared with its source.
        checks: when a translation is kept.
    """

    source: str = "en"
    target: Literal["ja", "en"] = "ja"
    round_trip: Literal["off", "on"] = "off"
    checks: CheckSettings = Field(default_factory=CheckSettings)

    @property
    def direction(self) -> Direction:
        """From `source` into `target`."""
        return Direction(source=self.source, target=self.target)
