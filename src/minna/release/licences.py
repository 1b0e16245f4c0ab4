"""The licence of the weights: which one, its text, and when it cannot be told.

It is one of three legal things that cards like to mix: what others may do with the weights (here),
what the owners of the data ask for (NOTICE and the table of the card), and why training was lawful
(the data statement). Only the first one is the builder's to choose, and not even that one where the
weights began as somebody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Final

from minna.artifact import Manifest
from minna.artifact.terms import Terms, stays
from minna.errors import MinnaError, nearest
from minna.release.settings import ReleaseSettings

# What a licence wants written where its weights are passed on, in its own words (from memory).
_LINES: Final = {
    "llama2": "Llama 2 is licensed under the LLAMA 2 Community License, Copyright (c) Meta "
    "Platforms, Inc. All Rights Reserved.",
}
_BUNDLED: Final = {"apache-2.0": "Apache License 2.0", "mit": "MIT License"}
# Other ids that the Hub shows as a licence of their own; the rest is "other" with a name and a
# link.
_HUB_IDS: Final = frozenset(
    [
        "afl-3.0",
        "agpl-3.0",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc-by-4.0",
        "cc-by-nc-4.0",
        "cc-by-nc-sa-4.0",
        "cc-by-sa-3.0",
        "cc-by-sa-4.0",
        "cc0-1.0",
        "creativeml-openrail-m",
        "gpl-3.0",
        "llama2",
        "lgpl-3.0",
        "mpl-2.0",
        "openrail",
        "openrail++",
        "unlicense",
    ]
)


class LicenceError(MinnaError):
    """A release cannot say under which licence its weights are."""


@dataclass(frozen=True, kw_only=True)
class WeightsLicence:
    """The licence of the weights.

    Attributes:
        id: as given, such as apache-2.0.
        title: for people.
        hub_id: the card's `license` field; "other" where the Hub does not know it.
        text: the content of LICENSE.
    """

    id: str
    title: str
    hub_id: str
    text: str


def weights_licence(
    settings: ReleaseSettings, *, run: Manifest, terms: Terms, name: str, year: str
) -> WeightsLicence:
    """Decide the licence of the weights.

    Args:
        settings: what a person decided.
        run: that trained them.
        terms: of the weights it began with.
        name: of the model.
        year: it was made in, for a copyright line.

    Raises:
        LicenceError: none is known, its text is missing, the weights began as another model's and
            nobody said under which terms, or under others than those they keep.
    """
    chosen = (settings.licence or _of_run(settings, run, terms)).strip().lower()
    inherited = stays(terms.licence) or _inherited(run)
    if inherited and chosen != inherited:
        raise LicenceError(
            f"the weights began under {inherited!r} and stay under it, and --licence is {chosen!r}",
            remedy=f"leave --licence out, and give the text of {inherited} with --licence-file",
        )
    if not chosen or chosen in ("unknown", "not stated", "other"):
        raise LicenceError(
            f"the licence of the weights is not known (found {chosen!r})",
            remedy="give --licence, such as apache-2.0, or another with --licence-file",
        )
    if chosen.startswith("llama3") and not name.startswith("Llama"):
        raise LicenceError(
            f"Llama 3's licence asks for a name that begins with Llama, and this is {name!r}",
            remedy="give --name Llama-..., and say who built it behind that",
        )
    if settings.licence_file is not None:
        text = _read(settings)
    elif chosen == terms.licence and terms.text_of("licen", "copying"):
        text = terms.text_of("licen", "copying")
    elif chosen in _BUNDLED:
        text = (resources.files("minna.release") / "templates" / f"{chosen}.txt").read_text(
            encoding="utf-8"
        )
        holder = settings.author or f"the authors of {name}"
        text = text.replace("@YEAR@", year).replace("@HOLDER@", holder)
    else:
        raise LicenceError(
            f"the text of the licence {chosen!r} is not part of minna{nearest(chosen, _BUNDLED)}",
            remedy=f"give its text with --licence-file FILE; bundled: {', '.join(_BUNDLED)}",
        )
    known = chosen in _BUNDLED or chosen in _HUB_IDS
    return WeightsLicence(
        id=chosen,
        title=_BUNDLED.get(chosen, chosen),
        hub_id=chosen if known else "other",
        text=text,
    )


def base_notices(terms: Terms) -> list[str]:
    """What NOTICE must say of the weights that training began with."""
    found = terms.text_of("notice").strip()
    line = _LINES.get(terms.licence, "")
    return [text for text in (found, "" if line in found else line) if text]


def base_weights(run: Manifest) -> str:
    """Where training took its first weights from; "" for random ones."""
    init = run.settings.get("init")
    return str(init.get("from", "")) if isinstance(init, dict) else ""


def _inherited(run: Manifest) -> str:
    """Terms of the weights that training began with, where the recipe names them; else ""."""
    named = str(run.settings.get("licence", "")).strip().lower()
    return stays(named) if base_weights(run) else ""


def _of_run(settings: ReleaseSettings, run: Manifest, terms: Terms) -> str:
    """The recipe's licence, where it can be told: it says nothing of weights that it began with."""
    if inherited := _inherited(run):
        return inherited
    if terms.licence and not stays(terms.licence):
        return str(run.settings.get("licence", ""))  # it was compared when the run began
    base = base_weights(run)
    if base or settings.base_model:
        raise LicenceError(
            f"training began with the weights of {settings.base_model or base!r}, whose licence is "
            "inherited",
            remedy="look it up, and give --licence (with --licence-file) and --base-model",
        )
    return str(run.settings.get("licence", ""))


def _read(settings: ReleaseSettings) -> str:
    assert settings.licence_file is not None, "the caller has looked"
    try:
        text = settings.licence_file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LicenceError(
            f"the licence file {settings.licence_file} cannot be read: {error}",
            remedy="give a text file in UTF-8",
        ) from error
    if not text.strip():
        raise LicenceError(
            f"the licence file {settings.licence_file} is empty", remedy="give the licence's text"
        )
    return text if text.endswith("\n") else text + "\n"
