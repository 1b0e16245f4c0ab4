"""What is fixed in a speed run: the text, the time, the kind of machine. All data, one TOML each.

Whatever is not here is free: recipe, tokenizer, precision, kernels. That is the point.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

from minna import recipe as recipes
from minna.corpus import BuildSettings
from minna.errors import DataError, UsageError
from minna.settings import Shelf, checked

_FORBID = ConfigDict(extra="forbid")


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class MachineClass:
    """What may be used.

    Attributes:
        device: where the model trains.
        cores: CPU threads of a `cpu` track.
        gpu: word in the name of the GPU; "" is any.
        gpu_gb: most memory of the GPU, in 10^9 bytes.
    """

    device: Literal["cpu", "cuda"]
    cores: int | None = Field(default=None, ge=1)
    gpu: str = ""
    gpu_gb: float | None = Field(default=None, gt=0)


@dataclass(frozen=True, kw_only=True, config=_FORBID)
class Track:
    """One yardstick.

    Attributes:
        minutes: of training: compiling and steps, not looks, checkpoints, corpus or tokenizer.
        corpus: settings of `corpus build`; its split `test` is what counts at the end.
        recipe: what runs when none is named.
        overrides: what that recipe needs on this text.
    """

    name: str = Field(min_length=1)
    description: str
    minutes: float = Field(gt=0, allow_inf_nan=False)
    machine: MachineClass
    corpus: dict[str, Any]
    recipe: str
    overrides: tuple[str, ...] = ()

    def rules(self) -> dict[str, Any]:
        """What two records must share to be compared."""
        whole = resolved(self)
        return {key: whole[key] for key in ("name", "minutes", "machine", "corpus")}


_SHELF = Shelf(kind="track", package="minna.speedrun", folder="tracks")


def names() -> list[str]:
    """Names of the tracks that minna brings."""
    return _SHELF.names()


def source(name: str) -> str:
    """Return the TOML text of a track, by name or path.

    Raises:
        UsageError: there is none.
    """
    return _SHELF.text(name)


def load(name: str) -> Track:
    """Read and check a track, by name or path.

    Raises:
        UsageError: no such track, not TOML, an unknown key, or a value that is not allowed.
    """
    track = _checked(Track, _SHELF.content(name), f"track {name!r}: ")
    corpus_settings(track)
    recipe_of(track, name=None, overrides=())
    return track


def resolved(track: Track) -> dict[str, Any]:
    """Return a track as plain data."""
    return TypeAdapter(Track).dump_python(track, mode="json")


def corpus_settings(track: Track, *, aozora: Path | None = None) -> BuildSettings:
    """Return the settings the track's text is built with.

    Args:
        track: from `load`.
        aozora: the archive of Aozora Bunko, which lies with the user.

    Raises:
        UsageError: a setting that `corpus build` does not know.
    """
    settings = _checked(BuildSettings, track.corpus, f"track {track.name!r}: corpus.")
    return settings if aozora is None else replace(settings, path=aozora)


def check_archive(track: Track, *, aozora: Path | None) -> None:
    """Check that the archive is given where the track needs it, and only there.

    Raises:
        UsageError: it is not given, or of no use.
        DataError: nothing lies there.
    """
    needed = track.corpus["source"] == "aozora" and "path" not in track.corpus
    if needed and aozora is None:
        raise UsageError(
            f"track {track.name} needs an archive of Aozora Bunko",
            remedy="give it with --aozora, such as --aozora aozora.tar.xz (docs/corpora.md)",
        )
    if aozora is not None and not needed:
        raise UsageError(
            f"track {track.name} reads no archive of Aozora Bunko", remedy="leave --aozora out"
        )
    if aozora is not None and not aozora.exists():
        raise DataError(f"{aozora} does not exist", remedy="check the path after --aozora")


def recipe_of(track: Track, *, name: str | None, overrides: tuple[str, ...]) -> recipes.Recipe:
    """Return the recipe of a run: the one named or the track's own, for the track's time.

    Raises:
        UsageError: no such recipe, a bad override, one of what the track fixes, or a recipe whose
            loss says no bits per byte.
    """
    for word in overrides:
        key = word.partition("=")[0]
        if key in ("train.minutes", "train.device"):
            raise UsageError(
                f"{key} belongs to track {track.name} and cannot be changed",
                remedy=f"write a track of your own: `minna list tracks {track.name} > mine.toml`, "
                "then --track mine.toml",
            )
    name = name or track.recipe
    fixed = (
        # only the time ends the run, unless somebody says otherwise, and its tenths are the looks
        "train.steps=1_000_000_000",
        "train.evaluate_every=1_000_000_000",
        *(track.overrides if name == track.recipe else ()),
        *overrides,
        f"train.minutes={track.minutes}",
        f"train.device={track.machine.device}",
    )
    chosen = recipes.load(name, overrides=fixed)
    if chosen.objective.kind != "causal_lm":
        raise UsageError(
            f"recipe {chosen.name} learns by {chosen.objective.kind}, which gives no bits per byte",
            remedy="race with a recipe that pays for every token (causal_lm)",
        )
    return chosen


def _checked(kind: Any, content: dict[str, Any], where: str) -> Any:
    return checked(
        kind,
        content,
        naming=lambda path: f"{where}{path}",
        remedy="`minna list tracks cpu-10min-tatoeba` prints a whole track to compare with",
    )
