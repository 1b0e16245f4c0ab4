"""`corpus build synth` and `synth-en`: any text, spoken by a program with many voices.

Recordings that may be given away, with every phone's time, do not exist in Japanese; a program's
speech has both, and is synthetic: what a model reaches on it says nothing of people. Sentences and
speakers of the three splits are disjoint, so that neither a sentence nor a voice of the test was
ever trained on. English speech is for the comparison that needs a wrong language.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import numpy as np

from minna.artifact import Licence, Parent, parent_of, read_manifest
from minna.console import warn
from minna.corpus import japanese
from minna.corpus.audio import RATE, BadClipError, store_clip
from minna.corpus.card_words import LEGAL_NOTES
from minna.corpus.clip_rows import phones_told
from minna.corpus.clip_settings import ClipSettings, ClipShard, GivenClip, Section
from minna.corpus.passes.write import split_of
from minna.corpus.phonemes import read_aloud, version
from minna.corpus.sources.streams import describe_files
from minna.corpus.synth_engines import (
    ESPEAK,
    HTS_ENGINE,
    PYOPENJTALK,
    Said,
    japanese_voices,
    program,
    program_version,
    say_espeak,
    say_hts,
    say_pyopenjtalk,
    voice_file,
)
from minna.corpus.synth_rooms import surrounded
from minna.corpus.synth_speakers import ACCENTS, VARIANTS, Speaker, draw_speakers
from minna.corpus.synth_texts import Language, is_corpus, sentences, text_files
from minna.errors import DataError, UsageError

_VERSION: Final = 1
"""Part of every key: raise it when clips are made differently."""
_PER_SHARD: Final = 200
_SETTINGS: Final = ("limit", "valid", "test", "seed", "speakers", "takes", "surroundings", "field")
_VOICE: Final = Licence(
    source="HTS voice Mei (normal)",
    licence="CC BY 3.0",
    attribution="MMDAgent Project Team",
)
_MEI_JA: Final = (
    "**合成音声**です。人の声ではありません。{engine} が{voices}から作った疑似話者が話しています。"
    "同じ声から作った話者の違いは一人の人の声色の違いほどしかなく、この音声での成績は人の音声での"
    "成績を示しません。{times}"
)
_MEI_EN: Final = (
    "**Synthetic speech**, no people: {engine} speaks, with pseudo-speakers made of {voices}. "
    "Those of one voice differ as one person's imitations do, and what a model reaches here does "
    "not tell what it reaches on people. {times}"
)
_TIMES: Final = {
    HTS_ENGINE: ("音素の時刻は正確です。", "The times of phones are exact."),
    PYOPENJTALK: (
        "音素の時刻はありません（hts_engine があれば付きます）。",
        "There are no times of phones (with the program hts_engine there are).",
    ),
}
_ESPEAK_JA: Final = (
    "**合成音声**（英語）です。人の声ではありません。{engine} が{voices}種類の声から作"
    "った疑似話者が話しています。言語の比較に使います。"
)
_ESPEAK_EN: Final = (
    "**Synthetic speech** (English), no people: {engine} speaks, with pseudo-speakers made of "
    "{voices} of its voices. It is for comparisons between languages."
)


class _Spec(NamedTuple):
    """One clip to be made: a sentence, who says it, and the number of the take."""

    text: str
    kana: str
    speaker: Speaker
    take: int


class _Spoken:
    """What both languages share: sentences, speakers, and who says which."""

    def __init__(
        self, settings: ClipSettings, path: Path, *, language: Language, voices: Sequence[str]
    ) -> None:
        self._settings = settings
        self._path = path
        self._language: Language = language
        self._speakers = draw_speakers(
            settings.speakers,
            valid=settings.valid,
            test=settings.test,
            seed=settings.seed,
            voices=voices,
            prefix="synthetic" if language == "ja" else f"synthetic-{language}",
        )
        if settings.takes > len(self._of("train")):
            raise UsageError(
                f"takes={settings.takes}, and only {len(self._of('train'))} of "
                f"{settings.speakers} speakers are for training",
                remedy="take more speakers, or fewer takes",
            )
        self.parents: list[Parent] = []
        self.legal: list[str] = list(LEGAL_NOTES)
        self.licences, identity = self._text_terms()
        self.decided: dict[str, Any] = {
            "source": settings.source,
            "identity": identity,
            "normalisation": japanese.VERSION,
            "version": _VERSION,
            "rate": RATE,
        } | {name: getattr(settings, name) for name in _SETTINGS}

    def _text_terms(self) -> tuple[list[Licence], dict[str, Any]]:
        """The terms of the text, and what fixes it."""
        if is_corpus(self._path):
            self.parents.append(parent_of(self._path, role="text", kind="corpus"))
            return list(read_manifest(self._path).licences), {}
        if not self._path.exists():
            raise DataError(f"{self._path} does not exist", remedy="check the path after --from")
        own = Licence(
            source=f"text of {self._path.name}",
            licence=self._settings.licence,
            attribution=self._settings.attribution,
        )
        return [own], describe_files(list(text_files(self._path)))

    def _of(self, split: str) -> list[Speaker]:
        return [speaker for speaker in self._speakers if speaker.split == split]

    def _specs(self) -> list[_Spec]:
        """All clips, in the order of the corpus: sentence after sentence, its takes together."""
        settings = self._settings
        most = None if settings.limit is None else -(-settings.limit // settings.takes)
        by_split = {split: self._of(split) for split in ("train", "valid", "test")}
        found: list[_Spec] = []
        for sentence in sentences(
            self._path,
            language=self._language,
            field=settings.field,
            seed=settings.seed,
            most=most,
        ):
            name = f"{sentence.text} {settings.seed}"
            who = by_split[split_of(name, valid=settings.valid, test=settings.test)]
            takes = min(settings.takes, len(who))
            drawn = np.random.default_rng(_numbers(name)).permutation(len(who))[:takes]
            found += [
                _Spec(sentence.text, sentence.kana, who[place], take)
                for take, place in enumerate(drawn.tolist())
            ]
        return found

    def _shards(self, make: Any, *, source: str, licence: str) -> list[ClipShard]:
        specs = self._specs()
        return [
            ClipShard(
                name=f"sentences {start + 1} to {min(start + _PER_SHARD, len(specs))}",
                read=functools.partial(
                    _read, specs[start : start + _PER_SHARD], source=source, licence=licence
                ),
                make=make,
            )
            for start in range(0, len(specs), _PER_SHARD)
        ]

    def _told(self) -> str:
        """The terms of the text, as they stand in a row."""
        return self.licences[0].licence if self.licences else "not stated"


class JapaneseSynth(_Spoken):
    """Japanese, spoken by hts_engine or by pyopenjtalk.

    Raises:
        UsageError: an engine was asked for that is not there, or there are too few speakers.
        DataError: a voice that was given is none.
        MissingExtraError: pyopenjtalk-plus is not installed.
    """

    def __init__(self, settings: ClipSettings, path: Path) -> None:
        self._engine = _engine(settings.engine)
        if settings.voice_files is not None and self._engine != HTS_ENGINE:
            raise UsageError(
                f"voice_files={settings.voice_files} is for the program hts_engine, and "
                f"{self._engine} speaks",
                remedy="install it (Debian: apt-get install htsengine), or leave voice_files out",
            )
        own = [] if settings.voice_files is None else japanese_voices(settings.voice_files)
        super().__init__(settings, path, language="ja", voices=[str(file) for file in own])
        told = program_version(HTS_ENGINE) if self._engine == HTS_ENGINE else ""
        times = _TIMES[self._engine]
        self.decided |= {
            "engine": f"{self._engine} {told}".strip(),
            "times": "exact" if self._engine == HTS_ENGINE else "none",
            "reader": version(),
            "voice": [_hash(file) for file in own] or _hash(voice_file()),
        }
        names = [file.stem for file in own]
        self._voice = _VOICE
        voices = ("一つの声（Mei）", "one voice (Mei)")
        if own:
            self._voice = Licence(
                source=f"HTS voices: {', '.join(names)}",
                licence=settings.voice_licence,
                attribution=settings.voice_attribution,
            )
            voices = (
                f"{len(own)} つの声（{'、'.join(names)}）",
                f"voices of hts_engine ({', '.join(names)})",
            )
        self.licences = [*self.licences, self._voice]
        self.remarks: list[tuple[str, str]] = [
            (
                _MEI_JA.format(engine=self._engine, voices=voices[0], times=times[0]),
                _MEI_EN.format(engine=self._engine, voices=voices[1], times=times[1]),
            )
        ]

    def shards(self) -> Sequence[ClipShard]:
        """200 clips each."""
        make = functools.partial(
            say_japanese,
            engine=self._engine,
            surroundings=self._settings.surroundings,
            seed=self._settings.seed,
        )
        terms = f"{self._voice.licence} (voice), {self._told()} (text)"
        return self._shards(make, source="synthetic", licence=terms)


class EnglishSynth(_Spoken):
    """English, spoken by espeak-ng.

    Raises:
        UsageError: espeak-ng is not there, or there are too few speakers.
    """

    def __init__(self, settings: ClipSettings, path: Path) -> None:
        voices = [f"{ACCENTS[n % len(ACCENTS)]}+{name}" for n, name in enumerate(VARIANTS)]
        some = voices[: settings.voices]
        super().__init__(settings, path, language="en", voices=some)
        if not program(ESPEAK):
            raise UsageError(
                "English is spoken by espeak-ng, and that program is not there",
                remedy="install it (Debian: apt-get install espeak-ng)",
            )
        told = program_version(ESPEAK)
        self.decided |= {"engine": told, "times": "none", "voices": some}
        words = {"engine": told, "voices": len(some)}
        self.remarks: list[tuple[str, str]] = [
            (_ESPEAK_JA.format(**words), _ESPEAK_EN.format(**words))
        ]

    def shards(self) -> Sequence[ClipShard]:
        """200 clips each."""
        make = functools.partial(
            say_english, surroundings=self._settings.surroundings, seed=self._settings.seed
        )
        return self._shards(make, source="synthetic-en", licence=f"{self._told()} (text)")


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _engine(asked: Literal["auto", "hts_engine", "pyopenjtalk"]) -> str:
    """Which engine speaks."""
    there = bool(program(HTS_ENGINE))
    if asked == HTS_ENGINE and not there:
        raise UsageError(
            "engine=hts_engine was asked for, and that program is not there",
            remedy="install it (Debian: apt-get install htsengine), or engine=pyopenjtalk",
        )
    if asked == "auto" and not there:
        warn(
            "the program hts_engine is not there (Debian: htsengine): pyopenjtalk speaks instead, "
            "and no clip will have the times of its phones"
        )
    return HTS_ENGINE if there and asked != PYOPENJTALK else PYOPENJTALK


def _read(specs: Sequence[_Spec], *, source: str, licence: str) -> Iterator[GivenClip]:
    """What is to be said, as JSON: it is spoken in another process."""
    for spec in specs:
        told = spec._asdict() | {"speaker": asdict(spec.speaker)}
        yield GivenClip(
            content=json.dumps(told, ensure_ascii=False, sort_keys=True).encode(),
            sections=(Section(),),
            source=source,
            licence=licence,
            speaker=spec.speaker.name,
            group=f"sentence {hashlib.sha256(spec.text.encode()).hexdigest()[:16]}",
            split=spec.speaker.split,
        )


def _spec(given: GivenClip) -> _Spec:
    told = json.loads(given.content)
    return _Spec(**told | {"speaker": Speaker(**told["speaker"])})


def say_japanese(
    given: GivenClip, *, engine: str, surroundings: Literal["mixed", "none"], seed: int
) -> GivenClip:
    """Speak a sentence; return the recording with its phones.

    Raises:
        BadClipError: it cannot be read (`unreadable`) or was not spoken (`unspoken`).
    """
    spec = _spec(given)
    try:
        reading = read_aloud(spec.text)
    except DataError as error:
        raise BadClipError(error.rule, problem="unreadable") from error
    if reading.unread or not reading.words:
        raise BadClipError(f"{spec.text!r} cannot be read aloud", problem="unreadable")
    say = say_hts if engine == HTS_ENGINE else say_pyopenjtalk
    said = say(reading.labels, spec.speaker)
    section = Section(
        transcript=spec.text,
        kana=reading.kana,
        phones=phones_told(reading.with_pauses if said.ends else reading.words),
        times=said.ends,
    )
    return _recorded(given, said, section, spec, surroundings=surroundings, seed=seed)


def say_english(
    given: GivenClip, *, surroundings: Literal["mixed", "none"], seed: int
) -> GivenClip:
    """Speak an English sentence.

    Raises:
        BadClipError: it was not spoken (`unspoken`).
    """
    spec = _spec(given)
    said = say_espeak(spec.text, spec.speaker)
    section = Section(transcript=spec.text)
    return _recorded(given, said, section, spec, surroundings=surroundings, seed=seed)


def _recorded(
    given: GivenClip,
    said: Said,
    section: Section,
    spec: _Spec,
    *,
    surroundings: Literal["mixed", "none"],
    seed: int,
) -> GivenClip:
    """The clip as it is heard, as a file."""
    random = np.random.default_rng(_numbers(f"{seed} {spec.text} {spec.speaker.name} {spec.take}"))
    heard = surrounded(said.samples, kind=surroundings, random=random)
    return given._replace(content=store_clip(heard), sections=(section,))


def _numbers(text: str) -> list[int]:
    """Seeds out of a text, the same in every process."""
    return list(hashlib.blake2b(text.encode(), digest_size=16).digest())
