"""The processes of the cluster as Linux shows them in ``/proc``: whose they are, what they run, whether they run.

Every piece is started with a mark in its environment, which all that it starts inherits: a trainer whose parents are
gone is still known as its worker's.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

RUN_MARK = "CHAOS_RUN"
PIECE_MARK = "CHAOS_PIECE"
PROC = Path("/proc")
KILL_SECONDS = 10.0
GONE_STATES = frozenset("ZX")


@dataclass(frozen=True)
class Process:
    """One process at one moment."""

    pid: int
    parent: int
    state: str
    """As in ``/proc/…/stat``: R and S run, T is stopped."""
    started: int
    """Clock ticks since boot: with the process id it names a process for ever."""
    command: str
    piece: str

    @property
    def is_trainer(self) -> bool:
        """Whether it trains, or waits to."""
        return "workers.trainer" in self.command

    @property
    def is_reaper(self) -> bool:
        """Whether it looks for lost jobs."""
        return "workers.reaper" in self.command


def processes(run: str, piece: str | None = None) -> list[Process]:
    """Return the living processes of one run, or of one of its pieces."""
    found = (process for process in _all(run) if process.state not in GONE_STATES)
    return [process for process in found if piece is None or process.piece == piece]


def signal_all(targets: list[Process], number: signal.Signals) -> None:
    """Send a signal to each of ``targets`` that is still there."""
    for process in targets:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def kill_all(run: str, piece: str | None = None) -> None:
    """Kill all processes of a run or piece, and those that they start meanwhile; return when none is left."""
    deadline = time.monotonic() + KILL_SECONDS
    while left := processes(run, piece):
        assert time.monotonic() < deadline, left
        signal_all(left, signal.SIGKILL)
        time.sleep(0.02)


def _all(run: str) -> Iterator[Process]:
    wanted = f"{RUN_MARK}={run}".encode()
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            marks = (folder / "environ").read_bytes().split(b"\0")
            if wanted in marks:
                yield _process(folder, marks)


def _process(folder: Path, marks: list[bytes]) -> Process:
    prefix = f"{PIECE_MARK}=".encode()
    piece = next((mark.removeprefix(prefix) for mark in marks if mark.startswith(prefix)), b"")
    # The name of the program, in parentheses, may hold anything.
    fields = (folder / "stat").read_text().rpartition(")")[2].split()
    return Process(
        pid=int(folder.name),
        parent=int(fields[1]),
        state=fields[0],
        started=int(fields[19]),
        command=(folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip(),
        piece=piece.decode(),
    )
