"""`minna transcribe MODEL ...`: what is said in recordings, or how often that is right."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, cast

import typer

from minna.cli.output import JsonOption, emit

if TYPE_CHECKING:
    from minna.evaluate.report import Report
    from minna.runtime.load import Device
    from minna.runtime.speech import OpenRecogniser
    from minna.runtime.subtitles import Form
    from minna.runtime.transcribe import Beam
    from minna.tokenizer.sounds import SoundKind

_KINDS = ("kana", "phones")
_FORMS = ("text", "srt", "vtt", "json")


def transcribe(
    model: Annotated[Path, typer.Argument(help="A model dir that recognises speech (CTC).")],
    recordings: Annotated[
        list[str] | None, typer.Argument(help="Files, folders, or patterns such as 'a/*.mp3'.")
    ] = None,
    *,
    to: Annotated[
        str | None, typer.Option(help="kana or phones (default: what the model writes).")
    ] = None,
    form: Annotated[
        str, typer.Option("--format", help="text, srt or vtt (subtitles), json (all times).")
    ] = "text",
    beam: Annotated[
        str, typer.Option(help="Prefixes that the search keeps, or greedy: the best path.")
    ] = "20",
    out: Annotated[
        Path | None, typer.Option(help="Folder: a file for each recording (default: print).")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Measure instead, on a corpus of clips with transcripts.")
    ] = None,
    split: Annotated[str, typer.Option(help="With --data: train, valid, test or all.")] = "test",
    report: Annotated[Path | None, typer.Option(help="With --data: the report to write.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    as_json: JsonOption = False,
) -> None:
    """Write what is said in recordings of any length, with times; or measure the errors.

    Example: minna transcribe build/recogniser talk.mp3 --format srt --out build/subtitles
    """
    _check(to, form, split)
    width = _beam(beam)
    if data is not None:
        _refuse_beside_data(recordings, to, form, out)
        _measure(model, data, report, split=split, beam=width, device=device, as_json=as_json)
        return
    if report is not None:
        _refuse("--report goes with --data", "add --data CORPUS, or write files: --out DIR")
    if not recordings:
        _refuse(
            "there is no recording to transcribe",
            "give files or a folder, or measure: --data CORPUS --report DIR",
        )
    _write(
        _opened(model, device),
        recordings,
        to=cast("SoundKind | None", to),
        form=cast("Form", form),
        beam=width,
        out=out,
        as_json=as_json,
    )


def _opened(model: Path, device: str) -> OpenRecogniser:
    from minna.runtime.speech import open_recogniser

    return open_recogniser(model, device=cast("Device", device))


def _write(
    recogniser: OpenRecogniser,
    places: list[str],
    *,
    to: SoundKind | None,
    form: Form,
    beam: Beam,
    out: Path | None,
    as_json: bool,
) -> None:
    """Transcribe files, each as soon as it is heard."""
    from minna.artifact.files import write_text_atomically
    from minna.runtime.recordings import find_recordings, names_for
    from minna.runtime.subtitles import SUFFIXES, plain, written
    from minna.runtime.transcribe import transcribe_files

    files = find_recordings(places)
    if form != "text" and len(files) > 1 and out is None and not as_json:
        _refuse(
            f"{len(files)} recordings cannot be printed as one {form}", "give a folder: --out DIR"
        )
    names = names_for(files, SUFFIXES[form])
    found: list[dict[str, Any]] = []
    texts: list[str] = []
    bad: dict[str, str] = {}
    for file, transcript in transcribe_files(recogniser, files, beam=beam, to=to, bad=bad):
        path = file.path.as_posix()
        found.append({"path": path, **plain(transcript)})
        if out is not None:
            target = out / names[file.path]
            write_text_atomically(target, written(transcript, form))
            found[-1]["file"] = target.as_posix()
            texts.append(f"{path} -> {target.as_posix()}")
        elif len(files) == 1:
            texts.append(written(transcript, form).rstrip("\n"))
        else:
            texts.append(f"{path}\t{transcript.text}")
    result = {
        "model": recogniser.name,
        "recordings": found,
        "bad": [{"path": path, "problem": problem} for path, problem in bad.items()],
    }
    emit(result, as_json=as_json, text="\n".join(texts))


def _measure(
    model: Path,
    data: Path,
    report: Path | None,
    *,
    split: str,
    beam: Beam,
    device: str,
    as_json: bool,
) -> None:
    from minna.evaluate.report import read_report
    from minna.evaluate.speech import RecognitionSettings, evaluate_recognition
    from minna.evaluate.subject import open_subject

    if report is None:
        _refuse("a measurement becomes a report", "add --report build/report")
    done = evaluate_recognition(
        _opened(model, device),
        model=open_subject(model, server=None).parent,
        data=data,
        out=report,
        settings=RecognitionSettings(split=split, beam=beam),
    )
    found = read_report(done)
    result = found.model_dump(mode="json", by_alias=True) | {"path": done.as_posix()}
    emit(result, as_json=as_json, text="\n".join(_lines(found, done)))


def _lines(report: Report, out: Path) -> list[str]:
    """The figures for people."""
    from minna.evaluate.wording import metric_name, shown

    (task,) = report.tasks
    seconds = task.conditions["seconds"]
    lines = [
        f"{out}: {report.model_name}",
        f"  {task.n:,} clips ({seconds:,} s) of {task.data.title}, split {task.data.split}",
    ]
    lines += [f"    {metric_name(name):<38} {shown(one)}" for name, one in task.metrics.items()]
    left = {"clips_without_text": "say not what is said", "clips_bad": "cannot be read"}
    lines += [
        f"    {task.conditions[key]} clips {words} and are left out"
        for key, words in left.items()
        if task.conditions[key]
    ]
    return [*lines, f"look at {out / 'report.html'}"]


def _beam(word: str) -> Beam:
    if word == "greedy":
        return "greedy"
    if not word.isdecimal() or not int(word):
        _refuse(f"--beam {word} is no number of prefixes", "give a number from 1, or greedy")
    return int(word)


def _check(to: str | None, form: str, split: str) -> None:
    from minna.errors import UsageError, nearest

    for option, value, known in (
        ("--to", to or "kana", _KINDS),
        ("--format", form, _FORMS),
        ("--split", split, ("train", "valid", "test", "all")),
    ):
        if value not in known:
            raise UsageError(
                f"{option} has no {value!r}{nearest(value, known)}",
                remedy=f"use one of {', '.join(known)}",
            )


def _refuse_beside_data(
    recordings: list[str] | None, to: str | None, form: str, out: Path | None
) -> None:
    given = {"recordings": recordings or None, "--to": to, "--out": out}
    named = [name for name, value in given.items() if value is not None]
    named += ["--format"] if form != "text" else []
    if named:
        _refuse(
            f"--data measures errors in a corpus, and {', '.join(named)} was given too",
            "leave it out, or transcribe files without --data",
        )


def _refuse(rule: str, remedy: str) -> NoReturn:
    """Raise a UsageError (imported only where something is wrong: --help stays fast)."""
    from minna.errors import UsageError

    raise UsageError(rule, remedy=remedy)
