"""Arms the points at which ``crash/sitecustomize`` ends a process, one process per arming."""

from __future__ import annotations

import time
from pathlib import Path

WITH_PARENT = "with parent"
ALONE = "alone"
POLL_SECONDS = 0.02


class CrashPoints:
    """The points, by the files of a folder."""

    def __init__(self, folder: Path) -> None:
        """Arm nothing yet."""
        self._folder = folder

    def spring(self, point: str, how: str, patience_seconds: float) -> str | None:
        """Arm a point and return the job at which it ended a process; None if none came by in time."""
        armed, fired = self._folder / f"{point}.armed", self._folder / f"{point}.fired"
        written = self._folder / f"{point}.written"
        written.write_text(how)
        written.rename(armed)
        deadline = time.monotonic() + patience_seconds
        while not fired.exists():
            if time.monotonic() > deadline:
                armed.unlink(missing_ok=True)
                deadline = float("inf")  # taken at the last moment, it is about to fire
                if not list(self._folder.glob(f"{point}.[0-9]*")) and not fired.exists():
                    return None
            time.sleep(POLL_SECONDS)
        job_id = fired.read_text()
        fired.unlink()
        return job_id
