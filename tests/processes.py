"""The processes of this machine as ``ps`` shows them, on Linux and macOS alike."""

from __future__ import annotations

import subprocess


def processes_with(*words: str) -> dict[int, str]:
    """Return command and environment of the processes of which both together hold all ``words``, by process id."""
    rows = (line.split(maxsplit=1) for line in _listing("-axeww", "pid=,command="))
    return {int(row[0]): row[1] for row in rows if len(row) > 1 and all(word in f"{row[1]} " for word in words)}


def children(process: int) -> dict[int, str]:
    """Return the commands of the processes that a process started, by process id."""
    rows = (line.split(maxsplit=2) for line in _listing("-ax", "pid=,ppid=,command="))
    return {int(pid): command for pid, parent, command in rows if int(parent) == process}


def _listing(which: str, columns: str) -> list[str]:
    command = ["/bin/ps", which, "-o", columns]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
