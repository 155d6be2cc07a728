"""The processes of this machine as ``ps`` shows them, on Linux and macOS alike."""

from __future__ import annotations

import subprocess


def processes_with(*words: str) -> dict[int, str]:
    """Return command and environment of the processes of which both together hold all ``words``, by process id."""
    command = ["/bin/ps", "-axeww", "-o", "pid=,command="]
    listing = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = (line.split(maxsplit=1) for line in listing.splitlines())
    return {int(row[0]): row[1] for row in rows if len(row) > 1 and all(word in f"{row[1]} " for word in words)}
