"""The npm packages that the emoji corpus is made of, each pinned, and the terms of each renderer.

Four artists have drawn the same two thousand things and let everybody use the drawings; two
companies have drawn them and do not. The first four are the default. The others are there for those
who have the right, by name only, and their terms are said aloud each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from minna.artifact import Licence
from minna.corpus.sources.npm import PinnedPackage

NAMES: Final = PinnedPackage(
    name="cldr-annotations-full",
    version="48.2.0",
    bytes=6_537_823,
    integrity="sha512-DV7A+rEcgUSNTRsVGNGqBZRmAkGfwhGHO5Q1dRwzBoBnVrHWp804JP7/QJdEc66iHmx3+zLWVIMC"
    "FLm0lW7PUQ==",
)
"""Japanese names and keywords of single characters."""
DERIVED_NAMES: Final = PinnedPackage(
    name="cldr-annotations-derived-full",
    version="48.2.0",
    bytes=4_233_628,
    integrity="sha512-log62km+AOzI7n/NEuNNFV0mg9DWnt67EYCh1RwxZq9dyRuyteB586LT83Ke8TchEfnwI9cIk2P3"
    "1zO4nTvZmw==",
)
"""The same of sequences: skin tones, professions, flags."""
NAMES_LICENCE: Final = Licence(
    source="cldr",
    licence="Unicode-3.0",
    attribution="© Unicode, Inc.: Common Locale Data Repository 48.2, Japanese annotations",
    url="https://www.unicode.org/license.txt",
)
_NOTO: Final = PinnedPackage(
    name="@iconify-json/noto",
    version="1.2.9",
    bytes=3_102_958,
    integrity="sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0m"
    "qHYeZVAuaw==",
)
_TWEMOJI: Final = PinnedPackage(
    name="@twemoji/svg",
    version="15.0.0",
    bytes=1_547_134,
    integrity="sha512-ZSPef2B6nBaYnfgdTbAy4jgW95o7pi2xPGwGCU+WMTxo7J6B1lMPTWwSq/wTuiMq+N0khQ90CcvY"
    "p1wFoQpo/w==",
)
_FLUENT: Final = PinnedPackage(
    name="@lobehub/fluent-emoji-3d",
    version="1.1.0",
    bytes=15_792_027,
    integrity="sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv"
    "60lUAG3h7g==",
)
OPENMOJI: Final = PinnedPackage(
    name="openmoji",
    version="17.0.0",
    bytes=4_339_458,
    integrity="sha512-EBnYrNGdcdw+OSXmENeNE1yBNRu6tOraTmoOyUbJkTmvT/+XETp8RZLSJFzD3lrPc5N9CzsyPnRT"
    "k0Vp4UaI9w==",
)
"""Drawings, and the table that says which of Unicode's groups and subgroups an emoji is in."""
_APPLE: Final = PinnedPackage(
    name="emoji-datasource-apple",
    version="16.0.0",
    bytes=99_291_668,
    integrity="sha512-dVYjsK0FnCry9F+PBtnivhG2K0xdwlmqYaSgiUtztUdAGPYiHYhZcVKvNBqC791g2qyEcFNTBO6u"
    "tg4eQ3uLTw==",
)
_FACEBOOK: Final = PinnedPackage(
    name="emoji-datasource-facebook",
    version="16.0.0",
    bytes=102_958_917,
    integrity="sha512-b9ZxJdB7nMWGckH1vyCjPSosaa6MJYuojPPFiQ0LmDIZS8vlG454XKcmTFKrXIMAA72O4MRJMYFh"
    "vWI8pjyciQ==",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Renderer:
    """Who drew, what may be done with it, and where the drawings lie in the package.

    Attributes:
        package: that holds them.
        licence: of the drawings (which need not be the package's); its source is the renderer.
        layout: "icons" (one JSON of Iconify) or "files" (named by their code points).
        folder, suffix: of the files.
        terms: "free", or "asked for" by name, with a warning.
    """

    package: PinnedPackage
    licence: Licence
    layout: Literal["icons", "files"] = "files"
    folder: str = "package/"
    suffix: str = ".svg"
    terms: Literal["free", "asked for"] = "free"


RENDERERS: Final = {
    "noto": Renderer(
        package=_NOTO,
        layout="icons",
        licence=Licence(
            source="noto",
            licence="Apache-2.0",
            attribution="Noto Emoji © Google LLC, in Iconify's package",
            url="https://github.com/googlefonts/noto-emoji",
        ),
    ),
    "twemoji": Renderer(
        package=_TWEMOJI,
        licence=Licence(
            source="twemoji",
            licence="CC BY 4.0",
            attribution="Twemoji © Twitter, Inc and other contributors",
            url="https://github.com/jdecked/twemoji",
        ),
    ),
    "fluent": Renderer(
        package=_FLUENT,
        folder="package/assets/",
        suffix=".webp",
        licence=Licence(
            source="fluent",
            licence="MIT",
            attribution="Fluent Emoji © Microsoft Corporation, in LobeHub's package (© LobeHub)",
            url="https://github.com/microsoft/fluentui-emoji",
        ),
    ),
    "openmoji": Renderer(
        package=OPENMOJI,
        folder="package/color/svg/",
        licence=Licence(
            source="openmoji",
            licence="CC BY-SA 4.0",
            attribution="All emojis designed by OpenMoji, the open-source emoji and icon project",
            url="https://openmoji.org",
        ),
    ),
    "apple": Renderer(
        package=_APPLE,
        folder="package/img/apple/64/",
        suffix=".png",
        terms="asked for",
        licence=Licence(
            source="apple",
            licence="proprietary",
            attribution="Apple Color Emoji © Apple Inc., not licensed for commercial usage",
        ),
    ),
    "facebook": Renderer(
        package=_FACEBOOK,
        folder="package/img/facebook/64/",
        suffix=".png",
        terms="asked for",
        licence=Licence(
            source="facebook",
            licence="proprietary",
            attribution="Facebook emoji © Meta Platforms, Inc., without a clear licence",
        ),
    ),
}
