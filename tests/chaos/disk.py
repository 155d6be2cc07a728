"""A small disk for the store, which can be filled and emptied. Only root on Linux can have one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Self

SIZE = "192m"
BLOCK_BYTES = 2**16


def is_possible() -> bool:
    """Return whether this process may mount one."""
    return sys.platform == "linux" and os.geteuid() == 0


class SmallDisk:
    """A file system in memory at ``folder``; a context manager, inside which it is mounted."""

    def __init__(self, folder: Path) -> None:
        """Mount nothing yet."""
        self.folder = folder
        self._ballast = folder / "ballast"

    def __enter__(self) -> Self:
        """Mount it."""
        self.folder.mkdir(parents=True)
        command = ["/bin/mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(self.folder)]
        subprocess.run(command, check=True)
        return self

    def __exit__(self, *_exception: object) -> None:
        """Take it away, with all that is on it."""
        subprocess.run(["/bin/umount", "--lazy", str(self.folder)], check=True)

    def fill(self) -> None:
        """Leave no byte free. What others give back meanwhile stays free, as on a disk that is full."""
        for size in (2**20, BLOCK_BYTES, 2**12):
            with self._ballast.open("ab", buffering=0) as file:
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)
