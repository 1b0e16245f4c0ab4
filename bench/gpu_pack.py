"""The GPU pack: what one GPU does for minna, within ten minutes, in one JSON and a few pictures.

    python bench/gpu_pack.py --pack BUNDLE --corpus DIR --tokenizer DIR   (where the corpus is)
    python bench/gpu_pack.py --data BUNDLE --out RESULT                   (where the GPU is)

Time on a lent GPU is short and ends without a warning. So every section is a process of its own
with a deadline, in the order of what is most wanted; result.json is written anew after each section
and each section writes down every figure when it has it; what crashes, runs out of memory or of
time is recorded and the rest goes on. `--device cpu --tiny` goes through everything in a minute.

Not run yet: no GPU was at hand when it was written (docs/gpu.md).
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = 1
BUDGET_SECONDS = 590  # a machine's longest command is often 600; the last write must still happen
# import name -> name on the index
NEEDED = {
    "torch": "torch",
    "numpy": "numpy",
    "pydantic": "pydantic",
    "rich": "rich",
    "filelock": "filelock",
    "safetensors": "safetensors",
    "sentencepiece": "sentencepiece",
    "tokenizers": "tokenizers",
    "pyarrow": "pyarrow",
    "jinja2": "jinja2",
    "tensorboardX": "tensorboardX",
    "huggingface_hub": "huggingface-hub",
}
WISHED = {"transformers": "the peers", "accelerate": "Trainer", "matplotlib": "the pictures"}


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the pack.

    Attributes:
        seconds: its deadline.
        least: with less time left than this it is not begun.
        settings: what its worker gets (`gpu_sections.py`).
    """

    name: str
    worker: str
    seconds: float
    least: float
    settings: dict[str, Any] = field(default_factory=dict)


def plan(*, tiny: bool, minutes: float) -> list[Section]:
    """The sections, most wanted first; what ten minutes do not reach is skipped."""
    scale = "tiny" if tiny else "full"
    small, medium = {"shape": "124m", "scale": scale}, {"shape": "336m", "scale": scale}
    speed = {"scale": scale, "minutes": minutes}
    if tiny:
        long = short = 60.0
        least = 0.0
    else:
        long, short, least = 150.0, 60.0, 30.0
    sections = [
        Section(name="peak", worker="peak", seconds=short, least=0, settings={"scale": scale}),
        Section(name="minna-124m", worker="minna", seconds=long, least=least, settings=small),
        Section(name="trainer-124m", worker="trainer", seconds=long, least=least, settings=small),
        Section(
            name="speedrun",
            worker="speedrun",
            seconds=60 * minutes + long,
            least=60 * minutes + least,
            settings=speed,
        ),
        Section(name="minna-336m", worker="minna", seconds=long, least=least, settings=medium),
        Section(name="trainer-336m", worker="trainer", seconds=long, least=least, settings=medium),
        Section(
            name="attention",
            worker="attention",
            seconds=short,
            least=least / 2,
            settings={"scale": scale},
        ),
        Section(name="generate", worker="generate", seconds=long, least=least / 2, settings=small),
        Section(name="compile-modes", worker="modes", seconds=long, least=least, settings=small),
    ]
    # at toy size the larger model is the smaller one
    return [s for s in sections if not (tiny and s.name.endswith("336m"))]


def main() -> None:
    """Pack a bundle, or run the sections on one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, help="write a bundle here")
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--tokenizer", type=Path)
    parser.add_argument("--data", type=Path, help="the bundle to run on")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gpu-pack")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="toy sizes, for tests")
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds in all")
    parser.add_argument("--minutes", type=float, help="of training in the speedrun (3)")
    parser.add_argument("--sections", help="only these, by comma")
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT / "src"))
    if lacking := missing(NEEDED):
        names = " ".join(NEEDED[name] for name in lacking)
        raise SystemExit(f"missing here: {', '.join(lacking)}\n  pip install {names}")
    from minna.errors import MinnaError

    try:
        if options.pack:
            make_bundle(options)
        elif options.data:
            run(options)
        else:
            parser.error("give --pack DIR (with --corpus, --tokenizer) or --data DIR")
    except MinnaError as error:
        raise SystemExit(str(error)) from error


def missing(names: dict[str, str]) -> list[str]:
    """Which of these cannot be imported."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def make_bundle(options: argparse.Namespace) -> None:
    """Do `--pack`."""
    from gpu_bundle import pack
    from minna.errors import UsageError

    if not (options.corpus and options.tokenizer):
        raise UsageError("--pack needs what to pack", remedy="add --corpus DIR and --tokenizer DIR")
    bundle = pack(options.pack, corpus=options.corpus, tokenizer=options.tokenizer)
    print(f"{options.pack}: {bundle.train_tokens:,} tokens, {bundle.bytes / 1e6:.1f} MB")


def run(options: argparse.Namespace) -> None:
    """Do `--data`: every section in turn, result.json after each, pictures at the end."""
    from gpu_bundle import open_bundle
    from gpu_plots import draw

    start = time.monotonic()
    bundle = open_bundle(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    minutes = options.minutes or (0.03 if options.tiny else 3.0)
    sections = plan(tiny=options.tiny, minutes=minutes)
    chosen = options.sections.split(",") if options.sections else [s.name for s in sections]
    result: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": {
            "device": options.device,
            "tiny": options.tiny,
            "budget_seconds": options.budget,
            "speedrun_minutes": minutes,
            "sections": [asdict(section) for section in sections],
            "bundle": {key: value for key, value in asdict(bundle).items() if key != "files"},
        },
        "machine": machine(),
        "sections": {},
    }
    write(options.out, result)
    for section in sections:
        if section.name not in chosen:
            continue
        left = options.budget - (time.monotonic() - start)
        found = perform(section, left=left, options=options)
        result["sections"][section.name] = found
        result["seconds"] = round(time.monotonic() - start, 1)
        write(options.out, result)
        sys.stderr.write(f"{section.name}: {found['status']} in {found['seconds']} s\n")
    result["pictures"] = draw(result, options.out)
    write(options.out, result)
    print(summary(result))
    print(f"{options.out / 'result.json'} ({result['seconds']:.0f} s)")


def perform(section: Section, *, left: float, options: argparse.Namespace) -> dict[str, Any]:
    """Run one section in a process of its own; whatever becomes of it, return what is known."""
    if left < max(section.least, 1):
        why = f"{left:.0f} s were left, and it is not begun with less than {section.least:.0f}"
        return {"status": "skipped", "seconds": 0.0, "error": why, "results": []}
    folder = options.out / section.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    limit = min(section.seconds, left)
    task = {
        "worker": section.worker,
        "data": str(options.data.resolve()),
        "folder": str(folder.resolve()),
        "device": options.device,
        "deadline": time.time() + limit,
        **section.settings,
    }
    (folder / "task.json").write_text(json.dumps(task), encoding="utf-8")
    start = time.monotonic()
    with (folder / "log.txt").open("w", encoding="utf-8") as log:
        code = call(folder, log=log, limit=limit)
    file = folder / "results.json"
    results = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
    words = (folder / "log.txt").read_text(encoding="utf-8", errors="replace")[-1500:]
    return {
        "status": {0: "done", None: "out of time"}.get(code, "failed"),
        "seconds": round(time.monotonic() - start, 1),
        "error": None if code == 0 else words,
        "results": results,
    }


def call(folder: Path, *, log: Any, limit: float) -> int | None:
    """Run the worker of `folder`/task.json; its exit status, or None when the time was over.

    Ended with everything it started: the compiler's own workers would hold the GPU's host else.
    """
    command = [sys.executable, str(Path(__file__).with_name("gpu_sections.py")), str(folder)]
    paths = [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
    process = subprocess.Popen(
        command, stdout=log, stderr=subprocess.STDOUT, env=environment, start_new_session=True
    )
    try:
        return process.wait(timeout=limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started, if anything of it is left."""
    if sys.platform == "win32":
        process.kill()
    else:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return  # all of it had ended
    process.wait()


def write(out: Path, result: dict[str, Any]) -> None:
    """Write result.json whole or not at all."""
    from minna.artifact.files import write_text_atomically

    write_text_atomically(out / "result.json", json.dumps(result, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """Who measured: versions, the GPU as nvidia-smi tells it, the commit."""
    from machine import processor

    asked = "name,driver_version,memory.total,clocks.sm,clocks.max.sm,clocks.mem,power.limit"
    versions = {}
    for name in ("torch", "transformers", "accelerate", "numpy", "triton"):
        if importlib.util.find_spec(name) is not None:
            versions[name] = importlib.metadata.version(name)
    return {
        "nvidia_smi": told(["nvidia-smi", f"--query-gpu={asked}", "--format=csv"]),
        "processor": processor(),
        "processors": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "missing": {name: WISHED[name] for name in missing(WISHED)},
        "commit": told(["git", "-C", str(ROOT), "rev-parse", "HEAD"]),
    }


def told(command: list[str]) -> str | None:
    """What a command prints, or None where there is no such command or it fails."""
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def summary(result: dict[str, Any]) -> str:
    """A line for every figure that people look at first."""
    lines = ["", "| section | what | tokens/s | of matrix peak | memory, GB | loss |"]
    lines.append("|---|---|---|---|---|---|")
    for name, section in result["sections"].items():
        for row in section["results"]:
            if "tokens_per_second" not in row:
                continue
            share, memory, loss = (row.get(k) for k in ("share_of_peak", "memory_bytes", "loss"))
            bits = f", {row['bits_per_byte']:.4f} bits/byte" if "bits_per_byte" in row else ""
            lines.append(
                f"| {name} | {row['what']}{bits} | {row['tokens_per_second']:,.0f} "
                f"| {'' if share is None else f'{share:.1%}'} "
                f"| {'' if memory is None else f'{memory / 1e9:.1f}'} "
                f"| {'' if loss is None else f'{loss:.4f}'} |"
            )
        if section["status"] != "done":
            reason = (section["error"] or "").strip().splitlines()[-1:]
            lines.append(f"| {name} | {section['status']}: {''.join(reason)[:80]} | | | | |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
