"""A child's end of the socket to its parent: says what was counted, and asks what all processes counted.

All but ``begin``, ``refuse`` and ``watch`` happens on the event loop. ``telemetry.Metrics`` is given it as ``Merging``.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import select
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry

from app.processes import messages, snapshots
from app.processes.snapshots import Series
from models.contract.errors import Draining

SNAPSHOT_SECONDS = 1.0
"""Time between snapshots, and so what a process that is killed can have counted in vain."""

ANSWER_SECONDS = 3.0
LAST_SECONDS = 1.0
"""For the last snapshot to be taken over."""

Take = Callable[[], Sequence[Series]]


class Link:
    """The connection of a child to its parent."""

    def __init__(self, connection: socket.socket) -> None:
        """Say nothing yet."""
        self._connection = connection
        self._asked: dict[int, asyncio.Future[list[Series]]] = {}
        self._ids = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._take: Take = list
        self._tasks: list[asyncio.Task[None]] = []

    def begin(self) -> dict[str, Any]:
        """Wait for the settings."""
        return messages.receive(self._connection)["settings"]

    def refuse(self, sentence: str) -> None:
        """Say why this process cannot serve."""
        self._connection.sendall(messages.pack("refused", sentence=sentence))

    def watch(self, grace_seconds: float) -> None:
        """Stop this process when its parent is gone, however it ended; for good after the grace time."""
        threading.Thread(target=_end_with_parent, args=(self._connection, grace_seconds), daemon=True).start()

    async def open(self, take: Take, leave: Callable[[], None]) -> None:
        """Say that requests are taken, and from now on what ``take`` returns; ``leave`` is called when told to."""
        self._take = take
        reader, self._writer = await asyncio.open_unix_connection(sock=self._connection)
        self._writer.write(messages.pack("ready"))
        self._tasks = [asyncio.create_task(self._listen(reader, leave)), asyncio.create_task(self._report())]

    async def close(self) -> None:
        """Say for the last time what was counted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._forget()
        if self._writer:
            with suppress(OSError, TimeoutError):
                self._say("snapshot")
                await asyncio.wait_for(self._writer.drain(), LAST_SECONDS)
            self._writer.close()

    async def merged(self) -> CollectorRegistry:
        """Return what all processes counted, this one included.

        Raises:
            Draining: the parent does not answer. What this process alone counted would be less than was told before.
        """
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._say("scrape", id=number)
            series = await asyncio.wait_for(answer, ANSWER_SECONDS)
        except (OSError, TimeoutError) as error:
            raise Draining("The gateway's processes have lost one another; it is being stopped.") from error
        finally:
            del self._asked[number]
        return snapshots.registry_of(series)

    def _say(self, word: str, **fields: object) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(messages.pack(word, series=self._take(), **fields))

    async def _listen(self, reader: asyncio.StreamReader, leave: Callable[[], None]) -> None:
        async for message in messages.messages(reader):
            match message["word"]:
                case "poll":
                    with suppress(ConnectionError):
                        self._say("snapshot")
                case "merged" if message["id"] in self._asked and not self._asked[message["id"]].done():
                    self._asked[message["id"]].set_result(message["series"])
                case "leave":
                    leave()
                case _:
                    continue  # the answer to somebody who waits no more
        self._forget()

    async def _report(self) -> None:
        assert self._writer
        while not self._writer.is_closing():
            await asyncio.sleep(SNAPSHOT_SECONDS)
            # Behind one that the parent has not read yet, another would be of no use.
            if not self._writer.transport.get_write_buffer_size():
                with suppress(ConnectionError):
                    self._say("snapshot")

    def _forget(self) -> None:
        for answer in self._asked.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())


def _end_with_parent(connection: socket.socket, grace_seconds: float) -> None:
    hung_up = select.poll()
    hung_up.register(connection.fileno(), 0)  # waits for nothing but the other end's close
    hung_up.poll()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(grace_seconds)
    os._exit(1)
