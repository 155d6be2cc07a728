"""How a process of the gateway logs. Loads little: the parent of several processes logs the same way."""

from __future__ import annotations

import logging
import sys
from contextlib import suppress
from typing import Protocol, TextIO, cast

import structlog


class LogSettings(Protocol):
    """What is to be logged, and how; ``GatewaySettings`` is one."""

    @property
    def log_level(self) -> str:
        """Least level logged."""
        ...

    @property
    def log_format(self) -> str:
        """``console`` or ``json``."""
        ...


class Unheard:
    """A stream whose reader may leave, as a terminal that is closed does: no reason to stop what is being told."""

    def __init__(self, stream: TextIO) -> None:
        """Write to ``stream``."""
        self._stream = stream

    def write(self, text: str) -> None:
        """Write if anybody reads."""
        with suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Flush if anybody reads."""
        with suppress(OSError):
            self._stream.flush()


def configure_logs(settings: LogSettings) -> None:
    """Send every log line, also those of libraries, to stderr as the settings say."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        # Plain: the rich form prints local variables, and those are what users send.
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    last = [structlog.processors.format_exc_info, renderer] if settings.log_format == "json" else [renderer]
    level = logging.getLevelNamesMapping()[settings.log_level]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", Unheard(sys.stderr))),
    )
    handler = logging.StreamHandler()
    formatter = structlog.stdlib.ProcessorFormatter
    handler.setFormatter(formatter(processors=[formatter.remove_processors_meta, *last], foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=max(level, logging.WARNING), force=True)
    # It warns of every body that is wrong; who sent it is told.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
