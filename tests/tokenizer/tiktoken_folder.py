"""A folder as Qwen 1 has it: a tiktoken file, and a config that names code of a hub."""

from __future__ import annotations

import base64
import itertools
import json

TEXT = """吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。
何でも薄暗いじめじめした所でニャーニャー泣いていた事だけは記憶している。
The cat isn't here; we've 12 of them, and THEY'LL come at 10:30.  Two  spaces.\t\ttabs
"""


def ranks():
    """A vocabulary as byte-pair encoding makes it: bytes first, then the most frequent joints."""
    pieces = [bytes([byte]) for byte in range(256)]
    words = [[bytes([b]) for b in word.encode()] for word in TEXT.split(" ") if word]
    for _ in range(160):
        counts = {}
        for word in words:
            for pair in itertools.pairwise(word):
                counts[pair] = counts.get(pair, 0) + 1
        best = max(counts, key=lambda pair: (counts[pair], pair))
        pieces.append(b"".join(best))
        words = [joined(word, best) for word in words]
    return list(dict.fromkeys(pieces))


def joined(word, pair):
    out, at = [], 0
    while at < len(word):
        both = tuple(word[at : at + 2]) == pair
        out.append(b"".join(pair) if both else word[at])
        at += 2 if both else 1
    return out


PIECES = ranks()


def tiktoken_folder(folder, pieces=PIECES):
    folder.mkdir(exist_ok=True)
    lines = [base64.b64encode(piece) + b" %d" % rank for rank, piece in enumerate(pieces)]
    (folder / "qwen.tiktoken").write_bytes(b"\n".join(lines) + b"\n")
    remote = {"auto_map": {"AutoTokenizer": ["tokenization_qwen.QWenTokenizer", None]}}
    config = {"tokenizer_class": "QWenTokenizer", "model_max_length": 8192, **remote}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
