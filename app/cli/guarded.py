"""One program run under its guard: started, its output passed on line by line, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Emit = Callable[[str, str], None]
"""Takes the name of a program and a line that it wrote."""

STOP_GRACE_SECONDS = 8.0
LAST_LINES_SECONDS = 1.0
"""How long the last lines of a program that ended are waited for."""


@dataclass(frozen=True)
class Program:
    """What to run.

    Attributes:
        name: how its lines are marked.
        command: the program and its arguments.
        environment: its whole environment.
        delay_seconds: time between the death of ``lectern up`` and its SIGTERM.
        grace_seconds: time between SIGTERM and SIGKILL.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    delay_seconds: float = 0.0
    grace_seconds: float = STOP_GRACE_SECONDS


class Guarded:
    """A running program, which its guard stops when this process ends, however it ends."""

    def __init__(self, program: Program, lock: int, emit: Emit) -> None:
        """Start ``program``; the guard keeps the descriptor ``lock`` open for as long as it runs."""
        self._name = program.name
        self._emit = emit
        self._line, other = socket.socketpair()
        timing = (f"--delay={program.delay_seconds}", f"--grace={program.grace_seconds}")
        with other:
            self._guard = subprocess.Popen(
                [sys.executable, "-P", "-m", "app.cli.guard", *timing, "--", *program.command],
                stdin=other.fileno(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=dict(program.environment),
                pass_fds=(lock,),
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._pass_on, daemon=True)
        self._reader.start()

    def wait(self) -> int:
        """Return the exit status once the program ended; nothing of its process group is left then."""
        status = self._guard.wait()
        self._kill_group()
        self._line.close()
        self._reader.join(LAST_LINES_SECONDS)
        return status

    def stop(self) -> None:
        """Let the guard stop the program now; returns at once."""
        try:
            self._line.send(b".")
        except OSError:  # it just ended
            return

    def kill(self) -> None:
        """End the guard at once; ``wait`` then ends its program."""
        self._guard.kill()

    def _kill_group(self) -> None:
        """Kill what a killed guard could not: the program whose process id it reported."""
        try:
            os.killpg(int(self._line.recv(32, socket.MSG_DONTWAIT)), signal.SIGKILL)
        except (OSError, ValueError):
            return

    def _pass_on(self) -> None:
        assert self._guard.stdout is not None
        with self._guard.stdout as output:
            for line in output:
                self._emit(self._name, line.decode("utf-8", "replace").rstrip())
