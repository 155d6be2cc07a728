"""A trainer that has imported torch and waits for its job, so that the next job need not wait for that.

It serves one job and ends, as every trainer does. A Celery child keeps one; nothing of it is in Redis.
"""

from __future__ import annotations

import os
import subprocess
import sys

QUIET_THREADS = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Idle OpenMP threads sleep instead of spinning: on a busy machine small nets train 1.6 times as fast."""


class Trainer:
    """A trainer process in a session of its own."""

    def __init__(self) -> None:
        """Start it. It reads its job from stdin, and writes what its job logs to stdout.

        ``log_descriptor`` is this process's own stdout, for what concerns the worker rather than the job.
        """
        self.log_descriptor = os.dup(1)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "workers.trainer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                bufsize=0,
                pass_fds=(self.log_descriptor,),
                env=os.environ | QUIET_THREADS,
            )
        finally:
            os.close(self.log_descriptor)


class Spare:
    """The trainer that waits in this process, if there is one."""

    def __init__(self, *, wanted: bool) -> None:
        """Start nothing yet; ``wanted`` says whether one shall ever wait."""
        self._wanted = wanted
        self._waiting: Trainer | None = None

    def prepare(self) -> None:
        """Have one wait, started now if need be."""
        if self._wanted:
            self._waiting = self.take()

    def take(self) -> Trainer:
        """Return the one that waits, or one started now."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            if waiting.process.poll() is None:
                return waiting
            _close(waiting)
        return Trainer()

    def give_back(self, trainer: Trainer) -> None:
        """Let a trainer that got no job wait again."""
        self._waiting = trainer


def _close(trainer: Trainer) -> None:
    for stream in (trainer.process.stdin, trainer.process.stdout):
        assert stream is not None
        stream.close()
