"""One program kept running: when it dies it is started again, later each time, until it is stopped."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.cli.guarded import Emit, Guarded, Program

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
STEADY_SECONDS = 30.0
"""A program that ran this long was well: the next restart is quick again."""

LECTERN = "lectern"
"""Marks the lines that ``lectern up`` itself writes into the log stream."""


class Kept:
    """Starts a program at once and again whenever it ends; one thread of its own."""

    def __init__(
        self, program: Program, lock: int, emit: Emit, give_up: Callable[[int, int], bool] | None = None
    ) -> None:
        """Start the program.

        Args:
            program: what to run.
            lock: descriptor that its guard keeps open.
            emit: takes its lines, and one about each restart.
            give_up: given how often in a row it ended without having been well, and the status, says whether to stop.
        """
        self.well = False
        """Set it once the program is known to do its work; cleared when it is started again."""
        self._program = program
        self._lock = lock
        self._emit = emit
        self._give_up = give_up
        self._halt = threading.Event()
        self._running: Guarded | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the program to end, for good; returns at once."""
        self._halt.set()
        if self._running:
            self._running.stop()

    def join(self) -> None:
        """Return when a stopped program is gone; it is killed if it does not go by itself."""
        self._thread.join(self._program.grace_seconds + 2)
        if self._thread.is_alive() and self._running:
            self._running.kill()
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._halt.is_set():
            self.well, began = False, time.monotonic()
            self._running = Guarded(self._program, self._lock, self._emit)
            if self._halt.is_set():
                self._running.stop()
            status = self._running.wait()
            steady = self.well or time.monotonic() - began > STEADY_SECONDS
            failures = 1 if steady else failures + 1
            if self._halt.is_set() or (self._give_up and not steady and self._give_up(failures, status)):
                return
            self._pause(failures, status)

    def _pause(self, failures: int, status: int) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (failures - 1), LONGEST_PAUSE_SECONDS)
        self._emit(LECTERN, f"{self._program.name} ended with status {status} and is started again in {pause:.0f} s")
        self._halt.wait(pause)
