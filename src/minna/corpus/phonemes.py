"""Phones: two inventories as data, the map between them, and Japanese text read as phones.

Which 40 phonemes the published models recognise is written nowhere, so an inventory is a file
(`inventories/*.toml`) and nothing else here knows a phone's name. Corpora hold Open JTalk's phones;
Julius' differ where a vowel is long ("o o" is "o:") and in five sounds of loanwords, which it does
not have.

Text is read from its *surface*: from オウサマ nobody can tell the long o of 王様 from the two
vowels of 追う, while Open JTalk's dictionary knows. Words are its morphemes.
"""

from __future__ import annotations

import contextlib
import functools
import io
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata, resources
from typing import Any, Final, NamedTuple, cast

from minna.corpus.clip_rows import BOUNDARY, PAUSE
from minna.errors import DataError, MissingExtraError, UsageError, nearest

OPEN_JTALK: Final = "open-jtalk"
JULIUS: Final = "julius"
KANA: Final = "kana"
INVENTORIES: Final = (OPEN_JTALK, JULIUS, KANA)
MOST_CHARACTERS: Final = 1000
"""Of one text that is read: the analyser's own tables end somewhere above."""

_NO_SOUND: Final = frozenset({"pau", "sp", "unk"})  # in the readings of pyopenjtalk-plus
_PASSED: Final = frozenset({BOUNDARY, PAUSE})
_HIRAGANA: Final = {code: code + 0x60 for code in range(0x3041, 0x3097)}
_KATAKANA: Final = re.compile("[\u30a1-\u30fa\u30fc]")
_LABEL: Final = re.compile(r"-(.+?)\+")
_RUBY: Final = re.compile(
    "(?<=[\u3005-\u3007\u3400-\u9fff\uf900-\ufaff0-9A-Za-z０-９Ａ-Ｚａ-ｚ])"
    "[(（][\u3041-\u309f\u30a1-\u30fe]+[)）]"
)
_LONG: Final = "ー"
_ROWS: Final = {
    "ア": "アカサタナハマヤラワガザダバパァャヮ",
    "イ": "イキシチニヒミリギジビピィ",
    "ウ": "ウクスツヌフムユルグズブプヴゥュ",
    "エ": "エケセテネヘメレゲゼデベペェ",
    "オ": "オコソトノホモヨロゴゾドボポォョ",
}
_VOWEL: Final = {kana: vowel for vowel, row in _ROWS.items() for kana in row}
_SPELLED_LONG: Final = {("オ", "ウ"), ("エ", "イ")}  # コウ is コー, as a rule


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """A closed set of symbols of speech.

    Attributes:
        name: of its file.
        title: for people.
        phones: the symbols.
        fold: other spellings -> the symbol they count as.
    """

    name: str
    title: str
    phones: tuple[str, ...]
    fold: Mapping[str, str] = field(default_factory=dict[str, str])

    def folded(self, phones: Sequence[str]) -> list[str]:
        """Every phone as this inventory spells it; boundaries and pauses stay.

        Raises:
            DataError: a symbol that is none of its own.
        """
        known = frozenset(self.phones) | _PASSED
        found = [self.fold.get(phone, phone) for phone in phones]
        for phone in found:
            if phone not in known:
                raise DataError(
                    f"{phone!r} is not a phone of {self.title} ({' '.join(self.phones)})"
                    + nearest(phone, self.phones),
                    remedy="write phones with a space between them, words apart by |",
                )
        return found


@functools.cache
def load_inventory(name: str) -> Inventory:
    """Return an inventory: "open-jtalk", "julius" or "kana".

    Raises:
        UsageError: no such inventory.
    """
    content = _content(name)
    return Inventory(
        name=name,
        title=content["title"],
        phones=tuple(content["phones"]),
        fold=content["fold"],
    )


def to_julius(phones: Sequence[str]) -> list[str]:
    """Open JTalk's phones as Julius': a vowel twice within a word is a long one.

    Boundaries "|" and pauses stay, and nothing is joined across them. What is lost: v, fy, ty, kw
    and gw become b, hy, t, k and g, and two equal vowels that meet (場合) count as a long one.

    Raises:
        DataError: a symbol that is none of Open JTalk's.
    """
    own = load_inventory(OPEN_JTALK).folded(phones)
    renamed = cast("dict[str, str]", _content(JULIUS)["from-open-jtalk"])
    known = frozenset(load_inventory(JULIUS).phones)
    found: list[str] = []
    for phone in own:
        long = f"{phone}:"
        if found and found[-1] == phone and long in known:
            found[-1] = long
        else:
            found.append(renamed.get(phone, phone))
    return found


def to_open_jtalk(phones: Sequence[str]) -> list[str]:
    """Julius' phones as Open JTalk's: a long vowel is the vowel twice.

    Raises:
        DataError: a symbol that is none of Julius'.
    """
    renamed = cast("dict[str, str]", _content(JULIUS)["to-open-jtalk"])
    own = load_inventory(JULIUS).folded(phones)
    return [one for phone in own for one in renamed.get(phone, phone).split()]


@functools.cache
def _content(name: str) -> dict[str, Any]:
    if name not in INVENTORIES:
        raise UsageError(
            f"{name!r} is not an inventory of phones (known: {', '.join(INVENTORIES)})"
            + nearest(name, INVENTORIES),
            remedy="name one of these",
        )
    file = resources.files("minna.corpus") / "inventories" / f"{name}.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))


# ---- reading Japanese


class Reading(NamedTuple):
    """A text read aloud.

    Attributes:
        words: phones of each morpheme.
        kana: katakana as it is pronounced.
        unread: pieces that nobody could read (a rare character, a word of another script).
        labels: Open JTalk's full-context labels, from which speech is made.
    """

    words: list[list[str]]
    kana: str
    unread: tuple[str, ...]
    labels: list[str]

    @property
    def with_pauses(self) -> list[list[str]]:
        """The words, and a word ["pau"] for every silence of the labels."""
        return list(_between_pauses(self.words, self.labels))


def read_aloud(text: str) -> Reading:
    """Read one line of Japanese.

    Raises:
        DataError: the text is too long to be one utterance, or the analyser gives up on it.
        MissingExtraError: pyopenjtalk-plus is not installed.
    """
    if len(text) > MOST_CHARACTERS:
        raise DataError(
            f"a text of {len(text)} characters is no utterance ({MOST_CHARACTERS} are read)",
            remedy="cut it into sentences",
        )
    library = open_jtalk()
    # predict_nani without its model (another package) reads each 何 as ナニ: 何度, 何人 wrong
    if not text.strip():
        return Reading([], "", (), [])
    try:
        features, morphs = library.run_frontend_detailed(text, predict_nani=False)
        told: list[dict[str, Any]] = library.make_phoneme_mapping(features, morphs)
        labels: list[str] = library.make_label(features)
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise DataError(
            f"Open JTalk cannot read {text[:40]!r}: {error}", remedy="leave the text out"
        ) from error
    fold = load_inventory(OPEN_JTALK).folded
    words: list[list[str]] = []
    unread: list[str] = []
    kana = ""
    for one in told:
        word = fold([phone for phone in one["phonemes"] if phone not in _NO_SOUND])
        if word:
            words.append(word)
            kana += one["pron"]
        elif any(character.isalnum() for character in one["surface"]) and "unk" in one["phonemes"]:
            unread.append(one["surface"])
    return Reading(words, spoken_kana(kana), tuple(unread), labels)


def phones_of(text: str) -> list[list[str]]:
    """Words of Open JTalk's phones, devoiced vowels counted as vowels, pauses left out.

    Raises:
        DataError, MissingExtraError: as `read_aloud`.
    """
    return read_aloud(text).words


def kana_of(text: str) -> str:
    """Katakana as a text is pronounced (王様は is オーサマワ), punctuation left out.

    Raises:
        DataError, MissingExtraError: as `read_aloud`.
    """
    return read_aloud(text).kana


def open_jtalk() -> Any:
    """The library; it greets on standard output, where our results go, and is kept from it.

    Raises:
        MissingExtraError: pyopenjtalk-plus is not installed (pyopenjtalk does not suffice).
    """
    try:
        metadata.version("pyopenjtalk-plus")
        with contextlib.redirect_stdout(io.StringIO()):
            import pyopenjtalk
    except (metadata.PackageNotFoundError, ImportError, OSError) as error:
        raise MissingExtraError("pyopenjtalk-plus", extra="speech") from error
    return pyopenjtalk


def version() -> str:
    """What reads Japanese here, and which dictionary it has.

    Raises:
        MissingExtraError: pyopenjtalk-plus is not installed.
    """
    open_jtalk()
    names = ("pyopenjtalk-plus", "sudachidict-core")
    return " ".join(f"{name} {metadata.version(name)}" for name in names)


def label_phones(labels: Sequence[str]) -> list[str]:
    """The phone in the middle of each full-context label, silences all as "pau"."""
    fold = load_inventory(OPEN_JTALK).folded
    found: list[str] = []
    for label in labels:
        match = _LABEL.search(label)
        if match is None:
            raise DataError(f"{label!r} is not a full-context label", remedy="make labels anew")
        found.append(PAUSE if match.group(1) == "sil" else match.group(1))
    return fold(found)


def _between_pauses(words: Sequence[Sequence[str]], labels: Sequence[str]) -> Iterator[list[str]]:
    waiting = iter(words)
    left: list[str] = []
    for phone in label_phones(labels):
        if phone == PAUSE and not left:
            yield [PAUSE]
            continue
        if not left:
            word = list(next(waiting, ()))
            yield word
            left = word.copy()
        if not left or left.pop(0) != phone:
            raise DataError(
                f"Open JTalk's labels say {phone!r} where its words ({words}) do not",
                remedy="leave the text out",
            )


# ---- kana


def without_ruby(text: str) -> str:
    """A text without the readings that stand in brackets behind its kanji: 流(なが)し -> 流し."""
    return _RUBY.sub("", text)


def spoken_kana(text: str) -> str:
    """The kana of a text as katakana of the inventory "kana"; all else goes."""
    inventory = load_inventory(KANA)
    known = frozenset(inventory.phones)
    folded = (inventory.fold.get(one, one) for one in text.translate(_HIRAGANA))
    return "".join(one for one in folded if one in known)


def same_reading(one: str, other: str) -> bool:
    """Whether two texts of kana say the same, however each spells its long vowels."""
    return _vowels_told(spoken_kana(one)) == _vowels_told(spoken_kana(other))


def _vowels_told(kana: str) -> str:
    """Each long vowel as the vowel: コー, コウ and コオ are one."""
    found: list[str] = []
    before = ""
    for one in kana:
        if before and (one in (_LONG, before) or (before, one) in _SPELLED_LONG):
            found.append(before)
        else:
            found.append(one)
            before = _VOWEL.get(one, "")
    return "".join(found)
