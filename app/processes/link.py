"""A child's end of the socket to its parent: what all processes counted, and what one changes for all.

All but ``begin``, ``refuse`` and ``watch`` happens on the event loop. ``main.create_app`` is given it as ``Peers``.
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
from dataclasses import asdict
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from app.peers import Change
from app.processes import messages, snapshots
from app.processes.messages import Message
from app.processes.snapshots import Series
from models.contract.errors import Draining

SNAPSHOT_SECONDS = 1.0
"""Time between snapshots, and so what a process that is killed can have counted in vain."""

ANSWER_SECONDS = 3.0
CONFIRM_SECONDS = 1.5
"""For a change to be confirmed. Longer than the parent waits for the others: one that hangs is for it to tell of."""

LAST_SECONDS = 1.0
"""For the last snapshot to be taken over."""

Take = Callable[[], Sequence[Series]]
Follow = Callable[[Change], None]

log = structlog.get_logger()


class Link:
    """The connection of a child to its parent."""

    def __init__(self, connection: socket.socket) -> None:
        """Say nothing yet."""
        self._connection = connection
        self._asked: dict[int, asyncio.Future[Message]] = {}
        self._ids = itertools.count(1)
        self._writer: asyncio.StreamWriter | None = None
        self._take: Take = list
        self._serving = asyncio.Event()
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

    async def open(self, take: Take, leave: Callable[[], None], follow: Follow) -> None:
        """Return when what is unloaded is known, before requests are taken.

        Args:
            take: returns what was counted.
            leave: called when told to, once requests are taken.
            follow: called with every change, in the order in which all processes follow them.
        """
        self._take = take
        reader, self._writer = await asyncio.open_unix_connection(sock=self._connection)
        self._tasks = [asyncio.create_task(self._listen(reader, leave, follow))]
        try:
            await self._ask("join", CONFIRM_SECONDS)
        except (OSError, TimeoutError):
            log.warning("unloaded_models_unknown", reason="the parent does not answer")

    async def ready(self) -> None:
        """Say that requests are taken, and from now on every second what was counted."""
        with suppress(ConnectionError):
            self._say("ready")
        self._tasks.append(asyncio.create_task(self._report()))
        self._serving.set()

    async def close(self) -> None:
        """Say for the last time what was counted."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._forget()
        if self._writer:
            with suppress(OSError, TimeoutError):
                self._say("snapshot", series=self._take())
                await asyncio.wait_for(self._writer.drain(), LAST_SECONDS)
            self._writer.close()

    async def merged(self) -> CollectorRegistry:
        """Return what all processes counted, this one included.

        Raises:
            Draining: the parent does not answer. What this process alone counted would be less than was told before.
        """
        try:
            answer = await self._ask("scrape", ANSWER_SECONDS, series=self._take())
        except (OSError, TimeoutError) as error:
            raise Draining("The gateway's processes have lost one another; it is being stopped.") from error
        return snapshots.registry_of(answer["series"])

    async def pass_on(self, change: Change) -> None:
        """Return when every process has followed ``change``; after about a second also when one has not."""
        fields = asdict(change)
        try:
            await self._ask("change", CONFIRM_SECONDS, change=fields)
        except (OSError, TimeoutError):
            log.warning("change_not_passed_on", **fields, reason="the parent does not answer")

    async def _ask(self, word: str, seconds: float, **fields: object) -> Message:
        number = next(self._ids)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._say(word, id=number, **fields)
            return await asyncio.wait_for(answer, seconds)
        finally:
            del self._asked[number]

    def _say(self, word: str, **fields: object) -> None:
        if self._writer is None or self._writer.is_closing():
            raise ConnectionResetError
        self._writer.write(messages.pack(word, **fields))

    async def _listen(self, reader: asyncio.StreamReader, leave: Callable[[], None], follow: Follow) -> None:
        async for message in messages.messages(reader):
            match message["word"]:
                case "poll":
                    with suppress(ConnectionError):
                        self._say("snapshot", series=self._take())
                case "change":
                    follow(Change(**message["change"]))
                    with suppress(ConnectionError):
                        self._say("followed", id=message["id"])
                case "merged" | "confirmed" if message["id"] in self._asked and not self._asked[message["id"]].done():
                    self._asked[message["id"]].set_result(message)
                case "leave":
                    self._tasks.append(asyncio.create_task(self._when_serving(leave)))
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
                    self._say("snapshot", series=self._take())

    async def _when_serving(self, leave: Callable[[], None]) -> None:
        await self._serving.wait()  # a server that is just starting knows of no end yet
        leave()

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
