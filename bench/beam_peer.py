"""The peer of bench_beam.py: pyctcdecode's beam search over logits in a file, timed."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import numpy as np

FIRST = 0x3400  # a character for each phone: its labels are characters
NEVER = 1e9


def main() -> None:
    """Decode every utterance once; the last line says what was found and how long it took."""
    parser = argparse.ArgumentParser()
    parser.add_argument("worker")
    parser.add_argument("--logits")
    parser.add_argument("--beam", type=int)
    parser.add_argument("--pruning", choices=["default", "none"])
    options = parser.parse_args()
    from pyctcdecode import build_ctcdecoder

    with np.load(options.logits) as file:
        utterances = [file[name] for name in sorted(file.files) if name.startswith("logits")]
    symbols = utterances[0].shape[1]
    labels = ["", " ", *(chr(FIRST + number) for number in range(2, symbols))]
    decoder = build_ctcdecoder(labels)
    given: dict[str, Any] = {"beam_width": options.beam}
    if options.pruning == "none":
        given |= {"beam_prune_logp": -NEVER, "token_min_logp": -NEVER}
    decoder.decode_beams(utterances[0][:50], **given)
    texts: list[str] = []
    seconds: list[float] = []
    for logits in utterances:
        start = time.perf_counter()
        found = decoder.decode_beams(logits, **given)
        seconds.append(time.perf_counter() - start)
        texts.append(found[0][0])
    ids = [[1 if one == " " else ord(one) - FIRST for one in text] for text in texts]
    print(json.dumps({"seconds": sum(seconds), "ids": ids}))


if __name__ == "__main__":
    main()
