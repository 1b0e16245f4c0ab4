"""Starts ranks by forking a process that has imported torch already: 0.1 s instead of 4 s each.

Reads one JSON request a line on stdin and answers with one a line on stdout. A request:

    {"ranks": [{"argv": [...], "env": {...}, "fault": {...} or null, "errors": FILE}, ...],
     "kill": {"after": SECONDS, "ranks": [...]} or null, "limit": SECONDS}

A rank is the real command line (`minna.cli.main`) with argv, its stderr in FILE and one fault of
`inject.py`. The answer is the exit status of every rank (negative: the signal that ended it).
Processes that live longer than the limit are killed and have the status "hung".
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import time
from typing import Any

# what a run imports on the way, so that no child does
_PRELOADED = (
    "minna.cli.verbs",
    "minna.cli.train",
    "minna.recipe.run",
    "tests.faults.inject",
    "tensorboardX.event_file_writer",
    "rich.progress",
    "sentencepiece",
    "safetensors.torch",
    "torch._dynamo",
    "torch.distributed.fsdp",
    "torch.distributed.checkpoint.hf_storage",
    "torch.nn.parallel",
)
# what a pipeline of speech imports besides, once the first one is asked for
_OF_PIPELINES = (
    "minna.cli.pipeline",
    "minna.pipeline",
    "minna.corpus.clip_corpus",
    "minna.label.kmeans",
    "minna.evaluate.speech",
    "minna.recipe.speech",
    "transformers.models.hubert.modeling_hubert",
)


def main() -> None:
    """Answer requests until stdin ends."""
    import torch

    torch.set_num_threads(1)
    for name in _PRELOADED:
        importlib.import_module(name)
    from minna.recipe import run
    from minna.train import precision

    # a second each, of no interest here
    precision.matrix_peak = lambda *_, **__: 1e11
    run.write_report = lambda out, **_: (out / "report.html").write_text("", encoding="utf-8")

    for line in sys.stdin:
        request = json.loads(line)
        children: list[int] = []
        if any(rank["argv"][0] == "pipeline" for rank in request["ranks"]):
            for name in _OF_PIPELINES:
                importlib.import_module(name)
        for rank in request["ranks"]:
            children.append(_start(rank, group=children[0] if children else 0))
        answer = _wait(children, kill=request.get("kill"), limit=request["limit"])
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _start(rank: dict[str, Any], *, group: int) -> int:
    """Fork a rank into the process group of the first, so that all can be killed as one."""
    process = os.fork()
    if process:
        os.setpgid(process, group or process)
        return process
    while os.getpgrp() == os.getpgid(os.getppid()):
        time.sleep(0.001)
    nothing = os.open(os.devnull, os.O_RDWR)
    errors = os.open(rank["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.dup2(errors, 2)
    os.environ.update(rank["env"])
    sys.argv = ["minna", *rank["argv"]]
    from tests.faults import inject

    from minna.cli.main import main as minna

    inject.install(rank.get("fault"))
    minna()
    sys.exit(0)


def _wait(children: list[int], *, kill: dict[str, Any] | None, limit: float) -> list[int | str]:
    start = time.monotonic()
    found: dict[int, int | str] = {}
    while len(found) < len(children):
        passed = time.monotonic() - start
        if kill and passed >= kill["after"]:
            for rank in kill["ranks"]:
                if children[rank] not in found:
                    os.kill(children[rank], signal.SIGKILL)
            kill = None
        for process in children:
            if process in found:
                continue
            done, status = os.waitpid(process, os.WNOHANG)
            if done:
                found[process] = os.waitstatus_to_exitcode(status)
            elif passed > limit:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                found[process] = "hung"
        time.sleep(0.002)
    return [found[process] for process in children]


if __name__ == "__main__":
    main()
