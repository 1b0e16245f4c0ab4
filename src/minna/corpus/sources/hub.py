"""Data sets of the Hugging Face Hub: `hub:OWNER/NAME`, one commit, one file at a time.

A branch moves; so the revision is resolved to its commit once, and the commit is what stands in the
corpus key and on the card. Files are fetched when they are read and stay in the user's own Hub
cache: a data set of terabytes needs no room for all of it before the first document, and
`--limit 1000` fetches one file. A connection that breaks goes on where it broke (to within 10 MB,
the block of the Hub's library); a build that is killed begins again with the file it was in, since
that library (2.4) keeps nothing of it.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal

from minna.artifact import Licence
from minna.console import say, warn
from minna.corpus.sources.files import format_of, matching
from minna.corpus.sources.local import FACTS, facts_beside
from minna.corpus.sources.rows import Layout, file_shard
from minna.corpus.sources.source import Shard, content_id
from minna.errors import DataError, MinnaError, UsageError
from minna.units import format_bytes

PREFIX: Final = "hub:"
_SECONDS = 30.0  # the list of a repository's files, not a file
_NO_DATA = ("readme", "license", "licence", "notice", "dataset_infos")
_NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Snapshot:
    """A repository at one commit: its data files and the terms its card states."""

    commit: str
    files: Sequence[str]
    licence: str


class Hub:
    """A data set repository.

    Args:
        repository: OWNER/NAME.
        revision: branch, tag or commit.
        files: only those whose names match; "" for all parquet, JSON lines and text.
        field: the field or column with the text.
        documents: what one document is in plain text.
        licence: terms, where the data set's card states none.
        attribution: whom to credit, beside the repository.
    """

    def __init__(
        self,
        repository: str,
        *,
        revision: str,
        files: str,
        field: str,
        documents: Literal["file", "line", "blank-line"],
        licence: str,
        attribution: str,
    ) -> None:
        if repository.count("/") != 1 or not all(repository.split("/")):
            raise UsageError(
                f"a data set of the Hub is named {PREFIX}OWNER/NAME, not {PREFIX}{repository}",
                remedy=f"for example {PREFIX}wikimedia/wikipedia files='20231101.ja/*'",
            )
        self.name = PREFIX + repository
        self._repository = repository
        self._revision = revision
        self._pattern = files
        self._licence = licence
        self._attribution = attribution
        self._layout = Layout(
            field=field, columns=(*FACTS, "language"), describe=facts_beside, documents=documents
        )

    @property
    def licences(self) -> Sequence[Licence]:
        """The card's licence, else the one of the settings; its address names the commit."""
        asked = "" if self._licence == _NOT_STATED else self._licence
        return (
            Licence(
                source=self.name,
                licence=self._snapshot.licence or asked or _NOT_STATED,
                attribution=self._attribution or f"{self._repository} on the Hugging Face Hub",
                url=f"{_endpoint()}/datasets/{self._repository}/tree/{self._snapshot.commit}",
            ),
        )

    def identity(self) -> dict[str, Any]:
        """The commit and the files chosen of it: together they fix every byte."""
        return {
            "repository": self._repository,
            "commit": self._snapshot.commit,
            "files": len(self._snapshot.files),
            "names": content_id("\n".join(self._snapshot.files).encode()),
        } | self._layout.settings()

    def shards(self) -> Sequence[Shard]:
        """One file is one shard, fetched when it is read."""
        return [
            file_shard(
                name,
                fetch=functools.partial(
                    fetch_file, self._repository, name=name, commit=self._snapshot.commit
                ),
                layout=self._layout,
            )
            for name in self._snapshot.files
        ]

    @functools.cached_property
    def _snapshot(self) -> _Snapshot:
        from huggingface_hub import HfApi

        with _asking(self._repository, revision=self._revision):
            told = HfApi(endpoint=_endpoint()).dataset_info(
                self._repository, revision=self._revision, timeout=_SECONDS
            )
        names = sorted(sibling.rfilename for sibling in told.siblings or [])
        licence = _licence_of(told.card_data)
        if licence and self._licence not in (licence, _NOT_STATED):
            warn(f"licence={self._licence!r} is not used: {self.name} itself states {licence}")
        return _Snapshot(
            commit=told.sha or self._revision,
            files=_data_files(names, pattern=self._pattern, where=self.name),
            licence=licence,
        )


def fetch_file(repository: str, *, name: str, commit: str) -> Path:
    """The place of one file of a data set in the user's Hub cache, fetched at the first call.

    Raises:
        DataError: it cannot be had: no network, no right to it, or no longer there.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cache = os.environ.get("HF_HUB_CACHE")  # read now: the library reads it when it is imported
    found = try_to_load_from_cache(
        repository, name, cache_dir=cache, revision=commit, repo_type="dataset"
    )
    if isinstance(found, str):
        return Path(found)
    say(f"fetching {name} of {PREFIX}{repository}")
    with _asking(repository, revision=commit, file=name):
        path = Path(
            hf_hub_download(
                repository,
                name,
                repo_type="dataset",
                revision=commit,
                cache_dir=cache,
                endpoint=_endpoint(),
            )
        )
    say(f"fetched {name} ({format_bytes(path.stat().st_size)})")
    return path


def _endpoint() -> str:
    """Where the Hub is; HF_ENDPOINT names a mirror (the library reads it when it is imported)."""
    from huggingface_hub import constants

    return os.environ.get("HF_ENDPOINT", constants.ENDPOINT).rstrip("/")


def _data_files(names: Sequence[str], *, pattern: str, where: str) -> list[str]:
    data = [
        (name, name)
        for name in names
        if format_of(name) is not None
        and not PurePosixPath(name).name.lower().startswith(_NO_DATA)
        and not any(part.startswith(".") for part in PurePosixPath(name).parts)
    ]
    if not data:
        raise DataError(
            f"{where} holds no parquet, JSON lines or text file ({len(names)} others)",
            remedy="use a revision that does; many data sets have revision=refs/convert/parquet",
        )
    chosen = matching(data, pattern=pattern, where=where) if pattern else data
    return [name for name, _ in chosen]


def _licence_of(card: Any) -> str:
    """What the card's metadata state under `license` (a word or a list), or ""."""
    stated = None if card is None else card.to_dict().get("license")
    words = stated if isinstance(stated, list) else [stated]
    return ", ".join(word for word in words if isinstance(word, str) and word != "unknown")


@contextlib.contextmanager
def _asking(repository: str, *, revision: str, file: str = "") -> Generator[None]:
    """Turn what goes wrong between the Hub and us into an error with a remedy."""
    from huggingface_hub import errors

    try:
        yield
    except errors.HFValidationError as error:
        raise UsageError(
            f"{repository!r} is no name of a data set: {error}", remedy=f"{PREFIX}OWNER/NAME"
        ) from error
    except errors.HfHubHTTPError as error:
        raise _refused(error, repository=repository, revision=revision, file=file) from error
    # HTTPError is the client library's, whose own name changed between releases of the Hub's
    except (errors.HTTPError, OSError) as error:  # pyright: ignore[reportPrivateImportUsage]
        # no route, an endpoint that hangs up, HF_HUB_OFFLINE, a file cut short five times
        cause = error.__cause__ or error
        if isinstance(cause, errors.HfHubHTTPError):
            told = _refused(cause, repository=repository, revision=revision, file=file)
            raise told from error
        raise DataError(
            f"cannot fetch {file or 'the list of files'} of {PREFIX}{repository} from "
            f"{_endpoint()}: {cause or type(cause).__name__}",
            remedy="check the network, HF_ENDPOINT and HF_HUB_OFFLINE, and run the same command "
            "again: files already fetched stay",
        ) from error


def _refused(error: Any, *, repository: str, revision: str, file: str) -> MinnaError:
    """The Hub answered, but not with the data."""
    from huggingface_hub import errors

    where = f"{PREFIX}{repository}"
    if isinstance(error, errors.GatedRepoError):
        return DataError(
            f"{where} is gated: its owner lets in only those who agreed to the terms",
            remedy="agree to them on its page and set HF_TOKEN to a token of that account",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return DataError(
            f"{where} does not exist, or is private",
            remedy="check OWNER/NAME; for a private data set set HF_TOKEN to a token that reads it",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return DataError(
            f"{where} has no revision {revision!r} (any more)",
            remedy="name one that is there: revision=main, a tag, or a commit from its history",
        )
    if isinstance(error, errors.EntryNotFoundError):
        return DataError(
            f"{where} has no file {file} at revision {revision}",
            remedy="build again: the list of files is asked for anew; or name them with files=",
        )
    status = error.response.status_code
    return DataError(
        f"the Hub refused {file or 'the list of files'} of {where} with status {status}",
        remedy="401 and 403: set HF_TOKEN to a token that reads it; 429 and 5xx: try again later",
    )
