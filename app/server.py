"""The HTTP server of one process: uvicorn, told when it is ready and how to stop without losing a request.

``main.run`` and ``processes/child.py`` use it; what it serves is none of its business.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import uvicorn

from app.listening import BACKLOG
from app.protocol import BoundedProtocol

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from types import FrameType

    from fastapi import FastAPI

KEPT_SECONDS = 1.0
"""How long a connection that is kept open may stay idle while the server stops: the next answer on it says
``Connection: close``. Closed at once, it could be closed just when its client sends a request."""

LEAVING_SECONDS = 5.0
"""The same while others serve already: nobody waits for the end, and a client on a busy machine may be slow to ask."""

KEEP_ALIVE_SECONDS = 75
"""How long a connection may be idle. Proxies and balancers keep theirs for 60 seconds; who closes first must be the one
who sends requests, or now and then one is sent on a connection that is being closed."""

POLL_SECONDS = 0.02

TURNS_TO_READ = 3
"""Turns of the event loop in which what lies on the connections is read before they are closed. A process that was not
let run learns first that the time is over, and only then what came meanwhile."""

SWITCH_SECONDS = 0.0005
"""After how long a thread whose run is done asks the event loop for the interpreter, to say so. Python's default of
5 ms is longer than most runs: behind a busy event loop the part would be idle for that long."""

ACCEPTED_AT_A_TIME = 32
"""Connections taken in one turn of the event loop. uvloop itself takes one, so that on a busy gateway, whose turns are
long, new clients would wait for seconds; many more would not leave other processes their share."""


async def nothing() -> None:
    """Do nothing."""


class Server(uvicorn.Server):
    """Stops in order: not ready, no new connections, every answer the last of its connection, idle ones closed."""

    def __init__(
        self,
        app: FastAPI,
        grace_seconds: int,
        draining: asyncio.Event,
        ready: Callable[[], Awaitable[None]],
        done: Callable[[], Awaitable[None]] = nothing,
    ) -> None:
        """Serve nothing yet.

        Args:
            app: what to serve.
            grace_seconds: time that requests in flight have to end.
            draining: set when the server stops; from then on ``app`` says that it is not ready.
            ready: called when requests are taken.
            done: called when the last request was answered.
        """
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",  # nothing speaks WebSocket yet, and loading its library takes 3 MB
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=grace_seconds,
                backlog=BACKLOG,
            )
        )
        self._grace_seconds = grace_seconds
        self._draining = draining
        self._ready = ready
        self._done = done
        self._kept_seconds = KEPT_SECONDS
        self._listeners: list[socket.socket] = []
        self._opening: set[asyncio.Task[object]] = set()

    def leave(self) -> None:
        """Stop while others take the new connections: to those who ask, the gateway stays ready."""
        self._accept_no_more()
        self._kept_seconds = LEAVING_SECONDS
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take requests."""
        await super().startup(sockets)
        self._accept_many(sockets or ())
        # What start-up left stays for good; scanning it at every collection is the tail of latencies.
        gc.collect()
        gc.freeze()
        sys.setswitchinterval(SWITCH_SECONDS)
        await self._ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002
        """Stop; a second SIGINT stops at once."""
        # Unlike uvicorn's own, which raises the signal again at the end: being told to stop is no failure.
        self._draining.set()
        self.force_exit = self.should_exit and sig == signal.SIGINT
        self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End every connection once its requests are answered; return when all are, or the grace time is over."""
        began = time.monotonic()
        self._accept_no_more()
        state = self.server_state
        state.default_headers = [*state.default_headers, (b"connection", b"close")]
        for connection in state.connections:
            cycle = getattr(connection, "cycle", None)
            if cycle is not None and not cycle.response_complete:
                connection.shutdown()  # which lets it end
        ends = began + min(self._kept_seconds, self._grace_seconds)
        while (state.connections or self._opening) and not self.force_exit and time.monotonic() < ends:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(POLL_SECONDS)
        for _ in range(TURNS_TO_READ):
            await asyncio.sleep(0)
        self._draining.set()
        left = self._grace_seconds - (time.monotonic() - began)
        self.config.timeout_graceful_shutdown = max(0, round(left))
        await super().shutdown(sockets)
        for connection in tuple(state.connections):
            if isinstance(connection, BoundedProtocol):
                connection.cut_off()
        await self._done()

    def _accept_many(self, listeners: Sequence[socket.socket]) -> None:
        """Take connections beside uvloop, many in a turn."""
        loop = asyncio.get_running_loop()
        for listener in listeners:
            own = listener.dup()
            own.setblocking(False)  # noqa: FBT003 - the name of the method says what it is
            self._listeners.append(own)
            loop.add_reader(own, self._accept, own)

    def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(ACCEPTED_AT_A_TIME):
            try:
                connection, _ = listener.accept()
            except OSError:  # there is none; or no descriptor is left, of which uvloop tells
                return
            connection.setblocking(False)  # noqa: FBT003 - as above
            task = loop.create_task(loop.connect_accepted_socket(self._protocol, connection))
            self._opening.add(task)
            task.add_done_callback(self._opened)

    def _opened(self, task: asyncio.Task[object]) -> None:
        self._opening.discard(task)
        if not task.cancelled():
            task.exception()  # the client has gone already

    def _protocol(self) -> asyncio.Protocol:
        return BoundedProtocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _accept_no_more(self) -> None:
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)
            listener.close()
        self._listeners.clear()
        for server in self.servers:
            server.close()
