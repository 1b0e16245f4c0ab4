"""Programs that speak: text or labels in, sound out, and where possible when each phone is said.

hts_engine (Debian: htsengine) tells the times; the same engine inside pyopenjtalk does not. Both
read the voice that pyopenjtalk-plus brings. espeak-ng speaks English, and its phones are left
alone: they are nobody's inventory here.
"""

from __future__ import annotations

import functools
import math
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from minna.corpus.audio import RATE, BadClipError, Float32, open_clip
from minna.corpus.phonemes import open_jtalk
from minna.corpus.synth_speakers import USUAL_BEND, Speaker
from minna.errors import DataError, MissingExtraError

HTS_ENGINE: Final = "hts_engine"
PYOPENJTALK: Final = "pyopenjtalk"
ESPEAK: Final = "espeak-ng"
VOICE_RATE: Final = 48_000
_TICK: Final = 1e-7  # seconds: the unit of label files
_SECONDS: Final = 120.0  # that a program may take for one sentence
_QUIETER: Final = "-6"  # dB: the voice clips at its own loudness
_WORDS_A_MINUTE: Final = 165
_HEAD: Final = 1 << 16  # bytes; a voice's head has some 2,000
_JAPANESE: Final = "HTS_TTS_JPN"


class Said(NamedTuple):
    """A sentence as it was spoken: one channel at 16,000 Hz, and the ends of all labels [s]."""

    samples: Float32
    ends: tuple[float, ...]


def program(name: str) -> str:
    """Where a program is, "" where it is not."""
    return shutil.which(name) or ""


def program_version(name: str) -> str:
    """What a program says of itself, for the manifest.

    Raises:
        DataError: it does not start.
    """
    told = _run([program(name), "--version"] if name == ESPEAK else [program(name), "-h"])
    lines = [line.strip() for line in told.splitlines() if "ersion" in line or "eSpeak" in line]
    return lines[0].split("  ")[0].split(" (")[0] if lines else name


def voice_file() -> Path:
    """The voice inside pyopenjtalk-plus.

    Raises:
        MissingExtraError: pyopenjtalk-plus is not installed.
    """
    return Path(open_jtalk().DEFAULT_HTS_VOICE.decode())


def japanese_voices(path: Path) -> list[Path]:
    """The voices of hts_engine in a file or a folder, by name.

    Raises:
        DataError: there is none, or one does not speak Japanese.
    """
    files = sorted(path.rglob("*.htsvoice")) if path.is_dir() else [path]
    if not files:
        raise DataError(
            f"no voice of hts_engine is in {path}", remedy="files of voices end in .htsvoice"
        )
    for file in files:
        _bend_of(str(file))
    return [file.resolve() for file in files]


@functools.cache
def _bend_of(file: str) -> float:
    """The all-pass constant of a voice, from the lines KEY:VALUE at its head."""
    try:
        with Path(file).open("rb") as content:
            head = content.read(_HEAD).partition(b"[DATA]")[0].decode("ascii", errors="replace")
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}", remedy="check the path") from error
    said = dict(line.split(":", 1) for line in head.splitlines() if ":" in line)
    bend = re.search(r"ALPHA=([\d.]+)", said.get("OPTION[MCP]", ""))
    speaks = said.get("FULLCONTEXT_FORMAT", "nothing")
    if speaks != _JAPANESE or not bend:
        raise DataError(
            f"{file} is no Japanese voice of hts_engine: its head names {speaks} as its labels",
            remedy=f"give .htsvoice files whose FULLCONTEXT_FORMAT is {_JAPANESE}",
        )
    return float(bend[1])


def say_hts(labels: Sequence[str], speaker: Speaker) -> Said:
    """Speak labels with the program hts_engine.

    Raises:
        BadClipError: it said nothing (`unspoken`).
    """
    with tempfile.TemporaryDirectory(prefix="minna-") as name:
        folder = Path(name)
        (folder / "in.lab").write_text("\n".join(labels) + "\n", encoding="utf-8")
        rate, half_tones = _before_warp(speaker)
        voice = speaker.voice or str(voice_file())
        bend = speaker.all_pass + _bend_of(voice) - USUAL_BEND
        command = [
            program(HTS_ENGINE), "-m", voice, "-od", "out.lab", "-ow", "out.wav",
            "-r", f"{rate:.5f}", "-fm", f"{half_tones:.4f}", "-a", f"{bend:.4f}",
            "-jf", f"{speaker.intonation:.3f}", "-g", _QUIETER, "in.lab",
        ]  # fmt: skip
        _run(command, folder=folder)
        samples = _sound(folder / "out.wav")
        lines = (folder / "out.lab").read_text(encoding="utf-8").splitlines()
    ends = tuple(int(line.split()[1]) * _TICK / speaker.warp for line in lines)
    if len(ends) != len(labels):
        raise BadClipError(
            f"hts_engine told {len(ends)} times of {len(labels)} phones", problem="unspoken"
        )
    return Said(_warped(samples, VOICE_RATE, speaker), ends)


def say_pyopenjtalk(labels: Sequence[str], speaker: Speaker) -> Said:
    """Speak labels with the engine inside pyopenjtalk-plus, which tells no times.

    Raises:
        BadClipError: it said nothing (`unspoken`).
    """
    rate, half_tones = _before_warp(speaker)
    try:
        wave, heard = open_jtalk().synthesize(list(labels), speed=rate, half_tone=half_tones)
    except (RuntimeError, MemoryError) as error:
        raise BadClipError(f"pyopenjtalk did not speak: {error}", problem="unspoken") from error
    samples = (np.asarray(wave, dtype=np.float64) / 65536).astype(np.float32)  # 6 dB quieter
    return Said(_warped(samples, int(heard), speaker), ())


def say_espeak(text: str, speaker: Speaker) -> Said:
    """Speak English with espeak-ng.

    Raises:
        BadClipError: it said nothing (`unspoken`).
    """
    with tempfile.TemporaryDirectory(prefix="minna-") as name:
        folder = Path(name)
        (folder / "in.txt").write_text(text + "\n", encoding="utf-8")
        speed = round(_WORDS_A_MINUTE * speaker.rate / speaker.warp)
        pitch = min(99, max(0, round(50 + 4 * speaker.half_tones)))
        manner = ["-v", speaker.voice, "-s", str(speed), "-p", str(pitch)]
        command = [program(ESPEAK), *manner, "-f", "in.txt", "-w", "out.wav"]
        _run(command, folder=folder)
        content = _content(folder / "out.wav")
    samples = open_clip(content, rate=VOICE_RATE)
    return Said(_warped(samples, VOICE_RATE, speaker), ())


def _before_warp(speaker: Speaker) -> tuple[float, float]:
    """The rate and the half tones that are right once the voice is played faster."""
    return speaker.rate / speaker.warp, speaker.half_tones - 12 * math.log2(speaker.warp)


def _warped(samples: Float32, rate: int, speaker: Speaker) -> Float32:
    """The voice played faster by the warp, at 16,000 Hz."""
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError("soxr", extra="speech") from error
    warped: Any = soxr.resample(samples, rate * speaker.warp, RATE, quality="HQ")
    return np.asarray(warped, dtype=np.float32)


def _sound(file: Path) -> Float32:
    return open_clip(_content(file), rate=VOICE_RATE)


def _content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise BadClipError(f"no sound was written: {error}", problem="unspoken") from error


def _run(command: Sequence[str], *, folder: Path | None = None) -> str:
    """Run a program; return what it says."""
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments, no shell
            list(command),
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(
            f"{Path(command[0]).name or 'the program'} could not be run: {error}",
            remedy="install it again, or choose another engine",
        ) from error
    return done.stdout + done.stderr
