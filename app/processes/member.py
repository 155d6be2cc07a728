"""One child as the parent sees it: started on the listening socket, told things, heard until it is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self

from app.processes import messages
from app.processes.child import HELD_BACK
from app.processes.messages import Message

COMMAND = (sys.executable, "-P", "-m", "app.processes.child")
LAST_WORDS_SECONDS = 1.0
"""How long what a child said before it ended is waited for."""


class Member:
    """A child process of the gateway."""

    def __init__(
        self,
        number: int,
        failures: int,
        process: Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        """Know a process that has just started; ``failures`` is how often those before it ended too soon."""
        self.number = number
        self.failures = failures
        self.refusal: str | None = None
        """Why it cannot start, in its own words."""
        self.leaving = False
        """Whether it is to end, and another has its place."""
        self.settled = asyncio.Event()
        """Set when it is ready, or gone."""
        self.gone = asyncio.Event()
        self.heard = asyncio.Event()
        """Set when a snapshot came."""
        self.follows = False
        """Whether it is told of changes, and confirms that it followed."""
        self._following: dict[int, asyncio.Event] = {}
        self._process = process
        self._reader = reader
        self._writer = writer
        self._ready_since: float | None = None

    @classmethod
    async def start(
        cls, number: int, failures: int, command: Sequence[str], listener: socket.socket, settings: Mapping[str, Any]
    ) -> Self:
        """Return a child that was told its settings, and starts."""
        ours, theirs = socket.socketpair()
        # Ctrl-C and the end of a terminal reach the whole group; a child does as its parent says, and unblocks
        # them when it has seen to that. The mask is not put back as it was found, as several may be starting: the
        # last one would leave the parent with what it found while the others were.
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
        try:
            with theirs:
                descriptors = (listener.fileno(), theirs.fileno())
                process = await asyncio.create_subprocess_exec(
                    *command, *map(str, descriptors), stdin=DEVNULL, pass_fds=descriptors
                )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        member = cls(number, failures, process, reader, writer)
        member.tell("begin", settings=settings)
        return member

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def ready(self) -> bool:
        """Whether it takes requests."""
        return self._ready_since is not None and not self.gone.is_set()

    @property
    def served_seconds(self) -> float:
        """How long it has taken requests."""
        return time.monotonic() - self._ready_since if self._ready_since is not None else 0.0

    def became_ready(self) -> None:
        """Note that it takes requests."""
        self._ready_since = time.monotonic()
        self.settled.set()

    def tell(self, word: str, **fields: object) -> None:
        """Send a message; to one that is just ending it is lost."""
        if not self._writer.is_closing():
            self._writer.write(messages.pack(word, **fields))

    def follow(self, number: int, change: Mapping[str, Any]) -> asyncio.Event:
        """Tell it of a change; return what is set when it has followed, or ended."""
        followed = self._following[number] = asyncio.Event()
        self.tell("change", id=number, change=change)
        return followed

    def has_followed(self, number: int) -> None:
        """Note that it followed a change."""
        followed = self._following.pop(number, None)
        if followed:
            followed.set()

    async def said(self) -> AsyncGenerator[Message]:
        """Yield what it says until it is gone, and has been waited for."""
        ended = asyncio.create_task(self._ended())
        async for message in messages.messages(self._reader):
            yield message
        self.follows = False
        for number in list(self._following):
            self.has_followed(number)
        await ended
        self._writer.close()

    def outcome(self) -> dict[str, object]:
        """Return how it ended, for the log."""
        status = self._process.returncode
        assert status is not None
        if status >= 0:
            return {"exit_code": status}
        return {"signal": next((each.name for each in signal.Signals if each == -status), -status)}

    def terminate(self) -> None:
        """Ask it to stop."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def _ended(self) -> None:
        await self._process.wait()
        if not self._reader.at_eof():
            await asyncio.sleep(LAST_WORDS_SECONDS)
            self._writer.transport.abort()  # should anybody else hold its end
