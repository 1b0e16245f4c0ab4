"""What a run wrote down: log.jsonl (one object a line), TensorBoard events, and reading them back.

After a kill the log may be ahead of the checkpoint; resuming cuts it back to the checkpoint's step,
so that the curves of a resumed run are those of one that never stopped.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from minna.artifact.files import disk_error, write_text_atomically
from minna.train.board import Board
from minna.train.ranks import Ranks

LOG = "log.jsonl"


def read_log(run: Path) -> list[dict[str, Any]]:
    """Every entry of a run's log; a last line cut by a kill is left out."""
    file = run / LOG
    if not file.is_file():
        return []
    entries: list[dict[str, Any]] = []
    # by bytes: a sampled text may hold characters that str.splitlines takes for line ends
    for line in file.read_bytes().split(b"\n"):
        try:
            entries.append(json.loads(line))
        except (json.JSONDecodeError, UnicodeDecodeError):
            break
    return entries


class Log:
    """Where figures and texts of a run go; a context manager. This one drops them.

    It is that of all ranks but the first, who would say everything twice.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        return

    def write(self, event: str, *, step: int, figures: dict[str, float]) -> None:
        """Take numbers at a step (`event` is "train" or "evaluate")."""

    def write_samples(self, samples: list[dict[str, str]], *, step: int) -> None:
        """Take generated texts at a step."""


def log_of(run: Path, *, step: int, ranks: Ranks) -> Log:
    """Return the log of a run: the first rank writes it."""
    return RunLog(run, step=step) if ranks.first else Log()


class RunLog(Log):
    """Append-only log of a run.

    Args:
        run: the run directory.
        step: where the run goes on; later entries are dropped.
    """

    def __init__(self, run: Path, *, step: int) -> None:
        kept = [entry for entry in read_log(run) if step and entry["step"] <= step]
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in kept)
        write_text_atomically(run / LOG, text)
        self._file = (run / LOG).open("a", encoding="utf-8", newline="\n")
        self._board = Board(run, step=step)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()
        self._board.close()

    def write(self, event: str, *, step: int, figures: dict[str, float]) -> None:
        """Write numbers at a step (`event` is "train" or "evaluate")."""
        self._line({"step": step, "event": event, **figures})
        for name, value in figures.items():
            self._board.scalar(f"{event}/{name}", value, step=step)
        if event == "evaluate":  # to the disk, which would be too much for every line
            self._board.flush()

    def write_samples(self, samples: list[dict[str, str]], *, step: int) -> None:
        """Write generated texts at a step."""
        for sample in samples:
            self._line({"step": step, "event": "sample", **sample})
        text = "\n\n".join(f"**{sample['prompt']}**{sample['text']}" for sample in samples)
        self._board.text("samples", text, step=step)

    def _line(self, entry: dict[str, Any]) -> None:
        rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in entry.items()}
        try:
            self._file.write(json.dumps(rounded, ensure_ascii=False) + "\n")
            self._file.flush()
        except OSError as error:
            raise disk_error(error, Path(self._file.name)) from error
