"""TensorBoard events, written where they arise.

The usual writer hands them to a thread, and a full disk or a clock set back by more than 24 days
ends that thread without a word; closing it then waits for ever (tests/faults). A run writes a few
hundred bytes every ten steps: no thread is needed for that.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from minna.artifact.files import disk_error


class Board:
    """The event file of a run.

    Args:
        run: where it lies.
        step: where the run goes on; what an earlier file says of later steps is not shown.
    """

    def __init__(self, run: Path, *, step: int) -> None:
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog  # pyright: ignore[reportAttributeAccessIssue]

        self._run = run
        self._file = EventsWriter(str(run / "events"))
        if step:
            self._write(step + 1, session_log=SessionLog(status=SessionLog.START))

    def scalar(self, name: str, value: float, *, step: int) -> None:
        """Add a point to a curve."""
        from tensorboardX.summary import scalar

        self._write(step, summary=scalar(name, value))

    def text(self, name: str, text: str, *, step: int) -> None:
        """Add a text."""
        from tensorboardX.summary import text as summary

        self._write(step, summary=summary(name, text))

    def flush(self) -> None:
        """Hand what was written to the system.

        Raises:
            ArtifactError: the disk is full.
        """
        try:
            self._file.flush()
        except OSError as error:
            raise disk_error(error, self._run / "events") from error

    def close(self) -> None:
        """End."""
        self.flush()
        self._file.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]

        event = Event(step=step, wall_time=time.time(), **content)
        try:
            self._file.write_event(event)
        except OSError as error:
            raise disk_error(error, self._run / "events") from error
