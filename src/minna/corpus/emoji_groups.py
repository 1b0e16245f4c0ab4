"""Which emoji there are, and which of them are one thing when it comes to holding out.

An emoji that was held out must not be one that was trained on in another coat. Five rules, and all
that a chain of them joins is one group:

- *the same thing*: skin tones, hair, and man, woman and person are taken off;
- *a variant*: a sequence belongs to what it starts with (the black cat to the cat, the service dog
  to the dog), unless that is a person: a cook and a pilot are two;
- *the same name* once what tells two views apart is taken off: イヌの顔 and イヌ, バス正面 and
  バス, 閉じた錠 and 開いた錠, スピーカー消音 and スピーカー;
- *a series* drawn as one picture with one thing changed: clock faces, moons, banknotes, and others
  found by looking (`SERIES`);
- *a subgroup of signs*: arrows, keys, coloured hearts and shapes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from minna.corpus.emoji_names import Name, files_of, key_of
from minna.errors import DataError

Concepts = Literal["concrete", "all"]
CONCRETE: Final = ("animals-nature", "food-drink", "travel-places", "activities", "objects")
"""Unicode's groups of things that can be pointed at."""
_EVERYTHING: Final = (*CONCRETE, "smileys-emotion", "people-body", "symbols", "flags")

SERIES: Final = (
    "🕐🕑🕒🕓🕔🕕🕖🕗🕘🕙🕚🕛🕜🕝🕞🕟🕠🕡🕢🕣🕤🕥🕦🕧",
    "🌑🌒🌓🌔🌕🌖🌗🌘🌙🌚🌛🌜🌝",
    "☀🌞",
    "🌍🌎🌏🌐",
    "⭐🌟",
    "☁⛅⛈🌤🌥🌦🌧🌨🌩",
    "☂☔🌂⛱",
    "⛄☃",
    "🌃🌆🏙🌇",
    "🌄🌅",
    "⛰🏔",
    "🏠🏡",
    "🏣🏤",
    "🏨🏩",
    "💧🩸",
    "⚾🥎",
    "🏯🏰",
    "🚃🚆🚇🚈🚉🚊🚋",
    "🚄🚅",
    "🚗🚘🚙🚕🚖🚓🚔",
    "🚚🚛",
    "🚌🚍🚎🚐",
    "🚠🚡🚟",
    "✈🛩🛫🛬",
    "🚤🛥",
    "🛳🚢",
    "🚥🚦",
    "🦽🦼",
    "⌛⏳",
    "⏰⏱⏲🕰",
    "🐂🐃🐄🐮",
    "🐏🐑",
    "🐪🐫",
    "🐭🐁🐀🐹",
    "🐕🐶🦮",
    "🐔🐓",
    "🐣🐤🐥",
    "🐋🐳",
    "🐟🐠",
    "🕷🕸",
    "🌹🥀",
    "🍂🍁",
    "☘🍀",
    "🌲🌳",
    "🍎🍏",
    "🍺🍻",
    "🥂🍷",
    "🍴🍽",
    "🍦🍨",
    "🍱🥡",
    "🎆🎇",
    "🎟🎫",
    "🏅🎖🥇🥈🥉",
    "📔📕📗📘📙📓📒",
    "📄📃📜📑",
    "📰🗞",
    "💴💵💶💷",
    "✉📧📨📩",
    "📤📥",
    "📪📫📬📭",
    "🔒🔓🔏🔐",
    "🔑🗝",
    "📈📉📊",
    "📅📆🗓",
    "📌📍",
    "📎🖇",
    "✒🖋🖊",
    "📁📂🗂",
    "📱📲",
    "☎📞",
    "🔋🪫",
    "💿📀💽",
    "📷📸",
    "🎥📹",
    "🔍🔎",
    "🔔🔕",
    "🔇🔈🔉🔊",
    "📢📣",
    "🎵🎶",
    "🔨⚒🛠⛏",
    "🗡⚔",
    "👞👟",
    "👠👡",
    "👒🎩",
    "🩱👙",
    "🩲🩳",
    "👜👛👝",
    "👓🕶",
    "🧊💎",
    "👫👬👭",
    "🙈🙉🙊",
)
"""Emoji drawn as variations of one picture."""

_SIGNS: Final = frozenset({"arrow", "keycap", "geometric", "heart", "alphanum", "av-symbol"})
_SKIN = re.compile(r"-1f3f[b-f]\b")
_HAIR = re.compile(r"-200d-1f9b[0-3]\b")
_PERSON: Final = "1f9d1"
_PEOPLE = re.compile(r"\b1f46[89]\b")
_JOINED: Final = "-200d-"
_BEFORE = re.compile(r"^(?:顔のある|閉じた|開いた)")
_BEHIND = re.compile(r"(?:の顔|正面|消音|音量[大小]|[左右縦横]|（[^（）]*）)$")


class Concept(NamedTuple):
    """One emoji: its key, what it is called, where Unicode sorts it, what it is held out with."""

    key: str
    name: Name
    kind: str
    subgroup: str
    group: str


def read_concepts(archive: Path, names: Mapping[str, Name], *, which: Concepts) -> list[Concept]:
    """Read the emoji that have a Japanese name, in Unicode's order.

    Args:
        archive: OpenMoji's package, whose table has Unicode's groups and subgroups.
        names: by key.
        which: "concrete" leaves out faces, people, signs, flags and skin tones.

    Raises:
        DataError: the package is damaged, or has no such table.
    """
    kinds = CONCRETE if which == "concrete" else _EVERYTHING
    rows = [
        (key_of(row["emoji"]), row)
        for row in _table(archive)
        if row["group"] in kinds and not (which == "concrete" and row["skintone"])
    ]
    found = {key: row for key, row in rows if key in names}
    groups = group_concepts(
        {key: (names[key].text, row["subgroups"]) for key, row in found.items()}
    )
    return [
        Concept(key, names[key], row["group"], row["subgroups"], groups[key])
        for key, row in found.items()
    ]


def _table(archive: Path) -> Sequence[dict[str, Any]]:
    name = "package/data/openmoji.json"
    for _, content in files_of(archive, folder=name):
        return json.loads(content)
    raise DataError(f"{archive} has no {name}", remedy="remove it and fetch it again")


def group_concepts(concepts: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Put emoji into groups by the rules of this module; a group is named by its first emoji.

    Args:
        concepts: key -> name and subgroup.
    """
    series = {key_of(emoji): f"series {row}" for row, line in enumerate(SERIES) for emoji in line}
    first: dict[str, str] = {}  # what is shared -> the first emoji that has it
    parent = {key: key for key in concepts}

    def root(key: str) -> str:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    order = {key: place for place, key in enumerate(concepts)}
    for key, (name, subgroup) in concepts.items():
        shared = [f"code {_plain(key)}", f"name {_stem(name)}"]
        shared += [series[_plain(key)]] if _plain(key) in series else []
        shared += [f"signs {subgroup}"] if subgroup in _SIGNS else []
        for thing in shared:
            one, other = root(first.setdefault(thing, key)), root(key)
            earlier, later = sorted((one, other), key=order.__getitem__)
            parent[later] = earlier
    return {key: f"emoji-{root(key)}" for key in concepts}


def _plain(key: str) -> str:
    """What a sequence is a variant of."""
    plain = _PEOPLE.sub(_PERSON, _HAIR.sub("", _SKIN.sub("", key)))
    return plain if plain.startswith(_PERSON) else plain.partition(_JOINED)[0]


def _stem(name: str) -> str:
    """A name without what tells two views of one thing apart."""
    while (shorter := _BEHIND.sub("", _BEFORE.sub("", name))) and shorter != name:
        name = shorter
    return name
