"""What a corpus of dialogues is made of: files that somebody has, or the sentences of a corpus.

Both give the same rows, say what determines them before anything is read (so that an unchanged
source is not built again), and count what they leave out by its reason.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, Protocol, Self

from pydantic import ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

from minna.artifact import Licence, Parent, parent_of, read_manifest
from minna.corpus import japanese
from minna.corpus.card_words import LEGAL_NOTES
from minna.corpus.dialogue_card import DIALOGUE_NOTES
from minna.corpus.dialogue_rows import Row
from minna.corpus.dialogues import Dialogue, Dialogues
from minna.corpus.keywords import Keywords
from minna.corpus.passes.write import split_of
from minna.corpus.sources.files import find_files
from minna.corpus.sources.source import content_id
from minna.corpus.sources.streams import describe_files
from minna.errors import UsageError
from minna.prompts import Turn

READS: Final = {
    "dialogues": ("licence", "attribution", "valid", "test", "unanswered"),
    "keywords": ("seed", "compared"),
}
"""Settings that one source reads and the other does not."""
_VERSION: Final = 1
"""Part of every key: raise it when rows are made differently."""


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class DialogueSettings:
    """Settings of `corpus build dialogues` and `corpus build keywords`.

    Attributes:
        source: "dialogues" (a file or folder of them) or "keywords" (made of a text corpus).
        path: where they, or the text corpus, lie.
        licence: terms of the dialogues, for the card (dialogues).
        attribution: whom to credit (dialogues).
        valid: share of groups held out for looking at while training (dialogues).
        test: share of groups held out for the final numbers (dialogues).
        limit: only the first so many dialogues, or documents of the text corpus, are read.
        unanswered: `drop` cuts off a last turn that nobody answered; `keep` keeps it, as a prompt
            for reinforcement (dialogues).
        seed: fixes which keywords and which worse answers are taken (keywords).
        compared: share of the dialogues that get a worse answer (keywords).
    """

    source: Literal["dialogues", "keywords"]
    path: Path
    licence: str = "not stated"
    attribution: str = ""
    valid: float = Field(default=0.02, ge=0, lt=1)
    test: float = Field(default=0.02, ge=0, lt=1)
    limit: int | None = Field(default=None, ge=1)
    unanswered: Literal["drop", "keep"] = "drop"
    seed: int = Field(default=0, ge=0)
    compared: float = Field(default=1.0, ge=0, le=1)

    @model_validator(mode="after")
    def _leave_something_to_train_on(self) -> Self:
        if self.valid + self.test >= 1:
            raise ValueError(f"valid {self.valid} + test {self.test} must be under 1")
        return self


class DialogueSource(Protocol):
    """Where rows come from.

    Attributes:
        decided: what determines them, known without reading them.
        parents: directories they are made of.
        licences, legal: their terms.
    """

    decided: dict[str, Any]
    parents: list[Parent]
    licences: list[Licence]
    legal: list[str]

    def rows(self) -> Iterator[Row]:
        """The rows, once."""
        ...

    def counts(self) -> tuple[int, dict[str, int], dict[str, int]]:
        """After `rows`: read; reason -> dropped; what a worse answer does wrong -> dialogues."""
        ...


def open_dialogues(settings: DialogueSettings) -> DialogueSource:
    """Return the source that the settings name.

    Raises:
        UsageError: a setting was given that it does not read.
        DataError: nothing there that can be read.
        ArtifactError: not a corpus (keywords).
    """
    _refuse_unread(settings)
    return _Files(settings) if settings.source == "dialogues" else _Sentences(settings)


def _refuse_unread(settings: DialogueSettings) -> None:
    """A setting that is ignored would be believed to have worked."""
    plain = DialogueSettings(source=settings.source, path=settings.path)
    for reader, names in READS.items():
        for name in names:
            value = getattr(settings, name)
            if reader != settings.source and value != getattr(plain, name):
                why = {
                    "keywords": "splits, licences and credits are those of the text corpus",
                    "dialogues": "nothing is drawn for it",
                }[settings.source]
                raise UsageError(
                    f"the source {settings.source} does not read {name}, and {name}={value!r} was "
                    f"given ({why})",
                    remedy=f"leave {name} out",
                )


class _Files:
    """Dialogues that somebody has."""

    def __init__(self, settings: DialogueSettings) -> None:
        files = find_files(settings.path, formats=("json lines", "parquet"), what="dialogue")
        self._settings = settings
        self._given = Dialogues(settings.path, settings.unanswered)
        self._taken = 0
        self._dropped: Counter[str] = Counter()
        self.parents: list[Parent] = []
        self.licences = [
            Licence(source="dialogues", licence=settings.licence, attribution=settings.attribution)
        ]
        self.legal = [*LEGAL_NOTES, *DIALOGUE_NOTES]
        names = ("limit", "valid", "test", "unanswered")
        self.decided: dict[str, Any] = {
            "source": "dialogues",
            "identity": describe_files(files),
            "licences": [licence.model_dump() for licence in self.licences],
            "normalisation": japanese.VERSION,
            "version": _VERSION,
        } | {name: getattr(settings, name) for name in names}

    def rows(self) -> Iterator[Row]:
        """Dialogues in normalised form, each once."""
        seen: set[bytes] = set()
        for dialogue in itertools.islice(self._given, self._settings.limit):
            self._taken += 1
            turns = tuple(Turn(turn.role, japanese.normalise(turn.text)) for turn in dialogue.turns)
            rejected = japanese.normalise(dialogue.rejected)
            reason = _reason(dialogue, turns, rejected)
            alone = _key(turns, "")
            if reason or _key(turns, rejected) in seen:
                self._dropped[reason or "the same turns came before"] += 1
                continue
            seen |= {alone, _key(turns, rejected)}
            yield self._row(dialogue.id, turns, rejected)

    def _row(self, identity: str, turns: tuple[Turn, ...], rejected: str) -> Row:
        settings = self._settings
        question = next(turn.text for turn in turns if turn.role == "user")
        group = content_id(question.encode())
        split = split_of(group, valid=settings.valid, test=settings.test)
        return Row(identity, group, split, "dialogues", settings.licence, turns, rejected)

    def counts(self) -> tuple[int, dict[str, int], dict[str, int]]:
        """Rows with nothing to count under "worse"."""
        dropped = self._given.dropped + self._dropped
        return self._taken + self._given.dropped.total(), dict(dropped), {}


def _key(turns: tuple[Turn, ...], rejected: str) -> bytes:
    told = json.dumps([[turn.role, turn.text] for turn in turns] + [rejected]).encode()
    return hashlib.blake2b(told, digest_size=16).digest()


def _reason(dialogue: Dialogue, turns: tuple[Turn, ...], rejected: str) -> str:
    """Why a dialogue is none once it is normalised, or ""."""
    if not all(turn.text for turn in turns) or (dialogue.rejected and not rejected):
        return "empty turn"
    if rejected and rejected == turns[-1].text:
        return "both answers are the same"
    return ""


class _Sentences:
    """Dialogues made of the sentences of a text corpus."""

    def __init__(self, settings: DialogueSettings) -> None:
        manifest = read_manifest(settings.path, kind="corpus")
        self._keywords = Keywords(
            settings.path, seed=settings.seed, compared=settings.compared, limit=settings.limit
        )
        self.parents = [parent_of(settings.path, role="corpus", kind="corpus")]
        self.licences = list(manifest.licences)
        self.legal = list(manifest.legal)
        names = ("limit", "seed", "compared")
        self.decided: dict[str, Any] = {"source": "keywords", "version": _VERSION} | {
            name: getattr(settings, name) for name in names
        }

    def rows(self) -> Iterator[Row]:
        """A dialogue for each sentence that can be one."""
        for one in self._keywords:
            turns = (Turn("user", one.prompt), Turn("assistant", one.answer))
            yield Row(one.id, one.group, one.split, "keywords", one.licence, turns, one.rejected)

    def counts(self) -> tuple[int, dict[str, int], dict[str, int]]:
        """Documents."""
        told = self._keywords
        return told.read, dict(told.dropped), dict(told.worse)
