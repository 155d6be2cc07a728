"""Structured logs of the worker processes: an event per fact, to the worker's stdout."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from typing import TextIO, cast

import structlog

from models.contract.jobs import WARNING


def configure(level: str, descriptor: int | None = None) -> None:
    """Write one line per event, coloured on a terminal and plain in a file.

    Args:
        level: least level logged.
        descriptor: where to write; a trainer, whose stdout is the log of its job, writes to the stdout of its worker.
    """
    output = sys.stdout if descriptor is None else os.fdopen(descriptor, "w", buffering=1)
    number = logging.getLevelNamesMapping().get(level.upper(), logging.INFO)
    logging.basicConfig(stream=output, level=max(number, logging.WARNING), format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer(colors=output.isatty(), pad_event_to=0),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _Output(None if descriptor is None else output))),
    )


def say(line: str) -> None:
    """Print a line for a job's log; a supervisor that no longer listens is no reason to stop."""
    try:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
    except OSError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - stays open for the rest of the process


def warn(sentence: str) -> None:
    """Print a line for a job's log that its owner should see while it trains."""
    say(f"{WARNING}{sentence}")


class _Output:
    """An output that may be closed or full: losing a line of the log is no reason to lose a job."""

    def __init__(self, stream: TextIO | None) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        with contextlib.suppress(OSError):
            (self._stream or sys.stdout).write(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            (self._stream or sys.stdout).flush()
