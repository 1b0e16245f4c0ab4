"""What bench_sft.py and bench_ppo.py share: a tokenizer, models that both sides load, processes.

What is made once (the corpus, the tokenizers, the tokens) stays in the folder of `--work`, so that
only the first run makes it.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "34359738368",
    "MALLOC_TOP_PAD_": "67108864",
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
}
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TRL_EXPERIMENTAL_SILENCE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def make_tokenizer(work: Path, *, vocab: int) -> Path:
    """Train a tokenizer on the sentences of Tatoeba, as bench_train.py does."""
    from minna.corpus import BuildSettings, build_corpus
    from minna.tokenizer.train import TokenizerSettings, train_tokenizer

    corpus = build_corpus(settings=BuildSettings(source="tatoeba"), out=work / "corpus")
    settings = TokenizerSettings(vocab_size=vocab)
    return train_tokenizer(corpus, out=work / f"tokenizer-{vocab}", settings=settings)


def write_folder(out: Path, model: Any, *, tokenizer: Path) -> Path:
    """Write a GPT-NeoX (or a judge of that shape) with its tokenizer as a Hugging Face folder."""
    from minna.export.causal_lm import write_model
    from minna.tokenizer.load import load_tokenizer

    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(tokenizer, out)
    (out / "minna.json").unlink(missing_ok=True)
    write_model(out, model, family="gpt_neox", words=load_tokenizer(tokenizer))
    return out


def trainable(folder: Path) -> Any:
    """Open the model at `folder` as a run begins with it."""
    from minna.runtime.load import load_model

    model = load_model(folder, device="cpu", dtype="fp32", layout="plain").decoder
    for parameter in model.train().parameters():
        parameter.requires_grad_(True)
    return model


def constant() -> Any:
    """The same learning rate at every step."""
    from minna.train.schedule import Cosine

    return Cosine(floor=1.0)


def call(
    script: Path,
    worker: str,
    *,
    python: str,
    threads: int,
    arguments: dict[str, Any],
    environment: dict[str, str],
) -> dict[str, Any]:
    """Run one measurement in its own process; its last line is what it found."""
    command = [python, str(script), worker]
    for key, value in arguments.items():
        command += [f"--{key}", str(value)]
    done = subprocess.run(
        command,
        # said aloud: an environment of Python may have a default of its own
        env={**os.environ, **QUIET, "OMP_NUM_THREADS": str(threads), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-4000:]}")
    return json.loads(done.stdout.strip().splitlines()[-1])


class Clock:
    """Seconds spent in functions, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, function: Any) -> Any:
        """Return `function`, timed."""

        def run(*given: Any, **named: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                self.add(name, time.perf_counter() - start)

        return run

    def add(self, name: str, seconds: float) -> None:
        """Note some."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    def of(self, name: str) -> float:
        """Seconds so far."""
        return self.seconds.get(name, 0.0)


def spread(values: Sequence[float], *, digits: int = 0) -> str:
    """Write "median (lowest to highest)"."""
    middle, low, high = statistics.median(values), min(values), max(values)
    return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def say(text: str) -> None:
    """Progress, beside the table."""
    sys.stderr.write(f"{text}\n")


def load_average() -> str:
    """How busy the machine is: others' work shows in every figure."""
    return ", ".join(f"{one:.1f}" for one in os.getloadavg()) if hasattr(os, "getloadavg") else "?"


def told(settings: dict[str, dict[str, Any]]) -> str:
    """Lines that say what each side was set to."""
    return "\n".join(
        f"- {name}: {', '.join(f'{key} {value}' for key, value in one.items())}"
        for name, one in settings.items()
    )
