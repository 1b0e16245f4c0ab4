"""Opening a recording that somebody else made: one way in, for corpora, labels and transcripts.

What a corpus calls audio is also a text file, a download that was cut, five microphones, a
telephone's 8 kHz, or a WAV of NaN. Here each becomes the same thing, one channel at 16,000 Hz, or
an error with a word for the count:

- the length is read from the header and judged before a sample is decoded: a FLAC of silence packs
  hours into a few kilobytes;
- it is decoded in pieces and resampled as it comes, so memory is that of the result;
- channels are averaged; loudness is left as it is;
- a file that ends before its own header says so is cut, also where a decoder says nothing.

WAV, FLAC, MP3, Ogg Vorbis, Opus and what else libsndfile knows, whatever a file's name claims.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from minna.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    import soundfile

Float32 = npt.NDArray[np.float32]
Form = Literal["flac", "opus", "wav"]

RATE: Final = 16_000
"""Samples of a second, everywhere a model hears."""
SUFFIXES: Final = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".au")
LEAST_SAMPLES: Final = 400
"""At 16,000 Hz: 25 ms, the shortest that the encoders' convolutions turn into one frame."""
MOST_SECONDS: Final = 4 * 3600
MOST_BYTES: Final = 1_000_000_000
"""Of one file."""

_RATES: Final = (2_000, 768_000)
_MOST_CHANNELS: Final = 64
_BLOCK: Final = 1 << 19  # values decoded at once: 2 MB
_FORMS: Final[dict[str, dict[str, str]]] = {
    "flac": {"format": "FLAC", "subtype": "PCM_16"},
    "opus": {"format": "OGG", "subtype": "OPUS"},
    "wav": {"format": "WAV", "subtype": "PCM_16"},
}
_OPUS_RATES: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
_OGG_HEAD: Final = 27  # bytes of a page, the last of them how many sizes follow
_FULL: Final = 32766 / 32768  # the last steps of 16 bits, of which the negative side has one more
ROUGH: Final = frozenset({"MP3", "MPEG"})
"""Formats that tell their length roughly."""
_NOT_STATED: Final = 0xFFFFFFFF  # what a program writes into a WAV that goes into a pipe


class BadClipError(DataError):
    """One recording cannot be used; `problem` is the reason it is counted under."""

    def __init__(self, rule: str, *, problem: str, remedy: str = "") -> None:
        super().__init__(rule, remedy=remedy or "give another recording, or save it again as FLAC")
        self.problem = problem


class Head(NamedTuple):
    """What a file says of itself: frames are samples of one channel."""

    format: str
    rate: int
    channels: int
    frames: int

    @property
    def seconds(self) -> float:
        """How long it is."""
        return self.frames / self.rate


class Loudness(NamedTuple):
    """How loud a clip is: its level (RMS) in dB under full scale, peak, share at full scale."""

    level: float
    peak: float
    clipped: float


def open_clip(content: bytes, *, rate: int = RATE) -> Float32:
    """Return the recording in a file's bytes [samples]: one channel, in [-1, 1], at `rate`.

    Raises:
        BadClipError: as `head_of`, or `damaged`, `truncated` (it ends before its header says),
            `not_finite` (NaN or infinity), `too_short` (under 25 ms).
        MissingExtraError: soundfile or soxr is not installed.
    """
    with _opened(content) as file:
        head = _judged(file)
        pieces = list(_pieces(file, head, rate))
    samples = np.concatenate([np.zeros(0, np.float32), *pieces])
    if len(samples) * RATE < LEAST_SAMPLES * rate:
        raise BadClipError(
            f"the recording has {head.frames} samples at {head.rate} Hz, and 25 ms are needed",
            problem="too_short",
        )
    return np.clip(samples, -1.0, 1.0)  # resampling swings a little over full scale


def head_of(content: bytes) -> Head:
    """Return what a file says of itself, nothing decoded.

    Raises:
        BadClipError: `empty`, `not_audio`, `too_large` (over a gigabyte), `too_long` (over four
            hours), `odd_rate` (under 2 or over 768 kHz), `too_many_channels`, `truncated`.
        MissingExtraError: soundfile is not installed.
    """
    with _opened(content) as file:
        return _judged(file)


def store_clip(samples: Float32, *, rate: int = RATE, form: Form = "flac") -> bytes:
    """Return one channel [samples] as the bytes of a file: 16 bits, or Opus.

    Raises:
        BadClipError: `not_finite`, or a rate that Opus does not have (`odd_rate`).
        MissingExtraError: soundfile is not installed.
    """
    library = _soundfile()
    if not np.isfinite(samples).all():
        raise _not_finite()
    if form == "opus" and rate not in _OPUS_RATES:
        raise BadClipError(
            f"Opus has no rate of {rate} Hz ({', '.join(map(str, _OPUS_RATES))})",
            problem="odd_rate",
        )
    out = io.BytesIO()
    with library.SoundFile(out, "w", samplerate=rate, channels=1, **_FORMS[form]) as file:
        for start in range(0, len(samples), _BLOCK):
            file.write(np.clip(samples[start : start + _BLOCK], -1.0, 1.0))
    return out.getvalue()


def loudness(samples: Float32) -> Loudness:
    """How loud a clip is."""
    if not len(samples):
        return Loudness(-np.inf, 0.0, 0.0)
    size = np.abs(samples)
    power = float(np.mean(np.square(samples, dtype=np.float64)))
    level = 10 * np.log10(power) if power else -np.inf
    return Loudness(float(level), float(size.max()), float((size >= _FULL).mean()))


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: its shared library is not there
        raise MissingExtraError("soundfile", extra="speech") from error
    return soundfile


def _opened(content: bytes) -> soundfile.SoundFile:
    library = _soundfile()
    if not content:
        raise BadClipError("the file is empty", problem="empty")
    if len(content) > MOST_BYTES:
        raise BadClipError(
            f"the file is too large: {len(content)} bytes, and {MOST_BYTES} are allowed",
            problem="too_large",
            remedy="cut it first",
        )
    _refuse_cut(content)
    try:
        return library.SoundFile(io.BytesIO(content))
    except (library.LibsndfileError, RuntimeError, ValueError, TypeError) as error:
        raise BadClipError(
            f"the file of {len(content)} bytes is no audio that can be read ({_told(error)})",
            problem="not_audio",
        ) from error


def _judged(file: soundfile.SoundFile) -> Head:
    """The header, found fit to be decoded."""
    head = Head(file.format, file.samplerate, file.channels, file.frames)
    if head.frames <= 0:
        raise BadClipError("the recording has no samples", problem="empty")
    if not _RATES[0] <= head.rate <= _RATES[1]:
        raise BadClipError(
            f"the recording has a rate of {head.rate} Hz, and {_RATES[0]} to {_RATES[1]} are read",
            problem="odd_rate",
        )
    if head.channels > _MOST_CHANNELS:
        raise BadClipError(
            f"the recording has {head.channels} channels, and {_MOST_CHANNELS} are read",
            problem="too_many_channels",
        )
    if head.seconds > MOST_SECONDS:
        raise BadClipError(
            f"the recording has {head.seconds:.0f} seconds, and {MOST_SECONDS} are allowed",
            problem="too_long",
            remedy="cut it first",
        )
    return head


def _pieces(file: soundfile.SoundFile, head: Head, rate: int) -> Any:
    """Decode, average the channels and resample, piece by piece."""
    library = _soundfile()
    stream = None if head.rate == rate else _resampler(head.rate, rate)
    read, size = 0, max(1, _BLOCK // head.channels)
    while True:
        try:
            block: Any = file.read(size, dtype="float32", always_2d=True)
        except (library.LibsndfileError, RuntimeError) as error:
            raise BadClipError(
                f"the recording is damaged: {_told(error)}", problem="damaged"
            ) from error
        read += len(block)
        piece = block[:, 0] if head.channels == 1 else block.mean(axis=1, dtype=np.float32)
        if not np.isfinite(piece).all():
            raise _not_finite()
        last = len(block) < size
        yield piece if stream is None else stream.resample_chunk(piece, last=last)
        if last:
            break
    if read < head.frames and head.format not in ROUGH:
        raise _cut(f"{head.frames} samples are announced, and {read} are there")


def _resampler(source: int, target: int) -> Any:
    try:
        import soxr
    except ImportError as error:
        raise MissingExtraError("soxr", extra="speech") from error
    return soxr.ResampleStream(source, target, 1, dtype="float32", quality="HQ")


def _refuse_cut(content: bytes) -> None:
    """Tell what was cut from the sizes inside, for the forms whose decoders do not."""
    if content[:4] in (b"RIFF", b"RF64") and content[8:12] == b"WAVE":
        _refuse_cut_wave(content)
    elif content[:4] == b"OggS":
        _refuse_cut_ogg(content)


def _refuse_cut_ogg(content: bytes) -> None:
    """The last page must say that it is the last, and be whole (27 bytes, sizes, their sum)."""
    page = content[content.rfind(b"OggS") :]
    if len(page) <= _OGG_HEAD or not page[5] & 4:
        raise _cut("its last page is missing")
    sizes = page[_OGG_HEAD : _OGG_HEAD + page[_OGG_HEAD - 1]]
    if len(page) < _OGG_HEAD + page[_OGG_HEAD - 1] + sum(sizes):
        raise _cut("its last page is not whole")


def _refuse_cut_wave(content: bytes) -> None:
    place = 12
    while place + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, place)
        if name == b"data":
            there = len(content) - place - 8
            if size not in (0, _NOT_STATED) and there < size and content[:4] == b"RIFF":
                raise _cut(f"{size} bytes of sound are announced, and {there} are there")
            return
        place += 8 + size + size % 2


def _cut(what: str) -> BadClipError:
    return BadClipError(
        f"the recording is cut: {what}", problem="truncated", remedy="fetch or copy it again"
    )


def _not_finite() -> BadClipError:
    return BadClipError("the recording holds NaN or infinity", problem="not_finite")


def _told(error: Exception) -> str:
    return str(error).strip().rstrip(".") or type(error).__name__
