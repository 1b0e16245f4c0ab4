"""No setting is ignored in silence: a source refuses what it does not read, and says who does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from minna.corpus import BuildSettings
from minna.corpus.card_facts import facts_of
from minna.corpus.sources import CHOICES, SOURCES, open_source, settings_read
from minna.corpus.statistics import Statistics
from minna.errors import UsageError

GIVEN: dict[str, Any] = {
    "documents": "line",
    "field": "body",
    "licence": "MIT",
    "attribution": "us",
    "files": "*.gz",
    "revision": "v1",
    "orthography": ("新字新仮名",),
}
UNREAD = [
    (source, name)
    for source in (*SOURCES, "hub:a/b")
    for name in sorted(CHOICES - settings_read(source))
]


def test_every_choice_is_a_setting_and_some_source_reads_it() -> None:
    assert set(GIVEN) == CHOICES == set().union(*map(settings_read, (*SOURCES, "hub:a/b")))
    defaults = BuildSettings(source="local")
    assert all(getattr(defaults, name) != value for name, value in GIVEN.items())
    assert settings_read("local") == {"documents", "field", "files", "licence", "attribution"}
    assert settings_read("hub:a/b") == settings_read("local") | {"revision"}
    assert settings_read("somebody else's") == frozenset()


@pytest.mark.parametrize(("source", "name"), UNREAD)
def test_a_setting_that_the_source_does_not_read_is_refused(
    tmp_path: Path, source: str, name: str
) -> None:
    path = None if source.startswith("hub:") else tmp_path / "x"
    settings = BuildSettings(source=source, path=path, **{name: GIVEN[name]})
    with pytest.raises(UsageError) as caught:
        open_source(settings)
    message = caught.value.rule
    assert message.startswith(f"the source {source} does not read {name}, and {name}=")
    readers = message.rpartition("is read by ")[2].rstrip(")").split(", ")
    assert readers
    for reader in readers:
        assert name in settings_read(reader)


@pytest.mark.parametrize("source", [*SOURCES, "hub:a/b", "somebody else's"])
def test_a_card_shows_only_what_its_source_reads(source: str) -> None:
    facts = facts_of(Statistics(), name=source, licences=(), settings=BuildSettings(source=source))
    assert CHOICES & set(facts.settings) == settings_read(source)
    assert {"source", "language", "limit", "filters"} <= set(facts.settings)
