"""Can a translation be trusted? Rules that need no model, each with a reason a person can follow.

Machine translation fails in few ways that show: it gives the source back, goes in circles, leaves
clauses out, answers in a third language, changes a number or an address. Every check looks at one
text and its translation alone and says what is wrong, or "". What reads well and means something
else passes them all; only the round trip sees some of that.

The published machine translations of 1,338 turns of Anthropic HH: 1,334 pass (docs/labelling.md).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, get_args

from minna.corpus.language import languages
from minna.corpus.profile import Profiles, profile
from minna.label.numbers import missing
from minna.label.settings import Check, CheckSettings, Direction
from minna.label.verbatim import addresses, code, has_words, is_code_name, lost, prose
from minna.metrics.translation import chrf_of_sums, chrf_rows

VERSION: Final = 1
"""Part of every side-car's key: other rules keep other rows."""

_ECHO: Final = 20  # characters of a source whose reappearance is no accident
_ONE_CHARACTER: Final = 0.5
_GRAMS: Final = 0.5
_TOP_GRAM: Final = 0.6
_LONGEST_LOOP: Final = 100
_ROUNDS: Final = 4
_LOOPED: Final = 24
_FEW: Final = 10
_SHOWN: Final = 5


class Verdict(NamedTuple):
    """What is wrong with a translation.

    Attributes:
        reason: name of the check that failed; "" where it is kept.
        detail: what it saw.
    """

    reason: str = ""
    detail: str = ""


KEPT: Final = Verdict()


class Pair(NamedTuple):
    """A text and its translation, with what was measured of each."""

    source: str
    translation: str
    source_language: str
    language: str
    source_loops: bool
    loops: bool


def judge(
    sources: Sequence[str],
    translations: Sequence[str],
    *,
    direction: Direction,
    settings: CheckSettings,
) -> list[Verdict]:
    """Judge translations, in the order of `Check`; the first check that fails gives the reason."""
    chosen = [name for name in get_args(Check) if name not in settings.off]
    rules = _rules(direction, settings)
    verdicts: list[Verdict] = []
    for pair in _measured(sources, translations):
        if not pair.translation.strip():
            verdicts.append(Verdict("empty", "nothing came back"))
            continue
        said = ((name, rules[name](pair)) for name in chosen)
        verdicts.append(next((Verdict(name, what) for name, what in said if what), KEPT))
    return verdicts


def _rules(direction: Direction, settings: CheckSettings) -> dict[Check, Callable[[Pair], str]]:
    ratio = settings.ratio or direction.ratio
    return {
        "copy": functools.partial(copied, target=direction.target),
        "language": functools.partial(other_language, target=direction.target),
        "loop": looping,
        "length": functools.partial(out_of_length, ratio=ratio, slack=settings.slack),
        "numbers": lost_numbers,
        "addresses": lost_addresses,
        "code": lost_code,
    }


def copied(pair: Pair, *, target: str) -> str:
    """The source stands in the translation. Texts in the target language, and NASA, may stay."""
    if pair.source_language == target or is_code_name(pair.source):
        return ""
    source, translation = _folded(pair.source), _folded(pair.translation)
    if source == translation:
        return "the translation is the source"
    if len(source) >= _ECHO and source in translation:
        return "the translation holds the source"
    return ""


def other_language(pair: Pair, *, target: str) -> str:
    """The translation is in another language, code and addresses left out."""
    if pair.language == target or is_code_name(pair.source):
        return ""
    if not has_words(pair.translation) and any(map(str.isdigit, pair.translation)):
        return ""  # "twelve" may become "12"
    return f"it reads as {pair.language}, not {target}"


def looping(pair: Pair) -> str:
    """The translation goes in circles, and the source does not."""
    return "it says the same again and again" if pair.loops and not pair.source_loops else ""


def out_of_length(pair: Pair, *, ratio: tuple[float, float], slack: int) -> str:
    """The translation is too short or too long for its source."""
    least, most = ratio
    source, found = len(pair.source.strip()), len(pair.translation.strip())
    if least * source - slack <= found <= most * source + slack:
        return ""
    return f"{found} characters for {source}: {found / max(1, source):.2f} times"


def lost_numbers(pair: Pair) -> str:
    """A number of the source is not in the translation."""
    gone = missing(prose(pair.source), prose(pair.translation))
    return f"without {_listed([f'{number:f}' for number in gone])}" if gone else ""


def lost_addresses(pair: Pair) -> str:
    """A URL or mail address is not in the translation as it was."""
    gone = lost(addresses(pair.source), pair.translation)
    return f"without {_listed(gone)}" if gone else ""


def lost_code(pair: Pair) -> str:
    """Code is not in the translation as it was."""
    gone = lost(code(pair.source), pair.translation)
    return f"without {_listed([piece.strip()[:40] for piece in gone])}" if gone else ""


def round_trip(found: float, *, least: float) -> Verdict:
    """Judge a translation by the chrF2 of what came back of it."""
    return (
        KEPT if found >= least else Verdict("round_trip", f"chrF {found:.1f} with what came back")
    )


def chrf(source: str, back: str) -> float:
    """The chrF2, 0 to 100, of `back` against `source`."""
    return float(chrf_of_sums(chrf_rows([back], [[source]]))[0])


def ends_in_a_loop(text: str) -> bool:
    """Whether a text ends in four or more of the same (up to 100 characters, 24 together)."""
    body = text.rstrip()
    for period in range(1, min(_LONGEST_LOOP, len(body) // _ROUNDS) + 1):
        rounds = max(_ROUNDS, -(-_LOOPED // period))
        if body.endswith(body[-period:] * rounds):
            return True
    return False


def _measured(sources: Sequence[str], translations: Sequence[str]) -> list[Pair]:
    before, after = _profiles(sources), _profiles(translations)
    return [
        Pair(*rest)
        for rest in zip(
            sources,
            translations,
            languages(before),
            languages(after),
            _loops(sources, before),
            _loops(translations, after),
            strict=True,
        )
    ]


def _profiles(texts: Sequence[str]) -> Profiles:
    """Measures of what there is to translate: code repeats itself and is in no language."""
    return profile([prose(text) for text in texts])


def _loops(texts: Sequence[str], seen: Profiles) -> list[bool]:
    """By the measures that the corpus drops documents by, and by how each text ends."""
    mostly = (seen.characters >= _FEW) & (seen.one_character > _ONE_CHARACTER)
    again = (seen.repeated_grams > _GRAMS) | (seen.top_gram > _TOP_GRAM)
    measured: list[bool] = (mostly | again).tolist()
    return [
        found or ends_in_a_loop(prose(text)) for text, found in zip(texts, measured, strict=True)
    ]


def _folded(text: str) -> str:
    return "".join(text.split()).casefold()


def _listed(pieces: Sequence[str]) -> str:
    return ", ".join(pieces[:_SHOWN]) + (", ..." if len(pieces) > _SHOWN else "")
