"""Encoding speed and memory beside sentencepiece and tokenizers: same text, same vocabularies.

Text of Aozora Bunko as lines (what chat and sentence corpora look like) and as whole works (what
pre-training encodes), with a BPE and a unigram vocabulary of minna's settings, and rinna's own
google_sp.model where it is at hand. Every variant is a process of its own, so that peak memory is
its own; rounds are interleaved, so that a busy minute hits all. Each hands back ids in its own way:
lists (sentencepiece), Encoding objects (tokenizers), one flat array (minna). Ratios under 1.25 on a
shared machine are ties; MB per CPU second says what the work costs where others want the cores too.

    python bench/bench_tokenizer.py [--corpus DIR] [--megabytes 10] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import peak_bytes, processor

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("MINNA_SHARED_DATA", ROOT.parent / "shared" / "data"))
FORMS = ("lines", "works")
VARIANTS = {
    "sentencepiece, one text a call": "one",
    "sentencepiece, a list, 1 thread": "list-1",
    "sentencepiece, a list, 2 threads": "list-2",
    "tokenizers encode_batch_fast": "tokenizers",
    "minna encode_batch": "minna",
}
SAMPLE_BYTES = 4_000_000
TIMED = 3


def main() -> None:
    """Prepare texts and vocabularies, run the rounds, print a table for each."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--corpus", type=Path, help="a corpus directory; default: Aozora Bunko")
    parser.add_argument("--megabytes", type=float, default=10.0)
    parser.add_argument("--vocab-size", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peer-python", default=sys.executable)
    parser.add_argument("--worker", choices=list(VARIANTS.values()))
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(work(options) | {"rss": peak_bytes()}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vocabularies = prepare(folder, options)
        print(setting(options))
        for vocabulary in vocabularies:
            for form in FORMS:
                results = rounds(folder / vocabulary, folder / f"{form}.json", options)
                print(f"\n{vocabulary}, {form}\n\n{table(results)}", flush=True)


def prepare(folder: Path, options: argparse.Namespace) -> list[str]:
    """Write the texts in both forms, and every vocabulary as a folder; return their names."""
    import shutil

    from minna.corpus.read import text_batches
    from minna.tokenizer import TokenizerSettings, export_tokenizer, train_tokenizer
    from minna.tokenizer.sample import cut_lines

    corpus = options.corpus or build_aozora(folder)
    works: list[str] = []
    left = options.megabytes * 1e6
    for texts, _ in text_batches(corpus, split="train"):
        for text in texts:
            if left > 0:
                works.append(text)
                left -= len(text.encode())
        if left <= 0:
            break
    lines = [line for text in works for line in cut_lines(text)]
    for form, texts in (("works", works), ("lines", lines)):
        (folder / f"{form}.json").write_text(json.dumps(texts), encoding="utf-8")
    names: list[str] = []
    for kind in ("bpe", "unigram"):
        settings = TokenizerSettings(
            kind=kind, vocab_size=options.vocab_size, sample_bytes=SAMPLE_BYTES
        )
        names.append(f"{kind} {options.vocab_size}")
        train_tokenizer(corpus, out=folder / names[-1], settings=settings)
    theirs = SHARED / "rinna" / "google_sp.model"
    if theirs.is_file():
        names.append("rinna's google_sp.model")
        (folder / names[-1]).mkdir()
        shutil.copy(theirs, folder / names[-1] / "tokenizer.model")
        export_tokenizer(theirs, out=folder / names[-1])
    return names


def build_aozora(folder: Path) -> Path:
    """A corpus of the archive beside the project, if it is there."""
    from minna.corpus import BuildSettings, build_corpus

    archive = SHARED / "aozora" / "aozora.tar.xz"
    if not archive.is_file():
        raise SystemExit(f"{archive} is not there: give --corpus DIR, or set MINNA_SHARED_DATA")
    settings = BuildSettings(source="aozora", path=archive, limit=400)
    return build_corpus(settings=settings, out=folder / "corpus")


def rounds(
    tokenizer: Path, texts: Path, options: argparse.Namespace
) -> dict[str, list[dict[str, Any]]]:
    """Run every variant in its own process, round after round."""
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS}
    for number in range(options.rounds):
        for name, worker in VARIANTS.items():
            python = sys.executable if worker == "minna" else options.peer_python
            command = [python, __file__, "--worker", worker]
            command += ["--texts", str(texts), "--tokenizer", str(tokenizer)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
            result = json.loads(done.stdout.strip().splitlines()[-1])
            results[name].append(result)
            sys.stderr.write(f"round {number + 1} {name}: {result['speed']:.1f} MB/s\n")
    return results


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """A Markdown table; ratios are minna / it, and tokens are equal where ids are."""
    middle, work_done, memory = (
        {name: statistics.median(row[key] for row in rows) for name, rows in results.items()}
        for key in ("speed", "per_cpu", "rss")
    )
    ours = "minna encode_batch"
    lines = [
        "| variant | MB/s, median (range) | ratio | MB per CPU s | peak MB | ratio | tokens |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, rows in results.items():
        speeds = [row["speed"] for row in rows]
        lines.append(
            f"| {name} | {middle[name]:.1f} ({min(speeds):.1f} to {max(speeds):.1f}) "
            f"| {middle[ours] / middle[name]:.2f} | {work_done[name]:.1f} "
            f"| {memory[name] / 1e6:.0f} "
            f"| {memory[ours] / memory[name]:.2f} | {rows[0]['tokens']:,} |"
        )
    return "\n".join(lines)


def work(options: argparse.Namespace) -> dict[str, Any]:
    """Encode all texts `TIMED` times with one variant; the fastest pass counts."""
    texts: list[str] = json.loads(options.texts.read_text(encoding="utf-8"))
    encode = {
        "one": sentencepiece_one,
        "list-1": lambda folder: sentencepiece_list(folder, threads=1),
        "list-2": lambda folder: sentencepiece_list(folder, threads=2),
        "tokenizers": huggingface,
        "minna": minna,
    }[options.worker](options.tokenizer)
    size = sum(len(text.encode()) for text in texts)
    seconds: list[float] = []
    processor_seconds: list[float] = []
    tokens = 0
    for _ in range(TIMED):
        start, spent = time.perf_counter(), time.process_time()
        tokens, found = encode(texts)
        seconds.append(time.perf_counter() - start)
        processor_seconds.append(time.process_time() - spent)
        del found
    return {
        "speed": size / min(seconds) / 1e6,
        "per_cpu": size / min(processor_seconds) / 1e6,
        "tokens": tokens,
    }


def sentencepiece_one(folder: Path) -> Any:
    """One text a call, as a loop over a file does."""
    from sentencepiece import SentencePieceProcessor

    processor: Any = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))

    def encode(texts: list[str]) -> tuple[int, Any]:
        rows = [processor.encode(text) for text in texts]
        return sum(map(len, rows)), rows

    return encode


def sentencepiece_list(folder: Path, *, threads: int) -> Any:
    """All texts in one call."""
    from sentencepiece import SentencePieceProcessor

    processor: Any = SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))

    def encode(texts: list[str]) -> tuple[int, Any]:
        rows = processor.encode(texts, num_threads=threads)
        return sum(map(len, rows)), rows

    return encode


def huggingface(folder: Path) -> Any:
    """The fast call of tokenizers, on as many threads as it takes."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True

    def encode(texts: list[str]) -> tuple[int, Any]:
        rows = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return sum(map(len, rows)), rows

    return encode


def minna(folder: Path) -> Any:
    """What token shards are made with."""
    from minna.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder, case="keep")

    def encode(texts: list[str]) -> tuple[int, Any]:
        flat, offsets = tokenizer.encode_batch(texts)
        return len(flat), (flat, offsets)

    return encode


def setting(options: argparse.Namespace) -> str:
    """One line that says what was run on what."""
    from importlib.metadata import version

    text = options.corpus.as_posix() if options.corpus else "Aozora Bunko"
    return (
        f"{options.rounds} interleaved rounds, {options.megabytes:g} MB of {text}, "
        f"{os.cpu_count()} cores, sentencepiece {version('sentencepiece')}, "
        f"tokenizers {version('tokenizers')}, {processor()}"
    )


if __name__ == "__main__":
    main()
