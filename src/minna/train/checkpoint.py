"""Checkpoints: whole or not at all, checked before they are trusted, exact when resumed.

A checkpoint is a directory with a manifest like everything else: weights and optimiser state as
safetensors (no pickle; `state.py`), the rest (step, stream position, random states) as JSON.
Resuming verifies every hash; a damaged newest checkpoint is named and the one before it is used,
which is why two are kept.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from minna import artifact
from minna.artifact.atomic import draft_of, recover
from minna.artifact.files import write_text_atomically
from minna.artifact.manifest import library_versions, source_commit
from minna.artifact.verify import verify
from minna.console import warn
from minna.errors import ArtifactError, TrainingError
from minna.train import state
from minna.train.precision import random_state, set_random_state
from minna.train.protocols import Parts
from minna.train.ranks import Ranks, seed_of


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands: updates done, tokens seen, seconds spent training."""

    step: int = 0
    tokens: int = 0
    seconds: float = 0.0

    def after_step(self, *, tokens: int, seconds: float) -> Progress:
        """Return where it stands after one more update."""
        return Progress(
            step=self.step + 1, tokens=self.tokens + tokens, seconds=self.seconds + seconds
        )


class Saver:
    """Writes the checkpoints of a run, behind the back of the next steps where that is asked.

    In the background, tensors are copied to memory first (the step goes on as soon as that is
    done), and one checkpoint is written at a time.

    Args:
        parts: of the run.
        run: its directory.
        numerics: the arithmetic a resumed run keeps.
        keep: checkpoints kept.
        when: "background", or "waiting" for the disk.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        run: Path,
        numerics: dict[str, Any],
        keep: int,
        when: Literal["background", "waiting"],
    ) -> None:
        self.parts, self.run, self.numerics, self.keep, self.when = parts, run, numerics, keep, when
        self._ranks = parts.placement.ranks.beside()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.wait()
        # also after an error: what is being written may be the last good state
        self._thread.shutdown(wait=True)

    def save(self, progress: Progress) -> None:
        """Write checkpoints/step-N, then drop all but the newest; every rank calls this.

        Raises:
            ArtifactError: the disk is full; the checkpoints of before are untouched.
            TrainingError: another rank could not write.
        """
        self.wait()
        parts = self.parts
        tensors = state.collect(parts)
        facts = {
            **asdict(progress),
            "stream": parts.stream.state_dict(),
            "random": _random_states(parts.placement.ranks),
            "numerics": self.numerics,
            "ranks": parts.placement.ranks.count,
        }
        if self.when == "background":
            tensors = state.copied(tensors)
        self._writing = self._thread.submit(self._write, tensors, facts)
        if self.when == "waiting":
            self.wait()

    def wait(self) -> None:
        """Return when the last checkpoint is written, by every rank.

        Raises:
            ArtifactError: it could not be.
            TrainingError: another rank could not write.
        """
        if self._writing is not None:
            writing, self._writing = self._writing, None
            self.parts.placement.ranks.together(writing.result)

    def _write(self, tensors: state.State, facts: dict[str, Any]) -> None:
        out = self.run / "checkpoints" / f"step-{facts['step']:08d}"
        ranks = self._ranks
        if not tensors.divided and not ranks.first:
            return
        with contextlib.ExitStack() as stack:
            opening = functools.partial(_open, out, step=facts["step"], stack=stack)
            if tensors.divided:  # every rank writes into the draft that the first one opens
                ranks.together(opening if ranks.first else lambda: None)
                ranks.together(lambda: state.write(tensors, draft_of(out), ranks=ranks))
            else:
                opening()
                state.write(tensors, draft_of(out), ranks=ranks)
            if ranks.first:
                write_text_atomically(draft_of(out) / "state.json", json.dumps(facts, indent=1))
        if ranks.first:
            self._drop(out)

    def _drop(self, newest: Path) -> None:
        """Drop old checkpoints, and later ones: they belong to a future that a damaged one ended.

        Later ones go first, so that they can never push out a good one.
        """
        for later in [path for path in saved(self.run) if path.name > newest.name]:
            _remove(later)
        for old in saved(self.run)[: -self.keep]:
            _remove(old)


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint: first its name, so that a kill leaves no half of one."""
    dropped = checkpoint.with_name(f".{checkpoint.name}.dropped")
    os.replace(checkpoint, dropped)
    shutil.rmtree(dropped)
    checkpoint.with_name(f".{checkpoint.name}.lock").unlink(missing_ok=True)


def clear_leftovers(run: Path) -> None:
    """Remove what kills in the middle of a save left; the caller holds the run (`sole_user`)."""
    folder = run / "checkpoints"
    for old in folder.glob(".step-*.old"):
        recover(folder / old.name.removeprefix(".").removesuffix(".old"))
    for left in (*folder.glob(".step-*.partial"), *folder.glob(".step-*.dropped")):
        shutil.rmtree(left)
    for file in (*folder.glob(".step-*.lock"), *run.glob(".*.tmp")):
        file.unlink()


def _open(out: Path, *, step: int, stack: contextlib.ExitStack) -> None:
    """Begin to write `out`, which becomes whole when the stack is left without an error."""
    writing = artifact.writing(out, kind="checkpoint", settings={"step": step})
    draft = stack.enter_context(writing)
    for left in draft.path.glob("*.safetensors"):
        left.unlink()  # of a kill: from more ranks than now, it would be taken for a part


def saved(run: Path) -> list[Path]:
    """Checkpoints of a run, oldest first."""
    return sorted(path for path in (run / "checkpoints").glob("step-*") if path.is_dir())


def newest_good(run: Path) -> Path | None:
    """Return the newest intact checkpoint, naming every damaged one; None when there is none.

    Raises:
        TrainingError: there are checkpoints and none is intact.
    """
    found = saved(run)
    for path in reversed(found):
        try:
            verify(path)
        except ArtifactError as error:
            warn(f"checkpoint {path.name} cannot be used: {error.rule}")
        else:
            return path
    if found:
        raise TrainingError(
            f"none of the {len(found)} checkpoints in {run / 'checkpoints'} is intact",
            remedy="put a good copy back, or remove the run directory to start again",
        )
    return None


def numerics_of(checkpoint: Path) -> dict[str, Any]:
    """Return the arithmetic the checkpointed run was using."""
    return _facts(checkpoint)["numerics"]


def progress_of(checkpoint: Path) -> Progress:
    """Return how much a checkpoint has behind it."""
    facts = _facts(checkpoint)
    return Progress(step=facts["step"], tokens=facts["tokens"], seconds=facts["seconds"])


def restore(parts: Parts, *, checkpoint: Path) -> Progress:
    """Put weights, optimiser, objective, stream and random state back, on any number of ranks.

    Raises:
        TrainingError: the checkpoint is of another shape than this recipe.
    """
    facts = _facts(checkpoint)
    state.restore(parts, checkpoint)
    parts.stream.load_state_dict(facts["stream"])
    _set_random_state(facts, ranks=parts.placement.ranks)
    return progress_of(checkpoint)


def load_model_state(checkpoint: Path) -> dict[str, Tensor]:
    """Return the weights of a verified checkpoint, all of them."""
    verify(checkpoint)
    return state.read_model(checkpoint)


def warn_of_other_code(checkpoint: Path) -> None:
    """Say so when a run goes on with other code than it was saved by: results may then differ."""
    before = artifact.read_manifest(checkpoint)
    now = library_versions()
    changed = [
        f"{name} {version}, now {now.get(name, 'none')}"
        for name, version in before.versions.items()
        if now.get(name) != version
    ]
    commits = (before.commit, source_commit())
    if commits[0] != commits[1] and None not in commits:
        changed.append(f"source {str(commits[0])[:10]}, now {str(commits[1])[:10]}")
    if changed:
        warn(f"{checkpoint.name} was written by other versions: {'; '.join(changed)}")


def _facts(checkpoint: Path) -> dict[str, Any]:
    return json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))


def _random_states(ranks: Ranks) -> list[dict[str, str]]:
    """Return the state of every rank's generators."""
    found: list[dict[str, str]] = [{} for _ in range(ranks.count)]
    for device, own in random_state().items():
        for place, one in zip(found, ranks.gather(own), strict=True):
            place[device] = base64.b64encode(bytes(one.tolist())).decode()
    return found


def _set_random_state(facts: dict[str, Any], *, ranks: Ranks) -> None:
    """Give a rank its generators back; on another number of ranks all but the first start anew."""
    kept = facts["random"]
    if isinstance(kept, dict):  # as runs on one rank were saved before there were more
        kept = [kept]
    if len(kept) != ranks.count and not ranks.first:
        torch.manual_seed(seed_of(facts["step"], ranks.rank))
        return
    set_random_state(
        {
            name: torch.tensor(list(base64.b64decode(text)), dtype=torch.uint8)
            for name, text in kept[ranks.rank].items()
        }
    )
