"""How long a client may leave its answer unread.

``protocol.py`` has a connection watched while more waits to be sent than its buffer is for, or while it is to be closed
as soon as everything was sent.
"""

from __future__ import annotations

import asyncio
import fcntl
import sys
import termios

SEND_SECONDS = 60.0
"""Whoever takes nothing for so long is cut off. Proxies and balancers wait for as long; who takes some, however little,
is waited for, as large answers are read for hours over slow lines."""

LOOKS = 6
"""In how many steps that time is watched: a client is cut off no later than two steps after it."""


class SendTimeout:
    """Aborts a connection of which nothing more is taken; closed, it would wait for its client for ever."""

    __slots__ = ("_looking", "_looks", "_loop", "_transport", "_unsent_bytes")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to watch."""
        self._transport = transport
        self._loop = loop
        self._looks = 0
        self._unsent_bytes = -1
        self._looking = loop.call_later(SEND_SECONDS / LOOKS, self._look)

    def stop(self) -> None:
        """Watch no more."""
        self._looking.cancel()

    def _look(self) -> None:
        unsent_bytes = _unsent_bytes(self._transport)
        self._looks = self._looks + 1 if unsent_bytes == self._unsent_bytes > 0 else 0
        self._unsent_bytes = unsent_bytes
        if self._looks < LOOKS:
            self._looking = self._loop.call_later(SEND_SECONDS / LOOKS, self._look)
        else:
            self._transport.abort()


def _unsent_bytes(transport: asyncio.Transport) -> int:
    """Return how much was written that the client's system has not taken.

    The system itself keeps megabytes, and takes more only when half of them are gone: by our own buffer alone a slow
    client would seem to take nothing for minutes.
    """
    try:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, ValueError):  # it does not tell of sockets, or this one is closed
        queued = b""
    return transport.get_write_buffer_size() + int.from_bytes(queued, sys.byteorder)
