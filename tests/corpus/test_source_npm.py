"""Packages of the npm registry: whose address is asked, what is told to it, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.corpus.fake_npm import FakeNpm
from tests.corpus.made_pictures import package

from minna.corpus.sources import npm
from minna.corpus.sources.npm import fetch, npm_settings, registry_of
from minna.errors import DataError, UsageError


@pytest.fixture
def nobody(tmp_path, monkeypatch):
    """A user with no npm, no settings and an empty cache, in a folder of her own."""
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("MINNA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1,localhost")
    monkeypatch.setattr(npm.shutil, "which", lambda _: None)
    for name in [name for name in npm.os.environ if name.lower().startswith("npm_config_")]:
        monkeypatch.delenv(name)
    return tmp_path


@pytest.fixture
def registry(nobody):
    folder = nobody / "archives"
    folder.mkdir()
    served = FakeNpm(
        folder,
        [package(folder, "@art/svg", {"a.svg": b"<svg/>"}), package(folder, "names", {"b": b"x"})],
    )
    yield served
    served.close()


def npmrc(folder, *lines):
    (folder / ".npmrc").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_a_package_is_fetched_once_checked_and_kept(registry, nobody, monkeypatch):
    monkeypatch.setenv("npm_config_registry", registry.address + "/")
    pin = registry.packages["@art/svg"]
    path = fetch(pin)
    assert path == nobody / "cache" / "art-svg-1.0.0.tgz"
    assert path.read_bytes() == registry.archives[pin.filename]
    assert [one.path for one in registry.requests] == [
        "/registry/@art%2Fsvg",
        "/registry/-/art-svg-1.0.0.tgz",
    ]
    registry.close()
    assert fetch(pin) == path  # no network any more
    path.write_bytes(b"something else")
    with pytest.raises(DataError, match="is not @art/svg 1.0.0") as caught:
        fetch(pin)
    assert "npm pack @art/svg@1.0.0" in caught.value.remedy


def test_the_environment_goes_before_the_folder_and_the_folder_before_the_user(nobody, monkeypatch):
    npmrc(nobody / "home", "registry=http://user/", "@art:registry=http://art/", "; a=b")
    assert registry_of("names", npm_settings()) == "http://user"
    assert registry_of("@art/svg", npm_settings()) == "http://art"
    assert registry_of("@other/svg", npm_settings()) == "http://user"
    npmrc(nobody / "work", 'registry = "http://folder/x/"')
    assert registry_of("names", npm_settings()) == "http://folder/x"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "http://environment")
    assert registry_of("names", npm_settings()) == "http://environment"
    monkeypatch.setenv("NPM_CONFIG_USERCONFIG", str(nobody / "other"))
    assert registry_of("@art/svg", npm_settings()) == "http://environment"


def test_without_settings_npm_is_asked_and_without_npm_nobody(nobody, monkeypatch):
    with pytest.raises(DataError, match="npm is not installed") as caught:
        registry_of("names", npm_settings())
    assert "--from DIR" in caught.value.remedy and "install npm" in caught.value.remedy
    program = nobody / "npm"
    program.write_text("#!/bin/sh\necho http://asked/\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(npm.shutil, "which", lambda _: str(program))
    assert registry_of("names", npm_settings()) == "http://asked"
    program = nobody / "npm-broken"
    program.write_text("#!/bin/sh\nexit 3\n", encoding="utf-8")
    program.chmod(0o755)
    with pytest.raises(DataError, match="npm does not say its registry"):
        registry_of("names", npm_settings())


def test_an_address_of_no_web_is_refused(nobody, monkeypatch):
    monkeypatch.setenv("npm_config_registry", "file:///etc")
    with pytest.raises(UsageError, match="no address of the web"):
        registry_of("names", npm_settings())


def test_a_token_goes_to_its_own_address_and_to_no_other(registry, nobody, monkeypatch):
    folder = nobody / "elsewhere"
    folder.mkdir()
    other = FakeNpm(nobody / "archives", list(registry.packages.values()))
    place = registry.address.removeprefix("http:")
    monkeypatch.setenv("SECRET", "abc")
    npmrc(
        nobody / "home",
        f"registry={registry.address}",
        f"{place}/:_authToken=${{SECRET}}",
        "//127.0.0.1:1/:_authToken=wrong",
    )
    registry.token = "Bearer abc"
    registry.moved = other.address
    fetch(registry.packages["names"])
    other.close()
    assert [one.authorization for one in registry.requests] == ["Bearer abc"] * 2
    assert [one.authorization for one in other.requests] == [""]


def test_another_archive_than_the_pinned_one_is_not_kept(registry, nobody, monkeypatch):
    monkeypatch.setenv("npm_config_registry", registry.address)
    pin = registry.packages["names"]
    for content in (b"x" * pin.bytes, b"x" * (pin.bytes + 5_000_000), b""):
        registry.archives[pin.filename] = content
        with pytest.raises(DataError, match="gave another names 1.0.0"):
            fetch(pin)
    assert not list((nobody / "cache").iterdir())
    with pytest.raises(DataError, match="lists no version 2.0.0"):
        fetch(replace(pin, version="2.0.0"))


def test_without_a_network_the_error_says_how_to_go_on(registry, nobody, monkeypatch):
    monkeypatch.setenv("npm_config_registry", registry.address)
    pin = registry.packages["names"]
    registry.status = 503
    with pytest.raises(DataError, match="status 503") as caught:
        fetch(pin)
    assert "npm pack names@1.0.0" in caught.value.remedy and "--from DIR" in caught.value.remedy
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    with pytest.raises(DataError, match="cannot fetch names 1.0.0"):
        fetch(pin)


def test_archives_fetched_elsewhere_are_taken_from_their_folder(registry, nobody):
    pin = registry.packages["@art/svg"]
    assert fetch(pin, folder=nobody / "archives") == nobody / "archives" / pin.filename
    assert not registry.requests
    with pytest.raises(DataError, match="has no names-3.0.0.tgz") as caught:
        fetch(replace(pin, name="names", version="3.0.0"), folder=nobody / "archives")
    assert "npm pack names@3.0.0" in caught.value.remedy
    (nobody / "archives" / pin.filename).write_bytes(b"other")
    with pytest.raises(DataError, match="is not @art/svg"):
        fetch(pin, folder=nobody / "archives")
