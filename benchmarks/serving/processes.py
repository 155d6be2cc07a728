"""Servers as processes: started on one core, measured with all their descendants, ended by their group. Linux only."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import httpx

PIN = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); os.execvp(sys.argv[2], sys.argv[2:])"
START_SECONDS = 90.0
GRACE_SECONDS = 15.0
POLL_SECONDS = 0.05
TICKS = os.sysconf("SC_CLK_TCK")
SILENT = {"ORT_DISABLE_TELEMETRY": "1"}
"""No server's ONNX Runtime talks to its vendor meanwhile."""

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class NotStarted(Exception):
    """A server did not get ready; says what it printed last."""


def cores() -> tuple[int, int]:
    """Return the core of the servers and that of the load client: different ones where there are two."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@dataclass(frozen=True)
class Tree:
    """A process and all that descend from it."""

    pid: int

    def cpu_seconds(self) -> float:
        """Return the processor time used so far by those that live, and by those that ended and were waited for."""
        return sum(_cpu_seconds(pid) for pid in self._pids())

    def resident_bytes(self) -> int:
        """Return the memory that they hold, what they share with one another counted once per process."""
        return sum(_resident_bytes(pid) for pid in self._pids())

    def _pids(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
            children.setdefault(_parent(pid), []).append(pid)
        found = [self.pid]
        for pid in found:
            found += children.get(pid, [])
        return found


@contextmanager
def started(
    command: Sequence[str], core: int, log: Path, environment: Mapping[str, str] | None = None
) -> Generator[subprocess.Popen[bytes]]:
    """Run ``command`` on ``core`` in a process group of its own, and end the group at the end."""
    with log.open("wb") as output:
        process = _spawn(command, core, output, {**os.environ, **SILENT, **(environment or {})})
        try:
            yield process
        finally:
            _end(process)


def await_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    """Return when ``url`` answers with success.

    Raises:
        NotStarted: the process ended, or does not answer in time.
    """
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False, timeout=5).is_success:
                return
        time.sleep(POLL_SECONDS)
    raise NotStarted(last_words(log) or "it does not get ready")


def last_words(log: Path) -> str:
    """Return the last line that a program wrote."""
    lines = log.read_text(errors="replace").strip().splitlines() if log.exists() else []
    return lines[-1][:200] if lines else ""


def _spawn(
    command: Sequence[str], core: int, output: IO[bytes], environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    pinned = [sys.executable, "-c", PIN, str(core), *command]
    return subprocess.Popen(
        pinned,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(GRACE_SECONDS)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _cpu_seconds(pid: int) -> float:
    return sum(map(int, _status(pid)[11:15])) / TICKS  # user, system, and both of children that were waited for


def _parent(pid: int) -> int:
    return int((_status(pid) or ["", "0"])[1])


def _status(pid: int) -> list[str]:
    """Return the fields of /proc/pid/stat after the name, which may hold spaces; none when the process is gone."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def _resident_bytes(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    return 0
