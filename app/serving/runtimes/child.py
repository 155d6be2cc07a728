"""A child process that answers frames, as the gateway sees it: started, asked one thing at a time, ended."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack

from app.serving.runtimes import frames
from app.serving.runtimes.frames import Frame

END_SECONDS = 5.0


class ChildEnded(Exception):
    """The process is gone; the text says how it ended."""


class Child:
    """A running process with a socket as its standard input. Not for several threads at a time, but for ``kill``."""

    def __init__(self, command: Sequence[str]) -> None:
        """Start ``command`` in a session of its own: a Ctrl-C is for the gateway, which ends it in its turn.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        with ExitStack() as unless_started, theirs:
            unless_started.callback(ours.close)
            self._process = subprocess.Popen(
                command, stdin=theirs.fileno(), stdout=subprocess.DEVNULL, start_new_session=True
            )
            unless_started.pop_all()
        self._connection = ours
        self._in_step = True
        self.loaded: set[int] = set()
        """Keys of what the process holds."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def is_gone(self) -> bool:
        """Return whether the process ended while nobody asked it anything, or may answer an earlier question."""
        if not self._in_step:
            return True
        try:
            self._connection.settimeout(0)
            return self._connection.recv(1, socket.MSG_PEEK) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def ask(self, frame: Frame, seconds: float) -> Frame:
        """Send ``frame`` and return the answer.

        Raises:
            ChildEnded: the process ended before it answered.
            TimeoutError: no answer within ``seconds``; the process is of no more use.
        """
        return self._next(seconds, frame)

    def first_word(self, seconds: float) -> Frame:
        """Return what the process says of itself when it has started; raises as ``ask``."""
        return self._next(seconds)

    def kill(self) -> None:
        """End the process at once; whoever waits for its answer learns that it ended."""
        self._process.kill()

    def end(self) -> None:
        """End the process and free what it took here."""
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def _next(self, seconds: float, question: Frame | None = None) -> Frame:
        deadline = time.monotonic() + seconds
        self._in_step = False
        try:
            if question:
                frames.send(self._connection, question, deadline)
            answer = frames.receive(self._connection, deadline)
        except TimeoutError:
            raise
        except (EOFError, OSError) as error:
            raise ChildEnded(self._ending()) from error
        self._in_step = True
        return answer

    def _ending(self) -> str:
        try:
            status = self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            return "it closed its connection"
        return f"it was ended by {signal.Signals(-status).name}" if status < 0 else f"it ended with status {status}"
