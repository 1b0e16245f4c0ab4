"""What cleaning does to real text, and how fast: every figure of docs/cleaning.md.

The text is Tatoeba's 207,995 sentences (fetched once), the 6,110 works of Aozora Bunko, and for the
smell table JSQuAD, jrte, enja and instruction_ja (all in ../shared/data). Everything is judged with
the defaults, before duplicates are looked for. Speeds are of one process, in MB of UTF-8 that go in
a second; all other figures are the same on every machine.

    python bench/bench_cleaning.py [--works 500] [--data ../shared/data]
"""

from __future__ import annotations

import argparse
import itertools
import json
import tarfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from minna.corpus import japanese
from minna.corpus.filters import FilterSettings, judge
from minna.corpus.language import languages
from minna.corpus.passes.read import batches
from minna.corpus.personal import mask
from minna.corpus.profile import profile
from minna.corpus.sources import spaces
from minna.corpus.sources.aozora import Aozora
from minna.corpus.sources.package_index import fetch
from minna.corpus.sources.tatoeba import ARCHIVE, MEMBER

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
_T = TypeVar("_T")
_STEPS = ("normalise", "normalise again", "mask", "profile and filters")
_TOGETHER = 8  # sentences of a document in the language table
_BULK = 20  # and in the smell table
_AT_ONCE = 1 << 21  # characters in memory: about a part of a build
_COLUMNS = ("Japanese", "English", "Dutch", "German", "French", "Spanish", "Swedish")
_KNOWN = {"Japanese": "ja", "English": "en"}


@dataclass(kw_only=True)
class Cleaned:
    """What was measured of one text.

    Attributes:
        seconds: step -> time of it; bytes: step -> UTF-8 that went in.
        dropped: reason -> beginnings of the documents.
        masked: kind -> places.
        smell: scores of all documents.
    """

    name: str
    documents: int = 0
    characters: int = 0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))
    bytes: Counter[str] = field(default_factory=Counter)
    dropped: dict[str, list[str]] = field(default_factory=dict)
    masked: Counter[str] = field(default_factory=Counter)
    smell: list[float] = field(default_factory=list)


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--works", type=int, help="only the first so many works of Aozora")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    columns = sentences()
    archive = options.data / "aozora" / "aozora.tar.xz"
    tatoeba = clean("Tatoeba", iter(columns["Japanese"]))
    aozora = clean("Aozora", itertools.islice(works(archive), options.works), known="ja")
    print("\n\n".join([speeds([tatoeba, aozora]), drops([tatoeba, aozora])]))
    print("\n" + language_table(columns))
    print("\n" + smell_table(tatoeba, aozora, data=options.data))


def sentences() -> dict[str, list[str]]:
    """Language -> its column of Tatoeba; rows without a translation are left out."""
    with tarfile.open(fetch(ARCHIVE), "r:gz") as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        rows = [line.split("\t") for line in member.read().decode("utf-8").splitlines()]
    return {
        name: [row[place] for row in rows if row[place] != "-"]
        for place, name in enumerate(_COLUMNS, start=1)
    }


def works(archive: Path) -> Iterator[str]:
    """Texts of the works, without their mark-up."""
    for shard in Aozora(archive).shards():
        for document in shard.documents():
            assert not document.problem, document.text
            yield document.text


# ---- cleaning


def clean(name: str, texts: Iterator[str], *, known: str = "") -> Cleaned:
    """Normalise, mask and judge documents, and measure it."""
    result = Cleaned(name=name)
    waiting: list[str] = []
    size = 0
    for text in texts:
        waiting.append(text)
        size += len(text)
        if size >= _AT_ONCE:
            _clean_part(result, waiting, known=known)
            waiting, size = [], 0
    _clean_part(result, waiting, known=known)
    return result


def _clean_part(result: Cleaned, raw: list[str], *, known: str) -> None:
    for start, stop in batches([len(text) for text in raw]):
        _clean(result, raw[start:stop], known=known)


def _clean(result: Cleaned, raw: list[str], *, known: str) -> None:
    result.documents += len(raw)
    normal = _timed(result, "normalise", raw, lambda: [japanese.normalise(text) for text in raw])
    _timed(result, "normalise again", normal, lambda: [japanese.normalise(t) for t in normal])
    masked = _timed(result, "mask", normal, lambda: [mask(text) for text in normal])
    for _, places in masked:
        result.masked.update(places)
    texts = [text for text, _ in masked]
    judgement = _timed(
        result,
        "profile and filters",
        texts,
        lambda: judge(texts, [known] * len(texts), settings=FilterSettings()),
    )
    result.characters += sum(map(len, texts))
    result.smell += judgement.profiles.smell.tolist()
    for text, reason in zip(texts, judgement.reasons, strict=True):
        if reason is not None:
            result.dropped.setdefault(reason, []).append(" ".join(text[:24].split()))


def _timed(result: Cleaned, step: str, texts: list[str], work: Callable[[], _T]) -> _T:
    began = time.perf_counter()
    made = work()
    result.seconds[step] += time.perf_counter() - began
    result.bytes[step] += sum(len(text.encode()) for text in texts)
    return made


# ---- tables


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def speeds(texts: Sequence[Cleaned]) -> str:
    """MB/s of each step."""
    rows = [
        (
            text.name,
            f"{text.documents:,}",
            f"{text.bytes['normalise again'] / 1e6:.1f}",
            f"{text.characters / text.documents:,.0f}",
            *(f"{text.bytes[step] / text.seconds[step] / 1e6:.0f}" for step in _STEPS),
        )
        for text in texts
    ]
    steps = [f"{step}, MB/s" for step in _STEPS]
    return table(["text", "documents", "MB", "characters each", *steps], rows)


def drops(texts: Sequence[Cleaned]) -> str:
    """What filters and masks find, with the beginnings of what is dropped."""
    rows: list[Sequence[object]] = []
    for text in texts:
        reasons = sorted(text.dropped.items(), key=lambda item: (-len(item[1]), item[0]))
        for reason, begins in reasons:
            shown = " / ".join(begin or "(nothing)" for begin in begins)
            rows.append((text.name, f"dropped: `{reason}`", len(begins), shown.replace("|", "¦")))
        rows += [(text.name, f"masked: {kind}", n, "") for kind, n in sorted(text.masked.items())]
    return table(["text", "what", "number", "begins"], rows)


def language_table(columns: dict[str, list[str]]) -> str:
    """What the language of Tatoeba's columns is taken for, one and several sentences at once."""
    rows: list[Sequence[object]] = []
    for name in _COLUMNS:
        normal = [japanese.normalise(text) for text in columns[name]]
        # a document of eight sentences in a row of the file
        several = [
            " ".join(normal[at : at + _TOGETHER])
            for at in range(0, len(normal) - _TOGETHER + 1, _TOGETHER)
        ]
        for count, documents in ((1, normal), (_TOGETHER, several)):
            told = Counter(_told(documents))
            right = told[_KNOWN.get(name, "other")] * 10_000 // len(documents) / 100
            numbers = [f"{told[one]:,}" for one in ("ja", "en", "other")]
            rows.append((name, count, f"{len(documents):,}", *numbers, f"{right:.2f} %"))
    header = ["language", "sentences", "documents", "ja", "en", "other", "right"]
    return table(header, rows)


def _told(documents: Sequence[str]) -> Iterator[str]:
    for start, stop in batches([len(text) for text in documents]):
        yield from languages(profile(documents[start:stop]))


def smell_table(tatoeba: Cleaned, aozora: Cleaned, *, data: Path) -> str:
    """How the machine-translation and template score lies."""
    translated = [spaces.join_japanese(line) for line in _lines(data / "enja" / "train.ja")]
    bulk = [
        "\n".join(translated[at : at + _BULK])
        for at in range(0, len(translated) - _BULK + 1, _BULK)
    ]
    scores = [
        ("Aozora, works", aozora.smell),
        ("JSQuAD paragraphs (Wikipedia)", _smell(_paragraphs(data))),
        ("jrte, sentences of hotel reviews", _smell(_reviews(data))),
        ("Tatoeba, single sentences", tatoeba.smell),
        ("enja `train.ja`, single sentences", _smell(translated)),
        (f"enja `train.ja`, {_BULK} together", _smell(bulk)),
        ("instruction_ja dialogues (corrected translations)", _smell(_dialogues(data))),
    ]
    rows = [
        (name, f"{len(found):,}", *(f"{x:.3f}" for x in np.quantile(found, (0.5, 0.9, 0.99, 1))))
        for name, found in scores
    ]
    return table(["text", "documents", "median", "90 %", "99 %", "most"], rows)


def _smell(texts: Sequence[str]) -> list[float]:
    normal = [japanese.normalise(text) for text in texts]
    found: list[float] = []
    for start, stop in batches([len(text) for text in normal]):
        found += profile(normal[start:stop]).smell.tolist()
    return found


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def _paragraphs(data: Path) -> list[str]:
    told = json.loads((data / "jglue" / "jsquad-v1.1" / "valid-v1.1.json").read_text("utf-8"))
    return [
        paragraph["context"].rpartition("[SEP]")[2]
        for article in told["data"]
        for paragraph in article["paragraphs"]
    ]


def _reviews(data: Path) -> list[str]:
    return [line.split("\t")[2] for line in _lines(data / "jrte" / "pn.tsv")]


def _dialogues(data: Path) -> list[str]:
    rows = [json.loads(line) for line in _lines(data / "instruction_ja" / "data.jsonl")]
    return ["\n".join(turn["text"] for turn in row["utterances"]) for row in rows]


if __name__ == "__main__":
    main()
