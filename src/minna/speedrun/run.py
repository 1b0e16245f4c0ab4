"""One speed run: text, tokenizer, training for the track's minutes, one score, one record.

Only training is timed. Text and tokenizer are made before and kept in the work folder, where many
runs find them; the score is taken afterwards, once, on text that no look along the way has seen.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from minna import artifact
from minna import recipe as recipes
from minna.artifact.files import sha256_file, write_text_atomically
from minna.artifact.manifest import FileEntry, library_versions, new_manifest, source_commit
from minna.console import say
from minna.corpus import build_corpus
from minna.errors import ArtifactError
from minna.evaluate.documents import held_out, nats_of
from minna.models import Decoder, build
from minna.runtime.load import LoadedModel
from minna.speedrun.chart import line_chart
from minna.speedrun.machine import fit, look
from minna.speedrun.record import CURVE, RECORD, HeldOutText, Point, Record
from minna.speedrun.track import Track, check_archive, corpus_settings, recipe_of, resolved
from minna.tokenizer.load import load_tokenizer
from minna.tokenizer.train import train_tokenizer
from minna.train import checkpoint
from minna.train.log import read_log
from minna.units import format_seconds

_TRACK = "track.json"
_SPLIT = "test"


@dataclass(frozen=True, kw_only=True)
class Call:
    """What is asked for.

    Attributes:
        recipe: a name or path; None is the track's own.
        overrides: "section.key=value" words.
        aozora: the archive of Aozora Bunko, for tracks that read it.
        work: where text and tokenizers lie; None is a folder in `out`.
        what: what is new in this run, in words; "" names recipe and overrides.
    """

    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    aozora: Path | None = None
    work: Path | None = None
    what: str = ""


def run_track(track: Track, *, call: Call, out: Path) -> Record:
    """Run `track` in `out`, or go on with what is there, and write its record.

    Raises:
        UsageError: the recipe, an override or the machine does not fit the track.
        ArtifactError: `out` holds something else, or another track.
        TrainingError: `out` holds a run of another recipe, or training cannot go on.
    """
    check_archive(track, aozora=call.aozora)
    recipe = recipe_of(track, name=call.recipe, overrides=call.overrides)
    _refuse_other(out, track)
    outside = fit(track)
    write_text_atomically(out / _TRACK, _json(resolved(track)))
    corpus, tokenizer = _text(track, recipe=recipe, call=call, out=out)
    run = recipes.run_recipe(recipe, corpus=corpus, tokenizer=tokenizer, out=out / "run")
    parents = [
        artifact.parent_of(run, role="run", kind="run"),
        artifact.parent_of(corpus, role="corpus", kind="corpus"),
        artifact.parent_of(tokenizer, role="tokenizer"),
    ]
    settings = {"track": resolved(track), "overrides": list(call.overrides), "what": call.what}
    if artifact.unchanged(out, key=artifact.key_of("record", settings=settings, parents=parents)):
        say(f"{out}: this record is made already")
        return Record.model_validate_json((out / RECORD).read_text(encoding="utf-8"))
    say(f"scoring the whole of {_SPLIT!r} (not timed)")
    model = _final_model(run, recipe=recipe, tokenizer=tokenizer, device=track.machine.device)
    text, bits = _score(model, corpus=corpus)
    last = checkpoint.saved(run)[-1]
    done = checkpoint.progress_of(last)
    record = Record(
        what=call.what or " ".join((recipe.name, *call.overrides)),
        track=resolved(track),
        outside_class=outside,
        recipe=recipes.resolved(recipe),
        overrides=list(call.overrides),
        bits_per_byte=bits,
        held_out=text,
        parameters=sum(p.numel() for p in model.decoder.parameters()),
        steps=done.step,
        tokens=done.tokens,
        seconds=round(done.seconds, 3),
        curve=_curve(run),
        machine=look(device=track.machine.device),
        numerics=checkpoint.numerics_of(last),
        versions=library_versions(),
        commit=source_commit(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    _write(out, record, settings=settings, parents=parents, corpus=corpus)
    return record


def _text(track: Track, *, recipe: recipes.Recipe, call: Call, out: Path) -> tuple[Path, Path]:
    """Corpus and tokenizer, each under the name of its settings: many runs share a work folder."""
    work = call.work or out / "work"
    settings = corpus_settings(track, aozora=call.aozora)
    corpus = work / f"corpus-{settings.source}-{_short(track.corpus)}"
    build_corpus(settings=settings, out=corpus)
    content = artifact.read_manifest(corpus).files
    wanted = recipes.resolved(recipe)["tokenizer"]
    seen = {"settings": wanted, "corpus": {name: file.sha256 for name, file in content.items()}}
    tokenizer = work / f"tokenizer-{recipe.tokenizer.vocab_size}-{_short(seen)}"
    train_tokenizer(corpus, out=tokenizer, settings=recipe.tokenizer)
    return corpus, tokenizer


def _final_model(run: Path, *, recipe: recipes.Recipe, tokenizer: Path, device: str) -> LoadedModel:
    words = load_tokenizer(tokenizer)
    decoder = build(recipe.model, vocab=words.vocab_size)
    assert isinstance(decoder, Decoder), "recipe_of lets no other in"
    decoder.load_state_dict(checkpoint.load_model_state(checkpoint.saved(run)[-1]))
    decoder = decoder.to(device).eval().requires_grad_(requires_grad=False)
    return LoadedModel(decoder=decoder, tokenizer=words, config={}, generation={})


def _score(model: LoadedModel, *, corpus: Path) -> tuple[HeldOutText, float]:
    """Bits per byte as `minna evaluate` counts them, over every document of the split."""
    documents = held_out(corpus, split=_SPLIT, limit=None, model=model)
    size = int(documents.bytes.sum())
    nats = nats_of(model, documents.tokens)
    text = HeldOutText(
        split=_SPLIT, documents=len(documents.documents), bytes=size, sha256=documents.sha256()
    )
    return text, float(nats.sum()) / math.log(2) / size


def _curve(run: Path) -> list[Point]:
    return [
        Point(
            minutes=entry["seconds"] / 60,
            tokens=int(entry["tokens"]),
            bits_per_byte=entry["bits_per_byte"],
        )
        for entry in read_log(run)
        if entry["event"] == "evaluate"
    ]


def _write(
    out: Path,
    record: Record,
    *,
    settings: dict[str, Any],
    parents: list[artifact.Parent],
    corpus: Path,
) -> None:
    """Write record and curve, and last the manifest that makes them whole."""
    (out / artifact.MANIFEST_NAME).unlink(missing_ok=True)
    write_text_atomically(out / RECORD, _json(record.model_dump(mode="json", by_alias=True)))
    write_text_atomically(
        out / CURVE, line_chart({record.what: record.curve}, title=record.track["description"])
    )
    data = artifact.read_manifest(corpus)
    files = {
        name: FileEntry(sha256=sha256_file(out / name), bytes=(out / name).stat().st_size)
        for name in (_TRACK, RECORD, CURVE)
    }
    manifest = new_manifest(
        "record",
        settings=settings,
        parents=parents,
        files=files,
        counts={
            "bits_per_byte": artifact.Count(value=record.bits_per_byte, unit="bits/byte"),
            "steps": artifact.Count(value=record.steps, unit="steps"),
            "tokens": artifact.Count(value=record.tokens, unit="tokens"),
        },
        licences=data.licences,
        legal=data.legal,
        wall_seconds=record.seconds,
    )
    artifact.write_manifest(out, manifest)
    say(f"{record.bits_per_byte:.4f} bits per byte after {format_seconds(record.seconds)}")


def _refuse_other(out: Path, track: Track) -> None:
    """Refuse a directory that holds something else, or another track.

    Raises:
        ArtifactError: naming what lies there.
    """
    file = out / _TRACK
    if file.is_file():
        found = json.loads(file.read_text(encoding="utf-8"))
        if found != resolved(track):
            same = found.get("name") == track.name
            raise ArtifactError(
                f"{out} holds a speed run of track {found.get('name')!r}"
                + (" with other rules" if same else f", not {track.name!r}"),
                remedy="choose another --out",
            )
    elif out.exists() and (inside := [path.name for path in out.iterdir()]):
        raise ArtifactError(
            f"{out} exists and is no speed run (it holds {', '.join(sorted(inside)[:4])})",
            remedy="choose another --out",
        )


def _short(content: object) -> str:
    text = json.dumps(content, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _json(content: object) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"
