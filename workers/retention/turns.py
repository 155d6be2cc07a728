"""When retention runs: a process of low priority now and then, started by the reaper that leads.

It is none of the reaper's own work: a store with much in it takes minutes to look through, and lost jobs do not wait.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from redis import Redis

TURN = "lectern:retention"
"""Is there while the last run is not long enough ago, whichever reaper started it."""

SETTLING_SECONDS = 60.0
"""Nothing has to go in a worker's first minute, which is when somebody waits for the first job."""

COMMAND = (sys.executable, "-m", "workers.retention", "--with-reaper")


class RetentionTurns:
    """The runs that one reaper starts."""

    def __init__(
        self,
        redis: Redis,
        pause_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        command: tuple[str, ...] = COMMAND,
    ) -> None:
        """Start none before the worker has settled, and none at all if ``pause_seconds`` is 0."""
        self._redis = redis
        self._pause_seconds = pause_seconds
        self._clock = clock
        self._command = command
        self._first = clock() + SETTLING_SECONDS
        self._running: subprocess.Popen[bytes] | None = None

    def take(self) -> bool:
        """Start a run if it is time for one; return whether. It ends with this process, because its stdin does."""
        if self._running is not None and self._running.poll() is None:
            return False
        if not self._pause_seconds or self._clock() < self._first:
            return False
        if not self._redis.set(TURN, "1", nx=True, px=int(self._pause_seconds * 1000) or 1):
            return False
        if self._running is not None and self._running.stdin is not None:
            self._running.stdin.close()
        self._running = subprocess.Popen(self._command, stdin=subprocess.PIPE)
        return True
