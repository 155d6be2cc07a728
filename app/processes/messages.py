"""What parent and children say to one another: a length, then a JSON object whose ``word`` says what it means.

From the parent: ``begin`` with the settings, ``poll`` for a snapshot, ``merged`` as the answer to a ``scrape``,
``change`` that is to be followed, ``confirmed`` as the answer to ``join`` and ``change``, and ``leave``. From a child:
``refused`` with a sentence, or ``join`` before it takes requests, which is answered when it was told what is unloaded,
and ``ready`` when it does; then ``snapshot`` now and then, ``scrape``, ``change`` that all are to follow, which is
answered when they have, and ``followed``.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Mapping
from typing import Any

import orjson

LENGTH = struct.Struct(">I")

Message = Mapping[str, Any]


def pack(word: str, **fields: object) -> bytes:
    """Return a message as it is sent."""
    body = orjson.dumps({"word": word, **fields})
    return LENGTH.pack(len(body)) + body


async def messages(reader: asyncio.StreamReader) -> AsyncGenerator[Message]:
    """Yield what the other end says until it is gone; half a message is none."""
    try:
        while True:
            (length,) = LENGTH.unpack(await reader.readexactly(LENGTH.size))
            yield orjson.loads(await reader.readexactly(length))
    except (asyncio.IncompleteReadError, ConnectionError):
        return


def receive(connection: socket.socket) -> Message:
    """Wait for one message, without an event loop.

    Raises:
        EOFError: the other end is gone.
    """
    (length,) = LENGTH.unpack(_exactly(connection, LENGTH.size))
    return orjson.loads(_exactly(connection, length))


def _exactly(connection: socket.socket, length: int) -> bytes:
    data = connection.recv(length, socket.MSG_WAITALL)
    if len(data) < length:
        raise EOFError
    return data
