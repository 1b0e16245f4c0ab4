"""A recipe in a run directory: who may write there, what it goes on from, what it is when it ends.

A run outlives its process: it is stopped, killed, prolonged, moved to other machines, and started
by mistake with other settings. So before the first step it is asked whether the directory holds
this run, on the same inputs, and whether every rank means the same; the first one answers for all.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tomllib
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from minna import artifact, prompts
from minna.artifact import terms
from minna.artifact.files import sha256_file, write_text_atomically
from minna.artifact.manifest import (
    FileEntry,
    canonical,
    code_digest,
    library_versions,
    new_manifest,
    write_manifest,
)
from minna.console import say, warn
from minna.errors import ArtifactError, TrainingError, UsageError
from minna.models.adapters import size_of
from minna.recipe.build import arithmetic, build_parts
from minna.recipe.init import refuse_other_shape
from minna.recipe.schema import Recipe, check, resolved, to_toml
from minna.recipe.tuning import kind_of
from minna.runtime.reward import RULE
from minna.runtime.towers import tower_digest, tower_folder
from minna.tokenizer.adopt import adopt_tokenizer
from minna.tokenizer.settings import OwnVocabulary
from minna.tokenizer.sound_folder import write_vocabulary
from minna.train import checkpoint
from minna.train.loop import settle_numerics, sole_user, train
from minna.train.precision import agreed, pick_device
from minna.train.protocols import Parts
from minna.train.ranks import Ranks, gone, joined
from minna.train.report import write_report

# Settings that may change when a run goes on: they do not touch the weights of steps already done.
_FREE = {
    "train": {
        "steps",
        "minutes",
        "log_every",
        "evaluate_every",
        "save_every",
        "keep",
        "checkpointing",
        # how a step is split changes its rounding, not its update
        "micro_batch_rows",
        "sharding",
        "saving",
        "hang_seconds",
    },
    # where it lies; what it holds is compared (`_others`)
    "stream": {"labels"},
    "evaluate": {"valid_documents", "prompts", "sample_tokens", "temperature", "top_p"},
}
_INPUTS = "inputs.json"
OWN_TOKENIZER = "tokenizer"
"""Where a run keeps the tokenizer of the model it goes on from."""


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    corpus: Path
    tokenizer: Path
    parents: list[artifact.Parent]
    base: Path | None
    others: dict[str, str]

    def digests(self) -> dict[str, str]:
        """Hash what each input holds, not when it was made: an identical rebuild is the same.

        A base model that is gone is left out: its weights are in the checkpoints since.
        """
        places = {"corpus": self.corpus, "tokenizer": self.tokenizer}
        found = {role: _content_digest(place) for role, place in places.items()}
        if self.base is not None and (self.base / "config.json").is_file():
            found["base model"] = terms.fingerprint(self.base)
        return found | self.others


def run_recipe(recipe: Recipe, *, corpus: Path, tokenizer: Path, out: Path) -> Path:
    """Train a recipe in the run directory `out`, or go on with what is there.

    Args:
        recipe: from `load`.
        corpus: a corpus directory.
        tokenizer: a tokenizer directory (or a model dir, for its tokenizer).
        out: the run directory; a finished run of the same recipe and inputs is left as it is.

    Returns:
        `out`.

    Raises:
        TrainingError: the directory holds another run, or training cannot go on.
    """
    device = pick_device(recipe.train.device)
    with joined(device=device, wait_seconds=recipe.train.hang_seconds) as ranks:
        try:
            return _run(recipe, corpus=corpus, tokenizer=tokenizer, out=out, ranks=ranks)
        except RuntimeError as error:
            if ranks.alone or not gone(error):
                raise
            raise TrainingError(
                f"another rank of this run is gone: {str(error).splitlines()[0]}",
                remedy="see what it printed; the same command goes on from the last checkpoint",
            ) from error


def _run(recipe: Recipe, *, corpus: Path, tokenizer: Path, out: Path, ranks: Ranks) -> Path:
    """Train on one of the ranks: what only one may do (checks, files), the first one does."""
    _refuse_given_tokenizer(recipe, tokenizer, own=out / OWN_TOKENIZER)
    if tokenizer == out / OWN_TOKENIZER:
        ranks.together(functools.partial(_adopt, recipe, out) if ranks.first else lambda: None)
    inputs = ranks.together(
        lambda: _Inputs(
            corpus=corpus,
            tokenizer=tokenizer,
            parents=_parents(recipe, corpus, tokenizer),
            base=Path(recipe.init.from_) if recipe.init.from_ else None,
            others=_others(recipe),
        )
    )
    settings, kind = _settings(recipe, inputs), kind_of(recipe)
    ranks.refuse_difference(
        {
            "the recipe": to_toml(recipe),
            **{f"the {role}": digest for role, digest in inputs.digests().items()},
            "minna's code": code_digest(),
            "a library": canonical(library_versions()),
        }
    )
    key = artifact.key_of("run", settings=settings, parents=inputs.parents)
    # only the first looks: it is also the one that makes a finished run unfinished
    finished = ranks.together(lambda: ranks.first and artifact.unchanged(out, key=key))
    if any(ranks.sum([float(finished)])):
        say(f"{out}: this recipe is trained on these inputs already")
        return out
    with contextlib.ExitStack() as stack:
        found = _take_over(out, recipe, inputs, stack=stack, ranks=ranks)
        tokens = ranks.first_then_all(
            lambda: kind.tokens(recipe, corpus, tokenizer, out / "tokens", _threads())
        )
        numerics = agreed(settle_numerics(recipe.train, found=found), ranks=ranks)
        if not kind.compiles:
            numerics = replace(numerics, compile="off")
        parts = ranks.together(
            lambda: build_parts(
                recipe,
                tokens=tokens,
                tokenizer=tokenizer,
                numerics=numerics,
                fresh=found is None,
                ranks=ranks,
            )
        )
        for line in arithmetic(recipe, parts=parts, tokens=tokens, numerics=numerics):
            say(line)
        done = train(parts, settings=recipe.train, numerics=numerics, run=out, found=found)
        spent = recipe.train.budget.is_spent(done)
        if ranks.first:
            toml = to_toml(recipe)
            write_report(out, name=recipe.name, description=recipe.description, recipe=toml)
        if ranks.first and spent:
            _finish(out, recipe, inputs, parts, done)
        ranks.wait()
        if not spent:
            raise KeyboardInterrupt
    return out


def _refuse_given_tokenizer(recipe: Recipe, given: Path, *, own: Path) -> None:
    """Refuse a tokenizer where the recipe itself says what is written.

    Raises:
        UsageError: one was given.
    """
    told = recipe.tokenizer
    if isinstance(told, OwnVocabulary) and given != own:
        raise UsageError(
            f"recipe {recipe.name} reads no text (tokenizer.kind is {told.kind}), and the "
            f"tokenizer {given} was given",
            remedy="leave --tokenizer out",
        )


def _adopt(recipe: Recipe, out: Path) -> None:
    """Write the tokenizer that the recipe names into the run: of `init.from`, or of sounds."""
    _refuse_other_kind(out)
    told = recipe.tokenizer
    if isinstance(told, OwnVocabulary):
        write_vocabulary(out / OWN_TOKENIZER, told)
    elif recipe.init.from_:
        adopt_tokenizer(Path(recipe.init.from_), out=out / OWN_TOKENIZER)


def _parents(recipe: Recipe, corpus: Path, tokenizer: Path) -> list[artifact.Parent]:
    parents = [
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
        artifact.parent_of(tokenizer, role="tokenizer"),
    ]
    reward, labels = (getattr(recipe.stream, name, "") for name in ("reward", "labels"))
    for role, place in (("init", recipe.init.from_), ("reward", reward), ("labels", labels)):
        if place and (Path(place) / artifact.MANIFEST_NAME).is_file():
            parents.append(artifact.parent_of(Path(place), role=role))
    return parents


def _others(recipe: Recipe) -> dict[str, str]:
    """Hash what is read beside the corpus: a prompt format, who judges, towers that are begun from.

    All are named in a recipe and lie elsewhere: another file under the same name is another run.
    """
    fmt: str = getattr(recipe.stream, "format", "")
    reward: str = getattr(recipe.stream, "reward", "")
    found = {"prompt format": sha256(prompts.source(fmt))} if fmt else {}
    place = Path(reward.removeprefix(RULE).rpartition(":")[0]) if reward else Path()
    if reward.startswith(RULE) and place.is_file():
        found["rule"] = sha256(place.read_text(encoding="utf-8"))
    elif reward and (Path(reward) / "config.json").is_file():
        found["reward model"] = terms.fingerprint(Path(reward))
    labels: str = getattr(recipe.stream, "labels", "")
    if labels and (Path(labels) / artifact.MANIFEST_NAME).is_file():
        found["side-car of labels"] = _content_digest(Path(labels))
    for role, place in (("image tower", recipe.init.image), ("text tower", recipe.init.text)):
        if place:
            found[role] = tower_digest(tower_folder(place))
    return found


def sha256(text: str) -> str:
    """Return the sha256 of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def _settings(recipe: Recipe, inputs: _Inputs) -> dict[str, Any]:
    """What a finished run is known by: its recipe, and what that names without saying it."""
    return resolved(recipe) | ({"others": inputs.others} if inputs.others else {})


def _take_over(
    out: Path, recipe: Recipe, inputs: _Inputs, *, stack: contextlib.ExitStack, ranks: Ranks
) -> Path | None:
    """Hold the run directory and say what it will hold; return the checkpoint to go on from.

    Raises:
        TrainingError: it holds another run, or none of its checkpoints is intact.
    """

    def first() -> int:
        _refuse_other_kind(out)
        stack.enter_context(sole_user(out))
        checkpoint.clear_leftovers(out)
        found = checkpoint.newest_good(out)
        if found is not None:
            before = _refuse_other_run(out, resolved(recipe), inputs)
            _refuse_shorter_run(found, recipe, before=before)
            checkpoint.warn_of_other_code(found)
        elif recipe.init.from_:
            refuse_other_shape(recipe)
            _take_terms(recipe, out)
        _warn_of_other_tokenizer(recipe, inputs.tokenizer)
        # from here on it is unfinished again, whatever it was before
        (out / artifact.MANIFEST_NAME).unlink(missing_ok=True)
        write_text_atomically(out / "recipe.toml", to_toml(recipe))
        if found is None:
            write_text_atomically(out / _INPUTS, json.dumps(inputs.digests(), indent=1) + "\n")
        return -1 if found is None else checkpoint.saved(out).index(found)

    (number,) = ranks.sum([ranks.together(first if ranks.first else lambda: 0)])
    _refuse_other_place(out, ranks=ranks)
    return None if number < 0 else checkpoint.saved(out)[int(number)]


def _take_terms(recipe: Recipe, out: Path) -> None:
    """Copy the terms of the base model into the run.

    Raises:
        UsageError: the recipe names another licence than the one that its weights stay under.
    """
    base = Path(recipe.init.from_)
    found = terms.read_terms(base)
    stays = terms.stays(found.licence)
    if stays and terms.stays(recipe.licence) != stays:
        raise UsageError(
            f"{base} is under {stays}, which what is trained of it stays under, and the recipe's "
            f"licence is {recipe.licence}",
            remedy=f"give licence={stays}",
        )
    named = found.licence or ("in words alone" if found.stated else "not stated there")
    say(f"terms of {base}: {named}; this recipe's: {recipe.licence}")
    terms.keep_terms(found, out)


def _refuse_other_place(out: Path, *, ranks: Ranks) -> None:
    """Refuse ranks that write elsewhere: a checkpoint would lack their parts.

    Raises:
        TrainingError: on every rank, naming those whose `out` is another directory.
    """
    if ranks.alone:
        return
    sign = out / ".meeting"
    ranks.together(lambda: write_text_atomically(sign, uuid.uuid4().hex) if ranks.first else None)
    seen = ranks.together(lambda: sign.read_text(encoding="utf-8") if sign.is_file() else "")
    ranks.refuse_difference({"the directory at --out (which all must share)": seen})
    if ranks.first:
        sign.unlink()


def _threads() -> int:
    return max(1, os.cpu_count() or 1)


def _content_digest(place: Path) -> str:
    files = artifact.read_manifest(place).files
    text = "".join(f"{name} {entry.sha256}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_other_kind(out: Path) -> None:
    """Refuse a directory that holds something else than a run: a slip in --out costs nothing.

    Raises:
        ArtifactError: `out` is not empty and no run.
    """
    if not out.exists() or (out / "recipe.toml").is_file():
        return
    inside = [path.name for path in out.iterdir() if not path.name.startswith(".")]
    if set(inside) - {"tokens", OWN_TOKENIZER, terms.FOLDER}:
        raise ArtifactError(
            f"{out} exists and is not a run (it holds {', '.join(sorted(inside)[:4])})",
            remedy="choose another --out",
        )


def _refuse_other_run(out: Path, settings: dict[str, Any], inputs: _Inputs) -> Recipe:
    """Refuse to go on with a run of other settings, or on other text; return its recipe.

    Raises:
        TrainingError: naming every setting, or the input, that differs.
    """
    text = (out / "recipe.toml").read_text(encoding="utf-8")
    earlier = check(tomllib.loads(text))
    differing = _differences(resolved(earlier), settings)
    if differing:
        raise TrainingError(
            f"{out} holds a run with other settings: {'; '.join(differing)}",
            remedy="choose another --out, or give the settings it was started with",
        )
    before = json.loads((out / _INPUTS).read_text(encoding="utf-8"))
    changed = [
        role
        for role, digest in inputs.digests().items()
        # runs of before the others were looked at know none
        if before.get(role, digest if role not in ("corpus", "tokenizer") else None) != digest
    ]
    if changed == ["rule"]:
        warn(f"the rule is another one now than the run in {out} was judged by so far")
        return earlier
    if changed:
        raise TrainingError(
            f"{out} was trained on another {' and another '.join(changed)} than the one given now",
            remedy="choose another --out for the new one (or remove the run to start again)",
        )
    return earlier


def _refuse_shorter_run(found: Path, recipe: Recipe, *, before: Recipe) -> None:
    """Refuse to end a run before where it stands, which would pass off its weights as finished.

    Raises:
        TrainingError: naming both numbers.
    """
    now, train = checkpoint.progress_of(found), recipe.train
    if now.step > train.steps:
        raise TrainingError(
            f"the run stands at step {now.step}, and train.steps is {train.steps}",
            remedy="give train.steps not below that, or choose another --out",
        )
    # a last step may end past the time, so the same minutes as before are always right
    if (
        train.minutes is not None
        and train.minutes != before.train.minutes
        and now.seconds > 60 * train.minutes
    ):
        raise TrainingError(
            f"the run has had {now.seconds / 60:.2f} minutes, and train.minutes is {train.minutes}",
            remedy="give train.minutes not below that, or choose another --out",
        )


def _warn_of_other_tokenizer(recipe: Recipe, tokenizer: Path) -> None:
    """Say so when the tokenizer given is not what the recipe's [tokenizer] describes."""
    manifest = artifact.read_manifest(tokenizer)
    if manifest.kind != "tokenizer":
        return
    wanted = resolved(recipe)["tokenizer"]
    other = [
        f"{key} is {manifest.settings[key]!r}, not {value!r}"
        for key, value in wanted.items()
        if key in manifest.settings and manifest.settings[key] != value
    ]
    if other:
        warn(f"the tokenizer {tokenizer} differs from the recipe's: {'; '.join(other)}")


def _differences(before: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    out: list[str] = []
    for key in sorted(set(before) | set(now)):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            out += _differences(old, new, f"{prefix}{key}.")
        elif old != new and key not in _FREE.get(prefix.rstrip("."), set()):
            out.append(f"{prefix}{key} was {old!r} and is now {new!r}")
    return out


def _finish(
    out: Path, recipe: Recipe, inputs: _Inputs, parts: Parts, done: checkpoint.Progress
) -> None:
    """Write the manifest of a finished run: it names the files of the last checkpoint by hash."""
    last = checkpoint.saved(out)[-1]
    files = [out / name for name in ("recipe.toml", _INPUTS, "log.jsonl", "report.html")]
    files += sorted(path for path in last.iterdir() if path.is_file())
    files += sorted(path for path in (out / terms.FOLDER).glob("*") if path.is_file())
    corpus = artifact.read_manifest(inputs.corpus)
    base = None
    if inputs.base is not None and (inputs.base / artifact.MANIFEST_NAME).is_file():
        base = artifact.read_manifest(inputs.base)
    parameters = size_of(parts.model)
    manifest = new_manifest(
        "run",
        settings=_settings(recipe, inputs),
        parents=inputs.parents,
        files={
            file.relative_to(out).as_posix(): FileEntry(
                sha256=sha256_file(file), bytes=file.stat().st_size
            )
            for file in files
        },
        counts={
            "steps": artifact.Count(value=done.step, unit="steps"),
            "tokens": artifact.Count(value=done.tokens, unit="tokens"),
            "parameters": artifact.Count(value=parameters, unit="parameters"),
        },
        licences=_once([*corpus.licences, *base.licences] if base else corpus.licences),
        legal=_once([*corpus.legal, *base.legal] if base else corpus.legal),
        wall_seconds=round(done.seconds, 1),
    )
    write_manifest(out, manifest)


def _once(things: list[Any]) -> list[Any]:
    """Return each of them once, in order."""
    return [thing for place, thing in enumerate(things) if thing not in things[:place]]
