"""A tiny corpus of clips made with numpy: syllables of tones and noise, their phones and times known.

A vowel is two formants over a speaker's pitch, a consonant noise in a band or a murmur, so a model
of a few thousand parameters tells them apart; nothing of it is speech. Deterministic from the seed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minna import artifact
from minna.corpus.audio import store_clip
from minna.corpus.clip_rows import ClipRow, phones_told, write_rows

RATE = 16_000
VOWELS = {"a": (800, 1300), "i": (300, 2400), "u": (350, 1100), "e": (500, 1900), "o": (500, 850)}
NOISES = {
    "s": (4500, 7500, 0.09),
    "sh": (2500, 5000, 0.1),
    "k": (1500, 3000, 0.05),
    "t": (3500, 6000, 0.05),
}
MURMURS = {"n": (250, 1700, 0.07), "m": (200, 1100, 0.07)}
SYLLABLES = {
    "ア": "a", "イ": "i", "ウ": "u", "エ": "e", "オ": "o", "カ": "k a", "キ": "k i", "ク": "k u", "ケ": "k e",
    "コ": "k o", "サ": "s a", "シ": "sh i", "ス": "s u", "セ": "s e", "ソ": "s o", "タ": "t a", "テ": "t e",
    "ト": "t o", "ナ": "n a", "ニ": "n i", "ヌ": "n u", "ネ": "n e", "ノ": "n o", "マ": "m a", "ミ": "m i",
    "ム": "m u", "メ": "m e", "モ": "m o",
}  # fmt: skip
SPEAKERS = {
    "low": (110.0, 1.08),
    "high": (210.0, 0.92),
    "middle": (160.0, 1.0),
    "held-out": (185.0, 1.03),
}


def make_clips(root: Path, *, clips: int = 24, seed: int = 0) -> Path:
    """Write a corpus of clips (0.5 to 2 s, 16 kHz FLAC) at `root`; return it.

    Of six clips four are train, one valid, one test; the speaker "held-out" is in test alone.
    """
    rows = [_row(number, seed) for number in range(clips)]
    settings = {"toy": "speech", "clips": clips, "seed": seed}
    with artifact.writing(root, kind="corpus", settings=settings) as draft:
        tally = write_rows(rows, data=draft.path / "data")
        draft.count("clips", tally.kept, "clips")
        draft.count("seconds", tally.seconds, "seconds")
        for split in ("train", "valid", "test"):
            draft.count(split, tally.splits[split], "clips")
        draft.licences = [artifact.Licence(source="made", licence="CC0-1.0")]
    return root


def speak(words: list[str], *, pitch: float = 150.0, warp: float = 1.0, seed: int = 0):
    """Say words of katakana; return (samples float32, words of phones, ends of all phones).

    Silences are told as words ["pau"], as in any corpus whose times are known.
    """
    random = np.random.default_rng(seed)
    phones = [["pau"]]
    for word in words:
        phones += [[phone for kana in word for phone in SYLLABLES[kana].split()], ["pau"]]
    pieces = [_sound(phone, random, pitch, warp) for word in phones for phone in word]
    ends = np.cumsum([len(piece) for piece in pieces]) / RATE
    return np.concatenate(pieces).astype(np.float32), phones, ends.tolist()


def _row(number: int, seed: int) -> ClipRow:
    random = np.random.default_rng([seed, number])
    split = ("train", "train", "valid", "train", "train", "test")[number % 6]
    names = list(SPEAKERS)
    speaker = names[3] if split == "test" else names[number % 3]
    pitch, warp = SPEAKERS[speaker]
    kana = list(SYLLABLES)
    words = [
        "".join(random.choice(kana, random.integers(2, 4))) for _ in range(random.integers(1, 4))
    ]
    samples, phones, ends = speak(words, pitch=pitch, warp=warp, seed=int(random.integers(1 << 31)))
    return ClipRow(
        id=f"{seed:04x}{number:012x}", group=f"toy-{seed}-{number}", split=split, source="toy", licence="CC0-1.0",
        speaker=speaker, audio=store_clip(samples), samples=len(samples), rate=RATE, transcript="".join(words),
        kana="".join(words), phones=phones_told(phones), times=tuple(ends),
    )  # fmt: skip


def _sound(phone, random, pitch, warp):
    if phone == "pau":
        return random.normal(0, 1e-3, int(random.uniform(0.03, 0.08) * RATE))
    if phone in VOWELS:
        count = int(random.uniform(0.08, 0.13) * RATE)
        return _tones(
            count, pitch * random.uniform(0.95, 1.05), [warp * f for f in VOWELS[phone]], 0.35
        )
    if phone in MURMURS:
        first, second, seconds = MURMURS[phone]
        return _tones(int(seconds * RATE), pitch, [warp * first, warp * second], 0.15)
    low, high, seconds = NOISES[phone]
    count = int(seconds * RATE)
    spectrum = np.fft.rfft(random.normal(size=count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum[(frequencies < low * warp) | (frequencies > high * warp)] = 0
    noise = np.fft.irfft(spectrum, count)
    return _faded(0.2 * noise / np.abs(noise).max())


def _tones(count, pitch, formants, loud):
    """Harmonics of the pitch, each as loud as it is near a formant."""
    time = np.arange(count) / RATE
    harmonics = pitch * np.arange(1, int(3500 / pitch) + 1)
    weights = sum(np.exp(-(((harmonics - formant) / 180) ** 2)) for formant in formants) + 0.02
    wave = (weights[:, None] * np.sin(2 * np.pi * harmonics[:, None] * time)).sum(axis=0)
    return _faded(loud * wave / np.abs(wave).max())


def _faded(wave):
    edge = min(80, len(wave) // 2)
    ramp = np.ones(len(wave))
    ramp[:edge] = np.linspace(0, 1, edge)
    ramp[-edge:] = np.linspace(1, 0, edge)
    return wave * ramp
