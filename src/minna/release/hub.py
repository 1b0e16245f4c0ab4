"""Uploading a release to the Hugging Face Hub: only when asked, private unless asked otherwise.

A model that was published by mistake cannot be taken back, so nothing here is a default of another
verb; the folder is verified once more, and a pull request is one setting away.
"""

from __future__ import annotations

from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from minna.artifact.verify import verify
from minna.errors import ArtifactError, MinnaError


class PushError(MinnaError):
    """The Hub did not take the release."""


class HubApi(Protocol):
    """What is needed of huggingface_hub's HfApi; tests give a double."""

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> object:
        """Create a model repository, or leave it as it is."""
        ...

    def upload_folder(
        self,
        *,
        repo_id: str,
        folder_path: str | Path,
        commit_message: str,
        create_pr: bool,
        ignore_patterns: list[str],
    ) -> object:
        """Upload every file of a folder in one commit."""
        ...


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class PushSettings:
    """Settings of `push`.

    Attributes:
        repo: OWNER/NAME.
        visibility: of a repository that does not exist yet; an existing one keeps its own.
        way: commit to the main branch, or open a pull request.
    """

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    visibility: Literal["private", "public"] = "private"
    way: Literal["commit", "pull-request"] = "commit"


@plain_dataclass(frozen=True, kw_only=True)
class Pushed:
    """Where a release went; `answer` is what the Hub said (the address of the commit)."""

    repo: str
    answer: str


def push(release: Path, *, settings: PushSettings, api: HubApi | None = None) -> Pushed:
    """Upload a release.

    Args:
        release: a directory that `minna.release.release` wrote.
        settings: where to, and how.
        api: a stand-in for HfApi, which takes token and address from its own environment.

    Raises:
        ArtifactError: not a release, or damaged since.
        PushError: the Hub refuses, or is not reached.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    manifest = verify(release)
    if manifest.kind != "release":
        raise ArtifactError(
            f"{release} is a {manifest.kind}, and a release is needed",
            remedy="minna release MODEL --report REPORT --out DIR",
        )
    hub = _api() if api is None else api
    # its bases are OSError and the error of the HTTP library that this version goes through
    bases = cast("tuple[type[Exception], ...]", HfHubHTTPError.__bases__)
    refusals = (HFValidationError, *bases)
    try:
        hub.create_repo(settings.repo, private=settings.visibility == "private", exist_ok=True)
        answer = hub.upload_folder(
            repo_id=settings.repo,
            folder_path=release,
            commit_message=f"Release {manifest.settings.get('name', release.name)}",
            create_pr=settings.way == "pull-request",
            # the lock and drafts of an interrupted call are no part of it
            ignore_patterns=[".*.lock", "*.tmp"],
        )
    except refusals as error:
        raise PushError(
            f"{settings.repo} did not take the release: {error}",
            remedy="log in with `hf auth login` as somebody who may write there, and push again",
        ) from error
    return Pushed(repo=settings.repo, answer=str(answer))


def _api() -> HubApi:
    from huggingface_hub import HfApi

    return HfApi(library_name="minna")
