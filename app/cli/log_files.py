"""The lines of several programs, each in a file of its own, and the last of them all at hand."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Self

LINES_KEPT = 200


class LogFiles:
    """Writes ``<folder>/<program>.log``; a context manager that closes them."""

    def __init__(self, folder: Path) -> None:
        """Create ``folder``."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._files: dict[str, IO[str]] = {}
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        self._open = ExitStack()
        self._closed = False
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        with self._turn:
            self._closed = True
            self._open.close()

    def emit(self, name: str, line: str) -> None:
        """Write a line of the program ``name``."""
        with self._turn:
            self._last.append(f"{name:<7} | {line}")
            if self._closed:  # a last line of a program that ended
                return
            if name not in self._files:
                file = (self._folder / f"{name}.log").open("a", encoding="utf-8")
                self._files[name] = self._open.enter_context(file)
            self._files[name].write(f"{line}\n")
            self._files[name].flush()

    def last(self, count: int) -> Iterable[str]:
        """Return the last lines of all programs, each marked with its program."""
        with self._turn:
            return list(self._last)[-count:]
