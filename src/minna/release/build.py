"""`release`: a model dir and its reports in, a folder to publish out.

The folder is the model dir's files plus what says where they come from: card, licence, notice,
provenance. All four are written from manifests, so that "which data was this?" has one answer a
year later.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from minna import artifact
from minna.artifact.atomic import Draft
from minna.artifact.files import sha256_file, write_text_atomically
from minna.artifact.manifest import FileEntry
from minna.console import say, warn
from minna.errors import UsageError
from minna.release.card import card_text, notice_text
from minna.release.check import Check, check_with_transformers
from minna.release.facts import Facts, gather
from minna.release.provenance import as_record, nameless
from minna.release.settings import ONE_LINE, ReleaseSettings

CARD, LICENCE, NOTICE = "README.md", "LICENSE", "NOTICE"
PROVENANCE, SUMS = "provenance.json", "SHA256SUMS"
_WRITTEN: Final = (CARD, LICENCE, NOTICE, PROVENANCE, SUMS, artifact.MANIFEST_NAME)


@dataclass(frozen=True, kw_only=True)
class PlannedFile:
    """One file of a release: where it comes from ("model" or "written"), and its size if known."""

    name: str
    origin: str
    bytes: int | None


def plan(
    model: Path, *, reports: Sequence[Path], out: Path, settings: ReleaseSettings
) -> list[PlannedFile]:
    """What `release` would write, after all its checks, without writing anything.

    Raises:
        MinnaError: as `release`.
    """
    facts = gather(model, reports=reports, name=_name(settings, out), settings=settings)
    _warn(facts)
    copied = [
        PlannedFile(name=name, origin="model", bytes=entry.bytes)
        for name, entry in _files(facts).items()
    ]
    written = [PlannedFile(name=name, origin="written", bytes=None) for name in _WRITTEN]
    return sorted([*copied, *written], key=lambda file: file.name)


def release(
    model: Path, *, reports: Sequence[Path], out: Path, settings: ReleaseSettings | None = None
) -> Path:
    """Write a publishable folder.

    The same call again does nothing. What is not settled (legal basis unconfirmed, data of unstated
    terms, no report, transformers not there to check) is warned about and printed on the card.

    Args:
        model: a model dir that was exported from a run.
        reports: its evaluations.
        out: the folder to write.
        settings: what a person decides.

    Returns:
        `out`.

    Raises:
        ArtifactError: the model dir or a report is damaged, a parent is gone or was made again, a
            report is about another model, or transformers computes something else.
        LicenceError: the licence of the weights is not known, or its text is missing.
    """
    settings = settings or ReleaseSettings()
    facts = gather(model, reports=reports, name=_name(settings, out), settings=settings)
    parents = [
        nameless(artifact.parent_of(model, role="model", kind="model")),
        *[nameless(artifact.parent_of(path, role="report", kind="report")) for path in reports],
    ]
    values = _values(settings, facts)
    if artifact.unchanged(out, key=artifact.key_of("release", settings=values, parents=parents)):
        say(f"{out}: this model is released with these reports and settings already")
        return out
    _warn(facts)
    with artifact.writing(out, kind="release", settings=values, parents=parents) as draft:
        for name in _files(facts):
            _bring(model / name, draft.path / name)
        rate = facts.match.get("rate")
        check = check_with_transformers(draft.path, claimed_match=rate)
        _write(draft.path, facts, check)
        _count(draft, facts, check)
    return out


def _name(settings: ReleaseSettings, out: Path) -> str:
    """The model's name: as given, else that of the folder."""
    name = settings.name or out.resolve().name
    if re.fullmatch(ONE_LINE, name) is None:
        raise UsageError(
            f"the name {name!r} cannot stand in a table and in YAML", remedy="give --name NAME"
        )
    return name


def _values(settings: ReleaseSettings, facts: Facts) -> dict[str, Any]:
    """The settings as they decide the content: the licence by its text, not by where it lay."""
    values = asdict(settings) | {"name": facts.name, "licence": facts.licence.id}
    values["licence_file"] = (
        sha256_file(settings.licence_file) if settings.licence_file is not None else None
    )
    return values


def _files(facts: Facts) -> dict[str, FileEntry]:
    """The files of the model dir that go along."""
    files = facts.model.manifest.files
    return {name: entry for name, entry in files.items() if name not in _WRITTEN}


def _warn(facts: Facts) -> None:
    if facts.settings.legal == "unconfirmed":
        warn(
            "the legal basis of training is not confirmed, and the card says so (未確認); when you "
            "have confirmed it, release again with --confirm-legal"
        )
    for source in facts.unstated_sources:
        warn(f"the terms of the data {source!r} are not stated, and the card says so (記載なし)")
    if not facts.data_licences:
        warn("no manifest says under which terms the training data is, and the card says so")
    if not facts.evaluations:
        warn("there is no report: the card will have no evaluation")
    taken_up = set(facts.terms.texts)
    for name in sorted(set(facts.model.manifest.files) & set(_WRITTEN) - taken_up):
        warn(f"{name} of the model dir is left out: the release writes its own")


def _bring(source: Path, target: Path) -> None:
    """Link a file of weights where the file system can; copy everything else.

    A card or config gets edited by hand, and through a link that would change the model dir.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    if source.suffix == ".safetensors":
        try:
            os.link(source, target)
        except OSError:  # another disk, or a file system without links: the copy below is as good
            shutil.copyfile(source, target)
    else:
        shutil.copyfile(source, target)


def _write(folder: Path, facts: Facts, check: Check | None) -> None:
    write_text_atomically(folder / CARD, card_text(facts, check=check))
    write_text_atomically(folder / LICENCE, facts.licence.text)
    write_text_atomically(folder / NOTICE, notice_text(facts))
    provenance = {
        "schema": 1,
        "name": facts.name,
        "chain": [as_record(link) for link in facts.chain],
        "evaluation": [as_record(link) for link in facts.report_chains],
        "checked_with_transformers": asdict(check) if check else None,
    }
    text = json.dumps(provenance, ensure_ascii=False, indent=1)
    write_text_atomically(folder / PROVENANCE, text + "\n")
    write_text_atomically(folder / SUMS, _sums(folder))


def _sums(folder: Path) -> str:
    """Lines that `sha256sum -c` reads, for every file but itself (minna.json is written later)."""
    files = sorted(
        file.relative_to(folder).as_posix()
        for file in folder.rglob("*")
        if file.is_file()
        and not file.name.startswith(".")
        and file.name not in (SUMS, artifact.MANIFEST_NAME)
    )
    return "".join(f"{sha256_file(folder / name)}  {name}\n" for name in files)


def _count(draft: Draft, facts: Facts, check: Check | None) -> None:
    draft.count("parameters", facts.parameters, "parameters")
    draft.count("reports", len(facts.evaluations), "reports")
    draft.count(
        "checked_strings",
        check.strings if check else 0,
        "strings with the same logits in transformers (0: not installed, not checked)",
    )
    draft.licences = [
        artifact.Licence(
            source=facts.name, licence=facts.licence.id, attribution=facts.settings.author
        ),
        *facts.data_licences,
    ]
    state = "confirmed by the builder" if facts.settings.legal == "confirmed" else "not confirmed"
    about = "legal basis of training, personal data, opt-outs"
    draft.legal = [*facts.legal_notes, f"State of {about}: {state}."]
