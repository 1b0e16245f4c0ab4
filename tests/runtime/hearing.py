"""A recogniser that hears what is in a toy corpus, since it was told: frames with spikes in time."""

from __future__ import annotations

import hashlib

import numpy as np

from minna.corpus.clip_read import read_clips
from minna.corpus.clip_rows import PAUSE
from minna.models.speech.config import HOP, RATE, frames_of
from minna.tokenizer.sounds import sounds_of_inventory


class TellTale:
    """Log-probabilities with a spike in the middle of each sound; `wrong` swaps some phones."""

    def __init__(self, corpus, *, kind="open-jtalk", wrong=None, name="tell-tale"):
        self.sounds = sounds_of_inventory(kind)
        self.name, self.heard = name, 0
        self._wrong = wrong or {}
        self._told = {}
        for clip in read_clips(corpus, split="all"):
            self._told[_key(clip.audio)] = self._spikes(clip)

    def logprobs(self, samples):
        self.heard += 1
        logits = np.zeros((frames_of(len(samples)), self.sounds.size), np.float32)
        logits[:, 0] = 6
        for symbol, seconds in self._told.get(_key(samples), ()):
            frame = min(len(logits) - 1, int(seconds * RATE / HOP))
            logits[frame, symbol] = 12
        return logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)

    def _spikes(self, clip):
        if self.sounds.kind == "kana":
            step = clip.seconds / (len(clip.kana) + 1)
            ids = self.sounds.encode([clip.kana])
            return [(k, step * (place + 1)) for place, k in enumerate(ids)]
        spikes, words = [], clip.phones.split(" | ")
        timed = iter(clip.timed)
        for word in words:
            for phone, start, end in (next(timed) for _ in word.split()):
                if phone == PAUSE:
                    if spikes:
                        spikes.append((1, (start + end) / 2))
                else:
                    (symbol,) = self.sounds.encode([[self._wrong.get(phone, phone)]])
                    spikes.append((symbol, (start + end) / 2))
        return spikes[:-1] if spikes and spikes[-1][0] == 1 else spikes


def _key(samples):
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()
