"""What `minna chat` does with a line: a question, a command, or nothing.

A terminal and a pipe differ in what a mistake means. At a terminal it is said and the dialogue goes
on; in a pipe nobody reads along, and answers after it would be answers to something else, so it
ends there. Ctrl-C is not raised in the middle of a step, which would leave the engine's row half
written: it is noted, and the answer ends behind the token that is being made.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Generator, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Literal

import typer

from minna.console import say
from minna.errors import DataError, MinnaError, UsageError, nearest

if TYPE_CHECKING:
    from minna.runtime.chat import Chat, Reply

COMMANDS = {
    "/reset": "forget the dialogue",
    "/system": "TEXT: a new system turn (nothing: none)",
    "/undo": "take the last question and its answer back",
    "/help": "this list",
    "/quit": "end, as Ctrl-D does",
}
_HELP = "\n".join(
    [
        *(f"{name:<8} {what}" for name, what in COMMANDS.items()),
        "Ctrl-C   stops the answer and keeps the dialogue",
        "//...    says to the model what begins with /",
    ]
)


class Talk:
    """A dialogue at the command line.

    Args:
        chat: the dialogue.
        place: where the lines come from.
        shown: "answers" prints them on stdout as they come, "nothing" only keeps them.

    Attributes:
        replies: what came of each question, those taken back too.
    """

    def __init__(
        self,
        chat: Chat,
        *,
        place: Literal["terminal", "pipe"],
        shown: Literal["answers", "nothing"] = "answers",
    ) -> None:
        self.chat = chat
        self.replies: list[Reply] = []
        self._place: Literal["terminal", "pipe"] = place
        self._shown: Literal["answers", "nothing"] = shown
        self._told = False

    def run(self, lines: Iterator[str]) -> None:
        """Take lines until they end or one of them says so.

        Raises:
            MinnaError: in a pipe, a line cannot be taken.
        """
        for line in lines:
            try:
                if not self._take(line):
                    return
            except MinnaError as error:
                if self._place == "pipe":
                    raise
                say(f"error: {error}")

    def ask(self, question: str) -> None:
        """Ask, and show the answer.

        Raises:
            MinnaError: see `Chat.ask`.
        """
        pieces = self.chat.ask(question)
        with self._interruptible() as interrupted, contextlib.closing(pieces):
            for piece in pieces:
                if self._shown == "answers":
                    typer.echo(piece, nl=False)
                if interrupted.is_set():
                    break
        if self._shown == "answers":
            typer.echo()
        reply = self.chat.last
        assert reply is not None, "something was asked"
        self.replies.append(reply)
        self._tell(reply)

    def _take(self, line: str) -> bool:
        """Do what a line says; return whether the dialogue goes on."""
        if not line.strip():
            return True
        if line.startswith("/") and not line.startswith("//"):
            return self._command(line)
        self.ask(line[1:] if line.startswith("//") else line)
        return True

    def _command(self, line: str) -> bool:
        name, _, text = line.strip().partition(" ")
        if name == "/quit":
            return False
        if name == "/help":
            say(_HELP)
        elif name == "/reset":
            self.chat.reset()
            say("the dialogue begins anew")
        elif name == "/undo":
            question = self.chat.undo()
            say("there is nothing to take back" if question is None else f"taken back: {question}")
        elif name == "/system":
            self.chat.system = text.strip() or None
            say("system turn set" if text.strip() else "no system turn")
        else:
            raise UsageError(
                f"no command {name!r}{nearest(name, COMMANDS)}",
                remedy=f"commands: {', '.join(COMMANDS)}; // begins a line for the model",
            )
        return True

    def _tell(self, reply: Reply) -> None:
        """Say what a reader could not know from the answer."""
        if reply.left_out and not self._told:
            self._told = True
            say(f"note: {self.chat.why_left_out}")
        if reply.finish == "stopped":
            say("(stopped)")
        elif not reply.text.strip():
            say("(an empty answer: the question is not kept)")
        elif reply.finish == "length":
            say(f"(cut off after {reply.tokens} tokens: --max-new-tokens)")

    @contextlib.contextmanager
    def _interruptible(self) -> Generator[threading.Event]:
        """At a terminal, note Ctrl-C instead of raising it; a second one is raised."""
        noted = threading.Event()
        if self._place == "pipe":
            yield noted
            return

        def note(number: int, frame: FrameType | None) -> None:
            if noted.is_set():
                signal.default_int_handler(number, frame)
            noted.set()

        before = signal.signal(signal.SIGINT, note)
        try:
            yield noted
        finally:
            signal.signal(signal.SIGINT, before)


def typed() -> Iterator[str]:
    """Lines typed at a terminal, with its editing where Python has it."""
    with contextlib.suppress(ImportError):  # Windows has its own
        import readline  # noqa: F401  # pyright: ignore[reportUnusedImport] - changes what input() does
    while True:
        try:
            line = input("> ")
        except EOFError:
            typer.echo()
            return
        except KeyboardInterrupt:
            typer.echo()
            say("(Ctrl-D ends, /help helps)")
            continue
        except UnicodeDecodeError as error:
            say(f"error: what was typed is not UTF-8: {error}")
            continue
        yield line


def piped() -> Iterator[str]:
    """Lines of stdin.

    Raises:
        DataError: one is not UTF-8.
    """
    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            text = line.decode("utf-8").rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise DataError(
                f"line {number} of stdin is not UTF-8: {error}", remedy="convert it first"
            ) from error
        yield text


@contextlib.contextmanager
def closed_quietly() -> Generator[None]:
    """Let the reader of a pipe (head, less) go when it has seen enough."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        # nothing may be flushed into its pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
