"""The folder in which one ``lectern up`` keeps everything, locked for as long as any of its programs runs."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from app.cli.output import CommandFailed, note

LINGERING_SECONDS = 20.0
"""Programs of an ``up`` that was killed are gone within 15 s."""


def store_url(home: Path) -> str:
    """Return the store that is meant: the one in ``LECTERN_STORE_URL``, else that of ``home``."""
    return os.environ.get("LECTERN_STORE_URL") or (home.absolute() / "store").as_uri()


class Home:
    """A locked home folder. Guards inherit the descriptor, which holds the lock."""

    def __init__(self, folder: Path) -> None:
        """Create and lock ``folder``, waiting for what a killed ``up`` left behind.

        Raises:
            CommandFailed: the folder cannot be written, or another process runs in it.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            message = f"{folder} cannot be used as home ({error.strerror}); choose another with --home."
            raise CommandFailed(message) from error
        try:
            self._acquire()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the lock."""
        os.close(self.descriptor)

    def _acquire(self) -> None:
        deadline = time.monotonic() + LINGERING_SECONDS
        waiting = False
        while not self._try_lock():
            holder = self._holder()
            if holder is not None or time.monotonic() > deadline:
                who = f"process {holder}" if holder is not None else "programs of an earlier run"
                remedy = f"stop it with 'kill {holder}'" if holder is not None else "wait for them to end"
                message = f"Lectern already runs in {self.folder} ({who}); {remedy}, or choose another --home."
                raise CommandFailed(message)
            if not waiting:
                note("Waiting for the programs of an earlier run to end …")
            waiting = True
            time.sleep(0.1)
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)

    def _try_lock(self) -> bool:
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _holder(self) -> int | None:
        """Return the id of the living process that wrote itself into the lock, else None."""
        written = os.pread(self.descriptor, 32, 0).strip()
        if not written.isdigit():
            return None
        try:
            os.kill(int(written), 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass
        return int(written)
