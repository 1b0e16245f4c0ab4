"""Corpus cleaning beside datatrove: MB/s a core, memory, and where the two decide differently.

The text is novels of Aozora Bunko (../shared/data/aozora, or --archive), each cut into documents of
about 2,000 characters, with 5 % planted copies: exact ones, and ones with 2 % of their characters
replaced. Both sides read the same JSON lines. Ours is the whole `corpus build` (normalise, filters,
masks, exact and near duplicates, parquet, card). The peer runs its Gopher filters for Japanese with
thresholds loosened (its own drop every Japanese document), then MinHash of 14 x 8 on word 5-grams.
Rounds are interleaved; every run is a process of its own, so peak memory is its own.

    python bench/bench_corpus.py --peer-python PATH [--rounds 5] [--megabytes 12]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from machine import peak_bytes

ARCHIVE = Path(__file__).resolve().parents[2] / "shared" / "data" / "aozora" / "aozora.tar.xz"
PIECE = 2000


def main() -> None:
    """Prepare the text, run the rounds, print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=float, default=12, help="of text both sides read")
    parser.add_argument("--sizes", default="10,190", help="megabytes for our memory and cores")
    parser.add_argument("--archive", type=Path, default=ARCHIVE)
    parser.add_argument("--peer-python", help="python of a venv with bench/env/corpus.txt")
    parser.add_argument("--worker", choices=["minna", "datatrove"])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--input", type=Path)
    parser.add_argument("--cores", type=int, default=1)
    options = parser.parse_args()
    if options.worker:
        worker = {"minna": run_minna, "datatrove": run_datatrove}[options.worker]
        print(json.dumps(worker(options)))
        return
    with tempfile.TemporaryDirectory() as folder:
        both = Path(folder) / "both" / "text.jsonl"
        prepare(options.archive, both, megabytes=options.megabytes)
        variants = {"minna": (sys.executable, "minna")}
        if options.peer_python:
            variants["datatrove"] = (options.peer_python, "datatrove")
        results: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
        for number in range(options.rounds):
            for name, (python, worker) in variants.items():
                result = call(python, worker, both, Path(folder), cores=1)
                results[name].append(result)
                sys.stderr.write(f"round {number + 1} {name}: {result['mb_per_second']:.2f} MB/s\n")
        print(table(results))
        if options.peer_python:
            print(differences(results))
        print(scaling(options, Path(folder)))


def call(python: str, worker: str, file: Path, folder: Path, *, cores: int) -> dict[str, Any]:
    """One run in its own process and its own folder."""
    work = Path(tempfile.mkdtemp(dir=folder))
    command = [python, __file__, "--worker", worker, "--input", str(file), "--folder", str(work)]
    done = subprocess.run(
        [*command, "--cores", str(cores)],
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1"},
    )
    shutil.rmtree(work)
    return json.loads(done.stdout.splitlines()[-1])


def prepare(archive: Path, file: Path, *, megabytes: float) -> None:
    """Write JSON lines of pieces of novels, every twentieth a copy of an earlier one."""
    random_ = random.Random(0)
    file.parent.mkdir(parents=True)
    size = count = 0
    recent: list[str] = []
    with file.open("w", encoding="utf-8") as out:

        def put(name: str, text: str) -> int:
            row = {"id": name, "text": text, "metadata": {}}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
            return len(text.encode())

        for text in pieces(archive):
            size += put(f"piece-{count}", text)
            count += 1
            recent = [*recent[-500:], text]
            if count % 20 == 0:
                copied = random_.choice(recent)
                kind = "exact" if count % 40 else "near"
                shown = copied if kind == "exact" else edited(copied, random_)
                size += put(f"{kind}-{count}", shown)
            if size >= megabytes * 1e6:
                return


def pieces(archive: Path) -> Iterator[str]:
    """Pieces of whole lines from the works of the archive."""
    from minna.corpus.sources.aozora import Aozora

    for shard in Aozora(archive).shards():
        for work in shard.documents():
            lines: list[str] = []
            length = 0
            for line in work.text.split("\n"):
                lines.append(line)
                length += len(line)
                if length >= PIECE:
                    yield "\n".join(lines)
                    lines, length = [], 0


def edited(text: str, random_: random.Random) -> str:
    """The text with 2 % of its characters replaced."""
    letters = list(text)
    for place in random_.sample(range(len(letters)), k=len(letters) // 50):
        letters[place] = random_.choice(text)
    return "".join(letters)


def run_minna(options: argparse.Namespace) -> dict[str, Any]:
    """The whole of `corpus build`."""
    from minna.corpus import BuildSettings, build, read
    from minna.corpus.sources import open_source

    settings = BuildSettings(source="local", path=options.input, workers=options.cores)
    start = time.perf_counter()
    report = build(open_source(settings), out=options.folder / "corpus", settings=settings)
    seconds = time.perf_counter() - start
    kept: list[str] = []
    if options.input.stat().st_size < 100_000_000:
        for texts, _ in read.text_batches(report.path, split="all"):
            kept.extend(texts)
    return measured(options.input, seconds, kept=kept, dropped=report.dropped)


def run_datatrove(options: argparse.Namespace) -> dict[str, Any]:
    """The peer's filters and MinHash, one process."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.filters import GopherQualityFilter, GopherRepetitionFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from loguru import logger

    logger.remove()
    base = options.folder
    config = MinhashConfig(n_grams=5, num_buckets=14, hashes_per_bucket=8)
    language = "jpn"
    loosened = {
        "min_avg_word_length": 1,
        "min_stop_words": 0,
        "max_symbol_word_ratio": 0.5,
        "max_non_alpha_words_ratio": 0.5,
    }
    stages = [
        [
            JsonlReader(str(options.input.parent), doc_progress=False),
            GopherRepetitionFilter(language=language),
            GopherQualityFilter(language=language, **loosened),
            JsonlWriter(str(base / "filtered"), compression=None),
        ],
        [
            JsonlReader(str(base / "filtered")),
            MinhashDedupSignature(str(base / "signatures"), config=config, language=language),
        ],
        [MinhashDedupBuckets(str(base / "signatures"), str(base / "buckets"), config=config)],
        [MinhashDedupCluster(str(base / "buckets"), str(base / "removed"), config=config)],
        [
            JsonlReader(str(base / "filtered")),
            MinhashDedupFilter(str(base / "removed")),
            JsonlWriter(str(base / "kept"), compression=None),
        ],
    ]
    seconds = {}
    start = time.perf_counter()
    for number, stage in enumerate(stages):
        tasks = config.num_buckets if number == 2 else 1
        began = time.perf_counter()
        LocalPipelineExecutor(
            stage, tasks=tasks, workers=1, logging_dir=str(base / f"log{number}")
        ).run()
        seconds[number] = time.perf_counter() - began
    total = time.perf_counter() - start
    texts = [
        json.loads(line)["text"]
        for file in sorted((base / "kept").glob("*.jsonl"))
        for line in file.read_text(encoding="utf-8").splitlines()
    ]
    filtered = sum(
        len(file.read_text(encoding="utf-8").splitlines())
        for file in (base / "filtered").glob("*.jsonl")
    )
    read = len(options.input.read_text(encoding="utf-8").splitlines())
    dropped = {"filters": read - filtered, "minhash": filtered - len(texts)}
    return measured(options.input, total, kept=texts, dropped=dropped) | {"stages": seconds}


def measured(
    file: Path, seconds: float, *, kept: list[str], dropped: dict[str, int]
) -> dict[str, Any]:
    """Speed over the bytes of text, peak memory of this process and of its largest child."""
    with file.open(encoding="utf-8") as rows:
        size = sum(len(json.loads(row)["text"].encode()) for row in rows)
    own, children = (
        peak_bytes() / 2**20,
        resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
    )
    names: list[str] = []
    if kept:
        from unicodedata import normalize

        plain = {"".join(normalize("NFKC", text).split()) for text in kept}
        with file.open(encoding="utf-8") as rows:
            names = [
                row["id"]
                for row in map(json.loads, rows)
                if "".join(normalize("NFKC", row["text"]).split()) in plain
            ]
    return {
        "mb_per_second": size / seconds / 1e6,
        "seconds": seconds,
        "megabytes": size / 1e6,
        "peak_mb": max(own, children),
        "own_mb": own,
        "child_mb": children,
        "kept": names,
        "dropped": dropped,
    }


def table(results: dict[str, list[dict[str, Any]]]) -> str:
    """Speed and memory, medians with their range."""
    lines = ["| side | MB/s, one core | range | peak MB |", "|---|---|---|---|"]
    medians = {}
    for name, runs in results.items():
        speeds = sorted(run["mb_per_second"] for run in runs)
        medians[name] = statistics.median(speeds)
        memory = statistics.median(run["peak_mb"] for run in runs)
        spread = f"{speeds[0]:.2f}-{speeds[-1]:.2f}"
        lines.append(f"| {name} | {medians[name]:.2f} | {spread} | {memory:.0f} |")
    if "datatrove" in medians:
        lines.append(f"\nratio {medians['minna'] / medians['datatrove']:.0f}")
    return "\n".join(lines)


def differences(results: dict[str, list[dict[str, Any]]]) -> str:
    """Which planted copies each side dropped, and what only one side keeps."""
    ours, theirs = results["minna"][-1], results["datatrove"][-1]
    kept = {"minna": set(ours["kept"]), "datatrove": set(theirs["kept"])}
    lines = ["\n| kept | pieces | exact copies | near copies |", "|---|---|---|---|"]
    rows = {
        "by both": kept["minna"] & kept["datatrove"],
        "by minna only": kept["minna"] - kept["datatrove"],
        "by datatrove only": kept["datatrove"] - kept["minna"],
    }
    for name, ids in rows.items():
        counts = [sum(i.startswith(kind) for i in ids) for kind in ("piece", "exact", "near")]
        lines.append(f"| {name} | {counts[0]} | {counts[1]} | {counts[2]} |")
    lines.append(f"\nminna dropped {ours['dropped']}; datatrove dropped {theirs['dropped']}")
    lines.append("(an exact copy that is kept stands for the original that was dropped)")
    return "\n".join(lines)


def scaling(options: argparse.Namespace, folder: Path) -> str:
    """Our speed and memory by size of the text and by processes."""
    lines = [
        "\n| text MB | processes | MB/s | peak MB, main | largest worker |",
        "|---|---|---|---|---|",
    ]
    for size in map(float, options.sizes.split(",")):
        file = folder / f"size-{size:g}" / "text.jsonl"
        prepare(options.archive, file, megabytes=size)
        for cores in (1, 2):
            runs = [call(sys.executable, "minna", file, folder, cores=cores) for _ in range(3)]
            runs.sort(key=lambda run: run["mb_per_second"])
            middle = runs[1]
            spread = f"{runs[0]['mb_per_second']:.1f}-{runs[-1]['mb_per_second']:.1f}"
            lines.append(
                f"| {middle['megabytes']:.0f} | {cores} | {middle['mb_per_second']:.1f} "
                f"| {spread} | {middle['own_mb']:.0f} | {middle['child_mb']:.0f} |"
            )
        shutil.rmtree(file.parent)
    return "\n".join(lines)


if __name__ == "__main__":
    main()
