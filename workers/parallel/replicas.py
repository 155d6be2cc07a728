"""The other processes of a training on several devices, as its trainer starts, watches and ends them.

They are children in the trainer's own process group, so that whoever kills the group reaches them. They end by
themselves when their stdin does, which is when the trainer ends, however that happens.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Self

import orjson

from models.contract.jobs import JobRequest
from workers.parallel.meeting import Meeting

FAREWELL_SECONDS = 5.0
"""How long a process that should end, or whose end is looked for, may take."""


class Replicas:
    """The processes of rank 1 and above, for as long as the ``with`` block runs."""

    def __init__(self, request: JobRequest, size: int, lost: Callable[[str], None]) -> None:
        """Start them; ``lost`` is told by another thread which of them ended and how, and must end this process."""
        self.meeting = Meeting.called(size)
        self._size = size
        self._lost = lost
        self._ending = False
        order = {"request": request.model_dump(mode="json"), "port": self.meeting.port, "size": size}
        self.processes = [_started({**order, "rank": rank}) for rank in range(1, size)]
        self._watchers = [
            threading.Thread(target=self._watch, args=(rank, process), daemon=True)
            for rank, process in enumerate(self.processes, start=1)
        ]
        for watcher in self._watchers:
            watcher.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """End them; what looks like a failure of this process may be the end of another, which is then told."""
        if isinstance(error, RuntimeError):
            self._join(FAREWELL_SECONDS)
        self._ending = True
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        deadline = time.monotonic() + FAREWELL_SECONDS
        for process in self.processes:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if error is None:
            self.meeting.leave()

    def _watch(self, rank: int, process: subprocess.Popen[bytes]) -> None:
        status = process.wait()
        if status == 0 or self._ending:
            return
        how = f"ended with status {status}"
        if status < 0:
            how = f"was ended by signal {-status} ({signal.Signals(-status).name})"
        elif (complaint := self.meeting.complaint()) is not None:
            how = f"failed: {complaint}"
        self._lost(f"Process {rank} of the {self._size} (0 to {self._size - 1}) that train together {how}.")

    def _join(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        for watcher in self._watchers:
            watcher.join(max(0.0, deadline - time.monotonic()))


def _started(order: dict[str, object]) -> subprocess.Popen[bytes]:
    # A stop reaches the whole process group, but only the trainer heeds it: the others stop when it says so. A mask is
    # inherited, so that there is no moment in which the signal could end a process that is not ready for it.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        process = subprocess.Popen([sys.executable, "-m", "workers.parallel.replica"], stdin=subprocess.PIPE, bufsize=0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert process.stdin is not None
    process.stdin.write(orjson.dumps(order) + b"\n")
    return process
