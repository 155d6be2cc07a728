"""How the server of one process stops: who keeps a connection open is told, and not cut off."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import uvicorn
import uvloop
from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from app.server import Server

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SECONDS = 10


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Served:
    """A server, what it said of itself, and a connection to it that is kept after one answer."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.draining, self.ready, self.done = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.server = Server(cast("FastAPI", app), 5, self.draining, self._ready, self._done)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(*self.listener.getsockname())
        writer.write(REQUEST)
        assert await reader.readuntil(b"ok")
        return reader, writer

    async def _ready(self) -> None:
        self.ready.set()

    async def _done(self) -> None:
        self.done.set()


@asynccontextmanager
async def serving() -> AsyncGenerator[tuple[Served, asyncio.Task[None]]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served = Served(listener)
        task = asyncio.create_task(served.server.serve([listener]))
        await asyncio.wait_for(served.ready.wait(), SECONDS)
        yield served, task
        await asyncio.wait_for(task, SECONDS)
        assert served.done.is_set()


async def answer(reader: asyncio.StreamReader) -> bytes:
    return await asyncio.wait_for(reader.read(), SECONDS)


async def test_kept_connection_has_one_more_answer() -> None:
    """It says that it is the last."""
    async with serving() as (served, _):
        reader, writer = await served.connect()
        served.server.leave()
        await asyncio.sleep(0.3)
        writer.write(REQUEST)
        last = await answer(reader)
        assert last.startswith(b"HTTP/1.1 200 OK")
        assert b"connection: close" in last
        writer.close()


async def test_connection_without_a_request_yet_has_its_answer() -> None:
    """It was accepted, so it is nobody else's."""
    async with serving() as (served, _):
        reader, writer = await asyncio.open_connection(*served.listener.getsockname())
        await asyncio.sleep(0.1)
        served.server.leave()
        await asyncio.sleep(0.3)
        writer.write(REQUEST)
        assert b"connection: close" in await answer(reader)
        writer.close()


async def test_uvicorn_itself_closes_a_kept_connection_at_once() -> None:
    """The control of both: without ours the request would be lost."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, log_config=None))
        task = asyncio.create_task(server.serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(REQUEST)
        await reader.readuntil(b"ok")
        server.should_exit = True
        assert await answer(reader) == b""
        writer.close()
        await asyncio.wait_for(task, SECONDS)


async def test_idle_connection_is_closed_in_the_end() -> None:
    async with serving() as (served, _):
        reader, writer = await served.connect()
        served.server.leave()
        assert await answer(reader) == b""
        writer.close()


@pytest.mark.parametrize("told", [True, False])
async def test_who_is_replaced_stays_ready_and_who_is_stopped_does_not(*, told: bool) -> None:
    """As long as anybody can ask."""
    async with serving() as (served, _):
        _, writer = await served.connect()
        if told:
            served.server.handle_exit(15, None)
        else:
            served.server.leave()
        await asyncio.sleep(0.3)
        assert served.draining.is_set() is told
        writer.close()


def test_many_connections_are_taken_in_a_turn_of_the_loop() -> None:
    """Turns are long on a busy gateway; whoever comes then need not wait for as many of them as others came before."""
    count = 64

    async def turns() -> int:
        async with serving() as (served, _):
            clients = [socket.create_connection(served.listener.getsockname()) for _ in range(count)]
            taken = 0
            while len(served.server.server_state.connections) < count:
                taken += 1
                await asyncio.sleep(0)
            for client in clients:
                client.close()
            served.server.should_exit = True
        return taken

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(turns()) < count / 2
